"""What the handlers keep. Set-wise: one statement for a whole batch; each column is written from one topic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from pydantic import TypeAdapter

from services.console.domain.lines import Line
from services.console.domain.visits import ConditionalFill
from shared.database import Db
from shared.events.base import Reason
from shared.events.enrollment import (
    CandidateIdentified,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import (
    ConsultationHeld,
    FillCompleted,
    FillRejected,
    PackagePickedUp,
    PackageReady,
    PackageReturned,
    PickupMissed,
    StockShort,
)
from shared.events.outreach import (
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    RenewalAnswered,
    RenewalRequested,
    RescheduleRequested,
)
from shared.events.planner import (
    DemandForecast,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    RenewalNeeded,
    Visit,
)
from shared.messaging.envelope import Delivery

Times: TypeAlias = Mapping[str, datetime | None]
"""Business time by patient."""

_REASONS = TypeAdapter(tuple[Reason, ...])
_CONDITIONAL = TypeAdapter(tuple[ConditionalFill, ...])
_RX_IDS = TypeAdapter(tuple[str, ...])


# ---- the stream


async def take_turn(db: Db) -> None:
    """Be the one who draws numbers until this transaction ends."""
    await db.execute("select from numbering for update")


async def append_lines(db: Db, lines: Sequence[Line]) -> None:
    """Add lines to the stream, in this order; in one's turn."""
    await db.execute(
        """
        insert into stream (
            event_id, service, kind, at, patient_id, store_id, correlation_id, causation_id,
            topic, partition, "offset", words, rx_id
        )
        select e.event_id, e.service, e.kind, e.at, e.patient_id, coalesce(e.store_id, p.store_id),
               e.correlation_id, e.causation_id, e.topic, e.partition, e."offset", e.words, e.rx_id
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::integer[], $11::bigint[], $12::text[], $13::text[]
        ) with ordinality e (
            event_id, service, kind, at, patient_id, store_id, correlation_id, causation_id,
            topic, partition, "offset", words, rx_id, place
        )
        left join patients p on p.patient_id = e.patient_id
        order by e.place
        on conflict (event_id) do nothing
        """,
        [line.event_id for line in lines],
        [line.service for line in lines],
        [line.kind for line in lines],
        [line.at for line in lines],
        [line.patient_id for line in lines],
        [line.store_id for line in lines],
        [line.correlation_id for line in lines],
        [line.causation_id for line in lines],
        [line.topic for line in lines],
        [line.partition for line in lines],
        [line.offset for line in lines],
        [line.words for line in lines],
        [line.rx_id for line in lines],
    )


async def _follow_stores(db: Db, patient_ids: Collection[str]) -> None:
    """Lines of patients belong to the store where the patient is now."""
    await db.execute(
        """
        update stream s
        set store_id = p.store_id
        from patients p
        where p.patient_id = any($1)
          and s.patient_id = p.patient_id
          and s.store_id is distinct from p.store_id
        """,
        list(patient_ids),
    )


# ---- what enrollment says


async def save_candidates(db: Db, events: Sequence[CandidateIdentified], times: Times) -> None:
    rows = await db.fetch(
        """
        insert into patients as held (patient_id, status, since, store_id, candidate_because)
        select patient_id, 'candidate', at, store_id, reasons::jsonb
        from unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[]) e (patient_id, at, store_id, reasons)
        on conflict (patient_id) do update
        set status = 'candidate',
            since = excluded.since,
            store_id = excluded.store_id,
            candidate_because = excluded.candidate_because
        where held.status is distinct from 'enrolled'
        returning patient_id
        """,
        [event.patient_id for event in events],
        [times[event.patient_id] for event in events],
        [event.store_id for event in events],
        [_REASONS.dump_json(event.reasons).decode() for event in events],
    )
    await _follow_stores(db, [row["patient_id"] for row in rows])


