"""What a pharmacist and a patient talk about at the pickup."""

from __future__ import annotations

from collections.abc import Mapping

TOPICS: Mapping[str, str] = {
    "new_drug": "New medication: what it is for and what to expect",
    "how_to_take": "How and when to take it",
    "dose_change": "The dose or the directions changed",
    "missed_doses": "Missed doses, and what to do about one",
    "side_effects": "Side effects: which to expect, which to call about",
    "interactions": "Other medications, food and alcohol",
    "storage": "How to store it",
    "technique": "How to use an inhaler, pen or device",
    "monitoring": "Checks at home or by a lab",
    "sync_dates": "Sync date, short fills and the next pickup",
    "cost": "Copay and ways to pay less",
    "other": "Something else",
}
"""The published list: a topic stays. Topics that are not in it are taken too."""
