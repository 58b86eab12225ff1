"""Forgetting a patient: what stands against it, and what every service is told."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.enrollment.domain.erasure import Policy, Record, Rule, Ruling, judge
from services.enrollment.queries import known_patient
from services.enrollment.store import candidates, erasures, feed
from services.enrollment.store.erasures import PERSONAL
from shared.database import Db
from shared.events import Event
from shared.events.enrollment import CandidateEnd, CandidateWithdrawn, PatientErased
from shared.events.tombstones import tombstone
from shared.messaging import Caller, Unit, Work, patient
from shared.messaging.forgetting import erased_among, forget, forget_published
from shared.problems import Conflict
from shared.values import FreeText, Input, Output, for_example

RETENTION = Path(__file__).parent / "policy" / "erasure.toml"


@cache
def retention(file: Path = RETENTION) -> Policy:
    """The dated policy. Raises KeyError, TypeError or TOMLDecodeError where it is none."""
    said = tomllib.loads(file.read_text())
    return {record: Rule(**said[record]) for record in Record}


class Stays(Output):
    """A kind of record that stays, under an id that says nobody unless `names`, and until when."""

    record: Record
    until: date
    names: bool
    source: str


class Against(Output):
    """Why the patient cannot be forgotten now."""

    code: str
    words: str
    until: date | None


class Erasure(Output):
    """Whether a patient may be forgotten, or is."""

    patient_id: str
    erased: bool
    records: list[str]  # the ids that are this patient's: records merged into it too
    against: list[Against]
    stays: list[Stays]


async def preview(db: Db, patient_id: str, today: date) -> Erasure:
    """What erasing this patient would come to. Raises NotFound."""
    records, ruling = await _judged(db, patient_id, today)
    done = await erased_among(db, records) == set(records)
    return _answer(records, ruling, erased=done)


async def _judged(db: Db, patient_id: str, today: date) -> tuple[list[str], Ruling]:
    known = await known_patient(db, patient_id)
    records = [patient_id, *await erasures.merged_into(db, patient_id)]
    holds = [why for each in records if (why := await erasures.hold_of(db, each)) is not None]
    last = await erasures.newest_records(db, records)
    return records, judge(known.status, holds[0] if holds else None, last, retention(), today)


def _answer(records: list[str], ruling: Ruling, *, erased: bool) -> Erasure:
    return Erasure(
        patient_id=records[0],
        erased=erased,
        records=records,
        against=[Against(**asdict(each)) for each in ruling.against],
        stays=[Stays(**asdict(each)) for each in ruling.stays],
    )


class Because(Input):
    """Why, without a word that says who it is about."""

    model_config = for_example(because="request 2026-118 of the patient")

    because: Annotated[FreeText, Field(min_length=3, max_length=200)]


async def erase(unit: Unit, patient_id: str, why: Because, locked: list[str]) -> Erasure:
    """Forget who the patient is, here, and have every other service do so. Done twice, it tells them again.

    Raises Conflict where something stands against it; `locked` are the records that are the patient's.
    """
    records, ruling = await _judged(unit.db, patient_id, unit.today("UTC"))
    if records != locked:
        raise Conflict("merged_meanwhile", "another record was merged into the patient just now: ask again")
    if ruling.against:
        first = ruling.against[0]
        raise Conflict(first.code, "; ".join(each.words for each in ruling.against))
    await _forget(unit, records)
    await erasures.record(unit.db, records, why.because, now=unit.now, by=unit.actor)
    return _answer(records, ruling, erased=True)


async def _forget(unit: Unit, records: list[str]) -> None:
    reasons = await candidates.load_candidate_reasons(unit.db, records)
    known = await feed.load_patients(unit.db, records)
    await forget(unit, PERSONAL, records)
    await forget_published(unit.db, records)
    unit.emit(
        CandidateWithdrawn(patient_id=each, store_id=known[each].store_id, reason=CandidateEnd.other)
        for each in sorted(reasons)
    )
    unit.emit(PatientErased(patient_id=each) for each in records)
    unit.emit(tombstone(each) for each in records)


async def erase_again(event: Event, at: datetime, caller: Caller, work: Work) -> bool:
    """An erasure that was published and lost takes place again, whatever stood against it since."""
    if not isinstance(event, PatientErased):
        return False

    async def again(unit: Unit) -> bool:
        if await feed.load_patients(unit.db, [event.patient_id]):
            await _forget(unit, [event.patient_id])
            return True
        return False

    return await work.command(caller, [patient(event.patient_id)], again, even_if_parked=True)


async def require_remembered(db: Db, patient_id: str) -> None:
    """Raises Conflict where the patient was forgotten: nothing begins anew under that id."""
    if await erased_among(db, [patient_id]):
        raise Conflict(
            "erased",
            "the patient was erased on request: who comes back gets a new number in the chain's system",
        )


async def hold(unit: Unit, patient_id: str, why: Because) -> Erasure:
    """Put a legal hold on the patient's records: nothing of them is destroyed until it is lifted."""
    await known_patient(unit.db, patient_id)
    await erasures.hold(unit.db, patient_id, why.because, now=unit.now, by=unit.actor)
    return await preview(unit.db, patient_id, unit.today("UTC"))


async def lift_hold(unit: Unit, patient_id: str, why: Because) -> Erasure:
    """Lift the hold. Raises Conflict where there is none."""
    await known_patient(unit.db, patient_id)
    if not await erasures.lift(unit.db, patient_id, why.because, now=unit.now, by=unit.actor):
        raise Conflict("no_hold", "there is no legal hold on the patient's records")
    return await preview(unit.db, patient_id, unit.today("UTC"))