async def save_profiles(
    db: Db, events: Sequence[PatientEnrolled] | Sequence[ProfileChanged], times: Times
) -> None:
    """Keep the newer profiles; an enrollment brings the consent with it."""
    consents = [event.consent if isinstance(event, PatientEnrolled) else None for event in events]
    rows = await db.fetch(
        """
        insert into patients as held (patient_id, revision, status, since, store_id, consent, profile)
        select patient_id, revision, 'enrolled', at, store_id, consent::jsonb, profile::jsonb
        from unnest($1::text[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
            e (patient_id, revision, at, store_id, consent, profile)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            status = 'enrolled',
            since = case when excluded.consent is null then held.since else excluded.since end,
            store_id = excluded.store_id,
            consent = coalesce(excluded.consent, held.consent),
            profile = excluded.profile,
            left_because = null
        where excluded.revision > held.revision
        returning patient_id
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
        [times[event.patient_id] for event in events],
        [event.profile.store_id for event in events],
        [consent.model_dump_json() if consent else None for consent in consents],
        [event.profile.model_dump_json() for event in events],
    )
    await _follow_stores(db, [row["patient_id"] for row in rows])


async def save_left(db: Db, events: Sequence[PatientDisenrolled], times: Times) -> None:
    await db.execute(
        """
        insert into patients as held (patient_id, revision, status, since, left_because)
        select patient_id, revision, 'left', at, reason
        from unnest($1::text[], $2::integer[], $3::timestamptz[], $4::text[]) e (patient_id, revision, at, reason)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            status = 'left',
            since = excluded.since,
            left_because = excluded.left_because
        where excluded.revision > held.revision
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
        [times[event.patient_id] for event in events],
        [event.reason.value for event in events],
    )


async def save_sealed(db: Db, details: Sequence[tuple[ContactDetailsChanged, str, bytes]]) -> None:
    """Keep (event, id of the key, sealed payload); of the event itself nothing but whose it is."""
    await db.execute(
        """
        insert into sealed_details as held (patient_id, revision, key_id, sealed)
        select patient_id, revision, key_id, sealed
        from unnest($1::text[], $2::integer[], $3::text[], $4::bytea[]) e (patient_id, revision, key_id, sealed)
        on conflict (patient_id) do update
        set revision = excluded.revision, key_id = excluded.key_id, sealed = excluded.sealed
        where excluded.revision > held.revision
        """,
        [event.patient_id for event, _, _ in details],
        [event.revision for event, _, _ in details],
        [key_id for _, key_id, _ in details],
        [sealed for _, _, sealed in details],
    )


async def save_stores(db: Db, events: Sequence[StoreChanged]) -> None:
    await db.execute(
        """
        insert into stores as held (store_id, revision, name, time_zone, open_weekdays, closed_on)
        select e.store_id, e.revision, e.name, e.time_zone, e.open_weekdays, e.closed_on
        from jsonb_to_recordset($1) as e (
            store_id text, revision integer, name text, time_zone text, open_weekdays integer[], closed_on date[]
        )
        on conflict (store_id) do update
        set revision = excluded.revision,
            name = excluded.name,
            time_zone = excluded.time_zone,
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
                "open_weekdays": sorted({hours.weekday for hours in event.hours}),
                "closed_on": [day.isoformat() for day in sorted(event.closed_on)],
            }
            for event in events
        ],
    )


# ---- what the planner says


async def save_plans(
    db: Db, plans: Sequence[tuple[str, PlanComputed | PlanBlocked | PlanCancelled, Delivery]]
) -> None:
    """Keep (status, event, how it came) as one more revision; the highest is the patient's plan."""
    events = [event for _, event, _ in plans]
    await db.execute(
        """
        insert into plans (patient_id, revision, event_id, at, status, content)
        select patient_id, revision, event_id, at, status, content::jsonb
        from unnest($1::text[], $2::integer[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[])
            e (patient_id, revision, event_id, at, status, content)
        on conflict (patient_id, revision) do nothing
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
        [came.event_id for _, _, came in plans],
        [came.at for _, _, came in plans],
        [status for status, _, _ in plans],
        [event.model_dump_json() for event in events],
    )
    computed = [event if isinstance(event, PlanComputed) else None for event in events]
    await db.execute(
        """
        insert into patients as held (patient_id, plan_revision, plan_status, cycle, anchor_on)
        select patient_id, revision, status, cycle, anchor_on
        from unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::date[])
            e (patient_id, revision, status, cycle, anchor_on)
        on conflict (patient_id) do update
        set plan_revision = excluded.plan_revision,
            plan_status = excluded.plan_status,
            cycle = excluded.cycle,
            anchor_on = excluded.anchor_on
        where excluded.plan_revision > held.plan_revision
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
        [status for status, _, _ in plans],
        [plan.cycle if plan else None for plan in computed],
        [plan.anchor_on if plan else None for plan in computed],
    )


