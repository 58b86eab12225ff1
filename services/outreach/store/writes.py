"""What is kept of patients, stores, plans and contacts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic_core import to_jsonable_python

from services.outreach.domain.model import Contact, Plan, Status
from services.outreach.store.numbers import of_number
from shared.database import Db
from shared.datakeys import DataKeys, hexed
from shared.events.enrollment import (
    CaregiversChanged,
    Consent,
    ConsentChanged,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    StoreChanged,
)
from shared.events.fulfillment import StockShort
from shared.upsert import row, upsert


async def save_consents(db: Db, events: Sequence[PatientEnrolled] | Sequence[ConsentChanged]) -> list[str]:
    """Keep who is enrolled and how they want to be contacted. Return the ids for whom that was new.

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
            patient_id text, revision bigint, store_id text, channels text[], language text, caregiver boolean,
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


_keep_disenrolled = upsert("patients", "patient_id", "revision enrolled", newer="revision")


async def save_disenrolled(db: Db, events: Sequence[PatientDisenrolled]) -> list[str]:
    """Keep that these patients are no longer enrolled. Return the ids for whom that was new."""
    kept = await _keep_disenrolled(
        db, [row(event, "patient_id revision", enrolled=False) for event in events]
    )
    return [each["patient_id"] for each in kept]


_keep_caregivers = upsert("caregivers", "patient_id", "revision caregiver_ids", newer="revision")


async def save_caregivers(db: Db, events: Sequence[CaregiversChanged]) -> None:
    """Keep who may act for these patients."""
    await _keep_caregivers(db, [row(event, "patient_id revision caregiver_ids") for event in events])


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


_keep_stores = upsert(
    "stores", "store_id", "revision name time_zone phone open_weekdays closed_on", newer="revision"
)


async def save_stores(db: Db, events: Sequence[StoreChanged]) -> None:
    await _keep_stores(
        db,
        [
            row(
                event,
                "store_id revision name time_zone phone closed_on",
                open_weekdays=sorted({hours.weekday for hours in event.hours}),
            )
            for event in events
        ],
    )


_keep_details = upsert(
    "details",
    "patient_id",
    "revision sealed has_address time_zone",
    newer="revision",
)


async def save_details(db: Db, keys: DataKeys, events: Sequence[ContactDetailsChanged]) -> list[str]:
    """Keep names and numbers, sealed; and by what a number is known again. Return the ids that were new."""
    sealed = await keys.seal(
        db,
        {
            event.patient_id: row(event, "given_name family_name birth_date address phones")
            for event in events
        },
    )
    kept = await _keep_details(
        db,
        [
            row(
                event,
                "patient_id revision time_zone",
                sealed=hexed(sealed[event.patient_id]),
                has_address=bool(event.address),
            )
            for event in events
        ],
    )
    newer = {each["patient_id"] for each in kept}
    phones = [
        (event.patient_id, position, phone)
        for event in events
        if event.patient_id in newer
        for position, phone in enumerate(event.phones)
    ]
    index = await keys.index(db)
    await db.execute("delete from phones where patient_id = any($1)", list(newer))
    await db.execute(
        """
        insert into phones (patient_id, position, number, kind)
        select *
        from unnest($1::text[], $2::integer[], $3::text[], $4::text[])
        """,
        [patient_id for patient_id, _, _ in phones],
        [position for _, position, _ in phones],
        [of_number(index, phone.number) for _, _, phone in phones],
        [phone.kind for _, _, phone in phones],
    )
    return sorted(newer)


_keep_plans = upsert("plans", "patient_id", "revision plan in_hospital", newer="revision")


async def save_plans(
    db: Db, plans: Mapping[str, tuple[int, Plan | None]], in_hospital: Collection[str] = ()
) -> list[str]:
    """Keep the newest revision and plan of each patient, and who is in hospital. Return the ids that were new."""
    kept = await _keep_plans(
        db,
        [
            {
                "patient_id": patient_id,
                "revision": revision,
                "plan": plan,
                "in_hospital": patient_id in in_hospital,
            }
            for patient_id, (revision, plan) in plans.items()
        ],
    )
    return [each["patient_id"] for each in kept]


_keep_contacts = upsert(
    "contacts",
    "contact_id",
    "patient_id kind store_id opened_at plan_id plan_revision visit_id visit_on last_on status declined_rx_ids "
    "attempts last_attempt_at written_at lease_id lease_until due_at by_hand_at review_at urgent_at",
)


async def save_contacts(db: Db, contacts: Sequence[Contact]) -> None:
    """Write contacts as they stand, known or new."""
    await _keep_contacts(db, to_jsonable_python(contacts))


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


async def close_contact(
    db: Db, contact_id: UUID, status: Status, by: str | None = None, because: str | None = None
) -> None:
    """End a contact; a lease on it is taken back."""
    await db.execute(
        """
        update contacts
        set status = $2,
            closed_by = $3,
            closed_because = $4,
            due_at = null,
            by_hand_at = null,
            review_at = null,
            lease_id = null,
            lease_until = null
        where contact_id = $1
        """,
        contact_id,
        status,
        by,
        because,
    )


_keep_short_items = upsert("short_items", "patient_id visit_id rx_id", "missing noted_at")


async def save_short_items(db: Db, events: Sequence[StockShort], now: datetime) -> None:
    await _keep_short_items(
        db, [row(event, "patient_id visit_id rx_id missing", noted_at=now) for event in events]
    )
