"""Whether a patient may be forgotten, and what stays: by what is on record, and the policy's years."""

from __future__ import annotations

from datetime import date

import pytest

from services.enrollment.domain.erasure import Record, Rule, judge, years_after
from services.enrollment.domain.profile import Standing
from services.enrollment.erasing import retention

TODAY = date(2026, 11, 1)
POLICY = {
    Record.controlled_substances: Rule(2, names=True, source="a"),
    Record.dispensing: Rule(10, names=False, source="b"),
    Record.consent: Rule(6, names=False, source="c"),
}


@pytest.mark.parametrize(
    ("standing", "held", "last", "against", "stays"),
    [
        (Standing.known, None, {}, [], []),
        (Standing.enrolled, None, {}, ["enrolled"], []),
        (Standing.disenrolled, "26-31", {}, ["legal_hold"], []),
        (Standing.enrolled, "", {}, ["legal_hold", "enrolled"], []),
        (Standing.disenrolled, None, {Record.dispensing: TODAY}, [], [(Record.dispensing, 2036)]),
        (Standing.disenrolled, None, {Record.consent: date(2020, 11, 1)}, [], []),
        (Standing.disenrolled, None, {Record.consent: date(2020, 11, 2)}, [], [(Record.consent, 2026)]),
        (
            Standing.disenrolled,
            None,
            {Record.controlled_substances: date(2024, 11, 2)},
            ["kept_controlled_substances"],
            [(Record.controlled_substances, 2026)],
        ),
        (Standing.disenrolled, None, {Record.controlled_substances: date(2024, 11, 1)}, [], []),
    ],
)
def test_what_stands_against_it_and_what_stays(
    standing: Standing,
    held: str | None,
    last: dict[Record, date],
    against: list[str],
    stays: list[tuple[Record, int]],
) -> None:
    ruling = judge(standing, held, last, POLICY, TODAY)
    assert [each.code for each in ruling.against] == against
    assert [(each.record, each.until.year) for each in ruling.stays] == stays


def test_years_after_a_leap_day_are_not_cut_short() -> None:
    assert years_after(date(2024, 2, 29), 2) == date(2026, 3, 1)
    assert years_after(date(2024, 2, 29), 4) == date(2028, 2, 29)


def test_the_policy_that_is_shipped_names_its_sources() -> None:
    assert retention().keys() == set(Record)
    assert all("CFR" in rule.source for rule in retention().values())
    assert retention()[Record.controlled_substances] == Rule(
        2, names=True, source="21 CFR 1304.04(a): two years from the date of the record"
    )
