"""The sentences of one answer agree with one another, with the visits listed and with the numbers, whoever asks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from random import Random

import pytest

from services.planner.domain.model import NO_COMMITMENTS
from services.planner.domain.plan import plan_cycle
from services.planner.publishing import event_of, payload_of
from shared.events.planner import DrugDecision, PlanComputed
from shared.words.formats import spoken
from shared.words.plans import of_drug, of_offer, why
from tests.unit.planner.population import POLICY, TODAY, chain_patient, chain_store, odd_patient
from tests.unit.planner.sample import sample_patients

pytestmark = pytest.mark.slow

DAY = r"\w{3} \w{3} \d{1,2}, \d{4}"
HEADLINE = re.compile(
    r"^(?P<what>Best date|The \w+ set the pickup to|\w{3} \w{3} \d{1,2}, \d{4}).*?"
    r"(?P<visits>\w+) extra trips? before all are in sync, "
    r"(?P<short>\w+) short fills?(, \w+ refill-too-soon overrides?)?, "
    r"(no gaps|(?P<days>\w+) days? without a drug)",
    re.IGNORECASE,
)
"""What a day takes, in every sentence that says so."""

YEAR = re.compile(r"^The next 365 days: (?P<trips>\w+) trips?.*?(no gaps|(?P<days>\w+) days? without a drug)")


@dataclass(frozen=True)
class Answer:
    """One plan as staff read it."""

    plan: PlanComputed

    @property
    def why(self) -> list[str]:
        return why(self.plan)

    @property
    def headline(self) -> re.Match[str] | None:
        """What the day of the plan takes."""
        found = map(HEADLINE.match, self.why)
        return next((each for each in found if each and each["what"].startswith(("Best", "The "))), None)

    def said_of(self, drug: DrugDecision) -> str:
        return " ".join(of_drug(drug, self.plan))


@cache
def answers() -> tuple[Answer, ...]:
    """Of the usual patients of a chain, of unusual ones, and of the sample patients."""
    rng = Random(20)
    outcomes = []
    for number in range(120):
        usual = chain_patient(rng, number)
        outcomes.append(plan_cycle(usual, chain_store(rng), POLICY, TODAY, NO_COMMITMENTS, 1))
        odd = odd_patient(rng, number)
        outcomes.append(plan_cycle(odd.profile, odd.calendar, odd.rules, TODAY, odd.commitments, 1))
    for on in (date(2009, 10, 1), date(2010, 6, 1)):
        for profile, calendar in sample_patients(on):
            outcomes.append(plan_cycle(profile, calendar, POLICY, on, NO_COMMITMENTS, 1))
    events = (event_of(payload_of(outcome, "p", "s", 1, 1)) for outcome in outcomes)
    return tuple(Answer(event) for event in events if isinstance(event, PlanComputed))


def number(word: str | None) -> int:
    return 0 if word is None or word.casefold() == "no" else int(word)


def day(words: str) -> date:
    return datetime.strptime(words, "%a %b %d, %Y").date()


def days_in(pattern: str, sentences: Iterator[str] | Sequence[str]) -> list[int]:
    return [number(word) for sentence in sentences for word in re.findall(pattern, sentence)]


def test_the_patients_are_of_every_kind() -> None:
    """Else the tests below would say little."""
    codes = Counter(reason.code for each in answers() for reason in each.plan.reasons)
    for code in ("anchor_best_of_year", "staff_day", "without_staff", "all_joined_on", "stands_besides"):
        assert codes[code] >= 1, code
    assert sum(code.startswith("other_day_") for code in codes) >= 6


def test_the_year_said_is_the_year_of_the_rhythm() -> None:
    for each in answers():
        [year] = [found for sentence in each.why if (found := YEAR.match(sentence))]
        assert each.plan.rhythm
        assert number(year["trips"]) == each.plan.rhythm.trips_a_year, year[0]
        assert number(year["days"]) == each.plan.uncovered_days, year[0]


def test_a_drug_that_never_joins_is_not_called_joined() -> None:
    for each in answers():
        assert each.plan.rhythm
        for drug in each.plan.drugs:
            if "never_joins" in {reason.code for reason in drug.reasons}:
                assert drug.joins_on is None
                assert drug.rx_id not in each.plan.rhythm.joins


def test_days_without_a_drug_are_the_same_in_every_sentence_and_in_the_number() -> None:
    for each in answers():
        plan = each.plan
        drugs = [sentence for drug in plan.drugs for sentence in of_drug(drug, plan)]
        assert sum(days_in(r"^(\w+) days? without it", drugs)) == plan.uncovered_days, drugs
        said = [each.headline] if each.headline else []
        said += [found for offer in plan.offered[:1] if (found := HEADLINE.match(of_offer(offer)))]
        for found in said:
            assert number(found["days"]) == plan.uncovered_days, found[0]


def test_a_day_that_is_not_taken_says_two_numbers_of_which_the_first_is_worse() -> None:
    for each in answers():
        for sentence in each.why:
            if sentence.startswith("Not ") and "instead of" in sentence:
                numbers = re.findall(r"\$\d+\.\d\d|\b(?:no|\d+)\b", sentence.split(":", 1)[1])
                first, here = (Decimal(word.strip("$").replace("no", "0")) for word in numbers[:2])
                assert first > here, sentence


def test_every_fill_is_said_with_its_day_its_units_and_its_codes_and_a_short_one_with_why() -> None:
    short = 0
    for each in answers():
        drugs = {drug.rx_id: each.said_of(drug) for drug in each.plan.drugs}
        for visit in each.plan.visits:
            for item in visit.items:
                said = drugs[item.rx_id]
                fill = re.search(
                    rf"On {spoken(visit.on)}, {item.quantity.normalize():f} units: ([^.]*)\.", said
                )
                assert fill, said
                assert all(code in fill[1] for code in item.clarification_codes), said
                if item.kind == "bridge":
                    assert (
                        "Runs out before its sync date" in said
                        or visit.on >= each.plan.anchor_on
                        or "Not due" in said
                        or "filled on its own" in said
                    ), said
                    short += 1
                    assert re.search(r"to reach|still authorized|as staff decided|the whole pack", fill[1]), (
                        said
                    )
    assert short > 100


def test_what_is_said_to_be_filled_at_the_pickup_is_filled_then() -> None:
    for each in answers():
        at_pickup = {
            item.rx_id
            for visit in each.plan.visits
            if visit.on == each.plan.anchor_on
            for item in visit.items
        }
        for drug in each.plan.drugs:
            said = each.said_of(drug)
            if "Filled on the sync date" in said:
                assert drug.rx_id in at_pickup, said
            if "No longer possible to dispense it on the sync date" in said:
                assert drug.rx_id not in at_pickup, said


def test_the_cost_of_all_drugs_is_that_of_the_plan() -> None:
    known = 0
    for each in answers():
        if each.plan.extra_cost is not None:
            text = " ".join(map(each.said_of, each.plan.drugs))
            costs = re.findall(r"pays \$(\d+\.\d\d) more than usual for it", text)
            assert sum(map(Decimal, costs)) == each.plan.extra_cost, text
            known += bool(costs)
    assert known > 20
