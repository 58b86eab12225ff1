"""What operations ask of every service: alive, ready, how far, what is stuck, and the ways out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Protocol

import asyncpg
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from shared.attention import Warned, warnings_of
from shared.audit import store as audit
from shared.audit.chaining import Chainer
from shared.contract import OPERATIONS
from shared.database import Db
from shared.events import TOPICS, Event
from shared.http import Commanding, Problem
from shared.messaging import Unit, Work, journal, patient, tables
from shared.messaging.consumer import Consumer
from shared.messaging.due import DueLoop
from shared.messaging.envelope import marks_of_state, typed_key
from shared.messaging.forgetting import (
    Forgotten,
    Personal,
    erased,
    forget,
    forget_published,
    held_of,
    how_far,
    known_again,
)
from shared.messaging.lag import DatabaseAway, LagMeter
from shared.messaging.outages import BROKER_AWAY
from shared.messaging.parking import NoSuchLetter, Parking
from shared.messaging.positions import WHOLE, cure, said
from shared.messaging.recovery import Recovery
from shared.messaging.relay import Relays
from shared.messaging.removing import KindKept, Removing
from shared.resealing import Kept, NoSuchPlace, Turn, reseal
from shared.values import (
    Cursor,
    FreeText,
    Id,
    Input,
    Instant,
    LenientInput,
    Output,
    RowNumber,
    Text,
    for_example,
)

REPUBLISHED_A_TURN = 200
FOR = "a group of consumers; others pass it over"
GOES_ON_TRIES = 50
PROBE_SECONDS = 0.5
"""How long a probe of HTTP waits for the broker: less than whoever probes waits for it."""


class CurrentState(Protocol):
    """A service's current state as ordinary events with unchanged revisions, ordered by key."""

    def __call__(
        self, db: Db, *, patient: str | None, store: str | None, after: str, limit: int
    ) -> Awaitable[Sequence[Event]]: ...


@dataclass(frozen=True, slots=True)
class Machinery:
    """The running parts of one service process."""

    service: str
    slot: int
    work: Work
    consumer: Consumer
    relay: Relays
    due: DueLoop
    meter: LagMeter
    parking: Parking
    migrations: int
    republish: CurrentState | None
    recovery: Recovery
    kept: Sequence[Kept]
    removing: Removing
    chainer: Chainer
    personal: Personal


router = APIRouter(prefix="/ops", tags=[OPERATIONS])


def _of(request: Request) -> Machinery:
    machinery: Machinery = request.app.state.machinery
    return machinery


class Readiness(Output):
    """Whether requests can be answered, and what is missing."""

    ready: bool
    consuming: bool
    missing: list[str]
    warnings: list[Warned] = Field(description="what somebody should look at, whatever else is well")


class Consuming(Output):
    """Whether events are taken in, and what is missing."""

    consuming: bool
    missing: list[str]
    lag: int | None = Field(description="records behind; null where the broker does not tell")
    warnings: list[Warned] = Field(description="what somebody should look at, whatever else is well")


@router.get("/live")
async def live() -> dict[str, str]:
    """The event loop answers; nothing else is asked."""
    return {"status": "live"}


@router.get(
    "/ready", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready"}}
)
async def ready(request: Request) -> JSONResponse:
    """Whether requests can be answered: 503 without the database or a migration. `missing` names also what consuming
    lacks: while the broker is away, commands are taken and queries answered.
    """
    m = _of(request)
    of_http, (of_consuming, _), warnings = await asyncio.gather(
        _http_lacks(m), _consuming_lacks(m, PROBE_SECONDS), _warnings(request)
    )
    missing = [*of_http, *of_consuming]
    answer = Readiness(ready=not of_http, consuming=not of_consuming, missing=missing, warnings=warnings)
    return JSONResponse(answer.model_dump(), status_code=503 if of_http else 200)


@router.get(
    "/consuming",
    response_model=Consuming,
    responses={503: {"model": Consuming, "description": "Not consuming"}},
)
async def consuming(request: Request) -> JSONResponse:
    """Whether events are taken in and due work is done: broker, subscription, lag, no wait that lasts; 503 names what
    is missing. `warnings` makes no 503: starting the process again would not help.
    """
    m = _of(request)
    (missing, lag), warnings = await asyncio.gather(_consuming_lacks(m), _warnings(request))
    answer = Consuming(consuming=not missing, missing=missing, lag=lag, warnings=warnings)
    return JSONResponse(answer.model_dump(), status_code=503 if missing else 200)


