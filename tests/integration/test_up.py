"""`medsync up`: services run, come back when they die, and are stopped before what they stand on."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cli.sign_in import signed_in
from deploy.local.identity import key_file
from deploy.local.keys import write_keys
from shared.events.enrollment import CONTACTS_TOPIC
from shared.proof import proof, read_key
from tests import feed
from tests.integration.enrollment.conftest import KEY, P1

ROOT = Path(__file__).parents[2]
UP = """
import sys
from functools import partial
from pathlib import Path
from deploy.local.up import up
up(Path(sys.argv[1]), processes={"enrollment": 1, "outreach": 2}, say=partial(print, flush=True))
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkout") / ".medsync"


@pytest.fixture(scope="module")
def system(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    said = directory.with_name("said")
    write_keys(directory / "keys", pseudonym=KEY)
    with said.open("wb") as output:
        system = subprocess.Popen(
            [sys.executable, "-c", UP, str(directory)], cwd=ROOT, stdout=output, stderr=output
        )
    with system:
        _eventually(
            lambda: "MedSync runs" in said.read_text() or system.poll() is not None,
            said.read_text,
            deadline=60,
        )
        assert system.poll() is None, said.read_text()
        yield system
        system.kill()


def test_every_process_is_ready_and_its_address_is_written_down(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    description = _description(directory)
    assert description["pid"] == system.pid
    assert {name: len(urls) for name, urls in description["services"].items()} == {
        "enrollment": 1,
        "outreach": 2,
    }
    assert all(_is_ready(url) for urls in description["services"].values() for url in urls)


def test_nobody_else_can_read_passwords_and_keys(system: subprocess.Popen[bytes], directory: Path) -> None:
    for file in (
        directory / "stack.json",
        directory / "keys" / "sealing.json",
        directory / "keys" / "pseudonym",
        directory / "postgres" / "password",
    ):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_process_that_dies_is_started_again_on_its_port(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    url = _description(directory)["services"]["outreach"][1]
    os.kill(_pid_of(system, "--slot 1"), signal.SIGKILL)
    assert not _is_ready(url)
    _eventually(lambda: _is_ready(url), lambda: "outreach-1 is not back", deadline=30)


def test_a_second_up_says_which_process_is_the_first(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    second = subprocess.run(
        [sys.executable, "-c", UP, str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"already runs in {directory}, as process {system.pid}" in second.stderr


def test_an_operator_changes_the_key_while_it_runs(system: subprocess.Popen[bytes], directory: Path) -> None:
    described = _description(directory)
    enrollment = described["services"]["enrollment"][0]

    def as_program(name: str) -> dict[str, str]:
        key = key_file(directory / "identity", name)
        return {"Authorization": f"Bearer {signed_in(described['identity']['issuer'], name, key)}"}

    for kind, rows in (
        ("stores", [feed.store()]),
        ("patients", [feed.patient()]),
        ("prescriptions", [feed.prescription()]),
    ):
        body = {"source": "chain", "records": rows}
        answer = httpx.post(
            f"{enrollment}/imports/{kind}", json=body, headers=as_program("chain-platform"), trust_env=False
        )
        assert answer.is_success, answer.text
    clerk = as_program("clerk-1")
    agreed = httpx.post(f"{enrollment}/patients/{P1}/consent", json={}, headers=clerk, trust_env=False)

    def on_the_topic() -> str:
        code, said = _medsync(directory, "keys", "show")
        assert code == 0, said
        return next(line for line in said.splitlines() if line.startswith(CONTACTS_TOPIC))

    _eventually(lambda: "with key 1" in on_the_topic(), lambda: agreed.text, deadline=30)
    assert _medsync(directory, "keys", "rotate", "--after", "0")[0] == 0
    _eventually(
        lambda: "seals with 2, opens 1, 2" in _medsync(directory, "keys", "show")[1],
        lambda: "the services do not take up the key",
        deadline=30,
    )
    code, said = _medsync(directory, "keys", "reseal")
    assert (code, "enrollment publishes again" in said) == (0, True), said
    _eventually(lambda: "with key 2" in on_the_topic(), on_the_topic, deadline=30)
    for key, why in (
        ("2", "it is the one that seals"),
        ("1", "the journals of services"),
        ("7", "has no key 7"),
    ):
        code, said = _medsync(directory, "keys", "drop", key)
        assert (code, why in said) == (1, True), said
    code, said = _medsync(directory, "doctor")
    assert "ok     Kafka answers, and takes who we are" in said
    assert "ok     The roles of services have timeouts of their own" in said
    assert "ok     Row-level security binds the services" in said
    key = json.loads((directory / "keys" / "sealing.json").read_text())["keys"][1]["key"]
    assert not [log for log in (directory / "logs").iterdir() if key in log.read_text()]


def test_a_pharmacist_of_each_store_of_the_feed_signs_in(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    described = _description(directory)
    issuer, enrollment = described["identity"]["issuer"], described["services"]["enrollment"][0]
    key = key_file(directory / "identity", "chain-platform")
    headers = {"Authorization": f"Bearer {signed_in(issuer, 'chain-platform', key)}"}
    for store_id in ("S1", "S2"):
        body = {"source": "chain", "records": [feed.store(store_id=store_id)]}
        fed = httpx.post(f"{enrollment}/imports/stores", json=body, headers=headers, trust_env=False)
        assert fed.is_success, fed.text

    def reached(store_id: str) -> set[str]:
        """The stores whose closures the store's pharmacist may state."""
        token = _token_of(f"pharmacist-of-{store_id}", issuer, directory)
        who = {"Authorization": f"Bearer {token or 'none'}"}
        said = {"on": "2030-01-02", "why": "repairs"}
        where = {each: f"{enrollment}/stores/{each}/closures" for each in ("S1", "S2")}
        answers = {
            each: httpx.post(url, json=said, headers=who, trust_env=False) for each, url in where.items()
        }
        return {each for each, answer in answers.items() if answer.status_code == 200}

    _eventually(lambda: reached("S2") == {"S2"}, lambda: "no pharmacist of S2 signs in", deadline=40)
    assert reached("S1") == {"S1"}


def test_a_file_of_grants_that_cannot_be_read_is_warned_of(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    url = _description(directory)["services"]["enrollment"][0]
    file = directory / "identity" / "grants.toml"
    before = file.read_text()

    def warned() -> bool:
        ready = httpx.get(f"{url}/ops/ready", trust_env=False)
        assert ready.status_code == 200
        return "grants_unread" in [each["code"] for each in ready.json()["warnings"]]

    assert not warned()
    file.write_text("[[group")
    _eventually(warned, lambda: "nobody is warned", deadline=20)
    lines = map(json.loads, (directory / "logs" / "enrollment-0.log").read_text().splitlines())
    assert "error" in [each["level"] for each in lines if each["event"] == "grants.unread"]
    file.write_text(before)
    _eventually(lambda: not warned(), lambda: "the warning stays", deadline=20)


def _token_of(sub: str, issuer: str, directory: Path) -> str:
    """The access token of who is chosen on the provider's page; none where they are not there yet."""
    verifier = "v" * 50
    asked = {
        "client_id": "medsync-console",
        "redirect_uri": "/signed-in",
        "state": "s",
        "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
        "sub": sub,
    }
    chosen = httpx.get(f"{issuer}/authorize", params=asked, trust_env=False)
    if chosen.status_code != 303:
        return ""
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(chosen.headers["location"]).query)["code"][0],
        "redirect_uri": "/signed-in",
        "code_verifier": verifier,
    } | proof("medsync-console", read_key(key_file(directory / "identity", "medsync-console")), issuer)
    return str(httpx.post(f"{issuer}/token", data=form, trust_env=False).json()["access_token"])


def test_a_stop_ends_services_first_and_leaves_nothing(
    system: subprocess.Popen[bytes], directory: Path
) -> None:
    children = _children(system)
    system.send_signal(signal.SIGTERM)
    assert system.wait(timeout=60) == 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not (directory / "stack.json").exists()
    stopped_at = [
        (directory / log).stat().st_mtime
        for log in ("logs/enrollment-0.log", "kafka/kafka.log", "postgres/postgres.log")
    ]
    assert stopped_at == sorted(stopped_at)


def _medsync(directory: Path, *arguments: str) -> tuple[int, str]:
    """What a command says, run where the system runs."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=directory.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def _description(directory: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((directory / "stack.json").read_text())
    return description


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ops/consuming", timeout=10, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _children(system: subprocess.Popen[bytes]) -> list[int]:
    tasks = Path(f"/proc/{system.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def _pid_of(system: subprocess.Popen[bytes], argument: str) -> int:
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _children(system)}
    return next(pid for pid, command in commands.items() if argument in command.replace(b"\0", b" ").decode())


def _eventually(holds: Callable[[], bool], else_say: Callable[[], str], deadline: float) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, else_say()
        time.sleep(0.1)
