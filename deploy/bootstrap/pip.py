"""Running the pip of the virtual environment, and listening to it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TETHER = Path(__file__).parents[1] / "local" / "tether.py"
_TICK = 0.4  # seconds
# Settings of a user's that belong to other environments than this one, or change what pip says.
_NOT_HERE = ("PIP_QUIET", "PIP_VERBOSE", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_LOG", "PIP_REQUIREMENT")


@dataclass(frozen=True)
class Ran:
    """How pip ended, and everything it said."""

    code: int
    said: str


def run_pip(
    venv: Path,
    *arguments: str,
    scratch: Path,
    log: Path,
    line: Callable[[str], None] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
) -> Ran:
    """Run pip to its end. `line` gets each line it says, `tick` is called every moment; `scratch` is its own.

    It ends when this process does, however that ends: nobody is left who writes into the environment.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    python = str(venv / "bin" / "python")
    command = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), "9", "own", python, "-m", "pip"]
    options = ["--disable-pip-version-check", "--no-input", "--no-color"]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_HERE}
    environment |= {"PIP_USER": "0", "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    child = subprocess.Popen(
        [*command, *arguments, *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches this process alone
    )
    said: list[str] = []
    try:
        for text in _lines(child, tick):
            said.append(text)
            line(text)
    finally:
        child.kill()
        child.wait()
        _write_down(log, said)
    return Ran(child.returncode, "".join(said))


def _lines(child: subprocess.Popen[str], tick: Callable[[], None]) -> Iterator[str]:
    """What the child says, until its end."""
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        assert child.stdout
        for text in child.stdout:
            heard.put(text)
        child.wait()
        heard.put(None)

    threading.Thread(target=listen, daemon=True).start()
    ticked = 0.0
    while True:
        if time.monotonic() - ticked >= _TICK:
            tick()
            ticked = time.monotonic()
        with suppress(queue.Empty):
            text = heard.get(timeout=_TICK)
            if text is None:
                return
            yield text


def _write_down(log: Path, said: list[str]) -> None:
    with suppress(OSError), log.open("a", encoding="utf-8") as file:  # on a full disk the screen has to do
        file.writelines(said)
