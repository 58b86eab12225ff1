"""Every SQL statement about the audit. Rows and links are only added."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.audit.asked import Entry
from shared.audit.chain import digest_of
from shared.audit.model import AuditLink, AuditReason, AuditRow, AuditSeal, AuditStray
from shared.database import Db
from shared.resealing import KeptRows
from shared.sealing import SealBroken, Sealer

KEPT_REASONS = KeptRows("fabric.audit_reasons", "digest", "'audit/' || encode(digest, 'hex')", "bytea")

NOTHING_SEEN = "3:3:"
"""The snapshot of before the first transaction."""

COUNTED = 10_000

# ---- what is written --------------------------------------------------------------------------------------------


async def append(db: Db, sealer: Sealer, entries: Sequence[Entry]) -> None:
    """Add rows, with their reasons sealed."""
    reasons = [_kept(sealer, each.because) for each in entries]
    await db.execute(
        """
        insert into fabric.audit
            (actor, kind, role, store_id, patients, route, outcome, reason, trace, correlation, times)
        select actor, kind, role, store_id, array(select jsonb_array_elements_text(patients::jsonb)), route, outcome,
               reason, trace, correlation, times
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
                    $9::text[], $10::text[], $11::int[])
            with ordinality as row (actor, kind, role, store_id, patients, route, outcome, reason, trace, correlation,
                                    times, place)
        order by place
        """,
        [each.actor for each in entries],
        [each.kind for each in entries],
        [each.role for each in entries],
        [each.store_id for each in entries],
        [json.dumps(each.patients) for each in entries],  # an array of arrays would be a table
        [each.route for each in entries],
        [each.outcome for each in entries],
        [reason and reason[0] for reason in reasons],
        [each.trace for each in entries],
        [each.correlation for each in entries],
        [each.times for each in entries],
    )
    for digest, key_id, sealed in filter(None, reasons):
        await db.execute("insert into fabric.audit_reasons values ($1, $2, $3)", digest, key_id, sealed)


def _kept(sealer: Sealer, because: str | None) -> tuple[bytes, str, bytes] | None:
    if because is None:
        return None
    salt = secrets.token_hex(16)
    digest = digest_of(because, salt)
    said = json.dumps({"salt": salt, "text": because}).encode()
    return bytes.fromhex(digest), *sealer.seal(said, bound_to=f"audit/{digest}")


# ---- the chain --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class End:
    """Where the chain ends, and up to where everything is in it."""

    position: int
    hash: str | None
    seal: AuditSeal | None  # the last link has one
    upto: str
    floor: int
    system: int | None
    here: int  # the cluster that answers: as `system`, unless the database was restored into another
    now: datetime
    epoch: int


async def try_lock(db: Db) -> bool:
    """Whether this transaction is the one that chains; none other does until it ends."""
    return await db.fetchval("select pg_try_advisory_xact_lock(hashtext('fabric.audit_chain'))")


async def chain_end(db: Db) -> End:
    row = await db.fetchrow(
        """
        select coalesce(last.position, 0) as position, encode(last.hash, 'hex') as hash, last.sealed_at, last.key_id,
               encode(last.seal, 'hex') as seal, last.upto::text, last.system, coalesce(last.floor, 0) as floor,
               coalesce(whole.upto::text, $1) as whole,
               (select system_identifier from pg_control_system()) as here, clock_timestamp() as now,
               (select max(epoch) from fabric.incarnations) as epoch
        from (values (1)) one
        left join lateral (
            select * from fabric.audit_chain order by position desc limit 1
        ) last on true
        left join lateral (
            select upto
            from fabric.audit_chain
            where seal is not null
              and upto is not null
            order by position desc
            limit 1
        ) whole on true
        """,
        NOTHING_SEEN,
    )
    assert row is not None
    return End(
        position=row["position"],
        hash=row["hash"],
        seal=_seal(row),
        upto=row["whole"],
        floor=row["floor"],
        system=row["system"],
        here=row["here"],
        now=row["now"],
        epoch=row["epoch"],
    )


async def last_chained(db: Db) -> int:
    """The highest id of a row in the chain."""
    return await db.fetchval("select coalesce(max(row_id), 0) from fabric.audit_chain")


_UNCHAINED = """
    (
        a.xid >= pg_snapshot_xmax($1::text::pg_snapshot)
        or a.xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot)))
    )
    and a.id + 0 > $2 -- the sum keeps the planner from looking through all ids
    and not exists (select from fabric.audit_chain c where c.row_id = a.id)
"""
"""Committed since the snapshot `$1`, and in no place of the chain; ids up to `$2` are settled."""

_COLUMNS = """
    a.id, a.xid::text, a.at, a.actor, a.kind, a.role, a.store_id, a.patients, a.route, a.outcome,
    encode(a.reason, 'hex') as reason, a.trace, a.correlation, a.times
