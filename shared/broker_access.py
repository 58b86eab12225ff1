"""Who may do what on the brokers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from shared.broker import Broker, asking
from shared.messaging.internals import create_acls


class Rule(NamedTuple):
    """What a principal may do, in the broker's own words."""

    principal: str
    operation: Literal["READ", "WRITE", "DESCRIBE_CONFIGS"]
    resource: Literal["TOPIC", "GROUP", "TRANSACTIONAL_ID"]
    name: str
    pattern: Literal["LITERAL", "PREFIXED"] = "LITERAL"

    @property
    def said(self) -> str:
        any_end = "*" if self.pattern == "PREFIXED" else ""
        return f"{self.principal} may {self.operation} {self.resource} {self.name}{any_end}"


async def number_of_brokers(broker: Broker) -> int:
    """How many there are. Raises KafkaError where none answers, or they do not take who asks."""
    async with asking(broker) as admin:
        return len((await admin.describe_cluster())["brokers"])


async def allow(broker: Broker, rules: Sequence[Rule]) -> None:
    """Have the brokers keep these rules beside those that they have. Raises KafkaError where they refuse."""
    async with asking(broker) as admin:
        await create_acls(admin, rules)
