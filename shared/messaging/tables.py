"""Every SQL statement of the fabric, one function each; those of partitions are in `partitions`."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic_core import from_json, to_json

from shared.database import Db
from shared.messaging.envelope import Delivery, Invalid, Record
from shared.messaging.registry import Owner
from shared.sealing import Sealer

# ---- locks ----------------------------------------------------------------------------------------------------


async def lock(db: Db, keys: Sequence[int]) -> None:
    """Take transaction-level locks, in the order given: one global order keeps deadlocks out."""
    await db.execute("select pg_advisory_xact_lock(k) from unnest($1::bigint[]) k", keys)


async def try_lock(db: Db, keys: Sequence[int]) -> set[int]:
    """Take those of the locks that are free."""
    rows = await db.fetch("select k from unnest($1::bigint[]) k where pg_try_advisory_xact_lock(k)", keys)
    return {row["k"] for row in rows}


# ---- inbox ----------------------------------------------------------------------------------------------------


class Displaced(Exception):
    """The database does not stand where this process believes: another one went on, or an older state came back."""


@dataclass(frozen=True, slots=True)
class Move:
    """A step of the position in one partition: from the offset where it stood to the one to read next."""

    topic: str
    partition: int
    first: int
    next: int


async def claim(db: Db, event_ids: Sequence[UUID], moves: Sequence[Move] = ()) -> set[UUID]:
    """Which of these events are new to this service; from now on none of them is, and the positions have moved.

    Raises Displaced where one does not stand where its move begins.
    """
    row = await db.fetchrow(
        """
        with moved as (
            insert into fabric.positions (topic, partition, "first", "next")
            select m.topic, m.partition, m."first", m."next"
            from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[])
                as m (topic, partition, "first", "next")
            where m."first" = (
                select p."next"
                from fabric.positions p
                where p.topic = m.topic and p.partition = m.partition
                order by p."first" desc
                limit 1
            )
            on conflict do nothing
            returning 1
        ), claimed as (
            insert into fabric.inbox (event_id)
            select distinct id from unnest($1::uuid[]) id
            on conflict do nothing
            returning event_id
        )
        select (select count(*) from moved) as moved,
               array(select event_id from claimed) as claimed
        """,
        event_ids,
        [move.topic for move in moves],
        [move.partition for move in moves],
        [move.first for move in moves],
        [move.next for move in moves],
    )
    assert row is not None
    if row["moved"] != len(moves):
        raise Displaced
    return set(row["claimed"])


# ---- positions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Topic:
    """What tells a topic from another of its name, and what it keeps."""

    topic: str
    partitions: int
    topic_id: UUID
    cluster_id: str
    cleanup: str
    retention_ms: int  # -1: for ever


async def positions(db: Db) -> dict[tuple[str, int], int]:
    """The offset to read next, of each (topic, partition) that is written down."""
    rows = await db.fetch(
        """
        select t.topic, n.partition, last."next"
        from fabric.topics t
        cross join lateral generate_series(0, t.partitions - 1) as n (partition)
        cross join lateral (
            select p."next"
            from fabric.positions p
            where p.topic = t.topic and p.partition = n.partition
            order by p."first" desc
            limit 1
        ) last
        """
    )
    return {(row["topic"], row["partition"]): row["next"] for row in rows}


async def known_topics(db: Db) -> dict[str, Topic]:
    """The topics as they were first seen."""
    rows = await db.fetch(
        "select topic, partitions, topic_id, cluster_id, cleanup, retention_ms from fabric.topics"
    )
    return {row["topic"]: Topic(*row) for row in rows}


async def has_taken(db: Db) -> bool:
    """Whether this service ever took an event in."""
    return await db.fetchval("select exists (select from fabric.inbox)")


async def meet(db: Db, topic: Topic, begin: Sequence[int]) -> bool:
    """Write a topic down where it is new, with where to begin in each partition; says whether it was."""
    met = await db.fetchval(
        """
        insert into fabric.topics (topic, partitions, topic_id, cluster_id, cleanup, retention_ms)
        values ($1, $2, $3, $4, $5, $6)
        on conflict do nothing
        returning true
        """,
        *astuple(topic),
    )
    if met:
        await _begin_at(db, topic.topic, begin)
    return bool(met)


async def begin_anew(db: Db, topic: Topic, begin: Sequence[int]) -> None:
    """Take a topic as it is now, and go on at these offsets, wherever the positions were."""
    await db.execute("lock table fabric.positions in exclusive mode")  # a move that is under way ends first
    await renew(db, topic)
    await db.execute("delete from fabric.positions where topic = $1", topic.topic)
    await _begin_at(db, topic.topic, begin)


async def renew(db: Db, topic: Topic) -> None:
    """Write down what a known topic is by now."""
    await db.execute(
        """
        update fabric.topics
        set partitions = $2, topic_id = $3, cluster_id = $4, cleanup = $5, retention_ms = $6
        where topic = $1
        """,
        *astuple(topic),
    )


async def _begin_at(db: Db, topic: str, offsets: Sequence[int]) -> None:
    await db.execute(
        """
        insert into fabric.positions (topic, partition, "first", "next")
        select $1, place - 1, -1, "next"
        from unnest($2::bigint[]) with ordinality as begin ("next", place)
        """,
        topic,
        offsets,
    )


async def sweep_positions(db: Db) -> None:
    """Delete the moves that lie behind each partition's last."""
    await db.execute(
        """
        delete from fabric.positions p
        using (select topic, partition, max("first") as "first" from fabric.positions group by 1, 2) last
        where p.topic = last.topic and p.partition = last.partition and p."first" < last."first"
        """
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that cannot be read: why (a code), and what was expected and found instead."""

    topic: str
    partition: int  # -1: the topic as a whole
    why: str
    expected: str
    found: str


async def note_gaps(db: Db, gaps: Sequence[Gap]) -> list[Gap]:
    """Keep these gaps; answers those that were not known."""
    rows = await db.fetch(
        """
        insert into fabric.gaps (topic, partition, why, expected, found)
        select *
        from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[])
        on conflict (topic, partition, why) where accepted_at is null do nothing
        returning topic, partition, why, expected, found
        """,
        [gap.topic for gap in gaps],
        [gap.partition for gap in gaps],
        [gap.why for gap in gaps],
        [gap.expected for gap in gaps],
        [gap.found for gap in gaps],
    )
    return [Gap(*row) for row in rows]


async def open_gaps(db: Db, topic: str | None = None) -> list[tuple[Gap, datetime]]:
    """The gaps that nobody has accepted, and since when they are known; of one topic, or all."""
    rows = await db.fetch(
        """
        select topic, partition, why, expected, found, since
        from fabric.gaps
        where accepted_at is null
          and ($1::text is null or topic = $1)
        order by topic, partition, id
        """,
        topic,
    )
    return [(Gap(*row[:5]), row["since"]) for row in rows]


async def accept_gaps(db: Db, topic: str, by: str) -> bool:
    """Close the open gaps of a topic; says whether there were any."""
    done = await db.execute(
        """
        update fabric.gaps
        set accepted_at = clock_timestamp(), accepted_by = $2
        where topic = $1 and accepted_at is null
        """,
        topic,
        by,
    )
    return done != "UPDATE 0"


# ---- dead letters and parking -----------------------------------------------------------------------------------


async def bury(db: Db, letter: Delivery | Invalid, *, attempts: int, reason: str, message: str) -> int | None:
    """Keep a poison event as a dead letter; none if this very record is one already."""
    record = letter.record
    event_type = letter.event.TYPE if isinstance(letter, Delivery) else letter.event_type
    return await db.fetchval(
        """
        insert into fabric.dead_letters
            (topic, partition, "offset", key, event_id, event_type, attempts, reason, message, headers,
             record_key, payload)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (topic, partition, "offset") where event_id is null do nothing
        returning id
        """,
        record.topic,
        record.partition,
        record.offset,
        letter.key,
        letter.event_id,
        event_type,
        attempts,
        reason,
        message,
        pack_headers(record),
        record.key,
        record.value,
    )


async def bury_due_work(db: Db, view: str, key: str, *, attempts: int, reason: str, message: str) -> int:
    """Keep due work that fails as a dead letter of its own kind."""
    letter: int = await db.fetchval(
        """
        insert into fabric.dead_letters (topic, key, attempts, reason, message, headers)
        values ('due:' || $1, $2, $3, $4, $5, '[]')
        returning id
        """,
        view,
        key,
        attempts,
        reason,
        message,
    )
    return letter


async def park(db: Db, key: str, reason: str, letter: int) -> None:
    await db.execute(
        "insert into fabric.parked (key, reason, dead_letter_id) values ($1, $2, $3) on conflict do nothing",
        key,
        reason,
        letter,
    )


async def parked_since(db: Db, reason: str, seconds: float) -> int:
    """How many were parked for one reason lately."""
    count: int = await db.fetchval(
        """
        select count(*)
        from fabric.parked
        where reason = $1
          and parked_at between clock_timestamp() - make_interval(secs => $2) and clock_timestamp()
        """,
        reason,
        seconds,
    )
    return count


async def parked_among(db: Db, keys: Sequence[str]) -> dict[str, str]:
    """Which of these typed keys are parked, and why."""
    rows = await db.fetch("select key, reason from fabric.parked where key = any($1::text[])", keys)
    return {row["key"]: row["reason"] for row in rows}


async def store_behind(db: Db, letters: Sequence[Delivery | Invalid]) -> None:
    """Keep records of parked patients in the order in which they came; each once."""
    await db.execute(
        """
        insert into fabric.parked_events
            (key, topic, partition, "offset", event_id, headers, record_key, payload)
        select key, topic, partition, "offset", event_id, headers::jsonb, record_key, payload
        from unnest(
            $1::text[], $2::text[], $3::int[], $4::bigint[], $5::uuid[], $6::text[], $7::bytea[], $8::bytea[]
        ) with ordinality
            as row (key, topic, partition, "offset", event_id, headers, record_key, payload, place)
        order by place
        on conflict (topic, partition, "offset") where event_id is null do nothing
        """,
        [letter.key for letter in letters],
        [letter.record.topic for letter in letters],
        [letter.record.partition for letter in letters],
        [letter.record.offset for letter in letters],
        [letter.event_id for letter in letters],
        # as text: a list of lists is an array to asyncpg
        [json.dumps(pack_headers(letter.record)) for letter in letters],
        [letter.record.key for letter in letters],
        [letter.record.value for letter in letters],
    )


async def dead_letters(db: Db, *, status: str | None, after: int, limit: int) -> list[dict[str, Any]]:
    """Letters of a status, or all. A closed one whose patient is parked still counts as open: see `cut_off`."""
    rows = await db.fetch(
        """
        select id, topic, partition, "offset", d.key, event_id, event_type, attempts, first_at, last_at,
               d.reason, message, status, closed_by, closed_because, p.key is not null as parked,
               (select count(*) from fabric.parked_events e where e.key = d.key and p.key is not null) as behind
        from fabric.dead_letters d
        left join fabric.parked p on p.dead_letter_id = d.id
        where ($1::text is null or status = $1 or ($1 = 'open' and p.key is not null))
          and id > $2
        order by id
        limit $3
        """,
        status,
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def dead_letter(db: Db, letter: int) -> dict[str, Any] | None:
    row = await db.fetchrow("select * from fabric.dead_letters where id = $1", letter)
    return dict(row) if row else None


async def letter_that_parks(db: Db, key: str) -> int | None:
    return await db.fetchval("select dead_letter_id from fabric.parked where key = $1", key)


async def close_letter(db: Db, letter: int, *, status: str, by: str, because: str) -> bool:
    """Close an open letter; says whether it was open."""
    done = await db.execute(
        """
        update fabric.dead_letters
        set status = $2, closed_by = $3, closed_because = $4, closed_at = clock_timestamp()
        where id = $1
          and status = 'open'
        """,
        letter,
        status,
        by,
        because,
    )
    return done == "UPDATE 1"


async def letter_failed_again(db: Db, letter: int, reason: str, message: str) -> None:
    await db.execute(
        """
        update fabric.dead_letters
        set attempts = attempts + 1, last_at = clock_timestamp(), reason = $2, message = $3
        where id = $1
          and status = 'open'
        """,
        letter,
        reason,
        message,
    )


async def cut_off(db: Db) -> list[dict[str, Any]]:
    """Closed letters whose patients are still parked: the process died before it had worked off what waits behind."""
    rows = await db.fetch(
        """
        select d.*
        from fabric.parked p
        join fabric.dead_letters d on d.id = p.dead_letter_id
        where d.status <> 'open'
        order by d.id
        """
    )
    return [dict(row) for row in rows]


async def first_behind(db: Db, key: str) -> tuple[int, Record] | None:
    """The oldest stored event of a parked patient, with its row id."""
    row = await db.fetchrow("select * from fabric.parked_events where key = $1 order by id limit 1", key)
    return (row["id"], record_of(row)) if row else None


async def drop_behind(db: Db, row_id: int) -> bool:
    """Take a stored event away; says whether it was there."""
    return await db.execute("delete from fabric.parked_events where id = $1", row_id) == "DELETE 1"


async def park_behind(db: Db, key: str, reason: str, letter: int) -> None:
    """Another of the patient's events turned out to be poison: it is what the patient waits for now."""
    await db.execute(
        "update fabric.parked set reason = $2, dead_letter_id = $3 where key = $1", key, reason, letter
    )


