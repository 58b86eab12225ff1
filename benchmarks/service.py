"""The contender: the business on the fabric, a process as every service is one. Settings from MEDSYNC_… variables.

    python -m benchmarks.service NAME [--without inbox,locks,parking,relay] [--poll SECONDS] [--commands]

What is left out, and relays that poll, are patches of this process: the product has no such switches.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import APIRouter

from benchmarks import business
from shared.access import About, Role, Row
from shared.events.enrollment import PatientEnrolled, ProfileChanged, StoreChanged
from shared.http import Commanding, Working
from shared.memory import spare_the_collector
from shared.messaging import Handlers, Jobs, Unit, journal, patient, relay, tables
from shared.service import service_app
from shared.settings import ServiceSettings

on, nobody = Handlers("front"), Handlers()
router = APIRouter()


@on(PatientEnrolled)
async def enrolled(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    await business.save(unit.db, events)
    unit.emit(business.answer(event) for event in events)


@on(ProfileChanged)
async def changed(events: Sequence[ProfileChanged], unit: Unit) -> None:
    await business.save(unit.db, events)
    unit.emit(business.answer(event) for event in events)


@router.post("/profiles")
async def tell(body: ProfileChanged, caller: Commanding, work: Working) -> int:
    """A command that changes a profile and publishes it, as enrollment does."""

    async def decide(unit: Unit) -> int:
        await business.save(unit.db, [body])
        unit.emit(body)
        return body.revision

    return await work.command(caller, [patient(body.patient_id)], decide)


@nobody(StoreChanged)
async def ignore(events: Sequence[StoreChanged], unit: Unit) -> None:
    """What the service that only takes commands subscribes to: nobody publishes it here."""


def leave_out(parts: Sequence[str]) -> None:
    """Take promises out, one by one, to see what each costs."""

    async def all_new(_db: object, event_ids: Sequence[UUID]) -> set[UUID]:
        return set(event_ids)

    async def not_locked(_db: object, _keys: Sequence[int]) -> None:
        pass

    async def none_parked(_db: object, _keys: Sequence[str]) -> dict[str, str]:
        return {}

    async def never(_relays: relay.Relays) -> None:
        await asyncio.Event().wait()

    patches: dict[str, tuple[Any, str, Any]] = {
        "inbox": (tables, "claim", all_new),
        "locks": (tables, "lock", not_locked),
        "parking": (tables, "parked_among", none_parked),
        "relay": (relay.Relays, "run", never),
    }
    for part in parts:
        setattr(*patches[part])


def poll(seconds: float) -> None:
    """Make the relay one that looks every so often and hears nothing, as most do."""
    publish = relay.Relay._publish

    async def publish_and_sleep(self: relay.Relay, rows: Sequence[journal.OutboxRow]) -> None:
        await publish(self, rows)
        if len(rows) < relay.WINDOW:
            await asyncio.sleep(seconds)

    async def sleep(_relay: relay.Relay, _seconds: float) -> None:
        await asyncio.sleep(seconds)

    relay.Relay._publish = publish_and_sleep  # type: ignore[method-assign]
    relay.Relay._wait = sleep  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--without", default="")
    parser.add_argument("--poll", type=float)
    parser.add_argument("--commands", action="store_true", help="take commands, handle no events")
    given = parser.parse_args()
    leave_out([part for part in given.without.split(",") if part])
    if given.poll:
        poll(given.poll)
    settings = ServiceSettings()  # type: ignore[call-arg] # the rest comes from the environment
    app = service_app(
        name=given.name,
        settings=settings,
        handlers=nobody if given.commands else on,
        jobs=Jobs(),
        access={"POST /profiles": Row(About.system, frozenset(Role))},
        routers=[router],
    )
    spare_the_collector()  # as cli.serve does
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
