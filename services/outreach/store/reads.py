"""What deciding about contacts takes: cases, plans, contacts, people; the call list and the ledger."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from services.outreach.domain.model import By, Calendar, Call, Case, Contact, Kind, Plan
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events.enrollment import Channel, ContactDetailsChanged, Phone

CONTACTS = TypeAdapter(list[Contact])


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
               d.has_address,
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
    contacts, calls = await live_contacts(db, patient_ids), await _recent_calls(db, patient_ids, now)
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


async def _recent_calls(db: Db, patient_ids: Collection[str], now: datetime) -> dict[str, list[Call]]:
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


async def load_plans(db: Db, patient_ids: Collection[str]) -> dict[str, Plan]:
    """The plans of those who have one."""
    rows = await db.fetch(
        "select patient_id, plan from plans where patient_id = any($1) and plan is not null",
        list(patient_ids),
    )
    return {row["patient_id"]: Plan.model_validate(row["plan"]) for row in rows}


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


async def load_people(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> dict[str, Person]:
    """Names and numbers of these patients, for a lease or for the answer to a stop."""
    rows = await db.fetch(
        f"""
        select p.patient_id, p.caregiver, p.language,
               d.sealed, {DATA_KEY},
               coalesce(s.name, '') as store_name,
               coalesce(s.phone, '') as store_phone,
               array(
                   select n.position
                   from phones n
                   where n.patient_id = p.patient_id
                     and not exists (select from stopped_numbers x where x.number = n.number)
                   order by n.position
               ) as positions,
               array(select visit_id from short_items i where i.patient_id = p.patient_id) as short_visits
        from patients p
        left join details d using (patient_id)
        left join fabric.data_keys k using (patient_id)
        left join plans l using (patient_id)
        left join stores s on s.store_id = coalesce(l.plan ->> 'store_id', p.store_id)
        where p.patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: _person(keys, row) for row in rows}


def _person(keys: DataKeys, row: Any) -> Person:
    who = ContactDetailsChanged(
        patient_id=row["patient_id"], revision=0, **(keys.open(row) if row["sealed"] else {})
    )
    return Person(
        patient_id=row["patient_id"],
        name=" ".join(filter(None, (who.given_name, who.family_name))),
        birth_date=who.birth_date,
        address=who.address,
        language=row["language"],
        caregiver=row["caregiver"],
        phones=tuple(who.phones[position] for position in row["positions"]),
        store_name=row["store_name"],
        store_phone=row["store_phone"],
        short_visits=frozenset(row["short_visits"]),
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
