"""Telling how far something is: in a terminal a line that is written anew, elsewhere a line now and then."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

_FIRST_LINE = 4.0  # seconds
_LONGER = 1.25  # each wait is longer by this than the time passed: a set-up of ten minutes is some 20 lines


class Progress:
    """What a person sees of the work; `began` is when it began, on time.monotonic."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self.began = time.monotonic()
        self._output = output
        self._rewrites = output.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._next = self.began + _FIRST_LINE
        self._shown = False

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(text, file=self._output, flush=True)

    def show(self, text: str) -> None:
        """How far it is. Call it as often as you like: only a terminal is told each time."""
        if self._rewrites:
            width = shutil.get_terminal_size().columns - 1
            self._output.write(f"\r\x1b[K{'  ' + text:.{width}}")
            self._output.flush()
            self._shown = True
        elif (now := time.monotonic()) >= self._next:
            self.say(f"  {text}")
            self._next = max(now + _FIRST_LINE, self.began + (now - self.began) * _LONGER)

    def _clear(self) -> None:
        if self._shown:
            self._output.write("\r\x1b[K")
            self._shown = False


class Pace:
    """How long the rest takes, by how long what is done took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def left(self, done: float, of: float) -> str:
        """ "; about 40 s left", or nothing while it is too early to say."""
        passed = time.monotonic() - self._began
        if passed < 1.5 or done <= 0 or done >= of:
            return ""
        return f"; about {duration(passed * (of - done) / done)} left"


def duration(seconds: float) -> str:
    """As people say it: 40 s, 2 min 5 s, 12 min."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
