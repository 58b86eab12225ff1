"""The fabric that joins the services: at-least-once delivery, effects applied once, one order per patient.

Read it in this order: `unit` (the one transaction), `intake` (events in), `relay` (events out, of the `journal`, by
`producers`), `consumer` (Kafka), `due` (work that falls due), `parking` (poison and its way out).
"""

from shared.events.serialized import SerializedEvent
from shared.messaging.registry import Handlers, Jobs
from shared.messaging.unit import Caller, OutOfReach, Parked, Unit, Work, patient, store
from shared.problems import Refused

__all__ = [
    "Caller",
    "Handlers",
    "Jobs",
    "OutOfReach",
    "Parked",
    "Refused",
    "SerializedEvent",
    "Unit",
    "Work",
    "patient",
    "store",
]