"""


async def unchained(db: Db, upto: str, floor: int, limit: int | None) -> tuple[list[AuditRow], str]:
    """The oldest rows that are to be chained, and the snapshot that saw them: its transactions are all over."""
    rows = await db.fetch(
        f"""
        select {_COLUMNS}, pg_current_snapshot()::text as upto
        from fabric.audit a
        where {_UNCHAINED}
        order by a.id
        limit $3
        """,
        upto,
        floor,
        limit,
    )
    return [_row(row) for row in rows], rows[0]["upto"] if rows else upto


async def add_links(db: Db, first: int, ids: Sequence[int], hashes: Sequence[str], seal: AuditSeal) -> None:
    """Add links from a position on, the last of them sealed."""
    await db.execute(
        """
        insert into fabric.audit_chain
            (position, row_id, hash, sealed_at, key_id, seal, upto, system, floor)
        select $1 + place - 1, row_id, hash,
               case when place = last then $4::timestamptz end, case when place = last then $5::text end,
               case when place = last then $6::bytea end, case when place = last then $7::text::pg_snapshot end,
               case when place = last then $8::bigint end, case when place = last then $9::bigint end
        from unnest($2::bigint[], $3::bytea[]) with ordinality as row (row_id, hash, place),
             cardinality($2::bigint[]) last
        """,
        first,
        ids,
        [bytes.fromhex(hash_) for hash_ in hashes],
        seal.sealed_at,
        seal.key_id,
        bytes.fromhex(seal.signature),
        seal.upto,
        seal.system,
        seal.floor,
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not chained: rows, counted up to a bound, and for how long (seconds) the oldest waits."""

    rows: int
    seconds: float


async def waiting(db: Db) -> Waiting:
    end = await chain_end(db)
    row = await db.fetchrow(
        f"""
        select count(*) as rows, coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float as seconds
        from (select a.at from fabric.audit a where {_UNCHAINED} limit $3) w
        """,
        end.upto,
        end.floor,
        COUNTED,
    )
    assert row is not None
    return Waiting(*row)


# ---- what auditors read -----------------------------------------------------------------------------------------


async def links(db: Db, sealer: Sealer, after: int, limit: int) -> list[AuditLink]:
    """The chain behind a position, with rows and reasons."""
    rows = await db.fetch(
        f"""
        select c.position, c.row_id, encode(c.hash, 'hex') as hash, c.sealed_at, c.key_id,
               encode(c.seal, 'hex') as seal, c.upto::text as upto, c.system, c.floor,
               r.key_id as reason_key, r.sealed as reason_sealed, {_COLUMNS}
        from (
            select *
            from fabric.audit_chain
            where position > $1
            order by position
            limit $2
        ) c
        left join fabric.audit a on a.id = c.row_id
        left join fabric.audit_reasons r on r.digest = a.reason
        order by c.position
        """,
        after,
        limit,
    )
    return [
        AuditLink(
            position=row["position"],
            row_id=row["row_id"],
            hash=row["hash"],
            row=_row(row) if row["id"] is not None else None,
            reason=_reason(sealer, row),
            seal=_seal(row),
        )
        for row in rows
    ]


async def strays(db: Db, limit: int) -> list[AuditStray]:
    """Rows that are in no place of the chain, the oldest first: those that wait, and any that should not be there."""
    end = await chain_end(db)
    rows = await db.fetch(
        f"""
        select {_COLUMNS},
               $2::bigint = $3::bigint and pg_visible_in_snapshot(a.xid, $1::text::pg_snapshot) as settled
        from fabric.audit a
        where not exists (select from fabric.audit_chain c where c.row_id = a.id)
        order by a.id
        limit $4
        """,
        end.upto,
        end.system,
        end.here,
        limit,
    )
    return [AuditStray(row=_row(row), settled=bool(row["settled"])) for row in rows]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are asked for; what is None is not."""

    patient: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def found(
    db: Db, sealer: Sealer, which: Filter, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Rows, the newest first, with their place in the chain and their reason in clear."""
    rows = await db.fetch(
        f"""
        select {_COLUMNS}, c.position, r.key_id as reason_key, r.sealed as reason_sealed
        from fabric.audit a
        left join fabric.audit_chain c on c.row_id = a.id
        left join fabric.audit_reasons r on r.digest = a.reason
        where ($1::text is null or a.patients @> array[$1])
          and ($2::text is null or a.actor = $2)
          and ($3::timestamptz is null or a.at >= $3)
          and ($4::timestamptz is null or a.at < $4)
          and ($5::bigint is null or a.id < $5)
        order by a.id desc
        limit $6
        """,
        which.patient,
        which.actor,
        which.since,
        which.until,
        before,
        limit,
    )
    told = []
    for row in rows:
        reason = _reason(sealer, row)
        because = reason.text if reason and reason.state == "open" else None
        told.append(dict(_row(row)) | {"position": row["position"], "because": because})
    return told


def _row(row: Any) -> AuditRow:
    return AuditRow(**{name: row[name] for name in AuditRow.model_fields})


def _seal(row: Any) -> AuditSeal | None:
    if row["seal"] is None:
        return None
    return AuditSeal(
        sealed_at=row["sealed_at"],
        key_id=row["key_id"],
        signature=row["seal"],
        upto=row["upto"],
        system=row["system"],
        floor=row["floor"],
    )


def _reason(sealer: Sealer, row: Any) -> AuditReason | None:
    if row["reason"] is None:
        return None
    if row["reason_sealed"] is None:
        return AuditReason(state="forgotten")
    try:
        plain = sealer.open(row["reason_sealed"], key_id=row["reason_key"], bound_to=f"audit/{row['reason']}")
        return AuditReason(state="open", **json.loads(plain))
    except (SealBroken, ValueError):
        return AuditReason(state="broken")


def patients_in(keys: Collection[str]) -> list[str]:
    """Whom typed keys name: `patient:…`."""
    return sorted({name for kind, _, name in (key.partition(":") for key in keys) if kind == "patient"})
