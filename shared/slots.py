"""A slot is one process's: two with the same would take each other's place in the consumer group for ever.

The lease is short, so that a lost host's slot is free within seconds; whoever starts on the host of a holder that died
sees that, and does not wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import structlog

from shared.messaging import tables
from shared.messaging.outages import is_outage, is_timeout
from shared.messaging.unit import Work

LEASE_SECONDS = 5.0
LOOK_SECONDS = 0.2

log = structlog.get_logger()


class SlotTaken(Exception):
    """Another process of the service has this slot."""


class Slot:
    """The slot of this process, from `take` to `give_back`."""

    def __init__(self, work: Work, number: int) -> None:
        self._work, self.number = work, number
        self._holder = f"{_host()} {os.getpid()} {_born(os.getpid())} {uuid4().hex[:8]}"

    async def take(self) -> None:
        """Take the slot, at the latest when the lease of a dead holder ends.

        Raises:
            SlotTaken: its holder lives.
        """
        seen = await self._held_by_another()
        held = seen
        while held is not None:
            if held != seen:  # renewed
                raise self._taken(held.holder)
            await asyncio.sleep(LOOK_SECONDS)
            held = await self._held_by_another()

    async def keep(self) -> None:
        """Renew the lease until cancelled. Raises SlotTaken once another has the slot: this process was frozen."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            if held := await self._held_by_another():
                raise self._taken(held.holder)

    async def give_back(self) -> None:
        """Let a successor begin at once."""
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(2), self._work.connection() as db:
                await tables.give_slot_back(db, self.number, self._holder)

    async def _held_by_another(self) -> tables.SlotHeld | None:
        """Take it, or renew it; whose it is where that cannot be. While the database is away, nobody's: it is asked
        again.
        """
        try:
            return await self._try()
        except Exception as error:
            if not (is_outage(error) or is_timeout(error) or isinstance(error, asyncpg.UndefinedTableError)):
                raise
            log.warning("slot.not_renewed", error=type(error).__name__)
            return None

    async def _try(self) -> tables.SlotHeld | None:
        gone = ""
        async with self._work.connection() as db:
            while not await tables.take_slot(db, self.number, self._holder, LEASE_SECONDS, gone):
                held = await tables.slot_held(db, self.number)
                if held is not None and not is_dead(held.holder):
                    return held
                gone = held.holder if held else ""
            return None

    def _taken(self, holder: str) -> SlotTaken:
        host, pid, *_ = holder.split()
        return SlotTaken(
            f"slot {self.number} of {self._work.service} is held by process {pid} on {host.partition(':')[0]}: "
            "give each process one of its own (MEDSYNC_SLOT or --slot)"
        )


def is_dead(holder: str) -> bool:
    """Whether it was a process of this host that is there no more. Of other hosts nobody knows."""
    host, pid, born, _ = holder.split()
    return host == _host() and born != "?" and _born(int(pid)) != born


def _host() -> str:
    """With the namespace of its process ids: containers may share a name."""
    try:
        return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where it is gone, `?` where that cannot be told."""
    if not Path("/proc/self/stat").exists():
        return "?"
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else rest[18]
