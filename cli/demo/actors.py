"""The people and systems around MedSync: each uses only the public HTTP interfaces and leases.

Every actor has `look(now)`, which finds what it can do at this moment (and leases it), as pieces of work to be run
beside one another, and `next_at(now)`, when it will want to look again although no service wakes it. They look one
after another while the services are at rest: so what each finds is the same in every run.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cli.demo.behavior import Behavior
from cli.demo.http import Actor, Refusal, Services
from data.resample import Records, Row

LEASED_AT_ONCE = 200
BATCH = 500
AT_ONCE = 12
"""Pieces of work beside one another."""

Piece = Coroutine[Any, Any, None]
ZONE = ZoneInfo("America/Chicago")
T = TypeVar("T")


def local(day: date, hour: int) -> datetime:
    """An hour of a day at the stores, in UTC."""
    return datetime.combine(day, time(hour), ZONE).astimezone(UTC)


async def in_turn(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines, so many at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(job: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await job

    return await asyncio.gather(*(one(job) for job in jobs))


class ChainPlatform:
    """Feeds what happens at the chain on the day it happens: new patients, new prescriptions, renewals."""

    def __init__(self, services: Services, records: Records, fed_until: date) -> None:
        self._actor = Actor("chain-platform", "feed", services)
        self._prescriptions = {row["rx_id"]: row for row in records.prescriptions}
        self._later: dict[date, list[tuple[str, Row]]] = defaultdict(list)
        for kind in ("patients", "prescriptions"):  # the chain's own refills stop: MedSync plans them now
            for row in records.of(kind):
                if (day := date.fromisoformat(row["known_on"])) > fed_until:
                    self._later[day].append((kind, row))
        self._approved: list[tuple[str, int, int]] = []
        self._sent = 0

    async def look(self, now: datetime) -> list[Piece]:
        due = sorted(day for day in self._later if local(day, 8) <= now)
        rows = [row for day in due for row in self._later.pop(day)]
        approved, self._approved = sorted(self._approved), []
        rows += [("prescriptions", self._renewal(*each, now.astimezone(ZONE).date())) for each in approved]
        return [self._feed_in_order(rows)] if rows else []

    def next_at(self, now: datetime) -> datetime | None:
        return min((local(day, 8) for day in self._later), default=None)

    def renew(self, rx_id: str, number: int, refills: int) -> None:
        """A prescriber's approval, the prescription's so-manieth, reaches the chain as a new prescription."""
        self._approved.append((rx_id, number, refills))

    def _renewal(self, rx_id: str, number: int, refills: int, on: date) -> Row:
        old = self._prescriptions[rx_id]
        renewed = old | {
            "rx_id": f"{rx_id.partition('-R')[0]}-R{number}",
            "revision": "1",
            "status": "active",
            "written_on": on.isoformat(),
            "expires_on": (on + timedelta(days=365)).isoformat(),
            "quantity_left": f"{float(old['usual_quantity']) * (refills + 1):g}",
            "refills_left": str(refills),
            "renews": rx_id,
        }
        self._prescriptions[renewed["rx_id"]] = renewed
        return renewed

    async def _feed_in_order(self, rows: Sequence[tuple[str, Row]]) -> None:
        for kind in ("patients", "prescriptions"):
            await self._feed(kind, [row for of, row in rows if of == kind])

    async def _feed(self, kind: str, records: list[Row]) -> None:
        for start in range(0, len(records), BATCH):
            self._sent += 1
            batch = records[start : start + BATCH]
            key = f"{kind}:{self._sent}"
            await self._actor.post(
                "enrollment", f"/imports/{kind}", {"source": "chain", "records": batch}, key=key
            )


class EnrollmentDesk:
    """Staff who ask candidates, and note who leaves."""

    def __init__(self, services: Services, behavior: Behavior, start: date) -> None:
        self._actor = Actor("technician-1", "technician", services)
        self._behavior, self._start = behavior, start
        self._looked_on: date | None = None
        self._to_ask: dict[str, datetime] = {}
        self._to_leave: dict[str, datetime] = {}
        self._seen: set[str] = set()
        self.asked = 0

    async def look(self, now: datetime) -> list[Piece]:
        await self._read_candidates(now)
        ask = [patient for patient, at in self._to_ask.items() if at <= now]
        leave = [patient for patient, at in self._to_leave.items() if at <= now]
        return [self._ask(patient) for patient in ask] + [self._leave(patient) for patient in leave]

    @property
    def found(self) -> int:
        """Candidates ever seen on the list."""
        return len(self._seen)

    def next_at(self, now: datetime) -> datetime | None:
        tomorrow = local(now.astimezone(ZONE).date() + timedelta(days=1), 9)
        return min([tomorrow, *self._to_ask.values(), *self._to_leave.values()])

    async def _read_candidates(self, now: datetime) -> None:
        """Once a day: who is new on the list of candidates."""
        today = now.astimezone(ZONE).date()
        if self._looked_on == today:
            return
        self._looked_on = today
        for candidate in await self._actor.every("enrollment", "/candidates"):
            patient = candidate["patient_id"]
            if patient not in self._seen:
                self._seen.add(patient)
                self._to_ask[patient] = local(today + timedelta(days=self._behavior.asked_after(patient)), 10)

    async def _ask(self, patient: str) -> None:
        del self._to_ask[patient]
        self.asked += 1
        if not self._behavior.opts_in(patient):
            return
        consent = self._behavior.consent(patient)
        await self._actor.post(
            "enrollment", f"/patients/{patient}/consent", consent, key=f"consent:{patient}"
        )
        if (day := self._behavior.leaves_on_day(patient)) is not None:
            self._to_leave[patient] = local(self._start + timedelta(days=day), 11)

    async def _leave(self, patient: str) -> None:
        del self._to_leave[patient]
        path = f"/patients/{patient}/disenrolment"
        await self._actor.post("enrollment", path, {"reason": "revoked"}, key=f"leave:{patient}")


class Lessee(ABC):
    """Someone who leases due work of one kind, does it, and reports."""

    def __init__(self, actor: Actor, service: str, work: str, what: str, minutes: int) -> None:
        self._actor, self._service, self._work, self._what = actor, service, work, what
        self._minutes, self._leases = minutes, 0
        self._next: datetime | None = None

    async def look(self, now: datetime) -> list[Piece]:
        return [self.do(one, now) for one in await self._lease()] if await self._is_due(now) else []

    def next_at(self, now: datetime) -> datetime | None:
        return self._next

    @abstractmethod
    async def do(self, leased: dict[str, Any], now: datetime) -> None:
        """Do one piece of leased work and report it."""

    async def _is_due(self, now: datetime) -> bool:
        answer = await self._actor.get_while_it_stands(self._service, f"/{self._work}/next-due")
        self._next = datetime.fromisoformat(answer["next_due"]) if answer["next_due"] else None
        return self._next is not None and self._next <= now

    async def _lease(self) -> list[dict[str, Any]]:
        self._leases += 1
        body = {"worker": self._actor.name, "limit": LEASED_AT_ONCE, "minutes": self._minutes}
        key = f"lease:{self._leases}"
        answer = await self._actor.post(self._service, f"/{self._work}/lease", body, key=key)
        found: list[dict[str, Any]] = answer[self._what]
        return found


class Dialer(Lessee):
    """Leases due contacts, speaks with patients, reports what they said.

    In the role of the dialer it is the automatic dialer; as a technician it also calls whom the dialer may not.
    """

    def __init__(self, name: str, role: str, services: Services, behavior: Behavior) -> None:
        super().__init__(Actor(name, role, services), "outreach", "contacts", "contacts", minutes=15)
        self._behavior = behavior
        self.calls = self.reached = 0

    async def do(self, leased: dict[str, Any], now: datetime) -> None:
        contact, kind, patient = leased, leased["kind"], leased["patient_id"]
        about = contact["visit"]["visit_id"] if contact["visit"] else ""
        outcome = self._behavior.contact_outcome(kind, patient, about, contact["attempt"])
        report: dict[str, Any] = {"lease_id": contact["lease_id"], "outcome": outcome}
        if outcome == "answered":
            report["answer"] = self._answer(contact, patient, now)
        self.calls += 1
        self.reached += outcome == "answered"
        path = f"/contacts/{contact['contact_id']}/outcome"
        await self._actor.post("outreach", path, report, key=f"outcome:{contact['lease_id']}")

    def _answer(self, contact: dict[str, Any], patient: str, now: datetime) -> dict[str, Any]:
        if contact["kind"] == "alignment":
            return self._answer_alignment(contact, patient, now)
        if contact["kind"] == "confirmation":
            return self._answer_confirmation(contact["visit"], patient, now)
        return {}

    def _answer_alignment(self, contact: dict[str, Any], patient: str, now: datetime) -> dict[str, Any]:
        """Take one of the offered days, and confirm on the same call what is near."""
        offered = contact["offered"]
        chosen = self._behavior.alignment_choice(patient, offered[0]["on"], len(offered))
        week = now.astimezone(ZONE).date() + timedelta(days=7)
        near = [
            v["visit_id"] for v in contact["visits"] if chosen == 0 and date.fromisoformat(v["on"]) <= week
        ]
        return {"anchor_on": offered[chosen]["on"], "confirm_visits": near}

    def _answer_confirmation(self, visit: dict[str, Any], patient: str, now: datetime) -> dict[str, Any]:
        said = self._behavior.answer_to_confirmation(patient, visit["visit_id"])
        items = [item["rx_id"] for item in visit["items"]]
        one = self._behavior.one_of(items, "which", patient, visit["visit_id"])
        on = date.fromisoformat(visit["on"])
        match said:
            case "decline":
                return {"decline": True}
            case "another day" if on - timedelta(days=2) > now.date():
                return {"reschedule_to": (on - timedelta(days=1)).isoformat()}
            case "all but one" if len(items) > 1:
                return {"confirm": True, "declined_rx_ids": [one]}
            case "stopped one" if len(items) > 1:
                return {
                    "confirm": True,
                    "declined_rx_ids": [one],
                    "changes": [{"rx_id": one, "change": "stopped"}],
                }
            case "has some left":
                return {"confirm": True, "changes": [{"rx_id": one, "change": "on_hand", "days_left": 9}]}
            case "question":
                return {"confirm": True, "question": True}
            case _:
                return {"confirm": True}


class Prescribers(Lessee):
    """Answer requests for renewals; an approval reaches the chain as a new prescription."""

    def __init__(self, services: Services, behavior: Behavior, platform: ChainPlatform) -> None:
        actor = Actor("prescriber-line", "technician", services)
        super().__init__(actor, "outreach", "prescriber-contacts", "contacts", minutes=15)
        self._behavior, self._platform = behavior, platform
        self._renewals: dict[str, int] = defaultdict(int)

    async def do(self, leased: dict[str, Any], now: datetime) -> None:
        answers = {
            each["rx_id"]: self._behavior.renewal_answer(each["rx_id"], each["attempt"])
            for each in leased["renewals"]
        }
        path = f"/prescriber-contacts/{leased['contact_id']}/outcome"
        report = {"lease_id": leased["lease_id"], "answers": answers}
        await self._actor.post("outreach", path, report, key=f"outcome:{leased['lease_id']}")
        for rx_id in sorted(rx_id for rx_id, answer in answers.items() if answer == "approved"):
            root = rx_id.partition("-R")[0]
            self._renewals[root] += 1
            self._platform.renew(rx_id, self._renewals[root], self._behavior.renewal_refills(rx_id))


class DispensingSystem(Lessee):
    """The chain's legal record: leases fill orders, adjudicates, fills, reports."""

    def __init__(self, services: Services, behavior: Behavior) -> None:
        actor = Actor("dispensing-system", "dispensing", services)
        super().__init__(actor, "fulfillment", "fill-orders", "orders", minutes=60)
        self._behavior = behavior
        self.reported = 0
        self.unfilled: list[tuple[str, dict[str, Any]]] = []
        """What was rejected or short, for the technician to work."""

    async def do(self, leased: dict[str, Any], now: datetime) -> None:
        order, rx_id, visit = leased, leased["rx_id"], leased["visit_id"]
        result = self._behavior.fill_result(order["patient_id"], visit, rx_id, order["try_number"])
        report: dict[str, Any] = {"lease_id": order["lease_id"], "result": result, "licence": "DS-1"}
        match result:
            case "filled":
                report["fill_id"] = f"F-{visit[:13]}-{rx_id}"
            case "rejected":
                report["reject_code"] = "75"
            case "short":
                report["missing"] = order["quantity"]
        self.reported += 1
        path = f"/fill-orders/{order['order_id']}/result"
        await self._actor.post("fulfillment", path, report, key=f"result:{order['lease_id']}")
        if result != "filled":
            self.unfilled.append((result, order))


