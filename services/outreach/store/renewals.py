"""Prescriptions that a prescriber is asked to renew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from services.outreach.domain.renewals import Renewal
from shared.database import Db
from shared.upsert import upsert

RENEWALS = TypeAdapter(list[Renewal])


_open_renewals = upsert(
    "renewals",
    "contact_id",
    "patient_id store_id rx_id drug_name prescriber_id needed_by opened_at status asked asked_at lease_id "
    "lease_until due_at review_at",
    once=True,
)


async def open_renewals_for(db: Db, renewals: Sequence[Renewal]) -> None:
    """Open renewals that are not known yet."""
    await _open_renewals(db, to_jsonable_python(renewals))


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
