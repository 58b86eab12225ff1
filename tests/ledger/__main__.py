"""The ledger as a process of its own: `python -m tests.ledger`, settings from MEDSYNC_… variables."""

from __future__ import annotations

import uvicorn

from shared.settings import ServiceSettings
from tests.ledger.app import create_app

settings = ServiceSettings()  # type: ignore[call-arg] # the rest comes from the environment
uvicorn.run(
    create_app(settings),
    host=settings.host,
    port=settings.port,
    log_config=None,
    log_level="warning",
    access_log=False,
    timeout_graceful_shutdown=2,
)