class RejectsDesk:
    """The technician who works rejects and shortages, the same or the next days."""

    def __init__(self, services: Services, behavior: Behavior, dispensing: DispensingSystem) -> None:
        self._actor = Actor("technician-1", "technician", services)
        self._behavior, self._dispensing = behavior, dispensing
        self._waiting: dict[str, tuple[datetime, str, dict[str, Any]]] = {}

    async def look(self, now: datetime) -> list[Piece]:
        unfilled, self._dispensing.unfilled = self._dispensing.unfilled, []
        for result, order in unfilled:
            work = self._reject(order, now) if result == "rejected" else self._shortage(order, now)
            self._waiting[order["order_id"]] = (work[0], f"resolve:{order['lease_id']}", work[1])
        due = sorted(order_id for order_id, (at, *_) in self._waiting.items() if at <= now)
        return [self._resolve(order_id, *self._waiting.pop(order_id)[1:]) for order_id in due]

    def next_at(self, now: datetime) -> datetime | None:
        return min((at for at, *_ in self._waiting.values()), default=None)

    def _reject(self, order: dict[str, Any], now: datetime) -> tuple[datetime, dict[str, Any]]:
        days = self._behavior.reject_resolved_after(*_about(order))
        if days is None:
            return _later(now, 2), {"action": "give_up", "reason": "the prescriber asks for no authorization"}
        return _later(now, days), {"action": "resubmit", "how": "prior_authorization"}

    def _shortage(self, order: dict[str, Any], now: datetime) -> tuple[datetime, dict[str, Any]]:
        half = Decimal(order["quantity"]) / 2
        match self._behavior.shortage_resolved(*_about(order)):
            case "partial" if order["days_supply"] > 1 and not order["dispensing_status"]:
                expected = now.astimezone(ZONE).date() + timedelta(days=2)
                rest = {"quantity": f"{half:f}", "expected_on": expected.isoformat()}
                return _later(now, 0), {"action": "partial", **rest}
            case "give up":
                return _later(now, 0), {"action": "give_up", "reason": "the wholesaler has none"}
            case _:
                return _later(now, 1), {"action": "resubmit", "how": "stock_arrived"}

    async def _resolve(self, order_id: str, key: str, resolution: dict[str, Any]) -> None:
        try:
            path = f"/fill-orders/{order_id}/resolution"
            await self._actor.post("fulfillment", path, resolution, key=key)
        except Refusal as refusal:
            if refusal.status != 409:  # the patient came, or it was given up with its day
                raise


