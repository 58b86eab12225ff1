"""Every SQL statement of outreach. Statements are set-wise: one for a whole batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from services.outreach.domain.model import By, Calendar, Call, Case, Contact, Kind, Plan
from services.outreach.domain.renewals import Renewal
from shared.database import Db
from shared.events.enrollment import (
    Channel,
    Consent,
    ConsentChanged,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    Phone,
    StoreChanged,
)
from shared.events.fulfillment import StockShort

CONTACTS = TypeAdapter(list[Contact])
RENEWALS = TypeAdapter(list[Renewal])


# ---- what is known of patients --------------------------------------------------------------------------------


async def load_cases(db: Db, patient_ids: Collection[str], now: datetime) -> list[Case]:
    """Everything that deciding about these patients takes, without a name or a number."""
    rows = await db.fetch(
        """
        select w.patient_id,
               coalesce(p.enrolled, false) as enrolled,
               coalesce(l.plan ->> 'store_id', p.store_id, '') as store_id,
               p.channels,
               p.standing_instruction,
               exists (
                   select
                   from opt_outs o
                   where o.patient_id = w.patient_id
                     and counts_still(o.at, o.lifted_at, p.consented_at)
               ) or exists (
                   select
                   from phones n
                   join number_opt_outs x using (number)
                   where n.patient_id = w.patient_id
                     and counts_still(x.at, x.lifted_at, p.consented_at)
               ) as opted_out,
               exists (
                   select from texts t where t.patient_id = w.patient_id and t.read_at is null
               ) as unread_text,
               coalesce(d.time_zone, s.time_zone) as zone,
               s.open_weekdays,
               s.closed_on,
               l.plan,
               coalesce(l.in_hospital, false) as in_hospital,
               d.address > '' as has_address,
               array(
                   select n.kind
                   from phones n
                   where n.patient_id = w.patient_id
                     and not exists (select from stopped_numbers x where x.number = n.number)
               ) as phone_kinds
        from unnest($1::text[]) w (patient_id)
        left join patients p using (patient_id)
        left join details d using (patient_id)
        left join plans l using (patient_id)
        left join stores s on s.store_id = coalesce(l.plan ->> 'store_id', p.store_id)
        order by w.patient_id
        """,
        list(patient_ids),
    )
    contacts, calls = await live_contacts(db, patient_ids), await recent_calls(db, patient_ids, now)
    return [
        Case(
            patient_id=row["patient_id"],
            store_id=row["store_id"],
            enrolled=row["enrolled"],
            channels=tuple(Channel(channel) for channel in row["channels"] or ()),
            reachable=_reachable(row),
            standing_instruction=row["standing_instruction"] or False,
            opted_out=row["opted_out"],
            unread_text=row["unread_text"],
            in_hospital=row["in_hospital"],
            zone=row["zone"],
            calendar=_calendar(row),
            plan=Plan.model_validate(row["plan"]) if row["plan"] else None,
            contacts=tuple(contacts.get(row["patient_id"], ())),
            calls=tuple(calls.get(row["patient_id"], ())),
        )
        for row in rows
    ]


def _reachable(row: Any) -> frozenset[Channel]:
    channels = {
        Channel.phone: bool(row["phone_kinds"]),
        Channel.text: "mobile" in row["phone_kinds"],
        Channel.letter: bool(row["has_address"]),
    }
    return frozenset(channel for channel, there in channels.items() if there)


def _calendar(row: Any) -> Calendar:
    if row["open_weekdays"] is None:
        return Calendar()
    return Calendar(frozenset(row["open_weekdays"]), frozenset(row["closed_on"]))


async def recent_calls(db: Db, patient_ids: Collection[str], now: datetime) -> dict[str, list[Call]]:
    """Attempts of the last eight days; a lease that ran out unreported is none."""
    rows = await db.fetch(
        """
        select patient_id, at, made_by
        from attempts
        where patient_id = any($1)
          and at > $2::timestamptz - interval '8 days'
          and kind <> 'renewal'
          and (outcome is not null or until > $2)
        order by at
        """,
        list(patient_ids),
        now,
    )
    found: dict[str, list[Call]] = {}
    for row in rows:
        found.setdefault(row["patient_id"], []).append(Call(row["at"], By(row["made_by"])))
    return found


async def save_consents(db: Db, events: Sequence[PatientEnrolled] | Sequence[ConsentChanged]) -> list[str]:
    """Keep who takes part and how they want to be contacted; answers for whom that was news.

    A change of something else leaves the channels as they are here: a stop takes its channel out of the consent, and
    people may call on it all the same. Who does not agree to be contacted has no channel.
    """
    rows = await db.fetch(
        """
        insert into patients as held (
            patient_id, revision, enrolled, store_id, channels, language, caregiver, standing_instruction, consented_at
        )
        select e.patient_id, e.revision, true, e.store_id, e.channels, e.language, e.caregiver,
               e.standing_instruction, e.consented_at
        from jsonb_to_recordset($1) as e (
            patient_id text, revision integer, store_id text, channels text[], language text, caregiver boolean,
            standing_instruction boolean, consented_at timestamptz
        )
        on conflict (patient_id) do update
        set revision = excluded.revision,
            enrolled = true,
            store_id = excluded.store_id,
            channels = case when held.patient_id = any($2) then held.channels else excluded.channels end,
            language = excluded.language,
            caregiver = excluded.caregiver,
            standing_instruction = excluded.standing_instruction,
            consented_at = excluded.consented_at
        where excluded.revision > held.revision
        returning patient_id
        """,
        [
            {
                "patient_id": event.patient_id,
                "revision": event.revision,
                "store_id": event.store_id if isinstance(event, ConsentChanged) else event.profile.store_id,
                "channels": _agreed_channels(event.consent),
                "language": event.consent.language,
                "caregiver": event.consent.caregiver,
                "standing_instruction": event.consent.standing_instruction,
                "consented_at": (event.consent.contact_agreed_at or event.consent.given_at).isoformat(),
            }
            for event in events
        ],
        [
            event.patient_id
            for event in events
            if isinstance(event, ConsentChanged) and not {"channels", "scope"} & set(event.changes)
        ],
    )
    return [row["patient_id"] for row in rows]


def _agreed_channels(consent: Consent) -> list[str]:
    return [channel.value for channel in consent.channels] if "contact" in consent.scope else []


async def save_disenrolled(db: Db, events: Sequence[PatientDisenrolled]) -> list[str]:
    """Keep that these patients take part no longer; answers for whom that was news."""
    rows = await db.fetch(
        """
        insert into patients as held (patient_id, revision, enrolled)
        select patient_id, revision, false
        from unnest($1::text[], $2::integer[]) e (patient_id, revision)
        on conflict (patient_id) do update
        set revision = excluded.revision, enrolled = false
        where excluded.revision > held.revision
        returning patient_id
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
    )
    return [row["patient_id"] for row in rows]


