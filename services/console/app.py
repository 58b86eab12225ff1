"""The console: the pharmacy live, for people. It owns a read model built from the topics, and nothing else."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from services.console import http
from services.console.handlers import on
from services.console.oidc import SignIn
from services.console.pages import SaidHere, install_pages
from services.console.settings import Settings
from services.console.store import retention, writes
from services.console.store.forgetting import PERSONAL
from shared.identity import Identity
from shared.messaging import Jobs
from shared.service import identity_of, service_app


def create_app(settings: Settings) -> FastAPI:
    """One process of the service."""
    routers = [http.pages, http.forms, http.operations]
    lanes = {http.LIVE: settings.max_readers}
    app = service_app(
        name="console",
        about=__doc__,
        settings=settings,
        handlers=on,
        jobs=Jobs(),
        personal=PERSONAL,
        routers=routers,
        lanes=lanes,
        in_clear=(writes.IN_CLEAR,),
        removes=retention.KINDS,
        identity=_identity(settings),
    )
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    install_pages(app)
    return app


def _identity(settings: Settings) -> Identity:
    """People sign in at the provider; without a client there, a proxy passes their token on; without a provider they
    say who they are."""
    tokens = identity_of("console", settings)
    if tokens is None:
        return SaidHere(sign_in=settings.sign_in)
    return SignIn(settings, tokens) if settings.client_id else tokens
