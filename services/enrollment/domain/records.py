"""What a record of the chain's feed must look like: one table of columns per kind.

Every way in ends here. A record is a mapping from column to text, as a line of a CSV file is. What is wrong
with one is said in words, with the way out, and never stops the others. docs/reference/import-layout.md
describes the columns for people; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Generic, TypeVar

from services.enrollment.domain.columns import (
    WEEKDAYS,
    Column,
    Invalid,
    amount,
    day,
    days,
    flag,
    hours,
    identifier,
    language,
    one_of,
    phone,
    portion,
    spans,
    state,
    text,
    time_zone,
    weekday,
    weekdays,
    whole,
)
from services.enrollment.domain.holidays import Observed, holidays_of
from shared.events.enrollment import (
    Circumstances,
    CyclePolicy,
    Drug,
    Fill,
    OpenHours,
    Phone,
    Prescription,
    PrescriptionStatus,
    Schedule,
    StoreChanged,
)

V = TypeVar("V")


# --- what a good record becomes ---


@dataclass(frozen=True)
class Fed(Generic[V]):
    """One record of the feed: its natural key, the source's revision, and what it says."""

    key: str
    revision: int
    value: V
    patient_id: str = ""  # empty: a store


@dataclass(frozen=True)
class Person:
    """Who the patient is and how to reach them: kept apart, and published sealed."""

    given_name: str
    family_name: str
    birth_date: date
    phones: tuple[Phone, ...]
    address: str
    time_zone: str | None  # of the address; none: the store's
    language: str


@dataclass(frozen=True)
class Wishes:
    """How the patient wants to be served; none or empty: not said."""

    cycle_policy: CyclePolicy | None = None
    must_weekdays: tuple[int, ...] = ()  # 0 is Monday
    preferred_weekday: int | None = None


NOTHING_SAID = Circumstances()


@dataclass(frozen=True)
class FedPatient:
    number: str  # the source's own number of the patient
    store_id: str
    wishes: Wishes
    person: Person
    long_term_care: bool = False
    circumstances: Circumstances = NOTHING_SAID


@dataclass(frozen=True)
class FedFill:
    fill: Fill
    reversed: bool  # the claim was reversed, or the fill returned to stock: it counts no longer


# --- the four kinds ---


class InvalidField(Exception):
    """The fields of a record contradict each other; named after the one to look at."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


Values = Mapping[str, Any]
REVISION = Column("revision", whole(1, 2**63 - 1))


@dataclass(frozen=True)
class Layout(Generic[V]):
    """The columns of one kind of record, and how their values become what the record says."""

    kind: str
    columns: tuple[Column, ...]
    key: str  # the column with the natural key
    build: Callable[[Values, date], V]
    patient: bool = True  # belongs to a patient, named by `patient_number`

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a file must have."""
        return tuple(column.name for column in self.columns if column.required)

    def is_personal(self, field: str) -> bool:
        return any(column.name == field and column.personal for column in self.columns)


def _store(values: Values, today: date) -> StoreChanged:
    opening = [
        OpenHours(weekday=weekday, opens=values[name][0], closes=values[name][1])
        for weekday, name in enumerate(WEEKDAYS)
        if values[name] is not None
    ]
    if not opening:
        raise InvalidField("monday", "no day has opening hours: give those of at least one day")
    return StoreChanged(
        store_id=values["store_id"],
        revision=values["revision"],
        name=values["name"],
        state=values["state"],
        time_zone=values["time_zone"],
        hours=tuple(opening),
        closed_on=tuple(sorted({*values["closed_on"], *_holidays(values, today)})),
        holidays=values["holidays"],
        daily_cap=values["daily_cap"],
        phone=values["phone"],
        delivery_weekdays=values["delivery_weekdays"],
        lead_days=values["lead_days"],
    )


def _holidays(values: Values, today: date) -> tuple[date, ...]:
    try:
        return holidays_of(values["state"], values["holidays"], today)
    except NotImplementedError:
        raise InvalidField("holidays", "are not known for this state: list them in closed_on") from None


STORES = Layout(
    kind="stores",
    key="store_id",
    patient=False,
    build=_store,
    columns=(
        Column("store_id", identifier),
        REVISION,
        Column("name", text(120)),
        Column("state", state),
        Column("time_zone", time_zone),
        *(Column(name, hours, default=None) for name in WEEKDAYS),
        Column("closed_on", days, default=()),
        Column("holidays", one_of(Observed), default=Observed.none),
        Column("daily_cap", whole(0, 10_000), default=0),
        Column("delivery_weekdays", weekdays, default=()),
        Column("lead_days", whole(0, 60), default=0),
        Column("phone", phone, default=""),
    ),
)


