"""What a plan can be asked for from outside: one patient as a document, with everything that the rules know.

The document is enrollment's published profile, flat, with what the planner itself holds beside it. It is read
strictly: a field that is not known, a word that is none of those listed, a fill of no prescription is an error.
schemas/inputs/patient.json is its JSON Schema, docs/reference/plan-input.md describes it for people.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from services.planner import translation
from services.planner.domain.anchor import CRITERIA
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Profile, Rejection, Rules, Ruling, Told
from services.planner.domain.plan import plan_cycle
from services.planner.domain.rulings import NEEDS
from services.planner.planning import RULES
from shared.events import enrollment
from shared.events.base import OpenEnum, Quantity
from shared.events.planner import PlanBlocked, PlanComputed
from shared.words import explain

MOST = 3660
"""Of any whole number: ten years of days."""

YEARS = range(1900, 2200)
ALWAYS = (date.min, date.max)  # from when, and until when, an entry of a table holds that gives no day
Weekday = Annotated[int, Field(ge=0, le=6, description="0 is Monday")]
Cents = Annotated[
    Decimal, Field(ge=0, max_digits=9, decimal_places=2)
]  # whole ones: nobody pays a part of one
Money = Cents | None


# --- the document ---


class Closed(BaseModel):
    """Read strictly, where the reader of an event is lenient: people mistype, services do not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_known_word(cls, value: Any, info: Any) -> Any:
        kind = cls.model_fields[info.field_name].annotation
        if isinstance(kind, type) and issubclass(kind, OpenEnum) and value not in list(kind):
            raise PydanticCustomError("enum", "is none of {words}", {"words": ", ".join(kind)})
        return value


class DrugInput(enrollment.Drug, Closed):
    """Facts of a drug product."""

    code: str = ""


class PrescriptionInput(enrollment.Prescription, Closed):
    """One prescription."""

    drug: DrugInput
    prescriber_id: str = ""
    monthly_copay: Money = None
    month_price: Money = None
    negotiated_price: Money = None
    fair_price: Money = None


class FillInput(enrollment.Fill, Closed):
    """One fill that reached the patient."""

    fill_id: str = ""
    quantity: Quantity = Decimal(0)


class StockReportInput(enrollment.StockReport, Closed):
    """What the patient said is left."""


class SpanInput(enrollment.Span, Closed):
    """From one day to another, both included."""


def _rule(name: str, hint: Any) -> Any:
    """A field for a rule. A table shows no default: it would fill the schema."""
    default = getattr(RULES, name)
    hint = Cents if hint is Decimal else hint
    return hint, default if isinstance(default, int | str | Decimal) else Field(
        default_factory=lambda: default
    )


RulesInput = create_model(
    "RulesInput",
    __config__=ConfigDict(extra="forbid"),
    __doc__="The chain's policy where it is to be another: any rule by its name. What a table holds goes before the "
    "chain's own entries.",
    **{name: _rule(name, hint) for name, hint in get_type_hints(Rules).items()},
)
TABLES = ("payers", "laws", "limits", "schedules", "larger_fills", "disuse", "high_cost")


class PatientInput(enrollment.Profile, Closed):
    """One patient: what they take, what was filled, what was told, and where and by which rules to plan."""

    patient_id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    store_id: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = ""
    prescriptions: tuple[PrescriptionInput, ...] = ()
    fills: tuple[FillInput, ...] = ()
    stock_reports: tuple[StockReportInput, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    told: Annotated[Told, Field(default_factory=Told)]
    must_weekdays: tuple[Weekday, ...] = ()
    preferred_weekday: Weekday | None = None
    day_of_month: Annotated[int, Field(ge=1, le=31)] | None = None
    payday: Annotated[int, Field(ge=1, le=31)] | None = None
    ride_weekdays: tuple[Weekday, ...] = ()
    household_on: tuple[date, ...] = ()
    away: tuple[SpanInput, ...] = ()
    stays: tuple[SpanInput, ...] = ()
    uninsured: tuple[SpanInput, ...] = ()
    extra_cost_limit: Money = None
    cycle: Annotated[int, Field(ge=1)] = 1
    calendar: Annotated[Calendar, Field(default_factory=Calendar)]
    rules: Annotated[RulesInput, Field(default_factory=RulesInput)]  # type: ignore[valid-type]
    today: date | None = None  # the day as of which to plan; none: the caller's

    def in_force(self) -> Rules:
        """The chain's policy with what the document says instead."""
        given = {name: getattr(self.rules, name) for name in self.rules.model_fields_set}  # type: ignore[attr-defined]
        return replace(RULES, **{name: _over(name, value) for name, value in given.items()})

    def profile(self) -> Profile:
        """The profile as the rules see it, also with what enrollment does not publish."""
        return translation.profile_of(self.model_dump(mode="json", exclude={"told", "calendar", "rules"}))


def _over(name: str, given: Any) -> Any:
    usual = getattr(RULES, name)
    if name in TABLES:
        return (*given, *usual)
    return {**usual, **given} if isinstance(usual, Mapping) else given


# --- reading it ---


@dataclass(frozen=True)
class Fault:
    """What is wrong with a document: where, the value where it names nobody, and what to do."""

    field: str
    value: str
    problem: str


class BadInput(Exception):
    """The document cannot be planned from."""

    def __init__(self, faults: list[Fault], patient_id: str = "") -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.problem}" for fault in faults))
        self.faults, self.patient_id = faults, patient_id


