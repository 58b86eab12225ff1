"""`medsync run`: what keeps a service from starting is said in words, with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "says"),
    [("127.0.0.1", "of 127.0.0.1 is taken"), ("192.0.2.1", "of 192.0.2.1 (Cannot assign requested address")],
)
def test_an_address_that_cannot_be_had_is_named_with_its_setting(host: str, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = {
            "MEDSYNC_HOST": host,
            "MEDSYNC_PORT": str(port),
            "MEDSYNC_DATABASE_URL": "postgres://nowhere",
            "MEDSYNC_KAFKA_BOOTSTRAP": "nowhere:9092",
            "MEDSYNC_SEALING_KEY": "5a" * 32,
            "MEDSYNC_ISSUER": "https://id.chain.example",
            "MEDSYNC_GRANTS_FILE": "grants.toml",
        }
        ran = subprocess.run(
            [sys.executable, "-m", "cli.main", "run", "planner"],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert f"port {port} {says}" in ran.stderr
    assert "MEDSYNC_PORT" in ran.stderr