async def unpark(db: Db, key: str) -> None:
    await db.execute("delete from fabric.parked where key = $1", key)


def pack_headers(record: Record) -> list[list[str | None]]:
    """Headers as JSON: names without the one character that PostgreSQL refuses, values in base64."""
    return [[name.replace("\0", "\N{SYMBOL FOR NULL}"), as_base64(value)] for name, value in record.headers]


def record_of(row: Any) -> Record:
    """The record as it came, from a dead letter or a parked event."""
    headers = tuple(
        (name, None if value is None else base64.b64decode(value)) for name, value in row["headers"]
    )
    return Record(
        row["topic"], row["partition"] or 0, row["offset"] or 0, row["record_key"], headers, row["payload"]
    )


# ---- suspects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hand:
    """Records of one partition that a process has in hand at once, by the first of them."""

    topic: str
    partition: int
    offset: int
    records: int


async def unfinished(db: Db, process: UUID, hands: Sequence[Hand]) -> dict[tuple[str, int], int]:
    """Where (topic, partition) another process began at the same first record and was not heard of again, and how
    many records it had in hand."""
    rows = await db.fetch(
        """
        select s.topic, s.partition, s.records
        from fabric.suspects s
        join unnest($1::text[], $2::int[], $3::bigint[]) as hand (topic, partition, "offset")
          using (topic, partition, "offset")
        where s.process <> $4
           or s.deaths > 0
        """,
        *_columns(hands)[:3],
        process,
    )
    return {(row["topic"], row["partition"]): row["records"] for row in rows}