def _patient(values: Values, today: date) -> FedPatient:
    _not_after_today(values, "birth_date", today)
    phones = [(values["mobile_phone"], "mobile"), (values["home_phone"], "home")]
    return FedPatient(
        number=values["patient_number"],
        store_id=values["store_id"],
        wishes=Wishes(
            cycle_policy=values["cycle_policy"],
            must_weekdays=values["must_weekdays"],
            preferred_weekday=values["preferred_weekday"],
        ),
        person=Person(
            given_name=values["given_name"],
            family_name=values["family_name"],
            birth_date=values["birth_date"],
            phones=tuple(Phone(number=number, kind=kind) for number, kind in phones if number),
            address=values["address"],
            time_zone=values["time_zone"],
            language=values["language"],
        ),
        long_term_care=values["long_term_care"],
        circumstances=Circumstances(**{name: values[name] for name in Circumstances.model_fields}),
    )


PATIENTS = Layout(
    kind="patients",
    key="patient_number",
    build=_patient,
    columns=(
        Column("patient_number", identifier, personal=True),
        REVISION,
        Column("store_id", identifier),
        Column("given_name", text(120), default="", personal=True),
        Column("family_name", text(120), personal=True),
        Column("birth_date", day, personal=True),
        Column("mobile_phone", phone, default="", personal=True),
        Column("home_phone", phone, default="", personal=True),
        Column("address", text(300), default="", personal=True),
        Column("time_zone", time_zone, default=None),
        Column("language", language, default="en"),
        Column("cycle_policy", one_of(CyclePolicy), default=None),
        Column("must_weekdays", weekdays, default=()),
        Column("preferred_weekday", weekday, default=None),
        Column("long_term_care", flag, default=False),
        Column("day_of_month", whole(1, 31), default=None),
        Column("payday", whole(1, 31), default=None),
        Column("paydays", days, default=()),
        Column("ride_weekdays", weekdays, default=()),
        Column("rides", days, default=()),
        Column("delivered", flag, default=False),
        Column("packaged", flag, default=False),
        Column("household_id", identifier, default=None, personal=True, pseudonymous=True),
        Column("household_must", flag, default=False),
        Column("away", spans, default=(), personal=True),
        Column("stays", spans, default=(), personal=True),
        Column("reconciled_on", day, default=None, personal=True),
        Column("uninsured", spans, default=(), personal=True),
    ),
)


def _prescription(values: Values, today: date) -> Prescription:
    _not_after_today(values, "written_on", today)
    if values["expires_on"] < values["written_on"]:
        raise InvalidField("expires_on", "is before written_on: correct one of the two")
    if values["usual_quantity"] == 0:
        raise InvalidField("usual_quantity", "is 0: give the units of a usual fill")
    if values["renews"] == values["rx_id"]:
        raise InvalidField("renews", "names the prescription itself: name the one it replaces, or none")
    return Prescription(
        drug=Drug(
            code=values["drug_code"],
            name=values["drug_name"],
            **{name: values[name] for name in Drug.model_fields if name not in ("code", "name")},
        ),
        **{name: values[name] for name in Prescription.model_fields if name != "drug"},
    )


PRESCRIPTIONS = Layout(
    kind="prescriptions",
    key="rx_id",
    build=_prescription,
    columns=(
        Column("rx_id", identifier),
        REVISION,
        Column("patient_number", identifier, personal=True),
        Column("status", one_of(PrescriptionStatus), default=PrescriptionStatus.active),
        Column("drug_code", identifier),
        Column("drug_name", text(200)),
        Column("ingredient", text(200)),
        Column("strength", text(120), default=""),
        Column("form", text(40), default=""),
        Column("schedule", one_of(Schedule), default=Schedule.none),
        Column("maintenance", flag),
        Column("unbreakable", flag, default=False),
        Column("refrigerated", flag, default=False),
        Column("antibiotic", flag, default=False),
        Column("critical", flag, default=False),
        Column("lead_days", whole(0, 60), default=0),
        Column("over_the_counter", flag, default=False),
        Column("rems", flag, default=False),
        Column("special_handling", flag, default=False),
        Column("doses_per_unit", portion, default=None),
        Column("doses_basis", text(40), default=""),
        Column("priming_doses", portion, default=None),
        Column("container_quantity", portion, default=None),
        Column("in_use_days", whole(1, 366), default=None),
        Column("pack_quantity", portion, default=None),
        Column("directions", text(500), default="", personal=True),
        Column("as_needed", flag, default=False),
        Column("units_per_day", amount, default=None),
        Column("usual_quantity", amount),
        Column("usual_days", whole(1, 366)),
        Column("quantity_left", amount),
        Column("refills_left", whole(0, 99), default=0),
        Column("written_on", day),
        Column("expires_on", day),
        Column("prescriber_id", identifier),
        Column("payer", text(64), default=None),
        Column("renews", identifier, default=None),
        Column("prior_authorization_until", day, default=None),
        Column("fill_from", day, default=None),
    ),
)


