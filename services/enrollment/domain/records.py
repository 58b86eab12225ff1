"""What a record of the chain's feed must look like: one table of columns per kind.

Every way in ends here. A record is a mapping from column to text, as a line of a CSV file is. What is wrong
with one is said in words, with the way out, and never stops the others. docs/reference/import-layout.md
describes the columns for people; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
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
from services.enrollment.domain.written import Problem, is_near, meant_for, texts_of
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
    digest: str = ""  # of all that the source said, so that other content is found out; empty: not known


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


def is_same_person(one: Person, other: Person) -> bool:
    """Whether two records may be of one person: birth date and family name agree, whatever the case and the blanks."""
    names = {normal_name(each.family_name) for each in (one, other)}
    return len(names) == 1 and one.birth_date == other.birth_date


def normal_name(name: str) -> str:
    """A name as it is compared and found: whatever the case and the blanks."""
    return " ".join(name.casefold().split())


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


Values = Mapping[str, Any]
REVISION = Column("revision", whole(1, 2**63 - 1))


@dataclass(frozen=True)
class Check:
    """A contradiction between fields, or with the day, and the field to look at; asked where all it needs was read."""

    field: str
    needs: tuple[str, ...]
    is_wrong: Callable[[Values, date], bool]
    reason: str


@dataclass(frozen=True)
class Layout(Generic[V]):
    """The columns of one kind of record, and how their values become what the record says."""

    kind: str
    columns: tuple[Column, ...]
    key: str  # the column with the natural key
    build: Callable[[Values, date], V]
    checks: tuple[Check, ...] = ()
    patient: bool = True  # belongs to a patient, named by `patient_number`

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a file must have."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def column_names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    @property
    def unsafe_to_miss(self) -> frozenset[str]:
        """The columns for which an unknown one may be meant, which then cannot be passed over."""
        return frozenset(column.name for column in self.columns if column.safety)

    def is_personal(self, name: str) -> bool:
        return any(column.name == name and column.personal for column in self.columns)

    def can_be_left_out(self, name: str) -> bool:
        """Whether a record is taken without this column where it is wrong."""
        return any(column.name == name and column.can_be_left_out for column in self.columns)


def _not_after_today(field: str) -> Check:
    """Somewhere it is tomorrow already: a day ahead of UTC is taken."""
    return Check(
        field,
        (field,),
        lambda values, today: bool(values[field] > today + timedelta(days=1)),
        "is in the future: send the record on that day or later",
    )


def _not_before(field: str, earlier: str) -> Check:
    return Check(
        field,
        (earlier, field),
        lambda values, _: bool(values[field] < values[earlier]),
        f"is before {earlier}: correct one of the two",
    )


def _store(values: Values, today: date) -> StoreChanged:
    opening = [
        OpenHours(weekday=weekday, opens=values[name][0], closes=values[name][1])
        for weekday, name in enumerate(WEEKDAYS)
        if values[name] is not None
    ]
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
    return holidays_of(values["state"], values["holidays"], today)


def _holidays_not_known(values: Values, today: date) -> bool:
    try:
        _holidays(values, today)
    except NotImplementedError:
        return True
    return False


STORES = Layout(
    kind="stores",
    key="store_id",
    patient=False,
    build=_store,
    checks=(
        Check(
            "monday",
            WEEKDAYS,
            lambda values, _: not any(values[name] for name in WEEKDAYS),
            "has no hours, nor has any other day: give the hours of at least one",
        ),
        Check(
            "holidays",
            ("state", "holidays"),
            _holidays_not_known,
            "are not known for this state: list them in closed_on",
        ),
    ),
    columns=(
        Column("store_id", identifier),
        REVISION,
        Column("name", text(120), names=True),
        Column("state", state),
        Column("time_zone", time_zone),
        *(Column(name, hours, default=None, safety=True) for name in WEEKDAYS),
        Column("closed_on", days, default=(), safety=True),
        Column("holidays", one_of(Observed), default=Observed.none, safety=True, words=("none",)),
        Column("daily_cap", whole(0, 10_000), default=0, safety=True),
        Column("delivery_weekdays", weekdays, default=(), safety=True),
        Column("lead_days", whole(0, 60), default=0, safety=True),
        Column("phone", phone, default=""),
    ),
)


def _patient(values: Values, today: date) -> FedPatient:
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
    checks=(_not_after_today("birth_date"),),
    columns=(
        Column("patient_number", identifier, personal=True),
        REVISION,
        Column("store_id", identifier),
        Column("given_name", text(120), default="", personal=True, names=True),
        Column("family_name", text(120), personal=True, names=True),
        Column("birth_date", day, personal=True),
        Column("mobile_phone", phone, default="", personal=True),
        Column("home_phone", phone, default="", personal=True),
        Column("address", text(300), default="", personal=True),
        Column("time_zone", time_zone, default=None, safety=True),
        Column("language", language, default="en"),
        Column("cycle_policy", one_of(CyclePolicy), default=None),
        Column("must_weekdays", weekdays, default=()),
        Column("preferred_weekday", weekday, default=None),
        Column("long_term_care", flag, default=False, safety=True),
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
        Column("stays", spans, default=(), personal=True, safety=True),
        Column("reconciled_on", day, default=None, personal=True),
        Column("uninsured", spans, default=(), personal=True),
    ),
)


def _prescription(values: Values, today: date) -> Prescription:
    return Prescription(
        drug=Drug(
            code=values["drug_code"],
            name=values["drug_name"],
            **{name: values[name] for name in Drug.model_fields if name not in ("code", "name")},
        ),
        **{
            name: values[name]
            for name in Prescription.model_fields
            if name not in ("drug", "directions_read")
        },
    )


PRESCRIPTIONS = Layout(
    kind="prescriptions",
    key="rx_id",
    build=_prescription,
    checks=(
        _not_after_today("written_on"),
        _not_before("expires_on", "written_on"),
        Check(
            "usual_quantity",
            ("usual_quantity",),
            lambda values, _: bool(values["usual_quantity"] == 0),
            "is 0: use the units of a usual fill",
        ),
        Check(
            "renews",
            ("rx_id", "renews"),
            lambda values, _: bool(values["renews"] == values["rx_id"]),
            "is the prescription itself: use the one it replaces, or leave it empty",
        ),
    ),
    columns=(
        Column("rx_id", identifier),
        REVISION,
        Column("patient_number", identifier, personal=True),
        Column("status", one_of(PrescriptionStatus), default=PrescriptionStatus.active, safety=True),
        Column("drug_code", identifier),
        Column("drug_name", text(200)),
        Column("ingredient", text(200)),
        Column("strength", text(120), default="", safety=True),
        Column("form", text(40), default="", safety=True),
        Column("schedule", one_of(Schedule), default=Schedule.none, safety=True, words=("none",)),
        Column("maintenance", flag),
        Column("unbreakable", flag, default=False, safety=True),
        Column("refrigerated", flag, default=False, safety=True),
        Column("antibiotic", flag, default=False, safety=True),
        Column("critical", flag, default=False, safety=True),
        Column("lead_days", whole(0, 60), default=0, safety=True),
        Column("over_the_counter", flag, default=False, safety=True),
        Column("rems", flag, default=False, safety=True),
        Column("special_handling", flag, default=False, safety=True),
        Column("doses_per_unit", portion, default=None, safety=True),
        Column("doses_basis", text(40), default=""),
        Column("priming_doses", portion, default=None, safety=True),
        Column("container_quantity", portion, default=None, safety=True),
        Column("in_use_days", whole(1, 366), default=None, safety=True),
        Column("pack_quantity", portion, default=None, safety=True),
        Column("directions", text(500), default="", personal=True, safety=True),
        Column("as_needed", flag, default=False, safety=True),
        Column("units_per_day", amount, default=None, safety=True),
        Column("usual_quantity", amount),
        Column("usual_days", whole(1, 366)),
        Column("quantity_left", amount),
        Column("refills_left", whole(0, 99), default=0),
        Column("written_on", day),
        Column("expires_on", day),
        Column("prescriber_id", identifier),
        Column("payer", text(64), default=None),
        Column("renews", identifier, default=None, safety=True),
        Column("prior_authorization_until", day, default=None, safety=True),
        Column("fill_from", day, default=None, safety=True),
    ),
)


def _fill(values: Values, today: date) -> FedFill:
    fill = Fill(**{name: values[name] for name in Fill.model_fields})
    return FedFill(fill, values["reversed"])


FILLS = Layout(
    kind="fills",
    key="fill_id",
    build=_fill,
    checks=(
        _not_after_today("handed_over_on"),
        _not_before("handed_over_on", "filled_on"),
    ),
    columns=(
        Column("fill_id", identifier),
        REVISION,
        Column("patient_number", identifier, personal=True),
        Column("rx_id", identifier),
        Column("filled_on", day),
        Column("handed_over_on", day),
        Column("quantity", amount),
        Column("days_supply", whole(0, 366)),
        Column("days_supply_billed", whole(1, 366), default=None, safety=True),
        Column("elsewhere", flag, default=False, safety=True),
        Column("reversed", flag, default=False, safety=True),
    ),
)

LAYOUTS: tuple[Layout[Any], ...] = (STORES, PATIENTS, PRESCRIPTIONS, FILLS)
"""In the order in which they must be imported: each may refer to the one before."""


# --- reading ---


COLUMNS_NAMED = 100
"""Unknown columns that an answer names; a feed has a few, and the same in every record."""


@dataclass(frozen=True)
class Reading(Generic[V]):
    """The records of one request by their place in it: what can be taken, and all that is wrong elsewhere.

    `left_out` holds the fields without which a record is taken, `passed_over` the first record of each unknown column,
    up to `COLUMNS_NAMED` of them.
    """

    good: dict[int, Fed[V]]
    bad: dict[int, tuple[Problem, ...]]
    left_out: dict[int, tuple[Problem, ...]] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)

    def refuse(self, problems: Mapping[int, Problem]) -> Reading[V]:
        """The same, with more records refused."""
        return replace(
            self,
            good={index: fed for index, fed in self.good.items() if index not in problems},
            bad=self.bad | {index: (problem,) for index, problem in problems.items()},
        )


def read_records(
    layout: Layout[V],
    records: Sequence[object],
    *,
    today: date,
    pseudonym: Callable[[str], str],
    digest: Callable[[str], str] = lambda _: "",
) -> Reading[V]:
    """Read each record by itself: a mapping from column to text, or to a number. What it refers to is not looked at.

    `pseudonym` turns the source's patient number into the patient's id here, `digest` all that a record says into
    what tells it from other content.
    """
    reading: Reading[V] = Reading({}, {})
    known, unsafe = layout.column_names, layout.unsafe_to_miss
    for index, record in enumerate(records):
        texts, problems = texts_of(record)
        unknown = texts.keys() - known
        problems = [problem for problem in problems if problem.field not in unknown]
        missed = unsafe.difference(texts)
        for name in filter(unknown.__contains__, texts):
            if column := meant_for(name, missed):
                problems.append(Problem(name, is_near(column)))
            elif len(reading.passed_over) < COLUMNS_NAMED:
                reading.passed_over.setdefault(name, index)
        wrong = {problem.field for problem in problems}
        values, unread = read_columns(
            layout, {name: text for name, text in texts.items() if name not in wrong}
        )
        unread = [problem for problem in unread if problem.field not in wrong and "" not in wrong]
        problems += [*unread, *contradictions(layout, values, today)]
        refused = [problem for problem in problems if not layout.can_be_left_out(problem.field)]
        if refused:
            reading.bad[index] = tuple(problems)
            continue
        if problems:
            reading.left_out[index] = tuple(problems)
        said = digest(_said(layout, values))
        values = {**values, **_pseudonyms(layout, values, pseudonym)}
        patient_id = pseudonym(values["patient_number"]) if layout.patient else ""
        key = patient_id if layout.key == "patient_number" else values[layout.key]
        reading.good[index] = Fed(key, values["revision"], layout.build(values, today), patient_id, said)
    return reading


def read_columns(layout: Layout[Any], texts: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a record's columns, and what is wrong with each that cannot be read.

    One that the record can do without has its default then; another has no value.
    """
    values: dict[str, Any] = {}
    problems = []
    for column in layout.columns:
        try:
            values[column.name] = column.value_of(texts.get(column.name, ""))
        except Invalid as invalid:
            problems.append(Problem(column.name, str(invalid)))
            if column.can_be_left_out:
                values[column.name] = column.default
    return values, problems


def contradictions(layout: Layout[Any], values: Values, today: date) -> Iterator[Problem]:
    """What is wrong with the values together, one problem a field."""
    found: set[str] = set()
    for check in layout.checks:
        asked = check.field not in found and values.keys() >= set(check.needs)
        if asked and check.is_wrong(values, today):
            found.add(check.field)
            yield Problem(check.field, check.reason)


def _pseudonyms(layout: Layout[Any], values: Values, pseudonym: Callable[[str], str]) -> dict[str, str]:
    """Ids that only have to be the same where they are the same, never the source's own."""
    return {
        column.name: pseudonym(f"{column.name} {values[column.name]}")
        for column in layout.columns
        if column.pseudonymous and values[column.name]
    }


def _said(layout: Layout[Any], values: Values) -> str:
    """All that a record says, however it is written. A column that a later version adds is not in it where empty."""
    return "\0".join(
        f"{column.name}={_canonical(values[column.name])}"
        for column in sorted(layout.columns, key=lambda column: column.name)
        if values[column.name] != column.default
    )


def _canonical(value: object) -> str:
    match value:
        case tuple():
            return " ".join(map(_canonical, value))
        case Decimal():
            return f"{value.normalize():f}"
    return str(value)
