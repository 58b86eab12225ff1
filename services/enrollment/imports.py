"""The feed's way in: `POST /imports/{kind}`, up to 500 records in one transaction.

Each kind goes the same way: read the records by themselves, lock their patients, refuse those that refer to something
unknown, merge with what is held, save what is newer, tell of what changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from hmac import digest
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, StrictBool, WithJsonSchema

from services.enrollment.domain.feed import (
    CONFLICT,
    FOREIGN_FILL,
    FOREIGN_PRESCRIPTION,
    Merged,
    check_fills,
    check_patients,
    check_prescriptions,
    check_saved,
    merge,
)
from services.enrollment.domain.profile import renewals
from services.enrollment.domain.records import (
    FILLS,
    PATIENTS,
    PRESCRIPTIONS,
    STORES,
    Fed,
    FedFill,
    FedPatient,
    Layout,
    Person,
    Reading,
    Wishes,
    read_records,
)
from services.enrollment.domain.written import Problem, is_unknown, texts_of
from services.enrollment.publishing import profiles_changed
from services.enrollment.store import candidates, feed, people, profiles
from shared.events.enrollment import DisenrolmentReason, Prescription, StoreChanged
from shared.messaging import Unit, patient, store
from shared.messaging.forgetting import erased_among
from shared.messaging.unit import Key, TooLarge
from shared.values import LenientInput, Output

V = TypeVar("V")

RECORDS_A_REQUEST = 500
AFTER_THE_LAST = timedelta(minutes=10)
"""How long, at most, a patient waits to be looked at as a candidate while more is fed: a feed may never end."""

ID = r"^[!-~]{1,64}$"


ERASED = Problem(
    "patient_number",
    "the patient was erased on request, and nothing is taken of them any more: take them out of the feed; who comes "
    "back gets a new number",
)


class Kind(StrEnum):
    stores = "stores"
    patients = "patients"
    prescriptions = "prescriptions"
    fills = "fills"


Record = Annotated[
    Any,  # each is judged by itself: one that is no record does not stop the others
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
        }
    ),
]


class Import(LenientInput):
    """Records of the feed, as the import layout has them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "chain",
                    "records": [
                        {
                            "fill_id": "F-77",
                            "revision": "1",
                            "rx_id": "RX-1002",
                            "patient_number": "P-1002",
                            "filled_on": "2026-03-02",
                            "quantity": "30",
                            "days_supply": "30",
                        }
                    ],
                }
            ]
        }
    )

    source: Annotated[str, Field(pattern=ID, description="the system that the records come from")]
    records: Annotated[
        list[Record],
        Field(
            max_length=RECORDS_A_REQUEST,
            description="column to text, as in the files of the import layout; a number is taken for its digits",
        ),
    ]
    more: Annotated[
        StrictBool | None,
        Field(
            description="true: other requests follow at once, and who would benefit is looked at once for all of them; "
            "false: this is the last of them; null: it stands alone"
        ),
    ] = None


class FieldFault(Output):
    field: str
    value: str | None  # none: a personal field is not repeated
    reason: str


class Warned(FieldFault):
    """A field without which a record was taken, or a column that was passed over."""

    index: int  # the record's place in the request, from 0; of a column the first that has it


class Rejection(Warned):
    """A record that was not taken. What else is wrong with it is in `also`."""

    also: list[FieldFault] = Field([])


class Known(Output):
    index: int
    patient_id: str


class Imported(Output):
    """What came of each record: it is counted in one of `accepted`, `unchanged`, `rejected` and `conflicts`."""

    accepted: int
    unchanged: int
    rejected: list[Rejection]
    conflicts: list[Rejection] = Field([])  # came before under the same revision with other content
    warnings: list[Warned] = Field([])
    patients: list[Known] = Field([])  # of an import of patients: the id here of each that is known now


def read(kind: Kind, given: Import, secret: str, today: date) -> Reading[Any]:
    """The records of a request by themselves: what each says, or all that is wrong with it."""
    layout, _ = IMPORTS[kind]
    return read_records(
        layout,
        given.records,
        today=today,
        pseudonym=lambda number: pseudonym(secret, given.source, number),
        digest=lambda said: digest(secret.encode(), said.encode(), "sha256").hex()[:32],
    )


def locks_of(kind: Kind, reading: Reading[Any]) -> list[Key]:
    """The patients, or stores, that the records are about."""
    layout, _ = IMPORTS[kind]
    return sorted({_key(layout, fed) for fed in reading.good.values()})


def _key(layout: Layout[Any], fed: Fed[Any]) -> Key:
    return patient(fed.patient_id) if layout.patient else store(fed.key)


