"""What a patient agreed to, and how that changes: each new word of the patient amends what stands (R1.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from shared.events.enrollment import Channel, CyclePolicy

CONTACT = "contact"
"""The part of the scope without which nobody contacts the patient."""

PREFERENCES = frozenset({"cycle_policy", "must_weekdays", "preferred_weekday"})
"""What of a consent is part of the profile."""


class How(StrEnum):
    """How a consent was given."""

    paper = "paper"
    phone = "phone"
    in_person = "in_person"


@dataclass(frozen=True)
class Terms:
    """What a patient agreed to, and how the patient wants to be served; none or empty preferences: as the feed says."""

    scope: tuple[str, ...]
    channels: tuple[Channel, ...]
    language: str
    caregiver: bool  # may answer and collect
    standing_instruction: bool
    cycle_policy: CyclePolicy | None
    must_weekdays: tuple[int, ...]  # 0 is Monday
    preferred_weekday: int | None


@dataclass(frozen=True)
class Amendment:
    """What a new word of the patient makes of the terms in force."""

    terms: Terms
    changes: tuple[str, ...]  # fields of the terms, in their order; empty: it says what stands
    contact_agreed: bool  # the patient agreed to be contacted: a stop of before counts no longer


def amend(held: Terms, said: Mapping[str, Any], *, stopped: bool) -> Amendment:
    """The terms in force with what is said put in; what is not said stays.

    `said` has fields of the terms. `stopped`: the patient opted out since contact was last agreed on, so that naming
    the same channels again is news. Nothing but channels named, or contact taken back into the scope, lifts a stop.
    """
    terms = replace(held, **said)
    named = "channels" in said and (stopped or not _same(held.channels, terms.channels))
    contact_agreed = CONTACT in terms.scope and bool(terms.channels) and (named or CONTACT not in held.scope)
    changes = tuple(
        field.name
        for field in fields(Terms)
        if not _same(getattr(held, field.name), getattr(terms, field.name))
        or (field.name == "channels" and contact_agreed)
    )
    return Amendment(terms, changes, contact_agreed)


def _same(one: Any, other: Any) -> bool:
    """Of what is listed the order does not matter."""
    return bool(set(one) == set(other) if isinstance(one, tuple) else one == other)
