"""The planner: which day, which drug takes part and how, which fill, how much, and why."""

from __future__ import annotations

from fastapi import FastAPI

from services.planner import http, store
from services.planner.handlers import on
from services.planner.jobs import due
from services.planner.publishing import REVISIONS
from services.planner.settings import Settings
from services.planner.store import retention
from services.planner.store.forgetting import PERSONAL
from shared.service import service_app


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    return service_app(
        name="planner",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=due,
        personal=PERSONAL,
        routers=[http.router],
        republish=store.current_state,
        revisions=REVISIONS,
        removes=retention.KINDS,
    )
