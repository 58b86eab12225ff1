"""The defaults of FastStream and aiokafka lose, repeat or block: each of these is set on purpose."""

from __future__ import annotations

import inspect
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faststream import AckPolicy

from tests.integration.fabric.given import Ledger
from tests.running import until


async def test_the_consumer_is_set_as_the_fabric_needs_it(ledger: Ledger) -> None:
    async with ledger.running(slot=3, batch_size=77, session_timeout_ms=7000) as client:
        consumer = client._transport.app.state.machinery.consumer  # type: ignore[attr-defined]
        subscriber = consumer._subscriber
        assert subscriber.ack_policy is AckPolicy.MANUAL
        assert subscriber._no_reply
        assert not hasattr(subscriber, "max_workers")
        options: dict[str, Any] = subscriber._connection_args
        assert options == options | {
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "group_instance_id": f"{ledger.prefix}medsync-ledger-3",
            "session_timeout_ms": 7000,
            "heartbeat_interval_ms": 2333,
            "max_poll_interval_ms": 300_000,
            "fetch_max_bytes": 8 * 1024 * 1024,
            "max_partition_fetch_bytes": 8 * 1024 * 1024,
        }
        kafka: AIOKafkaConsumer = subscriber.consumer
        assert kafka._enable_auto_commit is False
        assert kafka._group_id == f"{ledger.prefix}medsync-ledger"
        assert kafka._auto_offset_reset == "earliest"
        assert kafka._isolation_level == "read_committed"


async def test_the_producers_wait_for_all_and_are_transactional(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await client.post("/patients/p/things", json={})
        relay = client._transport.app.state.machinery.relay  # type: ignore[attr-defined]

        async def started() -> Any:
            return relay.each[0]._producers

        for producer in (await until(started, "the relay publishes"))._both:
            assert producer._sender._acks == -1
            assert producer._txn_manager.transactional_id.startswith(
                f"{ledger.prefix}medsync-ledger-relay-0-0"
            )
            assert producer._txn_manager.transaction_timeout_ms == 10_000


def test_the_library_still_has_the_defaults_that_are_set_against() -> None:
    """Where one of these fails, a comment and a setting may have become needless."""
    consumer = inspect.signature(AIOKafkaConsumer.__init__).parameters
    assert consumer["auto_offset_reset"].default == "latest"
    assert consumer["isolation_level"].default == "read_uncommitted"
    assert consumer["enable_auto_commit"].default is True
    assert inspect.signature(AIOKafkaProducer.__init__).parameters["enable_idempotence"].default is False
