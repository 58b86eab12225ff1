"""What to read first about a patient."""

from __future__ import annotations

import pytest

from services.console.domain.ahead import steps_ahead
from services.console.domain.brief import SHOWN, brief_of, chosen_in, drug_names
from services.console.domain.lines import Line
from services.console.domain.supply import Picture, picture_of
from services.console.domain.visits import Standing
from shared.events.base import Reason
from shared.events.planner import FillKind, PlanComputed
from tests.unit.console.given import TODAY, days, fill, line, plan, prescription, profile, visit

BRIDGED = Reason(code="bridge", params={"days": 5, "on": "2026-10-10", "until": "2026-10-15"})


def drawn(today_minus: int, lasts: int) -> Picture:
    history = profile(prescription("rx"), fills=(fill("rx", today_minus, lasts),))
    return picture_of(history, None, {}, TODAY)


def test_pickups_are_counted_and_a_drug_that_ran_out_is_named() -> None:
    came = visit(visit_id="v0", package="picked_up", handed_over_on=days(-3))
    brief = brief_of("enrolled", days(-60), [(came, Standing.picked_up)], drawn(-20, 15), [], [], None)
    assert brief.so_far == (
        "Enrolled since Sun Aug 9, 2026; 1 package picked up, the last on Mon Oct 5, 2026."
    )
    assert brief.without == ("lisinopril 10 mg: none on hand on 5 of the last 28 days.",)
    assert brief_of("enrolled", None, [], drawn(-20, 30), [], [], None).without == ()


def test_what_went_otherwise_is_shown_newest_first_and_what_went_well_is_not() -> None:
    lines: list[Line] = [line(9, "fill-completed"), *(line(n, "pickup-missed") for n in range(8, 2, -1))]
    shown = brief_of("enrolled", None, [], None, lines, [], None).unplanned
    assert [each.event_id.int for each in shown] == [8, 7, 6, 5][:SHOWN]


def test_the_next_step_and_pickup_are_named_and_why_there_is_a_short_fill() -> None:
    stands: PlanComputed = plan((2, [("rx", FillKind.bridge, 5)]), (7, [("rx", FillKind.full, 30)]))
    steps = steps_ahead([visit(2, kind="bridge")], [], "agreed", TODAY, None)
    brief = brief_of("enrolled", None, [], None, [], steps, stands)
    assert [step.words for step in brief.ahead] == [
        "Call to confirm; if not reached, again in the days after.",
        "Bridge visit: 3 fills (to confirm).",
    ], "what is to happen first, and the next pickup"
    assert brief.why == ()
    why = stands.drugs[0].model_copy(update={"reasons": (BRIDGED, *stands.drugs[0].reasons)})
    told = brief_of("enrolled", None, [], None, [], steps, stands.model_copy(update={"drugs": (why,)})).why
    assert told == (
        f"{why.drug_name}: Runs out before its sync date. "
        "Short fill of 5 days on Sat Oct 10, 2026; the supply lasts through Wed Oct 14, 2026.",
    )
    assert drug_names(stands, {"rx": "as prescribed"}) == {"rx": "as prescribed"}


def test_the_year_is_told_in_one_line_where_the_plan_says_it() -> None:
    stands = plan((7, [("rx", FillKind.full, 30)]))
    assert brief_of("enrolled", None, [], None, [], [], stands).year is None
    params = {"trips": 13, "before": 25, "short_fills": 1, "uncovered": 0}
    reasons = (*stands.reasons, Reason(code="year_ahead_and_before", params=params))
    told = brief_of("enrolled", None, [], None, [], [], stands.model_copy(update={"reasons": reasons}))
    assert told.year == (
        "The next 365 days: 13 trips, against 25 in the past 365 days; 1 short fill in this plan, no gaps."
    )


@pytest.mark.parametrize(
    ("codes", "chose"),
    [
        ({1: "anchor_best_of_year", 2: "anchor_agreed", 3: "anchor_agreed"}, 1),
        ({1: "anchor_best", 2: "anchor_best_of_year", 3: "anchor_agreed"}, 2),
        ({1: "anchor_best", 2: "anchor_agreed", 3: "anchor_agreed"}, 1),
        ({1: "anchor_best", 2: "rescheduled", 3: "rescheduled"}, None),
        ({1: "rescheduled", 2: "rescheduled", 3: "anchor_agreed"}, None),
    ],
)
def test_a_day_that_is_kept_is_explained_by_the_plan_that_chose_it(
    codes: dict[int, str], chose: int | None
) -> None:
    plans = {n: {"anchor_on": "2026-10-15", "reasons": [{"code": code}]} for n, code in codes.items()}
    assert chosen_in(plans, 3) == chose
    another = plans | {4: plans[3] | {"anchor_on": "2026-10-16"}}
    assert chosen_in(another, 4) is None, "what chose another day explains nothing"


def test_somebody_who_left_has_nothing_ahead() -> None:
    brief = brief_of("left", days(-1), [], None, [], [], None)
    assert (brief.so_far, brief.ahead, brief.why) == (
        "No longer enrolled since Wed Oct 7, 2026.",
        (),
        (),
    )