async def _http_lacks(m: Machinery) -> list[str]:
    try:
        async with m.work.read() as db:
            applied = await db.fetchval("select count(*) from public.schema_migrations")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [f"database: {type(error).__name__}"]
    return [f"migrations: {applied} of {m.migrations} applied"] if applied < m.migrations else []


async def _consuming_lacks(m: Machinery, patience: float | None = None) -> tuple[list[str], int | None]:
    """What consuming lacks, and the lag where the broker tells it within `patience` seconds."""
    missing, lag = [], None
    try:
        async with asyncio.timeout(patience):
            lag = (await m.meter.read()).behind
            missing += [f"{item['topic']}: {item['missing']}; {item['cure']}" for item in await _gaps(m)]
    except BROKER_AWAY as error:
        missing.append(f"broker: {type(error).__name__}")
    except DatabaseAway as error:
        missing.append(f"database: {error}")
    if m.due.stopped_because:
        missing.append(f"due work stopped: {m.due.stopped_because}")
    if m.consumer.stopped_because:
        missing.append(f"consumption stopped: {m.consumer.stopped_because}")
    elif not m.consumer.running:
        missing.append("not subscribed yet")
    elif m.consumer.leaves_out:
        missing.append("partitions that no process holds")
    missing += m.relay.complaints
    for what, wait in (("consumption", m.consumer.wait), ("due work", m.due.wait)):
        if wait.lasts:
            missing.append(f"{what} waits {wait.lasts}")
    return missing, lag


async def _warnings(request: Request) -> list[Warned]:
    """None where the database does not answer: that is what is missing then."""
    m, identity = _of(request), request.app.state.identity
    try:
        async with asyncio.timeout(PROBE_SECONDS), m.work.connection() as db:
            return warnings_of(
                await tables.lasting(db),
                m.relay.wait.lasts,
                unchained=(await audit.waiting(db)).seconds,
                head_unpublished=m.chainer.unpublished_seconds,
                grants_unread=identity.grants_unread,
            )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return []


@router.get("/status")
async def status(request: Request) -> dict[str, Any]:
    """Everything that tells whether this service is at rest, and what waits for a person."""
    m = _of(request)
    try:
        lag = await m.meter.read()
    except BROKER_AWAY as error:
        raise Problem(503, "Unavailable", f"the broker does not answer: {type(error).__name__}") from None
    except DatabaseAway as error:
        raise Problem(503, "Unavailable", f"the database does not answer: {error}") from None
    async with m.work.connection() as db:
        due_now, next_due = await m.due.due_now(db)
        counts = await tables.counts(db)
    if due_now:
        m.due.wake.set()  # a stepped clock was moved: no commit told of it
    return {
        "service": m.service,
        "slot": m.slot,
        "now": m.work.now(),
        "due_now": due_now,
        "next_due": next_due,
        "lag": lag.behind,
        "committed": sum(lag.committed.values()),
        "end": sum(lag.end.values()),
        "ends": lag.ends,
        "leads_relay": m.relay.leads,
        "published": m.relay.published,
        "stopped_because": m.consumer.stopped_because or m.due.stopped_because,
        **counts,
        "gaps": len(await _gaps(m)),
        "tally": {
            "taken": m.consumer.intake.tally.taken,
            "repeated": m.consumer.intake.tally.repeated,
            "passed": m.consumer.intake.tally.passed,
            "buried": m.consumer.intake.tally.buried,
            "due_done": m.due.done,
            "commit_errors": m.consumer.commit_errors,
        },
    }


async def _gaps(m: Machinery) -> list[dict[str, Any]]:
    """The gaps that wait to be accepted, with what is missing and the commands that bring it."""
    async with m.work.read() as db:
        return [
            {
                "topic": gap.topic,
                "partition": None if gap.partition == WHOLE else gap.partition,
                "why": gap.why,
                "expected": gap.expected,
                "found": gap.found,
                "since": since,
                "missing": said(gap),
                "cure": cure(m.service, gap.topic),
            }
            for gap, since in await tables.open_gaps(db)
        ]


