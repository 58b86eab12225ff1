"""Who pays: cash, a plan that is known, one that is not, and nobody on file."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Action, Fill, Plan, Rejection, Rules, Span
from services.planner.domain.payers import CASH, PayerRule, SyncLaw, rule_on
from services.planner.inputs import answer, plan, read_patient
from services.planner.publishing import event_of, payload_of
from shared.words import explain
from tests.unit.planner.cases import COMMERCIAL, TODAY, fill, in_days, patient, prescription
from tests.unit.planner.test_plan import codes, of, pinned, planned

LIMITED = replace(  # whatever a payer may demand
    COMMERCIAL,
    unknown_payer=PayerRule("unknown", look_back_days=180, days_supplies=frozenset({30, 90})),
)


def cash(run_outs: dict[str, int], payer: str | None = "cash", **facts: Any) -> Any:
    return patient(
        [prescription(name, payer=payer, **facts) for name in run_outs],
        [fill(name, in_days(days - 30)) for name, days in run_outs.items()],
    )


def ninety_at_cash() -> Any:
    """Ninety days at a time: with months left of it, a usual fill before the pickup weighs more than a short one."""
    return cash({"a": 12, "b": 20}, usual_days=90, usual_quantity=Decimal(90))


def words(made: Plan) -> str:
    return "\n".join(explain(event_of(payload_of(made, "p", "s", 1, 1))))


def test_cash_has_no_claims_codes_or_refill_too_soon() -> None:
    """a was filled two days ago, b runs out on day 6: an insurer would pay a from day 21 on."""
    made = planned(cash({"a": 28, "b": 6}), rules=LIMITED)
    items = [item for visit in made.visits for item in visit.items]
    assert made.visits[0].on <= in_days(6) and len(made.visits[0].items) == 2
    assert all(item.payable_from is None or item.payable_from <= TODAY for item in made.visits[0].items)
    assert not any(code for item in items for code in item.clarification_codes)
    for drug in made.drugs:
        assert "cash_price" in codes(drug.reasons)
        assert not {"payer_rule_assumed", "payer_missing", "short_fill_assumed"} & {*codes(drug.reasons)}
    told = words(made)
    assert "cash price" in told
    assert not any(
        word in told for word in ("79", "clarification code", "payer", "Insurance pays", "payable on")
    )


def test_a_short_fill_at_the_cash_price_carries_no_code() -> None:
    made = planned(ninety_at_cash(), pinned(20), rules=LIMITED)
    bridge = made.visits[0].items[0]
    assert of(made, "a").action is Action.bridge and bridge.days_supply == 8
    assert bridge.clarification_codes == ()


def test_the_fill_after_it_carries_none_either() -> None:
    made = planned(ninety_at_cash(), pinned(20), rules=LIMITED)
    assert [item.clarification_codes for item in made.visits[-1].items] == [(), ()]


@pytest.mark.parametrize("written", ["cash", "CASH", " Cash "])
def test_cash_is_cash_however_it_is_written_and_whatever_the_entries_say(written: str) -> None:
    entry = PayerRule("cash", refill_percent=90)
    assert rule_on(written, TODAY, [entry], COMMERCIAL.unknown_payer) == (CASH, True)


def test_what_a_payer_said_before_does_not_hold_for_cash() -> None:
    """A refusal, an authorization that ended, a lapse of insurance, a law of synchronization: nobody to say it."""
    law = SyncLaw(
        "a law", "OK", frozenset({"commercial", ""}), date.min, overrides_too_soon=True, syncs_a_year=1
    )
    profile = replace(
        cash({"a": 9, "b": 12}, prior_authorization_until=in_days(-9)),
        rejections=(Rejection("rx-a", "75", in_days(-1)), Rejection("rx-b", "79", in_days(-1), in_days(50))),
        uninsured=(Span(in_days(-5)),),
    )
    made = planned(profile, rules=replace(LIMITED, laws=(law,)), calendar=Calendar(state="OK"))
    assert [item.rx_id for item in made.visits[0].items] == ["rx-a", "rx-b"]
    given = {code for drug in made.drugs for code in codes(drug.reasons)}
    assert not given & {"payer_refused", "payer_says", "authorization_ended", "override_by_law"}


def test_law_and_prescriber_decide_at_the_cash_price_too() -> None:
    profile = cash({"a": 9, "b": 9}, fill_from=in_days(14))
    assert min(visit.on for visit in planned(profile, rules=LIMITED).visits) >= in_days(14)


def test_a_changed_dose_at_the_cash_price_carries_no_code() -> None:
    old = prescription("a", rx_id="rx-old", payer="cash", status="discontinued")
    new = prescription("a", payer="cash", units_per_day=Decimal(2), usual_quantity=Decimal(60))
    profile = patient([old, new], [Fill("rx-old", in_days(-10), in_days(-10), 30)])
    made = planned(profile, rules=LIMITED)
    assert not any(item.clarification_codes for visit in made.visits for item in visit.items)


@pytest.mark.parametrize("payer", [None, "", "  "])
def test_no_payer_is_not_cash_it_is_asked_for_and_planned_cautiously(payer: str | None) -> None:
    made = planned(cash({"a": 12, "b": 20}, payer), pinned(20), rules=COMMERCIAL)
    first = made.visits[0].items[0]
    assert first.payable_from == in_days(12 - 30 + 26)
    for name in ("a", "b"):
        assert "payer_missing" in codes(of(made, name).reasons)
        assert "payer_rule_assumed" not in codes(of(made, name).reasons)
    assert (
        "No insurance on file: planned by the rules of the strictest plan. Ask for the card, or record the patient as "
        "cash pay." in words(made)
    )


def test_a_payer_that_is_given_but_not_known_stays_assumed() -> None:
    reasons = codes(of(planned(cash({"a": 12}, "acme")), "a").reasons)
    assert "payer_rule_assumed" in reasons and "payer_missing" not in reasons


def test_a_second_payer_and_a_coupon_are_kept_and_said_and_change_nothing() -> None:
    document = {
        "patient_id": "p1",
        "today": "2026-06-10",
        "prescriptions": [
            {
                **{
                    "rx_id": "a",
                    "drug": {"name": "Lisinopril", "ingredient": "lisinopril", "form": "tablet"},
                },
                **{"usual_quantity": 30, "usual_days": 30, "quantity_left": 330, "units_per_day": 1},
                **{"written_on": "2026-01-05", "expires_on": "2027-01-05", "payer": "commercial"},
            }
        ],
        "fills": [
            {
                **{"rx_id": "a", "filled_on": "2026-05-20", "handed_over_on": "2026-05-20"},
                **{"days_supply": 30, "quantity": 30},
            }
        ],
    }
    with_both = json.loads(json.dumps(document))
    with_both["prescriptions"][0] |= {"second_payer": "medicaid", "coupon": "card 0042"}
    plain, also = (answer(plan(read_patient(each), date(2026, 6, 10))) for each in (document, with_both))
    assert also["plan"]["visits"] == plain["plan"]["visits"]
    told = "\n".join(also["sentences"])
    assert "Also on file: secondary insurance medicaid. The plan does not count it." in told
    assert "Also on file: a coupon. The plan does not count it." in told
    assert "0042" not in told


def test_rules_in_force_know_cash_without_an_entry() -> None:
    assert rule_on("cash", TODAY, Rules().payers, Rules().unknown_payer) == (CASH, True)
