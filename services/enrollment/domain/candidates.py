"""Who would benefit from synchronization, and why: known before anybody asks the patient.

The one condition is two maintenance drugs in use: with fewer there is nothing to synchronize. The limits below
are decisions of this project; the burden of trips and the gain at low adherence behind them are published
(R16.8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.enrollment.domain.profile import age
from shared.events import Reason
from shared.events.enrollment import Fill, Prescription, PrescriptionStatus
from shared.words.formats import spoken

WINDOW = timedelta(days=180)
STILL_IN_USE = timedelta(days=90)  # after the last fill ran out, or after writing where nothing was filled
NEW = timedelta(days=90)
OLD_AGE = 65
MANY_DRUGS = 5
MANY_TRIPS = 7  # more than the one a month that is left after synchronization
MANY_MISSED_DAYS = 14


ASK_AGAIN_AFTER = timedelta(days=90)
"""When whoever said not now, and no day, is asked again (R1.16)."""


class Answer(StrEnum):
    """What a candidate says other than yes."""

    declined = "declined"
    not_now = "not_now"


ANSWERS: frozenset[str] = frozenset(Answer)
"""Reasons for which somebody is no candidate for a while only, or until a consent."""


@dataclass(frozen=True)
class Answered:
    """A candidate's answer, and when to ask again; none: never by itself."""

    answer: Answer
    on: date  # where the store is
    ask_again_on: date | None


def answered(answer: Answer, today: date, ask_again_on: date | None = None) -> Answered:
    """The answer of today, with the day wanted or the usual one: who declined without a day is not asked again."""
    usual = today + ASK_AGAIN_AFTER if answer is Answer.not_now else None
    return Answered(answer, today, ask_again_on or usual)


def answer_in_words(answered: Answered) -> str:
    """The earlier answer as staff read it, with the patient as its subject."""
    said = {Answer.declined: "declined", Answer.not_now: "said not now"}[answered.answer]
    again = f", to be asked again on {spoken(answered.ask_again_on)}" if answered.ask_again_on else ""
    return f"{said} on {spoken(answered.on)}{again}"


@dataclass(frozen=True)
class History:
    """What is known of a patient who does not take part. `fills` reach back a year at least."""

    patient_id: str
    store_id: str
    birth_date: date
    prescriptions: Collection[Prescription]
    fills: Collection[Fill]
    long_term_care: bool = False  # served by the pharmacy of the house: no candidate


def reasons_to_synchronize(history: History, today: date) -> tuple[Reason, ...]:
    """Why this patient would benefit; empty: no candidate. The order is fixed."""
    fills_of = fills_by_ingredient(history)
    in_use = {
        prescription.drug.ingredient.casefold()
        for prescription in history.prescriptions
        if _in_use(prescription, fills_of, today)
    }
    if len(in_use) < 2 or history.long_term_care:
        return ()
    years = age(history.birth_date, today)
    trips = len({fill.handed_over_on for fill in history.fills if fill.handed_over_on > today - WINDOW})
    missed = max(uncovered_days(fills_of[drug], since=today - WINDOW, until=today) for drug in in_use)
    new = sum(_is_new(fills_of[drug], today) for drug in in_use)
    reasons = (
        (years >= OLD_AGE, Reason(code="older_patient", params={"age": years})),
        (len(in_use) >= MANY_DRUGS, Reason(code="many_drugs", params={"drugs": len(in_use)})),
        (trips >= MANY_TRIPS, Reason(code="many_trips", params={"trips": trips, "days": WINDOW.days})),
        (
            missed >= MANY_MISSED_DAYS,
            Reason(code="missed_days", params={"missed": missed, "days": WINDOW.days}),
        ),
        (new > 0, Reason(code="new_therapy", params={"drugs": new, "days": NEW.days})),
    )
    return tuple(reason for applies, reason in reasons if applies)


WORDS: Mapping[str, str] = {
    "older_patient": "is {age} years old",
    "many_drugs": "takes {drugs} maintenance drugs",
    "many_trips": "came to the pharmacy {trips} times in {days} days",
    "missed_days": "was without a maintenance drug on {missed} of the last {days} days",
    "new_therapy": "started {drugs} maintenance drug(s) in the last {days} days",
}


def in_words(reason: Reason) -> str:
    """The reason as staff read it, with the patient as its subject."""
    return WORDS[reason.code].format(**reason.params)


def says_anew(held: Iterable[Reason], now: Iterable[Reason]) -> bool:
    """Is it worth telling again? Only where a reason came or went; counts grow by the day."""
    return {reason.code for reason in held} != {reason.code for reason in now}


def fills_by_ingredient(history: History) -> dict[str, list[Fill]]:
    """The fills of each ingredient, oldest first: a change of strength or brand goes on with the same therapy."""
    ingredient = {each.rx_id: each.drug.ingredient.casefold() for each in history.prescriptions}
    fills_of: dict[str, list[Fill]] = defaultdict(list)
    for fill in sorted(history.fills, key=lambda fill: fill.handed_over_on):
        if fill.rx_id in ingredient:
            fills_of[ingredient[fill.rx_id]].append(fill)
    return fills_of


def uncovered_days(fills: Iterable[Fill], *, since: date, until: date) -> int:
    """Days from `since`, or from the first fill if that is later, to before `until` on which no supply was left.

    `fills` are one ingredient's, oldest first. Supply left over is carried forward (R3.1).
    """
    uncovered = 0
    run_out: date | None = None
    for fill in fills:
        if run_out is not None:
            uncovered += max(0, (fill.handed_over_on - max(run_out, since)).days)
        run_out = max(run_out or fill.handed_over_on, fill.handed_over_on) + timedelta(days=fill.days_supply)
    if run_out is not None:
        uncovered += max(0, (until - max(run_out, since)).days)
    return uncovered


def _in_use(prescription: Prescription, fills_of: Mapping[str, list[Fill]], today: date) -> bool:
    """A maintenance drug that the patient takes, as far as one can tell: half of them outlive their paper."""
    if prescription.status is not PrescriptionStatus.active:
        return False
    drug = prescription.drug
    if not drug.maintenance or drug.over_the_counter or prescription.as_needed:
        return False
    fills = fills_of.get(drug.ingredient.casefold())
    seen = prescription.written_on
    if fills:
        seen = max(seen, fills[-1].handed_over_on + timedelta(days=fills[-1].days_supply))
    return seen >= today - STILL_IN_USE


def _is_new(fills: Collection[Fill], today: date) -> bool:
    """First filled within the last three months: the time in which most who stop, stop."""
    return bool(fills) and min(fill.handed_over_on for fill in fills) > today - NEW
