"""Enrollment: who takes part, what belongs to their profile, and who would benefit."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from services.enrollment import http
from services.enrollment.commands import end_again
from services.enrollment.handlers import on
from services.enrollment.jobs import due
from services.enrollment.publishing import REVISIONS
from services.enrollment.settings import Settings
from services.enrollment.store import people, profiles, retention
from shared.datakeys import DataKeys
from shared.service import service_app

IMPORT_BYTES = 4 * 1024 * 1024
"""Five hundred records of eight kilobytes."""


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    return service_app(
        name="enrollment",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=due,
        routers=[http.router],
        republish=partial(profiles.current_state, keys=DataKeys(settings.sealer)),
        revisions=REVISIONS,
        take_again=end_again,
        in_clear=(people.IN_CLEAR,),
        removes=retention.KINDS,
        large={"/imports/": IMPORT_BYTES},
    )
