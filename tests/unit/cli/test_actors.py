"""What the people of the demo do."""

from __future__ import annotations

from datetime import date
from typing import Any, cast

from cli.demo.actors import Bench, DispensingSystem, PickupDesk, local
from cli.demo.behavior import Behavior
from cli.demo.http import Actor, Services

ON = date(2009, 10, 6)


class Shelf(Actor):
    """A fulfillment service with packages that are ready; keeps what it is asked to do."""

    def __init__(self, *packages: dict[str, Any]) -> None:
        self.packages = list(packages)
        self.asked: list[str] = []

    async def every(self, service: str, path: str, **query: object) -> list[Any]:
        return list(self.packages)

    async def post(self, service: str, path: str, body: object, *, key: str) -> None:
        self.asked.append(path)


def package(number: str, patient: str, on: date = ON) -> dict[str, Any]:
    return {
        "package_id": number,
        "patient_id": patient,
        "visit_id": f"visit-{number}",
        "on": on.isoformat(),
        "items": [],
    }


def comes(number: str, patient: str, behavior: Behavior, *, at_all: bool) -> bool:
    return (behavior.comes_after(patient, f"visit-{number}") is not None) is at_all


async def test_who_comes_takes_every_package_that_waits_the_earliest_first() -> None:
    """Also one for which they would have come later, or never."""
    behavior = Behavior(1)
    never = next(str(n) for n in range(1000) if comes(str(n), "p1", behavior, at_all=False))
    late = behavior.comes_after("p1", "visit-a")
    assert late is not None
    shelf = Shelf(
        package("a", "p1", ON), package(never, "p1", date(2009, 10, 1)), package("b", "p2", date(2010, 1, 1))
    )
    bench = Bench({}, DispensingSystem({}, behavior))
    bench.verified = 1
    desk = PickupDesk({}, behavior, bench)
    desk._clerk = desk._pharmacist = shelf
    for piece in await desk.look(local(ON + late, 16)):
        await piece
    assert [path for path in shelf.asked if path.endswith("/hand-over")] == [
        f"/packages/{never}/hand-over",
        "/packages/a/hand-over",
    ]


class Asking(Actor):
    """Counts how often a service is asked."""

    asked = 0

    async def get(self, service: str, path: str, **query: object) -> Any:
        self.asked += 1
        return f"{self.name} {self.asked}"


async def test_an_answer_stands_until_the_service_is_stirred_and_for_who_asked_alone() -> None:
    services = Services({}, http=cast(Any, None))
    dialer, technician = Asking("dialler", "system", services), Asking("ann", "technician", services)

    async def asks(actor: Actor) -> Any:
        return await actor.get_while_it_stands("outreach", "/contacts/next-due")

    assert [await asks(dialer), await asks(dialer)] == ["dialler 1", "dialler 1"]
    assert await asks(technician) == "ann 1", "who may call whom depends on the role"
    services.stirred["outreach"] += 1
    assert [await asks(dialer), await asks(technician)] == ["dialler 2", "ann 2"]
