"""The data files of payers and states: what each entry says, from which day to which, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from services.planner.domain.payers import (
    NO_COST,
    PayerRule,
    RefillRule,
    extra_cost_of,
    insulin_copay,
    law_on,
    patient_pays,
    rule_on,
)
from services.planner.policy import BadPolicy, dispensing_limits, payer_rules, state_schedules, sync_laws

RULES, UNKNOWN = payer_rules()
LAWS = sync_laws()
LIMITS = dispensing_limits()
SCHEDULES = state_schedules()
DAY = timedelta(days=1)


def rule(payer: str | None, on: date) -> PayerRule:
    return rule_on(payer, on, RULES, UNKNOWN)[0]


# --- the entries, one row each: another value there is a decision, and changes here too ---


@pytest.mark.parametrize(
    ("payer", "begins_on", "ends_on", "percent", "prorates", "cap"),
    [
        ("commercial", date(2000, 1, 1), date.max, 75, False, None),
        ("commercial_ninety", date(2026, 1, 1), date.max, 75, False, None),
        ("medicaid", date(2000, 1, 1), date.max, 75, False, None),
        ("part_d", date(2006, 1, 1), date(2013, 12, 31), 75, False, None),
        ("part_d", date(2014, 1, 1), date(2022, 12, 31), 75, True, None),
        ("part_d", date(2023, 1, 1), date(2025, 12, 31), 75, True, Decimal("35.00")),
        ("part_d", date(2026, 1, 1), date.max, 75, True, Decimal("35.00")),
        ("nc_state_health_plan", date(2015, 1, 1), date.max, 75, False, None),
        ("texas_vendor_drug_vitamins", date(2026, 1, 1), date.max, 100, False, None),
    ],
)
def test_each_payer_entry_holds_from_its_first_day_to_its_last(
    payer: str, begins_on: date, ends_on: date, percent: int, prorates: bool, cap: Decimal | None
) -> None:
    for day in (begins_on, ends_on):
        found, known = rule_on(payer, day, RULES, UNKNOWN)
        assert known
        assert (found.begins_on, found.ends_on, found.refill_percent) == (begins_on, ends_on, percent)
        assert (found.prorates, found.insulin_cap) == (prorates, cap)
        assert found.source
    assert rule(payer, begins_on - DAY).begins_on != begins_on
    assert ends_on == date.max or rule(payer, ends_on + DAY).begins_on == ends_on + DAY


def test_every_payer_entry_is_tested_above() -> None:
    assert len(RULES) == 9
    assert len(LAWS) == 6
    assert len(LIMITS) == 4
    assert len(SCHEDULES) == 1


def test_an_unknown_plan_is_assumed_strict() -> None:
    for payer in ("never heard of", None):
        found, known = rule_on(payer, date(2026, 3, 2), RULES, UNKNOWN)
        assert not known
        assert (found.refill_percent, found.controlled_percent, found.days_supplies) == (85, 85, frozenset())


@pytest.mark.parametrize(
    ("name", "state", "kind", "begins_on"),
    [
        ("Oklahoma 36-3634.5", "OK", "commercial", date(2017, 11, 1)),
        ("New York Insurance 3224-d", "NY", "commercial", date(2026, 1, 1)),
        ("Pennsylvania PACE, 72 P.S. 3761-515.1", "PA", "public", date(2026, 1, 1)),
        ("New Mexico 27-2-12.21", "NM", "medicaid", date(2015, 6, 19)),
        ("Maine 24-A 2769", "ME", "commercial", date(2026, 1, 1)),
        ("Colorado 10-16-141", "CO", "commercial", date(2026, 1, 1)),
    ],
)
def test_each_law_binds_its_kind_of_payer_from_its_first_day(
    name: str, state: str, kind: str, begins_on: date
) -> None:
    law = law_on(state, kind, begins_on, LAWS)
    assert law and law.name == name and law.source and law.full_fee
    assert law_on(state, kind, begins_on - DAY, LAWS) is None
    assert law_on(state, "medicare", begins_on, LAWS) is None, "Part D is federal"
    assert law.overrides_too_soon == (state != "CO")
    assert law.overrides_short_fills_alone == (state in ("NY", "NM", "ME"))
    assert law.pays_short_fills


@pytest.mark.parametrize(
    ("state", "drug", "covered"),
    [
        ("OK", {"schedule": "c4"}, False),
        ("OK", {"schedule": "c5"}, True),
        ("NY", {"schedule": "c3"}, True),
        ("NY", {"schedule": "c3", "ingredient": "acetaminophen / Hydrocodone"}, False),
        ("NY", {"schedule": "c2"}, False),
        ("ME", {"antibiotic": True}, False),
        ("ME", {"unbreakable": True}, True),
        ("PA", {"unbreakable": True}, False),
    ],
)
def test_what_a_law_leaves_out(state: str, drug: dict[str, object], covered: bool) -> None:
    law = next(law for law in LAWS if law.state == state)
    facts = {
        "ingredient": "x",
        "schedule": "none",
        "form": "tablet",
        "unbreakable": False,
        "antibiotic": False,
    }
    assert law.covers(**{**facts, **drug}) is covered  # type: ignore[arg-type]


def test_controlled_drugs_and_eye_drops_have_thresholds_of_their_own() -> None:
    """The policy of 2026."""
    on = date(2026, 9, 15)
    assert rule("commercial", on).refill_for("c4", "tablet") == RefillRule(85)
    assert rule("part_d", on).refill_for("none", "Drops") == RefillRule(70)
    assert rule("part_d", on).refill_for("none", "tablet") == RefillRule(75)


def test_what_a_plan_pays_of_short_fills() -> None:
    """The policy of 2026: any up to 30 days; none; and any, for it is not known."""
    on = date(2026, 3, 2)
    oklahoma = next(law for law in LAWS if law.state == "OK")
    assert rule("commercial", on).short_sizes(30, None) is None
    assert rule("commercial_ninety", on).short_sizes(90, None) == frozenset(range(84, 90))
    assert rule("commercial_ninety", on).short_sizes(90, oklahoma) is None
    assert rule("never heard of", on).short_sizes(30, None) is None


@pytest.mark.parametrize(
    ("on", "form", "antibiotic", "prorated"),
    [
        (date(2013, 12, 31), "tablet", False, False),
        (date(2014, 1, 1), "tablet", False, True),
        (date(2026, 3, 2), "Capsule", False, True),
        (date(2026, 3, 2), "liquid", False, False),
        (date(2026, 3, 2), "drops", False, False),
        (date(2026, 3, 2), "tablet", True, False),
    ],
)
def test_part_d_shares_costs_by_the_day_for_solid_oral_doses_but_no_antibiotics(
    on: date, form: str, antibiotic: bool, prorated: bool
) -> None:
    """42 CFR 423.153(b)(4), from plan year 2014. What is in its original container is never short-filled at all."""
    assert rule("part_d", on).prorates_fill(form, antibiotic=antibiotic) is prorated
    assert PayerRule("x", prorates=True).prorates_fill(form, antibiotic=antibiotic), (
        "a plan that says no more"
    )


@pytest.mark.parametrize(
    ("payer", "transition", "within", "emergency"),
    [("part_d", 30, 90, 0), ("medicaid", 0, 0, 72), ("commercial", 0, 0, 0)],
)
def test_what_a_plan_pays_while_an_authorization_is_pending(
    payer: str, transition: int, within: int, emergency: int
) -> None:
    for day in (date(2009, 10, 1), date(2018, 1, 1), date(2024, 1, 1), date(2026, 3, 2)):
        found = rule(payer, day)
        assert (found.transition_days, found.transition_within_days) == (transition, within)
        assert found.emergency_hours == emergency


def test_texas_takes_prescriptions_of_vitamins_for_six_months_and_pays_them_once_all_are_used() -> None:
    texas = rule("texas_vendor_drug_vitamins", date(2026, 3, 2))
    assert (texas.prescription_months, texas.refill_for("none", "tablet")) == (6, RefillRule(100))


def test_new_york_asks_patient_prescriber_and_pharmacist() -> None:
    asked = {law.state: law.consents for law in LAWS if law.consents}
    assert asked == {"NY": ("patient", "prescriber", "pharmacist")}


def test_each_rule_has_the_codes_of_a_short_fill_its_follow_up_and_the_plans_limit() -> None:
    """NCPDP 420-DK: 61 with 47 to fall back on, then 48; 05 a change of therapy; 10 meets the plan's limits."""
    for each in (*RULES, UNKNOWN):
        assert (each.short_fill_codes, each.follow_up_code) == (("61", "47"), "48")
        assert (each.therapy_change_code, each.plan_limit_code) == ("05", "10")


