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

from services.planner.domain.anchor import (
    Criterion,
    Question,
    Verdict,
    arrange,
    avoidable_uncovered_days,
    changes_to_what_was_told,
    distance_from_cushion,
    distance_from_preferred_day,
    drugs_run_dry,
    extra_cost,
    extra_cost_above_limit,
    short_fills_and_overrides,
    visits_before_alignment,
)

from services.planner.domain.model import NOTHING_TOLD, Blocked, Plan
from services.planner.domain.plan import Planning, finished, one_by_one, planning
from services.planner.translation import event_of
from services.planner.translation import said as said_of
from shared.events.planner import DrugDecision, PlanComputed
from shared.words.formats import spoken
from shared.words.plans import of_drug, of_offer, of_visit, why
from tests.unit.planner.population import POLICY, TODAY, chain_patient, chain_store, odd_patient
from tests.unit.planner.sample import sample_patients

DAY = r"\w{3} \d{1,2} \w{3} \d{4}"
HEADLINE = re.compile(
    rf"^(?P<what>The best of|The \w+ set the pickup to|Without what staff decided:|{DAY}, when|{DAY}:).*?"
    r"(?P<visits>\w+) visits? before all due drugs have joined, (?P<short>\w+) short fills?"
    r"(, \w+ overrides? of refill too soon)?, (?P<days>\w+) days? without a drug",
    re.IGNORECASE,
)
"""What a day takes, in every sentence that says so."""

NAMED: dict[str, Criterion] = {
    "other_day_critical": avoidable_uncovered_days,
    "other_day_uncovered": avoidable_uncovered_days,
    "other_day_changes_told": changes_to_what_was_told,
    "other_day_above_cost_limit": extra_cost_above_limit,
    "other_day_visits": visits_before_alignment,
    "other_day_short_fills": short_fills_and_overrides,
    "other_day_overrides": short_fills_and_overrides,
    "other_day_below_minimum": short_fills_and_overrides,
    "other_day_run_dry": drugs_run_dry,
    "other_day_not_preferred": distance_from_preferred_day,
    "other_day_costs_more": extra_cost,
    "other_day_cushion": distance_from_cushion,
}


@dataclass(frozen=True)
class Answer:
    """One plan as staff read it, and the questions that were judged for it."""

    plan: PlanComputed
    asked: Sequence[Question]

    @property
    def why(self) -> list[str]:
        return why(self.plan)

    @property
    def headline(self) -> re.Match[str] | None:
        """What the day of the plan takes."""
        found = map(HEADLINE.match, self.why)
        return next((each for each in found if each and each["what"].startswith("The ")), None)

    def said_of(self, drug: DrugDecision) -> str:
        return " ".join(of_drug(drug, self.plan))


@cache
def answers() -> tuple[Answer, ...]:
    """Of the usual patients of a chain, of unusual ones, and of the sample patients."""
    rng = Random(20)
    asked: dict[int, list[Question]] = {}
    plannings: list[Planning[Plan | Blocked]] = []
    for number in range(300):
        usual = chain_patient(rng, number)
        plannings.append(planning(usual, chain_store(rng), POLICY, TODAY, NOTHING_TOLD, 1))
        odd = odd_patient(rng, number)
        plannings.append(planning(odd.profile, odd.calendar, odd.rules, TODAY, odd.told, 1))
    for on in (date(2009, 10, 1), date(2010, 6, 1)):
        for profile, calendar in sample_patients(on):
            plannings.append(planning(profile, calendar, POLICY, on, NOTHING_TOLD, 1))
    found = []
    for number, each in enumerate(plannings):
        asked[number] = []

        def judged(questions: Sequence[Question], of: list[Question] = asked[number]) -> list[Verdict | None]:
            of.extend(questions)
            return one_by_one(questions)

        [plan] = finished([each], judged)
        event = event_of(said_of(plan, "p", "s", 1, 1))
        if isinstance(event, PlanComputed):
            found.append(Answer(event, asked[number]))
    return tuple(found)


def number(word: str) -> int:
    return 0 if word.casefold() == "no" else int(word)


def day(words: str) -> date:
    return datetime.strptime(words, "%a %d %b %Y").date()


def days_in(pattern: str, sentences: Iterator[str] | Sequence[str]) -> list[int]:
    return [number(word) for sentence in sentences for word in re.findall(pattern, sentence)]


def test_the_patients_are_of_every_kind() -> None:
    """Else the tests below would say little."""
    codes = Counter(reason.code for each in answers() for reason in each.plan.reasons)
    for code in ("anchor_best", "staff_day", "without_staff", "all_joined_on", "stands_besides"):
        assert codes[code] >= 3, code
    assert sum(code in codes for code in NAMED) >= 9


