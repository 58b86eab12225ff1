"""What the handlers write. Set-wise: one statement for a whole batch; each column is written from one topic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias

from pydantic_core import from_json

from services.console.domain.lines import Line
from services.console.domain.visits import ConditionalFill
from shared.database import Db
from shared.datakeys import DataKeys, InClear, hexed
from shared.events.enrollment import (
    CandidateIdentified,
    CandidateWithdrawn,
    ConsentChanged,
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
    FillResolved,
    PackagePickedUp,
    PackageReady,
    PackageReopened,
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
from shared.sealing import SealBroken
from shared.upsert import Row, row, upsert

Times: TypeAlias = Mapping[str, datetime | None]
"""Business time by patient."""


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
        select patient_id, status, since, store_id, candidate_because
        from jsonb_populate_recordset(null::patients, $1)
        on conflict (patient_id) do update
        set status = excluded.status,
            since = excluded.since,
            store_id = excluded.store_id,
            candidate_because = excluded.candidate_because
        where held.status is distinct from 'enrolled'
        returning patient_id
        """,
        [
            row(
                event,
                "patient_id store_id",
                status="candidate",
                since=times[event.patient_id],
                candidate_because=event.reasons,
            )
            for event in events
        ],
    )
    await _follow_stores(db, [each["patient_id"] for each in rows])


async def save_no_candidates(db: Db, events: Sequence[CandidateWithdrawn], times: Times) -> None:
    """Keep who is no candidate any more; who enrolled since stays enrolled."""
    await db.execute(
        """
        update patients p
        set status = 'no_candidate',
            since = gone.since,
            left_because = gone.reason
        from unnest($1::text[], $2::timestamptz[], $3::text[]) as gone (patient_id, since, reason)
        where p.patient_id = gone.patient_id
          and p.status = 'candidate'
        """,
        [event.patient_id for event in events],
        [times[event.patient_id] for event in events],
        [event.reason for event in events],
    )


_keep_enrolled = upsert(
    "patients",
    "patient_id",
    "revision status since store_id consent profile left_because",
    newer="revision",
    given="since",
)
_keep_profiles = upsert(
    "patients",
    "patient_id",
    "revision status since store_id profile left_because",
    newer="revision",
    first="since",
)


async def save_enrolled(db: Db, events: Sequence[PatientEnrolled], times: Times) -> None:
    """Keep who is enrolled, with consent and profile."""
    rows = await _keep_enrolled(
        db, [{**_profile(event, times), "consent": event.consent} for event in events]
    )
    await _follow_stores(db, [each["patient_id"] for each in rows])


async def save_profiles(db: Db, events: Sequence[ProfileChanged], times: Times) -> None:
    """Keep the newer profiles."""
    rows = await _keep_profiles(db, [_profile(event, times) for event in events])
    await _follow_stores(db, [each["patient_id"] for each in rows])


def _profile(event: PatientEnrolled | ProfileChanged, times: Times) -> Row:
    return row(
        event,
        "patient_id revision profile",
        status="enrolled",
        since=times[event.patient_id],
        store_id=event.profile.store_id,
        left_because=None,
    )


_keep_consents = upsert(
    "patients", "patient_id", "revision status since store_id consent", newer="revision", first="since"
)


async def save_consents(db: Db, events: Sequence[ConsentChanged], times: Times) -> None:
    """Keep what patients now agree to."""
    await _keep_consents(
        db,
        [
            row(
                event,
                "patient_id revision store_id consent",
                status="enrolled",
                since=times[event.patient_id],
            )
            for event in events
        ],
    )


_keep_left = upsert(
    "patients", "patient_id", "revision status since left_because", newer="revision", given="since"
)


async def save_left(db: Db, events: Sequence[PatientDisenrolled], times: Times) -> None:
    await _keep_left(
        db,
        [
            row(
                event,
                "patient_id revision",
                status="left",
                since=times[event.patient_id],
                left_because=event.reason,
            )
            for event in events
        ],
    )


_keep_sealed = upsert("sealed_details", "patient_id", "revision key_id sealed", newer="revision")