def _about(order: dict[str, Any]) -> tuple[str, str, str, int]:
    return order["patient_id"], order["visit_id"], order["rx_id"], order["try_number"]


def _later(now: datetime, days: int) -> datetime:
    """Within the hour, or on the morning so many days later."""
    return local(now.astimezone(ZONE).date() + timedelta(days=days), 10) if days else now + timedelta(hours=1)


class Bench:
    """The pharmacist who verifies packages; looks when something was filled."""

    def __init__(self, services: Services, dispensing: DispensingSystem) -> None:
        self._actor = Actor("pharmacist-1", "pharmacist", services)
        self._dispensing, self._looked_after = dispensing, 0
        self.verified = 0

    @property
    def reported(self) -> int:
        """Fills of which the dispensing system said what came of them."""
        return self._dispensing.reported

    async def look(self, now: datetime) -> list[Piece]:
        if self._looked_after == self._dispensing.reported:
            return []
        self._looked_after = self._dispensing.reported
        packages = await self._actor.every("fulfillment", "/packages", status="to_verify")
        return [self._verify(package) for package in packages]

    def next_at(self, now: datetime) -> datetime | None:
        return None

    async def _verify(self, package: dict[str, Any]) -> None:
        """Again, where something was filled since: that is another command."""
        number, filled = package["package_id"], sum(item["state"] == "filled" for item in package["items"])
        path, key = f"/packages/{number}/verification", f"verify:{number}:{filled}"
        await self._actor.post("fulfillment", path, {"licence": "RPH-1"}, key=key)
        self.verified += 1


