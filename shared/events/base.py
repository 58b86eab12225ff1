"""The base of every event, and the value types that several events share."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

PatientId = Annotated[str, Field(min_length=1, max_length=64)]
"""Opaque pseudonym of a patient: an HMAC of source system and natural id."""

Quantity = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]
"""Units of a drug (tablets, milliliters, pens); a string in JSON, so that halves stay exact."""

Days = Annotated[int, Field(ge=0, le=3660)]


class Fields(BaseModel):
    """A frozen group of fields; readers ignore what they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class OpenEnum(StrEnum):
    """An enumeration that a later version may extend: readers take a value they do not know as ``other``."""

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls("other")


class Reason(Fields):
    """Why something was decided: a code and its parameters. ``shared.words`` renders it."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    params: dict[str, str | int] = {}


class Event(Fields):
    """One fact that its owner publishes.

    ``TYPE`` is the CloudEvents type with its version; ``TOPIC`` is where only the owner writes.
    ``SEALED`` payloads are encrypted before they reach the outbox. ``OVERTAKES`` events take effect
    even while their patient is parked (opt-out, disenrollment).
    """

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
    KEYED_BY: ClassVar[str] = "patient"
    SEALED: ClassVar[bool] = False
    OVERTAKES: ClassVar[bool] = False

    @property
    def key(self) -> str:
        """The record key, and the subject of the envelope: the id of what ``KEYED_BY`` names."""
        return str(getattr(self, f"{self.KEYED_BY}_id"))