async def save_sealed(db: Db, keys: DataKeys, details: Sequence[ContactDetailsChanged]) -> None:
    """Keep names and numbers; of the event in clear nothing but whose it is."""
    sealed = await keys.seal(db, {event.patient_id: event for event in details})
    await _keep_sealed(
        db,
        [
            row(event, "patient_id revision", key_id=None, sealed=hexed(sealed[event.patient_id]))
            for event in details
        ],
    )


async def _sealed_as_it_came(db: Db, after: str, limit: int) -> list[str]:
    rows = await db.fetch(
        """
        select patient_id
        from sealed_details
        where key_id is not null
          and patient_id > $1
        order by patient_id
        limit $2
        """,
        after,
        limit,
    )
    return [each["patient_id"] for each in rows]


async def _seal_anew(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> None:
    rows = await db.fetch(
        """
        select patient_id, key_id, sealed
        from sealed_details
        where patient_id = any($1)
          and key_id is not null
        """,
        list(patient_ids),
    )
    came = {}
    for each in rows:
        bound_to = f"{ContactDetailsChanged.TYPE}/{each['patient_id']}"
        with suppress(SealBroken):  # its key is gone: nobody can read it
            came[each["patient_id"]] = from_json(
                keys.sealer.open(each["sealed"], key_id=each["key_id"], bound_to=bound_to)
            )
    sealed = await keys.seal(db, came)
    await db.execute(
        """
        update sealed_details d
        set sealed = s.sealed, key_id = null
        from unnest($1::text[], $2::bytea[]) s (patient_id, sealed)
        where d.patient_id = s.patient_id
        """,
        list(sealed),
        list(sealed.values()),
    )


IN_CLEAR = InClear(_sealed_as_it_came, _seal_anew)


_keep_stores = upsert(
    "stores",
    "store_id",
    "revision name time_zone open_weekdays closed_on",
    newer="revision",
)


async def save_stores(db: Db, events: Sequence[StoreChanged]) -> None:
    await _keep_stores(
        db,
        [
            row(
                event,
                "store_id revision name time_zone",
                open_weekdays=sorted({hours.weekday for hours in event.hours}),
                closed_on=sorted(event.closed_on),
            )
            for event in events
        ],
    )


# ---- what the planner says

_keep_revisions = upsert("plans", "patient_id revision", "event_id at status content", once=True)
_keep_newest_plans = upsert(
    "patients",
    "patient_id",
    "plan_revision plan_status cycle anchor_on",
    newer="plan_revision",
)


async def save_plans(
    db: Db, plans: Sequence[tuple[str, PlanComputed | PlanBlocked | PlanCancelled, Delivery]]
) -> None:
    """Keep (status, event, how it came) as one more revision; the highest is the patient's plan."""
    await _keep_revisions(
        db,
        [
            {
                "patient_id": event.patient_id,
                "revision": event.revision,
                "event_id": came.event_id,
                "at": came.at,
                "status": status,
                "content": event,
            }
            for status, event, came in plans
        ],
    )
    await _keep_newest_plans(
        db,
        [
            {
                "patient_id": event.patient_id,
                "plan_revision": event.revision,
                "plan_status": status,
                "cycle": event.cycle if isinstance(event, PlanComputed) else None,
                "anchor_on": event.anchor_on if isinstance(event, PlanComputed) else None,
            }
            for status, event, _ in plans
        ],
    )


_keep_visits = upsert(
    "visits",
    "visit_id",
    "patient_id store_id kind on plan_revision fills short_fills urgent conditions settled_rx_ids",
    newer="plan_revision",
)


async def save_visits(db: Db, plans: Sequence[PlanComputed]) -> None:
    """Keep what these revisions say about their visits."""
    await _keep_visits(
        db,
        [
            {
                "visit_id": visit.visit_id,
                "patient_id": plan.patient_id,
                "store_id": plan.store_id,
                "kind": visit.kind,
                "on": visit.on,
                "plan_revision": plan.revision,
                "fills": len(visit.items),
                "short_fills": sum(item.kind == "bridge" for item in visit.items),
                "urgent": visit.urgent,
                "conditions": _conditional(visit),
                "settled_rx_ids": _settled(visit),
            }
            for plan in plans
            for visit in plan.visits
        ],
    )


def _conditional(visit: Visit) -> tuple[ConditionalFill, ...]:
    return tuple(
        ConditionalFill(rx_id=item.rx_id, **dict(item.condition)) for item in visit.items if item.condition
    )


def _settled(visit: Visit) -> tuple[str, ...]:
    return tuple(item.in_place_of or item.rx_id for item in visit.items if not item.condition)


_keep_renewals = upsert("renewals", "patient_id rx_id", "drug_name needed_by reason")


async def save_renewals(db: Db, events: Sequence[RenewalNeeded]) -> None:
    await _keep_renewals(
        db,
        [row(event, "patient_id rx_id drug_name needed_by reason") for event in events],
    )


_keep_forecasts = upsert("forecasts", "store_id", "revision content", newer="revision")


async def save_forecasts(db: Db, events: Sequence[DemandForecast]) -> None:
    await _keep_forecasts(db, [row(event, "store_id revision", content=event) for event in events])


# ---- what outreach says

_keep_confirmed = upsert(
    "visits",
    "visit_id",
    "patient_id store_id kind on answer answered_at answer_revision wanted declined_rx_ids conditional_rx_ids",
    first="patient_id store_id kind on",
)


async def save_confirmed(db: Db, events: Sequence[PickupConfirmed], times: Times) -> None:
    await _keep_confirmed(
        db,
        [
            row(
                event,
                "visit_id patient_id store_id on declined_rx_ids",
                kind=event.visit_kind,
                answer="confirmed",
                answered_at=times[event.patient_id],
                answer_revision=event.plan_revision,
                wanted=len(event.items),
                conditional_rx_ids=[item.rx_id for item in event.items if item.condition],
            )
            for event in events
        ],
    )


_keep_answers = upsert(
    "visits",
    "visit_id",
    "patient_id on answer answered_at answer_revision wanted_on attempts",
    first="patient_id on",
)


async def save_answers(
    db: Db,
    answer: str,
    events: Sequence[PickupDeclined | RescheduleRequested | PatientUnreached],
    times: Times,
) -> None:
    """Keep an answer other than a confirmation, in place of an earlier one."""
    await _keep_answers(
        db,
        [
            {
                "visit_id": event.visit_id,
                "patient_id": event.patient_id,
                "on": event.on if isinstance(event, PickupDeclined) else None,
                "answer": answer,
                "answered_at": times[event.patient_id],
                "answer_revision": event.plan_revision,
                "wanted_on": event.wanted_on if isinstance(event, RescheduleRequested) else None,
                "attempts": event.attempts if isinstance(event, PatientUnreached) else None,
            }
            for event in events
        ],
    )


_keep_unreached = upsert("patients", "patient_id", "unreached_revision")
_keep_questions = upsert("patients", "patient_id", "question_at")
_keep_opt_outs = upsert("patients", "patient_id", "opted_out_at")
_keep_known_opt_outs = upsert("patients", "patient_id", "opted_out_at", first="opted_out_at")


async def save_unreached_alignments(db: Db, events: Sequence[PatientUnreached]) -> None:
    """Keep about which revision of the plan nobody could be reached."""
    await _keep_unreached(
        db, [{"patient_id": event.patient_id, "unreached_revision": event.plan_revision} for event in events]
    )


async def save_questions(db: Db, times: Times) -> None:
    """Keep when the patient last asked for the pharmacist."""
    await _keep_questions(db, [{"patient_id": each, "question_at": at} for each, at in times.items()])


async def save_opt_outs(db: Db, times: Times, *, again: bool = False) -> None:
    """Keep when the patient last said stop; where that is only told `again`, the time that is held."""
    keep = _keep_known_opt_outs if again else _keep_opt_outs
    await keep(db, [{"patient_id": each, "opted_out_at": at} for each, at in times.items()])


_keep_renewals_asked = upsert("renewals", "patient_id rx_id", "asked")
_keep_renewal_answers = upsert("renewals", "patient_id rx_id", "answer")


async def end_opt_outs(db: Db, patient_ids: Collection[str]) -> None:
    """These patients said stop, and take it back."""
    await db.execute("update patients set opted_out_at = null where patient_id = any($1)", list(patient_ids))


async def save_renewals_asked(db: Db, events: Sequence[RenewalRequested]) -> None:
    await _keep_renewals_asked(
        db,
        [row(event, "patient_id rx_id", asked=event.attempt) for event in events],
    )


async def save_renewal_answers(db: Db, events: Sequence[RenewalAnswered]) -> None:
    await _keep_renewal_answers(
        db,
        [row(event, "patient_id rx_id answer") for event in events],
    )


# ---- what fulfillment says

_keep_fills = upsert(
    "fills",
    "visit_id rx_id",
    "patient_id state reject_code next_fill_on",
    first="patient_id",
)


async def save_fills(db: Db, state: str, events: Sequence[FillCompleted | FillRejected | StockShort]) -> None:
    """Keep what came of a fill; a later word replaces an earlier one."""
    await _keep_fills(
        db,
        [
            row(
                event,
                "visit_id rx_id patient_id",
                state=state,
                reject_code=event.reject_code if isinstance(event, FillRejected) else None,
                next_fill_on=event.next_fill_on if isinstance(event, FillRejected) else None,
            )
            for event in events
        ],
    )


async def forget_fills(db: Db, resolved: Sequence[FillResolved]) -> None:
    """Drop what came of fills that are tried again; what is filled stays."""
    await db.execute(
        """
        delete from fills f
        using unnest($1::text[], $2::text[]) as again (visit_id, rx_id)
        where (f.visit_id, f.rx_id) = (again.visit_id, again.rx_id)
          and f.state <> 'filled'
        """,
        [event.visit_id for event in resolved],
        [event.rx_id for event in resolved],
    )


_keep_reopened = upsert(
    "visits", "visit_id", "patient_id store_id on package package_at", first="patient_id store_id on"
)
_keep_ready = upsert(
    "visits",
    "visit_id",
    "patient_id store_id on package package_at return_on not_filled",
    first="patient_id store_id on",
    given="package_at",
)


async def save_reopened(db: Db, events: Sequence[PackageReopened], times: Times) -> None:
    await _keep_reopened(db, [{**_package(event, "to_verify", times), "on": event.on} for event in events])


async def save_ready(db: Db, events: Sequence[PackageReady], times: Times) -> None:
    await _keep_ready(
        db,
        [
            {
                **_package(event, "ready", times),
                "on": event.on,
                "return_on": event.return_on,
                "not_filled": [item.reason for item in event.not_filled],
            }
            for event in events
        ],
    )


_keep_picked_up = upsert(
    "visits",
    "visit_id",
    "patient_id store_id package package_at handed_over_on taken not_filled",
    first="patient_id store_id",
)


async def save_picked_up(db: Db, events: Sequence[PackagePickedUp], times: Times) -> None:
    await _keep_picked_up(
        db,
        [
            {
                **_package(event, "picked_up", times),
                "handed_over_on": event.handed_over_on,
                "taken": len(event.taken),
                "not_filled": [item.reason for item in event.not_filled],
            }
            for event in events
        ],
    )


_keep_returned = upsert(
    "visits",
    "visit_id",
    "patient_id store_id package package_at",
    first="patient_id store_id",
)


async def save_returned(db: Db, events: Sequence[PackageReturned], times: Times) -> None:
    await _keep_returned(db, [_package(event, "returned", times) for event in events])


def _package(
    event: PackageReady | PackageReopened | PackagePickedUp | PackageReturned, package: str, times: Times
) -> Row:
    return row(event, "visit_id patient_id store_id", package=package, package_at=times[event.patient_id])


_keep_missed = upsert("visits", "visit_id", "patient_id on days_late", first="patient_id on")


async def save_missed(db: Db, events: Sequence[PickupMissed]) -> None:
    await _keep_missed(
        db,
        [row(event, "visit_id patient_id on days_late") for event in events],
    )


_keep_consultations = upsert("visits", "visit_id", "patient_id consultation", first="patient_id")


async def save_consultations(db: Db, events: Sequence[ConsultationHeld]) -> None:
    await _keep_consultations(
        db,
        [row(event, "visit_id patient_id", consultation=event.outcome) for event in events],
    )