async def note_waiting(db: Db, waits: Mapping[str, bool]) -> None:
    """Keep which patients wait for a time zone."""
    await db.execute(
        """
        update patients p
        set waits = n.waits
        from unnest($1::text[], $2::boolean[]) n (patient_id, waits)
        where p.patient_id = n.patient_id
          and p.waits <> n.waits
        """,
        list(waits),
        list(waits.values()),
    )


async def is_known(db: Db, patient_id: str) -> bool:
    """Whether anything was heard of this patient, in whatever order."""
    known: bool = await db.fetchval(
        """
        select exists (select from patients where patient_id = $1)
            or exists (select from plans where patient_id = $1)
            or exists (select from details where patient_id = $1)
        """,
        patient_id,
    )
    return known


async def save_stores(db: Db, events: Sequence[StoreChanged]) -> None:
    await db.execute(
        """
        insert into stores as held (store_id, revision, name, time_zone, phone, open_weekdays, closed_on)
        select e.store_id, e.revision, e.name, e.time_zone, e.phone, e.open_weekdays, e.closed_on
        from jsonb_to_recordset($1) as e (
            store_id text, revision integer, name text, time_zone text, phone text, open_weekdays integer[],
            closed_on date[]
        )
        on conflict (store_id) do update
        set revision = excluded.revision,
            name = excluded.name,
            time_zone = excluded.time_zone,
            phone = excluded.phone,
            open_weekdays = excluded.open_weekdays,
            closed_on = excluded.closed_on
        where excluded.revision > held.revision
        """,
        [
            {
                "store_id": event.store_id,
                "revision": event.revision,
                "name": event.name,
                "time_zone": event.time_zone,
                "phone": event.phone,
                "open_weekdays": sorted({hours.weekday for hours in event.hours}),
                "closed_on": [day.isoformat() for day in event.closed_on],
            }
            for event in events
        ],
    )