def read_patient(document: object) -> PatientInput:
    """The document as values.

    Raises:
        BadInput: it names every fault that was found, with the way out.
    """
    patient_id = _patient_id(document)
    try:
        read = PatientInput.model_validate(document)
    except ValidationError as error:
        raise BadInput([_fault(each) for each in error.errors(include_url=False)], patient_id) from None
    if faults := list(_contradictions(read)):
        raise BadInput(faults, patient_id)
    return read


def _patient_id(document: object) -> str:
    """The id that the document gives itself, where it is one."""
    said = document.get("patient_id") if isinstance(document, dict) else None
    return said if isinstance(said, str) and len(said) <= 64 and said.isprintable() else ""


NO_FIELD = "is no field here: correct its name, or leave it out"
NO_OBJECT = "is no object: write {…} with the fields of the reference"
NO_DATE = "is no date: write it as 2026-03-02"
WAYS_OUT = {
    "missing": "is missing: give it",
    "extra_forbidden": NO_FIELD,
    "unexpected_keyword_argument": NO_FIELD,
    "model_type": NO_OBJECT,
    "model_attributes_type": NO_OBJECT,
    "dataclass_type": NO_OBJECT,
    "date_from_datetime_parsing": NO_DATE,
    "date_parsing": NO_DATE,
    "date_type": NO_DATE,
    "decimal_max_places": "has too many decimal places: money is in whole cents, a quantity in ten-thousandths",
}


def _fault(error: ErrorDetails) -> Fault:
    problem = WAYS_OUT.get(error["type"]) or error["msg"].replace("Input should be", "should be")
    field = ".".join(map(str, error["loc"]))
    value = "" if error["type"] == "missing" or problem == NO_FIELD else _shown(field, error["input"])
    return Fault(field, value, problem)