def _fill(values: Values, today: date) -> FedFill:
    _not_after_today(values, "handed_over_on", today)
    if values["handed_over_on"] < values["filled_on"]:
        raise InvalidField("handed_over_on", "is before filled_on: correct one of the two")
    fill = Fill(**{name: values[name] for name in Fill.model_fields})
    return FedFill(fill, values["reversed"])


FILLS = Layout(
    kind="fills",
    key="fill_id",
    build=_fill,
    columns=(
        Column("fill_id", identifier),
        REVISION,
        Column("patient_number", identifier, personal=True),
        Column("rx_id", identifier),
        Column("filled_on", day),
        Column("handed_over_on", day),
        Column("quantity", amount),
        Column("days_supply", whole(0, 366)),
        Column("days_supply_billed", whole(1, 366), default=None),
        Column("elsewhere", flag, default=False),
        Column("reversed", flag, default=False),
    ),
)

LAYOUTS: tuple[Layout[Any], ...] = (STORES, PATIENTS, PRESCRIPTIONS, FILLS)
"""In the order in which they must be imported: each may refer to the one before."""


def _not_after_today(values: Values, field: str, today: date) -> None:
    """Somewhere it is tomorrow already: a day ahead of UTC is taken."""
    if values[field] > today + timedelta(days=1):
        raise InvalidField(field, "lies in the future: feed the record when its day has come")


# --- reading ---


@dataclass(frozen=True)
class Problem:
    """Why a record was not taken: the column to look at, and the reason in words, without the value."""

    field: str
    reason: str


@dataclass(frozen=True)
class Reading(Generic[V]):
    """The records of one request by their place in it: what can be taken, and what is wrong elsewhere."""

    good: dict[int, Fed[V]]
    bad: dict[int, Problem]

    def refuse(self, problems: Mapping[int, Problem]) -> Reading[V]:
        """The same, with more records refused."""
        good = {index: fed for index, fed in self.good.items() if index not in problems}
        return Reading(good, {**self.bad, **problems})


def read_records(
    layout: Layout[V],
    records: Sequence[Mapping[str, str | None]],
    *,
    today: date,
    pseudonym: Callable[[str], str],
) -> Reading[V]:
    """Read each record by itself. `pseudonym` turns the source's patient number into the patient's id here.

    Columns that the layout does not name are passed over. What a record refers to is not looked at here.
    """
    good: dict[int, Fed[V]] = {}
    bad: dict[int, Problem] = {}
    for index, record in enumerate(records):
        values = read_columns(layout.columns, record)
        if isinstance(values, Problem):
            bad[index] = values
            continue
        values = {**values, **_pseudonyms(layout, values, pseudonym)}
        try:
            value = layout.build(values, today)
        except InvalidField as contradiction:
            bad[index] = Problem(contradiction.field, contradiction.reason)
            continue
        patient_id = pseudonym(values["patient_number"]) if layout.patient else ""
        key = patient_id if layout.key == "patient_number" else values[layout.key]
        good[index] = Fed(key, values["revision"], value, patient_id)
    return Reading(good, bad)


def _pseudonyms(layout: Layout[Any], values: Values, pseudonym: Callable[[str], str]) -> dict[str, str]:
    """Ids that only have to be the same where they are the same, never the source's own."""
    return {
        column.name: pseudonym(f"{column.name} {values[column.name]}")
        for column in layout.columns
        if column.pseudonymous and values[column.name]
    }


def read_columns(columns: Sequence[Column], record: Mapping[str, str | None]) -> Values | Problem:
    """The values of a record's columns, or what is wrong with the first that cannot be read."""
    values: dict[str, Any] = {}
    for column in columns:
        written = (record.get(column.name) or "").strip()
        if not written and column.required:
            return Problem(column.name, "is empty: no record is taken without it")
        try:
            values[column.name] = column.read(written) if written else column.default
        except Invalid as invalid:
            return Problem(column.name, str(invalid))
    return values