def without(kind: Kind, reading: Reading[Any], error: TooLarge) -> Reading[Any]:
    """The same without the records of whom no event could tell any more: the others' go through. Raises the error again
    where it is about none of them."""
    layout, _ = IMPORTS[kind]
    problem = Problem(
        "patient_number" if layout.patient else layout.key,
        f"with its records of this request, what is told of it would take {error.size} bytes, more than one event "
        "carries: leave out what is old",
    )
    theirs = {index: problem for index, fed in reading.good.items() if _key(layout, fed) == error.key}
    if not theirs:
        raise error
    return reading.refuse(theirs)


async def take(unit: Unit, kind: Kind, given: Import, reading: Reading[Any]) -> Imported:
    """Take what is newer than what is held; answer what was not taken, and why. Sent twice, it changes nothing."""
    layout, take_kind = IMPORTS[kind]
    if layout.patient:
        erased = await erased_among(unit.db, _patient_ids(reading))
        reading = reading.refuse({i: ERASED for i, fed in reading.good.items() if fed.patient_id in erased})
    taken, merged = await take_kind(reading, unit)
    if not given.more:
        alone = given.more is None
        await candidates.end_wait(unit.db, unit.now, _patient_ids(taken) if alone else None)
    return _answer(kind, layout, given.records, taken, merged)


def took_all(answer: Imported) -> bool:
    """Whether the answer may be given again: one that refuses something may not, what it waited for may have come."""
    return not (answer.rejected or answer.conflicts)


def _answer(
    kind: Kind, layout: Layout[Any], records: Sequence[object], taken: Reading[Any], merged: Merged[Any]
) -> Imported:
    """The answer is kept for a repeated request: it holds nothing personal, and only what can be stored."""

    def rejection(index: int, problems: Sequence[Problem]) -> Rejection:
        texts, _ = texts_of(records[index])
        first, *others = (_fault(layout, texts, problem) for problem in problems)
        return Rejection(index=index, **vars(first), also=others)

    taken_or_held = sorted((*merged.accepted, *merged.unchanged)) if kind is Kind.patients else ()
    return Imported(
        accepted=len(merged.accepted),
        unchanged=len(merged.unchanged),
        rejected=[rejection(index, problems) for index, problems in sorted(taken.bad.items())],
        conflicts=[rejection(index, [CONFLICT]) for index in merged.conflicts],
        warnings=list(_warnings(layout, records, taken)),
        patients=[Known(index=index, patient_id=taken.good[index].patient_id) for index in taken_or_held],
    )


def _warnings(layout: Layout[Any], records: Sequence[object], taken: Reading[Any]) -> Iterator[Warned]:
    for name, index in taken.passed_over.items():
        reason = is_unknown(name, layout.column_names)
        yield Warned(index=index, field=_printable(name), value=None, reason=reason)
    for index, problems in sorted(taken.left_out.items()):
        if index in taken.good:
            texts, _ = texts_of(records[index])
            for problem in problems:
                yield Warned(index=index, **vars(_fault(layout, texts, problem)))


def _fault(layout: Layout[Any], texts: Mapping[str, str], problem: Problem) -> FieldFault:
    value = None
    if problem.field in layout.column_names and not layout.is_personal(problem.field):
        value = _printable(texts.get(problem.field, ""))
    return FieldFault(field=_printable(problem.field), value=value, reason=problem.reason)


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text[:80]))


def pseudonym(secret: str, source: str, number: str) -> str:
    """The patient's id here: opaque, stable, and known before the row exists, so that it can be locked."""
    return digest(secret.encode(), f"{source}\0{number}".encode(), "sha256").hex()[:32]


# --- the four kinds ---

Taken = tuple[Reading[V], Merged[V]]


async def take_stores(reading: Reading[StoreChanged], unit: Unit) -> Taken[StoreChanged]:
    merged = merge(await feed.load_stores(unit.db, _ids(reading)), reading.good)
    await feed.save_stores(unit.db, merged.save, unit.now)
    unit.emit(await feed.published_stores(unit.db, [fed.key for fed in merged.changed]))
    return reading, merged


async def take_patients(reading: Reading[FedPatient], unit: Unit) -> Taken[FedPatient]:
    stores = await feed.load_stores(unit.db, {fed.value.store_id for fed in reading.good.values()})
    known = await feed.load_patients(unit.db, _patient_ids(reading))
    reading = reading.refuse(check_patients(reading, stores=stores, merged=_merged_away(known)))

    held = await people.load_fed_patients(unit.db, unit.keys, _patient_ids(reading))
    merged = merge(held, reading.good)
    served = {
        fed.patient_id: changes
        for fed in merged.changed
        if (changes := _changes(fed.value, held[fed.key].value if fed.key in held else None))
    }
    changed = [fed for fed in merged.changed if _person(fed) != _person(held.get(fed.key))]
    await feed.save_patients(unit.db, merged.save)
    await people.save_people(unit.db, unit.keys, changed)

    unit.emit(await profiles.contact_details(unit.db, unit.keys, [fed.patient_id for fed in changed]))
    unit.emit(await profiles_changed(unit, served))
    return reading, merged


