"""Which contacts a plan calls for, what a new plan does to them, and what happens when nobody is reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from string import ascii_letters
from typing import Any

import pytest

from services.outreach.domain.model import (
    Contact,
    Kind,
    Plan,
    Status,
    called_for,
    contacts_when_ready,
    replanned,
)
from services.outreach.domain.renewals import (
    RenewalStatus,
    ask,
    renewal_of,
    reported,
    requests_due,
    review_renewal,
)
from services.outreach.domain.review import review
from services.outreach.domain.texts import Meaning, hear
from services.outreach.domain.words import (
    TEXT_LIMIT,
    help_message,
    message_of,
    script_of,
    started_message,
    stopped_message,
)
from shared.events.enrollment import Channel
from shared.events.fulfillment import PackageReady
from shared.events.outreach import PatientUnreached, PickupConfirmed, RenewalAnswer, RenewalAnswered
from shared.events.planner import RenewalNeeded, VisitKind
from tests.unit.outreach.given import PATIENT, REASON, at, case, contact, item, local, plan, visit

BRIDGE = visit(date(2026, 10, 20), VisitKind.bridge, ["a"])
VISIT = visit(date(2026, 10, 30))
MOVED = visit(date(2026, 10, 31))
NOW = at(1)


def after(*plans: Plan | None, answered: Sequence[str] = ()) -> dict[str, Status]:
    """The contacts after these plans in turn, by what they are about; `answered` ones are, after the first."""
    held: dict[object, Contact] = {}
    for number, each in enumerate(plans):
        held |= {known.contact_id: known for known in replanned(each, list(held.values()), NOW)}
        if number == 0:
            held = {
                key: replace(known, status=Status.answered)
                if (known.visit_id or known.kind) in answered
                else known
                for key, known in held.items()
            }
    return {known.visit_id or known.kind.value: known.status for known in held.values()}


BY_LETTER: dict[str, Any] = {
    "channels": (Channel.phone, Channel.letter),
    "reachable": frozenset({Channel.letter}),
}


@pytest.mark.parametrize(
    ("now", "attempts", "reachable_on"),
    [
        pytest.param(at(20, "19:59"), 0, None, id="a letter of the tenth day before is in time"),
        pytest.param(at(20, "20:00"), 0, date(2026, 10, 31), id="in that day's quiet hours it is not"),
        pytest.param(at(22, "08:00"), 0, date(2026, 11, 1), id="nor later"),
        pytest.param(at(22, "08:00"), 2, date(2026, 11, 1), id="also after calls"),
    ],
)
def test_who_can_only_be_written_to_is_given_up_as_soon_as_the_post_is_too_slow(
    now: datetime, attempts: int, reachable_on: date | None
) -> None:
    """So that another day can be planned at once, for which it is not."""
    waiting = contact(Kind.confirmation, VISIT.on, at(5), attempts=attempts)
    result = review(case(waiting, plan=plan(VISIT), **BY_LETTER), now)
    told = [
        (event.reachable_on, event.too_late) for event in result.events if isinstance(event, PatientUnreached)
    ]
    assert told == ([(reachable_on, True)] if reachable_on else [])
    [left] = result.contacts
    assert left.status is (Status.unreached if reachable_on else Status.open)
    assert left.review_at is None or left.review_at > now


def test_where_the_post_is_too_slow_a_standing_instruction_counts_at_once() -> None:
    covered = VISIT.model_copy(update={"items": (item("a", standing=True),)})
    waiting = contact(Kind.confirmation, VISIT.on, at(22))
    known = case(waiting, plan=plan(covered), standing_instruction=True, **BY_LETTER)
    [confirmed] = review(known, at(22)).events
    assert isinstance(confirmed, PickupConfirmed)
    assert confirmed.standing_instruction


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_answer_to_a_letter_is_waited_for_until_three_days_before_the_visit(attempts: int) -> None:
    """However many calls there were before; then it counts as every other that was not reached."""
    waiting = contact(Kind.confirmation, VISIT.on, at(5), attempts=attempts, written_at=at(20))
    known = case(waiting, plan=plan(VISIT), **BY_LETTER)
    assert review(known, at(27, "19:59")).events == ()
    [unreached] = review(known, at(27, "20:00")).events
    assert isinstance(unreached, PatientUnreached)
    assert (unreached.reachable_on, unreached.too_late) == (date(2026, 11, 7), False)


def test_a_proposal_calls_for_agreement_and_an_agreed_plan_for_each_visit() -> None:
    assert [(each.kind, each.visit_on) for each in called_for(plan(BRIDGE, VISIT, agreed=False), NOW)] == [
        (Kind.alignment, BRIDGE.on)
    ]
    assert [(each.kind, each.visit_on) for each in called_for(plan(BRIDGE, VISIT), NOW)] == [
        (Kind.confirmation, BRIDGE.on),
        (Kind.confirmation, VISIT.on),
    ]


@pytest.mark.parametrize(
    ("plans", "answered", "expected"),
    [
        pytest.param(
            [plan(BRIDGE, VISIT, agreed=False), plan(BRIDGE, VISIT, revision=2)],
            ["alignment"],
            {"alignment": Status.answered, BRIDGE.visit_id: Status.open, VISIT.visit_id: Status.open},
            id="agreed",
        ),
        pytest.param(
            [plan(BRIDGE, VISIT, agreed=False), plan(MOVED, agreed=False, revision=2)],
            ["alignment"],
            {"alignment": Status.open},
            id="a proposal that changed after the answer is asked about again",
        ),
        pytest.param(
            [plan(BRIDGE, VISIT), plan(BRIDGE, MOVED, revision=2)],
            [BRIDGE.visit_id],
            {BRIDGE.visit_id: Status.answered, VISIT.visit_id: Status.withdrawn, MOVED.visit_id: Status.open},
            id="a visit that keeps its day keeps its answer, one that moves needs a new one",
        ),
        pytest.param(
            [plan(VISIT), plan(MOVED, revision=2), plan(VISIT, revision=3)],
            [VISIT.visit_id],
            {VISIT.visit_id: Status.open, MOVED.visit_id: Status.withdrawn},
            id="a visit that left and returned is asked about anew",
        ),
        pytest.param(
            [plan(BRIDGE, VISIT), None],
            [BRIDGE.visit_id],
            {BRIDGE.visit_id: Status.withdrawn, VISIT.visit_id: Status.withdrawn},
            id="blocked or cancelled",
        ),
    ],
)
def test_a_new_plan(plans: list[Plan | None], answered: list[str], expected: dict[str, Status]) -> None:
    assert after(*plans, answered=answered) == expected


def test_the_same_plan_again_changes_nothing() -> None:
    known = replanned(plan(BRIDGE, VISIT), [], NOW)
    assert replanned(plan(BRIDGE, VISIT), known, NOW + timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (Kind.alignment, Status.unreached, []),
        (Kind.alignment, Status.closed, []),
        (Kind.alignment, Status.declined, [Status.open]),
    ],
)
def test_a_proposal_that_was_given_up_on_is_not_asked_about_again(
    kind: Kind, status: Status, expected: list[Status]
) -> None:
    [held] = called_for(plan(VISIT, agreed=False), NOW)
    changed = replanned(plan(VISIT, agreed=False, revision=2), [replace(held, status=status)], NOW)
    assert [each.status for each in changed] == expected


# ---- nobody reached -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "now", "unreached"),
    [
        pytest.param(2, at(27, "19:59"), False, id="before the end of T-3"),
        pytest.param(2, at(27, "20:00"), True, id="T-3 is over"),
        pytest.param(3, at(27, "17:40"), True, id="the last attempt failed"),
        pytest.param(0, at(27, "20:00"), True, id="never even tried"),
    ],
)
def test_unreached_by_three_days_before_the_visit(attempts: int, now: datetime, unreached: bool) -> None:
    waiting = contact(Kind.confirmation, VISIT.on, at(1), VISIT.visit_id, attempts=attempts)
    result = review(case(waiting, plan=plan(VISIT, revision=4)), now)
    expected = PatientUnreached(
        patient_id=PATIENT, plan_id="plan-1", plan_revision=4, visit_id=VISIT.visit_id, attempts=attempts
    )
    assert result.events == ((expected,) if unreached else ())


def test_an_alignment_that_failed_names_no_visit() -> None:
    waiting = contact(Kind.alignment, VISIT.on, at(1), attempts=6)
    [event] = review(case(waiting, plan=plan(VISIT, agreed=False)), at(27, "17:40")).events
    assert isinstance(event, PatientUnreached)
    assert event.visit_id is None


@pytest.mark.parametrize(
    ("allowed", "filled"),
    [(("a", "b"), ["a", "b"]), (("b",), ["b"]), ((), None)],
)
def test_a_standing_instruction_fills_what_payer_and_state_allow(
    allowed: tuple[str, ...], filled: list[str] | None
) -> None:
    planned = VISIT.model_copy(update={"items": tuple(item(rx, standing=rx in allowed) for rx in ("a", "b"))})
    waiting = contact(Kind.confirmation, VISIT.on, at(1), VISIT.visit_id)
    known = case(waiting, plan=plan(planned), standing_instruction=True)
    [event] = review(known, at(27, "20:00")).events
    if filled is None:
        assert isinstance(event, PatientUnreached)
    else:
        assert isinstance(event, PickupConfirmed)
        assert (event.standing_instruction, [each.rx_id for each in event.items]) == (True, filled)


def test_without_a_standing_instruction_on_record_nothing_is_filled() -> None:
    planned = VISIT.model_copy(update={"items": (item("a", standing=True),)})
    waiting = contact(Kind.confirmation, VISIT.on, at(1), VISIT.visit_id)
    [event] = review(case(waiting, plan=plan(planned)), at(27, "20:00")).events
    assert isinstance(event, PatientUnreached)


def test_a_lease_that_ran_out_goes_back_and_the_contact_is_due_again() -> None:
    lent = contact(
        Kind.confirmation, VISIT.on, at(1), lease_id=contact(Kind.ready, None, NOW).contact_id, attempts=0
    )
    lent = replace(lent, lease_until=at(23, "10:15"))
    [held] = review(case(lent, plan=plan(VISIT)), at(23, "10:14")).contacts
    assert (held.lease_id, held.review_at) == (lent.lease_id, at(23, "10:15"))
    [back] = review(case(lent, plan=plan(VISIT)), at(23, "10:15")).contacts
    assert (back.lease_id, local(back.due_at)) == (None, "2026-10-23 10:00")


def ready(on: date, now: datetime) -> list[Contact]:
    event = PackageReady(
        patient_id=PATIENT,
        store_id="store-1",
        package_id="package-1",
        plan_id="plan-1",
        visit_id="visit-1",
        on=on,
        items=(),
        return_on=on + timedelta(days=7),
    )
    return list(review(case(*contacts_when_ready(event, now)), now).contacts)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            at(28, "14:00"),
            {"ready": "2026-10-28 14:00", "reminder": "2026-10-29 10:00"},
            id="two days before",
        ),
        pytest.param(at(29, "14:00"), {"ready": "2026-10-29 14:00"}, id="the day before: no reminder"),
        pytest.param(at(30, "14:00"), {"ready": "2026-10-30 14:00"}, id="on the day"),
        pytest.param(at(31, "14:00"), {"ready": "2026-10-31 14:00"}, id="late"),
    ],
)
def test_the_ready_message_and_the_reminder(now: datetime, expected: dict[str, str]) -> None:
    contacts = ready(VISIT.on, now)
    assert {
        each.kind.value: local(each.due_at) for each in contacts if each.status is Status.open
    } == expected


# ---- prescribers ----------------------------------------------------------------------------------------------


def test_a_prescriber_is_asked_three_times_then_the_answer_is_none() -> None:
    needed = RenewalNeeded(
        patient_id=PATIENT,
        store_id="store-1",
        rx_id="rx-1",
        drug_name="drug",
        prescriber_id="prescriber-1",
        needed_by=date(2026, 10, 15),
        reason=REASON,
    )
    renewal, now = renewal_of(needed, NOW), NOW
    asked: list[tuple[int, str, int]] = []
    while renewal.status is RenewalStatus.open:
        now = renewal.due_at or renewal.review_at or now
        if renewal.due_at is None:
            renewal, events = review_renewal(renewal, now)
            continue
        stage = renewal.stage
        [due] = requests_due([renewal], now)
        lent, [requested] = ask(due, contact(Kind.ready, None, NOW).contact_id, now + timedelta(minutes=15))
        renewal = lent.first
        asked.append(((now - NOW).days, stage, requested.attempt))
        renewal, events = reported(renewal, RenewalAnswer.no_answer, now)
    assert asked == [(0, "first", 1), (4, "repeat", 2), (7, "escalation", 3)]
    assert (now - NOW).days == 11
    assert events == [RenewalAnswered(patient_id=PATIENT, rx_id="rx-1", answer=RenewalAnswer.no_answer)]


def test_a_request_that_was_not_reported_is_due_again() -> None:
    needed = RenewalNeeded(
        patient_id=PATIENT,
        store_id="s",
        rx_id="rx-1",
        drug_name="drug",
        prescriber_id="p",
        needed_by=date(2026, 10, 15),
        reason=REASON,
    )
    [due] = requests_due([renewal_of(needed, NOW)], NOW)
    request, _ = ask(due, contact(Kind.ready, None, NOW).contact_id, NOW + timedelta(minutes=15))
    lent = request.first
    assert lent.due_at is None
    back, events = review_renewal(lent, NOW + timedelta(minutes=15))
    assert (back.due_at, back.lease_id, back.asked, events) == (NOW, None, 0, [])


# ---- words ----------------------------------------------------------------------------------------------------


GSM = frozenset("@£$¥èéùìòÇØøÅåÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ÄÖÑÜ§¿äöñüà" + ascii_letters)
"""Characters of which 160 make one text message (3GPP TS 23.038); of others only 70 do."""

PHONE = "+12125550123"


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["en", "es-MX", "vi"])
@pytest.mark.parametrize("name", ["Corner Pharmacy", "The " + "Very " * 40 + "Long Pharmacy"])
def test_a_message_has_the_pharmacy_and_its_number_in_160_characters(
    kind: Kind, language: str, name: str
) -> None:
    for text in (
        message_of(kind, name, PHONE, language, as_text=True, on=date(2026, 11, 25)),
        stopped_message(name, PHONE, language),
        help_message(name, PHONE, language),
        started_message(name, PHONE, language),
    ):
        assert len(text) <= TEXT_LIMIT
        assert GSM.issuperset(text)
        assert name[:15] in text
        assert "212-555-0123" in text


@pytest.mark.parametrize("kind", list(Kind))
def test_a_text_says_how_to_answer_stop_and_get_help_and_a_voicemail_does_not(kind: Kind) -> None:
    english = message_of(kind, "P", PHONE, "en", as_text=True)
    spanish = message_of(kind, "P", PHONE, "es", as_text=True)
    assert re.search(r"\bReply (?!STOP)", english)
    assert "responda" in spanish.lower()
    assert "STOP" in english
    assert "HELP" in english
    assert "ALTO" in spanish
    assert "AYUDA" in spanish
    voicemail = message_of(kind, "P", PHONE, "en", as_text=False)
    assert "Reply" not in voicemail
    assert "212-555-0123" in voicemail
    assert "STOP" in help_message("P", PHONE, "en")
    assert "ALTO" in help_message("P", PHONE, "es")


@pytest.mark.parametrize(
    ("kind", "language"), [(Kind.confirmation, "en"), (Kind.confirmation, "es"), (Kind.reminder, "en")]
)
def test_the_answers_that_a_text_offers_are_understood(kind: Kind, language: str) -> None:
    text = message_of(kind, "P", PHONE, language, as_text=True, on=date(2026, 11, 25))
    assert re.findall(r"\b[12]\b(?=[, ])", text)[-2:] == ["1", "2"]
    assert [hear(key).meaning for key in ("1", "2")] == [Meaning.yes, Meaning.another_day]
    assert [hear(word).meaning for word in ("STOP", "ALTO")] == [Meaning.stop, Meaning.stop]
    assert [hear(word).meaning for word in ("HELP", "AYUDA")] == [Meaning.help, Meaning.help]


def test_a_text_to_confirm_names_the_day() -> None:
    day = date(2026, 11, 25)
    assert "can you pick up on Wed 11/25?" in message_of(
        Kind.confirmation, "P", PHONE, "en", as_text=True, on=day
    )
    assert "su cita el mié 25 nov" in message_of(Kind.confirmation, "P", PHONE, "es", as_text=True, on=day)


def test_a_store_without_a_number_has_none_in_its_texts() -> None:
    assert message_of(Kind.reminder, "P", "", "en", as_text=True) == (
        "P: your pickup is tomorrow. Reply 1 to confirm, 2 for another day. Reply STOP to opt out, HELP for help."
    )


def test_every_script_begins_with_two_identifiers() -> None:
    assert {script_of(kind)[0].code for kind in Kind} == {"identify"}
    assert "full name and date of birth" in script_of(Kind.ready)[0].words


EVERYTHING = {"short_items": True, "conditional": True, "urgent": True, "left_out": True}


@pytest.mark.parametrize("kind", Kind)
def test_a_script_in_spanish_asks_the_same_with_the_same_notes_for_the_reader(kind: Kind) -> None:
    english, spanish = script_of(kind, "en", **EVERYTHING), script_of(kind, "es-MX", **EVERYTHING)
    assert [line.code for line in spanish] == [line.code for line in english]
    for line, other in zip(english, spanish, strict=True):
        notes, read_out = re.findall(r"\[.*?\]", line.words), re.sub(r"\[.*?\]", "", line.words).strip()
        assert re.findall(r"\[.*?\]", other.words) == notes, line.code
        assert (other.words == line.words) == (read_out == ""), line.code
    assert script_of(kind, "vi", **EVERYTHING) == english


def test_what_the_patient_of_a_call_has_to_know_comes_before_the_closing() -> None:
    codes = [
        line.code
        for line in script_of(
            Kind.confirmation, short_items=True, conditional=True, urgent=True, left_out=True
        )
    ]
    assert codes[:3] == ["identify", "permission", "urgent"]
    assert codes[codes.index("each_item") :][:3] == ["each_item", "conditional", "left_out"]
    assert codes[-3:] == ["short_items", "questions", "closing"]
