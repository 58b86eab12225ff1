"""Fulfillment on a real database: from the confirmation to the hand-over, or back to the shelf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local import Addresses
from services.fulfillment import handlers, jobs
from services.fulfillment.app import create_app
from services.fulfillment.commands import counter
from services.fulfillment.domain import PackageStatus, WorkOrder
from services.fulfillment.settings import Settings
from services.fulfillment.store import reads
from services.fulfillment.store.forgetting import PERSONAL
from shared import words
from shared.clock import SteppedClock
from shared.events import Event
from shared.events.base import Reason
from shared.events.enrollment import (
    Consent,
    ConsentChanged,
    ContactDetailsChanged,
    DisenrolmentReason,
    OpenHours,
    PatientDisenrolled,
    PatientEnrolled,
    Profile,
    StoreChanged,
)
from shared.events.fulfillment import (
    TOPIC,
    ConsultationHeld,
    FillCompleted,
    FillRejected,
    PackagePickedUp,
    PackageReady,
    PackageReturned,
    PickupMissed,
    StockShort,
)
from shared.events.outreach import ConfirmedItem, PickupConfirmed
from shared.events.planner import (
    Condition,
    ConditionKind,
    DrugDecision,
    ExcludedPrescription,
    ExclusionsChanged,
    FillKind,
    Participation,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    PlannedItem,
    Step,
    Visit,
    VisitKind,
)
from shared.messaging import Refused, patient
from shared.messaging.forgetting import how_far
from shared.messaging.topics import create_topics
from shared.messaging.unit import Cause
from shared.problems import Conflict, Invalid, NotFound
from tests.running import SEALING_KEY, at_rest, everything_on, publish, running, tell
from tests.without_broker import Unbrokered, without_broker

NOW = datetime(2026, 10, 8, 15, tzinfo=UTC)
VISIT_ON = date(2026, 10, 14)
DUE = datetime(2026, 10, 11, 13, tzinfo=UTC)  # nine in New York, three days before
BECAUSE = Reason(code="due")
RX = ("rx-a", "rx-b")
RENEWED = Condition(kind=ConditionKind.renewal, by="prescriber", needed_by=date(2026, 10, 9))
NOT_RENEWED = "Not filled: the prescriber did not renew it by Fri 10/9."


@pytest.fixture
async def service(fresh_database: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Unbrokered]:
    url = fresh_database("fulfillment")
    app = create_app(Settings(database_url=url, kafka_bootstrap="unused", sealing_key=SecretStr(SEALING_KEY)))
    async with without_broker(
        "fulfillment", app, handlers.on, jobs.due, url=url, now=NOW, folder=tmp_path
    ) as service:
        yield service


# ---- what arrives ----


def store(revision: int = 1, *, closed_on: Sequence[date] = ()) -> StoreChanged:
    hours = tuple(OpenHours(weekday=day, opens=time(8), closes=time(20)) for day in range(7))
    return StoreChanged(
        store_id="store-1",
        revision=revision,
        name="One",
        state="NY",
        time_zone="America/New_York",
        hours=hours,
        closed_on=tuple(closed_on),
    )


def enrolled(patient_id: str = "p1", revision: int = 1, *, caregiver: bool = False) -> PatientEnrolled:
    return PatientEnrolled(
        patient_id=patient_id,
        revision=revision,
        consent=Consent(given_at=NOW, caregiver=caregiver),
        profile=Profile(store_id="store-1"),
    )


def disenrolled(revision: int = 2, reason: str = "revoked") -> PatientDisenrolled:
    return PatientDisenrolled(patient_id="p1", revision=revision, reason=DisenrolmentReason(reason))


def planned(
    revision: int,
    *rx_ids: str,
    patient_id: str = "p1",
    profile: int = 1,
    discontinued: Sequence[str] = (),
    conditional: Mapping[str, Condition] | None = None,
    renewals: Mapping[str, str] | None = None,
    urgent: bool = False,
    at_counter: Sequence[str] = (),
) -> PlanComputed:
    """A plan of one visit with these items; without any it has no visit. `renewals`: by rx_id whose place it took."""
    items = tuple(
        PlannedItem(
            rx_id=rx,
            drug_name=f"drug {rx}",
            kind=FillKind.full,
            quantity=Decimal(30),
            days_supply=30,
            condition=(conditional or {}).get(rx),
            in_place_of=(renewals or {}).get(rx),
            at_counter=rx in at_counter,
            reason=BECAUSE,
        )
        for rx in rx_ids
    )
    drugs = tuple(
        DrugDecision(rx_id=rx, drug_name=f"drug {rx}", participation=Participation.sync, reasons=(BECAUSE,))
        for rx in RX
        if rx not in discontinued
    )
    visit = Visit(
        visit_id=f"visit-{patient_id}",
        kind=VisitKind.synchronized,
        on=VISIT_ON,
        items=items,
        urgent=urgent,
    )
    return PlanComputed(
        patient_id=patient_id,
        plan_id=f"plan-{revision}",
        revision=revision,
        profile_revision=profile,
        cycle=1,
        store_id="store-1",
        computed_on=NOW.date(),
        anchor_on=VISIT_ON,
        next_anchor_on=VISIT_ON + timedelta(30),
        agreed=True,
        visits=(visit,) if items else (),
        drugs=drugs,
    )


def confirmed(
    *rx_ids: str,
    patient_id: str = "p1",
    plan_revision: int = 1,
    conditional: Mapping[str, Condition] | None = None,
) -> PickupConfirmed:
    return PickupConfirmed(
        patient_id=patient_id,
        store_id="store-1",
        plan_id=f"plan-{plan_revision}",
        plan_revision=plan_revision,
        visit_id=f"visit-{patient_id}",
        visit_kind="synchronized",
        on=VISIT_ON,
        items=tuple(
            ConfirmedItem(
                rx_id=rx,
                drug_name=f"drug {rx}",
                quantity=Decimal("30.5"),
                days_supply=30,
                condition=(conditional or {}).get(rx),
            )
            for rx in rx_ids
        ),
    )


def cancelled(revision: int) -> PlanCancelled:
    return PlanCancelled(patient_id="p1", plan_id="plan-1", revision=revision, reason=BECAUSE)


def blocked(revision: int, *rx_ids: str, because: str) -> PlanBlocked:
    """No plan, for a reason of each of these drugs; where there is none, the patient is not to be served at all."""
    drugs = tuple(
        DrugDecision(
            rx_id=rx,
            drug_name=f"drug {rx}",
            participation=Participation.excluded,
            reasons=(Reason(code=because),),
        )
        for rx in rx_ids
    )
    return PlanBlocked(
        patient_id="p1",
        revision=revision,
        profile_revision=2,
        store_id="store-1",
        reasons=(BECAUSE,),
        drugs=drugs,
    )


# ---- what people do ----


async def with_work_order(service: Unbrokered, *rx_ids: str, caregiver: bool = False) -> None:
    await service.handle(store())
    await service.handle(enrolled(caregiver=caregiver))
    await service.handle(planned(1, *RX))
    await service.handle(confirmed(*rx_ids))


async def lease(service: Unbrokered, limit: int = 10) -> dict[str, Any]:
    """By prescription the fill orders leased now."""
    answer = await service.send("/fill-orders/lease", role="system", worker="robot", limit=limit, minutes=30)
    return {order["rx_id"]: order for order in answer["orders"]}


async def report(service: Unbrokered, order: dict[str, Any], status: int = 200, **result: Any) -> Any:
    path = f"/fill-orders/{order['order_id']}/result"
    return await service.send(path, status, role="system", lease_id=order["lease_id"], **result)


async def fill_everything(service: Unbrokered) -> Any:
    """The package after the dispensing system filled what is due."""
    package = None
    for rx_id, order in (await lease(service)).items():
        package = await report(service, order, result="filled", fill_id=f"fill-{rx_id}", licence="T-7")
    return package


async def with_ready_package(service: Unbrokered, *rx_ids: str, caregiver: bool = False) -> dict[str, Any]:
    await with_work_order(service, *rx_ids, caregiver=caregiver)
    service.clock.set(DUE)
    package = await fill_everything(service)
    path = f"/packages/{package['package_id']}/verification"
    ready: dict[str, Any] = await service.send(path, role="pharmacist", licence="RPH-1")
    await service.published()
    return ready


async def states(service: Unbrokered) -> dict[str, str]:
    rows = await service.rows("select rx_id, concat_ws(' ', status, why) as state from items order by rx_id")
    return {row["rx_id"]: row["state"] for row in rows}


# ---- the path of a package ----


async def test_a_confirmed_visit_is_filled_verified_handed_over_and_talked_about(service: Unbrokered) -> None:
    contact = ContactDetailsChanged(
        patient_id="p1", revision=1, given_name="Ada", family_name="Byron", birth_date=date(1940, 12, 10)
    )
    await service.handle(contact)
    await with_work_order(service, *RX)
    assert await service.get("/fill-orders/next-due") == {"next_due": "2026-10-11T13:00:00Z"}
    assert await lease(service) == {}

    service.clock.set(DUE)
    orders = await lease(service)
    assert orders["rx-a"] | {"order_id": "", "lease_id": ""} == {
        "order_id": "",
        "lease_id": "",
        "patient_id": "p1",
        "store_id": "store-1",
        "visit_id": "visit-p1",
        "rx_id": "rx-a",
        "in_place_of": None,
        "urgent": False,
        "drug_name": "drug rx-a",
        "quantity": "30.5",
        "days_supply": 30,
        "days_supply_billed": None,
        "clarification_codes": [],
        "on": "2026-10-14",
        "until": "2026-10-11T13:30:00Z",
        "try_number": 1,
        "resolved": None,
        "dispensing_status": None,
        "intended_quantity": None,
        "intended_days_supply": None,
        "completes": None,
    }
    assert await service.get("/fill-orders/next-due") == {"next_due": None}
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="short", missing="12")
    assert package["status"] == "to_verify"

    (waiting,) = (await service.get("/packages", status="to_verify", store="store-1"))["items"]
    assert [waiting[name] for name in ("given_name", "family_name", "birth_date")] == [
        "Ada",
        "Byron",
        "1940-12-10",
    ]
    path = f"/packages/{waiting['package_id']}"
    ready = await service.send(f"{path}/verification", role="pharmacist", licence="RPH-1")
    assert (ready["status"], ready["bin"], ready["return_on"]) == ("ready", "1-01", "2026-10-21")
    assert "given_name" not in ready

    service.clock.set(DUE + timedelta(days=3))
    taken = await service.send(f"{path}/hand-over", role="clerk", identifiers=["name", "birth_date"])
    assert (taken["status"], taken["handed_over_on"], taken["bin"]) == ("picked_up", "2026-10-14", None)
    talked = "/visits/visit-p1/consultation"
    await service.send(talked, role="pharmacist", outcome="held", topics=["missed_doses"])

    events = await service.published()
    assert [type(event) for event in events] == [
        FillCompleted,
        StockShort,
        PackageReady,
        PackagePickedUp,
        ConsultationHeld,
    ]
    picked_up = events[3]
    assert isinstance(picked_up, PackagePickedUp)
    (item,) = picked_up.taken
    assert (item.fill_id, item.filled_on, item.quantity) == ("fill-a", date(2026, 10, 11), Decimal("30.5"))
    actions = await service.rows("select action, role, licence from actions order by action_id")
    assert [tuple(row.values()) for row in actions] == [
        ("fill", "system", None),
        ("fill", "system", None),
        ("verification", "pharmacist", "RPH-1"),
        ("hand_over", "clerk", None),
        ("consultation", "pharmacist", None),
    ]


async def test_a_refused_item_does_not_stop_the_others_and_alone_makes_no_package(
    service: Unbrokered,
) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    order = (await lease(service))["rx-a"]
    package = await report(service, order, result="rejected", reject_code="79", next_fill_on="2026-10-20")
    assert package["status"] == "cancelled"
    assert package["items"][0]["next_fill_on"] == "2026-10-20"
    (event,) = await service.published()
    assert isinstance(event, FillRejected)
    assert (event.reject_code, event.next_fill_on) == ("79", date(2026, 10, 20))


async def test_a_package_not_collected_is_missed_twice_and_goes_back_on_the_tenth_day(
    service: Unbrokered,
) -> None:
    await with_ready_package(service, *RX)
    told = []
    for days in range(14):
        for hour in (0, 8, 12, 20):
            service.clock.set(DUE + timedelta(days=days, hours=hour - 8))
            await service.do_due()
            told += [(event, service.clock.now()) for event in await service.published()]
    missed, again, back = told
    assert isinstance(missed[0], PickupMissed)
    assert (missed[0].days_late, missed[1]) == (1, datetime(2026, 10, 15, 13, tzinfo=UTC))
    assert isinstance(again[0], PickupMissed)
    assert (again[0].days_late, again[1]) == (3, datetime(2026, 10, 17, 13, tzinfo=UTC))
    assert isinstance(back[0], PackageReturned)
    assert back[1] == datetime(2026, 10, 22, 1, tzinfo=UTC)  # 21:00 on the 21st
    assert (await service.get("/packages", status="ready"))["items"] == []


# ---- between topics there is no order ----


def every_interleaving(*topics: Sequence[Event]) -> list[list[Event]]:
    places = [place for place, topic in enumerate(topics) for _ in topic]
    orders = sorted(set(permutations(places)))
    return [
        [next(waiting[place]) for place in order]
        for order in orders
        for waiting in [[iter(t) for t in topics]]
    ]


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        (
            [[enrolled()], [planned(1, *RX), planned(2, "rx-b")], [confirmed(*RX)], [store()]],
            {"rx-a": "cancelled not_planned", "rx-b": "to_fill"},
        ),
        (
            [[enrolled(), disenrolled()], [planned(1, *RX), cancelled(2)], [confirmed("rx-a")]],
            {"rx-a": "cancelled plan_cancelled"},
        ),
        (
            [
                [enrolled(), disenrolled(), enrolled(revision=3)],
                [planned(1, "rx-a"), cancelled(2), planned(3, "rx-a", profile=3)],
                [confirmed("rx-a")],
            ],
            {"rx-a": "cancelled plan_cancelled"},
        ),
        (
            [
                [enrolled(), disenrolled(), enrolled(revision=3)],
                [cancelled(2), planned(3, "rx-a", profile=3)],
                [confirmed("rx-a", plan_revision=3)],
            ],
            {"rx-a": "to_fill"},
        ),
    ],
    ids=["a newer plan", "disenrolled", "enrolled again", "confirmed again"],
)
async def test_the_order_of_topics_does_not_matter(
    service: Unbrokered, topics: list[list[Event]], expected: dict[str, str]
) -> None:
    for arrivals in every_interleaving(*topics):
        await service.rows(
            "truncate patients, plans, stores, confirmations, actions, work_orders, items, tries, consultations, "
            "counter_notes"
        )
        for event in arrivals:
            await service.handle(event)
        await service.do_due()
        assert await states(service) == expected, [type(event).__name__ for event in arrivals]


async def test_each_item_is_ordered_on_the_day_that_the_plan_gives(service: Unbrokered) -> None:
    plan = planned(1, *RX)
    sooner = Step(code="fill", on=VISIT_ON - timedelta(days=6), by="technician", rx_ids=("rx-a",))
    usual = Step(code="fill", on=VISIT_ON - timedelta(days=4), by="technician", rx_ids=("rx-b",))
    called = Step(code="call", on=VISIT_ON - timedelta(days=7), by="technician")
    visit = plan.visits[0].model_copy(update={"steps": (called, sooner, usual)})
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(plan.model_copy(update={"visits": (visit,)}))
    await service.handle(confirmed("rx-a", "rx-b", "rx-c"))
    due = await service.rows("select rx_id, due_at::date as day from items order by rx_id")
    assert [(row["rx_id"], (VISIT_ON - row["day"]).days) for row in due] == [
        ("rx-a", 6),
        ("rx-b", 4),
        ("rx-c", 3),  # the plan gives it no day
    ]


async def test_a_confirmation_waits_for_the_store_and_follows_its_calendar(service: Unbrokered) -> None:
    await service.handle(enrolled())
    await service.handle(planned(1, *RX))
    await service.handle(confirmed("rx-a"))
    await service.do_due()
    assert await service.get("/fill-orders/next-due") == {"next_due": None}
    await service.handle(store())
    await service.do_due()
    assert await service.get("/fill-orders/next-due") == {"next_due": "2026-10-11T13:00:00Z"}
    await service.handle(store(2, closed_on=[date(2026, 10, 11)]))
    await service.do_due()
    assert await service.get("/fill-orders/next-due") == {"next_due": "2026-10-10T13:00:00Z"}


async def test_an_older_revision_changes_nothing(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    await service.handle(planned(3, *RX))
    await service.handle(disenrolled(revision=4))
    await service.handle(enrolled(revision=5))
    await service.handle(planned(4, *RX, profile=5))
    before = await states(service)
    for old in (disenrolled(revision=4), planned(2), enrolled(revision=1), cancelled(3)):
        await service.handle(old)
    assert await states(service) == before == {"rx-a": "to_fill"}


async def test_a_name_is_needed_until_the_package_is_gone(service: Unbrokered) -> None:
    async def waits_for() -> str | None:
        async with service.work.read() as db:
            return (await how_far(db, PERSONAL, "p1")).waits_for

    assert await waits_for() is None
    await with_work_order(service, "rx-a")
    assert "package" in (await waits_for() or "")
    await service.handle(disenrolled())
    assert await waits_for() is None


async def test_an_older_calendar_name_or_exclusion_changes_nothing(service: Unbrokered) -> None:
    named = ContactDetailsChanged(patient_id="p1", revision=2, given_name="Ada", family_name="Byron")
    excludes = ExclusionsChanged(
        patient_id="p1", revision=2, excluded=(ExcludedPrescription(rx_id="rx-a", reason=BECAUSE),)
    )
    for newest in (store(2), named, excludes):
        await service.handle(newest)
    for old in (
        store(1, closed_on=[VISIT_ON]),
        named.model_copy(update={"revision": 1, "given_name": "Eve"}),
        excludes.model_copy(update={"revision": 1, "excluded": ()}),
    ):
        await service.handle(old)
    (calendar,) = await service.rows("select revision, calendar -> 'closed_on' as closed_on from stores")
    assert calendar == {"revision": 2, "closed_on": []}
    async with service.work.read() as db:
        (contact,) = (await reads.contacts_of(db, service.work.keys, [named.patient_id])).values()
    assert contact.given_name == "Ada"
    assert await service.rows("select rx_ids from exclusions") == [{"rx_ids": ["rx-a"]}]


async def test_one_work_order_and_one_live_confirmation_per_visit(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    await service.handle(confirmed("rx-b"))
    assert await states(service) == {"rx-a": "cancelled declined", "rx-b": "to_fill"}
    service.clock.set(DUE)
    await lease(service)
    await service.handle(confirmed("rx-a"))
    assert await states(service) == {"rx-a": "cancelled declined", "rx-b": "leased"}
    recorded = await service.rows(
        """
        select (select min(rx_id) from jsonb_object_keys(items) rx_id), live
        from confirmations
        order by confirmation_id
        """
    )
    assert [tuple(row.values()) for row in recorded] == [("rx-a", False), ("rx-b", True), ("rx-a", False)]
    assert len(await service.rows("select from work_orders")) == 1


async def test_what_the_payer_is_told_goes_with_the_order_and_with_the_package(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    (pack,) = confirmed("rx-a").items
    billed = pack.model_copy(update={"days_supply_billed": 28, "clarification_codes": ("10", "61")})
    await service.handle(confirmed("rx-a").model_copy(update={"items": (billed,)}))
    service.clock.set(DUE)
    order = (await lease(service))["rx-a"]
    assert (order["days_supply"], order["days_supply_billed"]) == (30, 28)
    assert order["clarification_codes"] == ["10", "61"]
    await service.published()
    package = await report(service, order, result="filled", fill_id="fill-a", licence="T-7")
    await service.send(f"/packages/{package['package_id']}/verification", role="pharmacist", licence="RPH-1")
    ready = next(each for each in await service.published() if isinstance(each, PackageReady))
    assert [(item.days_supply, item.days_supply_billed) for item in ready.items] == [(30, 28)]


async def test_hundreds_of_patients_are_taken_in_one_batch(service: Unbrokered) -> None:
    names = [f"p{number}" for number in range(300)]
    await service.handle(store())
    await service.handle(*(enrolled(name) for name in names))
    await service.handle(*(planned(1, *RX, patient_id=name) for name in names))
    await service.handle(*(confirmed(*RX, patient_id=name) for name in names))
    await service.handle(*(planned(2, "rx-a", patient_id=name) for name in names))
    counted = await service.rows("select status, count(*) from items group by status order by status")
    assert [tuple(row.values()) for row in counted] == [("cancelled", 300), ("to_fill", 300)]
    service.clock.set(DUE)
    assert (
        len((await service.send("/fill-orders/lease", role="system", worker="robot", limit=200))["orders"])
        == 200
    )


async def test_poison_is_refused_in_words(service: Unbrokered) -> None:
    with pytest.raises(Refused, match="not an IANA time zone"):
        await service.handle(store().model_copy(update={"time_zone": "Mars/Olympus"}))
    with pytest.raises(Refused, match="names a prescription twice"):
        await service.handle(confirmed("rx-a", "rx-a"))


# ---- conditional fills ----


async def with_conditional_order(service: Unbrokered) -> None:
    """Both are wanted, rx-b if the prescriber renews it by the 9th; the store fills on the 11th."""
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(planned(1, *RX, conditional={"rx-b": RENEWED}))
    await service.handle(confirmed(*RX, conditional={"rx-b": RENEWED}))


async def verify(service: Unbrokered, package: dict[str, Any]) -> dict[str, Any]:
    path = f"/packages/{package['package_id']}/verification"
    ready: dict[str, Any] = await service.send(path, role="pharmacist", licence="RPH-1")
    return ready


async def hand_over(service: Unbrokered, package: dict[str, Any], **body: Any) -> dict[str, Any]:
    path = f"/packages/{package['package_id']}/hand-over"
    taken: dict[str, Any] = await service.send(path, role="clerk", identifiers=["name", "birth_date"], **body)
    return taken


async def at(service: Unbrokered, moment: datetime) -> None:
    service.clock.set(moment)
    await service.do_due()


async def the_package(service: Unbrokered) -> dict[str, Any]:
    (package,) = (await service.get("/packages"))["items"]
    return dict(package)


async def test_a_conditional_fill_is_filled_with_the_rest_once_its_condition_is_met(
    service: Unbrokered,
) -> None:
    await with_conditional_order(service)
    a, b = (await the_package(service))["items"]
    assert (a["condition"], b["due_at"]) == (None, None)
    assert b["condition"] == {
        "kind": "renewal",
        "by": "prescriber",
        "needed_by": "2026-10-09",
        "words": "if the prescriber renews it by Fri 10/9",
        "met": False,
    }
    await at(service, datetime(2026, 10, 9, 12, tzinfo=UTC))
    await service.handle(planned(2, *RX))
    assert (await the_package(service))["items"][1]["condition"]["met"]
    assert await lease(service) == {}, "it is filled on the same day as the others"
    await at(service, DUE)
    package = await fill_everything(service)
    assert package["status"] == "to_verify"
    await verify(service, package)
    ready = (await service.published())[-1]
    assert isinstance(ready, PackageReady)
    assert ([item.rx_id for item in ready.items], ready.not_filled) == (["rx-a", "rx-b"], ())


async def test_a_renewal_is_filled_in_place_of_what_was_confirmed_as_it_was_confirmed(
    service: Unbrokered,
) -> None:
    await with_conditional_order(service)
    renewed = planned(2, "rx-a", "rx-b2", renewals={"rx-b2": "rx-b"}, discontinued=["rx-b"])
    await service.handle(renewed)
    await at(service, DUE)
    orders = await lease(service)
    assert sorted(orders) == ["rx-a", "rx-b2"]
    order = orders["rx-b2"]
    assert (order["in_place_of"], order["quantity"], order["days_supply"]) == ("rx-b", "30.5", 30)
    for rx_id in orders:
        package = await report(service, orders[rx_id], result="filled", fill_id=f"fill-{rx_id}")
    await verify(service, package)
    await hand_over(service, package, left_rx_ids=["rx-b2"])
    a, b, ready, picked_up = await service.published()
    assert isinstance(a, FillCompleted)
    assert isinstance(b, FillCompleted)
    assert [(each.rx_id, each.in_place_of) for each in (a, b)] == [("rx-a", None), ("rx-b2", "rx-b")]
    assert isinstance(ready, PackageReady)
    assert [(item.rx_id, item.in_place_of) for item in ready.items] == [("rx-a", None), ("rx-b2", "rx-b")]
    assert isinstance(picked_up, PackagePickedUp)
    assert [item.rx_id for item in picked_up.left] == ["rx-b2"]


async def test_a_condition_that_is_not_met_leaves_the_rest_of_the_visit_as_it_is(service: Unbrokered) -> None:
    await with_conditional_order(service)
    await at(service, DUE - timedelta(minutes=1))
    assert await states(service) == {"rx-a": "to_fill", "rx-b": "to_fill"}, "a renewal may still come"
    await at(service, DUE)
    assert await states(service) == {"rx-a": "to_fill", "rx-b": "cancelled condition_not_met"}
    package = await fill_everything(service)
    assert (package["status"], package["items"][1]["because"]) == ("to_verify", NOT_RENEWED)
    await verify(service, package)
    await at(service, datetime(2026, 10, 14, 15, tzinfo=UTC))
    taken = await hand_over(service, package)
    assert taken["status"] == "picked_up"
    _, ready, picked_up = await service.published()
    for event in (ready, picked_up):
        assert isinstance(event, PackageReady | PackagePickedUp)
        (left_out,) = event.not_filled
        assert (left_out.rx_id, left_out.drug_name) == ("rx-b", "drug rx-b")
        assert words.render(left_out.reason) == NOT_RENEWED


async def test_a_visit_of_which_no_condition_is_met_ends_without_a_package(service: Unbrokered) -> None:
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(planned(1, "rx-b", conditional={"rx-b": RENEWED}))
    await service.handle(confirmed("rx-b", conditional={"rx-b": RENEWED}))
    await at(service, DUE)
    assert (await the_package(service))["status"] == "cancelled"
    assert await service.get("/fill-orders/next-due") == {"next_due": None}
    await service.handle(planned(2, "rx-b"))
    assert sorted(await lease(service)) == ["rx-b"], "late, and still before the pickup"


async def test_what_comes_while_the_package_waits_for_verification_is_added_and_holds_nothing_up(
    service: Unbrokered,
) -> None:
    await with_conditional_order(service)
    await at(service, DUE)
    await fill_everything(service)
    await service.handle(planned(2, *RX))
    assert (await the_package(service))["status"] == "to_verify"
    package = await fill_everything(service)
    await verify(service, package)
    ready = (await service.published())[-1]
    assert isinstance(ready, PackageReady)
    assert ([item.rx_id for item in ready.items], ready.not_filled) == (["rx-a", "rx-b"], ())


async def test_what_comes_when_the_package_is_ready_is_added_and_verified_again(service: Unbrokered) -> None:
    await with_conditional_order(service)
    await at(service, DUE)
    await verify(service, await fill_everything(service))
    await service.handle(planned(2, *RX))
    package = await the_package(service)
    assert (package["status"], package["bin"]) == ("ready", "1-01"), "the patient may come any moment"
    package = await fill_everything(service)
    assert (package["status"], package["bin"]) == ("to_verify", None)
    await verify(service, package)
    told = [event for event in await service.published() if isinstance(event, PackageReady)]
    assert [[item.rx_id for item in event.items] for event in told] == [["rx-a"], ["rx-a", "rx-b"]]
    assert [len(event.not_filled) for event in told] == [1, 0]
    assert (await hand_over(service, package))["status"] == "picked_up"


async def test_who_does_not_wait_for_the_late_fill_gets_the_rest(service: Unbrokered) -> None:
    await with_conditional_order(service)
    await at(service, DUE)
    package = await verify(service, await fill_everything(service))
    await service.handle(planned(2, *RX))
    order = (await lease(service))["rx-b"]
    path = f"/packages/{package['package_id']}/hand-over"
    problem = await service.send(path, 409, role="clerk", identifiers=["name", "birth_date"])
    assert (problem["code"], problem["rx_ids"]) == ("also_due", ["rx-b"])
    assert (await hand_over(service, package, later_rx_ids=["rx-b"]))["status"] == "picked_up"
    problem = await report(service, order, 409, result="filled", fill_id="fill-b")
    assert "reverse the claim" in problem["detail"]
    picked_up = (await service.published())[-1]
    assert isinstance(picked_up, PackagePickedUp)
    assert [item.rx_id for item in picked_up.taken] == ["rx-a"]
    assert [item.rx_id for item in picked_up.declined] == ["rx-b"]


# ---- what became due after the confirmation ----


async def with_offer(service: Unbrokered) -> dict[str, Any]:
    """A package that is ready, to which a newer plan adds something to be asked about at the counter."""
    package = await with_ready_package(service, "rx-a")
    await service.handle(planned(2, "rx-a", "rx-b", at_counter=["rx-b"]))
    return package


async def answer(service: Unbrokered, package: dict[str, Any], status: int = 200, **said: Any) -> Any:
    path = f"/packages/{package['package_id']}/offers"
    return await service.send(path, status, role="clerk", answers=[{"rx_id": "rx-b", **said}])


async def test_what_became_due_is_offered_filled_while_the_patient_waits_and_handed_over(
    service: Unbrokered,
) -> None:
    package = await with_offer(service)
    shown = (await the_package(service))["items"][1]
    assert (shown["state"], shown["question"], shown["due_at"]) == ("offered", words.ALSO_DUE, None)
    assert await lease(service) == {}, "nobody agreed to it"
    path = f"/packages/{package['package_id']}/hand-over"
    problem = await service.send(path, 409, role="clerk", identifiers=["name", "birth_date"])
    assert (problem["code"], problem["rx_ids"]) == ("also_due", ["rx-b"])

    answered = await answer(service, package, answer="fill")
    assert (answered["status"], answered["items"][1]["state"]) == ("ready", "to_fill")
    await service.send(path, 409, role="clerk", identifiers=["name", "birth_date"])
    assert (await fill_everything(service))["status"] == "to_verify"
    await verify(service, package)
    taken = await hand_over(service, package)
    assert [item["state"] for item in taken["items"]] == ["filled", "filled"]
    *_, done = await service.published()
    assert isinstance(done, PackagePickedUp) and [item.rx_id for item in done.taken] == ["rx-a", "rx-b"]
    assert [(each["action"], each["detail"]) for each in await noted(service)][-3:-2] == [
        ("offers", {"answers": [{"rx_id": "rx-b", "answer": "fill", "reason": None}]})
    ]


async def noted(service: Unbrokered) -> list[Any]:
    return await service.rows("select action, detail from actions where action <> 'fill' order by action_id")


async def test_what_the_patient_declines_is_told_and_not_offered_again(service: Unbrokered) -> None:
    package = await with_offer(service)
    await answer(service, package, answer="decline", reason="no_time")
    await service.handle(planned(3, "rx-a", "rx-b", at_counter=["rx-b"]))
    assert await states(service) == {"rx-a": "filled", "rx-b": "cancelled declined"}
    await hand_over(service, package)
    *_, done = await service.published()
    assert isinstance(done, PackagePickedUp)
    assert [(each.rx_id, each.reason.code) for each in done.declined] == [("rx-b", "declined_at_counter")]


async def test_an_offer_is_kept_and_taken_back_as_plans_say(service: Unbrokered) -> None:
    package = await with_offer(service)
    await service.handle(planned(3, "rx-a"))
    assert await states(service) == {"rx-a": "filled", "rx-b": "cancelled not_planned"}
    problem = await answer(service, package, 422, answer="fill")
    assert problem["code"] == "not_offered"
    await service.handle(planned(4, "rx-a", "rx-b", at_counter=["rx-b"]))
    assert await states(service) == {"rx-a": "filled", "rx-b": "offered"}
    await service.handle(disenrolled())
    assert await states(service) == {"rx-a": "filled", "rx-b": "cancelled not_enrolled"}
    assert (await hand_over(service, package))["status"] == "picked_up"


async def test_a_plan_that_gives_a_conditional_fill_up_says_that_it_was_not_met(service: Unbrokered) -> None:
    await with_conditional_order(service)
    await service.handle(planned(2, "rx-a"))
    assert await states(service) == {"rx-a": "to_fill", "rx-b": "cancelled condition_not_met"}
    await service.handle(planned(3, *RX))
    assert await states(service) == {"rx-a": "to_fill", "rx-b": "to_fill"}


async def test_what_lacks_something_since_it_was_confirmed_waits_for_it(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    await service.handle(planned(2, *RX, conditional={"rx-b": RENEWED}))
    service.clock.set(DUE)
    assert sorted(await lease(service)) == ["rx-a"]
    await service.do_due()
    assert (await states(service))["rx-b"] == "cancelled condition_not_met"


async def test_what_lacks_something_since_it_was_leased_is_not_leased_again(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    orders = await lease(service)
    await service.handle(planned(2, *RX, conditional={"rx-b": RENEWED}))
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    await at(service, DUE + timedelta(hours=1))
    assert await states(service) == {"rx-a": "filled", "rx-b": "cancelled condition_not_met"}


async def test_a_filled_drug_that_is_renewed_stays_in_its_package(service: Unbrokered) -> None:
    await with_ready_package(service, *RX)
    renewed = planned(2, "rx-a2", "rx-b", renewals={"rx-a2": "rx-a"}, discontinued=["rx-a"])
    await service.handle(renewed)
    assert await states(service) == {"rx-a": "filled", "rx-b": "filled"}


async def test_a_conditional_fill_that_was_declined_is_not_filled_when_it_is_renewed(
    service: Unbrokered,
) -> None:
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(planned(1, *RX, conditional={"rx-b": RENEWED}))
    declined = confirmed("rx-a").model_copy(update={"declined_rx_ids": ("rx-b",)})
    await service.handle(declined)
    await service.handle(planned(2, "rx-a", "rx-b2", renewals={"rx-b2": "rx-b"}))
    service.clock.set(DUE)
    assert sorted(await lease(service)) == ["rx-a"]


async def test_who_leaves_has_no_conditional_fill_waiting(service: Unbrokered) -> None:
    await with_conditional_order(service)
    await service.handle(disenrolled())
    await service.handle(planned(2, *RX))
    await at(service, DUE)
    assert set((await states(service)).values()) == {"cancelled not_enrolled"}
    assert await lease(service) == {}


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (planned(2, *RX), {"rx-a": "to_fill", "rx-b": "to_fill"}),
        (
            planned(2, "rx-a", "rx-b2", renewals={"rx-b2": "rx-b"}, discontinued=["rx-b"]),
            {"rx-a": "to_fill", "rx-b": "to_fill"},
        ),
        (
            planned(2, *RX, conditional={"rx-b": RENEWED}),
            {"rx-a": "to_fill", "rx-b": "cancelled condition_not_met"},
        ),
        (planned(2, "rx-a"), {"rx-a": "to_fill", "rx-b": "cancelled condition_not_met"}),
    ],
    ids=["met", "renewed", "waits", "given up"],
)
async def test_whether_a_condition_is_met_does_not_depend_on_what_comes_first(
    service: Unbrokered, later: PlanComputed, expected: dict[str, str]
) -> None:
    """Also where the confirmation comes twice, and where all of it comes after the last day."""
    wanted = confirmed(*RX, conditional={"rx-b": RENEWED})
    plans = [planned(1, *RX, conditional={"rx-b": RENEWED}), later]
    for arrivals in every_interleaving([enrolled()], plans, [wanted, wanted], [store()]):
        await service.rows(
            "truncate patients, plans, stores, confirmations, actions, work_orders, items, tries, consultations, "
            "counter_notes"
        )
        service.clock.set(NOW)
        for event in arrivals:
            await service.handle(event)
            await service.do_due()
        await at(service, DUE)
        assert await states(service) == expected, [type(event).__name__ for event in arrivals]


# ---- urgent visits ----


async def test_an_urgent_visit_is_ordered_at_once(service: Unbrokered) -> None:
    plan = planned(1, *RX, urgent=True)
    tomorrow = Step(code="fill", on=VISIT_ON, by="technician")
    visit = plan.visits[0].model_copy(update={"steps": (tomorrow,)})
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(plan.model_copy(update={"visits": (visit,)}))
    await service.handle(confirmed(*RX))
    orders = await lease(service)
    assert (sorted(orders), orders["rx-a"]["urgent"]) == (["rx-a", "rx-b"], True)
    assert (await the_package(service))["urgent"]


async def test_an_urgent_fill_waits_for_the_day_on_which_its_payer_pays(service: Unbrokered) -> None:
    plan = planned(1, *RX, urgent=True)
    paid = plan.visits[0].items[1].model_copy(update={"payable_from": VISIT_ON - timedelta(days=4)})
    visit = plan.visits[0].model_copy(update={"items": (plan.visits[0].items[0], paid)})
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(plan.model_copy(update={"visits": (visit,)}))
    await service.handle(confirmed(*RX))
    (order,) = (await lease(service)).values()
    await report(service, order, result="filled", fill_id="fill-a")
    await at(service, DUE - timedelta(days=1))
    assert sorted(await lease(service)) == ["rx-b"]


async def test_on_the_day_of_an_urgent_visit_nothing_waits_for_a_condition(service: Unbrokered) -> None:
    today = RENEWED.model_copy(update={"needed_by": VISIT_ON})
    service.clock.set(datetime(2026, 10, 14, 15, tzinfo=UTC))
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(planned(1, *RX, conditional={"rx-b": today}, urgent=True))
    await service.handle(confirmed(*RX, conditional={"rx-b": today}))
    await service.do_due()
    package = await fill_everything(service)
    assert (package["status"], (await states(service))["rx-b"]) == (
        "to_verify",
        "cancelled condition_not_met",
    )
    await service.handle(planned(2, *RX, urgent=True))
    assert sorted(await lease(service)) == ["rx-b"], "it came before the patient did"


# ---- leases ----


async def test_an_expired_lease_gives_the_order_to_the_next(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    first = (await lease(service))["rx-a"]
    assert await lease(service) == {}
    service.clock.advance(timedelta(minutes=30))
    await service.do_due()
    second = (await lease(service))["rx-a"]
    assert second["order_id"] == first["order_id"]
    problem = await report(service, first, 409, result="filled", fill_id="fill-1")
    assert "not leased under this lease_id" in problem["detail"]
    await report(service, second, result="filled", fill_id="fill-1")


async def test_a_result_reported_twice_answers_the_same_and_is_told_once(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    order = (await lease(service))["rx-a"]
    first = await report(service, order, result="filled", fill_id="fill-1")
    service.clock.advance(timedelta(days=1))
    assert await report(service, order, result="filled", fill_id="fill-1") == first
    await report(service, order, 409, result="filled", fill_id="fill-2")
    assert [type(event) for event in await service.published()] == [FillCompleted]
    assert len(await service.rows("select from actions")) == 1


async def test_a_fill_id_names_the_fill_of_one_order(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    orders = await lease(service)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-1")
    problem = await report(service, orders["rx-b"], 409, result="filled", fill_id="fill-1")
    assert "fill_id names the fill of another order" in problem["detail"]
    assert [type(event) for event in await service.published()] == [FillCompleted]
    with pytest.raises(asyncpg.UniqueViolationError, match="items_by_fill"):
        await service.rows("update items set fill_id = 'fill-1' where rx_id = 'rx-b' returning fill_id")
    await report(service, orders["rx-b"], result="filled", fill_id="fill-2")


async def test_a_result_for_a_cancelled_order_is_refused(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    order = (await lease(service))["rx-a"]
    await service.handle(disenrolled())
    problem = await report(service, order, 409, result="filled", fill_id="fill-1")
    assert "reverse the claim" in problem["detail"]


async def test_a_result_needs_its_own_field(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    order = (await lease(service))["rx-a"]
    problem = await report(service, order, 400, result="filled", reject_code="79")
    assert "filled needs fill_id" in problem["detail"]


# ---- who may do what ----


@pytest.mark.parametrize(
    ("path", "role", "body"),
    [
        ("/fill-orders/lease", "clerk", {"worker": "w"}),
        ("/fill-orders/x/result", "clerk", {"lease_id": "l", "result": "filled", "fill_id": "f"}),
        ("/packages/x/verification", "technician", {"licence": "T-7"}),
        ("/packages/x/cancel", "technician", {"reason": "recalled lot"}),
        ("/packages/x/hand-over", "system", {"identifiers": ["name", "birth_date"]}),
        ("/visits/x/consultation", "clerk", {"outcome": "held"}),
    ],
)
async def test_what_a_role_may_not_do_is_refused(
    service: Unbrokered, path: str, role: str, body: dict[str, Any]
) -> None:
    problem = await service.send(path, 403, role=role, **body)
    assert "you act as" in problem["detail"]
    await service.send(path, 200 if path.endswith("lease") else 404, role="pharmacist", **body)


async def test_a_pharmacist_verifies_with_their_own_license(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    path = f"/packages/{(await fill_everything(service))['package_id']}/verification"
    headers = {"Medsync-Actor": "rph-1", "Medsync-Role": "pharmacist", "Medsync-License": "RPH-1"}
    other = await service.http.post(path, json={"licence": "RPH-2"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "not_your_license")
    assert (await service.http.post(path, json={"licence": "RPH-1"}, headers=headers)).status_code == 200


async def test_leased_fills_are_not_answered_again_to_who_may_not_lease(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    lease_of = {"worker": "robot", "limit": 10, "minutes": 30}
    first = await service.send("/fill-orders/lease", role="system", key="k", **lease_of)
    assert (
        first["orders"]
        and await service.send("/fill-orders/lease", role="system", key="k", **lease_of) == first
    )
    await service.send("/fill-orders/lease", 403, role="clerk", key="k", **lease_of)


async def test_commands_need_no_http_and_say_what_is_wrong_by_a_code(service: Unbrokered) -> None:
    package_id = (await with_ready_package(service, "rx-a"))["package_id"]
    came = counter.HandOver(identifiers=("name", "birth_date"))
    keys = [patient("p1")]
    async with service.work.begin(keys, cause=Cause("test", "test"), role="clerk") as unit:
        with pytest.raises(NotFound, match="unknown_visit"):
            await counter.hand_over_package(unit, "unknown", came)
        with pytest.raises(Invalid, match="not_released: the patient consented to no caregiver"):
            await counter.hand_over_package(
                unit, package_id, came.model_copy(update={"collected_by": "caregiver"})
            )
        done = await counter.hand_over_package(unit, package_id, came)
        assert isinstance(done, WorkOrder)
        with pytest.raises(Conflict, match="unknown_transition: the package is picked_up"):
            await counter.hand_over_package(unit, package_id, came)
    assert done.status is PackageStatus.picked_up
    assert [type(event) for event in await service.published()] == [PackagePickedUp]
    answer = await service.send(
        f"/packages/{package_id}/hand-over", 409, role="clerk", identifiers=["name", "birth_date"]
    )
    assert (answer["title"], answer["code"]) == ("Unknown transition", "unknown_transition")


async def test_the_release_gate(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    path = f"/packages/{package['package_id']}/hand-over"
    problem = await service.send(path, 422, role="clerk", identifiers=["name"])
    assert "two identifiers" in problem["detail"]
    again = f"/packages/{package['package_id']}/verification"
    problem = await service.send(again, 409, role="pharmacist", licence="RPH-1")
    assert "the package is ready" in problem["detail"]
    two = ["name", "birth_date"]
    taken = await service.send(path, role="clerk", key="k1", identifiers=two, left_rx_ids=["rx-b"])
    assert await service.send(path, role="clerk", key="k1", identifiers=two, left_rx_ids=["rx-b"]) == taken
    assert [(item["rx_id"], item["state"], item["why"]) for item in taken["items"]] == [
        ("rx-a", "filled", None),
        ("rx-b", "withheld", "left"),
    ]
    await service.send(path, 409, role="clerk", identifiers=two)


@pytest.mark.parametrize(
    ("consented", "role", "reason", "status"),
    [
        (True, "clerk", None, 200),
        (False, "clerk", None, 422),
        (False, "clerk", "her daughter, known here", 422),
        (False, "pharmacist", None, 422),
        (False, "pharmacist", "her daughter, known here", 200),
    ],
)
async def test_a_caregiver_collects_with_consent_or_on_a_pharmacists_word(
    service: Unbrokered, consented: bool, role: str, reason: str | None, status: int
) -> None:
    package = await with_ready_package(service, "rx-a", caregiver=consented)
    two = ["name", "photo_id"]
    body: dict[str, Any] = {"identifiers": two, "collected_by": "caregiver", "reason": reason}
    await service.send(f"/packages/{package['package_id']}/hand-over", status, role=role, **body)


async def test_a_caregiver_collects_as_the_consent_now_says(service: Unbrokered) -> None:
    package = await with_ready_package(service, "rx-a", caregiver=False)
    path = f"/packages/{package['package_id']}/hand-over"
    body = {"identifiers": ["name", "photo_id"], "collected_by": "caregiver"}
    await service.send(path, 422, role="clerk", **body)
    amended = ConsentChanged(
        patient_id="p1", revision=9, store_id="s1", consent=Consent(given_at=NOW, caregiver=True)
    )
    await service.handle(amended)
    await service.send(path, 200, role="clerk", **body)


async def test_a_pharmacist_stops_a_work_order_for_good(service: Unbrokered) -> None:
    package = await with_ready_package(service, "rx-a")
    path = f"/packages/{package['package_id']}/cancel"
    stopped = await service.send(path, role="pharmacist", reason="recalled lot")
    assert stopped["status"] == "returned"
    assert [type(event) for event in await service.published()] == [PackageReturned]
    (action,) = await service.rows("select actor, detail from actions where action = 'cancellation'")
    assert action == {"actor": "pharmacist-1", "detail": {"reason": "recalled lot"}}
    await service.handle(confirmed("rx-a", "rx-b"))
    assert await states(service) == {"rx-a": "withheld withdrawn"}
    await service.send(path, 409, role="pharmacist", reason="recalled lot")


# ---- changes while a package waits ----


async def test_a_ready_package_stays_collectable_after_disenrolment(service: Unbrokered) -> None:
    package = await with_ready_package(service, "rx-a")
    await service.handle(disenrolled())
    await service.handle(cancelled(2))
    path = f"/packages/{package['package_id']}/hand-over"
    await service.send(path, role="clerk", identifiers=["name", "birth_date"])
    assert [type(event) for event in await service.published()] == [PackagePickedUp]


async def test_a_package_of_one_who_died_goes_back_at_once(service: Unbrokered) -> None:
    await with_ready_package(service, "rx-a")
    await service.handle(disenrolled(reason="died"))
    assert [type(event) for event in await service.published()] == [PackageReturned]


async def test_a_discontinued_drug_leaves_the_package_which_is_verified_again(service: Unbrokered) -> None:
    await with_ready_package(service, *RX)
    await service.handle(planned(2, "rx-b", profile=2, discontinued=["rx-a"]))
    assert await states(service) == {"rx-a": "withheld discontinued", "rx-b": "filled"}
    (package,) = (await service.get("/packages", status="to_verify"))["items"]
    assert package["bin"] is None
    left_out = next(item for item in package["items"] if item["rx_id"] == "rx-a")
    assert left_out["because"] == "Discontinued by the prescriber."


async def test_the_last_drug_discontinued_takes_its_package_back(service: Unbrokered) -> None:
    """Then there is nothing to plan: the planner withdraws the plan, and says of each drug why."""
    await with_ready_package(service, "rx-a")
    await service.handle(cancelled(2))
    await service.handle(blocked(3, "rx-a", because="discontinued"))
    assert await states(service) == {"rx-a": "withheld discontinued"}
    assert [type(event) for event in await service.published()] == [PackageReturned]


@pytest.mark.parametrize("rx_ids", [(), ("rx-a",)], ids=["a stay in hospital", "no refills left"])
async def test_a_plan_that_is_blocked_for_another_reason_leaves_a_package_ready(
    service: Unbrokered, rx_ids: tuple[str, ...]
) -> None:
    await with_ready_package(service, "rx-a")
    await service.handle(cancelled(2))
    await service.handle(blocked(3, *rx_ids, because="no_refills"))
    (package,) = (await service.get("/packages", status="ready"))["items"]
    assert package["bin"] == "1-01"


async def test_every_package_of_a_store_has_a_bin_of_its_own(service: Unbrokered) -> None:
    await service.handle(store())
    names = [f"p{number}" for number in range(3)]
    await service.handle(*(enrolled(name) for name in names))
    await service.handle(*(planned(1, "rx-a", patient_id=name) for name in names))
    await service.handle(*(confirmed("rx-a", patient_id=name) for name in names))
    service.clock.set(DUE)
    orders = (await service.send("/fill-orders/lease", role="system", worker="robot"))["orders"]
    package_ids = []
    for order in orders:
        package = await report(service, order, result="filled", fill_id=f"fill-{order['patient_id']}")
        package_ids.append(package["package_id"])

    async def bin_of(package_id: str) -> str:
        path = f"/packages/{package_id}/verification"
        return str((await service.send(path, role="pharmacist", licence="RPH-1"))["bin"])

    assert [await bin_of(package_id) for package_id in package_ids[:2]] == ["1-01", "1-02"]
    first = f"/packages/{package_ids[0]}/hand-over"
    await service.send(first, role="clerk", identifiers=["name", "birth_date"])
    assert await bin_of(package_ids[2]) == "1-01"


async def test_packages_are_listed_page_by_page(service: Unbrokered) -> None:
    names = [f"p{number}" for number in range(5)]
    await service.handle(*(confirmed("rx-a", patient_id=name) for name in names))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = await service.get("/packages", on=str(VISIT_ON), status="filling", limit=2, after=cursor)
        seen += [package["visit_id"] for package in answer["items"]]
        cursor = answer["next"]
    assert sorted(seen) == [f"visit-{name}" for name in names]


# ---- as a process runs it ----


async def test_over_kafka_from_confirmation_to_hand_over(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    clock, prefix = SteppedClock(tmp_path / "clock"), f"{unique_name}."
    clock.set(DUE)
    await create_topics(stack.kafka, 2, prefix=prefix)
    settings = Settings(
        database_url=await asyncio.to_thread(fresh_database, "fulfillment"),
        kafka_bootstrap=stack.kafka,
        sealing_key=SecretStr(SEALING_KEY),
        clock_file=clock.path,
        topic_prefix=prefix,
    )
    async with running(create_app(settings)) as http:
        await publish(stack.kafka, [confirmed(*RX), planned(1, *RX), enrolled(), store()], prefix=prefix)
        await at_rest(http)
        leased = (await http.post("/fill-orders/lease", json={"worker": "robot"})).json()["orders"]
        for order in leased:
            done = {"lease_id": order["lease_id"], "result": "filled", "fill_id": f"fill-{order['rx_id']}"}
            await http.post(f"/fill-orders/{order['order_id']}/result", json=done)
        (package,) = (await http.get("/packages", params={"status": "to_verify"})).json()["items"]
        path = f"/packages/{package['package_id']}"
        await http.post(f"{path}/verification", json={"licence": "RPH-1"})
        await http.post(f"{path}/hand-over", json={"identifiers": ["name", "birth_date"]})
        await at_rest(http)
    told = [
        dict(each.headers)["ce_type"].decode() for each in await everything_on(stack.kafka, prefix + TOPIC)
    ]
    expected: list[type[Event]] = [FillCompleted, FillCompleted, PackageReady, PackagePickedUp]
    assert told == [event.TYPE for event in expected]


# ---- an event held back, and clocks that change ----


@pytest.mark.parametrize("held", range(6))
async def test_an_event_held_back_for_an_hour_ends_in_the_same_state(service: Unbrokered, held: int) -> None:
    """It and those behind it on its topic come an hour after what follows from it on others."""
    story: list[Event] = [
        store(),
        enrolled(),
        planned(1, *RX),
        confirmed(*RX),
        planned(2, "rx-b"),
        confirmed("rx-b", plan_revision=2),
    ]
    ends = []
    for late in (None, held):
        await service.rows(
            "truncate patients, plans, stores, confirmations, actions, work_orders, items, tries, consultations, "
            "counter_notes"
        )
        service.clock.set(NOW)
        await tell(story, late, service)
        due = await service.get("/fill-orders/next-due")
        service.clock.set(DUE)
        await service.do_due()
        ends.append((await states(service), due, sorted(await lease(service))))
    assert ends[0] == ends[1]
    assert ends[0][2] == ["rx-b"]


@pytest.mark.parametrize("changes_on", [date(2026, 3, 8), date(2026, 11, 1), date(2028, 2, 29)])
async def test_over_a_change_of_clocks_every_fill_is_begun_once_at_nine_on_its_day(
    service: Unbrokered, changes_on: date
) -> None:
    """Three days before the visit, in the store's time; hourly looks from the day before to the day after."""
    days = [changes_on + timedelta(days=n) for n in (-1, 0, 1)]
    midnight = datetime.combine(days[0] - timedelta(days=1), time(0), UTC)
    service.clock.set(midnight)
    await service.handle(store())
    for patient_id, day in zip(("p1", "p2", "p3"), days, strict=True):
        on = day + timedelta(days=3)
        plan = planned(1, "rx-a", patient_id=patient_id)
        visit = plan.visits[0].model_copy(update={"on": on})
        await service.handle(enrolled(patient_id))
        await service.handle(plan.model_copy(update={"anchor_on": on, "visits": (visit,)}))
        await service.handle(confirmed("rx-a", patient_id=patient_id).model_copy(update={"on": on}))
    begun: list[tuple[str, datetime]] = []
    for hours in range(4 * 24):
        service.clock.set(midnight + timedelta(hours=hours))
        await service.do_due()
        for order in (await lease(service)).values():
            begun.append((order["patient_id"], service.clock.now()))
            await report(service, order, result="filled", fill_id=order["order_id"], licence="T-7")
    assert begun == [
        (patient_id, datetime.combine(day, time(9), ZoneInfo("America/New_York")))
        for patient_id, day in zip(("p1", "p2", "p3"), days, strict=True)
    ]
