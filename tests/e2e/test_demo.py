"""The demo on a small population: it ends well, repeats exactly, and is not disturbed by killed services."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["--patients", "16", "--days", "40"]
KILLS = 6  # once around all processes: after more, the supervisor waits longer and longer


@pytest.mark.timeout(400)
def test_the_demo_repeats_exactly_though_services_are_killed(tmp_path: Path) -> None:
    calm = run_demo(tmp_path / "calm")
    shaken = run_demo(tmp_path / "shaken", kill_every=3.0)

    assert calm.returncode == 0, calm.stdout[-3000:]
    assert shaken.returncode == 0, shaken.stdout[-3000:]
    assert shaken.kills >= 4, "the fault did not happen"
    assert final_table(shaken.stdout) == final_table(calm.stdout)


class Ran(subprocess.CompletedProcess[str]):
    kills = 0


def run_demo(directory: Path, *, kill_every: float | None = None) -> Ran:
    """Run `medsync demo` in a directory of its own; kill one of its services now and then."""
    directory.mkdir()
    command = [sys.executable, "-m", "cli.main", "demo", *SMALL, "--directory", str(directory / "demo")]
    with (directory / "out").open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"COLUMNS": "150"}
        )
        kills, last = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if kill_every and kills < KILLS and time.monotonic() - last > kill_every:
                last = time.monotonic()
                victims = services_below(process.pid)
                said = (directory / "out").read_text()
                if victims and "fills.csv" in said and "Candidates" not in said:  # it lives, and still does
                    os.kill(victims[kills % len(victims)], signal.SIGKILL)
                    kills += 1
    ran = Ran(command, process.returncode, (directory / "out").read_text(), "")
    ran.kills = kills
    return ran


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


def final_table(output: str) -> str:
    """From the table's title to its end."""
    found = output[output.index("days later") : output.index("One patient's story")]
    return re.sub(r"[^\S\n]+", " ", found)
