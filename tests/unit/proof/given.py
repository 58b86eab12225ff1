"""A small history in which everything is right: one patient from enrollment to leaving, and what all services keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from cli.proof import contract as c
from cli.proof.record import (
    Attempt,
    Confirmation,
    Console,
    Enrollment,
    Event,
    Fabric,
    Fulfillment,
    HeldFill,
    Item,
    Line,
    Order,
    Outreach,
    Plan,
    Planner,
    Record,
    Said,
    Standing,
)

PATIENT, STORE = "patient-1", "store-1"
START = datetime(2009, 10, 1, 9, tzinfo=UTC)
PICKED_UP_ON = date(2009, 10, 10)
DRUG = Item("rx-1", Decimal(30), 30)
SHORT, REJECTED = Item("rx-2", Decimal(60), 30), Item("rx-3", Decimal(10), 10)
WANTED = (DRUG, SHORT, REJECTED)
FILL = DRUG._replace(fill_id="fill-1")
PACKED = FILL._replace(state="filled")


def day(number: float) -> datetime:
    """So many days into the history."""
    return START + timedelta(days=number)


class Story:
    """Puts events on their topics in the order told."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self._sequences: dict[str, int] = {}
        self._offsets: dict[str, int] = {}

    def tell(self, label: str, event_type: str, at: datetime, *, cause: str, **says: Any) -> None:
        """`cause` is the label of an event, or `command:…` and the like."""
        topic = next(topic for topic, types in c.TOPICS.items() if event_type in types)
        source = f"medsync/{c.owner(topic)}"
        self._sequences[source] = self._sequences.get(source, 0) + 1
        self._offsets[topic] = self._offsets.get(topic, -1) + 1
        subject = says.setdefault("subject", PATIENT)
        self.events[label] = Event(
            topic=topic,
            partition=0,
            offset=self._offsets[topic],
            key=subject,
            id=label,
            type=event_type,
            source=source,
            sequence=self._sequences[source],
            at=at,
            cause=cause,
            whole=hash(label),
            payload=hash(repr(sorted(says.items()))),
            flaws=(),
            says=Said(**says),
        )


def events() -> dict[str, Event]:
    """By label, which is the id."""
    story = Story()
    tell = story.tell
    visit: dict[str, Any] = {"plan_id": "plan-1", "plan_revision": 1, "visit_id": "visit-1"}
    package: dict[str, Any] = {"plan_id": "plan-1", "visit_id": "visit-1", "package_id": "package-1"}

    tell("store", c.STORE_CHANGED, day(0), cause="command:feed", subject=STORE, revision=1)
    tell("enrolled", c.PATIENT_ENROLLED, day(0), cause="command:consent", revision=1, given_at=day(0))
    tell("details", c.CONTACT_DETAILS_CHANGED, day(0), cause="command:consent")
    plan: dict[str, Any] = {"plan_id": "plan-1", "visits": {"visit-1": WANTED}}
    tell("planned", c.PLAN_COMPUTED, day(0), cause="enrolled", revision=1, **plan)
    tell("agreed", c.ALIGNMENT_AGREED, day(1), cause="command:call-1", plan_id="plan-1", plan_revision=1)
    tell("confirmed", c.PICKUP_CONFIRMED, day(2), cause="command:call-2", items=WANTED, **visit)
    tell("excluded", c.EXCLUSIONS_CHANGED, day(5), cause="command:rule", revision=1)
    fill: dict[str, Any] = {"rx_id": "rx-1", "fill_id": "fill-1", "quantity": Decimal(30), "days_supply": 30}
    tell("filled", c.FILL_COMPLETED, day(6), cause="command:fill", visit_id="visit-1", **fill)
    tell("short", c.STOCK_SHORT, day(6), cause="command:short", visit_id="visit-1", rx_id="rx-2")
    tell("rejected", c.FILL_REJECTED, day(6), cause="command:reject", visit_id="visit-1", rx_id="rx-3")
    tell("ready", c.PACKAGE_READY, day(7), cause="command:verify", items=(PACKED,), **package)
    tell(
        "picked-up",
        c.PACKAGE_PICKED_UP,
        day(9),
        cause="command:desk",
        items=(PACKED,),
        on=PICKED_UP_ON,
        **package,
    )
    tell("talk", c.CONSULTATION_HELD, day(9), cause="command:talk", visit_id="visit-1", detail="held")
    tell("changed", c.PROFILE_CHANGED, day(9), cause="picked-up", revision=2, visit_id="visit-1")
    tell("replanned", c.PLAN_COMPUTED, day(9), cause="changed", revision=2, plan_id="plan-2")
    tell("renewal", c.RENEWAL_NEEDED, day(9), cause="changed", rx_id="rx-1")
    tell("asked", c.RENEWAL_REQUESTED, day(10), cause="command:lease", rx_id="rx-1")
    tell(
        "stopped",
        c.CHANGE_REPORTED,
        day(11),
        cause="command:call-3",
        rx_id="rx-1",
        detail="stopped",
        on=PICKED_UP_ON,
    )
    tell("opted-out", c.CONTACT_OPTED_OUT, day(12), cause="command:call-4", detail="phone")
    tell("left", c.PATIENT_DISENROLLED, day(20), cause="command:leave", revision=3)
    tell("cancelled", c.PLAN_CANCELLED, day(20), cause="left", revision=3, plan_id="plan-2")
    return story.events


