"""Everybody planned anew, together or one by one: `python -m benchmarks.replan`.

A chain's usual patients, never planned before, so that every plan is written and published: the most that a replan can
have to do. **Together**: a transaction for each 128 of one store; **two stores at once**: the same, as `medsync plan
replan` goes through a chain, so that one is planned while the database works for the other; **one by one**: a
transaction for each patient, with the same statements. The rules are the same for all three, and so are the patients:
what differs is reading and writing. The **write ceiling**
writes and emits the same plans, computed before, 128 at once. Emitted is what stands in the outbox; what the relay
makes of it, `hop` measures. Each run has a fresh copy of the database; seconds are of the clock, beside them the CPU
time of this process and of PostgreSQL, which other work on the machine moves less. **Again** is a second pass over the
same patients, where every plan stands. With `--memory` it is one pass over all patients, two stores at once, and what
this process holds meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from datetime import time as of_day
from decimal import Decimal
from random import Random
from typing import Any

from benchmarks.common import (
    Bench,
    Cpu,
    Target,
    arguments,
    in_turn,
    median_and_range,
    resident_mb,
    run,
    table,
)
from deploy.local.databases import migrations_of
from services.planner import store
from services.planner.domain.model import Fill, Prescription
from services.planner.recompute import Planned, held, plan_together, save_planned
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import enrollment
from shared.events.enrollment import OpenHours, PatientEnrolled, StoreChanged
from shared.memory import spare_the_collector
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.unit import Cause, patient
from shared.sealing import Sealer
from tests.running import SEALING_KEY
from tests.unit.planner.population import TODAY, chain_patient

TOGETHER = 128
PATIENTS_OF_A_STORE = 1000
NOW = datetime.combine(TODAY, of_day(12), UTC)
CAUSE = Cause("benchmark", "benchmark")
NOTHING_USED = Cpu(0, 0, 0)


@dataclass
class Pass:
    """Seconds of a pass over some patients, and what was planned."""

    patients: int = 0
    clock: float = 0
    reading: float = 0  # locks included
    rules: float = 0
    writing: float = 0  # outbox and commit included
    cpu: Cpu = NOTHING_USED
    planned: list[Planned] = field(default_factory=list)

    @property
    def each(self) -> float:
        """Milliseconds for each patient."""
        return self.clock / self.patients * 1e3

    @property
    def besides_rules(self) -> float:
        return self.reading + self.writing

    def shares(self) -> tuple[str, ...]:
        """Milliseconds for each patient, by what they are spent on; those of stores at once overlap."""
        parts = (self.reading, self.rules, self.writing, self.cpu.client, self.cpu.postgres)
        return tuple(f"{part / self.patients * 1e3:.2f}" for part in parts)


async def benchmark(bench: Bench) -> Sequence[Target]:
    """Fill once; then each contender in turn on a copy."""
    filled = await asyncio.to_thread(bench.database, *migrations_of("planner"))
    async with working(bench, filled) as work:
        began = time.monotonic()
        await fill(work)
        await tidy(work)
        print(
            f"{given.patients:,} patients of {how_many_stores()} stores written in {time.monotonic() - began:.0f} s\n"
        )
    ids = [f"patient-{number:07}" for number in range(given.patients)]
    spare_the_collector()  # as cli.serve does
    if given.memory:
        return await hold(bench, filled, ids)
    passes: dict[str, list[Pass]] = {name: [] for name in CONTENDERS}
    again: dict[str, list[Pass]] = {name: [] for name in CONTENDERS}
    ceiling: list[Pass] = []
    for number in range(given.rounds):
        for name in in_turn(list(CONTENDERS), number):
            async with on_copy(bench, filled) as work:
                passes[name].append(await accounted(bench, go(work, ids, name)))
                again[name].append(await accounted(bench, go(work, ids, name)))
        async with on_copy(bench, filled) as work:
            ceiling.append(await accounted(bench, write_only(work, passes["together"][-1].planned)))
        for each in (*passes["together"], *passes["one by one"]):
            each.planned = []
    return report(passes, again, ceiling)


async def accounted(bench: Bench, passing: Coroutine[Any, Any, Pass]) -> Pass:
    """A pass, with the CPU time that it took."""
    before, began = bench.cpu(os.getpid()), time.perf_counter()
    done = await passing
    done.clock = time.perf_counter() - began
    done.cpu = bench.cpu(os.getpid()).since(before)
    return done


async def hold(bench: Bench, filled: str, ids: Sequence[str]) -> list[Target]:
    """What this process holds after each tenth of the patients."""
    memory = []
    async with on_copy(bench, filled) as work:
        before, began = bench.cpu(os.getpid()), time.monotonic()
        for tenth in portions(ids, -(-len(ids) // 10)):
            await go(work, tenth, "two stores at once")
            memory.append(resident_mb(os.getpid()))
            print(f"{len(memory) * len(tenth):,}: {memory[-1]:.0f} MB", flush=True)
        clock, cpu = time.monotonic() - began, bench.cpu(os.getpid()).since(before)
    print(
        f"{len(ids):,} patients planned anew in {clock:.0f} s of the clock; "
        f"CPU time: {cpu.client:.0f} s here, {cpu.postgres:.0f} s PostgreSQL"
    )
    print(f"held after each tenth, MB: {' '.join(f'{each:.0f}' for each in memory)}")
    return [Target("memory at the end, to memory after a tenth", memory[-1] / memory[0], at_most=1.1)]


def report(passes: dict[str, list[Pass]], again: dict[str, list[Pass]], ceiling: list[Pass]) -> list[Target]:
    rows = []
    for name, runs in [
        *passes.items(),
        ("write ceiling, together", ceiling),
        *((f"again, {name}", runs) for name, runs in again.items()),
    ]:
        middle = sorted(runs, key=lambda run: run.each)[len(runs) // 2]
        rows.append(
            (
                name,
                f"{middle.patients:,}",
                median_and_range([each.each for each in runs], 2),
                *middle.shares(),
            )
        )
    parts = ("reading", "rules", "writing", "CPU ms: this process", "PostgreSQL")
    table(("", "patients", "ms a patient", *parts), rows)
    fast, slow = passes["two stores at once"], passes["one by one"]
    ratio = statistics.median(
        one.besides_rules / other.besides_rules for one, other in zip(slow, passes["together"], strict=True)
    )
    to_ceiling = statistics.median(one.each / other.each for one, other in zip(fast, ceiling, strict=True))
    print(f"two stores at once take {to_ceiling:.1f} times what the write ceiling does")
    return [
        Target("reading and writing in a transaction of their own, to together", ratio, at_least=2),
    ]


CONTENDERS: dict[str, tuple[int, int]] = {
    "together": (TOGETHER, 1),
    "two stores at once": (TOGETHER, 2),
    "one by one": (1, 1),
}
"""Patients of one transaction, and stores at once."""


async def go(work: Work, patients: Sequence[str], name: str) -> Pass:
    """Go through the stores: each is taken by whoever is free."""
    at_once, side_by_side = CONTENDERS[name]
    done = Pass()
    waiting = portions(patients, PATIENTS_OF_A_STORE)

    async def go_through() -> None:
        for of_store in waiting:
            for ids in portions(of_store, at_once):
                await replan(work, ids, done)

    await asyncio.gather(*(go_through() for _ in range(side_by_side)))
    return done


async def replan(work: Work, ids: Sequence[str], done: Pass) -> None:
    """Read, plan, write and emit: what changed, as `planning.replan_changed` does."""
    began = time.perf_counter()
    async with work.begin([patient(each) for each in ids], cause=CAUSE) as unit:
        records = await store.load_records(unit.db, ids, unit.now)
        stores = await store.load_stores(unit.db, {each.store_id for each in records.values()}, unit.now)
        read = time.perf_counter()
        before = [record for _, record in sorted(records.items())]
        planned = await plan_together(before, stores, unit.now)
        changed = [new for old, new in zip(before, planned, strict=True) if held(new.record) != old]
        ruled = time.perf_counter()
        await save_planned(unit, changed)
    done.reading += read - began
    done.rules += ruled - read
    done.writing += time.perf_counter() - ruled
    if not given.memory:
        done.planned += changed  # for the write ceiling
    done.patients += len(ids)


async def write_only(work: Work, planned: Sequence[Planned]) -> Pass:
    """The same rows and events again, and nothing else."""
    done = Pass(patients=max(1, len(planned)))
    for some in portions(planned, TOGETHER):
        began = time.perf_counter()
        async with work.begin([patient(each.record.patient_id) for each in some], cause=CAUSE) as unit:
            await save_planned(unit, some)
        done.writing += time.perf_counter() - began
    return done


def portions(everything: Sequence, size: int) -> Iterator[Sequence]:  # type: ignore[type-arg]
    return (everything[start : start + size] for start in range(0, len(everything), size))


# ---- patients and databases -------------------------------------------------------------------------------------


@asynccontextmanager
async def working(bench: Bench, url: str) -> AsyncIterator[Work]:
    clock = SteppedClock(bench.folder / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=2, name="benchmark")
    sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="benchmark")
    yield Work(pool, service="planner", clock=clock, sealer=sealer, bell=bell)
    await pool.close()


@asynccontextmanager
async def on_copy(bench: Bench, filled: str) -> AsyncIterator[Work]:
    """A fresh copy of the filled database."""
    url = await asyncio.to_thread(bench.database, template=filled.rpartition("/")[2].partition("?")[0])
    await bench.settle()
    async with working(bench, url) as work:
        yield work
    await asyncio.to_thread(bench.drop, url)


async def fill(work: Work) -> None:
    """Stores, and patients who are enrolled and were never planned."""
    rng = Random(1)
    hours = [OpenHours(weekday=day, opens=of_day(8), closes=of_day(20)) for day in range(6)]
    async with work.begin([], cause=CAUSE) as unit:
        await store.save_stores(unit.db, [a_store(number, hours) for number in range(how_many_stores())], NOW)
    for numbers in portions(range(min(given.patients, DRAWN)), TOGETHER):
        async with work.begin([], cause=CAUSE) as unit:
            events = [enrolled(rng, number) for number in numbers]
            await store.save_profiles(unit.db, events, consented=True)
    for further in range(DRAWN, given.patients, DRAWN):
        await work.pool.execute(COPIED, further, given.patients, DRAWN, PATIENTS_OF_A_STORE)


DRAWN = 5_000
"""Patients drawn one by one; those after them take what these do, at other stores."""

COPIED = """
    insert into patients (patient_id, revision, enrolled, store_id, profile)
    select 'patient-' || lpad(number::text, 7, '0'), 1, true, there, profile || jsonb_build_object('store_id', there)
    from generate_series($1::int, least($1 + $3, $2) - 1) as number
    join patients drawn on drawn.patient_id = 'patient-' || lpad((number - $1)::text, 7, '0')
    cross join lateral (select 'store-' || number / $4::int as there) stores
