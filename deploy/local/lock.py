"""A file lock between processes. The kernel drops it with its holder, so a stale file locks nobody out."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Somebody else holds the lock: `pid` is theirs, None where they have not written it yet."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"held by process {pid}")
        self.pid = pid


@contextmanager
def locked(path: Path, *, waiting: Callable[[Held], None] | None = None) -> Iterator[None]:
    """Hold the lock, our pid in the file. If somebody else does: call `waiting` and wait, or raise Held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            held = Held(int(pid) if pid else None)
            if waiting is None:
                raise held from None
            waiting(held)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