async def suspect(db: Db, process: UUID, hands: Sequence[Hand]) -> dict[tuple[str, int], int]:
    """Note that this process begins with these; how many others had the same in hand and came to no end."""
    rows = await db.fetch(
        """
        insert into fabric.suspects as s (topic, partition, "offset", records, process, deaths)
        select topic, partition, "offset", records, $5, 0
        from unnest($1::text[], $2::int[], $3::bigint[], $4::int[])
            as hand (topic, partition, "offset", records)
        on conflict (topic, partition) do update
        set deaths = case
                when (s."offset", s.records) <> (excluded."offset", excluded.records) then 0
                when s.process <> excluded.process then s.deaths + 1
                else s.deaths
            end,
            "offset" = excluded."offset",
            records = excluded.records,
            process = excluded.process
        returning topic, partition, deaths
        """,
        *_columns(hands),
        process,
    )
    return {(row["topic"], row["partition"]): row["deaths"] for row in rows}


@dataclass(frozen=True, slots=True)
class ServerLife:
    """Since when the server runs, and since when it counts: a crash of a backend makes it count anew."""

    started: datetime
    counts_from: datetime


async def server_life(db: Db) -> ServerLife:
    row = await db.fetchrow("select pg_postmaster_start_time(), (select stats_reset from pg_stat_bgwriter)")
    assert row is not None
    return ServerLife(*row)


