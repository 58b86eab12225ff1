"""How far each service's audit is chained and sealed. Every service publishes its own, beside the events of its topics:
it is no event of a patient or a store, and nobody acts on it but who verifies the audit.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from shared.events.base import Fields

AUDIT_TOPIC = "medsync.audit.v1"
"""Compacted: the last head of each day of each service is kept for ever."""

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]


class AuditHead(Fields):
    """A service's audit had so many rows, and this hash then."""

    TYPE: ClassVar[str] = "medsync.audit.head-sealed.v1"
    TOPIC: ClassVar[str] = AUDIT_TOPIC

    service: str
    epoch: int = Field(ge=1, description="which life of its database; another one begins after a restore")
    count: int = Field(ge=1)
    hash: Hex
    sealed_at: AwareDatetime
    key_id: str
    signature: Hex

    @property
    def key(self) -> str:
        """One record a day is left of each service when the topic is compacted."""
        return f"{self.service}.{self.epoch}.{self.sealed_at:%Y-%m-%d}"
