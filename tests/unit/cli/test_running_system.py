"""What the commands find of a system that runs here, and how they ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import pytest

from cli.doctor import services_are_ready
from cli.proof.__main__ import running_system
from cli.system import PLACES, described

SERVICES = 3
HERE = "127.0.0.1"


def describe(place: Path, **state: object) -> None:
    place.mkdir(parents=True)
    (place / "stack.json").write_text(json.dumps(state))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_proof_finds_what_runs_here_as_the_other_commands_do(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    describe(place, kafka="localhost:9092", databases={"planner": "postgresql://planner"})
    assert running_system(described()) == ("localhost:9092", {"planner": "postgresql://planner"})


def test_where_nothing_runs_the_proof_says_how_to_start_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"`medsync up` .*make demo.*--kafka"):
        running_system(described())


@pytest.fixture
def waiting_for_each_other() -> Iterator[list[str]]:
    """Services that answer once all of them were asked."""
    all_asked = Barrier(SERVICES)

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            all_asked.wait(timeout=4)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"missing": ["its topics"]}')

        def log_message(self, *said: object) -> None:
            pass

    servers = [ThreadingHTTPServer((HERE, 0), Ready) for _ in range(SERVICES)]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://{HERE}:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_the_doctor_asks_all_services_at_once(
    waiting_for_each_other: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    describe(PLACES[0], services={"planner": waiting_for_each_other})
    assert services_are_ready() == "; ".join(f"{url}: its topics" for url in waiting_for_each_other)
