"""Work beside the event loop, in a process that is ended where it takes too long: nobody else waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter, fail_after, to_process

SECONDS = 15.0
"""A plan of a patient takes hundredths of a second, the first one of a process a second more."""

PROCESSES = 1
WAITING = 8

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TooLong(Exception):
    """It was not done in time."""


class Busy(Exception):
    """As much waits as is let wait."""


async def run(function: Callable[[Unpack[Ts]], T], *given: *Ts) -> T:
    """What the function answers. It, what it is given and what it answers are pickled.

    Raises:
        TooLong: it took longer than `SECONDS`.
        Busy: `WAITING` calls wait already, or its turn did not come in `SECONDS`.
    """
    if _turns.statistics().tasks_waiting >= WAITING:
        raise Busy
    try:
        with fail_after(SECONDS):
            await _turns.acquire()
    except TimeoutError:
        raise Busy from None
    try:
        with fail_after(SECONDS):
            return await to_process.run_sync(function, *given, cancellable=True)
    except TimeoutError:
        raise TooLong from None
    finally:
        _turns.release()


_turns = CapacityLimiter(PROCESSES)
