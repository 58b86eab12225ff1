"""What people do here: reveal a name, redrive or skip a dead letter, have the model rebuilt. One function per command,
on a unit of work; who did it, when and why is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.console.store import actions, reads
from shared.messaging import Unit
from shared.problems import NotFound
from shared.words.formats import counted

WAYS_OUT = ("redrive", "skip")


async def reveal(unit: Unit, patient_id: str, because: str, minutes: int) -> None:
    """Let this person see this patient's name for so many minutes.

    Raises:
        NotFound: no event has named the patient yet.
    """
    if await reads.patient_of(unit.db, patient_id) is None:
        raise NotFound("unknown_patient", "no event has named this patient yet")
    unit.because = because  # for auditors alone, and sealed: people write of patients there
    await actions.record_reveal(
        unit.db, patient_id=patient_id, actor=unit.actor, role=unit.role, minutes=minutes
    )


def require_way_out(way_out: str) -> None:
    """Raises NotFound where there is no such way out of a dead letter."""
    if way_out not in WAYS_OUT:
        raise NotFound("unknown_way_out", "a dead letter is redriven or skipped")


async def record(
    unit: Unit, what: str, because: str, service: str, came_of_it: str, letter: int | None = None
) -> None:
    """Keep what was done elsewhere, and what came of it."""
    await actions.record_command(
        unit.db,
        what=what,
        actor=unit.actor,
        role=unit.role,
        because=because,
        service=service,
        letter=letter,
        came_of_it=came_of_it,
    )


def what_came(answer: Mapping[str, Any]) -> str:
    """What a service answered to a redrive or skip, in words."""
    if answer.get("status") == "open":
        return f"failed again: {answer['failed']}"
    went_on = answer.get("went_on", 0)
    behind = f"; {counted(went_on, 'event')} behind it went through" if went_on else ""
    next_one = f"; the next behind it failed: {answer['failed']}" if "failed" in answer else ""
    return f"done{behind}{next_one}"


def what_came_of_rebuild(report: Mapping[str, Any]) -> str:
    """What a rebuild found, in words."""
    return f"{'equal' if report['equal'] else 'different'}, {'in place' if report['kept'] else 'the old one stays'}"
