"""What a plan can be asked for from outside: one patient as a document, with everything that the rules know.

The document is enrollment's published profile, flat, with what the planner itself holds beside it. It is read
strictly: a field that is not known, a word that is none of those listed, a fill of no prescription is an error.
schemas/inputs/patient.json is its JSON Schema, docs/reference/plan-input.md describes it for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from services.planner import publishing
from services.planner.contradictions import contradictions
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Commitments, Profile, Rejection, Rules, StaffDecision
from services.planner.domain.plan import plan_cycle
from services.planner.faults import BadInput, Fault, fault_of, id_of
from services.planner.rules import RULES
from shared.events import enrollment
from shared.events.base import OpenEnum, Quantity
from shared.events.planner import PlanBlocked, PlanComputed
from shared.words import explain

Weekday = Annotated[int, Field(ge=0, le=6, description="0 is Monday")]
# Whole ones: nobody pays a part of one.
Cents = Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=2)]
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
            raise PydanticCustomError("known_word", "is none of {words}", {"words": ", ".join(kind)})
        return value


def _rounded(value: object) -> object:
    """A decimal with more places than are kept: a third of a tablet is written as many ways as there are programs."""
    if not isinstance(value, float | str | Decimal):
        return value
    try:
        rounded = Decimal(str(value)).quantize(PLACES, ROUND_HALF_UP)
    except ArithmeticError:
        return value  # no number, or too large a one: refused with the other faults
    return rounded if rounded != Decimal(str(value)) else value


PLACES = Decimal("0.0001")
Use = Annotated[Quantity, BeforeValidator(_rounded)]
"""What is taken, or counted in a unit: of any precision."""


class DrugInput(enrollment.Drug, Closed):
    """Facts of a drug product."""

    code: str = ""
    doses_per_unit: Use | None = None
    priming_doses: Use | None = None


class PrescriptionInput(enrollment.Prescription, Closed):
    """One prescription."""

    drug: DrugInput
    prescriber_id: str = ""
    units_per_day: Use | None = None
    second_payer: str | None = None
    coupon: str | None = None
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
    rulings: tuple[StaffDecision, ...] = ()
    told: Annotated[Commitments, Field(default_factory=Commitments)]
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
        return publishing.profile_of(self.model_dump(mode="json", exclude={"told", "calendar", "rules"}))


def _over(name: str, given: Any) -> Any:
    usual = getattr(RULES, name)
    if name in TABLES:
        return (*given, *usual)
    return {**usual, **given} if isinstance(usual, Mapping) else given


# --- reading it ---


def read_patient(document: object, today: date = date.min, held: object = None) -> PatientInput:
    """The document as values; `today` is the day of planning where it gives none itself.

    What is wrong with the document `held` already, of which this one is a change, is no fault of who asks.

    Raises:
        BadInput: it names every fault that was found, with the way out.
    """
    read = _read(document)
    known = set(contradictions(_read(held), today)) if held is not None else set()
    if faults := [fault for fault in contradictions(read, today) if fault not in known]:
        raise BadInput(faults, id_of(document))
    return read


def _read(document: object) -> PatientInput:
    try:
        return PatientInput.model_validate(document)
    except ValidationError as error:
        raise BadInput(
            [fault_of(each) for each in error.errors(include_url=False)], id_of(document)
        ) from None


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
    said = publishing.payload_of(outcome, asked.patient_id, asked.store_id, revision=0, profile_revision=0)
    return publishing.event_of(said)


def answer(said: PlanComputed | PlanBlocked) -> dict[str, Any]:
    """The plan as JSON, with its words."""
    planned = isinstance(said, PlanComputed)
    return {
        "patient_id": said.patient_id,
        "status": "planned" if planned else "blocked",
        "plan" if planned else "blocked": said.model_dump(mode="json"),
        "sentences": explain(said),
    }
