"""Enrollment: who takes part, what belongs to their profile, and who would benefit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import FastAPI

from services.enrollment import http
from services.enrollment.commands import end_again
from services.enrollment.erasing import erase_again
from services.enrollment.handlers import on
from services.enrollment.jobs import due
from services.enrollment.publishing import REVISIONS
from services.enrollment.settings import Settings
from services.enrollment.store import erasures, people, profiles, retention
from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import Event
from shared.messaging import Caller, Work
from shared.service import service_app

IMPORT_BYTES = 4 * 1024 * 1024
"""Five hundred records of eight kilobytes."""


async def take_again(event: Event, at: datetime, caller: Caller, work: Work) -> bool:
    """What was ended stays ended, and who was forgotten is forgotten, though a database forgot it."""
    return await end_again(event, at, caller, work) or await erase_again(event, at, caller, work)


async def _current_state(settings: Settings, db: Db, **part: Any) -> Sequence[Event]:
    """What is published, as it stands. The ring is read when somebody asks: logs are set up then."""
    return await profiles.current_state(db, keys=DataKeys(settings.sealer), **part)


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    return service_app(
        name="enrollment",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=due,
        routers=[http.router],
        republish=partial(_current_state, settings),
        revisions=REVISIONS,
        take_again=take_again,
        personal=erasures.PERSONAL,
        in_clear=(people.IN_CLEAR,),
        removes=retention.KINDS,
        large={"/imports/": IMPORT_BYTES},
    )