async def clear_suspects(db: Db, places: Sequence[tuple[str, int]]) -> None:
    """Forget what was in hand in these (topic, partition): it came to an end."""
    await db.execute(
        """
        delete from fabric.suspects s
        using unnest($1::text[], $2::int[]) as done (topic, partition)
        where s.topic = done.topic and s.partition = done.partition
        """,
        [topic for topic, _ in places],
        [partition for _, partition in places],
    )


def _columns(hands: Sequence[Hand]) -> tuple[list[str], list[int], list[int], list[int]]:
    return (
        [hand.topic for hand in hands],
        [hand.partition for hand in hands],
        [hand.offset for hand in hands],
        [hand.records for hand in hands],
    )


# ---- slots ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotHeld:
    """Who has a slot, and until when."""

    holder: str
    until: datetime


async def slot_held(db: Db, slot: int) -> SlotHeld | None:
    row = await db.fetchrow("select holder, until from fabric.slots where slot = $1", slot)
    return SlotHeld(*row) if row else None


async def take_slot(db: Db, slot: int, holder: str, seconds: float, gone: str) -> bool:
    """Renew one's own slot, or take one that is free, has expired or is of a holder that is `gone`; says whether."""
    row = await db.fetchrow(
        """
        insert into fabric.slots as s (slot, holder, renewed, until)
        values ($1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
        on conflict (slot) do update
        set holder = excluded.holder, renewed = excluded.renewed, until = excluded.until
        where s.holder in ($2, $4)
           or s.until < clock_timestamp()
           or s.renewed > clock_timestamp()
        returning slot
        """,
        slot,
        holder,
        seconds,
        gone,
    )
    return row is not None


