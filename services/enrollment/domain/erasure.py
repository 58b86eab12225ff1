"""Whether a patient may be forgotten: what stands against it, and what stays, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from services.enrollment.domain.profile import Standing


class Record(StrEnum):
    """Kinds of record that are kept for some years."""

    controlled_substances = "controlled_substances"
    dispensing = "dispensing"
    consent = "consent"


@dataclass(frozen=True, slots=True)
class Rule:
    """For how long a kind of record is kept, and whether it has to say who the patient is."""

    years: int
    names: bool
    source: str


Policy = Mapping[Record, Rule]


@dataclass(frozen=True, slots=True)
class Stays:
    """A kind of record that stays, and why."""

    record: Record
    until: date
    names: bool
    source: str


@dataclass(frozen=True, slots=True)
class Against:
    """Why a patient cannot be forgotten now, for programs and for people; `until` where a day is known."""

    code: str
    words: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is said to who asks to be forgotten. They may be where nothing stands against it."""

    against: tuple[Against, ...]
    stays: tuple[Stays, ...]


def judge(
    standing: Standing, held_because: str | None, last: Mapping[Record, date], policy: Policy, today: date
) -> Ruling:
    """`held_because`: of a legal hold; `last`: the newest record of each kind that there is."""
    stays = tuple(
        Stays(record, until, policy[record].names, policy[record].source)
        for record, day in sorted(last.items())
        if (until := years_after(day, policy[record].years)) > today
    )
    against = []
    if held_because is not None:
        against.append(
            Against("legal_hold", "a legal hold is on the patient's records: lift it first, where it is over")
        )
    if standing is Standing.enrolled:
        against.append(Against("enrolled", "the patient is enrolled: disenroll them first"))
    against += [
        Against(
            f"kept_{each.record}",
            f"the record of {each.record.replace('_', ' ')} has to name the patient until {each.until} ({each.source})",
            each.until,
        )
        for each in stays
        if each.names
    ]
    return Ruling(tuple(against), stays)


def years_after(day: date, years: int) -> date:
    """The same day so many years later; of February 29 the day after where that year has none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
