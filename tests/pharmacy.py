"""The life of a small pharmacy as events: every type, every way a visit can go, with causes, on topics of a prefix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from shared.events import Event
from shared.events.base import Reason
from shared.events.enrollment import (
    CandidateEnd,
    CandidateIdentified,
    CandidateWithdrawn,
    CaregiversChanged,
    Channel,
    Consent,
    ConsentChanged,
    ContactDetailsChanged,
    DisenrolmentReason,
    Drug,
    Fill,
    OpenHours,
    PatientDisenrolled,
    PatientEnrolled,
    PatientErased,
    Phone,
    Prescription,
    Profile,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import (
    Consultation,
    ConsultationHeld,
    FillCompleted,
    FillRejected,
    FillResolved,
    ItemState,
    NotFilledItem,
    PackagedItem,
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PackageReturned,
    PickupMissed,
    Resolution,
    StockShort,
)
from shared.events.outreach import (
    AlignmentAgreed,
    ChangeReported,
    ConfirmedItem,
    ContactOptedIn,
    ContactOptedOut,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    QuestionRaised,
    RenewalAnswer,
    RenewalAnswered,
    RenewalRequested,
    ReportedChange,
    RescheduleRequested,
    VisitAnnounced,
)
from shared.events.planner import (
    Action,
    Condition,
    ConditionKind,
    DayDemand,
    DemandForecast,
    DrugDecision,
    DrugDemand,
    ExcludedPrescription,
    ExclusionsChanged,
    FillKind,
    OfferedDay,
    Participation,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    PlannedItem,
    RenewalNeeded,
    Step,
    Visit,
    VisitKind,
)
from shared.messaging.envelope import payload_of
from shared.sealing import Sealer
from tests.running import SEALING_KEY, producing, record

TODAY = date(2026, 10, 8)
NOW = datetime(2026, 10, 8, 15, tzinfo=UTC)
FAMILY_NAME = "Zwetschgenbaum"
"""Found nowhere but where a name was revealed."""

DRUGS = (("Lisinopril 10 MG Oral Tablet", "lisinopril"), ("Metformin 500 MG Oral Tablet", "metformin"))
ANCHOR_WORDS = Reason(
    code="anchor_best_of_year", params={"visits": 1, "short_fills": 1, "overrides": 0, "uncovered": 0}
)
YEAR_WORDS = Reason(
    code="year_ahead_and_before", params={"trips": 13, "before": 25, "short_fills": 1, "uncovered": 0}
)
FULL, SHORT = (
    Reason(code="item_full", params={"days": 30}),
    Reason(code="item_bridge", params={"days": 7, "until": TODAY.isoformat()}),
)
CONDITION = Condition(kind=ConditionKind.renewal, by="prescriber", needed_by=TODAY + timedelta(days=1))
LEFT_OUT = NotFilledItem(
    rx_id="rx-left-out",
    drug_name="drug",
    reason=Reason(code="condition_not_met", params=CONDITION.model_dump(mode="json")),
)


@dataclass(frozen=True, slots=True)
class Told:
    """An event, when it happened, and what it followed from: another's id, a command, due work."""

    event: Event
    at: datetime
    event_id: UUID
    cause: str
    correlation: str


def store(store_id: str = "s1", name: str = "Main Street Pharmacy") -> StoreChanged:
    hours = tuple(OpenHours(weekday=day, opens=time(9), closes=time(18)) for day in range(6))
    return StoreChanged(
        store_id=store_id, revision=1, name=name, state="OK", time_zone="America/Chicago", hours=hours
    )


def forecast(store_id: str, today: date) -> DemandForecast:
    day = DayDemand(on=today, quantity=Decimal(60), confirmed=Decimal("30.5"), fills=2, patients=2)
    return DemandForecast(
        store_id=store_id,
        revision=1,
        first_on=today,
        last_on=today + timedelta(days=13),
        drugs=(DrugDemand(code="1", drug_name=DRUGS[0][0], days=(day,)),),
    )


