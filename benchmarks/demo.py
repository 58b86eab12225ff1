"""What the demo costs: CPU seconds of everything it starts, by process: `python -m benchmarks.demo`.

After it the first demo runs on the same machine, and then this one again. The first is of 300 patients and 110 days,
out of a clone of the revision that had it; the ratio of the two is what is promised. `--alone` leaves it out,
`--beside` names another.

Each process is looked at twice a second, so its last half second is missing; the total is the kernel's own account of
all that ended.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT, Target, arguments, children, cpu_seconds, run_alone, table

FIRST = "9645c1f"
"""The last revision with the first demo."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    clock: float
    cpu: float
    of: dict[str, float]


def benchmark() -> Sequence[Target]:
    """One run here, one there, and one here again."""
    with tempfile.TemporaryDirectory(prefix="medsync-demo-") as folder:
        here = measured(ROOT, Path(folder), given.demo_args.split())
        report("here", here)
        if given.alone:
            return []
        other = Path(folder) / "other"
        subprocess.run(["git", "clone", "--quiet", ROOT, other], check=True)
        if subprocess.run(["git", "-C", other, "checkout", "--quiet", given.beside], check=False).returncode:
            sys.exit(
                f"this clone has no {given.beside} to compare with: `git fetch --unshallow`, or say --alone"
            )
        there = measured(other, Path(folder), [])
        report(f"at {given.beside}", there)
        again = measured(ROOT, Path(folder), given.demo_args.split())
        report("here, again", again)
    mean = (here.cpu + again.cpu) / 2  # the machine may have been slower for one of them
    return [Target(f"CPU time of the demo beside {given.beside}", mean / there.cpu, None, 0.2)]


def measured(checkout: Path, folder: Path, options: Sequence[str]) -> Cost:
    """The demo of a checkout, by this environment's Python."""
    before, began = _of_children(), time.monotonic()
    command = [sys.executable, "-m", "cli.main", "demo", "--directory", str(folder / "demo"), *options]
    seen: dict[int, tuple[str, float]] = {}
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=checkout, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid, (name, seconds) in family(process.pid):
                seen[pid] = name or seen.get(pid, ("other", 0.0))[0], seconds
            time.sleep(0.5)
    if process.returncode:
        sys.exit((folder / "output.txt").read_text()[-4000:])
    spent: dict[str, float] = defaultdict(float)
    for name, seconds in seen.values():
        spent[name] += seconds
    return Cost(time.monotonic() - began, _of_children() - before, spent)


def family(pid: int) -> Iterator[tuple[int, tuple[str, float]]]:
    """A process and all below it: what each is, and the seconds it used."""
    try:
        seconds = cpu_seconds(pid)
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        below = children(pid)
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended in between
    yield pid, (kind(command), seconds)
    for child in below:
        yield from family(child)


def kind(command: str) -> str:
    """What a process is, in a word; nothing where it has ended and only waits to be heard of."""
    words = command.split()
    if command.startswith("postgres: "):
        return f"PostgreSQL, {words[1]}" if len(words) > 3 else "PostgreSQL, own processes"
    if "cli.main run" in command:
        return words[words.index("run") + 1]
    if "cli.main demo" in command:
        return "the demo itself"
    if "postgres" in command:
        return "PostgreSQL, own processes"
    return "Kafka" if "kafka.Kafka" in command else command and "other"


def report(where: str, cost: Cost) -> None:
    """Who used how much."""
    rows = [
        (name, f"{seconds:.1f}", f"{seconds / cost.cpu:.0%}")
        for name, seconds in sorted(cost.of.items(), key=lambda row: -row[1])
    ]
    table((f"the demo {where}", "CPU s", ""), [*rows, ("all", f"{cost.cpu:.1f}", f"in {cost.clock:.0f} s")])


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--beside", metavar="REVISION", default=FIRST, help="which demo runs after it")
    parser.add_argument("--alone", action="store_true", help="no other runs after it")
    parser.add_argument("--demo-args", default="", help="for the demo here; as it is without them")
    given = parser.parse_args()
    run_alone(benchmark, given)
