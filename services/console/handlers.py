"""What the console takes in: everything. Each handler keeps the facts that its pages show; nothing is decided here.

Nothing depends on the order between topics: a fact about a visit or patient that is not known yet makes its row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from services.console.domain.lines import Line
from services.console.store import writes
from services.console.store.forgetting import PERSONAL
from shared import words
from shared.events import Event
from shared.events.enrollment import (
    CandidateIdentified,
    CandidateWithdrawn,
    CaregiversChanged,
    ConsentChanged,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    PatientErased,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import (
    PUT_RIGHT,
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
    AlignmentAgreed,
    ChangeReported,
    ContactOptedIn,
    ContactOptedOut,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    QuestionRaised,
    RenewalAnswered,
    RenewalRequested,
    RescheduleRequested,
    VisitAnnounced,
)
from shared.events.planner import (
    DemandForecast,
    ExclusionsChanged,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    RenewalNeeded,
)
from shared.events.tombstones import ContactDetailsForgotten
from shared.messaging import Handlers, Unit
from shared.messaging.envelope import Delivery
from shared.messaging.forgetting import forget

on = Handlers()

E = TypeVar("E", bound=Event)
Handler = Callable[[Sequence[E], Unit], Awaitable[None]]


def shown(event: type[E]) -> Callable[[Handler[E]], Handler[E]]:
    """`@on(event)`, and around it what every handler here does: take the turn first, add the stream's lines last: of
    news alone."""

    def register(handler: Handler[E]) -> Handler[E]:
        @on(event)
        async def take(events: Sequence[E], unit: Unit) -> None:
            await writes.take_turn(unit.db)
            await handler(events, unit)
            await writes.append_lines(
                unit.db, [line_of(each, unit.origin(each)) for each in unit.news(events)]
            )

        return handler

    return register


def line_of(event: Event, came: Delivery) -> Line:
    """The event as one line of the stream: its envelope, its place, and itself in words that name nobody."""
    _, service, kind, _ = event.TYPE.split(".")
    about_store = event.KEYED_BY == "store"
    return Line(
        event_id=came.event_id,
        service=service,
        kind=kind,
        at=came.at,
        patient_id=None if about_store else event.key,
        store_id=event.key if about_store else None,
        correlation_id=came.correlation_id,
        causation_id=came.causation_id,
        topic=came.record.topic,
        partition=came.record.partition,
        offset=came.record.offset,
        words=words.tell(event),
        rx_id=getattr(event, "rx_id", None),
    )


# ---- enrollment -----------------------------------------------------------------------------------------------


@shown(CandidateIdentified)
async def take_candidate(events: Sequence[CandidateIdentified], unit: Unit) -> None:
    """Keep who would benefit, and why."""
    await writes.save_candidates(unit.db, events, _times(events, unit))


@shown(CandidateWithdrawn)
async def take_no_candidate(events: Sequence[CandidateWithdrawn], unit: Unit) -> None:
    """Keep who is no candidate any more, and why."""
    await writes.save_no_candidates(unit.db, events, _times(events, unit))


@shown(PatientEnrolled)
async def take_patient(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    """Keep who is enrolled, with the whole profile."""
    await writes.save_enrolled(unit.db, events, _times(events, unit))


@shown(ConsentChanged)
async def take_consent(events: Sequence[ConsentChanged], unit: Unit) -> None:
    """Keep what the patient now agrees to."""
    await writes.save_consents(unit.db, events, _times(events, unit))


@shown(CaregiversChanged)
async def take_caregivers(events: Sequence[CaregiversChanged], unit: Unit) -> None:
    """A line alone: nobody but staff signs in here."""


@shown(ProfileChanged)
async def take_profile(events: Sequence[ProfileChanged], unit: Unit) -> None:
    """Keep the newest profile."""
    await writes.save_profiles(unit.db, events, _times(events, unit))


@shown(PatientDisenrolled)
async def take_leave(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    """Keep who is no longer enrolled."""
    await writes.save_left(unit.db, events, _times(events, unit))


@shown(ContactDetailsChanged)
async def take_details(events: Sequence[ContactDetailsChanged], unit: Unit) -> None:
    """Keep names and numbers apart, sealed."""
    await writes.save_sealed(unit.db, unit.keys, events)


@shown(PatientErased)
async def forget_patients(events: Sequence[PatientErased], unit: Unit) -> None:
    """Destroy what says who these patients are; what was on its way is taken by the tombstone behind it."""
    await forget(unit, PERSONAL, [event.patient_id for event in events], for_good=False)


@shown(ContactDetailsForgotten)
async def forget_details(events: Sequence[ContactDetailsForgotten], unit: Unit) -> None:
    """Nothing of these patients comes any more behind it: they are forgotten for good."""
    await forget(unit, PERSONAL, [event.patient_id for event in events])


@shown(StoreChanged)
async def take_store(events: Sequence[StoreChanged], unit: Unit) -> None:
    """Keep the store's name, zone and days."""
    await writes.save_stores(unit.db, events)


