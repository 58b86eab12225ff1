"""Plain English for what the services decide and publish: `render` a reason, `tell` an event."""

from shared.words.events import tell
from shared.words.reasons import render

__all__ = ["render", "tell"]
