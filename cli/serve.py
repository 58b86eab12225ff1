"""One service process: HTTP in front, the fabric in its lifespan, a clean stop on SIGTERM."""

from __future__ import annotations

import importlib
import os

import uvicorn
from pydantic import ValidationError

from shared.memory import spare_the_collector

STOP_SECONDS = 15
"""How long open requests may take at a stop; with the fabric's own stop it stays under 20 s."""


def serve(service: str, slot: int) -> None:
    """Run until SIGTERM or Ctrl-C. Exits with a clear text where a setting is missing."""
    os.environ["MEDSYNC_SLOT"] = str(slot)
    settings_module = importlib.import_module(f"services.{service}.settings")
    try:
        settings = settings_module.Settings()
    except ValidationError as error:
        missing = ", ".join(f"MEDSYNC_{str(e['loc'][0]).upper()} ({e['type']})" for e in error.errors())
        raise SystemExit(f"{service} cannot start; settings are missing or wrong: {missing}") from None
    app = importlib.import_module(f"services.{service}.app").create_app(settings)
    spare_the_collector()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
