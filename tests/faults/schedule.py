"""Which fault comes when: a seed gives the same schedule every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.messaging.crashpoints import POINTS
from tests.faults import faults
from tests.faults.system import seeded


@dataclass(frozen=True)
class Blow:
    """One fault: what it does, the seed of its own choices, and the seconds until the next."""

    name: str
    fault: Any
    seed: str
    pause: float


def schedule(seed: str, *, kills: int) -> Sequence[Blow]:
    """A mixture of all faults that kills about so many processes; the crash points come round in turn."""
    rng = seeded(seed)
    points = [
        point for _ in range(-(-kills // (3 * len(POINTS)))) for point in rng.sample(POINTS, len(POINTS))
    ]
    chosen: list[tuple[str, Any]] = [
        (f"crash at {point}", partial(faults.crash_point, point=point)) for point in points
    ]
    others, weights = list(faults.FAULTS), list(faults.FAULTS.values())
    drawn = rng.choices(others, weights, k=max(len(others), kills - len(points)))
    chosen += [(fault.__name__, fault) for fault in [*others, *drawn]]
    chosen += [("kill_postgres", faults.kill_postgres)] * max(1, kills // 40)
    chosen += [("kill_kafka", faults.kill_kafka)] * max(1, kills // 60)
    chosen += [("hold_a_lock_for_long", faults.hold_a_lock_for_long)] * (kills // 100)
    chosen += [("freeze_a_server", faults.freeze_a_server)] * (kills // 90)
    rng.shuffle(chosen)
    return [
        Blow(name, fault, f"{seed}/{number}", rng.uniform(0.1, 0.6))
        for number, (name, fault) in enumerate(chosen)
    ]
