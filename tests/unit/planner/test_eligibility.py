"""Which drug takes part, with the reason that staff are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from services.planner.domain.eligibility import Eligibility, assess
from services.planner.domain.model import (
    ConditionKind,
    Participation,
    Prescription,
    Rejection,
    StockReport,
)
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription

FIRST_WORKABLE = in_days(4)
EXCLUDED, RIDE_ALONG, SYNC = Participation.excluded, Participation.ride_along, Participation.sync


def parts_of(prescriptions: Sequence[Prescription], **facts: object) -> dict[str, Eligibility]:
    """Every drug was filled ten days ago, unless said otherwise."""
    fills = facts.pop("fills", [fill(each.drug.name, in_days(-10)) for each in prescriptions])
    profile = patient(prescriptions, fills, **facts)  # type: ignore[arg-type]
    parts = assess(profile, COMMERCIAL, TODAY, FIRST_WORKABLE)
    return {part.prescription.rx_id: part for part in parts}


@pytest.mark.parametrize(
    ("facts", "state", "code"),
    [
        ({}, SYNC, "maintenance"),
        ({"drug": drug("a", form="capsule")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="Tablet")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="TAB")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="tablet, extended release")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="Oral Tablet")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="12 HR Extended Release Oral Capsule")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="tablet_er")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="Softgel")}, SYNC, "maintenance"),
        ({"drug": drug("a", form="Tablet Dose Pack")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="Inhalation Capsule")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="Powder for Oral Suspension")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="Topical Gel")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="wafer")}, RIDE_ALONG, "form_not_recognised"),
        ({"drug": drug("a", form="inhaler")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="drops"), "units_per_day": None}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", unbreakable=True)}, RIDE_ALONG, "unbreakable_pack"),
        ({"drug": drug("a", form="")}, RIDE_ALONG, "form_unknown"),
        ({"status": "on_hold"}, EXCLUDED, "on_hold"),
        ({"status": "discontinued"}, EXCLUDED, "discontinued"),
        ({"status": "superseded"}, EXCLUDED, "superseded"),
        ({"status": "other"}, EXCLUDED, "inactive"),
        ({"status": "outside"}, EXCLUDED, "outside"),
        ({"drug": drug("a", over_the_counter=True)}, EXCLUDED, "over_the_counter"),
        ({"drug": drug("a", rems=True)}, EXCLUDED, "rems"),
        ({"drug": drug("a", special_handling=True)}, EXCLUDED, "special_handling"),
        ({"drug": drug("a", form="cream")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="pack")}, RIDE_ALONG, "not_divisible"),
        ({"drug": drug("a", form="injection")}, RIDE_ALONG, "not_divisible"),
        ({"prior_authorization_until": in_days(4)}, SYNC, "maintenance"),
        ({"drug": drug("a", schedule="c2")}, EXCLUDED, "schedule_2"),
        ({"drug": drug("a", schedule="c4")}, EXCLUDED, "controlled"),
        ({"drug": drug("a", schedule="other")}, EXCLUDED, "controlled"),
        ({"as_needed": True}, EXCLUDED, "as_needed"),
        ({"drug": drug("a", antibiotic=True)}, EXCLUDED, "antibiotic"),
        ({"drug": drug("a", maintenance=False)}, EXCLUDED, "not_maintenance"),
        ({"units_per_day": None}, EXCLUDED, "directions_unknown"),
        ({"units_per_day": Decimal(0)}, EXCLUDED, "directions_unknown"),
        ({"usual_quantity": Decimal(0)}, EXCLUDED, "days_supply_unknown"),
        ({"usual_days": 0, "units_per_day": None}, EXCLUDED, "days_supply_unknown"),
        ({"usual_days": 0}, SYNC, "maintenance"),
        ({"quantity_left": Decimal(1)}, SYNC, "maintenance"),
        ({"expires_on": in_days(4)}, SYNC, "maintenance"),
    ],
)
def test_three_states_each_with_a_reason(facts: dict[str, object], state: Participation, code: str) -> None:
    part = parts_of([prescription("a", **facts)])["rx-a"]
    assert (part.participation, part.reason.code) == (state, code)


def test_who_lives_in_long_term_care_takes_part_with_nothing() -> None:
    parts = parts_of([prescription("a"), prescription("b")], long_term_care=True)
    assert {part.reason.code for part in parts.values()} == {"long_term_care"}


def test_a_new_drug_joins_after_its_first_fill() -> None:
    assert parts_of([prescription("a")], fills=[])["rx-a"].reason.code == "first_fill_awaited"
    assert parts_of([prescription("a")], fills=[fill("a", TODAY)])["rx-a"].participation is SYNC
    said = parts_of([prescription("a")], fills=[], stock_reports=(StockReport("rx-a", TODAY, 20),))
    assert said["rx-a"].participation is SYNC, "brought along from elsewhere, and still taken"


def test_a_renewal_takes_the_place_of_the_old_prescription_and_its_stock() -> None:
    old = prescription("a", rx_id="rx-old", written_on=in_days(-300))
    new = prescription("a", rx_id="rx-new", written_on=in_days(-2), renews="rx-old")
    parts = parts_of([old, new], fills=[replace(fill("a", in_days(-10)), rx_id="rx-old")])
    assert parts["rx-old"].reason.code == "superseded_by"
    assert parts["rx-new"].participation is SYNC
    assert parts["rx-new"].stock.run_out_on == in_days(20)


def test_a_renewal_that_cannot_be_filled_takes_no_place() -> None:
    old = prescription("a", rx_id="rx-old", written_on=in_days(-300))
    spent = prescription("a", rx_id="rx-new", quantity_left=Decimal(0))
    fills = [replace(fill("a", in_days(-10)), rx_id="rx-old")]
    assert parts_of([old, spent], fills=fills)["rx-old"].participation is SYNC
    assert parts_of([old, spent], fills=fills)["rx-new"].reason.code == "superseded_by"


def test_stopping_one_holds_every_prescription_of_the_same_use() -> None:
    held = prescription("a", rx_id="rx-held", status="on_hold")
    assert parts_of([held, prescription("a")])["rx-a"].reason.code == "on_hold"


@pytest.mark.parametrize(
    "other",
    [
        {"drug": drug("a", strength="20 mg")},
        {"drug": drug("a", form="capsule")},
        {"units_per_day": Decimal(2), "usual_quantity": Decimal(60)},
        {"drug": drug("a", strength="20 mg"), "status": "outside"},
    ],
)
def test_the_same_ingredient_otherwise_waits_for_a_pharmacist(other: dict[str, object]) -> None:
    parts = parts_of([prescription("a"), prescription("a", rx_id="rx-other", **other)])
    assert parts["rx-a"].reason.code == "same_ingredient"
    assert parts["rx-other"].participation is EXCLUDED


@pytest.mark.parametrize(
    ("ingredient", "status", "said"),
    [
        ("Hydrochlorothiazide / A", "active", ["shared_ingredient"]),
        ("hydrochlorothiazide / a", "outside", ["shared_ingredient"]),
        ("hydrochlorothiazide / a", "discontinued", []),
        ("hydrochlorothiazide", "active", []),
    ],
)
def test_an_ingredient_in_common_with_a_combination_is_said(
    ingredient: str, status: str, said: list[str]
) -> None:
    combined = prescription("c", drug=drug("c", ingredient=ingredient), status=status)
    part = parts_of([prescription("a"), combined])["rx-a"]
    assert part.participation is SYNC
    assert [reason.code for reason in part.remarks] == said


@pytest.mark.parametrize(
    "other",
    [
        {"status": "discontinued"},
        {"as_needed": True},
        {"quantity_left": Decimal(0)},
        {"expires_on": in_days(-1)},
    ],
)
def test_what_is_taken_no_more_raises_no_question(other: dict[str, object]) -> None:
    beside = prescription("a", rx_id="rx-other", drug=drug("a", strength="20 mg"), **other)
    assert parts_of([prescription("a"), beside])["rx-a"].participation is SYNC


def test_an_old_strength_still_on_hand_keeps_the_question_open() -> None:
    old = prescription("a", rx_id="rx-old", drug=drug("a", strength="20 mg"), quantity_left=Decimal(0))
    fills = [fill("a", in_days(-10)), replace(fill("a", in_days(-10)), rx_id="rx-old")]
    assert parts_of([prescription("a"), old], fills=fills)["rx-a"].reason.code == "same_ingredient"


@pytest.mark.parametrize(
    ("facts", "waits_for", "said"),
    [
        ({"quantity_left": Decimal(1)}, None, None),
        ({"quantity_left": Decimal(0)}, ConditionKind.renewal, "no_quantity_left"),
        (
            {"quantity_left": Decimal(29), "drug": drug("a", unbreakable=True)},
            ConditionKind.renewal,
            "no_quantity_left",
        ),
        ({"expires_on": in_days(4)}, None, None),
        ({"expires_on": in_days(3)}, ConditionKind.renewal, "expired"),
        ({"prior_authorization_until": in_days(4)}, None, None),
        ({"prior_authorization_until": in_days(3)}, ConditionKind.authorization, "authorization_ended"),
    ],
)
def test_what_lacks_only_a_renewal_or_an_authorization_takes_part_and_waits_for_it(
    facts: dict[str, object], waits_for: ConditionKind | None, said: str | None
) -> None:
    part = parts_of([prescription("a", **facts)], fills=[fill("a", in_days(-20))])["rx-a"]
    assert part.participation is not EXCLUDED
    assert part.waits_for is waits_for
    assert said is None or said in [reason.code for reason in part.remarks]


def test_a_refusal_without_a_date_keeps_the_drug_out_for_a_while() -> None:
    refused = Rejection("rx-a", "70", rejected_on=in_days(-3))
    part = parts_of([prescription("a")], rejections=(refused,))["rx-a"]
    assert (part.participation, part.reason.code) == (EXCLUDED, "payer_refused")
    long_ago = replace(refused, rejected_on=in_days(-14))
    fills = [fill("a", in_days(-20))]
    assert parts_of([prescription("a")], rejections=(long_ago,), fills=fills)["rx-a"].participation is SYNC
    paid_since = parts_of([prescription("a")], rejections=(refused,), fills=[fill("a", in_days(-1))])
    assert paid_since["rx-a"].participation is SYNC


def test_the_same_form_by_another_word_is_renewed_by_it() -> None:
    former = prescription("a", drug=drug("a", form="TAB"), written_on=in_days(-200))
    newer = replace(
        prescription("b", drug=drug("a", form="Oral Tablet"), written_on=in_days(-5)), rx_id="rx-b"
    )
    parts = parts_of([former, newer], fills=[fill("a", in_days(-10))])
    assert parts["rx-a"].reason.code == "superseded_by"
    assert parts["rx-b"].participation is SYNC


def test_a_form_that_the_chain_divides_by_its_own_word_is_divided() -> None:
    wafer = patient([prescription("a", drug=drug("a", form="Wafer"))], [fill("a", in_days(-10))])
    rules = replace(COMMERCIAL, divisible_forms=COMMERCIAL.divisible_forms | {"wafer"})
    [part] = assess(wafer, rules, TODAY, FIRST_WORKABLE)
    assert part.participation is SYNC
