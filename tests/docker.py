"""The same servers from Docker, by testcontainers: MEDSYNC_TEST_STACK=docker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from deploy.local import Addresses
from deploy.local.kafka import serves
from deploy.local.ports import free_port


@contextmanager
def docker_stack() -> Iterator[Addresses]:
    """PostgreSQL and Kafka in containers, in the versions of docker-compose.yml."""
    kafka_port = free_port()  # a broker has to know from the start under which address it is reached
    postgres = PostgresContainer("postgres:18", driver=None).with_command(
        "-c max_locks_per_transaction=256 -c max_connections=200 -c fsync=off"
    )
    kafka = DockerContainer("apache/kafka:4.3.1").with_bind_ports(kafka_port, kafka_port)
    with postgres, kafka.with_envs(**_kafka_settings(kafka_port)):
        deadline = time.monotonic() + 90
        while not serves(kafka_port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the Kafka container does not answer on port {kafka_port}")
            time.sleep(0.2)
        yield Addresses(
            kafka=f"127.0.0.1:{kafka_port}", postgres=f"{postgres.get_connection_url()}?sslmode=disable"
        )


def _kafka_settings(port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "8",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    }