# ---- stops ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stop:
    """One patient's stop: when it was said, and on which channel."""

    patient_id: str
    at: datetime
    channel: Channel


STOPS = TypeAdapter(list[Stop])


async def opt_out(db: Db, stops: Sequence[Stop]) -> None:
    """Keep that these patients said stop, and take their contacts back from diallers."""
    await db.execute(
        """
        insert into opt_outs (patient_id, at, channel)
        select *
        from unnest($1::text[], $2::timestamptz[], $3::text[])
        on conflict (patient_id) do update
        set at = excluded.at, channel = excluded.channel, lifted_at = null
        """,
        [stop.patient_id for stop in stops],
        [stop.at for stop in stops],
        [stop.channel.value for stop in stops],
    )
    await take_back_from_diallers(db, [stop.patient_id for stop in stops])


async def take_back_from_diallers(db: Db, patient_ids: Collection[str]) -> None:
    """End the leases of diallers on contacts with these patients; those of people stay."""
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
    """The patient's numbers that the channel may use: a mobile for texts, any for calls."""
    rows = await db.fetch(
        """
        select number
        from phones
        where patient_id = $1
          and ($2 = 'phone' or ($2 = 'text' and kind = 'mobile'))
        order by number
        """,
        patient_id,
        channel.value,
    )
    return [row["number"] for row in rows]


async def number_lent(db: Db, lease_id: UUID) -> str | None:
    """The number that went out with a lease which is not reported yet."""
    number: str | None = await db.fetchval("select number from lent_numbers where lease_id = $1", lease_id)
    return number


