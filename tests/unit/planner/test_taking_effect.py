"""A staff decision that a confirmed visit would swallow is refused; of one that counts only later it is said."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.domain.model import FillKind, PromisedItem, StaffDecision, StaffDecisionKind, VisitKind
from services.planner.domain.progress import OpenVisit, Progress
from services.planner.domain.staff_decisions import NEEDS, excluded_by
from services.planner.domain.taking_effect import remarks_on, remarks_on_revoked, swallowed
from services.planner.publishing import reason_of
from shared.words import render
from tests.unit.planner.cases import TODAY, in_days

SYNCHRONIZED, BRIDGE = VisitKind.synchronized, VisitKind.bridge


def decision(kind: str, rx_id: str | None = None, on: int | None = None) -> StaffDecision:
    needed = NEEDS[StaffDecisionKind(kind)]
    return StaffDecision(
        StaffDecisionKind(kind),
        "pharmacist",
        "because",
        TODAY,
        rx_id or ("rx-a" if "rx_id" in needed else None),
        in_days(10 if on is None else on) if "on" in needed else None,
        Decimal(10) if "quantity" in needed else None,
    )


def visit(kind: VisitKind, days: int, *rx_ids: str, confirmed: bool = True) -> OpenVisit:
    items = tuple(PromisedItem(rx_id, FillKind.full, Decimal(30), 30) for rx_id in rx_ids)
    return OpenVisit(f"{kind}-{days}", kind, in_days(days), items, confirmed)


def with_visits(*visits: OpenVisit) -> Progress:
    return Progress("patient-1", agreed=True, visits=visits)


AHEAD = with_visits(visit(SYNCHRONIZED, 5, "rx-a", "rx-b"))
TO_CONFIRM = with_visits(visit(SYNCHRONIZED, 5, "rx-a", "rx-b", confirmed=False))
DUE = with_visits(visit(SYNCHRONIZED, 0, "rx-a", "rx-b"))
BRIDGE_DUE = with_visits(visit(BRIDGE, 0, "rx-a"), visit(SYNCHRONIZED, 9, "rx-a", "rx-b", confirmed=False))


@pytest.mark.parametrize(
    ("made", "progress", "refused", "said"),
    [
        (decision("exclude"), AHEAD, None, ["decision_excludes"]),
        (decision("exclude"), DUE, None, ["decision_excludes", "decision_after_visit"]),
        (decision("include", "rx-c"), AHEAD, None, []),
        (decision("include", "rx-c"), DUE, None, ["decision_after_visit"]),
        (decision("quantity"), TO_CONFIRM, None, []),
        (decision("quantity"), AHEAD, "decision_pickup_confirmed", None),
        (decision("quantity"), BRIDGE_DUE, None, ["decision_after_visit"]),
        (decision("fill", "rx-c"), AHEAD, "decision_pickup_confirmed", None),
        (decision("fill", "rx-c"), DUE, "decision_pickup_confirmed", None),
        (decision("day"), TO_CONFIRM, None, []),
        (decision("day"), AHEAD, None, ["decision_day_asks_anew"]),
        (decision("day", on=5), AHEAD, None, []),
        (decision("day"), DUE, "decision_visit_due", None),
        (decision("day"), BRIDGE_DUE, None, ["decision_after_visit"]),
        (decision("hold"), AHEAD, None, ["decision_hold_not_of_filled"]),
        (decision("hold", on=4), AHEAD, None, []),
        (decision("hold"), DUE, "decision_hold_too_late", None),
        (decision("hold", on=0), DUE, None, ["decision_after_visit"]),
        (decision("hold", "rx-b"), BRIDGE_DUE, None, ["decision_after_visit"]),
    ],
)
def test_a_decision_takes_effect_or_says_when_or_is_refused(
    made: StaffDecision, progress: Progress, refused: str | None, said: list[str] | None
) -> None:
    refusal = swallowed(made, progress, TODAY)
    assert (refusal.code if refusal else None) == refused
    remarks = remarks_on(made, progress, TODAY)
    if said is not None:
        assert [remark.code for remark in remarks] == said
    for reason in (*remarks, *([refusal] if refusal else ())):
        words = render(reason_of(reason))
        assert "{" not in words and "_" not in words


def test_a_conditional_visit_of_today_is_planned_anew_and_swallows_nothing() -> None:
    """What some of it depends on may still come today."""
    [waiting] = DUE.visits
    progress = with_visits(
        OpenVisit(
            waiting.visit_id,
            waiting.kind,
            waiting.on,
            waiting.items,
            True,
            wait_to_the_end=frozenset({"rx-a"}),
        )
    )
    assert swallowed(decision("hold"), progress, TODAY) is None
    assert remarks_on(decision("include", "rx-c"), progress, TODAY) == ()


def test_revoking_an_exclusion_says_what_does_not_come_back() -> None:
    assert [each.code for each in remarks_on_revoked(decision("exclude"), AHEAD, TODAY)] == [
        "decision_exclusion_revoked"
    ]
    assert [each.code for each in remarks_on_revoked(decision("hold"), DUE, TODAY)] == [
        "decision_after_visit"
    ]


kinds = st.sampled_from(["include", "exclude", "hold", "fill"])


@pytest.mark.slow
@given(st.lists(st.tuples(kinds, st.sampled_from(["rx-a", "rx-b"])), max_size=8))
def test_the_newest_decision_in_or_out_of_each_drug_is_the_one_that_counts(
    made: list[tuple[str, str]],
) -> None:
    newest = {rx_id: kind for kind, rx_id in made if kind in ("include", "exclude")}
    kept = excluded_by([decision(kind, rx_id) for kind, rx_id in made])
    assert kept.keys() == {rx_id for rx_id, kind in newest.items() if kind == "exclude"}
    assert all(each.made_on <= TODAY + timedelta(0) for each in kept.values())
