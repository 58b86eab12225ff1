"""What payers and states demand and grant: dated rules, and the arithmetic of what a patient pays.

The values are data (`services/planner/policy`); which entry is valid on a day, and what follows from it, is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
NO_COST = Decimal("0.00")
CAUTIOUS_PERCENT = 85
"""Of the days' supply, where a plan states neither a share nor days: the stricter of the common thresholds."""


@dataclass(frozen=True, slots=True)
class RefillRule:
    """When a plan pays the next fill: after a share of the last one's days, or so many days before they end."""

    percent: int
    days_early: int | None = None  # None if the plan states a share alone

    def wait(self, days: int) -> int:
        """Days from a fill of so many days until the next one is paid, by the later of the two, in whole numbers."""
        share = -(-self.percent * days // 100)
        return share if self.days_early is None else max(share, days - self.days_early)


@dataclass(frozen=True, slots=True)
class PayerRule:
    """What one payer's plan demands from `begins_on` to `ends_on`, the last day. Percentages are whole.

    Refill too soon (R7.2), accumulation (R7.4), sizes (R7.9), codes (R7.11, R7.12); daily cost sharing and the insulin
    cap (R8).
    """

    payer: str
    kind: str = ""  # commercial, medicare, medicaid, public: whom a state's law binds
    begins_on: date = date.min
    ends_on: date = date.max
    source: str = ""
    refill_percent: int | None = None  # None: 85, or no share at all where `refill_days_early` is given
    controlled_percent: int | None = None  # of controlled drugs; None: as above
    percent_of_form: Mapping[str, int] = field(default_factory=dict)  # where it differs: eye drops
    refill_days_early: int | None = (
        None  # so many days before the last fill ends; with a share: the later day
    )
    counts_from: str = "filled_on"  # the date of service; or "handed_over_on"
    look_back_days: int = 0  # 0: no second test
    most_surplus_days: int = 0  # on hand at a fill, by the fills of the look-back
    days_supplies: frozenset[int] = frozenset()  # allowed; empty: any up to the usual one
    pays_short_fills: bool = False  # also of other days, by their clarification code alone
    month_days: int = 30  # in the plan's approved month's supply
    prorates: bool = False  # a short fill costs the patient its days only
    prorated_forms: frozenset[str] = frozenset()  # of these forms alone; empty: of any
    prorates_antibiotics: bool = True
    insulin_cap: Decimal | None = None  # a month's supply
    insulin_price_percent: int | None = None  # of the maximum fair and of the negotiated price
    short_fill_codes: tuple[str, ...] = ("61", "47")  # NCPDP 420-DK: the first, then the fall-back
    follow_up_code: str = "48"  # of the fill after a short fill
    therapy_change_code: str = "05"  # of the first fill of another dose
    override_code: str = "02"  # of a fill too soon, by a state's law or as staff settled it: other override
    plan_limit_code: str = "10"  # of a pack that lasts longer than the plan pays and cannot be split
    prescription_months: int = (
        0  # it takes a prescription for so many months from writing; 0: as long as the law
    )
    vacation_code: str = "03"  # of a fill too soon before a vacation
    vacation_days: int = 7  # before the departure, in which that is paid
    vacation_fills_a_year: int = 1  # before so many vacations
    discharge_code: str = "57"  # of a fill too soon after a discharge
    discharge_days: int = 0  # from it, in which that is paid; 0: never
    transition_days: int = 0  # paid without an authorization, to whom is new on the plan
    transition_within_days: int = 0  # in the first so many days on it
    emergency_hours: int = 0  # of supply paid while an authorization is pending

    def refill_for(self, schedule: str, form: str) -> RefillRule:
        """When the next fill of such a drug is paid; of two shares that apply by the stricter."""
        usual = CAUTIOUS_PERCENT if self.refill_days_early is None else 0
        percent = self.percent_of_form.get(form.casefold(), self.refill_percent)
        percent = usual if percent is None else percent
        controlled = usual if self.controlled_percent is None else self.controlled_percent
        return RefillRule(percent if schedule == "none" else max(percent, controlled), self.refill_days_early)

    def prorates_fill(self, form: str, *, antibiotic: bool) -> bool:
        """Does a short fill of such a drug cost its days only? Never one in its original pack: that is not split."""
        within = not self.prorated_forms or form.casefold() in self.prorated_forms
        return self.prorates and within and (self.prorates_antibiotics or not antibiotic)

    def allows(self, days: int) -> bool:
        """Is a fill of so many days, more than the usual, paid? Only where the plan states its sizes."""
        return days in self.days_supplies

    def short_sizes(self, usual_days: int, law: SyncLaw | None) -> frozenset[int] | None:
        """The days' supplies below the usual that are paid; none: any, for the plan states no sizes, or it pays short
        fills by their code, or the state's law has it do so (R7.9, R9.6)."""
        if not self.days_supplies or self.pays_short_fills or (law and law.pays_short_fills):
            return None
        shorter = frozenset(range(1, usual_days))
        return None if shorter <= self.days_supplies else shorter & self.days_supplies


CASH = PayerRule(
    "cash",
    kind="cash",
    refill_percent=0,
    controlled_percent=0,
    prorates=True,
    short_fill_codes=(),
    follow_up_code="",
)
"""The patient pays the cash price, by quantity: no claim is made, so nothing is too soon, and no code is submitted. Law
and prescriber alone decide."""


def is_cash(payer: str | None) -> bool:
    """Does the patient pay? Nobody on file is not cash."""
    return payer is not None and payer.strip().casefold() == CASH.payer


@dataclass(frozen=True, slots=True)
class SyncLaw:
    """A state's synchronization law (R9): what it grants, to whom, and what it leaves out."""

    name: str
    state: str  # two letters
    binds: frozenset[str]  # kinds of payers
    begins_on: date
    ends_on: date = date.max
    source: str = ""
    excluded_schedules: frozenset[str] = frozenset()
    excluded_ingredients: frozenset[str] = frozenset()
    excluded_forms: frozenset[str] = frozenset()
    excludes_unbreakable: bool = False
    excludes_antibiotics: bool = False
    syncs_a_year: int = 0  # 0: no limit is stated
    syncs_per: str = "insured"  # or "drug"
    drugs_at_least: int = 1
    prorates: bool = False  # a short fill costs the patient its days only
    pays_short_fills: bool = False  # of any days, whatever sizes the plan states
    overrides_too_soon: bool = False  # reject 79
    overrides_short_fills_alone: bool = False  # never that of a usual fill
    full_fee: bool = False  # the dispensing fee is not prorated
    consents: tuple[str, ...] = ()  # who have to agree: patient, prescriber, pharmacist

    def covers(
        self, ingredient: str, schedule: str, form: str, *, unbreakable: bool, antibiotic: bool
    ) -> bool:
        """Is such a drug within the law?"""
        return (
            schedule not in self.excluded_schedules
            and not any(each in ingredient.casefold() for each in self.excluded_ingredients)
            and form.casefold() not in self.excluded_forms
            and not (unbreakable and self.excludes_unbreakable)
            and not (antibiotic and self.excludes_antibiotics)
        )


def rule_on(
    payer: str | None, day: date, rules: Sequence[PayerRule], unknown: PayerRule
) -> tuple[PayerRule, bool]:
    """The payer's rule that is valid on the day, and whether there is one; else what is assumed of unknown plans."""
    if is_cash(payer):
        return CASH, True
    for rule in rules:
        if rule.payer == payer and rule.begins_on <= day <= rule.ends_on:
            return rule, True
    return unknown, False


def law_on(state: str, kind: str, day: date, laws: Sequence[SyncLaw]) -> SyncLaw | None:
    """The synchronization law of the state that binds this kind of payer on the day."""
    for law in laws:
        if law.state == state and kind in law.binds and law.begins_on <= day <= law.ends_on:
            return law
    return None


# --- what the patient pays ---


def patient_pays(days: int, monthly_copay: Decimal, month_days: int, *, prorated: bool) -> Decimal:
    """A copay for each month's supply begun; of less than a month, where prorated, the daily rate for its days.

    The rate is rounded to the cent first and then multiplied (42 CFR 423.100, by a secondary source): a copay of 47
    for 30 days is 1.57 a day, so 14 days cost 21.98.
    """
    months, rest = divmod(days, month_days)
    if rest == 0 or not prorated:
        return (months + (rest > 0)) * monthly_copay
    rate = (monthly_copay / month_days).quantize(CENT, ROUND_HALF_UP)
    return months * monthly_copay + min(rest * rate, monthly_copay)


def extra_cost_of(
    days: int, usual_days: int, monthly_copay: Decimal, month_days: int, *, prorated: bool
) -> Decimal:
    """What a fill costs beyond its share, by days, of the usual fill; to the cent, never below nothing."""
    usual = patient_pays(usual_days, monthly_copay, month_days, prorated=False)
    paid = patient_pays(days, monthly_copay, month_days, prorated=prorated and days < usual_days)
    return max(NO_COST, (paid - usual * days / usual_days).quantize(CENT, ROUND_HALF_UP))


def dearer_at_once(
    days: int, usual_days: int, monthly_copay: Decimal | None, month_days: int, *, prorated: bool
) -> bool:
    """Does one long fill cost the patient more than usual fills and a short one? Only the short one is prorated
    (R4.15, R8.2)."""
    if monthly_copay is None or not prorated:
        return False
    rest = extra_cost_of(days % usual_days, usual_days, monthly_copay, month_days, prorated=True)
    return extra_cost_of(days, usual_days, monthly_copay, month_days, prorated=True) > rest


def insulin_copay(
    monthly_copay: Decimal, rule: PayerRule, fair_price: Decimal | None, negotiated_price: Decimal | None
) -> Decimal:
    """The copay for a month of insulin: at most the plan's cap and, where stated, a share of either price known."""
    most = [monthly_copay]
    if rule.insulin_cap is not None:
        most.append(rule.insulin_cap)
    if rule.insulin_price_percent is not None:
        prices = [price for price in (fair_price, negotiated_price) if price is not None]
        most += [(price * rule.insulin_price_percent / 100).quantize(CENT, ROUND_HALF_UP) for price in prices]
    return min(most)
