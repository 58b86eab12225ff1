"""Simulated patients of a store, from plan to counter: nothing is filled that the patient did not agree to, and nobody
goes home without a drug that was due, paid and authorized, unless they said so.

The rules of planner, outreach and fulfillment together, with what they publish in between. What is due is judged here
from the fills, without them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random

import pytest

from services.fulfillment import handlers as fulfillment
from services.fulfillment.domain import (
    Facts,
    Filled,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Patient,
    Rejected,
    Store,
    WorkOrder,
    answer_offers,
    confirm,
    expire_leases,
    hand_over,
    lease,
    reconcile,
    report,
    verify,
)
from services.outreach.domain.model import plan_of as heard_of
from services.outreach.domain.review import pickup
from services.planner import publishing
from services.planner.domain import progress
from services.planner.domain.model import Fill, Plan, Prescription, Profile, Rejection
from services.planner.domain.progress import Progress
from shared.events.outreach import PickupConfirmed
from shared.events.planner import PlanComputed, Visit
from shared.problems import Conflict
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, in_days, taking

DAYS = 75
STORE = Store("store-1", 1, "America/New_York", frozenset(range(7)))
MORNING, NOON, PICKUP = time(9), time(13), time(16)
LEAD = timedelta(days=COMMERCIAL.lead_days)  # inside it a visit that was told stands, confirmed or not
TAKEN_UP = (PackageStatus.filling, PackageStatus.to_verify, PackageStatus.ready)


@dataclass
class Bag:
    """One confirmed visit, with what the patient said about it."""

    order: WorkOrder
    visit_on: date
    comes_on: date
    agreed: set[str] = field(default_factory=set)  # rx_ids, as said
    declined: set[str] = field(default_factory=set)
    as_of: tuple[Profile, PlanComputed] | None = None  # as known at the end of the visit's day


class Life:
    """A patient, the store, and what happens day by day."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        names = "abcde"[: self.rng.randint(2, 5)]
        self.profile = taking({name: self.rng.randint(1, 25) for name in names})
        self.profile = replace(
            self.profile,
            prescriptions=tuple(self._scarce(each) for each in self.profile.prescriptions),
            fills=tuple(fill for fill in self.profile.fills if fill.handed_over_on <= TODAY),
        )
        self.at = Progress("patient-1")
        self.plan: PlanComputed | None = None
        self.revision = 0
        self.facts = Facts(Patient("patient-1", 1, enrolled=True), None, STORE)
        self.bags: dict[str, Bag] = {}
        self.seen: Counter[str] = Counter()

    def _scarce(self, each: Prescription) -> Prescription:
        kind = self.rng.random()
        if kind < 0.12:
            return replace(each, quantity_left=Decimal(self.rng.choice((0, 0, 30, 60))))
        if kind < 0.35:
            return replace(each, status="on_hold")
        if kind < 0.6:
            return replace(each, prior_authorization_until=in_days(self.rng.randint(-5, 20)))
        return replace(each, quantity_left=Decimal(120))

    # --- what is known changes ---

    def something_is_allowed(self, today: date) -> bool:
        """A renewal, a release, an authorization: at any moment."""
        lacking = [each for each in self.profile.prescriptions if not authorized(each, today)]
        if not lacking or self.rng.random() > 0.12:
            return False
        chosen = self.rng.choice(lacking)
        allowed = replace(
            chosen,
            quantity_left=Decimal(120),
            status="active",
            prior_authorization_until=None,
            written_on=today,
            expires_on=today + timedelta(days=300),
        )
        if chosen.quantity_left < 30 and chosen.status == "active":
            renewal = replace(allowed, rx_id=f"{chosen.rx_id}-R", renews=chosen.rx_id)
            others = [each for each in self.profile.prescriptions if each.rx_id != chosen.rx_id]
            self.profile = replace(
                self.profile, prescriptions=(*others, replace(chosen, status="superseded"), renewal)
            )
        else:
            self._put(allowed)
        return True

    def _put(self, changed: Prescription) -> None:
        self.profile = replace(
            self.profile,
            prescriptions=tuple(
                changed if each.rx_id == changed.rx_id else each for each in self.profile.prescriptions
            ),
        )

    # --- the planner, and who listens ---

    def plan_anew(self, now: datetime, today: date) -> None:
        self.at, outcome = progress.plan_anew(self.at, self.profile, EVERY_DAY, COMMERCIAL, today)
        if not isinstance(outcome, Plan):
            return
        self.revision += 1
        payload = publishing.payload_of(outcome, "patient-1", "store-1", self.revision, 1)
        event = publishing.event_of(payload)
        assert isinstance(event, PlanComputed)
        self.plan = event
        self.facts = self.facts._replace(plan=fulfillment.plan_of(event))
        self._reconcile(now)
        if not self.at.agreed:
            agreed = progress.alignment_agreed(self.at, event.plan_id, event.anchor_on)
            assert agreed
            self.at = agreed
            self.plan_anew(now, today)

    def _reconcile(self, now: datetime) -> None:
        for bag in self.bags.values():
            bag.order = reconcile(expire_leases(bag.order, now), self.facts, now)

    def call(self, now: datetime, today: date) -> None:
        """The visits of the week ahead are confirmed, with or without one of their drugs."""
        for visit in self.plan.visits if self.plan else ():
            near = today <= visit.on <= today + timedelta(days=7)
            if near and visit.visit_id not in self.bags and self.rng.random() < 0.7:
                self._confirm(visit, now, today)

    def _confirm(self, visit: Visit, now: datetime, today: date) -> None:
        assert self.plan
        heard = heard_of(self.plan)
        read_out = heard.visit(visit.visit_id)
        assert read_out and not any(item.at_counter for item in read_out.items)
        unwanted = frozenset(item.rx_id for item in read_out.items if self.rng.random() < 0.08)
        said = pickup(heard, read_out, unwanted)
        if not isinstance(said, PickupConfirmed):
            return
        order = confirm(None, fulfillment.confirmation_of(said))
        assert order
        late = self.rng.choice((0, 0, 0, 0, 1, 3))
        bag = Bag(order, visit.on, visit.on + timedelta(days=late))
        bag.agreed |= {item.rx_id for item in said.items}
        bag.declined |= unwanted
        self.bags[visit.visit_id] = bag
        wanted = {item.rx_id: (item.quantity, item.days_supply) for item in said.items}
        after = progress.pickup_confirmed(self.at, visit.visit_id, wanted, said.declined_rx_ids)
        assert after
        self.at = after
        self.plan_anew(now, today)

    # --- the store ---

    def fill(self, now: datetime, today: date) -> None:
        self._reconcile(now)
        for bag in self.bags.values():
            taken = Lease(f"{now}", "robot", now + timedelta(hours=1))
            [bag.order] = lease([bag.order], taken, now=now, limit=10)
            for item in bag.order.having(ItemStatus.leased):
                assert agreed_to(item, bag), "nothing is ordered that the patient did not agree to"
                self._report(bag, item, now, today)
            if bag.order.status is PackageStatus.to_verify:
                bag.order = verify(bag.order, excepted=(), bin_number=1, today=today, store=STORE)

    def _report(self, bag: Bag, item: Item, now: datetime, today: date) -> None:
        refused = self.rng.random() < 0.02
        outcome = Rejected("75") if refused else Filled(f"fill-{item.order_id}", today)
        assert item.lease
        bag.order = report(bag.order, item.order_id, item.lease.lease_id, outcome, now=now, store=STORE)
        if refused:
            rejection = Rejection(item.rx_to_fill, "75", today)
            self.profile = replace(self.profile, rejections=(*self.profile.rejections, rejection))

    def serve(self, bag: Bag, now: datetime, today: date) -> None:
        """The patient stands at the counter, and is asked what there is to ask."""
        for item in bag.order.having(ItemStatus.offered):
            yes = self.rng.random() < 0.7
            (bag.agreed if yes else bag.declined).add(item.rx_to_fill)
            bag.order = reconcile(answer_offers(bag.order, {item.rx_to_fill: yes}), self.facts, now)
            self.seen["agreed at the counter" if yes else "declined at the counter"] += 1
        try:
            bag.order = hand_over(bag.order, left=(), today=today)
        except Conflict as refused:
            assert refused.code == "also_due", "it was ready"
            self.seen["waited"] += 1
            self.fill(now, today)
            if bag.order.status is not PackageStatus.ready:
                return
            bag.order = hand_over(bag.order, left=(), today=today)
        self._judge(bag)
        self._take_home(bag, now, today)

    def _take_home(self, bag: Bag, now: datetime, today: date) -> None:
        self.seen["handed over"] += 1
        for item in bag.order.having(ItemStatus.filled):
            rx_id = item.rx_to_fill
            assert item.filled_on
            taken = Fill(rx_id, item.filled_on, today, item.days_supply, item.quantity)
            self.profile = replace(self.profile, fills=(*self.profile.fills, taken))
            [each] = [each for each in self.profile.prescriptions if each.rx_id == rx_id]
            self._put(replace(each, quantity_left=max(Decimal(0), each.quantity_left - item.quantity)))
        self.at = progress.close_visit(self.at, bag.order.visit_id)
        self.plan_anew(now, today)

    # --- what is right ---

    def _judge(self, bag: Bag) -> None:
        assert bag.as_of
        profile, plan = bag.as_of
        for item in bag.order.having(ItemStatus.filled):
            assert agreed_to(item, bag), "nothing is in the bag that the patient did not agree to"
        in_bag = {ingredient(item.rx_to_fill) for item in bag.order.having(ItemStatus.filled)}
        unfillable = {ingredient(item.rx_to_fill) for item in bag.order.having(ItemStatus.rejected)}
        said_no = {ingredient(rx_id) for rx_id in bag.declined}
        elsewhere = {
            ingredient(item.rx_id)
            for visit in plan.visits
            if visit.visit_id != bag.order.visit_id
            and (visit.visit_id in self.bags or visit.on < plan.computed_on + LEAD)
            for item in visit.items
        }
        put_off = {
            ingredient(rx_id) for rx_id, until in self.at.declined_until.items() if until > bag.visit_on
        }
        for each in due(profile, plan, bag.visit_on) - in_bag:
            self.seen["due and not in the bag"] += 1
            assert each in said_no | put_off | unfillable | elsewhere, (each, bag.visit_on)