async def opt_out_numbers(db: Db, numbers: Sequence[str], channel: Channel, now: datetime) -> None:
    """Keep that whoever holds these numbers said stop, and whom else it concerns."""
    await db.execute(
        """
        insert into number_opt_outs (number, at, channel)
        select number, $2, $3
        from unnest($1::text[]) n (number)
        order by number
        on conflict (number) do update
        set at = excluded.at, channel = excluded.channel, lifted_at = null
        """,
        list(numbers),
        now,
        channel.value,
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
    """Lift the patient's stop, and that of these numbers; answers on which channel the patient had said stop."""
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


async def stop_numbers(db: Db, numbers: Sequence[str], now: datetime) -> None:
    """Never hand out these numbers again, to anybody: whoever answers there is not the patient."""
    await db.execute(
        """
        insert into stopped_numbers (number, at)
        select number, $2
        from unnest($1::text[]) n (number)
        order by number
        on conflict do nothing
        """,
        list(numbers),
        now,
    )


# ---- messages to read -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A message that a person has to read; `sealed` are its words."""

    text_id: UUID
    patient_id: str
    store_id: str
    received_at: datetime
    channel: Channel
    number: str | None
    sealed: bytes
    key_id: str
    cut: bool
    seems: str | None
    due_at: datetime
    escalates_at: datetime
    read_at: datetime | None = None
    read_by: str | None = None
    meaning: str | None = None


def _text(row: Any) -> Text:
    return Text(**(dict(row) | {"channel": Channel(row["channel"])}))


async def add_text(db: Db, text: Text) -> None:
    await db.execute(
        """
        insert into texts (
            text_id, patient_id, store_id, received_at, channel, number, sealed, key_id, cut, seems, due_at,
            escalates_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        text.text_id,
        text.patient_id,
        text.store_id,
        text.received_at,
        text.channel.value,
        text.number,
        text.sealed,
        text.key_id,
        text.cut,
        text.seems,
        text.due_at,
        text.escalates_at,
    )


async def load_text(db: Db, text_id: UUID) -> Text | None:
    row = await db.fetchrow("select * from texts where text_id = $1", text_id)
    return _text(row) if row else None


async def unread_texts(db: Db, store_id: str | None, after: str, limit: int) -> list[tuple[str, Text]]:
    """Messages that nobody read yet, of one store or of all; what escalated first comes first. Each with its place."""
    rows = await db.fetch(
        """
        select x.position, t.*
        from texts t
        cross join lateral (
            select to_char(t.escalates_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || to_char(t.received_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || t.text_id as position
        ) x
        where t.read_at is null
          and ($1::text is null or t.store_id = $1)
          and x.position > $2
        order by x.position
        limit $3
        """,
        store_id,
        after,
        limit,
    )
    return [
        (row["position"], _text({name: value for name, value in row.items() if name != "position"}))
        for row in rows
    ]


async def note_text_read(db: Db, text_id: UUID, by: str, meaning: str, now: datetime) -> None:
    await db.execute(
        "update texts set read_at = $2, read_by = $3, meaning = $4 where text_id = $1",
        text_id,
        now,
        by,
        meaning,
    )


# ---- plans ----------------------------------------------------------------------------------------------------


async def save_plans(
    db: Db, plans: Mapping[str, tuple[int, Plan | None]], in_hospital: Collection[str] = ()
) -> list[str]:
    """Keep the newest revision and plan of each patient, and who is in hospital; answers whose were new."""
    rows = await db.fetch(
        """
        insert into plans as held (patient_id, revision, plan, in_hospital)
        select *
        from unnest($1::text[], $2::integer[], $3::jsonb[], $4::boolean[])
        on conflict (patient_id) do update
        set revision = excluded.revision, plan = excluded.plan, in_hospital = excluded.in_hospital
        where excluded.revision > held.revision
        returning patient_id
        """,
        list(plans),
        [revision for revision, _ in plans.values()],
        [plan.model_dump(mode="json") if plan else None for _, plan in plans.values()],
        [patient_id in in_hospital for patient_id in plans],
    )
    return [row["patient_id"] for row in rows]


async def load_plans(db: Db, patient_ids: Collection[str]) -> dict[str, Plan]:
    """The plans of those who have one."""
    rows = await db.fetch(
        "select patient_id, plan from plans where patient_id = any($1) and plan is not null",
        list(patient_ids),
    )
    return {row["patient_id"]: Plan.model_validate(row["plan"]) for row in rows}


# ---- contacts -------------------------------------------------------------------------------------------------


async def live_contacts(db: Db, patient_ids: Collection[str]) -> dict[str, list[Contact]]:
    """Contacts that are open or promised, by patient."""
    rows = await db.fetch(
        """
        select *
        from contacts
        where patient_id = any($1)
          and status in ('open', 'promised')
        order by patient_id, contact_id
        """,
        list(patient_ids),
    )
    found: dict[str, list[Contact]] = {}
    for contact in CONTACTS.validate_python(map(dict, rows)):
        found.setdefault(contact.patient_id, []).append(contact)
    return found


async def contacts_of(
    db: Db, patient_ids: Collection[str], now: datetime, *, kinds: Collection[Kind]
) -> list[Contact]:
    """Contacts of these patients and kinds, decided ones included, about visits of the last sixty days and later."""
    rows = await db.fetch(
        """
        select *
        from contacts
        where patient_id = any($1)
          and kind = any($2)
          and (visit_on >= $3::timestamptz::date - 60 or status in ('open', 'promised'))
        """,
        list(patient_ids),
        [kind.value for kind in kinds],
        now,
    )
    return CONTACTS.validate_python(map(dict, rows))


async def contacts_about_insurance(db: Db, patient_ids: Collection[str]) -> list[Contact]:
    """Every contact of these patients about insurance that lapsed."""
    rows = await db.fetch(
        """
        select *
        from contacts
        where patient_id = any($1)
          and kind = 'insurance'
        """,
        list(patient_ids),
    )
    return CONTACTS.validate_python(map(dict, rows))


async def load_contacts(db: Db, contact_ids: Collection[UUID]) -> list[Contact]:
    rows = await db.fetch("select * from contacts where contact_id = any($1)", list(contact_ids))
    return CONTACTS.validate_python(map(dict, rows))


async def save_contacts(db: Db, contacts: Sequence[Contact]) -> None:
    """Write contacts as they stand, known or new."""
    if not contacts:
        return
    await db.execute(
        """
        insert into contacts
        select *
        from jsonb_populate_recordset(null::contacts, $1)
        on conflict (contact_id) do update
        set store_id = excluded.store_id,
            opened_at = excluded.opened_at,
            plan_id = excluded.plan_id,
            plan_revision = excluded.plan_revision,
            visit_on = excluded.visit_on,
            last_on = excluded.last_on,
            status = excluded.status,
            declined_rx_ids = excluded.declined_rx_ids,
            attempts = excluded.attempts,
            last_attempt_at = excluded.last_attempt_at,
            written_at = excluded.written_at,
            lease_id = excluded.lease_id,
            lease_until = excluded.lease_until,
            due_at = excluded.due_at,
            by_hand_at = excluded.by_hand_at,
            review_at = excluded.review_at,
            urgent_at = excluded.urgent_at
        """,
        to_jsonable_python(contacts),
    )


async def close_visits(db: Db, visits: Mapping[str, str]) -> None:
    """End what is open about these visits (patient to visit), but for questions."""
    await db.execute(
        """
        update contacts c
        set status = 'done', due_at = null, by_hand_at = null, review_at = null
        from unnest($1::text[], $2::text[]) v (patient_id, visit_id)
        where c.patient_id = v.patient_id
          and c.visit_id = v.visit_id
          and c.status in ('open', 'promised')
          and c.kind <> 'question'
        """,
        list(visits),
        list(visits.values()),
    )


async def close_contact(db: Db, contact_id: UUID, by: str, because: str) -> None:
    """End a contact by staff; a lease on it is taken back."""
    await db.execute(
        """
        update contacts
        set status = 'closed',
            closed_by = $2,
            closed_because = $3,
            due_at = null,
            by_hand_at = null,
            review_at = null,
            lease_id = null,
            lease_until = null
        where contact_id = $1
        """,
        contact_id,
        by,
        because,
    )


async def call_list(db: Db, store_id: str, now: datetime, after: str, limit: int) -> list[dict[str, Any]]:
    """Open contacts of a store that are due within a day, leased, or beyond every channel; what was tried with them.

    What is urgent comes first.
    """
    rows = await db.fetch(
        """
        select x.position,
               c.contact_id, c.kind, c.patient_id, c.visit_id, c.visit_on,
               c.urgent_at is not null as urgent,
               coalesce(c.due_at, c.by_hand_at) as due_at,
               c.due_at is null and c.lease_id is null as by_hand,
               c.lease_until as leased_until,
               exists (
                   select from texts t where t.patient_id = c.patient_id and t.read_at is null
               ) as unread_text,
               array(
                   select jsonb_build_object('at', a.at, 'channel', a.channel, 'by', a.made_by, 'outcome', a.outcome)
                   from attempts a
                   where a.contact_id = c.contact_id
                     and a.outcome is not null
                   order by a.at
               ) as tried,
               case when c.kind in ('alignment', 'confirmation') then p.plan -> 'left_out' end as left_out
        from contacts c
        left join plans p using (patient_id)
        cross join lateral (
            select case when c.urgent_at is null then '1' else '0' end
                       || '.' || coalesce(c.visit_on::text, '') || '.' || c.contact_id as position
        ) x
        where c.store_id = $1
          and c.status = 'open'
          and case
                  when c.lease_id is null and coalesce(c.due_at, c.by_hand_at) is not null
                      then coalesce(c.due_at, c.by_hand_at) <= $2::timestamptz + interval '1 day'
                  else coalesce(c.visit_on, $2::timestamptz::date) <= $2::timestamptz::date + 7
              end
          and x.position > $3
        order by position
        limit $4
        """,
        store_id,
        now,
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def contacts_listed(db: Db, patient_id: str, now: datetime) -> list[dict[str, Any]]:
    """The ledger of one patient: every contact of the last year with its attempts."""
    rows = await db.fetch(
        """
        select c.contact_id, c.kind, c.status, c.visit_id, c.visit_on, c.opened_at, c.due_at,
               c.closed_by, c.closed_because,
               array(
                   select jsonb_build_object('at', a.at, 'channel', a.channel, 'by', a.made_by, 'outcome', a.outcome)
                   from attempts a
                   where a.contact_id = c.contact_id
                   order by a.at
               ) as tried
        from contacts c
        where c.patient_id = $1
          and c.opened_at > $2::timestamptz - interval '1 year'
        order by c.opened_at, c.contact_id
        """,
        patient_id,
        now,
    )
    return [dict(row) for row in rows]


async def save_short_items(db: Db, events: Sequence[StockShort]) -> None:
    await db.execute(
        """
        insert into short_items (patient_id, visit_id, rx_id, missing)
        select *
        from unnest($1::text[], $2::text[], $3::text[], $4::numeric[])
        on conflict (patient_id, visit_id, rx_id) do update
        set missing = excluded.missing
        """,
        [event.patient_id for event in events],
        [event.visit_id for event in events],
        [event.rx_id for event in events],
        [event.missing for event in events],
    )


# ---- leases and attempts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the ledger."""

    lease_id: UUID
    contact_id: UUID
    patient_id: str
    kind: str
    made_by: By
    actor: str
    at: datetime
    channel: Channel | None = None
    until: datetime | None = None
    told: Plan | None = None
    outcome: str | None = None
    answer: Any = None
    reported_at: datetime | None = None
    reply: Any = None


ATTEMPTS = TypeAdapter(list[Attempt])


async def add_attempts(db: Db, attempts: Sequence[Attempt]) -> None:
    await db.execute(
        """
        insert into attempts
        select *
        from jsonb_populate_recordset(null::attempts, $1)
        """,
        to_jsonable_python(attempts),
    )


async def load_attempt(db: Db, lease_id: UUID) -> Attempt | None:
    rows = await db.fetch("select * from attempts where lease_id = $1", lease_id)
    return next(iter(ATTEMPTS.validate_python(map(dict, rows))), None)


async def report_attempt(
    db: Db, lease_id: UUID, outcome: str, answer: Any, reply: Any, now: datetime
) -> None:
    """Keep what came of a lease, and what its reporter was told; the number that went out with it is forgotten."""
    await db.execute(
        """
        with forgotten as (
            delete from lent_numbers where lease_id = $1
        )
        update attempts
        set outcome = $2, answer = $3, reply = $4, reported_at = $5, told = null
        where lease_id = $1
        """,
        lease_id,
        outcome,
        answer,
        reply,
        now,
    )


async def lend_numbers(db: Db, numbers: Mapping[str, tuple[UUID, str]]) -> None:
    """Keep which number went out with which lease (patient to lease and number)."""
    await db.execute(
        """
        insert into lent_numbers (patient_id, lease_id, number)
        select *
        from unnest($1::text[], $2::uuid[], $3::text[])
        on conflict (patient_id) do update
        set lease_id = excluded.lease_id, number = excluded.number
        """,
        list(numbers),
        [lease_id for lease_id, _ in numbers.values()],
        [number for _, number in numbers.values()],
    )


# ---- names and numbers ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """Who is to be called, as a lease needs it."""

    patient_id: str
    name: str
    birth_date: date | None
    address: str
    language: str
    caregiver: bool
    phones: tuple[Phone, ...]  # without those that are stopped
    store_name: str
    store_phone: str
    short_visits: frozenset[str]  # visits with items that the store has too little of


async def load_people(db: Db, patient_ids: Collection[str]) -> dict[str, Person]:
    """Names and numbers of these patients, for a lease or for the answer to a stop."""
    rows = await db.fetch(
        """
        select p.patient_id, p.caregiver, p.language,
               concat_ws(' ', d.given_name, d.family_name) as name,
               d.birth_date,
               coalesce(d.address, '') as address,
               coalesce(s.name, '') as store_name,
               coalesce(s.phone, '') as store_phone,
               array(
                   select jsonb_build_object('number', n.number, 'kind', n.kind)
                   from phones n
                   where n.patient_id = p.patient_id
                     and not exists (select from stopped_numbers x where x.number = n.number)
                   order by n.position
               ) as phones,
               array(select visit_id from short_items i where i.patient_id = p.patient_id) as short_visits
        from patients p
        left join details d using (patient_id)
        left join plans l using (patient_id)
        left join stores s on s.store_id = coalesce(l.plan ->> 'store_id', p.store_id)
        where p.patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {
        row["patient_id"]: Person(
            **{name: row[name] for name in ("patient_id", "name", "birth_date", "address", "language")},
            caregiver=row["caregiver"],
            phones=tuple(Phone.model_validate(phone) for phone in row["phones"]),
            store_name=row["store_name"],
            store_phone=row["store_phone"],
            short_visits=frozenset(row["short_visits"]),
        )
        for row in rows
    }


async def save_details(db: Db, events: Sequence[ContactDetailsChanged]) -> list[str]:
    """Keep names and numbers; answers whose were new."""
    rows = await db.fetch(
        """
        insert into details as held (
            patient_id, revision, given_name, family_name, birth_date, address, time_zone
        )
        select e.patient_id, e.revision, e.given_name, e.family_name, e.birth_date, e.address, e.time_zone
        from jsonb_to_recordset($1) as e (
            patient_id text, revision integer, given_name text, family_name text, birth_date date, address text,
            time_zone text
        )
        on conflict (patient_id) do update
        set revision = excluded.revision,
            given_name = excluded.given_name,
            family_name = excluded.family_name,
            birth_date = excluded.birth_date,
            address = excluded.address,
            time_zone = excluded.time_zone
        where excluded.revision > held.revision
        returning patient_id
        """,
        [event.model_dump(mode="json", exclude={"phones", "language"}) for event in events],
    )
    newer = {row["patient_id"] for row in rows}
    phones = [
        (event.patient_id, position, phone)
        for event in events
        if event.patient_id in newer
        for position, phone in enumerate(event.phones)
    ]
    await db.execute("delete from phones where patient_id = any($1)", list(newer))
    await db.execute(
        """
        insert into phones (patient_id, position, number, kind)
        select *
        from unnest($1::text[], $2::integer[], $3::text[], $4::text[])
        """,
        [patient_id for patient_id, _, _ in phones],
        [position for _, position, _ in phones],
        [phone.number for _, _, phone in phones],
        [phone.kind for _, _, phone in phones],
    )
    return sorted(newer)


# ---- renewals -------------------------------------------------------------------------------------------------


async def open_renewals_for(db: Db, renewals: Sequence[Renewal]) -> None:
    """Open renewals that are not known yet."""
    await db.execute(
        """
        insert into renewals
        select *
        from jsonb_populate_recordset(null::renewals, $1)
        on conflict do nothing
        """,
        to_jsonable_python(renewals),
    )


async def open_renewals(db: Db, patient_ids: Collection[str]) -> list[Renewal]:
    rows = await db.fetch(
        "select * from renewals where patient_id = any($1) and status = 'open' order by contact_id",
        list(patient_ids),
    )
    return RENEWALS.validate_python(map(dict, rows))


async def load_renewal(db: Db, contact_id: UUID) -> Renewal | None:
    rows = await db.fetch("select * from renewals where contact_id = $1", contact_id)
    return next(iter(RENEWALS.validate_python(map(dict, rows))), None)


async def leased_renewals(db: Db, patient_id: str, lease_id: UUID) -> list[Renewal]:
    """What one request to a prescriber asks for."""
    rows = await db.fetch(
        "select * from renewals where patient_id = $1 and lease_id = $2 order by contact_id",
        patient_id,
        lease_id,
    )
    return RENEWALS.validate_python(map(dict, rows))


async def save_renewals(db: Db, renewals: Sequence[Renewal]) -> None:
    await db.execute(
        """
        update renewals r
        set status = n.status,
            asked = n.asked,
            asked_at = n.asked_at,
            lease_id = n.lease_id,
            lease_until = n.lease_until,
            due_at = n.due_at,
            review_at = n.review_at
        from jsonb_populate_recordset(null::renewals, $1) n
        where r.contact_id = n.contact_id
        """,
        to_jsonable_python(renewals),
    )


async def close_renewals(db: Db, patient_ids: Collection[str]) -> None:
    await db.execute(
        """
        update renewals
        set status = 'closed', due_at = null, review_at = null
        where patient_id = any($1)
          and status = 'open'
        """,
        list(patient_ids),
    )