ID = re.compile(r"(?=.*\d)[!-~]{1,64}")
WORD = re.compile(r"[a-z]+(_[a-z0-9]+)+")  # rolling_31; neither drugs nor people are called so
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _shown(field: str, value: object) -> str:
    """The value, where it can name neither a person nor a drug: a number, a day, a word of ours, an id."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, int | float):
        return str(value) if abs(value) < 1_000_000 else "a large number"
    if not isinstance(value, str):
        return "a list" if isinstance(value, list) else "an object"
    if WORD.fullmatch(value) or DAY.fullmatch(value) or (field.endswith("_id") and ID.fullmatch(value)):
        return value
    return f"a text of {len(value)} characters" if value else "empty"


# --- what no field says by itself ---


def _contradictions(asked: PatientInput) -> Iterator[Fault]:
    yield from _out_of_range(asked.model_dump(exclude_unset=True), "")
    yield from _unknown_prescriptions(asked)
    for at, each in enumerate(asked.prescriptions):
        if each.expires_on < each.written_on:
            yield Fault(
                f"prescriptions.{at}.expires_on", str(each.expires_on), "is before written_on: correct one"
            )
    for at, fill in enumerate(asked.fills):
        if fill.handed_over_on < fill.filled_on:
            yield Fault(
                f"fills.{at}.handed_over_on", str(fill.handed_over_on), "is before filled_on: correct one"
            )
    for at, ruling in enumerate(asked.rulings):
        for name in sorted(NEEDS[ruling.kind]):
            if getattr(ruling, name) is None:
                yield Fault(f"rulings.{at}.{name}", "", f"is missing: what {ruling.kind} decides about")
    for weekday in asked.calendar.weekdays:
        if weekday > 6:
            yield Fault("calendar.weekdays", str(weekday), "is no weekday: 0 is Monday, 6 is Sunday")
    yield from _rules(asked.in_force())


def _out_of_range(value: Any, at: str) -> Iterator[Fault]:
    """No number is negative, no whole number above ten years of days, no day in another age."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _out_of_range(name, f"{at}.{name}") if isinstance(name, date) else ()
            yield from _out_of_range(each, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, each in enumerate(value):
            yield from _out_of_range(each, f"{at}.{index}")
    elif at.startswith("rules.") and value in ALWAYS:
        return
    elif isinstance(value, date) and value.year not in YEARS:
        yield Fault(at, str(value), f"is not between {YEARS[0]} and {YEARS[-1]}: correct the year")
    elif isinstance(value, int | Decimal) and value < Decimal(0):
        yield Fault(at, str(value), "is negative: give 0 or more")
    elif isinstance(value, int) and "percent" in at and value > 100:
        yield Fault(at, _shown(at, value), "is no percentage: give 0 to 100")
    elif isinstance(value, int) and value > MOST:
        yield Fault(at, _shown(at, value), f"is more than {MOST}: give less")


def _unknown_prescriptions(asked: PatientInput) -> Iterator[Fault]:
    known = Counter(each.rx_id for each in asked.prescriptions)
    for at, each in enumerate(asked.prescriptions):
        if known[each.rx_id] > 1:
            yield _wrong_id(
                f"prescriptions.{at}.rx_id", each.rx_id, "comes twice: give each prescription once"
            )
    named = [
        *((f"fills.{at}.rx_id", fill.rx_id) for at, fill in enumerate(asked.fills)),
        *((f"stock_reports.{at}.rx_id", report.rx_id) for at, report in enumerate(asked.stock_reports)),
        *((f"rejections.{at}.rx_id", each.rx_id) for at, each in enumerate(asked.rejections)),
        *((f"rulings.{at}.rx_id", each.rx_id) for at, each in enumerate(asked.rulings) if each.rx_id),
        *((f"told.declined_until.{rx_id}", rx_id) for rx_id in asked.told.declined_until),
        *(
            (f"told.visits.{at}.items.{place}.rx_id", item.rx_id)
            for at, visit in enumerate(asked.told.visits)
            for place, item in enumerate(visit.items)
        ),
    ]
    for field, rx_id in named:
        if rx_id not in known:
            yield _wrong_id(
                field, rx_id, "names no prescription of this patient: correct it, or add that one"
            )


def _wrong_id(field: str, rx_id: str, problem: str) -> Fault:
    return Fault(field, _shown("rx_id", rx_id), problem)


def _rules(rules: Rules) -> Iterator[Fault]:
    for rule, lengths in {"cycle_days": rules.cycle_days, "spine_days": rules.spine_days}.items():
        for name, days in lengths.items():
            if days < 1:
                yield Fault(f"rules.{rule}.{name}", str(days), "is no cycle: give a day or more")
    for at, payer in enumerate([*rules.payers, rules.unknown_payer]):
        if payer.month_days < 1:
            yield Fault(
                f"rules.payers.{at}.month_days", str(payer.month_days), "is no month: give a day or more"
            )
    if rules.default_cycle not in rules.cycle_days:
        yield Fault("rules.default_cycle", "", f"is none of {', '.join(sorted(rules.cycle_days))}")
    known = [criterion.__name__ for criterion in CRITERIA]
    for at, name in enumerate(rules.criteria):
        if name not in known:
            yield Fault(f"rules.criteria.{at}", "", f"is none of {', '.join(known)}")


# --- planning from it ---


def plan(asked: PatientInput, today: date) -> PlanComputed | PlanBlocked:
    """The plan as the planner would publish it, as of the document's day, else `today`; nothing is kept or sent.

    Raises:
        BadInput: values that no check foresaw cannot be reckoned with.
    """
    profile, rules, as_of = asked.profile(), asked.in_force(), asked.today or today
    try:
        outcome = plan_cycle(profile, asked.calendar, rules, as_of, asked.told, asked.cycle)
    except (ArithmeticError, ValueError, LookupError) as error:
        what = (
            f"cannot be planned from these values ({type(error).__name__}): look for an extreme number or day"
        )
        raise BadInput([Fault("", "", what)], asked.patient_id) from error
    said = translation.said(outcome, asked.patient_id, asked.store_id, revision=0, profile_revision=0)
    return translation.event_of(said)


def answer(said: PlanComputed | PlanBlocked) -> dict[str, Any]:
    """The plan as JSON, with its words."""
    planned = isinstance(said, PlanComputed)
    return {
        "patient_id": said.patient_id,
        "status": "planned" if planned else "blocked",
        "plan" if planned else "blocked": said.model_dump(mode="json"),
        "sentences": explain(said),
    }
