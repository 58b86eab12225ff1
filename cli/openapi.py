"""The OpenAPI document of every service, from its code alone: no database and no broker is asked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from services import SERVICES

OPENAPI = Path(__file__).parents[1] / "openapi"

UNUSED = "unused"
NO_KEY = "0" * 64


def documents() -> dict[str, dict[str, Any]]:
    """The document of each service, by its name; what `GET /openapi.json` of it answers."""
    return {name: app_of(name).openapi() for name in SERVICES}


def app_of(name: str) -> FastAPI:
    """A service that is never started."""
    settings = import_module(f"services.{name}.settings").Settings(
        database_url=UNUSED, kafka_bootstrap=UNUSED, sealing_key=NO_KEY, pseudonym_key=NO_KEY
    )
    app: FastAPI = import_module(f"services.{name}.app").create_app(settings)
    return app
