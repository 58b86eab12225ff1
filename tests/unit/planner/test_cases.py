"""Small patients on whom a planner that compares two pickups, and no year, was wrong; by the chain's own policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from services.planner.inputs import plan, read_patient
from shared.events.planner import DrugDecision, PlanComputed
from shared.words import explain

TODAY = date(2026, 6, 10)  # a Wednesday; the first workable day is Sun 14

Row = tuple[dict[str, Any], dict[str, Any]]


def row(name: str, days: int, ago: int, **facts: Any) -> Row:
    """A prescription of one unit a day with its last fill, so many days ago; `facts` take the place of these."""
    drug = {"name": name, "ingredient": name, "strength": "1 mg", "form": "tablet", **facts.pop("drug", {})}
    filled = (TODAY - timedelta(days=ago)).isoformat()
    prescription = {
        "rx_id": name,
        "drug": drug,
        "usual_quantity": days,
        "usual_days": days,
        "quantity_left": days * 12,
        "units_per_day": 1,
        "written_on": "2026-01-05",
        "expires_on": "2027-01-05",
        "payer": "commercial",
        **facts,
    }
    fill = {"rx_id": name, "filled_on": filled, "handed_over_on": filled, "days_supply": days}
    return prescription, {**fill, "quantity": prescription["usual_quantity"]}


def planned(rows: Sequence[Row], **more: Any) -> PlanComputed:
    document = {
        "patient_id": "p1",
        "store_id": "s1",
        "today": TODAY.isoformat(),
        "prescriptions": [prescription for prescription, _ in rows],
        "fills": [fill for _, fill in rows],
        **more,
    }
    said = plan(read_patient(document), TODAY)
    assert isinstance(said, PlanComputed)
    return said


def of(said: PlanComputed, rx_id: str) -> DrugDecision:
    return next(each for each in said.drugs if each.rx_id == rx_id)


def fills(said: PlanComputed, rx_id: str) -> list[tuple[date, int]]:
    """Day and days' supply of each fill."""
    return [
        (visit.on, item.days_supply) for visit in said.visits for item in visit.items if item.rx_id == rx_id
    ]


def codes(said: PlanComputed, rx_id: str) -> set[str]:
    return {reason.code for reason in of(said, rx_id).reasons}


def joins(said: PlanComputed, *rx_ids: str) -> set[date | None]:
    return {of(said, rx_id).joins_on for rx_id in rx_ids}


def test_two_drugs_that_their_payer_pays_for_ninety_days_alone_come_together() -> None:
    """84 to 90 days are paid: a full fill of each, and from the third visit on both at once."""
    said = planned(
        [row("a", 90, 77, payer="commercial_ninety"), row("b", 90, 51, payer="commercial_ninety")],
        cycle_policy="rolling_90",
    )
    assert len({*joins(said, "a", "b")} - {said.anchor_on}) <= 1 and None not in joins(said, "a", "b")
    assert said.rhythm and said.rhythm.cycle_days == 90
    assert said.rhythm.trips_a_year <= 6
    assert said.uncovered_days == 0
    assert all(84 <= days <= 90 for rx_id in "ab" for _, days in fills(said, rx_id))


def test_ninety_day_drugs_have_a_rhythm_of_ninety_days_unasked() -> None:
    said = planned([row("a", 90, 82), row("b", 90, 51), row("c", 90, 21)])
    assert said.rhythm and said.rhythm.cycle_days == 90
    assert said.rhythm.trips_a_year <= 6
    assert "Pickups every 90 days." in explain(said)
    assert len(joins(said, "a", "b", "c") - {said.anchor_on}) == 1, "all are in sync at the next pickup"


