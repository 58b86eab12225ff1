"""Records without a payload: on a compacted topic they take away what is held of their key, and then themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shared.events.base import Event, PatientId
from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from shared.events.serialized import SerializedEvent


class ContactDetailsForgotten(Event):
    """A tombstone of contact details, as a reader gets it. It is not published as such, and has no schema."""

    TYPE: ClassVar[str] = f"tombstone:{ContactDetailsChanged.TYPE}"
    TOPIC: ClassVar[str] = CONTACTS_TOPIC
    OVERTAKES: ClassVar[bool] = True  # forgetting waits for nobody who has to look at a dead letter

    patient_id: PatientId


TOMBSTONES: Mapping[str, type[Event]] = {ContactDetailsChanged.TYPE: ContactDetailsForgotten}
"""By the type of what is taken away: what a record of it without a payload is read as."""


def tombstone(patient_id: str) -> SerializedEvent:
    """To be published: from then on nothing is held of a patient's contact details."""
    return SerializedEvent(ContactDetailsChanged, patient_id, "")
