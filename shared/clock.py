"""Business time: read once by each unit of work, an argument to every rule.

In production it is the system's clock. A demo or a test uses a stepped clock: a small file that holds one instant,
named by a setting, so that separate processes agree on the time without talking to each other.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Where business time comes from."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SteppedClock:
    """A clock that stands still until someone moves it.

    >>> import tempfile, pathlib
    >>> clock = SteppedClock(pathlib.Path(tempfile.mkdtemp()) / "clock")
    >>> clock.set(datetime(2009, 10, 1, 9, tzinfo=UTC))
    >>> clock.advance(timedelta(days=1)).isoformat()
    '2009-10-02T09:00:00+00:00'
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> datetime:
        """The instant in the file.

        Raises:
            ClockError: the file is missing or does not hold an instant.
        """
        try:
            text = self.path.read_text(encoding="ascii").strip()
            instant = datetime.fromisoformat(text)
        except FileNotFoundError:
            raise ClockError(f"no clock file {self.path}: set it with `medsync clock set`") from None
        except ValueError:
            raise ClockError(
                f"{self.path} holds no ISO 8601 instant: set it with `medsync clock set`"
            ) from None
        if instant.tzinfo is None:
            raise ClockError(
                f"{self.path} holds an instant without an offset: set it with `medsync clock set`"
            )
        return instant.astimezone(UTC)

    def set(self, instant: datetime) -> None:
        """Move to an instant. Readers see the old one or the new one, never half of it."""
        beside = self.path.with_suffix(f".{os.getpid()}.new")
        beside.write_text(instant.astimezone(UTC).isoformat(), encoding="ascii")
        beside.replace(self.path)

    def advance(self, by: timedelta) -> datetime:
        """Move forward; answers the new instant."""
        instant = self.now() + by
        self.set(instant)
        return instant


class ClockError(Exception):
    """The stepped clock cannot be read."""


def clock_of(path: Path | None) -> Clock:
    """The stepped clock where a file is named, else the system's."""
    return SteppedClock(path) if path else SystemClock()
