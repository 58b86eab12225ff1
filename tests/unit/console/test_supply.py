"""The picture of a plan: stock rolled forward, renewals joined, plans that come to nothing left out."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.domain.supply import Picture, Row, What, picture_of
from services.console.domain.visits import Standing
from shared.events.base import Reason
from shared.events.enrollment import StockReport
from shared.events.planner import FillKind, Participation
from tests.unit.console.given import TODAY, days, fill, plan, prescription, profile


def drawn(row: Row) -> list[tuple[What, int, int]]:
    """Stretches as days from today."""
    return [(each.what, (each.start - TODAY).days, (each.end - TODAY).days) for each in row.stretches]


def only(picture: Picture) -> Row:
    (row,) = picture.rows
    return row


def test_history_gap_and_planned_fills_follow_one_another() -> None:
    history = profile(prescription("rx"), fills=(fill("rx", -20, 15),))
    picture = picture_of(
        history, plan((2, [("rx", FillKind.bridge, 5)]), (7, [("rx", FillKind.full, 30)])), {}, TODAY
    )
    assert drawn(only(picture)) == [
        (What.had, -20, -5),
        (What.gap, -5, 2),
        (What.bridge, 2, 7),
        (What.full, 7, 37),
    ], "up to the pickup after the next: what comes then is not planned yet"
    mondays = (4, 11, 18, 25, 32)
    assert picture.noted == tuple(days(n) for n in sorted((0, 2, 7, *mondays)))
    assert only(picture).stock == ((0, 0), (0, 5), (3, 3), (0, 30), *((37 - n, 37 - n) for n in mondays[1:]))
    assert picture.running_out() == {days(-5): [only(picture).name]}


def test_an_early_fill_adds_to_the_stock() -> None:
    history = profile(prescription("rx"), fills=(fill("rx", -20), fill("rx", -10)))
    row = only(picture_of(history, None, {}, TODAY))
    assert drawn(row)[:2] == [(What.had, -20, 10), (What.had, 10, 28)]
    assert row.stock[0] == (40, 40)
    assert row.run_out_on == days(40)


def test_what_the_patient_reports_replaces_the_estimate() -> None:
    said = StockReport(rx_id="rx", reported_on=days(-5), days_left=9)
    history = profile(prescription("rx"), fills=(fill("rx", -20),), said=(said,))
    assert drawn(only(picture_of(history, None, {}, TODAY)))[:2] == [
        (What.had, -20, -5),
        (What.reported, -5, 4),
    ]


def test_a_renewal_goes_on_with_the_drug_it_renews() -> None:
    history = profile(prescription("rx"), prescription("rx-R1"), fills=(fill("rx", -28), fill("rx-R1", 0)))
    row = only(picture_of(history, plan((5, [("rx-R1", FillKind.full, 30)])), {}, TODAY))
    assert row.rx_ids == ("rx", "rx-R1")
    assert row.stock[0] == (2, 32)


def test_a_visit_that_comes_to_nothing_brings_nothing() -> None:
    history = profile(prescription("rx"), fills=(fill("rx", -25),))
    picture = picture_of(history, plan((5, [("rx", FillKind.full, 30)])), {"v5": Standing.unreached}, TODAY)
    assert drawn(only(picture)) == [(What.had, -25, 5), (What.gap, 5, (picture.end - TODAY).days)]


def test_a_drug_that_the_payer_refuses_is_drawn_though_it_takes_no_part() -> None:
    stands = plan((2, [("rx", FillKind.full, 30)]))
    for code, drawn_ in (("payer_refused", 1), ("as_needed", 0)):
        refused = stands.drugs[0].model_copy(
            update={"participation": Participation.excluded, "reasons": (Reason(code=code),)}
        )
        left_out = stands.model_copy(update={"drugs": (refused,)})
        assert len(picture_of(profile(prescription("rx")), left_out, {}, TODAY).rows) == drawn_


def test_a_package_that_waits_is_drawn_from_today_on() -> None:
    history = profile(prescription("rx"), fills=(fill("rx", -30),))
    picture = picture_of(history, plan((-2, [("rx", FillKind.full, 30)])), {"v-2": Standing.late}, TODAY)
    assert (What.full, 0, 28) in drawn(only(picture))


def test_drugs_that_do_not_take_part_are_not_drawn() -> None:
    history = profile(prescription("rx"), prescription("prn", "ibuprofen"))
    picture = picture_of(history, plan((5, [("rx", FillKind.full, 30)]), excluded=("prn",)), {}, TODAY)
    assert [row.name for row in picture.rows] == ["rx"]


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(-60, 0), st.integers(1, 90)), max_size=8))
def test_stretches_never_overlap_and_cover_the_picture_from_the_first_fill_on(
    fills: list[tuple[int, int]],
) -> None:
    history = profile(prescription("rx"), fills=tuple(fill("rx", on, supply) for on, supply in fills))
    picture = picture_of(history, plan((5, [("rx", FillKind.full, 30)])), {}, TODAY)
    row = only(picture)
    at: date = row.stretches[0].start
    for each in row.stretches:
        assert each.start == at
        assert each.days > 0
        at = each.end
    assert at == picture.end
