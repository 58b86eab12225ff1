"""Every event as a sentence that a person understands: no code, no name of a class."""

from __future__ import annotations

from datetime import date

import pytest

from shared import words
from shared.events import EVENTS
from shared.events.base import Reason
from shared.events.fulfillment import FillRejected
from shared.events.outreach import PatientUnreached, RenewalAnswer, RenewalAnswered
from shared.events.planner import Condition, ConditionKind, PlanBlocked
from shared.words.formats import rejected
from tests.pharmacy import pharmacy


def test_every_event_has_a_sentence_without_codes() -> None:
    told = {each.event.TYPE: words.tell(each.event) for each in pharmacy(48)}
    assert set(told) == set(EVENTS)
    for event_type, sentence in told.items():
        assert sentence.endswith("."), event_type
        assert "_" not in sentence, event_type
        assert not sentence.startswith(EVENTS[event_type].__name__), event_type


def test_a_plan_that_cannot_be_made_says_why() -> None:
    event = PlanBlocked.model_construct(reasons=(Reason(code="not_reached", params={"cycles": 2}),))
    assert words.tell(event) == (
        "No plan can be made now. Not reached, or declined, 2 cycles in a row. Call, or remove from med sync."
    )


def test_who_was_not_to_be_called_any_more_is_not_said_to_have_been_tried() -> None:
    event = PatientUnreached.model_construct(visit_id="v", attempts=0, planned_late=True)
    assert words.tell(event) == (
        "Nobody was called about a visit: it was planned after the last hours for calls before it."
    )


@pytest.mark.parametrize(
    ("attempts", "tried"),
    [(0, "no attempt was made in time"), (1, "after 1 attempt"), (3, "after 3 attempts")],
)
def test_not_reached_says_how_often_it_was_tried(attempts: int, tried: str) -> None:
    event = PatientUnreached.model_construct(visit_id="v", attempts=attempts, planned_late=False)
    assert words.tell(event) == f"Patient not reached about a visit: {tried}."


def test_codes_are_said_in_words_and_unknown_ones_are_not_hidden() -> None:
    assert rejected("75") == "prior authorization required (reject 75)"
    assert rejected("999") == "reject 999"
    refused = FillRejected.model_construct(reject_code="79", next_fill_on=None)
    assert words.tell(refused) == "Insurance rejected a fill: refill too soon (reject 79)."
    answered = RenewalAnswered.model_construct(answer=RenewalAnswer.needs_visit)
    assert words.tell(answered) == "The prescriber needs to see the patient before renewing."


@pytest.mark.parametrize(
    ("kind", "by", "read_out", "not_filled"),
    [
        ("renewal", "prescriber", "if the prescriber renews it", "the prescriber did not renew it"),
        (
            "authorization",
            "payer",
            "if insurance approves it (prior authorization)",
            "prior authorization did not come through",
        ),
        (
            "authorization",
            "prescriber",
            "if the prescriber gets it approved (prior authorization)",
            "prior authorization did not come through",
        ),
        (
            "answer",
            "pharmacist",
            "if the pharmacist answers the question about it",
            "the question about it was not answered",
        ),
        ("from_later", "school_nurse", "if the school nurse clears it", "what it waited for did not come"),
    ],
)
def test_a_condition_is_read_out_and_said_where_it_was_not_met(
    kind: str, by: str, read_out: str, not_filled: str
) -> None:
    condition = Condition(kind=ConditionKind(kind), by=by, needed_by=date(2026, 6, 17))
    assert words.of_condition(condition) == f"{read_out} by Wed 6/17"
    reason = Reason(code="condition_not_met", params=condition.model_dump(mode="json"))
    assert words.render(reason) == f"Not filled: {not_filled} by Wed 6/17."
