"""Telling an outage of the world from a fault of the event. A closed list: anything else is the event's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeAlias

import asyncpg
from aiokafka.errors import KafkaError

from shared.clock import ClockError

BROKER_AWAY = (KafkaError, OSError, TimeoutError)
"""What asking the broker raises while it is away."""

OUTAGE_CLASSES = (
    "08",  # connection exception
    "25006",  # read-only: a standby answers, in the middle of a failover
    "25P03",  # idle-in-transaction timeout: the process was frozen
    "40",  # serialization failure, deadlock
    "53",  # resource shortage: disk full, out of memory, too many connections
    "55P03",  # lock not available within lock_timeout
    "57",  # shutdown, crash, cancelled by the administrator or a timeout
    "58",  # system error: I/O
)

FATAL_SETUP = ("3D000", "28")
"""A missing database or refused login: a matter of setup, and just as little the event's fault."""

STALE_CACHES = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A migration ran under this connection's prepared statements; asyncpg has dropped them by now."""

OUT_OF_STEP = (asyncpg.InternalClientError, asyncpg.ProtocolError)
"""What asyncpg says of a connection that was cut in the middle of an answer."""


CRASH_ELSEWHERE = "57P02"
"""What the server says to the others' connections when the backend of one died: then it ends all of them."""

NOT_REPLICATED = "01000"
"""The only warning that a commit gives: its wait for a synchronous standby was canceled."""

Loss: TypeAlias = Literal["told", "silent"]


class CrashElsewhere(ConnectionError):
    """Another backend died, and the server ended all: this connection did not do it."""


class Unconfirmed(ConnectionError):
    """It is committed, but the wait for the standby was cut off: a failover may take it back."""


@contextmanager
def heeding(db: asyncpg.Connection) -> Iterator[list[str]]:
    """The SQLSTATEs of what the server says beside its answers, as it says them."""
    said: list[str] = []

    def hear(_db: object, message: asyncpg.PostgresLogMessage) -> None:
        said.append(message.sqlstate)

    db.add_log_listener(hear)
    try:
        yield said
    except Exception as error:
        if CRASH_ELSEWHERE in said:
            raise CrashElsewhere from error
        raise
    finally:
        with suppress(asyncpg.InterfaceError):  # a connection that ended has none any more
            db.remove_log_listener(hear)


def loss_of(error: BaseException | None) -> Loss | None:
    """How a connection ended under its statement: told to end, or without a word; none where that was no fault of
    the statement, or something else failed.
    """
    while error is not None and not isinstance(error, CrashElsewhere):
        if isinstance(error, asyncpg.ConnectionDoesNotExistError):
            if isinstance(error.__cause__, asyncpg.AdminShutdownError):
                return "told"
            return None if isinstance(error.__cause__, asyncpg.PostgresError) else "silent"
        error = error.__cause__ or error.__context__
    return None


class PutBack(ConnectionError):
    """The database is older than what was published from it: what is done now would be told with numbers that readers
    know already, and be lost on them. Waited out like an outage, until a person has said `medsync recovered`.
    """


def is_outage(error: BaseException) -> bool:
    """Whether the database or the broker is away, so that the work waits and costs no event an attempt."""
    if isinstance(error, asyncpg.QueryCanceledError):
        return False  # a statement timeout: see is_timeout
    if isinstance(error, (*STALE_CACHES, *OUT_OF_STEP)):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith((*OUTAGE_CLASSES, *FATAL_SETUP))
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error)  # the connection or the pool was closed under us; the rest is misuse
    if isinstance(error, (OSError, KafkaError, ClockError)):
        return not isinstance(error, TimeoutError)
    return False


def is_timeout(error: BaseException) -> bool:
    """Whether the work took too long: an outage or the event's own weight, to be found out by asking the database."""
    return isinstance(error, (TimeoutError, asyncpg.QueryCanceledError))
