"""Plain English for what the services decide and publish: `render` a reason, `explain` a plan, `tell` an event."""

from shared.words.conditions import ALSO_DUE, URGENT, of_condition, of_unread
from shared.words.events import tell
from shared.words.plans import explain
from shared.words.reasons import render

__all__ = ["ALSO_DUE", "URGENT", "explain", "of_condition", "of_unread", "render", "tell"]