async def give_slot_back(db: Db, slot: int, holder: str) -> None:
    await db.execute("delete from fabric.slots where slot = $1 and holder = $2", slot, holder)


# ---- due work -------------------------------------------------------------------------------------------------


def _not_parked(of: Owner) -> str:
    """Of a view `v` of due work: whoever is parked waits."""
    return f"not exists (select from fabric.parked p where p.key = '{of}:' || v.{of}_id)"


async def due_owners(
    db: Db, view: str, now: datetime, limit: int, of: Owner, stores: Collection[str] | None = None
) -> list[str]:
    """Patients, or stores, with due work, the longest waiting first; none that is parked.

    With `stores`, patients of these alone.
    """
    theirs, given = _of_stores(stores, 3)
    rows = await db.fetch(
        f"""
        select {of}_id as id
        from {view} v
        where due_at <= $1
          and {_not_parked(of)}
          and {theirs}
        group by id
        order by min(due_at), id
        limit $2
        """,
        now,
        limit,
        *given,
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class DueState:
    """How it stands with the work of one view."""

    view: str
    owners: int  # patients or stores with work due now, counted up to a limit
    next_at: datetime | None  # when the next piece falls due, or fell due


async def due_states(db: Db, views: Mapping[str, Owner], now: datetime, limit: int) -> list[DueState]:
    """How it stands with each of these views, in one statement; who is parked does not count."""
    if not views:
        return []
    state_of_each = " union all ".join(
        f"""
        select '{view}' as view,
               (
                   select count(*)
                   from (
                       select distinct {of}_id
                       from {view} v
                       where due_at <= $1
                         and {_not_parked(of)}
                       limit $2
                   ) due
               ) as owners,
               (
                   select min(due_at)
                   from {view} v
                   where {_not_parked(of)}
               ) as next_at
        """
        for view, of in views.items()
    )
    rows = await db.fetch(state_of_each, now, limit)
    return [DueState(**row) for row in rows]


async def next_due(db: Db, view: str, stores: Collection[str] | None = None) -> datetime | None:
    """When the next piece of work falls due (or fell due) of any patient, or of one of `stores`, who is not parked."""
    theirs, given = _of_stores(stores, 1)
    return await db.fetchval(
        f"""
        select min(due_at)
        from {view} v
        where {_not_parked("patient")}
          and {theirs}
        """,
        *given,
    )


# ---- whose it is ----------------------------------------------------------------------------------------------


def _of_stores(stores: Collection[str] | None, place: int) -> tuple[str, list[list[str]]]:
    """A condition on a patient's store, and its value as the parameter at `place`; none: no condition.

    `places` is a view of each service: in which stores a patient is.
    """
    if stores is None:
        return "true", []
    return f"v.patient_id in (select patient_id from places where store_id = any(${place}))", [sorted(stores)]


async def patients_in(db: Db, patient_ids: Collection[str], stores: Collection[str]) -> set[str]:
    """Those of the patients who are in one of the stores."""
    rows = await db.fetch(
        """
        select distinct patient_id
        from places
        where patient_id = any($1)
          and store_id = any($2)
        """,
        sorted(patient_ids),
        sorted(stores),
    )
    return {row["patient_id"] for row in rows}


async def see_only(db: Db, stores: Collection[str]) -> None:
    """Show the rest of this transaction the patients of these stores alone: what policies of the tables ask."""
    await db.execute("select set_config('medsync.stores', $1, true)", to_json(sorted(stores)).decode())


async def patients_of_caregiver(db: Db, patient_ids: Collection[str], caregiver_id: str) -> set[str]:
    """Those of the patients of whom this person is a caregiver now.

    `caregiving` is a view of each service in which caregivers may act.
    """
    rows = await db.fetch(
        """
        select patient_id
        from caregiving
        where patient_id = any($1)
          and caregiver_id = $2
        """,
        sorted(patient_ids),
        caregiver_id,
    )
    return {row["patient_id"] for row in rows}


# ---- answers to commands --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that a caller's idempotency key had, sealed: it may name a person."""

    actor: str
    idempotency_key: str
    fingerprint: str
    sealed: bytes
    key_id: str
    patients: Sequence[str] = ()  # whom it is about

    @classmethod
    def of(
        cls, sealer: Sealer, actor: str, key: str, fingerprint: str, answer: Any, patients: Sequence[str]
    ) -> Self:
        key_id, sealed = sealer.seal(to_json(answer), bound_to=f"answer/{actor}/{key}")
        return cls(actor, key, fingerprint, sealed, key_id, patients)

    def answer(self, sealer: Sealer) -> Any:
        """Raises SealBroken where it was sealed with a key that is not held any more."""
        bound_to = f"answer/{self.actor}/{self.idempotency_key}"
        return from_json(sealer.open(self.sealed, key_id=self.key_id, bound_to=bound_to))


async def answer_to(db: Db, actor: str, idempotency_key: str) -> Kept | None:
    """The answer of an earlier command with this key, of this caller.

    Keys that were kept before callers were told apart (actor '') are nobody's: they match no command, so that nothing
    is done twice and nothing is shown to a stranger.
    """
    row = await db.fetchrow(
        """
        select actor, idempotency_key, fingerprint, sealed, key_id
        from fabric.answers
        where idempotency_key = $1
          and actor in ($2, '')
        order by actor desc
        limit 1
        """,
        idempotency_key,
        actor,
    )
    if row is None:
        return None
    return Kept(**row) if row["actor"] else Kept("", idempotency_key, "", b"", "")


async def keep_answer(db: Db, kept: Kept) -> None:
    await db.execute(
        """
        insert into fabric.answers (actor, idempotency_key, fingerprint, sealed, key_id, patients)
        values ($1, $2, $3, $4, $5, $6)
        """,
        kept.actor,
        kept.idempotency_key,
        kept.fingerprint,
        kept.sealed,
        kept.key_id,
        list(kept.patients),
    )


async def leave_trace(db: Db) -> None:
    """Write to the log of the database alone, so that the commit waits for the standby as any other: an answer that
    follows from what was read must not be given of what a failover would take back.
    """
    await db.execute("select pg_logical_emit_message(true, 'medsync', '')")


async def forget_answers(db: Db, days: int) -> None:
    await db.execute(
        "delete from fabric.answers where answered_at < clock_timestamp() - make_interval(days => $1)", days
    )


# ---- status ---------------------------------------------------------------------------------------------------


COUNTED = 100_000
"""Of what waits for longer than a moment, the exact number tells nobody more."""


async def counts(db: Db) -> dict[str, Any]:
    """How much waits: unpublished rows up to a bound and refused ones, parked patients, open dead letters; and for how
    long (seconds) the oldest unpublished row."""
    row = await db.fetchrow(
        """
        select events as outbox,
               held,
               (select count(*) from fabric.parked) as parked,
               (select count(*) from fabric.dead_letters where status = 'open') as dead_letters,
               round(coalesce(extract(epoch from clock_timestamp() - since), 0), 3)::float as outbox_age_seconds
        from fabric.waiting($1)
        """,
        COUNTED,
    )
    assert row is not None
    return dict(row)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What may last too long, in seconds; and how many wait for a person."""

    unpublished_seconds: float  # the oldest event in the outbox
    snapshot_seconds: float  # the oldest snapshot that keeps dead rows
    transaction_seconds: float  # the oldest transaction that is open
    held: int
    parked: int


async def lasting(db: Db) -> Lasting:
    """Transactions are the service's own role's in its database and prepared ones of the cluster: of other roles'
    the server tells the age where ours is a member of pg_read_all_stats.
    """
    row = await db.fetchrow(
        """
        with transactions as (
            select xact_start as since, backend_xmin is not null as holds_snapshot
            from pg_stat_activity
            where pid <> pg_backend_pid()
              and xact_start is not null
              and backend_type = 'client backend'
            union all
            select prepared, true
            from pg_prepared_xacts
        ), ages as (
            select extract(epoch from clock_timestamp() - since)::float as age, holds_snapshot
            from transactions
        )
        select (
                   select coalesce(extract(epoch from clock_timestamp() - since), 0)::float
                   from fabric.waiting($1)
               ) as unpublished_seconds,
               coalesce(max(age) filter (where holds_snapshot), 0) as snapshot_seconds,
               coalesce(max(age), 0) as transaction_seconds,
               (select count(*) from fabric.held) as held,
               (select count(*) from fabric.parked) as parked
        from ages
        """,
        COUNTED,
    )
    assert row is not None
    return Lasting(*row)


def as_base64(value: bytes | None) -> str | None:
    """Bytes for JSON."""
    return None if value is None else base64.b64encode(value).decode()