@router.get("/gaps")
async def gaps(request: Request) -> dict[str, Any]:
    """The topics of which events are missing, with which; nothing of them is taken in until somebody accepts that."""
    return {"items": await _gaps(_of(request))}


@router.post("/gaps/{topic}/accept")
async def accept_gaps(request: Request, topic: Text, caller: Commanding) -> dict[str, Any]:
    """Go on in a topic though events are missing: from the first that it has where they are."""
    try:
        accepted = await _of(request).consumer.accept_gaps(caller, topic)
    except BROKER_AWAY as error:
        raise Problem(503, "Unavailable", f"the broker does not answer: {type(error).__name__}") from None
    if not accepted:
        raise Problem(404, "No such gap", f"nothing is missing of topic {topic}; GET /ops/gaps lists what is")
    return {"accepted": topic}


@router.get("/deadletters")
async def dead_letters(
    request: Request,
    status: Text = "open",
    after: RowNumber = 0,
    limit: RowNumber = 100,
) -> dict[str, Any]:
    """Poison events and failed due work, oldest first; outbox rows that the broker refused beside them."""
    async with _of(request).work.read() as db:
        letters = await tables.dead_letters(
            db, status=None if status == "all" else status, after=after, limit=min(limit, 500)
        )
        return {"items": letters, "held": await journal.refused_rows(db)}


@router.get("/deadletters/{number}")
async def dead_letter(request: Request, number: RowNumber) -> dict[str, Any]:
    """One dead letter with its headers and payload as they came (base64: they may be anything)."""
    async with _of(request).work.read() as db:
        letter = await tables.dead_letter(db, number)
    if letter is None:
        raise Problem(
            404, "No such dead letter", f"there is no dead letter {number}; GET /ops/deadletters lists them"
        )
    letter["payload"] = tables.as_base64(letter["payload"])
    letter["record_key"] = tables.as_base64(letter["record_key"])
    return letter


class Because(LenientInput):
    """A person's reason, kept with what was done; no personal data."""

    model_config = for_example(because="the plan was corrected by hand")

    because: Annotated[FreeText, Field(min_length=3, max_length=200)]


@router.post("/deadletters/{number}/redrive")
async def redrive(request: Request, number: RowNumber, caller: Commanding) -> dict[str, Any]:
    """Run the letter and what waits behind it through the handlers again."""
    try:
        return await _of(request).parking.redrive(caller, number)
    except NoSuchLetter as error:
        raise Problem(404, "No such dead letter", str(error)) from None


@router.post("/deadletters/{number}/skip")
async def skip(request: Request, number: RowNumber, body: Because, caller: Commanding) -> dict[str, Any]:
    """Drop the letter with a reason; what waits behind it goes on."""
    try:
        return await _of(request).parking.skip(caller, number, body.because)
    except NoSuchLetter as error:
        raise Problem(404, "No such dead letter", str(error)) from None


@router.post("/held/{row_id}/release")
async def release_held(request: Request, row_id: RowNumber, caller: Commanding) -> dict[str, Any]:
    """Let the relay try a refused outbox row again, for instance after the broker's limit was raised."""
    m = _of(request)

    async def release(unit: Unit) -> bool:
        return await journal.release_held(unit.db, row_id)

    if not await m.work.command(caller, (), release):
        raise Problem(404, "No such row", f"outbox row {row_id} is not held")
    return {"released": row_id}


class Replay(Input):
    """Since when, and up to when, on which topic, for which group of readers alone."""

    model_config = for_example(since="2026-03-02T06:00:00Z")

    since: Instant
    until: Instant | None = None
    topic: Text | None = None
    for_group: Id | None = Field(default=None, description=FOR)


@router.post("/replay")
async def replay(request: Request, body: Replay, caller: Commanding) -> dict[str, Any]:
    """Have what was published since then sent again, with the same ids: readers know what they took. The relay does it
    behind what is new; GET /ops/replays says how far it is."""
    if body.topic and body.topic not in TOPICS:
        raise Problem(422, "No such topic", f"topics are {', '.join(TOPICS)}")

    async def ask(unit: Unit) -> dict[str, Any]:
        oldest = await journal.oldest_day(unit.db)
        number = await journal.ask_for_replay(
            unit.db, body.since, body.until, body.topic, body.for_group, caller.actor
        )
        return {"replay": number, "journal_since": oldest}

    return await _of(request).work.command(caller, (), ask)


