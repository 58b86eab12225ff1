"""One service process: HTTP in front, the fabric in its lifespan, a clean stop on SIGTERM."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
from contextlib import suppress
from types import FrameType

import uvicorn
from pydantic import ValidationError

from cli.heads import BoundedHeads
from shared.grants import BadGrants
from shared.logging import configure_logging
from shared.memory import spare_the_collector

STOP_SECONDS = 15
"""How long open requests may take at a stop; with the fabric's own stop it stays under 20 s."""

EXIT_NOT_STARTED = 3
"""As of `uvicorn.run`."""


def serve(service: str, slot: int | None) -> None:
    """Run until SIGTERM or Ctrl-C. Exits with a clear text where a setting is missing."""
    if slot is not None:
        os.environ["MEDSYNC_SLOT"] = str(slot)
    settings_module = importlib.import_module(f"services.{service}.settings")
    try:
        settings = settings_module.Settings()
    except ValidationError as error:
        missing = "; ".join(
            f"MEDSYNC_{str(e['loc'][0]).upper()} ({e['type']})"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        )
        raise SystemExit(f"{service} cannot start; settings are missing or wrong: {missing}") from None
    except OSError as error:  # the file that holds a setting
        raise SystemExit(f"{service} cannot start; {error}") from None
    _require_address(service, settings.host, settings.port)
    try:
        app = importlib.import_module(f"services.{service}.app").create_app(settings)
    except BadGrants as error:
        raise SystemExit(f"{service} cannot start: MEDSYNC_GRANTS_FILE: {error}") from None
    spare_the_collector()
    configure_logging(service)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # its lines go the way of all others
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        http=BoundedHeads,
        ws="none",
    )
    server = _Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(EXIT_NOT_STARTED)


class _Server(uvicorn.Server):
    """Leaves word of the signal that stops it, for the log."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.stopped_by = signal.Signals(sig).name  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def _require_address(service: str, host: str, port: int) -> None:
    """Exit with a clear text where the address cannot be listened on."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise SystemExit(
                f"{service} cannot listen on port {port} of {host} ({error.strerror}): look at MEDSYNC_HOST and "
                "MEDSYNC_PORT."
            ) from None
        raise SystemExit(
            f"{service} cannot start: port {port} of {host} is taken, perhaps by a process of it that runs already "
            f"(`ss -ltnp 'sport = :{port}'` names it). End that one, or choose another port: MEDSYNC_PORT."
        ) from None
