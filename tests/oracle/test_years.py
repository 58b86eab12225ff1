"""What a year by the planner's plans must come to, over four families of patients drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor

import pytest

from tests.oracle.adapter import plan_of
from tests.oracle.documents import question_of
from tests.oracle.families import FAMILIES, HEAD, Document, drug, family, patient
from tests.oracle.year import Year, best_rhythm, follow

WITHIN = Fraction(95, 100)


@dataclass(frozen=True)
class Followed:
    """A patient's year, beside the best that could be had."""

    document: Document
    year: Year
    best: Fraction

    @property
    def is_within_a_trip(self) -> bool:
        return self.year.weight <= self.best + 1


def followed(document: Document) -> Followed:
    return Followed(document, follow(document, plan_of), best_rhythm(document))


@lru_cache
def years(name: str, count: int) -> list[Followed]:
    return [followed(document) for document in family(name, count)]


few = pytest.mark.parametrize(
    "count", [10, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
every_family = pytest.mark.parametrize("name", FAMILIES)


@few
@every_family
def test_a_year_comes_within_a_trip_of_the_best_rhythm(name: str, count: int) -> None:
    """What falls on the edges of the 365 days decides most of those beyond: a first pickup in the first days, and the
    thirteenth cycle after it in the last ones."""
    beyond = [each for each in years(name, count) if not each.is_within_a_trip]
    assert len(beyond) <= count - floor(count * WITHIN), [
        (each.document["patient_id"], len(each.year.trips), each.year.short_fills, float(each.best))
        for each in beyond
    ]


@few
@every_family
def test_nobody_lacks_a_drug_that_could_have_been_had(name: str, count: int) -> None:
    lacking = {each.document["patient_id"]: each.year.avoidable for each in years(name, count)}
    assert not {who: drugs for who, drugs in lacking.items() if any(drugs.values())}


@few
@every_family
def test_there_is_always_a_plan(name: str, count: int) -> None:
    assert not [each.year.unplanned for each in years(name, count) if each.year.unplanned]


@few
@every_family
def test_drugs_that_can_be_filled_keep_the_rhythm_at_the_end(name: str, count: int) -> None:
    kept = [each.year.keeping(question_of(each.document)) for each in years(name, count)]
    assert sum(kept) / count >= WITHIN


@few
@every_family
def test_the_next_pickup_comes_on_the_day_that_was_promised(name: str, count: int) -> None:
    kept = [day for each in years(name, count) for day in each.year.next_kept]
    assert sum(kept) >= len(kept) * WITHIN


@few
@every_family
def test_once_all_have_joined_a_cycle_has_one_pickup(name: str, count: int) -> None:
    pickups = [number for each in years(name, count) for number in each.year.pickups_of_cycles]
    assert pickups.count(1) >= len(pickups) * WITHIN


@few
@every_family
def test_the_year_that_was_said_is_the_year_that_comes(name: str, count: int) -> None:
    near = [abs(each.year.said - len(each.year.trips)) <= 1 for each in years(name, count)]
    assert sum(near) >= count * WITHIN


CAN_BE_HAD = {
    "six drugs of 90 days, two weeks apart": 6,
    "three drugs of 90 days": 6,
    "two drugs of 90 days, payer pays 90 alone": 7,
    "tablets of 30 days with one 28-day pack": 14,
    "tablets of 30 days with two inhalers": 16,
    "two drugs of 60 days": 7,
    "a new 90-day drug beside two in step": 5,
}


@pytest.mark.parametrize("name", HEAD)
def test_the_years_that_the_first_planner_wasted_come_to_what_can_be_had(name: str) -> None:
    """Or, where the phases drawn here allow no better, to within a trip of the best rhythm."""
    for each in map(followed, HEAD[name]):
        assert len(each.year.trips) <= CAN_BE_HAD[name] or each.is_within_a_trip, each.document


def test_two_drugs_of_60_days_come_together_on_the_day_that_was_promised() -> None:
    """E4: June 20, July 5, then together from August 19 on."""
    year = follow(patient("e4", [drug("a", 60, 50), drug("b", 60, 20)]), plan_of)
    together = {day for day in year.trips if sum(fill.day == day for fill in year.fills) == 2}
    assert len(year.trips) <= 7
    assert len(together) >= len(year.trips) - 2