async def save_visits(db: Db, plans: Sequence[PlanComputed]) -> None:
    """Keep what these revisions say about their visits."""
    held = [(plan, visit) for plan in plans for visit in plan.visits]
    await db.execute(
        """
        insert into visits as held (
            visit_id, patient_id, store_id, kind, "on", plan_revision, fills, short_fills, urgent, conditions,
            settled_rx_ids
        )
        select visit_id, patient_id, store_id, kind, "on", plan_revision, fills, short_fills, urgent,
               conditions::jsonb, array(select jsonb_array_elements_text(settled::jsonb))
        from unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::integer[], $7::integer[], $8::integer[],
            $9::boolean[], $10::text[], $11::text[]
        ) e (
            visit_id, patient_id, store_id, kind, "on", plan_revision, fills, short_fills, urgent, conditions, settled
        )
        on conflict (visit_id) do update
        set store_id = excluded.store_id,
            kind = excluded.kind,
            "on" = excluded."on",
            plan_revision = excluded.plan_revision,
            fills = excluded.fills,
            short_fills = excluded.short_fills,
            urgent = excluded.urgent,
            conditions = excluded.conditions,
            settled_rx_ids = excluded.settled_rx_ids
        where excluded.plan_revision > held.plan_revision
        """,
        [visit.visit_id for _, visit in held],
        [plan.patient_id for plan, _ in held],
        [plan.store_id for plan, _ in held],
        [visit.kind.value for _, visit in held],
        [visit.on for _, visit in held],
        [plan.revision for plan, _ in held],
        [len(visit.items) for _, visit in held],
        [sum(item.kind == "bridge" for item in visit.items) for _, visit in held],
        [visit.urgent for _, visit in held],
        [_CONDITIONAL.dump_json(_conditional(visit)).decode() for _, visit in held],
        [_RX_IDS.dump_json(_settled(visit)).decode() for _, visit in held],
    )


def _conditional(visit: Visit) -> tuple[ConditionalFill, ...]:
    return tuple(
        ConditionalFill(rx_id=item.rx_id, **dict(item.condition)) for item in visit.items if item.condition
    )


def _settled(visit: Visit) -> tuple[str, ...]:
    return tuple(item.in_place_of or item.rx_id for item in visit.items if not item.condition)


async def save_renewals(db: Db, events: Sequence[RenewalNeeded]) -> None:
    await db.execute(
        """
        insert into renewals (patient_id, rx_id, drug_name, needed_by, reason)
        select patient_id, rx_id, drug_name, needed_by, reason::jsonb
        from unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::text[])
            e (patient_id, rx_id, drug_name, needed_by, reason)
        on conflict (patient_id, rx_id) do update
        set drug_name = excluded.drug_name, needed_by = excluded.needed_by, reason = excluded.reason
        """,
        [event.patient_id for event in events],
        [event.rx_id for event in events],
        [event.drug_name for event in events],
        [event.needed_by for event in events],
        [event.reason.model_dump_json() for event in events],
    )


async def save_forecasts(db: Db, events: Sequence[DemandForecast]) -> None:
    await db.execute(
        """
        insert into forecasts as held (store_id, revision, content)
        select store_id, revision, content::jsonb
        from unnest($1::text[], $2::integer[], $3::text[]) e (store_id, revision, content)
        on conflict (store_id) do update
        set revision = excluded.revision, content = excluded.content
        where excluded.revision > held.revision
        """,
        [event.store_id for event in events],
        [event.revision for event in events],
        [event.model_dump_json() for event in events],
    )


# ---- what outreach says


async def save_confirmed(db: Db, events: Sequence[PickupConfirmed], times: Times) -> None:
    await db.execute(
        """
        insert into visits as held (
            visit_id, patient_id, store_id, kind, "on", answer, answered_at, answer_revision, wanted, declined_rx_ids,
            conditional_rx_ids
        )
        select e.visit_id, e.patient_id, e.store_id, e.kind, e."on", 'confirmed', e.at, e.revision, e.wanted,
               e.declined, e.conditional
        from jsonb_to_recordset($1) as e (
            visit_id text, patient_id text, store_id text, kind text, "on" date, at timestamptz, revision integer,
            wanted integer, declined text[], conditional text[]
        )
        on conflict (visit_id) do update
        set store_id = coalesce(held.store_id, excluded.store_id),
            kind = coalesce(held.kind, excluded.kind),
            "on" = coalesce(held."on", excluded."on"),
            answer = excluded.answer,
            answered_at = excluded.answered_at,
            answer_revision = excluded.answer_revision,
            wanted = excluded.wanted,
            declined_rx_ids = excluded.declined_rx_ids,
            conditional_rx_ids = excluded.conditional_rx_ids
        """,
        [
            {
                "visit_id": event.visit_id,
                "patient_id": event.patient_id,
                "store_id": event.store_id,
                "kind": event.visit_kind,
                "on": event.on.isoformat(),
                "at": _text(times[event.patient_id]),
                "revision": event.plan_revision,
                "wanted": len(event.items),
                "declined": list(event.declined_rx_ids),
                "conditional": [item.rx_id for item in event.items if item.condition],
            }
            for event in events
        ],
    )