def history(given: Iterable[Event] | None = None) -> Record:
    """The record of it; with other events, the inboxes follow them and the tables stay."""
    told = list(events().values() if given is None else given)
    return Record(
        events=sorted(told, key=lambda event: (event.topic, event.partition, event.offset)),
        fabrics={service: Fabric(inbox=inbox_of(service, told)) for service in c.TAKES},
        held={
            ("planner", "patients"): {PATIENT: 3},
            ("planner", "stores"): {STORE: 1},
            ("outreach", "patients"): {PATIENT: 3},
            ("outreach", "plans"): {PATIENT: 3},
            ("outreach", "stores"): {STORE: 1},
            ("outreach", "details"): {PATIENT: 1},
            ("fulfillment", "patients"): {PATIENT: 3},
            ("fulfillment", "plans"): {PATIENT: 3},
            ("fulfillment", "exclusions"): {PATIENT: 1},
            ("fulfillment", "stores"): {STORE: 1},
            ("fulfillment", "contacts"): {PATIENT: 1},
        },
        enrollment=Enrollment(
            patients={PATIENT: Standing("disenrolled", 3)},
            fills={
                "fill-0": HeldFill("rx-1", Decimal(30), 30, date(2009, 9, 1), fed=True),
                "fill-1": HeldFill("rx-1", Decimal(30), 30, PICKED_UP_ON, fed=False),
            },
            opt_outs=frozenset({(PATIENT, "phone")}),
            changes=frozenset({("rx-1", "stopped", PICKED_UP_ON)}),
        ),
        planner=Planner(
            plans={PATIENT: Plan(3, "gone", "plan-2")},
            answers=Counter(
                [
                    (PATIENT, c.ALIGNMENT_AGREED, "plan-1", 1, ""),
                    (PATIENT, c.PICKUP_CONFIRMED, "plan-1", 1, "visit-1"),
                ]
            ),
            rejections=frozenset({(PATIENT, "rx-3")}),
            renewals=frozenset({(PATIENT, "rx-1")}),
        ),
        outreach=Outreach(
            attempts=(
                attempt(1, c.ALIGNMENT_AGREED),
                attempt(2, c.PICKUP_CONFIRMED),
                attempt(11, c.CHANGE_REPORTED),
                attempt(10, kind="renewal"),
            ),
            opt_outs=frozenset({PATIENT}),
            renewals=frozenset({(PATIENT, "rx-1")}),
        ),
        fulfillment=Fulfillment(
            confirmations=(Confirmation("visit-1", PATIENT, 1, frozenset(WANTED), live=True),),
            orders={"visit-1": Order(PATIENT, "package-1", "picked_up", PICKED_UP_ON)},
            lines=(
                Line("visit-1", FILL, "filled", rejected=False, short=False),
                Line("visit-1", SHORT, "short", rejected=False, short=True),
                Line("visit-1", REJECTED, "rejected", rejected=True, short=False),
            ),
            consultations=frozenset({"visit-1"}),
        ),
        console=Console(inbox_of("console", told)),
    )


def inbox_of(service: str, told: Iterable[Event]) -> frozenset[str]:
    return frozenset(event.id for event in told if event.type in c.TAKES[service])


def attempt(on: float, *led_to: str, kind: str = "confirmation", made_by: str = "dialler") -> Attempt:
    """An attempt to reach the patient so many days into the history, reported at once."""
    return Attempt(f"lease-{on}", PATIENT, kind, made_by, day(on), day(on), led_to)


def with_events(**changed: Event | None) -> Record:
    """The history with some events other than they were, missing (none) or added; labels with _ for -."""
    told = events()
    for label, event in changed.items():
        name = label.replace("_", "-")
        if event is None:
            del told[name]
        else:
            told[name] = event
    return history(told.values())


def altered(label: str, **changes: Any) -> Event:
    """An event of the history, changed; what it says is changed by `says_…`."""
    event = events()[label]
    says = {
        name.removeprefix("says_"): changes.pop(name) for name in list(changes) if name.startswith("says_")
    }
    return replace(event, **changes, says=replace(event.says, **says))


def again(label: str, **changes: Any) -> Event:
    """Another event, at the end of the topic, that says the same but for what is changed."""
    event = events()[label]
    changes = {
        "id": f"{label}-again",
        "offset": event.offset + 100,
        "sequence": event.sequence + 100,
    } | changes
    return altered(label, **changes)