# ---- planner --------------------------------------------------------------------------------------------------


@shown(PlanComputed)
async def take_plan(events: Sequence[PlanComputed], unit: Unit) -> None:
    """Keep every revision, and the visits of the newest."""
    await writes.save_plans(
        unit.db, [("agreed" if each.agreed else "proposed", each, unit.origin(each)) for each in events]
    )
    await writes.save_visits(unit.db, events)


@shown(PlanBlocked)
async def take_blocked(events: Sequence[PlanBlocked], unit: Unit) -> None:
    """Keep why there is no plan."""
    await writes.save_plans(unit.db, [("blocked", each, unit.origin(each)) for each in events])


@shown(PlanCancelled)
async def take_cancelled(events: Sequence[PlanCancelled], unit: Unit) -> None:
    """Keep that the plan was withdrawn."""
    await writes.save_plans(unit.db, [("cancelled", each, unit.origin(each)) for each in events])


@shown(ExclusionsChanged)
async def take_exclusions(events: Sequence[ExclusionsChanged], unit: Unit) -> None:
    """A line alone: the plan says it of each drug."""


@shown(RenewalNeeded)
async def take_renewal(events: Sequence[RenewalNeeded], unit: Unit) -> None:
    """Keep what has to be renewed, and by when."""
    await writes.save_renewals(unit.db, events)


@shown(DemandForecast)
async def take_forecast(events: Sequence[DemandForecast], unit: Unit) -> None:
    """Keep what each store's shelf has to hold."""
    await writes.save_forecasts(unit.db, events)


# ---- outreach -------------------------------------------------------------------------------------------------


@shown(AlignmentAgreed)
async def take_agreement(events: Sequence[AlignmentAgreed], unit: Unit) -> None:
    """A line alone: the planner publishes the plan again, agreed."""


@shown(PickupConfirmed)
async def take_confirmed(events: Sequence[PickupConfirmed], unit: Unit) -> None:
    """Keep what the patient wants of the visit."""
    await writes.save_confirmed(unit.db, events, _times(events, unit))


@shown(PickupDeclined)
async def take_declined(events: Sequence[PickupDeclined], unit: Unit) -> None:
    """Keep that the patient wants nothing of the visit."""
    await writes.save_answers(unit.db, "declined", events, _times(events, unit))


@shown(RescheduleRequested)
async def take_wanted_day(events: Sequence[RescheduleRequested], unit: Unit) -> None:
    """Keep the day that the patient asked for."""
    await writes.save_answers(unit.db, "moved", events, _times(events, unit))


@shown(PatientUnreached)
async def take_unreached(events: Sequence[PatientUnreached], unit: Unit) -> None:
    """Keep that nobody was reached: about the visit, or about the alignment itself."""
    await writes.save_answers(
        unit.db, "unreached", [each for each in events if each.visit_id], _times(events, unit)
    )
    await writes.save_unreached_alignments(unit.db, [each for each in events if not each.visit_id])


@shown(ChangeReported)
async def take_change(events: Sequence[ChangeReported], unit: Unit) -> None:
    """A line alone: enrollment's profile follows."""


