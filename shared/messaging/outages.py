"""Telling an outage of the world from a fault of the event. A closed list: anything else is the event's."""

from __future__ import annotations

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
