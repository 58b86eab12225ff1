"""The OpenAPI document of every service, from its code alone: no database and no broker is asked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

SERVICES = ("enrollment", "planner", "outreach", "fulfillment", "console")
OPENAPI = Path(__file__).parents[1] / "openapi"

UNUSED = "unused"
NO_KEY = "0" * 64
"""Of a service that is never started."""


def documents() -> dict[str, dict[str, Any]]:
    """The document of each service, by its name; what `GET /openapi.json` of it answers."""
    return {name: _document(name) for name in SERVICES}


def _document(name: str) -> dict[str, Any]:
    settings = import_module(f"services.{name}.settings").Settings(
        database_url=UNUSED, kafka_bootstrap=UNUSED, sealing_key=NO_KEY, pseudonym_key=NO_KEY
    )
    found: dict[str, Any] = import_module(f"services.{name}.app").create_app(settings).openapi()
    return found