async def take_prescriptions(reading: Reading[Prescription], unit: Unit) -> Taken[Prescription]:
    known = await feed.load_patients(unit.db, _patient_ids(reading))
    owners = await feed.owners_of(unit.db, _ids(reading))
    reading = reading.refuse(
        check_prescriptions(reading, patients=known, merged=_merged_away(known), owners=owners)
    )

    held = await feed.load_prescriptions(unit.db, _ids(reading))
    merged = merge(held, reading.good)
    saved = await feed.save_prescriptions(unit.db, merged.save)
    if lost := check_saved(reading, merged, saved, FOREIGN_PRESCRIPTION):
        reading = reading.refuse(lost)
        merged = merge(held, reading.good)
    await _supersede_renewed(merged, unit)
    await _history_changed({fed.patient_id for fed in merged.changed}, unit)
    return reading, merged


async def take_fills(reading: Reading[FedFill], unit: Unit) -> Taken[FedFill]:
    known = await feed.load_patients(unit.db, _patient_ids(reading))
    owners = await feed.owners_of(unit.db, {fed.value.fill.rx_id for fed in reading.good.values()})
    held = await feed.load_fills(unit.db, _ids(reading))
    reading = reading.refuse(
        check_fills(
            reading,
            patients=known,
            merged=_merged_away(known),
            owners=owners,
            prescriptions_of={fill_id: fed.value.fill.rx_id for fill_id, fed in held.items()},
        )
    )

    merged = merge(held, reading.good)
    saved = await feed.save_fills(unit.db, merged.save)
    if lost := check_saved(reading, merged, saved, FOREIGN_FILL):
        reading = reading.refuse(lost)
        merged = merge(held, reading.good)
    await _history_changed({fed.patient_id for fed in merged.changed}, unit)
    return reading, merged


Take = Callable[[Reading[Any], Unit], Awaitable[Taken[Any]]]
IMPORTS: Mapping[Kind, tuple[Layout[Any], Take]] = {
    Kind.stores: (STORES, take_stores),
    Kind.patients: (PATIENTS, take_patients),
    Kind.prescriptions: (PRESCRIPTIONS, take_prescriptions),
    Kind.fills: (FILLS, take_fills),
}


async def _supersede_renewed(merged: Merged[Prescription], unit: Unit) -> None:
    """A renewal may come after what it renews, before it, or with it."""
    pairs = await feed.load_renewal_pairs(unit.db, [fed.key for fed in merged.changed])
    of_patient: dict[str, list[Prescription]] = {}
    for fed in pairs:
        of_patient.setdefault(fed.patient_id, []).append(fed.value)
    await feed.mark_superseded(
        unit.db, {old: new for each in of_patient.values() for old, new in renewals(each).items()}
    )


async def _history_changed(patient_ids: Iterable[str], unit: Unit) -> None:
    """Tell of those who take part; look at the others as candidates by themselves, once the feed is through."""
    changed: Sequence[str] = sorted(patient_ids)
    unit.emit(await profiles_changed(unit, dict.fromkeys(changed, ("fed",))))
    await candidates.plan_checks(unit.db, changed, unit.now + AFTER_THE_LAST)


def _changes(said: FedPatient, before: FedPatient | None) -> tuple[str, ...]:
    """What of a patient's profile the feed changed: how they want to be served, what their days depend on."""
    changes = {
        "preferences": before is None or _serving(said) != _serving(before),
        "circumstances": before is not None and said.circumstances != before.circumstances,
    }
    return tuple(name for name, changed in changes.items() if changed)


def _serving(patient: FedPatient) -> tuple[str, Wishes, bool]:
    return patient.store_id, patient.wishes, patient.long_term_care


def _person(fed: Fed[FedPatient] | None) -> Person | None:
    return fed.value.person if fed else None


def _ids(reading: Reading[Any]) -> set[str]:
    return {fed.key for fed in reading.good.values()}


def _patient_ids(reading: Reading[Any]) -> set[str]:
    return {fed.patient_id for fed in reading.good.values()}


def _merged_away(patients: Mapping[str, feed.Patient]) -> set[str]:
    return {
        each.patient_id for each in patients.values() if each.disenrolled_for == DisenrolmentReason.merged
    }
