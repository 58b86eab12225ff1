"""The planner as it is judged: a document in, the answer of `medsync plan FILE --json` out. Nothing else asks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.planner.inputs import answer, plan, read_patient


def plan_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The planner's answer to a document that says its day of planning."""
    today = date.fromisoformat(document["today"])
    return answer(plan(read_patient(dict(document), today), today))
