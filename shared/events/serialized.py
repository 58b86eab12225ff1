"""An event that is JSON already."""

from __future__ import annotations

from dataclasses import dataclass

from shared.events.base import Event


@dataclass(frozen=True, slots=True)
class SerializedEvent:
    """An event to be published that is JSON already, because its owner keeps that text as well."""

    of: type[Event]
    key: str
    json: str

    @property
    def TYPE(self) -> str:  # noqa: N802 - as an event has it
        return self.of.TYPE

    @property
    def TOPIC(self) -> str:  # noqa: N802
        return self.of.TOPIC
