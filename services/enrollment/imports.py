"""The feed's way in: `POST /imports/{kind}`, up to 500 records in one transaction.

Each kind goes the same way: read the records by themselves, lock their patients, refuse those that refer to something
unknown, merge with what is held, save what is newer, tell of what changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from hmac import digest
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from services.enrollment.domain.feed import (
    Merged,
    check_fills,
    check_patients,
    check_prescriptions,
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
    Problem,
    Reading,
    Wishes,
    read_records,
)
from services.enrollment.publishing import profiles_changed
from services.enrollment.store import candidates, feed, profiles
from shared import messaging
from shared.events.enrollment import DisenrolmentReason, Prescription, StoreChanged
from shared.http import Commanding, Working
from shared.messaging import Unit
from shared.messaging.unit import TooLarge

V = TypeVar("V")

router = APIRouter()

RECORDS_A_REQUEST = 500
ID = r"^[!-~]{1,64}$"


class Kind(StrEnum):
    stores = "stores"
    patients = "patients"
    prescriptions = "prescriptions"
    fills = "fills"


class Import(BaseModel):
    source: Annotated[str, Field(pattern=ID, description="the system that the records come from")]
    records: Annotated[
        list[dict[str, str | None]],
        Field(
            max_length=RECORDS_A_REQUEST, description="column to text, as in the files of the import layout"
        ),
    ]


class Rejection(BaseModel):
    index: int  # the record's place in the request, from 0
    field: str
    value: str | None  # none: a personal field is not repeated
    reason: str


class Imported(BaseModel):
    accepted: int
    unchanged: int
    rejected: list[Rejection]


@router.post("/imports/{kind}")
async def import_records(
    kind: Kind, body: Import, request: Request, caller: Commanding, work: Working
) -> Imported:
    """Take what is newer than what is held; answer what was not taken, and why. Sent twice, it changes nothing."""
    caller.require("system")
    layout, take = IMPORTS[kind]
    secret = request.app.state.settings.pseudonym_key.get_secret_value()
    reading = read_records(
        layout,
        body.records,
        today=work.now().date(),
        pseudonym=lambda number: pseudonym(secret, body.source, number),
    )

    async def decide(unit: Unit) -> Imported:
        taken, merged = await take(reading, unit)
        rejected = [
            _rejection(layout, index, body.records[index], problem)
            for index, problem in sorted(taken.bad.items())
        ]
        return Imported(accepted=merged.accepted, unchanged=merged.unchanged, rejected=rejected)

    while True:
        try:
            # What the chain's own system says is true whatever a parked patient waits for.
            return await work.command(caller, _keys(layout, reading), decide, even_if_parked=True)
        except TooLarge as error:
            reading = _without(layout, reading, error)


def _without(layout: Layout[Any], reading: Reading[V], error: TooLarge) -> Reading[V]:
    """The same without the records of whom no event could tell any more: the others' go through."""
    problem = Problem(
        "patient_number" if layout.patient else layout.key,
        f"with its records of this request, what is told of it would take {error.size} bytes, more than one event "
        "carries: leave out what is old",
    )
    theirs = {index: problem for index, fed in reading.good.items() if _key(layout, fed) == error.key}
    if not theirs:
        raise error
    return reading.refuse(theirs)


def _rejection(
    layout: Layout[Any], index: int, record: Mapping[str, str | None], problem: Problem
) -> Rejection:
    """The answer is kept for a repeated request: it holds nothing personal, and only what can be stored."""
    value = None
    if not layout.is_personal(problem.field):
        value = "".join(filter(str.isprintable, (record.get(problem.field) or "")[:80]))
    return Rejection(index=index, field=problem.field, value=value, reason=problem.reason)


def pseudonym(secret: str, source: str, number: str) -> str:
    """The patient's id here: opaque, stable, and known before the row exists, so that it can be locked."""
    return digest(secret.encode(), f"{source}\0{number}".encode(), "sha256").hex()[:32]


def _keys(layout: Layout[Any], reading: Reading[Any]) -> list[messaging.unit.Key]:
    return sorted({_key(layout, fed) for fed in reading.good.values()})


def _key(layout: Layout[Any], fed: Fed[Any]) -> messaging.unit.Key:
    return messaging.patient(fed.patient_id) if layout.patient else messaging.store(fed.key)


# --- the four kinds ---

Taken = tuple[Reading[V], Merged[V]]


async def take_stores(reading: Reading[StoreChanged], unit: Unit) -> Taken[StoreChanged]:
    merged = merge(await feed.load_stores(unit.db, _ids(reading)), reading.good.values())
    await feed.save_stores(unit.db, merged.save, unit.now)
    unit.emit(await feed.published_stores(unit.db, [fed.key for fed in merged.changed]))
    return reading, merged


async def take_patients(reading: Reading[FedPatient], unit: Unit) -> Taken[FedPatient]:
    stores = await feed.load_stores(unit.db, {fed.value.store_id for fed in reading.good.values()})
    known = await feed.load_patients(unit.db, _patient_ids(reading))
    reading = reading.refuse(check_patients(reading, stores=stores, merged=_merged_away(known)))

    held = await feed.load_fed_patients(unit.db, _patient_ids(reading))
    merged = merge(held, reading.good.values())
    served = {
        fed.patient_id: changes
        for fed in merged.changed
        if (changes := _changes(fed.value, held[fed.key].value if fed.key in held else None))
    }
    people = [fed for fed in merged.changed if _person(fed) != _person(held.get(fed.key))]
    await feed.save_patients(unit.db, merged.save)
    await feed.save_people(unit.db, people)

    unit.emit(await profiles.contact_details(unit.db, [fed.patient_id for fed in people]))
    unit.emit(await profiles_changed(unit, served))
    return reading, merged


async def take_prescriptions(reading: Reading[Prescription], unit: Unit) -> Taken[Prescription]:
    known = await feed.load_patients(unit.db, _patient_ids(reading))
    owners = await feed.owners_of(unit.db, _ids(reading))
    reading = reading.refuse(
        check_prescriptions(reading, patients=known, merged=_merged_away(known), owners=owners)
    )

    merged = merge(await feed.load_prescriptions(unit.db, _ids(reading)), reading.good.values())
    await feed.save_prescriptions(unit.db, merged.save)
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

    merged = merge(held, reading.good.values())
    await feed.save_fills(unit.db, merged.save)
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
    """Tell of those who take part; look at the others as candidates, later and by themselves."""
    changed: Sequence[str] = sorted(patient_ids)
    unit.emit(await profiles_changed(unit, dict.fromkeys(changed, ("fed",))))
    await candidates.plan_checks(unit.db, changed, unit.now)


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