@router.get("/replays")
async def replays(request: Request, limit: RowNumber = 20) -> dict[str, Any]:
    """What was asked to be sent again, the newest first, and how far it is."""
    async with _of(request).work.read() as db:
        return {"items": await journal.replays(db, min(limit, 500))}


class Keys(Output):
    """The ids of the keys of this process, and how much each table keeps sealed with which."""

    seals: str | None = Field(description="of the key that seals now; null where the service has none")
    opens: list[str]
    kept: dict[str, dict[str, int]]


@router.get("/keys")
async def keys(request: Request) -> Keys:
    """Which keys this process holds, and which of them what is kept still needs: ids alone."""
    m = _of(request)
    async with m.work.read() as db:
        kept = {each.table: dict(await each.by_key(db)) for each in m.kept}
    return Keys(seals=m.work.sealer.key_id, opens=list(m.work.sealer.key_ids), kept=kept)


class Reseal(Input):
    """Where to go on: the `next` of the answer before."""

    model_config = for_example(after="")

    after: Cursor = ""


@router.post("/keys/reseal")
async def reseal_kept(request: Request, body: Reseal, caller: Commanding) -> Turn:
    """Seal up to 200 rows anew with the key that seals now; `next` says where to go on. What none of the keys opens
    stays as it is, and is counted."""
    m = _of(request)

    async def turn(unit: Unit) -> Turn:
        return await reseal(unit.db, m.work.sealer, m.kept, body.after)

    try:
        return await m.work.command(caller, (), turn)
    except NoSuchPlace:
        raise Problem(422, "No such place", "give `after` as the answer before said it in `next`") from None


class Retention(Output):
    """How it stands with each kind of record, and who signed off how long it is kept."""

    signed_off_by: str | None = Field(description="null: nobody, and nothing is removed")
    signed_off_on: date | None
    kinds: list[KindKept]


@router.get("/retention")
async def retention(request: Request) -> Retention:
    """How long each kind of record is kept, and how much is past its day: what a run would remove. Counted up to
    100,000 of each."""
    m = _of(request)
    async with m.work.read() as db:
        kinds = await m.removing.kept(db)
    signed = m.removing.policy.signed_off
    return Retention(
        signed_off_by=signed.by if signed else None, signed_off_on=signed.on if signed else None, kinds=kinds
    )


class RunRetention(Input):
    """Where to go on: the `next` of the answer before."""

    model_config = for_example(kind="")

    kind: Cursor = ""


class Removed(Output):
    """What one turn removed; `next` is the kind to go on with, null at the end."""

    kind: str
    removed: int
    next: str | None


@router.post("/retention/run")
async def run_retention(request: Request, body: RunRetention, caller: Commanding) -> Removed:
    """Remove some of what is past its day, without waiting for the daily run; `next` says where to go on."""
    m = _of(request)
    names = list(m.removing.kinds)
    name = body.kind or names[0]
    if name not in names:
        raise Problem(422, "No such kind", f"kinds are {', '.join(names)}")
    if m.removing.policy.signed_off is None:
        raise Problem(
            409,
            "Not signed off",
            "nobody has signed off how long records are kept: name MEDSYNC_RETENTION_FILE",
        )

    async def turn(unit: Unit) -> int:
        return await m.removing.batch(unit, m.removing.kinds[name])

    removed = await m.work.command(caller, (), turn)
    following = dict(pairwise(names)).get(name)
    return Removed(kind=name, removed=removed, next=name if removed else following)


ERASURES_A_TURN = 1000


@router.get("/privacy/{patient_id}")
async def privacy(request: Request, patient_id: Id) -> Forgotten:
    """Whether this service has forgotten who a patient is, and what it still holds of that: numbers of rows alone."""
    m = _of(request)
    async with m.work.read() as db:
        return await how_far(db, m.personal, patient_id)


