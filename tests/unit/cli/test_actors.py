"""What the people of the demo do."""

from __future__ import annotations

from datetime import date
from typing import Any

from cli.demo.actors import Bench, DispensingSystem, PickupDesk, local
from cli.demo.behaviour import Behaviour
from cli.demo.http import Actor

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
    }


def comes(number: str, patient: str, behaviour: Behaviour, *, at_all: bool) -> bool:
    return (behaviour.comes_after(patient, f"visit-{number}") is not None) is at_all


async def test_who_comes_takes_every_package_that_waits_the_earliest_first() -> None:
    """Also one for which they would have come later, or never."""
    behaviour = Behaviour(1)
    never = next(str(n) for n in range(1000) if comes(str(n), "p1", behaviour, at_all=False))
    late = behaviour.comes_after("p1", "visit-a")
    assert late is not None
    shelf = Shelf(
        package("a", "p1", ON), package(never, "p1", date(2009, 10, 1)), package("b", "p2", date(2010, 1, 1))
    )
    bench = Bench({}, DispensingSystem({}, behaviour))
    bench.verified = 1
    desk = PickupDesk({}, behaviour, bench)
    desk._clerk = desk._pharmacist = shelf
    for piece in await desk.look(local(ON + late, 16)):
        await piece
    assert [path for path in shelf.asked if path.endswith("/hand-over")] == [
        f"/packages/{never}/hand-over",
        "/packages/a/hand-over",
    ]
