"""Starts services by forking a process that has imported everything: 0.1 s instead of 1.5 s, so kills are cheap.

    python -P -m tests.faults.forkserver SOCKET CODE APP …

One JSON object a line comes in on the socket: {"app", "name", "log", "crash_at", "settings"}; {"pid"} goes back, and
{"pid", "status"} when that child has ended. The program runs no event loop and no thread, so a fork copies nothing
that moves. Children end with it, and it ends with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
WARMED = ("uvicorn", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.lifespan.on", "httpx")


def main(path: str, code: str, apps: list[str]) -> None:
    for module in (*WARMED, *apps):
        importlib.import_module(module)
    for name in ("shared", *apps):  # a copy with a mistake in it is of no use if another is imported
        assert (sys.modules[name].__file__ or "").startswith(code), sys.modules[name].__file__
    gc.freeze()
    heard, wake = socket.socketpair()
    heard.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    with socket.socket(socket.AF_UNIX) as parent:
        parent.connect(path)
        serve(parent, heard)


def serve(parent: socket.socket, heard: socket.socket) -> None:
    """Fork what is asked for and tell of each end, until the parent goes away."""
    unread = b""
    while True:
        ready, _, _ = select.select([parent, heard], [], [])
        if heard in ready:
            heard.recv(4096)
            for ended in iter(reap, None):
                tell(parent, pid=ended[0], status=ended[1])
        if parent in ready:
            got = parent.recv(1 << 16)
            if not got:
                return
            *lines, unread = (unread + got).split(b"\n")
            for line in lines:
                tell(parent, pid=fork(json.loads(line), parent, heard))


def reap() -> tuple[int, int] | None:
    """A child that has ended: its pid, and its exit code (minus the signal's number)."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def tell(parent: socket.socket, **what: int) -> None:
    parent.sendall(json.dumps(what).encode() + b"\n")


def fork(order: dict[str, Any], *inherited: socket.socket) -> int:
    server = os.getpid()
    if pid := os.fork():
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != server:
            os._exit(1)
        for one in inherited:
            one.close()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run(order)
        os._exit(0)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def run(order: dict[str, Any]) -> None:
    import uvicorn  # noqa: PLC0415 - imported in `main`, before the fork

    from shared.settings import ServiceSettings  # noqa: PLC0415

    if order["crash_at"]:
        arm(order["crash_at"])
    settings = ServiceSettings(**order["settings"])
    app = importlib.import_module(order["app"]).create_app(order["name"], settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )


def arm(crash_at: str) -> None:
    """Arm a crash point after the modules that pass it were imported: each has the unarmed function by name."""
    from shared.messaging import crashpoints  # noqa: PLC0415

    unarmed = crashpoints.reach
    crashpoints._armed(crash_at)
    for module in list(sys.modules.values()):
        if getattr(module, "reach", None) is unarmed:
            module.reach = crashpoints.reach  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
