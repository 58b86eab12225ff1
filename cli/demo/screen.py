"""What a person sees while the demo runs; as plain lines where no terminal can be drawn on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from rich.console import Console

from cli.demo.actors import ZONE
from cli.demo.recorder import Recorder
from shared.clock import Clock


@dataclass(frozen=True)
class Run:
    """A run that has begun, as a screen follows it."""

    first: date
    days: int
    clock: Clock
    recorder: Recorder
    console: str  # the address of MedSync's console
    victim: Callable[[], tuple[str, int] | None] = lambda: None  # a service and its process, to be killed


class Screen(Protocol):
    """Is told what the demo does, and shows it."""

    def say(self, text: str) -> None:
        """Something about the system itself: it starts, or a service ended and is started again."""

    def begin(self, run: Run) -> None:
        """The pharmacies live from now on."""

    def day_begins(self, day: date) -> None:
        """The days before are over."""

    def close(self) -> None:
        """Leave the terminal to what is printed next. May be called again."""


class PlainLines:
    """Lines, one after another: for files, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._recorder: Recorder | None = None

    def say(self, text: str) -> None:
        self._print(text, style="dim")

    def begin(self, run: Run) -> None:
        self._recorder = run.recorder

    def day_begins(self, day: date) -> None:
        if self._recorder is None:
            return
        counts, lines = self._recorder.before(day)
        over = day - timedelta(days=1)
        self._print(
            f"{over:%a %b} {over.day:2}, {over.year}  plans {counts['plan-computed']:3}  "
            f"confirmed {counts['pickup-confirmed']:3}  fills {counts['fill-completed']:3}  "
            f"ready {counts['package-ready']:3}  picked up {counts['package-picked-up']:3}  "
            f"returned {counts['package-returned']:2}"
        )
        for line in lines:
            told = f"{line.at.astimezone(ZONE):%H:%M}  {line.patient}  {line.sentence}"
            self._print(f"    {told}", style="dim")

    def close(self) -> None:
        self._recorder = None

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
