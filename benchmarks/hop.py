"""One hop: consume → inbox → state and outbox → relay → acknowledged by the broker.

Every contender works off the same topic into an empty database, and answers each event with one of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from benchmarks import events
from benchmarks.common import Bench, Target, arguments, in_turn, run
from benchmarks.runs import Load, Run, ratios, report, undisturbed, work_off
from deploy.local.databases import migrations_of
from shared.events.enrollment import TOPIC
from shared.events.planner import TOPIC as ANSWERS

OURS, TUTORIAL, BARE = "MedSync", "tutorial", "bare loop"
PROMISES = ("inbox", "locks", "parking", "relay")
PATIENTS = 5000
"""Each of them changes several times."""

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


async def benchmark(bench: Bench) -> list[Target]:
    targets = []
    found = await loads(bench)
    for load in found:
        print(f"{load.name}: {load.events:,} events of {load.bytes_each / 1000:.1f} kB\n", flush=True)
        await hop(bench, load, BARE)  # unmeasured: the broker's code is compiled, the topic is in memory
        runs: dict[str, list[Run]] = defaultdict(list)
        for number in range(given.rounds):
            for name in in_turn((OURS, TUTORIAL, BARE), number):
                runs[name].append(await undisturbed(partial(hop, bench, load, name)))
        report({name: runs[name] for name in (OURS, TUTORIAL, BARE)})
        for opponent, least in ((TUTORIAL, 25), (BARE, 0.6)):
            times = statistics.median(ratios(runs[OURS], runs[opponent]))
            targets.append(Target(f"{load.name}, against the {opponent}", times, at_least=least))
    if not given.no_ablations:
        print(f"{found[-1].name}, with one promise after the other left out\n", flush=True)
        await ablate(bench, found[-1])
    return targets


async def ablate(bench: Bench, load: Load) -> None:
    """Ours without one promise after the other, and without any."""
    leaving_out = {OURS: "", **{f"without {one}": one for one in PROMISES}, "without all": ",".join(PROMISES)}
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(given.rounds):
        for name in in_turn(list(leaving_out), number):
            one = partial(hop, bench, load, OURS, without=leaving_out[name])
            runs[name].append(await undisturbed(one))
    report({name: runs[name] for name in leaving_out})


async def loads(bench: Bench) -> list[Load]:
    """Fill one topic with real profiles and one with half-kilobyte events."""
    found = []
    if "profiles" in given.loads:
        await bench.topics("source.")
        source = await asyncio.to_thread(bench.database, *migrations_of("enrollment"))
        profiles = await events.real_profiles(source, bench.kafka, "source.", bench.folder / "clock")
        stream = itertools.islice(events.from_profiles(profiles, PATIENTS), given.events)
        found.append(await events.load(bench, "real profiles", "profiles.", stream))
    if "small" in given.loads:
        stream = itertools.islice(events.half_kilobyte(PATIENTS), 2 * given.events)
        found.append(await events.load(bench, "half a kilobyte", "small.", stream))
    return found


async def hop(
    bench: Bench, load: Load, contender: str, *, without: str = "", settings: Mapping[str, str] = NO_SETTINGS
) -> Run:
    """One contender works off the load from the beginning, in a group and a database of its own."""
    name = f"run{time.monotonic_ns()}"
    commands: dict[str, Sequence[str]] = {
        OURS: ("benchmarks.service", name, "--without", without),
        TUTORIAL: ("benchmarks.opponents", "tutorial", name),
        BARE: ("benchmarks.opponents", "bare", name),
    }
    database = await asyncio.to_thread(bench.database)
    await bench.settle()
    unsent = "relay" in without
    async with bench.watching(load.prefix + (TOPIC if unsent else ANSWERS)) as watch:

        async def done() -> int:
            return await (watch.taken(f"{load.prefix}medsync-{name}") if unsent else watch.end())

        process = bench.start(*commands[contender], database_url=database, prefix=load.prefix, **settings)
        wanted = given.tutorial_events if contender == TUTORIAL else load.events
        measured = await work_off(bench, process, done, wanted)
    await asyncio.to_thread(bench.drop, database)
    return measured


parser = arguments(__doc__)
parser.add_argument("--events", type=int, default=6000, help="real profiles; twice as many small ones")
parser.add_argument("--tutorial-events", type=int, default=600, help="what the tutorial works off of them")
parser.add_argument("--loads", default="profiles,small")
parser.add_argument("--no-ablations", action="store_true")

if __name__ == "__main__":
    given = parser.parse_args()
    run(benchmark, given)
