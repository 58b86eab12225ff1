"""The demo on a small population: it ends well, repeats exactly, and is not disturbed by killed services."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.demo_process import DemoProcess

SMALL = ["--patients", "16", "--days", "40"]
KILLS = 6  # once around all processes: after more, the supervisor waits longer and longer


@pytest.mark.timeout(400)
def test_the_demo_repeats_exactly_though_services_are_killed(tmp_path: Path) -> None:
    calm, _ = run_demo(tmp_path / "calm")
    shaken, kills = run_demo(tmp_path / "shaken", kill_every=3.0)

    assert calm.process.returncode == 0, calm.output[-3000:]
    assert shaken.process.returncode == 0, shaken.output[-3000:]
    assert kills >= 4, "the fault did not happen"
    assert the_end(shaken) == the_end(calm)
    assert in_full(shaken) == in_full(calm)
    assert re.search(r"of them, avoidable ones │ \d+; 0 │", in_full(calm))


def run_demo(directory: Path, *, kill_every: float | None = None) -> tuple[DemoProcess, int]:
    """Run a demo to its end, killing one of its services now and then; answers how often."""
    demo = DemoProcess(directory, *SMALL)
    kills, last = 0, time.monotonic()
    while demo.process.poll() is None:
        time.sleep(0.1)
        if kill_every and kills < KILLS and time.monotonic() - last > kill_every:
            last = time.monotonic()
            victims, said = services_below(demo.process.pid), demo.output
            if victims and "fills.csv" in said and "days later" not in said:  # it lives, and still does
                os.kill(victims[kills % len(victims)], signal.SIGKILL)
                kills += 1
    return demo, kills


def services_below(pid: int) -> Sequence[int]:
    """The service processes that a demo started, in order of their names."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = (entry / "status").read_text()
        except OSError:
            continue
        if " run " in command and "cli.main" in command and f"\nPPid:\t{pid}\n" in status:
            found.append((command, int(entry.name)))
    return [number for _, number in sorted(found)]


def the_end(demo: DemoProcess) -> str:
    """The table and the stories, to the proof, which says how long it took."""
    return demo.output[demo.output.index("days later") : demo.output.index("Proof:")]


def in_full(demo: DemoProcess) -> str:
    """All figures and whole stories, from the file that is left."""
    said = (demo.directory / "demo" / "outcome.txt").read_text()
    return re.sub(r"[^\S\n]+", " ", said[: said.index("Proof,")])