def ingredient(rx_id: str) -> str:
    return rx_id.removeprefix("rx-").removesuffix("-R")


def agreed_to(item: Item, bag: Bag) -> bool:
    """As it was confirmed, a renewal in its place, or as the patient said at the counter."""
    return bool({item.rx_id, item.rx_to_fill} & bag.agreed)


def authorized(each: Prescription, day: date) -> bool:
    until = each.prior_authorization_until
    return each.status == "superseded" or (
        each.status == "active"
        and each.quantity_left >= 30
        and day <= each.expires_on
        and not (until and until < day)
    )


def due(profile: Profile, plan: PlanComputed, on: date) -> set[str]:
    """The drugs that run out before the pickup after, and that payer and prescriber allow on that day."""
    again = min((day for day in told(plan) if day > on), default=on + timedelta(days=30))
    fills: dict[str, list[Fill]] = defaultdict(list)
    for fill in profile.fills:
        fills[ingredient(fill.rx_id)].append(fill)
    found = set()
    for each in profile.prescriptions:
        mine = sorted(fills[ingredient(each.rx_id)], key=lambda fill: fill.handed_over_on)
        if each.status == "superseded" or not authorized(each, on) or not mine:
            continue
        if any(
            each.rx_id == no.rx_id and on < no.rejected_on + timedelta(days=14) for no in profile.rejections
        ):
            continue
        run_out = mine[0].handed_over_on
        for fill in mine:
            run_out = max(run_out, fill.handed_over_on) + timedelta(days=fill.days_supply)
        last = max(mine, key=lambda fill: fill.filled_on)
        if run_out < again and last.filled_on + timedelta(days=-(-last.days_supply * 75 // 100)) <= on:
            found.add(ingredient(each.rx_id))
    return found


def told(plan: PlanComputed) -> list[date]:
    """The days on which the patient comes, as far as they are told."""
    return [plan.anchor_on, plan.next_anchor_on]


def live(seed: int) -> Life:
    life = Life(seed)
    for number in range(DAYS):
        today = in_days(number)
        for clock in (MORNING, NOON, PICKUP):
            now = STORE.at(today, clock)
            if life.something_is_allowed(today) or clock == MORNING:
                life.plan_anew(now, today)
            if clock == NOON:
                life.call(now, today)
            life.fill(now, today)
            if clock == PICKUP:
                come(life, now, today)
    return life


def come(life: Life, now: datetime, today: date) -> None:
    for bag in list(life.bags.values()):
        if bag.visit_on == today and life.plan:
            bag.as_of = life.profile, life.plan
        if bag.comes_on <= today and bag.order.status is PackageStatus.ready:
            life.serve(bag, now, today)


@pytest.mark.parametrize("seed", range(24))
def test_what_the_patient_takes_home_is_what_was_due_and_agreed_to(seed: int) -> None:
    live(seed)
