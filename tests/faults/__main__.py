"""`python -m tests.faults`: kill the chain a thousand times, and tell what it lost; 0 only if that is nothing."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.faults import kinds, report
from tests.faults.disasters import DISASTERS, told
from tests.faults.mistakes import Caught, catch_all
from tests.faults.round import Outcome, run_round
from tests.faults.scene import run_disaster
from tests.faults.servers import Servers
from tests.faults.system import seeded

KILLS_A_ROUND = 100
EVENTS_A_COMMAND = 16
"""A command numbers eight patients or so, and each number is said twice."""

RATE = 10.0
"""Commands a second."""

FOLDER = Path(".medsync/faults")


def main(
    kills: Annotated[int, typer.Option(help="processes and servers to kill; 0: the mistakes alone")] = 1000,
    events: Annotated[int, typer.Option(help="events that are on their way meanwhile")] = 100_000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same schedule of faults")] = 1,
    resume: Annotated[bool, typer.Option(help="go on after the rounds that this seed has behind it")] = False,
    mistakes: Annotated[bool, typer.Option(help="put classic mistakes back, and see them caught")] = True,
    folder: Annotated[Path, typer.Option(help="where the rounds are kept")] = FOLDER,
) -> None:
    """Run rounds of a hundred kills each, the rounds of other kinds and the disasters; print the tables of all."""
    console = Console()
    rounds = max(1, round(kills / KILLS_A_ROUND)) if kills else 0
    kept = folder / f"seed-{seed}-{kills}-{events}"
    kept.mkdir(parents=True, exist_ok=True)
    if not resume:
        for old in kept.glob("*.json"):
            old.unlink()
    console.print(f"seed {seed}: {rounds} rounds; kept in {kept}; go on with --seed {seed} --resume")
    if rounds:
        asyncio.run(_run(kept, seed, rounds, kills // rounds, events // rounds, console))
        asyncio.run(_run_kinds(kept, seed, console))
        asyncio.run(_run_disasters(kept, seed, console))
    if mistakes and not (kept / "mistakes.json").exists():
        caught_now = asyncio.run(_mistakes())
        (kept / "mistakes.json").write_text(json.dumps([asdict(one) for one in caught_now], indent=1))
    outcomes = [_kept(path) for path in sorted(kept.glob("round-*.json"))]
    missing = report.unmet(outcomes) if rounds else []
    for kind in kinds.KINDS if rounds else ():
        outcomes.append(_kept(_file(kept, kind)))
        missing += kinds.unmet(kind, outcomes[-1])
    if rounds:
        outcomes += [_kept(_of_disaster(kept, disaster.name)) for disaster in DISASTERS]
        report.show(outcomes, console)
    caught = [Caught(**one) for one in json.loads((kept / "mistakes.json").read_text())] if mistakes else []
    report.show_mistakes(caught, console)
    (kept / "report.md").write_text(report.markdown(outcomes) + report.mistakes_markdown(caught))
    console.print(f"never met: {', '.join(missing) or 'nothing'}", markup=False, highlight=False)
    good = all(o.holds for o in outcomes) and not missing and all(one.caught for one in caught)
    raise typer.Exit(0 if good else 1)


async def _mistakes() -> list[Caught]:
    with tempfile.TemporaryDirectory(prefix="medsync-mistakes-") as directory:
        async with Servers(Path(directory), seeded("mistakes")) as servers:
            return await catch_all(servers)


async def _run(kept: Path, seed: int, rounds: int, kills: int, events: int, console: Console) -> None:
    todo = [n for n in range(1, rounds + 1) if not (kept / f"round-{n:02}.json").exists()]
    if not todo:
        return
    with tempfile.TemporaryDirectory(prefix="medsync-faults-") as directory:
        async with Servers(Path(directory), seeded(seed, "proxies")) as servers:
            for number in todo:
                began = time.monotonic()
                outcome = await run_round(
                    servers,
                    f"r{number}",
                    f"{seed}/{number}",
                    kills=kills,
                    commands=events // EVENTS_A_COMMAND,
                    rate=RATE,
                )
                (kept / f"round-{number:02}.json").write_text(json.dumps(asdict(outcome), indent=1))
                _say(f"round {number}", outcome, time.monotonic() - began, console)


async def _run_kinds(kept: Path, seed: int, console: Console) -> None:
    for kind in kinds.KINDS:
        if not _file(kept, kind).exists():
            began = time.monotonic()
            outcome = await kinds.run_kind(kind, f"{seed}/{kind.name}")
            _file(kept, kind).write_text(json.dumps(asdict(outcome), indent=1))
            _say(kind.name, outcome, time.monotonic() - began, console)


async def _run_disasters(kept: Path, seed: int, console: Console) -> None:
    for disaster in DISASTERS:
        if not (file := _of_disaster(kept, disaster.name)).exists():
            began = time.monotonic()
            outcome = await run_disaster(disaster, f"{seed}/{disaster.name}")
            file.write_text(json.dumps(asdict(outcome), indent=1))
            file.with_suffix(".md").write_text(told(disaster.name, outcome))
            _say(disaster.name, outcome, time.monotonic() - began, console)


def _of_disaster(kept: Path, name: str) -> Path:
    return kept / f"disaster-{name}.json"


def _file(kept: Path, kind: kinds.Kind) -> Path:
    return kept / f"{kind.name}.json"


def _kept(path: Path) -> Outcome:
    return Outcome(**json.loads(path.read_text()))


def _say(what: str, outcome: Outcome, seconds: float, console: Console) -> None:
    broken = [result["name"] for result in outcome.results if result["violations"]]
    console.print(
        f"{what} (seed {outcome.seed}): {outcome.kills} kills, {outcome.events:,} events, "
        f"{seconds:.0f} s: {', '.join(broken) or 'all invariants hold'}"
    )


if __name__ == "__main__":
    typer.run(main)
