"""Fulfillment: orders fills when they are due, keeps the packages, hands them over."""

from __future__ import annotations

from fastapi import FastAPI

from services.fulfillment import http
from services.fulfillment.handlers import on
from services.fulfillment.jobs import due
from services.fulfillment.queries import current_state
from services.fulfillment.settings import Settings
from services.fulfillment.store import retention, writes
from services.fulfillment.store.forgetting import PERSONAL
from shared.service import service_app


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    app = service_app(
        name="fulfillment",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=due,
        personal=PERSONAL,
        routers=[http.router],
        republish=current_state,
        removes=retention.KINDS,
        in_clear=(writes.IN_CLEAR,),
    )
    app.state.settings = settings
    return app
