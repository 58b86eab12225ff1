"""Enrollment: who takes part, what belongs to their profile, and who would benefit."""

from __future__ import annotations

from fastapi import FastAPI

from services.enrollment import http, imports
from services.enrollment.handlers import on
from services.enrollment.jobs import due
from services.enrollment.settings import Settings
from services.enrollment.store import profiles
from shared.service import service_app


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    return service_app(
        name="enrollment",
        settings=settings,
        handlers=on,
        jobs=due,
        routers=[imports.router, http.router],
        republish=profiles.current_state,
    )
