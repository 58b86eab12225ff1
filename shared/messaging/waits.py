"""What a part of a process waits for: since when, and why. A wait is ordinary; one that lasts is told."""

from __future__ import annotations

import time

LASTS_SECONDS = 30.0
"""Longer than the restart of a server, or a lease that another takes over."""


class Wait:
    """Begins at the first failure, ends at the next success."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why = ""

    def failed(self, error: BaseException) -> None:
        """Says no more of the error than its type: its words may quote data."""
        self._since = self._since or time.monotonic()
        self._why = type(error.__cause__ or error).__name__

    def over(self) -> None:
        self._since = None

    @property
    def seconds(self) -> float:
        """For how long; 0 where nothing is waited for."""
        return time.monotonic() - self._since if self._since is not None else 0.0

    @property
    def lasts(self) -> str | None:
        """Since when and why, where it lasts."""
        if (seconds := self.seconds) < LASTS_SECONDS:
            return None
        return f"for {seconds:.0f} s ({self._why})"
