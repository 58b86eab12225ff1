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

from tests.faults import report
from tests.faults.mistakes import Caught, catch_all
from tests.faults.round import Outcome, run_round
from tests.faults.servers import Servers
from tests.faults.system import seeded

KILLS_A_ROUND = 100
EVENTS_A_COMMAND = 16
"""A command numbers eight patients or so, and each number is said twice."""

RATE = 10.0
"""Commands a second."""

FOLDER = Path(".medsync/faults")


def main(
    kills: Annotated[int, typer.Option(help="processes and servers to kill")] = 1000,
    events: Annotated[int, typer.Option(help="events that are on their way meanwhile")] = 100_000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same schedule of faults")] = 1,
    resume: Annotated[bool, typer.Option(help="go on after the rounds that this seed has behind it")] = False,
    mistakes: Annotated[bool, typer.Option(help="put classic mistakes back, and see them caught")] = True,
    folder: Annotated[Path, typer.Option(help="where the rounds are kept")] = FOLDER,
) -> None:
    """Run rounds of a hundred kills each, and print the tables of all of them."""
    console = Console()
    rounds = max(1, round(kills / KILLS_A_ROUND))
    kept = folder / f"seed-{seed}-{kills}-{events}"
    kept.mkdir(parents=True, exist_ok=True)
    if not resume:
        for old in kept.glob("*.json"):
            old.unlink()
    console.print(f"seed {seed}: {rounds} rounds; kept in {kept}; go on with --seed {seed} --resume")
    asyncio.run(_run(kept, seed, rounds, kills // rounds, events // rounds, console))
    if mistakes and not (kept / "mistakes.json").exists():
        caught_now = asyncio.run(_mistakes())
        (kept / "mistakes.json").write_text(json.dumps([asdict(one) for one in caught_now], indent=1))
    outcomes = [Outcome(**json.loads(path.read_text())) for path in sorted(kept.glob("round-*.json"))]
    report.show(outcomes, console)
    caught = [Caught(**one) for one in json.loads((kept / "mistakes.json").read_text())] if mistakes else []
    report.show_mistakes(caught, console)
    (kept / "report.md").write_text(report.markdown(outcomes) + report.mistakes_markdown(caught))
    good = all(o.holds for o in outcomes) and not report.unmet(outcomes) and all(one.caught for one in caught)
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
                broken = [r["name"] for r in outcome.results if r["violations"]]
                console.print(
                    f"round {number} (seed {outcome.seed}): {outcome.kills} kills, {outcome.events:,} events, "
                    f"{time.monotonic() - began:.0f} s: {', '.join(broken) or 'all invariants hold'}"
                )


if __name__ == "__main__":
    typer.run(main)
