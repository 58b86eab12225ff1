"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket

from deploy.local.process import StackError

# Below the range that the ports of outgoing connections come from: else a client that keeps trying to reach a
# server which is down may be given the server's own port, and the server cannot come back.
_RANGE = range(15_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that this process was not given before."""
    for port in random.sample(_RANGE, 1_000):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise StackError(
        "No port is free on 127.0.0.1 between 15000 and 32000: end some programs that listen there."
    )


def require_free(port: int) -> None:
    """StackError where somebody listens on the port."""
    if not _is_free(port):
        raise StackError(
            f"Port {port} is taken: end the program that listens there (`ss -ltnp 'sport = :{port}'` names it), "
            "or choose another port."
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