def pharmacy(patients: int, store_id: str = "s1", today: date = TODAY, spread: int = 5) -> list[Told]:
    """A store and its patients, each going one of eight ways, with pickups over so many days; as it happened."""
    told = [
        Told(
            store(store_id),
            _at(today, -60),
            uuid5(NAMESPACE_URL, store_id),
            "command:feed",
            f"feed-{store_id}",
        )
    ]
    told.append(
        Told(
            forecast(store_id, today),
            _at(today, 0),
            uuid5(NAMESPACE_URL, f"{store_id}/forecast"),
            "due:due_forecasts",
            f"forecast-{store_id}",
        )
    )
    for number in range(patients):
        told += life(
            f"{number:03x}{uuid5(NAMESPACE_URL, f'{store_id}/{number}').hex}"[:32],
            number,
            store_id,
            today,
            spread,
        )
    return sorted(told, key=lambda each: (each.at, each.event_id))


def life(patient_id: str, number: int, store_id: str, today: date, spread: int) -> list[Told]:
    """One patient's events, each with its cause."""
    return list(_Life(patient_id, number, store_id, today, spread).events())


class _Life:
    def __init__(self, patient_id: str, number: int, store_id: str, today: date, spread: int) -> None:
        self.patient_id, self.number, self.store_id, self.today = patient_id, number, store_id, today
        self.rx = [f"{patient_id[:6]}-{place}" for place in range(len(DRUGS))]
        self.anchor = today + timedelta(days=number % spread - 1 if number % 8 == 4 else number % spread)
        self.bridge_on = self.anchor - timedelta(days=7)
        self.visit, self.bridge = f"{patient_id}-sync", f"{patient_id}-bridge"
        self._made = 0

    def tell(self, event: Event, days: int, cause: Told | str) -> Told:
        """So many days from today; an effect keeps its cause's correlation."""
        self._made += 1
        event_id = uuid5(NAMESPACE_URL, f"{self.patient_id}/{self._made:03}")
        follows = isinstance(cause, Told)
        return Told(
            event,
            cause.at if follows else _at(self.today, days) + timedelta(minutes=self._made),
            event_id,
            str(cause.event_id) if follows else cause,
            cause.correlation if follows else f"{self.patient_id[:8]}-{self._made}",
        )

    def events(self) -> Iterator[Told]:
        reasons = (
            Reason(code="many_drugs", params={"drugs": 6}),
            Reason(code="missed_days", params={"days": 40}),
        )
        yield self.tell(
            CandidateIdentified(patient_id=self.patient_id, store_id=self.store_id, reasons=reasons),
            -40,
            "due:due_candidate_checks",
        )
        if self.number % 64 == 47:
            declined = CandidateWithdrawn(
                patient_id=self.patient_id, store_id=self.store_id, reason=CandidateEnd.declined
            )
            yield self.tell(declined, -39, "command:answer")
            yield self.tell(PatientErased(patient_id=self.patient_id), -38, "command:erase")
        if self.number % 16 == 15:
            return
        enrolled = self.tell(
            PatientEnrolled(
                patient_id=self.patient_id, revision=1, consent=Consent(given_at=NOW), profile=self.profile()
            ),
            -30,
            "command:consent",
        )
        yield enrolled
        yield self.tell(self.details(), -30, enrolled)
        if self.number % 16 == 14:
            blocked = PlanBlocked(
                patient_id=self.patient_id,
                revision=1,
                profile_revision=1,
                store_id=self.store_id,
                reasons=(Reason(code="nothing_to_synchronize"),),
            )
            yield self.tell(blocked, 0, enrolled)
            return
        yield self.tell(self.plan(1, agreed=False), 0, enrolled)
        if self.number % 16 == 13:
            return
        if self.number % 16 == 12:
            unreached = PatientUnreached(
                patient_id=self.patient_id, plan_id="plan-1", plan_revision=1, visit_id=None, attempts=3
            )
            yield self.tell(unreached, -5, "due:due_reviews")
            return
        agreed = self.tell(
            AlignmentAgreed(
                patient_id=self.patient_id, plan_id="plan-1", plan_revision=1, anchor_on=self.anchor
            ),
            -29,
            "command:outcome",
        )
        yield agreed
        yield self.tell(self.plan(2, agreed=True), 0, agreed)
        yield from self.bridge_visit()
        ways = (
            self.to_call,
            self.confirmed,
            self.rejected,
            self.declined,
            self.ready,
            self.moved,
            self.left,
            self.taken,
        )
        yield from ways[self.number % 8]()

    def bridge_visit(self) -> Iterator[Told]:
        """Came and went a week before."""
        yield self.tell(
            self.confirmation(self.bridge, "bridge", self.bridge_on, self.rx[:1]), -14, "command:outcome"
        )
        yield self.tell(self.filled(self.bridge, self.rx[0], 7), -11, "command:result")
        item = self.packaged(self.rx[0], 7)
        package = f"pkg-{self.bridge}"
        at = -10
        yield self.tell(
            PackageReady(
                patient_id=self.patient_id,
                store_id=self.store_id,
                package_id=package,
                plan_id="plan-1",
                visit_id=self.bridge,
                on=self.bridge_on,
                items=(item,),
                return_on=self.bridge_on + timedelta(days=7),
            ),
            at,
            "command:verify",
        )
        gone = self.tell(
            PackagePickedUp(
                patient_id=self.patient_id,
                store_id=self.store_id,
                package_id=package,
                plan_id="plan-1",
                visit_id=self.bridge,
                handed_over_on=self.bridge_on,
                taken=(item,),
            ),
            (self.bridge_on - self.today).days,
            "command:hand-over",
        )
        yield gone
        changed = ProfileChanged(
            patient_id=self.patient_id,
            revision=2,
            profile=self.profile(self.bridge_on),
            changes=("handed_over",),
            visit_id=self.bridge,
        )
        yield self.tell(changed, 0, gone)

    def to_call(self) -> Iterator[Told]:
        """Not confirmed; a renewal is wanted."""
        needed = RenewalNeeded(
            patient_id=self.patient_id,
            store_id=self.store_id,
            rx_id=self.rx[1],
            drug_name=DRUGS[1][0],
            prescriber_id="dr-1",
            needed_by=self.anchor + timedelta(days=3),
            reason=Reason(code="renewal_quantity", params={"left": "10"}),
        )
        yield self.tell(needed, -20, "due:due_reviews")
        left_out = Reason(code="staff_excluded", params={"by": "pharmacist", "made_on": str(self.today)})
        excluded = ExclusionsChanged(
            patient_id=self.patient_id,
            revision=1,
            excluded=(ExcludedPrescription(rx_id=self.rx[-1], reason=left_out),),
        )
        yield self.tell(excluded, -19, "command:ruling")
        asked = RenewalRequested(
            patient_id=self.patient_id, rx_id=self.rx[1], prescriber_id="dr-1", attempt=1
        )
        yield self.tell(asked, -19, "command:lease")
        amended = ConsentChanged(
            patient_id=self.patient_id,
            revision=3,
            store_id=self.store_id,
            consent=Consent(given_at=NOW, language="es", amended_at=NOW),
            changes=("language",),
        )
        yield self.tell(amended, -1, "command:consent")
        named = CaregiversChanged(
            patient_id=self.patient_id, revision=4, store_id=self.store_id, caregiver_ids=("caregiver-1",)
        )
        yield self.tell(named, -1, "command:caregivers")

    def confirmed(self) -> Iterator[Told]:
        """Half filled."""
        yield self.tell(
            self.confirmation(self.visit, "synchronized", self.anchor, self.rx), -5, "command:outcome"
        )
        yield self.tell(
            QuestionRaised(patient_id=self.patient_id, visit_id=self.visit), -5, "command:outcome"
        )
        yield self.tell(self.filled(self.visit, self.rx[0], 30), -2, "command:result")

    def rejected(self) -> Iterator[Told]:
        """One refused, one short."""
        yield self.tell(
            self.confirmation(self.visit, "synchronized", self.anchor, self.rx), -5, "command:outcome"
        )
        refused = FillRejected(
            patient_id=self.patient_id, visit_id=self.visit, rx_id=self.rx[0], reject_code="75"
        )
        yield self.tell(refused, -2, "command:result")
        short = StockShort(
            patient_id=self.patient_id, visit_id=self.visit, rx_id=self.rx[1], missing=Decimal(30)
        )
        yield self.tell(short, -2, "command:result")
        given_up = FillResolved(
            patient_id=self.patient_id,
            visit_id=self.visit,
            rx_id=self.rx[0],
            resolution=Resolution.given_up,
            try_number=1,
        )
        yield self.tell(given_up, -2, "command:resolution")
        answered = RenewalAnswered(
            patient_id=self.patient_id, rx_id=self.rx[1], answer=RenewalAnswer.approved
        )
        yield self.tell(answered, -1, "command:outcome")

    def declined(self) -> Iterator[Told]:
        declined = PickupDeclined(
            patient_id=self.patient_id, plan_id="plan-1", plan_revision=2, visit_id=self.visit, on=self.anchor
        )
        yield self.tell(declined, -4, "command:outcome")
        yield self.tell(
            ContactOptedOut(patient_id=self.patient_id, channel=Channel.phone), -4, "command:stop"
        )
        if self.number % 3 == 0:
            started = ContactOptedIn(patient_id=self.patient_id, channel=Channel.phone)
            yield self.tell(started, -3, "command:start")

    def ready(self) -> Iterator[Told]:
        """On the shelf; where the day is over, the patient did not come. One waits for a pharmacist again."""
        yield from self.package()
        if self.number % 64 == 36:
            reopened = PackageReopened(
                patient_id=self.patient_id,
                store_id=self.store_id,
                package_id=f"pkg-{self.visit}",
                plan_id="plan-1",
                visit_id=self.visit,
                on=self.anchor,
                items=tuple(self.packaged(rx_id, 30) for rx_id in self.rx),
            )
            yield self.tell(reopened, -1, "command:ruling")
            return
        if self.anchor < self.today:
            missed = PickupMissed(
                patient_id=self.patient_id,
                package_id=f"pkg-{self.visit}",
                plan_id="plan-1",
                visit_id=self.visit,
                on=self.anchor,
                days_late=(self.today - self.anchor).days,
            )
            yield self.tell(missed, 0, "due:due_missed_pickups")

    def moved(self) -> Iterator[Told]:
        announced = VisitAnnounced(
            patient_id=self.patient_id,
            plan_id="plan-1",
            plan_revision=2,
            visit_id=self.visit,
            on=self.anchor,
            channel=Channel.text,
        )
        yield self.tell(announced, -4, "command:outcome")
        wanted = RescheduleRequested(
            patient_id=self.patient_id,
            plan_id="plan-1",
            plan_revision=2,
            visit_id=self.visit,
            wanted_on=self.anchor + timedelta(days=1),
        )
        yield self.tell(wanted, -3, "command:outcome")
        change = ChangeReported(
            patient_id=self.patient_id,
            rx_id=self.rx[0],
            change=ReportedChange.on_hand,
            reported_on=self.today,
            days_left=4,
        )
        yield self.tell(change, -3, "command:outcome")

    def left(self) -> Iterator[Told]:
        """Left the program after the package had gone back."""
        yield from self.package()
        returned = PackageReturned(
            patient_id=self.patient_id,
            store_id=self.store_id,
            package_id=f"pkg-{self.visit}",
            plan_id="plan-1",
            visit_id=self.visit,
            items=(self.packaged(self.rx[0], 30),),
        )
        yield self.tell(returned, -1, "due:due_returns")
        gone = self.tell(
            PatientDisenrolled(patient_id=self.patient_id, revision=3, reason=DisenrolmentReason.revoked),
            -1,
            "command:leave",
        )
        yield gone
        cancelled = PlanCancelled(
            patient_id=self.patient_id, plan_id="plan-1", revision=3, reason=Reason(code="disenrolled")
        )
        yield self.tell(cancelled, 0, gone)

    def taken(self) -> Iterator[Told]:
        """Picked up, with the talk."""
        yield from self.package()
        items = tuple(self.packaged(rx_id, 30) for rx_id in self.rx)
        gone = self.tell(
            PackagePickedUp(
                patient_id=self.patient_id,
                store_id=self.store_id,
                package_id=f"pkg-{self.visit}",
                plan_id="plan-1",
                visit_id=self.visit,
                handed_over_on=self.today,
                taken=items,
            ),
            0,
            "command:hand-over",
        )
        yield gone
        talk = ConsultationHeld(patient_id=self.patient_id, visit_id=self.visit, outcome=Consultation.held)
        yield self.tell(talk, 0, "command:talk")

    def package(self) -> Iterator[Told]:
        yield self.tell(
            self.confirmation(self.visit, "synchronized", self.anchor, self.rx), -6, "command:outcome"
        )
        for rx_id in self.rx:
            yield self.tell(self.filled(self.visit, rx_id, 30), -3, "command:result")
        ready = PackageReady(
            patient_id=self.patient_id,
            store_id=self.store_id,
            package_id=f"pkg-{self.visit}",
            plan_id="plan-1",
            visit_id=self.visit,
            on=self.anchor,
            items=tuple(self.packaged(rx_id, 30) for rx_id in self.rx),
            return_on=self.anchor + timedelta(days=7),
            not_filled=(LEFT_OUT,) if self.number % 16 == 4 else (),
        )
        yield self.tell(ready, -2, "command:verify")

    # ---- parts of events

    def profile(self, bridged_on: date | None = None) -> Profile:
        fills = [
            self.fill(rx_id, self.today - timedelta(days=35 + place)) for place, rx_id in enumerate(self.rx)
        ]
        if bridged_on:
            fills.append(self.fill(self.rx[0], bridged_on, 7))
        return Profile(
            store_id=self.store_id,
            prescriptions=tuple(
                Prescription(
                    rx_id=rx_id,
                    drug=Drug(code="1", name=name, ingredient=ingredient),
                    usual_quantity=Decimal(30),
                    usual_days=30,
                    units_per_day=Decimal(1),
                    quantity_left=Decimal(90),
                    written_on=self.today - timedelta(days=90),
                    expires_on=self.today + timedelta(days=275),
                    prescriber_id="dr-1",
                )
                for rx_id, (name, ingredient) in zip(self.rx, DRUGS, strict=True)
            ),
            fills=tuple(fills),
        )

    def fill(self, rx_id: str, on: date, days: int = 30) -> Fill:
        return Fill(
            fill_id=f"{rx_id}/{on}",
            rx_id=rx_id,
            filled_on=on - timedelta(days=1),
            handed_over_on=on,
            quantity=Decimal(days),
            days_supply=days,
        )

    def details(self) -> ContactDetailsChanged:
        return ContactDetailsChanged(
            patient_id=self.patient_id,
            revision=1,
            given_name="Ada",
            family_name=FAMILY_NAME,
            birth_date=date(1950, 5, 1),
            phones=(Phone(number="+19185550100"),),
        )

    def plan(self, revision: int, *, agreed: bool) -> PlanComputed:
        def item(place: int, kind: FillKind, days: int) -> PlannedItem:
            return PlannedItem(
                rx_id=self.rx[place],
                drug_name=DRUGS[place][0],
                kind=kind,
                quantity=Decimal(days),
                days_supply=days,
                condition=CONDITION if place == 1 and self.number % 16 == 9 else None,
                reason=SHORT if kind is FillKind.bridge else FULL,
            )

        return PlanComputed(
            patient_id=self.patient_id,
            plan_id="plan-1",
            revision=revision,
            profile_revision=1,
            cycle=1,
            store_id=self.store_id,
            computed_on=self.today - timedelta(days=30),
            anchor_on=self.anchor,
            next_anchor_on=self.anchor + timedelta(days=30),
            agreed=agreed,
            visits=(
                Visit(
                    visit_id=self.bridge,
                    kind=VisitKind.bridge,
                    on=self.bridge_on,
                    items=(item(0, FillKind.bridge, 7),),
                ),
                Visit(
                    visit_id=self.visit,
                    kind=VisitKind.synchronized,
                    on=self.anchor,
                    urgent=self.number % 16 == 8,
                    items=(item(0, FillKind.full, 30), item(1, FillKind.full, 30)),
                    steps=(
                        Step(code="call", on=self.anchor - timedelta(days=7), by="clerk"),
                        Step(code="fill", on=self.anchor - timedelta(days=3), by="technician"),
                    ),
                ),
            ),
            drugs=tuple(
                DrugDecision(
                    rx_id=rx_id,
                    drug_name=name,
                    participation=Participation.sync,
                    action=Action.bridge if place == 0 else Action.early,
                    run_out_on=self.today - timedelta(days=5),
                    reasons=(Reason(code="maintenance"),),
                )
                for place, (rx_id, (name, _)) in enumerate(zip(self.rx, DRUGS, strict=True))
            ),
            offered=(
                OfferedDay(
                    on=self.anchor,
                    visits_before=1,
                    short_fills=1,
                    uncovered_days=0,
                    reason=Reason(code="offered", params={"visits": 1, "short_fills": 1, "uncovered": 0}),
                ),
            ),
            short_fills=1,
            reasons=(ANCHOR_WORDS, YEAR_WORDS),
        )

    def confirmation(self, visit: str, kind: str, on: date, rx_ids: Sequence[str]) -> PickupConfirmed:
        return PickupConfirmed(
            patient_id=self.patient_id,
            store_id=self.store_id,
            plan_id="plan-1",
            plan_revision=2,
            visit_id=visit,
            visit_kind=kind,
            on=on,
            items=tuple(
                ConfirmedItem(
                    rx_id=rx_id,
                    drug_name="drug",
                    quantity=Decimal(30),
                    days_supply=30,
                    condition=CONDITION if rx_id == self.rx[1] and self.number % 16 == 9 else None,
                )
                for rx_id in rx_ids
            ),
        )

    def filled(self, visit: str, rx_id: str, days: int) -> FillCompleted:
        return FillCompleted(
            patient_id=self.patient_id,
            visit_id=visit,
            rx_id=rx_id,
            fill_id=f"{visit}/{rx_id}",
            filled_on=self.today - timedelta(days=2),
            quantity=Decimal(days),
            days_supply=days,
        )

    def packaged(self, rx_id: str, days: int) -> PackagedItem:
        return PackagedItem(
            rx_id=rx_id, drug_name="drug", state=ItemState.filled, quantity=Decimal(days), days_supply=days
        )


def as_record(told: Told) -> dict[str, object]:
    """Key, value and headers, as the owner's relay would send it; sealed where the event says so."""
    payload, seal = payload_of(told.event, Sealer(SEALING_KEY, key_id="1"))
    sent = record(
        told.event,
        event_id=told.event_id,
        ce_time=told.at.isoformat(),
        ce_correlationid=told.correlation,
        ce_causationid=told.cause,
        **seal,
    )
    return sent | {"value": payload}


async def publish_all(bootstrap: str, told: Iterable[Told], *, prefix: str) -> None:
    """Put it all on the topics, in this order."""
    async with producing(bootstrap) as producer:
        for each in told:
            await producer.send(prefix + each.event.TOPIC, **as_record(each))
        await producer.flush()


def _at(today: date, days: int) -> datetime:
    return datetime.combine(today, time(14), UTC) + timedelta(days=days)
