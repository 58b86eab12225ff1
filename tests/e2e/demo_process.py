"""`medsync demo` in a process and a directory of its own, as a person would start it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class DemoProcess:
    """Started at once; what it says is in `output`, its state below `directory`/demo."""

    def __init__(self, directory: Path, *options: str, columns: int = 150) -> None:
        self.directory = directory
        directory.mkdir()
        command = [sys.executable, "-m", "cli.main", "demo", *options, "--directory", str(directory / "demo")]
        with (directory / "out").open("w") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"COLUMNS": str(columns)},
            )

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return (self.directory / "out").read_text()

    def until_left_running(self, seconds: float = 600) -> None:
        """Of a demo with --keep: until its days are over. Fails with what it said, if it ends or is late."""
        deadline = time.monotonic() + seconds
        while "The system keeps running" not in self.output:
            late = time.monotonic() > deadline
            if late or self.process.poll() is not None:
                raise AssertionError(self.output[-3000:])
            time.sleep(0.5)

    def end(self) -> None:
        """Stop it in order."""
        self.process.terminate()
        self.process.wait(60)
