"""Every reason that the planner can give has words, and every event has a sentence."""

from __future__ import annotations

import ast
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from services import planner
from services.planner.domain.model import NO_COMMITMENTS, Commitments, Plan
from services.planner.domain.plan import plan_cycle
from shared.events import EVENTS, Event, Reason
from shared.words import render, tell
from shared.words.reasons import EARLIER, REASONS
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, in_days, taking


def given_reasons() -> list[tuple[str, str, frozenset[str]]]:
    """Where, which code and with which parameters: every call of `because` in the planner's source."""
    found = []
    for path in sorted(Path(planner.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "because":
                code = node.args[0]
                assert isinstance(code, ast.Constant), (
                    f"{path.name}:{node.lineno}: the code must be a literal"
                )
                params = frozenset(keyword.arg or "**" for keyword in node.keywords)
                found.append((f"{path.name}:{node.lineno}", str(code.value), params))
    return found


GIVEN = given_reasons()


@pytest.mark.parametrize(
    ("where", "code", "params"), GIVEN, ids=[f"{where} {code}" for where, code, _ in GIVEN]
)
def test_every_reason_has_words_for_just_its_parameters(
    where: str, code: str, params: frozenset[str]
) -> None:
    fields = {name for _, name, _, _ in Formatter().parse(REASONS[code]) if name}
    assert fields == params


ELSEWHERE = {"condition_not_met", "declined_at_counter", "excluded_by_pharmacist"}
"""Given by fulfillment."""

FORMER = {
    *("anchor_best", "instead_of_latest_due", "no_visit_on_the_day", "other_day_below_minimum"),
    *("cycle_policy_not_offered", "cycle_spine", "day_of_month_missing", "day_of_month_refused"),
    "join_later_visit_stands",
    *("ride_along_before_run_out", "ride_along_not_due", "ride_along_with_pickup"),
}
"""Of plans that were published before a day was judged by its year: they can still be read."""


def test_no_words_are_left_over() -> None:
    assert {code for _, code, _ in GIVEN} | ELSEWHERE | FORMER == set(REASONS)


def test_a_plan_reads_as_sentences() -> None:
    for commitments in (NO_COMMITMENTS, Commitments(agreed=True, anchor_on=in_days(17))):
        plan = plan_cycle(taking({"a": 12, "b": 15, "c": -3}), EVERY_DAY, COMMERCIAL, TODAY, commitments, 1)
        assert isinstance(plan, Plan)
        reasons = [*plan.reasons, *(reason for drug in plan.drugs for reason in drug.reasons)]
        reasons += [item.reason for visit in plan.visits for item in visit.items]
        reasons += [offer.reason for offer in plan.offered]
        for reason in reasons:
            text = render(Reason(code=reason.code, params=dict(reason.params)))
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith(".")
            assert "{" not in text
            assert not re.search(r"\d{4}-\d{2}-\d{2}|\b1 \w+s\b", text), text


@pytest.mark.parametrize(
    ("code", "params", "text"),
    [
        ("early", {"days": 1}, "Filled on the sync date with 1 day left."),
        (
            "bridge",
            {"days": 8, "on": "2026-10-20", "until": "2026-10-28"},
            "Runs out before its sync date. Short fill of 8 days on Tue Oct 20, 2026; the supply lasts "
            "through Tue Oct 27, 2026.",
        ),
        (
            "offered",
            {"visits": 0, "short_fills": 1, "overrides": 2, "uncovered": 12},
            "No extra trips before all are in sync, 1 short fill, 2 refill-too-soon overrides, 12 days without a drug, "
            "over all drugs.",
        ),
        (
            "other_day_costs_more",
            {"on": "2026-10-20", "cost": "5", "here": "0.33"},
            "Not Tue Oct 20, 2026: costs the patient $5.00 more than usual, instead of $0.33.",
        ),
        (
            "controlled",
            {"schedule": "c3"},
            "Controlled substance (Schedule III): not synchronized by this chain's policy.",
        ),
        ("of_a_later_version", {"days": 3}, "Of a later version."),
    ],
)
def test_words(code: str, params: dict[str, Any], text: str) -> None:
    assert render(Reason(code=code, params=params)) == text


@pytest.mark.parametrize("code", EARLIER)
def test_what_plans_of_earlier_versions_said_is_still_said(code: str) -> None:
    """Their parameters were fewer; a sentence is made of those, never of the code."""
    names = {name for _, name, form, _ in Formatter().parse(EARLIER[code]) if name}
    assert code not in REASONS or names < {name for _, name, _, _ in Formatter().parse(REASONS[code]) if name}
    days = {"on": "2026-10-20", "made_on": "2026-10-20", "by": "pharmacist"}
    text = render(Reason(code=code, params={name: days.get(name, 2) for name in names}))
    assert "{" not in text and not text.startswith(code.replace("_", " ").capitalize())


SECRETS = ("Ada", "Lovelace", "+15550100", "lisinopril")


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.__name__)
def test_every_event_is_told_in_one_sentence_that_names_nobody(event: type[Event]) -> None:
    text = tell(_example(event))
    assert text.endswith(".")
    assert text != f"{event.__name__}."
    assert "{" not in text
    assert not any(secret in text for secret in SECRETS)
    assert not re.search(r"\d{4}-\d{2}-\d{2}", text), text


def _example(event: type[Event]) -> Event:
    """An event with something in every field; each free text is a secret."""
    return event.model_construct(
        **{name: _value(str(field.annotation), name) for name, field in event.model_fields.items()}
    )


def _value(annotation: str, name: str) -> Any:
    """A plausible value by the look of the annotation."""
    if name in ("given_name", "family_name", "phone", "drug_name"):
        return SECRETS[("given_name", "family_name", "phone", "drug_name").index(name)]
    if "tuple" in annotation:
        return (Reason(code="many_drugs"),) if "Reason" in annotation else ()
    for kind, value in (
        ("datetime", datetime(2026, 3, 2, tzinfo=UTC)),
        ("date", date(2026, 3, 2)),
        ("time", time(9)),
        ("Decimal", Decimal(3)),
        ("int", 3),
        ("bool", True),
        ("Reason", Reason(code="disenrolled")),
    ):
        if re.search(rf"\b{kind}\b", annotation):
            return value
    return "x"
