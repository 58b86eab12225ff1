"""What a plan is made of, gathered once and carried through its making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Commitments, Profile, Rules, StaffDecision
from services.planner.domain.staff_decisions import Key


@dataclass(frozen=True, slots=True)
class Situation:
    """A patient on the day of planning."""

    profile: Profile
    hours: Calendar  # of the store
    calendar: Calendar  # the same, as far as the patient can come on its days
    rules: Rules
    today: date
    commitments: Commitments
    cycle: int
    staff_decisions: Mapping[Key, StaffDecision]  # in force today
    urgently: bool  # whether a visit may be made before the usual lead
