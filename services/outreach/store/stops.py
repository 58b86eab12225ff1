"""Stops, of patients and of numbers, and numbers that are nobody's here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from shared.database import Db
from shared.events import Event
from shared.events.enrollment import Channel
from shared.events.outreach import ContactOptedOut
from shared.upsert import row, upsert


@dataclass(frozen=True, slots=True)
class Stop:
    """One patient's stop: when it was said, and on which channel."""

    patient_id: str
    at: datetime
    channel: Channel


STOPS = TypeAdapter(list[Stop])


async def current_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """Who said stop, where that still counts: in order of patient."""
    rows = await db.fetch(
        """
        select o.patient_id, o.channel
        from opt_outs o
        left join patients p using (patient_id)
        where counts_still(o.at, o.lifted_at, p.consented_at)
          and ($1::text is null or o.patient_id = $1)
          and ($2::text is null or p.store_id = $2)
          and o.patient_id collate "C" > $3
        order by o.patient_id collate "C"
        limit $4
        """,
        patient,
        store,
        after,
        limit,
    )
    return [ContactOptedOut.model_validate(dict(row)) for row in rows]


async def last_said(db: Db, patient_id: str) -> datetime | None:
    """When the patient last said stop, or took it back."""
    return await db.fetchval("select greatest(at, lifted_at) from opt_outs where patient_id = $1", patient_id)


_keep_opt_outs = upsert("opt_outs", "patient_id", "at channel lifted_at")


async def opt_out(db: Db, stops: Sequence[Stop]) -> None:
    """Keep that these patients said stop, and take their contacts back from dialers."""
    await _keep_opt_outs(db, [row(stop, "patient_id at channel", lifted_at=None) for stop in stops])
    await take_back_from_dialers(db, [stop.patient_id for stop in stops])


async def take_back_from_dialers(db: Db, patient_ids: Collection[str]) -> None:
    """End the leases of dialers on contacts with these patients; those of people stay."""
    await db.execute(
        """
        update contacts c
        set lease_id = null, lease_until = null
        from attempts a
        where a.lease_id = c.lease_id
          and a.made_by = 'dialler'
          and c.patient_id = any($1)
          and c.status = 'open'
        """,
        list(patient_ids),
    )


async def numbers_reached(db: Db, patient_id: str, channel: Channel) -> list[str]:
    """The patient's numbers that the channel may use, by their indexes: a mobile for texts, any for calls. Each once:
    the mobile may be on record as the number at home too."""
    rows = await db.fetch(
        """
        select distinct number
        from phones
        where patient_id = $1
          and ($2 = 'phone' or ($2 = 'text' and kind = 'mobile'))
        order by number
        """,
        patient_id,
        channel.value,
    )
    return [row["number"] for row in rows]


_keep_number_opt_outs = upsert("number_opt_outs", "number", "at channel lifted_at")


async def opt_out_numbers(db: Db, numbers: Sequence[str], channel: Channel, now: datetime) -> None:
    """Keep that whoever holds these numbers said stop, and whom else it concerns."""
    await _keep_number_opt_outs(
        db,
        # In one order, so that two who stop the same numbers wait for one another.
        [{"number": each, "at": now, "channel": channel, "lifted_at": None} for each in sorted(numbers)],
    )
    await db.execute(
        """
        insert into stops_to_spread (patient_id, due_at)
        select distinct patient_id, $2::timestamptz
        from phones
        where number = any($1)
        order by patient_id
        on conflict do nothing
        """,
        list(numbers),
        now,
    )


async def stops_to_spread(db: Db, patient_ids: Collection[str]) -> list[Stop]:
    """Which of these patients are opted out by a stop of their number, newer than any stop of their own."""
    rows = await db.fetch(
        """
        select distinct on (p.patient_id) p.patient_id, x.at, x.channel
        from patients p
        join phones n using (patient_id)
        join number_opt_outs x using (number)
        left join opt_outs o using (patient_id)
        where p.patient_id = any($1)
          and p.enrolled
          and counts_still(x.at, x.lifted_at, p.consented_at)
          and coalesce(o.at < x.at and (o.lifted_at is null or o.lifted_at < x.at), true)
        order by p.patient_id, x.at desc
        """,
        list(patient_ids),
    )
    return STOPS.validate_python(map(dict, rows))


async def close_spreading(db: Db, patient_ids: Collection[str]) -> None:
    await db.execute("delete from stops_to_spread where patient_id = any($1)", list(patient_ids))


async def opt_in(db: Db, patient_id: str, numbers: Sequence[str], now: datetime) -> Channel | None:
    """Lift the patient's stop, and that of these numbers. Return the channel on which the patient had said stop."""
    await db.execute(
        "update number_opt_outs set lifted_at = $2 where number = any($1) and lifted_at is null",
        list(numbers),
        now,
    )
    channel = await db.fetchval(
        """
        update opt_outs
        set lifted_at = $2
        where patient_id = $1 and lifted_at is null
        returning channel
        """,
        patient_id,
        now,
    )
    return Channel(channel) if channel else None


_keep_stopped_numbers = upsert("stopped_numbers", "number", "at", once=True)


async def stop_numbers(db: Db, numbers: Sequence[str], now: datetime) -> None:
    """Never hand out these numbers again, to anybody: whoever answers there is not the patient."""
    await _keep_stopped_numbers(db, [{"number": each, "at": now} for each in sorted(numbers)])
