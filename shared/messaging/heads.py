"""The head of a service's audit on its topic: told by whoever chained last, and read by whoever verifies."""

from __future__ import annotations

from contextlib import suppress

from aiokafka import AIOKafkaProducer
from pydantic import ValidationError

from shared.broker import Broker, client_of
from shared.events.audit import AUDIT_TOPIC, AuditHead
from shared.messaging.internals import abandon
from shared.messaging.outages import BROKER_AWAY
from shared.messaging.tail import records

ANSWER_MS = 5_000


class Heads:
    """Publishes heads; connected from the first one on."""

    def __init__(self, broker: Broker, *, prefix: str, client: str) -> None:
        self._broker, self._topic, self._client = broker, prefix + AUDIT_TOPIC, client
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, head: AuditHead) -> None:
        """Until the broker has it. Raises KafkaError, or what else says that the broker is away."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                **client_of(self._broker),
                client_id=self._client,
                acks="all",
                enable_idempotence=True,
                request_timeout_ms=ANSWER_MS,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        try:
            await self._producer.send_and_wait(
                self._topic,
                key=head.key.encode(),
                value=head.model_dump_json().encode(),
                headers=[
                    ("ce_specversion", b"1.0"),
                    ("ce_type", head.TYPE.encode()),
                    ("ce_source", f"medsync/{head.service}".encode()),
                    ("ce_id", f"{head.key}.{head.count}".encode()),
                    ("ce_time", head.sealed_at.isoformat().encode()),
                    ("content-type", b"application/json"),
                ],
            )
        except BROKER_AWAY:
            await self.stop()
            raise

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            with suppress(*BROKER_AWAY):
                await abandon(producer)


async def published(broker: Broker, *, prefix: str = "") -> list[AuditHead]:
    """Every head that the topic still has. Raises KafkaError where the broker does not answer."""
    found = []
    async for record in records(
        broker, from_beginning=True, topics=[AUDIT_TOPIC], prefix=prefix, follow=False
    ):
        with suppress(ValidationError):  # whoever may write there may write anything: it is no head
            found.append(AuditHead.model_validate_json(record.value or b""))
    return found