async def save_answers(
    db: Db,
    answer: str,
    events: Sequence[PickupDeclined | RescheduleRequested | PatientUnreached],
    times: Times,
) -> None:
    """Keep an answer other than a confirmation, in place of an earlier one."""
    await db.execute(
        """
        insert into visits as held (
            visit_id, patient_id, "on", answer, answered_at, answer_revision, wanted_on, attempts
        )
        select visit_id, patient_id, "on", $1, at, revision, wanted_on, attempts
        from unnest(
            $2::text[], $3::text[], $4::date[], $5::timestamptz[], $6::integer[], $7::date[], $8::integer[]
        ) e (visit_id, patient_id, "on", at, revision, wanted_on, attempts)
        on conflict (visit_id) do update
        set "on" = coalesce(held."on", excluded."on"),
            answer = excluded.answer,
            answered_at = excluded.answered_at,
            answer_revision = excluded.answer_revision,
            wanted_on = excluded.wanted_on,
            attempts = excluded.attempts
        """,
        answer,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.on if isinstance(event, PickupDeclined) else None for event in events],
        [times[event.patient_id] for event in events],
        [event.plan_revision for event in events],
        [event.wanted_on if isinstance(event, RescheduleRequested) else None for event in events],
        [event.attempts if isinstance(event, PatientUnreached) else None for event in events],
    )


async def save_unreached_alignments(db: Db, events: Sequence[PatientUnreached]) -> None:
    """Keep about which revision of the plan nobody could be reached."""
    await db.execute(
        """
        insert into patients (patient_id, unreached_revision)
        select patient_id, revision
        from unnest($1::text[], $2::integer[]) e (patient_id, revision)
        on conflict (patient_id) do update
        set unreached_revision = excluded.unreached_revision
        """,
        [event.patient_id for event in events],
        [event.plan_revision for event in events],
    )


async def note_on_patients(db: Db, column: str, times: Times) -> None:
    """Keep when something last happened: `question_at` or `opted_out_at`."""
    assert column in ("question_at", "opted_out_at")
    await db.execute(
        f"""
        insert into patients (patient_id, {column})
        select patient_id, at
        from unnest($1::text[], $2::timestamptz[]) e (patient_id, at)
        on conflict (patient_id) do update
        set {column} = excluded.{column}
        """,
        list(times.keys()),
        list(times.values()),
    )


async def end_opt_outs(db: Db, patient_ids: Collection[str]) -> None:
    """These patients said stop, and take it back."""
    await db.execute("update patients set opted_out_at = null where patient_id = any($1)", list(patient_ids))


async def save_renewals_asked(db: Db, events: Sequence[RenewalRequested]) -> None:
    await db.execute(
        """
        insert into renewals (patient_id, rx_id, asked)
        select patient_id, rx_id, attempt
        from unnest($1::text[], $2::text[], $3::integer[]) e (patient_id, rx_id, attempt)
        on conflict (patient_id, rx_id) do update
        set asked = excluded.asked
        """,
        [event.patient_id for event in events],
        [event.rx_id for event in events],
        [event.attempt for event in events],
    )


async def save_renewal_answers(db: Db, events: Sequence[RenewalAnswered]) -> None:
    await db.execute(
        """
        insert into renewals (patient_id, rx_id, answer)
        select patient_id, rx_id, answer
        from unnest($1::text[], $2::text[], $3::text[]) e (patient_id, rx_id, answer)
        on conflict (patient_id, rx_id) do update
        set answer = excluded.answer
        """,
        [event.patient_id for event in events],
        [event.rx_id for event in events],
        [event.answer.value for event in events],
    )


# ---- what fulfillment says


