"""The ledger service on the stack of the run, with a database and topics of its own for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local import Addresses
from shared.events import TOPICS
from shared.events.audit import AUDIT_TOPIC
from shared.messaging.topics import create_topics
from tests.integration.fabric.given import Ledger

ROOT = Path(__file__).parents[3]
MIGRATIONS = (ROOT / "shared" / "messaging" / "migrations", ROOT / "tests" / "ledger" / "migrations")


@pytest.fixture
async def ledger(
    stack: Addresses, fresh_database: Callable[..., str], unique_name: str, tmp_path: Path
) -> AsyncIterator[Ledger]:
    prefix = f"{unique_name}."
    await create_topics(stack.kafka, 4, prefix=prefix)
    yield Ledger(
        stack.kafka, await asyncio.to_thread(fresh_database, "ledger", *MIGRATIONS), prefix, tmp_path
    )
    await delete_topics(stack.kafka, prefix)


async def delete_topics(bootstrap: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([prefix + topic for topic in (*TOPICS, AUDIT_TOPIC)])
    finally:
        await admin.close()
