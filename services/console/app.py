"""The console: the pharmacy live, for people. It owns a read model built from the topics, and nothing else."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from services.console import http
from services.console.handlers import on
from services.console.pages import SaidHere, install_pages
from services.console.settings import Settings
from shared.messaging import Jobs
from shared.service import service_app


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
        routers=routers,
        lanes=lanes,
        identity=SaidHere(sign_in=settings.sign_in),
    )
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    install_pages(app)
    return app