# --- what the patient pays ---


@pytest.mark.parametrize(
    ("copay", "month", "days", "pays"),
    [
        ("47", 30, 30, "47"),
        ("47", 30, 60, "94"),
        ("47", 30, 44, "68.98"),
        ("0.10", 30, 29, "0.00"),  # the rate rounds to nothing
    ],
)
def test_daily_cost_sharing_rounds_the_rate_and_then_multiplies(
    copay: str, month: int, days: int, pays: str
) -> None:
    assert patient_pays(days, Decimal(copay), month, prorated=True) == Decimal(pays)


def test_without_daily_cost_sharing_a_month_begun_is_a_month_paid() -> None:
    assert [patient_pays(days, Decimal(10), 30, prorated=False) for days in (1, 30, 31, 90)] == [
        10,
        10,
        20,
        30,
    ]


@pytest.mark.parametrize(
    ("days", "prorated", "extra"),
    [
        (8, False, "22.00"),  # 30 paid, a share of 8
        (8, True, "0.00"),
        (30, False, "0.00"),
        (34, False, "26.00"),
    ],
)
def test_the_extra_cost_is_what_goes_beyond_the_share_of_the_usual_fill(
    days: int, prorated: bool, extra: str
) -> None:
    assert extra_cost_of(days, 30, Decimal(30), 30, prorated=prorated) == Decimal(extra)