"""


async def tidy(work: Work) -> None:
    """As the database's own housekeeping leaves it; of very many patients that takes longer than a service may.

    The tables that are still empty are left alone, as it does: looked at now they would be taken for empty later, and
    read from end to end for each patient.
    """
    async with work.connection() as db:
        await db.execute("set statement_timeout = 0")
        await db.execute("vacuum analyze patients, stores", timeout=600)


def how_many_stores() -> int:
    return -(-given.patients // PATIENTS_OF_A_STORE)


def a_store(number: int, hours: Sequence[OpenHours]) -> StoreChanged:
    return StoreChanged(
        store_id=f"store-{number}",
        revision=1,
        name=f"Store {number}",
        state="CA",
        time_zone="America/Los_Angeles",
        hours=tuple(hours),
    )


def enrolled(rng: Random, number: int) -> PatientEnrolled:
    """A usual patient, as enrollment publishes them."""
    profile = chain_patient(rng, number)
    per_day = {each.rx_id: each.usual_quantity / each.usual_days for each in profile.prescriptions}
    return PatientEnrolled(
        patient_id=profile.patient_id,
        revision=1,
        consent=enrollment.Consent(given_at=NOW),
        profile=enrollment.Profile(
            store_id=f"store-{number // PATIENTS_OF_A_STORE}",
            prescriptions=tuple(_prescription(each) for each in profile.prescriptions),
            fills=tuple(
                _fill(each, f"fill-{number}-{place}", per_day[each.rx_id] * each.days_supply)
                for place, each in enumerate(profile.fills)
            ),
            cycle_policy=enrollment.CyclePolicy(profile.cycle_policy),
            must_weekdays=tuple(profile.must_weekdays),
            preferred_weekday=profile.preferred_weekday,
        ),
    )


def _prescription(each: Prescription) -> enrollment.Prescription:
    drug = {name: value for name, value in asdict(each.drug).items() if name in enrollment.Drug.model_fields}
    facts = {
        name: value for name, value in asdict(each).items() if name in enrollment.Prescription.model_fields
    }
    return enrollment.Prescription.model_validate({**facts, "drug": {"code": "1", **drug}})


def _fill(each: Fill, fill_id: str, quantity: Decimal) -> enrollment.Fill:
    return enrollment.Fill(
        fill_id=fill_id,
        rx_id=each.rx_id,
        filled_on=each.filled_on,
        handed_over_on=each.handed_over_on,
        quantity=quantity,
        days_supply=each.days_supply,
    )


parser = arguments(__doc__)
parser.add_argument(
    "--memory", action="store_true", help="one pass, two stores at once, and what is held along it"
)
parser.add_argument("--patients", type=int, default=300)

if __name__ == "__main__":
    given = parser.parse_args()
    run(benchmark, given)
