"""The work that every contender does for an event: keep the newer profile, answer with a plan that is blocked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from shared.events.base import Reason
from shared.events.enrollment import PatientEnrolled, ProfileChanged
from shared.events.planner import DrugDecision, Participation, PlanBlocked

Told: TypeAlias = PatientEnrolled | ProfileChanged
HANDLED: dict[str, type[Told]] = {event.TYPE: event for event in (PatientEnrolled, ProfileChanged)}


async def save(db: asyncpg.Connection, events: Sequence[Told]) -> None:
    """Keep newer profiles. No patient twice."""
    await db.execute(
        """
        insert into profiles as p (patient_id, revision, store_id, profile)
        select patient_id, revision, store_id, profile::jsonb
        from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as told (patient_id, revision, store_id, profile)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            store_id = excluded.store_id,
            profile = excluded.profile
        where excluded.revision > p.revision
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
        [event.profile.store_id for event in events],
        [event.profile.model_dump_json() for event in events],
    )


async def save_one(db: asyncpg.Connection, event: Told) -> None:
    """The same for one event, as one writes it for one."""
    await db.execute(
        """
        insert into profiles as p (patient_id, revision, store_id, profile)
        values ($1, $2, $3, $4::text::jsonb)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            store_id = excluded.store_id,
            profile = excluded.profile
        where excluded.revision > p.revision
        """,
        event.patient_id,
        event.revision,
        event.profile.store_id,
        event.profile.model_dump_json(),
    )


def answer(event: Told) -> PlanBlocked:
    """An answer about as large as half the question: one decision per prescription."""
    return PlanBlocked(
        patient_id=event.patient_id,
        revision=event.revision,
        profile_revision=event.revision,
        store_id=event.profile.store_id,
        reasons=(
            Reason(code="waits_for_benchmark", params={"prescriptions": len(event.profile.prescriptions)}),
        ),
        drugs=tuple(
            DrugDecision(
                rx_id=one.rx_id,
                drug_name=one.drug.name,
                participation=Participation.excluded,
                reasons=(Reason(code="excluded_by_benchmark", params={"days": one.usual_days}),),
            )
            for one in event.profile.prescriptions
        ),
    )