@shown(VisitAnnounced)
async def take_announcement(events: Sequence[VisitAnnounced], unit: Unit) -> None:
    """A line alone: nothing is decided by it."""


@shown(QuestionRaised)
async def take_question(events: Sequence[QuestionRaised], unit: Unit) -> None:
    """Keep when the patient last asked for the pharmacist."""
    await writes.save_questions(unit.db, _times(events, unit))


@shown(ContactOptedOut)
async def take_opt_out(events: Sequence[ContactOptedOut], unit: Unit) -> None:
    """Keep that the patient said stop."""
    news = unit.news(events)
    await writes.save_opt_outs(unit.db, _times(news, unit))
    again = {each.key: unit.origin(each).at for each in events if each not in news}
    await writes.save_opt_outs(unit.db, again, again=True)


@shown(ContactOptedIn)
async def take_opt_in(events: Sequence[ContactOptedIn], unit: Unit) -> None:
    """The patient wants contact again."""
    await writes.end_opt_outs(unit.db, [event.patient_id for event in events])


@shown(RenewalRequested)
async def take_renewal_request(events: Sequence[RenewalRequested], unit: Unit) -> None:
    """Keep how often the prescriber was asked."""
    await writes.save_renewals_asked(unit.db, events)


@shown(RenewalAnswered)
async def take_renewal_answer(events: Sequence[RenewalAnswered], unit: Unit) -> None:
    """Keep what came of it."""
    await writes.save_renewal_answers(unit.db, events)


# ---- fulfillment ----------------------------------------------------------------------------------------------


@shown(FillCompleted)
async def take_fill(events: Sequence[FillCompleted], unit: Unit) -> None:
    """Keep that a fill is made."""
    await writes.save_fills(unit.db, "filled", events)


@shown(FillRejected)
async def take_rejected(events: Sequence[FillRejected], unit: Unit) -> None:
    """Keep that the payer refused a fill, and its reject code."""
    await writes.save_fills(unit.db, "rejected", events)


@shown(StockShort)
async def take_short(events: Sequence[StockShort], unit: Unit) -> None:
    """Keep that the store has too little for a fill."""
    await writes.save_fills(unit.db, "short", events)


@shown(FillResolved)
async def take_resolution(events: Sequence[FillResolved], unit: Unit) -> None:
    """A fill that is tried again is refused or short no more."""
    await writes.forget_fills(
        unit.db,
        [event for event in events if event.resolution in PUT_RIGHT],
    )


@shown(PackageReady)
async def take_package(events: Sequence[PackageReady], unit: Unit) -> None:
    """Keep that the package waits, and until when."""
    await writes.save_ready(unit.db, events, _times(events, unit))


@shown(PackageReopened)
async def take_reopened(events: Sequence[PackageReopened], unit: Unit) -> None:
    """Keep that the package waits for a pharmacist again."""
    await writes.save_reopened(unit.db, events, _times(events, unit))


@shown(PackagePickedUp)
async def take_pickup(events: Sequence[PackagePickedUp], unit: Unit) -> None:
    """Keep that it was handed over."""
    await writes.save_picked_up(unit.db, events, _times(events, unit))


@shown(PickupMissed)
async def take_missed(events: Sequence[PickupMissed], unit: Unit) -> None:
    """Keep how late the patient is."""
    await writes.save_missed(unit.db, events)


@shown(PackageReturned)
async def take_returned(events: Sequence[PackageReturned], unit: Unit) -> None:
    """Keep that it went back to stock."""
    await writes.save_returned(unit.db, events, _times(events, unit))


@shown(ConsultationHeld)
async def take_consultation(events: Sequence[ConsultationHeld], unit: Unit) -> None:
    """Keep whether there was a talk."""
    await writes.save_consultations(unit.db, events)


def _times(events: Sequence[Event], unit: Unit) -> writes.Times:
    """The business time of each event's patient's event. None of what is only told again: the time held stays."""
    times: dict[str, datetime | None] = dict.fromkeys((each.key for each in events), None)
    return times | {each.key: unit.origin(each).at for each in unit.news(events)}