def test_a_doubled_dose_is_filled_before_the_old_stock_ends_at_it_and_the_payer_is_told_why() -> None:
    """17 tablets were left two days ago, and were to last until June 27; at two a day until the 17th."""
    old = row("old", 30, 13, status="discontinued", drug={"name": "W", "ingredient": "w", "critical": True})
    new, _ = row(
        "new",
        30,
        0,
        drug={"name": "W", "ingredient": "w", "critical": True},
        usual_quantity=60,
        quantity_left=660,
        units_per_day=2,
        written_on="2026-06-08",
    )
    said = planned([old], prescriptions=[old[0], new])
    [(on, days), *_] = fills(said, "new")
    assert on <= date(2026, 6, 17) and days == 30
    assert {"therapy_change_fill", "dose_changed"} <= codes(said, "new")
    [item] = said.visits[0].items
    assert item.clarification_codes == ("05",)
    assert said.uncovered_days == 0


def test_an_anticoagulant_that_is_out_tomorrow_is_filled_today() -> None:
    said = planned([row("a", 30, 29, drug={"critical": True}), row("b", 30, 9)])
    first = said.visits[0]
    assert first.urgent and first.on in (TODAY, TODAY + timedelta(days=1))
    assert [item.rx_id for item in first.items] == ["a"]
    assert said.uncovered_days == 0


def test_before_a_closure_of_two_weeks_the_patient_is_served_on_its_eve() -> None:
    """Closed from Sat 13 to Fri 26; a is paid from the 12th on, and out on the 19th; b is out on the 27th."""
    closed = [(date(2026, 6, 13) + timedelta(days=n)).isoformat() for n in range(14)]
    said = planned([row("a", 30, 21), row("b", 30, 13)], calendar={"closed_on": closed})
    assert fills(said, "a")[0][0] == date(2026, 6, 12)
    assert said.visits[0].urgent
    assert said.uncovered_days == 0
    for visit in said.visits:
        assert visit.on.isoformat() not in closed
        assert all(step.on.isoformat() not in closed for step in visit.steps if step.on <= visit.on)


def test_an_inhaler_has_no_trip_of_its_own_beside_that_of_a_tablet() -> None:
    """a is out on the 19th; b is paid from the 20th, the inhaler from the 17th: these two go together."""
    said = planned([row("a", 30, 21), row("b", 30, 13), row("i", 30, 16, drug={"form": "inhaler"})])
    assert all(item.rx_id != "i" or len(visit.items) > 1 for visit in said.visits for item in visit.items)
    assert None not in joins(said, "a", "b", "i")
    assert said.uncovered_days == 0


def test_no_payer_is_asked_for_and_cash_has_no_claims() -> None:
    nobody = planned([row("a", 30, 27, payer=None), row("b", 30, 5, payer=None)])
    assert "payer_missing" in codes(nobody, "a") & codes(nobody, "b")
    cash = planned([row("a", 30, 27, payer="cash"), row("b", 30, 5, payer="cash")])
    assert "cash_price" in codes(cash, "a") & codes(cash, "b")
    assert not any(item.clarification_codes for visit in cash.visits for item in visit.items)
    assert not any("79" in sentence or "reject" in sentence for sentence in explain(cash))


def test_what_is_not_due_is_filled_before_it_runs_out() -> None:
    """b lasts until Aug 21."""
    said = planned([row("a", 30, 10), row("b", 90, 18)])
    [not_due] = [each for each in of(said, "b").reasons if each.code == "not_due"]
    assert date.fromisoformat(str(not_due.params["joins_on"])) <= date(2026, 8, 21)
    assert of(said, "b").joins_on == date.fromisoformat(str(not_due.params["joins_on"]))


@pytest.mark.parametrize("per_day", [0.142857, 0.14285714285714285, "0.1429"])
def test_a_seventh_of_a_tablet_a_day_is_one_a_week_however_many_digits_it_has(per_day: object) -> None:
    said = planned([row("a", 28, 16, usual_quantity=4, quantity_left=44, units_per_day=per_day)])
    assert fills(said, "a")[0][1] == 28
    assert isinstance(per_day, str) or any("1 a week" in sentence for sentence in explain(said))