def test_the_visits_said_are_those_listed_before_the_day_on_which_all_have_joined() -> None:
    compared = 0
    for each in answers():
        headline = each.headline
        if headline is None:
            continue
        text = " ".join(each.why)
        joined = re.search(rf"All have joined on ({DAY})", text)
        until = day(joined[1]) if joined else each.plan.anchor_on
        listed = [day(of_visit(visit).split(",")[0]) for visit in each.plan.visits]
        standing = re.search(r"as the patient was told, (\w+) visits? before it", text)
        besides = number(standing[1]) if standing else 0
        counted_too = bool(joined and "No visit is listed on" in text)
        assert number(headline["visits"]) + besides == sum(on < until for on in listed) + counted_too, text
        assert ("No visit is listed on" in text) == (each.plan.anchor_on not in listed), text
        compared += 1
    assert compared > 300


def test_days_without_a_drug_are_the_same_in_every_sentence_and_in_the_number() -> None:
    for each in answers():
        plan = each.plan
        drugs = [sentence for drug in plan.drugs for sentence in of_drug(drug, plan)]
        assert sum(days_in(r"^(\w+) days? without it", drugs)) == plan.uncovered_days, drugs
        said = [each.headline] if each.headline else []
        said += [found for offer in plan.offered[:1] if (found := HEADLINE.match(of_offer(offer)))]
        for found in said:
            assert number(found["days"]) == plan.uncovered_days, found[0]


def test_short_fills_said_are_those_planned() -> None:
    for each in answers():
        if each.headline:
            text = " ".join(each.why)
            besides = days_in(r"as the patient was told, \w+ visits? before it, (\w+) short", [text])
            assert number(each.headline["short"]) + sum(besides) == each.plan.short_fills, text


def test_a_day_that_is_not_taken_is_worse_by_what_is_named() -> None:
    named: Counter[str] = Counter()
    for each in answers():
        for reason in each.plan.reasons:
            criterion = NAMED.get(reason.code)
            if criterion is None:
                continue
            on, chosen = date.fromisoformat(str(reason.params["on"])), each.plan.anchor_on
            case = next(
                question.case
                for question in each.asked
                if {on.toordinal(), chosen.toordinal()} <= set(question.days)
            )
            worse, here = (arrange(day.toordinal(), case) for day in (on, chosen))
            assert criterion(worse) > criterion(here), reason
            named[reason.code] += 1
    assert sum(named.values()) > 300


def test_a_day_that_is_not_taken_says_two_numbers_of_which_the_first_is_worse() -> None:
    for each in answers():
        for sentence in each.why:
            if sentence.startswith("Not ") and "where this day" in sentence:
                numbers = re.findall(r"\$\d+\.\d\d|\b(?:no|\d+)\b", sentence.split(":", 1)[1])
                first, here = (Decimal(word.strip("$").replace("no", "0")) for word in numbers[:2])
                assert first > here, sentence


def test_a_day_that_is_offered_and_also_weighed_has_the_same_numbers() -> None:
    for each in answers():
        offered = {offer.on: HEADLINE.match(of_offer(offer)) for offer in each.plan.offered}
        for sentence in each.why:
            found = HEADLINE.match(sentence)
            if found and " when the last drug" in sentence:
                other = offered.get(day(sentence.split(",")[0]))
                if other:
                    assert found["visits"].casefold() == other["visits"].casefold()
                    assert (found["short"], found["days"]) == (other["short"], other["days"])


def test_every_fill_is_said_with_its_day_its_units_and_its_codes_and_a_short_one_with_why() -> None:
    short = 0
    for each in answers():
        drugs = {drug.rx_id: each.said_of(drug) for drug in each.plan.drugs}
        for visit in each.plan.visits:
            for item in visit.items:
                said = drugs[item.rx_id]
                fill = re.search(
                    rf"On {spoken(visit.on)} {item.quantity.normalize():f} units: ([^.]*)\.", said
                )
                assert fill, said
                assert all(code in fill[1] for code in item.clarification_codes), said
                if item.kind == "bridge":
                    assert (
                        "Does not last until it joins" in said
                        or visit.on >= each.plan.anchor_on
                        or ("Not due" in said)
                    ), said
                    short += 1
                    assert re.search(r"to reach|still authorised|as staff decided|the whole pack", fill[1]), (
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
            if "Filled at the synchronized pickup" in said:
                assert drug.rx_id in at_pickup, said
            if "Nothing of it can be dispensed at the synchronized pickup" in said:
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
