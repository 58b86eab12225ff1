"""Outreach: whom to contact, when and on which channel, and what the answer means."""

from __future__ import annotations

from fastapi import FastAPI

from services.outreach.commands.stopping import stop_again
from services.outreach.handlers import on
from services.outreach.http import router
from services.outreach.jobs import due
from services.outreach.settings import Settings
from services.outreach.store import numbers, retention, stops
from services.outreach.store.forgetting import PERSONAL
from shared.service import service_app


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    return service_app(
        name="outreach",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=due,
        personal=PERSONAL,
        routers=[router],
        republish=stops.current_state,
        take_again=stop_again,
        in_clear=numbers.IN_CLEAR,
        removes=retention.KINDS,
    )