async def save_fills(db: Db, state: str, events: Sequence[FillCompleted | FillRejected | StockShort]) -> None:
    """Keep what came of a fill; a later word replaces an earlier one."""
    await db.execute(
        """
        insert into fills (visit_id, rx_id, patient_id, state, reject_code, next_fill_on)
        select visit_id, rx_id, patient_id, $1, reject_code, next_fill_on
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[])
            e (visit_id, rx_id, patient_id, reject_code, next_fill_on)
        on conflict (visit_id, rx_id) do update
        set state = excluded.state, reject_code = excluded.reject_code, next_fill_on = excluded.next_fill_on
        """,
        state,
        [event.visit_id for event in events],
        [event.rx_id for event in events],
        [event.patient_id for event in events],
        [event.reject_code if isinstance(event, FillRejected) else None for event in events],
        [event.next_fill_on if isinstance(event, FillRejected) else None for event in events],
    )


async def save_ready(db: Db, events: Sequence[PackageReady], times: Times) -> None:
    await db.execute(
        """
        insert into visits as held (
            visit_id, patient_id, store_id, "on", package, package_at, return_on, not_filled
        )
        select visit_id, patient_id, store_id, "on", 'ready', at, return_on, not_filled::jsonb
        from unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::timestamptz[], $6::date[], $7::text[])
            e (visit_id, patient_id, store_id, "on", at, return_on, not_filled)
        on conflict (visit_id) do update
        set store_id = coalesce(held.store_id, excluded.store_id),
            "on" = coalesce(held."on", excluded."on"),
            package = excluded.package,
            package_at = excluded.package_at,
            return_on = excluded.return_on,
            not_filled = excluded.not_filled
        """,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.store_id for event in events],
        [event.on for event in events],
        [times[event.patient_id] for event in events],
        [event.return_on for event in events],
        [_why_not_filled(event) for event in events],
    )


def _why_not_filled(event: PackageReady | PackagePickedUp) -> str:
    return _REASONS.dump_json(tuple(item.reason for item in event.not_filled)).decode()


async def save_picked_up(db: Db, events: Sequence[PackagePickedUp], times: Times) -> None:
    await db.execute(
        """
        insert into visits as held (
            visit_id, patient_id, store_id, package, package_at, handed_over_on, taken, not_filled
        )
        select visit_id, patient_id, store_id, 'picked_up', at, handed_over_on, taken, not_filled::jsonb
        from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::date[], $6::integer[], $7::text[])
            e (visit_id, patient_id, store_id, at, handed_over_on, taken, not_filled)
        on conflict (visit_id) do update
        set store_id = coalesce(held.store_id, excluded.store_id),
            package = excluded.package,
            package_at = excluded.package_at,
            handed_over_on = excluded.handed_over_on,
            taken = excluded.taken,
            not_filled = excluded.not_filled
        """,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.store_id for event in events],
        [times[event.patient_id] for event in events],
        [event.handed_over_on for event in events],
        [len(event.taken) for event in events],
        [_why_not_filled(event) for event in events],
    )


async def save_missed(db: Db, events: Sequence[PickupMissed]) -> None:
    await db.execute(
        """
        insert into visits as held (visit_id, patient_id, "on", days_late)
        select visit_id, patient_id, "on", days_late
        from unnest($1::text[], $2::text[], $3::date[], $4::integer[]) e (visit_id, patient_id, "on", days_late)
        on conflict (visit_id) do update
        set "on" = coalesce(held."on", excluded."on"), days_late = excluded.days_late
        """,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.on for event in events],
        [event.days_late for event in events],
    )


async def save_returned(db: Db, events: Sequence[PackageReturned], times: Times) -> None:
    await db.execute(
        """
        insert into visits as held (visit_id, patient_id, store_id, package, package_at)
        select visit_id, patient_id, store_id, 'returned', at
        from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) e (visit_id, patient_id, store_id, at)
        on conflict (visit_id) do update
        set store_id = coalesce(held.store_id, excluded.store_id),
            package = excluded.package,
            package_at = excluded.package_at
        """,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.store_id for event in events],
        [times[event.patient_id] for event in events],
    )


async def save_consultations(db: Db, events: Sequence[ConsultationHeld]) -> None:
    await db.execute(
        """
        insert into visits (visit_id, patient_id, consultation)
        select visit_id, patient_id, outcome
        from unnest($1::text[], $2::text[], $3::text[]) e (visit_id, patient_id, outcome)
        on conflict (visit_id) do update
        set consultation = excluded.consultation
        """,
        [event.visit_id for event in events],
        [event.patient_id for event in events],
        [event.outcome.value for event in events],
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