@router.get("/privacy/{patient_id}/export")
async def export(request: Request, patient_id: Id) -> dict[str, Any]:
    """Everything that this service holds of a patient, for the patient: by table, what is sealed opened as `said`."""
    m = _of(request)
    async with m.work.read() as db:
        return {"service": m.service, "held": await held_of(db, m.work.keys, m.personal, patient_id)}


@router.get("/erasures")
async def erasures(request: Request, after: Cursor = "") -> dict[str, Any]:
    """Who was forgotten, by hashes of their ids: for a service whose database was put back."""
    async with _of(request).work.read() as db:
        found = await erased(db, after, ERASURES_A_TURN)
    return {"items": found, "next": found[-1] if len(found) == ERASURES_A_TURN else None}


class Erasures(Input):
    """Hashes of who was forgotten, as another service has them."""

    model_config = for_example(hashes=["0" * 64])

    hashes: Annotated[
        list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]], Field(max_length=ERASURES_A_TURN)
    ]


@router.post("/erasures")
async def erase_again(request: Request, body: Erasures, caller: Commanding) -> dict[str, int]:
    """Forget again whom a database that was put back still knows."""
    m = _of(request)

    async def again(unit: Unit) -> dict[str, int]:
        found = await known_again(unit.db, m.personal, body.hashes)
        await m.work.lock(unit, [patient(each) for each in found])
        await forget(unit, m.personal, found)
        await forget_published(unit.db, found)
        return {"erased": len(found)}

    return await m.work.command(caller, (), again)


class Republish(LenientInput):
    """Which part of the current state, all of it where neither is given; and for whom, for everybody where not."""

    model_config = for_example(store="S1", for_group="medsync-planner")

    patient: Id | None = None
    store: Id | None = None
    for_group: Id | None = Field(default=None, description=FOR)
    after: Cursor = ""


@router.post("/republish")
async def republish(request: Request, body: Republish, caller: Commanding) -> dict[str, Any]:
    """Emit up to 200 events of current state through the outbox, revisions unchanged; `next` says where to go on.

    They are marked as state (`ce_state`): readers keep what they say, and do not act on it as on news.
    Of whom an event is more than the broker takes is set aside, and named in `set_aside`.
    """
    m = _of(request)
    current = m.republish
    if current is None:
        raise Problem(404, "Nothing to republish", f"{m.service} publishes no state")

    async def emit(unit: Unit) -> dict[str, Any]:
        unit.marks = marks_of_state(body.for_group)
        # Read, lock, read again: else a change made meanwhile could leave first, and an older state after it.
        read = partial(
            current,
            unit.db,
            patient=body.patient,
            store=body.store,
            after=body.after,
            limit=REPUBLISHED_A_TURN,
        )
        found = await read()
        locked = {typed_key(event) for event in found}
        await m.work.lock(unit, locked)
        events = [event for event in await read() if typed_key(event) in locked]
        too_large = m.work.too_large(unit, events)
        emitted = [event for event in events if typed_key(event) not in too_large]
        unit.emit(emitted)
        return {
            "republished": len(emitted),
            "set_aside": sorted({event.key for event in events if typed_key(event) in too_large}),
            "next": found[-1].key if len(found) >= REPUBLISHED_A_TURN else None,
        }

    return await m.work.command(caller, (), emit)


class Recovered(Input):
    """Why the database was put back; kept with its lives."""

    model_config = for_example(because="restored to 03:00 from the backup")

    because: Annotated[FreeText, Field(min_length=3, max_length=200)] = "restored"


@router.post("/recovered")
async def recovered(request: Request, body: Recovered, caller: Commanding) -> dict[str, Any]:
    """After the database was put back to an older state: what is published from now on goes before all that was, who
    left or said stop is not taken back, and the answer names what was lost. Republish everything then.
    """
    m = _of(request)
    if m.republish is None:
        raise Problem(404, "Nothing to recover", f"{m.service} publishes nothing: its readers are none")
    try:
        answer = await m.recovery.recover(caller, body.because)
    except BROKER_AWAY as error:
        raise Problem(503, "Unavailable", f"the broker does not answer: {type(error).__name__}") from None
    for _ in range(GOES_ON_TRIES):  # else whoever goes on at once is told that nothing may be done
        if not m.relay.refuses:
            break
        await asyncio.sleep(0.1)
    return answer
