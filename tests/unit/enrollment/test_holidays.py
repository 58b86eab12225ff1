"""Which days a store is closed because they are holidays."""

from __future__ import annotations

from datetime import date

import pytest

from services.enrollment.domain.holidays import Observed, holidays_of

TODAY = date(2026, 11, 28)


@pytest.mark.slow
def test_most_pharmacies_are_closed_on_six_days_a_year() -> None:
    assert holidays_of("OK", Observed.major, TODAY) == (
        date(2026, 1, 1),
        date(2026, 5, 25),
        date(2026, 7, 4),
        date(2026, 9, 7),
        date(2026, 11, 26),
        date(2026, 12, 25),
        date(2027, 1, 1),
        date(2027, 5, 31),
        date(2027, 7, 4),
        date(2027, 9, 6),
        date(2027, 11, 25),
        date(2027, 12, 25),
        date(2028, 1, 1),
        date(2028, 5, 29),
        date(2028, 7, 4),
        date(2028, 9, 4),
        date(2028, 11, 23),
        date(2028, 12, 25),
    )


@pytest.mark.parametrize(
    ("state", "day"),
    [
        ("MA", date(2026, 4, 20)),
        ("HI", date(2026, 3, 26)),
        ("TX", date(2026, 3, 2)),
        ("AK", date(2026, 3, 30)),
    ],
    ids=["Patriots' Day", "Prince Kuhio Day", "Texas Independence Day", "Seward's Day"],
)
def test_states_have_holidays_of_their_own(state: str, day: date) -> None:
    assert day in holidays_of(state, Observed.state, TODAY)
    assert day not in holidays_of("OK", Observed.state, TODAY)
    assert day not in holidays_of(state, Observed.major, TODAY)


def test_a_store_that_keeps_none_is_closed_on_none() -> None:
    assert holidays_of("OK", Observed.none, TODAY) == ()


def test_a_state_that_is_not_known_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        holidays_of("XX", Observed.major, TODAY)