@dataclass
class Waiting:
    """Somebody at the counter for whom something more is being filled."""

    until: datetime
    packages: frozenset[str]


class PickupDesk:
    """Patients come, show who they are, say whether they want what else is due, take their package and talk with the
    pharmacist.

    Looks at the shelf when something was verified, and when someone is to come. Who comes for one package takes the
    others that are ready as well, and waits an hour at most for what is filled besides.
    """

    def __init__(self, services: Services, behavior: Behavior, bench: Bench) -> None:
        self._clerk = Actor("clerk-1", "clerk", services)
        self._pharmacist = Actor("pharmacist-2", "pharmacist", services)
        self._behavior, self._bench, self._looked_after = behavior, bench, (0, 0)
        self._expected: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._waiting: dict[str, Waiting] = {}  # by patient

    async def look(self, now: datetime) -> list[Piece]:
        acted = self._bench.verified, self._bench.reported if self._waiting else 0
        if self._looked_after == acted and not any(at <= now for at in self._moments()):
            return []
        self._looked_after = acted
        ready = await self._clerk.every("fulfillment", "/packages", status="ready")
        self._expected = {
            package["package_id"]: (at, package)
            for package in ready
            if (at := self._comes_at(package)) is not None
        }
        here = {package["patient_id"] for at, package in self._expected.values() if at <= now}
        here |= self._waiting.keys()
        shelf: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for package in sorted(ready, key=lambda each: (each["on"], each["package_id"])):
            shelf[package["patient_id"]].append(package)
        for package in (each for patient in here for each in shelf[patient]):
            self._expected.pop(package["package_id"], None)
        return [self._serve(patient, shelf[patient], now) for patient in sorted(here)]

    def next_at(self, now: datetime) -> datetime | None:
        return min(self._moments(), default=None)

    def _moments(self) -> list[datetime]:
        """When somebody comes, or has waited long enough."""
        return [
            *(at for at, _ in self._expected.values()),
            *(waiting.until for waiting in self._waiting.values()),
        ]

    def _comes_at(self, package: dict[str, Any]) -> datetime | None:
        late = self._behavior.comes_after(package["patient_id"], package["visit_id"])
        return None if late is None else local(date.fromisoformat(package["on"]) + late, 16)

    async def _serve(self, patient: str, packages: Sequence[dict[str, Any]], now: datetime) -> None:
        """Who is here says whether they want what else is due, waits for that, and takes every package, the earliest
        first."""
        waiting = self._waiting.get(patient)
        if waiting is None or waiting.until > now:
            answered = [await self._ask(package) for package in packages]
            numbers = {package["package_id"] for package in answered}
            missing = waiting.packages - numbers if waiting else frozenset[str]()
            if missing or any(map(_also_due, answered)):
                until = waiting.until if waiting else now + timedelta(hours=1)
                self._waiting[patient] = Waiting(until, missing | numbers)
                return
        self._waiting.pop(patient, None)
        for package in packages:
            await self._hand_over(package)

    async def _ask(self, package: dict[str, Any]) -> dict[str, Any]:
        """Put what is to be asked; answers the package as it is then."""
        number, visit, patient = (package[name] for name in ("package_id", "visit_id", "patient_id"))
        answers = [
            {
                "rx_id": item["rx_id"],
                "answer": "fill" if self._behavior.agrees(patient, visit, item["rx_id"]) else "decline",
            }
            for item in package["items"]
            if item["state"] == "offered"
        ]
        if not answers:
            return package
        key = f"offers:{number}:{'+'.join(each['rx_id'] for each in answers)}"
        try:
            answered: dict[str, Any] = await self._clerk.post(
                "fulfillment", f"/packages/{number}/offers", {"answers": answers}, key=key
            )
        except Refusal as refusal:
            if refusal.status not in (409, 422):  # it is no longer due, or the package went back
                raise
            return package
        package["items"] = answered["items"]
        return package

    async def _hand_over(self, package: dict[str, Any]) -> None:
        number, visit = package["package_id"], package["visit_id"]
        body: dict[str, Any] = {"identifiers": ["name", "birth_date"], "collected_by": "patient"}
        if later := _also_due(package):
            body["later_rx_ids"] = later
        try:
            await self._clerk.post(
                "fulfillment", f"/packages/{number}/hand-over", body, key=f"hand-over:{number}"
            )
        except Refusal as refusal:
            if refusal.status != 409:  # it went back to the shelf while the patient was on the way
                raise
            return
        talk = {"outcome": "held" if self._behavior.talks(package["patient_id"], visit) else "declined"}
        await self._pharmacist.post("fulfillment", f"/visits/{visit}/consultation", talk, key=f"talk:{visit}")


def _also_due(package: dict[str, Any]) -> list[str]:
    """What is to be filled before the patient leaves."""
    return [item["rx_id"] for item in package["items"] if item["state"] in ("offered", "to_fill", "leased")]