def test_rounding_of_the_daily_rate_is_an_extra_cost_of_cents_or_none() -> None:
    assert extra_cost_of(14, 30, Decimal(47), 30, prorated=True) == Decimal("0.05")
    assert extra_cost_of(11, 31, Decimal(10), 31, prorated=True) == NO_COST


@pytest.mark.parametrize(
    ("on", "fair", "negotiated", "pays"),
    [
        (date(2022, 12, 31), "80", "100", "60"),  # no cap yet
        (date(2023, 1, 1), "80", "100", "35.00"),
        (date(2026, 1, 1), "80", "100", "20.00"),  # a quarter of the maximum fair price
        (date(2026, 1, 1), None, "100", "25.00"),
        (date(2026, 1, 1), None, None, "35.00"),
    ],
)
def test_a_month_of_insulin_costs_no_more_than_the_cap(
    on: date, fair: str | None, negotiated: str | None, pays: str
) -> None:
    prices = [Decimal(price) if price else None for price in (fair, negotiated)]
    month = insulin_copay(Decimal(60), rule("part_d", on), *prices)
    assert month == Decimal(pays)
    assert patient_pays(61, month, 30, prorated=False) == 3 * month


# --- what is refused ---

ENTRY = 'source = "s"\nrefill_percent = 75\nfrom = 2026-01-01\n'
UNLISTED = '[unknown]\nsource = "s"\n'


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('payer = "x"\nfrom = 2026-01-01\n', "source is missing"),
        (f'payer = "x"\n{ENTRY}refil_percent = 75\n', "no field 'refil_percent'"),
        (f'payer = "x"\n{ENTRY}syncs_a_year = 1\n', "no field 'syncs_a_year'"),
        (f'payer = "x"\n{ENTRY}controlled_percent = 101\n', "101 is not a percentage"),
        (f'payer = "x"\n{ENTRY}kind = "private"\n', "'private' is not one of commercial"),
        (f'payer = "x"\n{ENTRY}days_supplies = ["30-1"]\n', "'30-1' is not a range"),
        (f'payer = "x"\n{ENTRY}insulin_cap = "a lot"\n', "'a lot' is not an amount"),
        (f'payer = "x"\n{ENTRY}until = 2025-12-31\n', "is before from"),
        (f'payer = "x"\n{ENTRY}month_days = 0\n', "it is 0"),
        (ENTRY, "payer"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_name(entry: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "payers.toml"
    file.write_text(f"{UNLISTED}[[payer]]\n{entry}")
    with pytest.raises(BadPolicy, match="payer 1") as refused:
        payer_rules(file)
    assert said in str(refused.value)


def test_two_entries_of_one_payer_on_one_day_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "payers.toml"
    file.write_text(
        f'{UNLISTED}[[payer]]\npayer = "x"\n{ENTRY}until = 2026-06-30\n'
        f'[[payer]]\npayer = "x"\nsource = "s"\nfrom = 2026-06-30\n'
    )
    with pytest.raises(BadPolicy, match="begins before"):
        payer_rules(file)
