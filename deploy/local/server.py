"""What PostgreSQL and Kafka have in common as children of the stack."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod

from deploy.local.process import Process


class Server(ABC):
    """A server on a port of its own, which it keeps when it is killed and started again."""

    name: str
    _stop_signal: signal.Signals
    _process: Process | None = None

    @property
    def pid(self) -> int | None:
        """None while it is stopped."""
        return self._process.pid if self._process else None

    @property
    def died(self) -> bool:
        """True where it ended and nobody here asked it to."""
        return self._process is not None and self._process.exit_code is not None

    def start(self) -> None:
        """Start it and wait until it answers a real request. StackError, with the reason, where it cannot."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start it without waiting."""
        self._process = self._spawned()

    def wait_ready(self) -> None:
        assert self._process
        self._process.wait_until(self._answers, deadline=90)

    def stop(self) -> None:
        """Stop it in order: everything it was given is on disk."""
        if self._process:
            self._process.stop(self._stop_signal, grace=20)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL."""
        if self._process:
            self._process.kill()
            self._process = None

    @abstractmethod
    def _spawned(self) -> Process: ...

    @abstractmethod
    def _answers(self) -> bool: ...
