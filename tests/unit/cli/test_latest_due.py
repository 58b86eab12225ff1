"""The rule to compare with, in numbers worked by hand."""

from __future__ import annotations

from datetime import date

import pytest

from cli.demo.latest_due import Due, short_fills, sync_date

TODAY = date(2026, 10, 1)
ATORVASTATIN = Due(date(2026, 10, 28), 30)  # runs out last


@pytest.mark.parametrize(
    ("others", "number"),
    [
        ([], 0),
        ([Due(date(2026, 10, 28), 90)], 0),  # the same day
        ([Due(date(2026, 10, 20), 30)], 1),  # 8 days to go: one of 8
        ([Due(date(2026, 10, 20), 30), Due(date(2026, 10, 5), 90)], 2),  # 8, and 23
        ([Due(date(2026, 9, 28), 30)], 1),  # out since 3 days: from today 27 to go
        ([Due(date(2026, 10, 14), 14)], 0),  # 14 days to go: a usual fill
        ([Due(date(2026, 10, 7), 14)], 1),  # 21 to go: a usual fill, then one of 7
    ],
)
def test_what_runs_out_before_the_last_drug_is_short_filled_up_to_it(others: list[Due], number: int) -> None:
    drugs = [*others, ATORVASTATIN]
    assert sync_date(drugs, TODAY) == date(2026, 10, 28)
    assert short_fills(drugs, TODAY) == number


def test_drugs_that_are_all_out_are_filled_today() -> None:
    drugs = [Due(date(2026, 9, 1), 30), Due(date(2026, 9, 20), 90)]
    assert (sync_date(drugs, TODAY), short_fills(drugs, TODAY), short_fills([], TODAY)) == (TODAY, 0, 0)
