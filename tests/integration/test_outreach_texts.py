"""Messages of patients against a real PostgreSQL: stops are heard, numbers too; what is unclear is read by a person."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from shared.events.enrollment import Channel, Phone
from shared.events.outreach import ContactOptedIn, ContactOptedOut, PickupConfirmed, QuestionRaised
from tests.integration.test_outreach import (
    CLERK,
    DIALLER,
    NOW,
    NUMBER,
    PHARMACIST,
    VISIT,
    Service,
    details,
    enrolled,
    plan,
    store,
    two_processes,
)

PATIENT = {"Medsync-Actor": "patient-1", "Medsync-Role": "patient", "Medsync-Patients": "p1,p2,p3"}
SEVEN_DAYS_BEFORE = datetime(2026, 10, 13, 14, tzinfo=UTC)


@pytest_asyncio.fixture
async def known(fresh_database: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Service]:
    """One patient with a mobile phone who wants calls and texts, without a plan."""
    async with two_processes(fresh_database("outreach"), tmp_path) as service:
        await service.handle(store())
        await service.handle(enrolled(channels=(Channel.phone, Channel.text)))
        await service.handle(details())
        await service.do_due()
        yield service


async def write(service: Service, text: str, patient_id: str = "p1", **more: Any) -> dict[str, Any]:
    """The patient writes."""
    return await service.post(f"/patients/{patient_id}/inbound", by=PATIENT, answer={"text": text}, **more)


async def to_read(service: Service, store_id: str = "s1", **more: str) -> list[dict[str, Any]]:
    """What waits for a person of the store to read it."""
    answer = await service.http.get("/texts", params={"store": store_id} | more, headers=CLERK)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def read(service: Service, meaning: str, status: int = 200, **more: Any) -> dict[str, Any]:
    """A clerk reads the first message that waits."""
    [first, *_] = await to_read(service)
    return await service.post(f"/texts/{first['text_id']}/read", status, by=CLERK, meaning=meaning, **more)


async def with_the_same_number(service: Service, patient_id: str = "p2") -> None:
    await service.handle(enrolled(patient_id, channels=(Channel.phone, Channel.text)))
    await service.handle(details(patient_id))
    await service.do_due()


# ---- a stop is heard ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Please stop", "don't text me", "ya no me manden mensajes", "STOP \ud83d", "STOP\x00"]
)
async def test_a_stop_is_heard_however_it_is_written(known: Service, text: str) -> None:
    await known.handle(plan(agreed=False))
    body = json.dumps({"answer": {"text": text}})  # half a character and all
    answer = await known.http.post(
        "/patients/p1/inbound", content=body, headers=PATIENT | {"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["opted_out"]) == (200, True), answer.text
    assert await known.published() == [ContactOptedOut(patient_id="p1", channel=Channel.text)]
    assert await known.lease() == []


async def test_a_stop_takes_the_dialers_lease_back_and_leaves_a_persons(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    await write(known, "leave me alone")
    assert (await known.report(lent, "answered", 409, anchor_on="2026-10-20"))["code"] == "taken_back"
    await known.at(NOW + timedelta(days=1, hours=7))
    [by_hand] = await known.lease(by=CLERK)
    await write(known, "STOP")
    await known.report(by_hand, "answered", anchor_on="2026-10-20")


async def test_a_stop_is_heard_after_the_call_was_reported(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    await known.report(lent, "answered", anchor_on="2026-10-20")
    await known.report(lent, "answered", text="no more texts please")
    assert [type(event) for event in await known.published()][1:] == [ContactOptedOut]


async def test_a_report_about_a_drug_silences_nobody(known: Service) -> None:
    heard = await write(known, "Stop filling the metformin")
    assert (heard["heard"], await known.published()) == ("unclear", [])
    [listed] = await to_read(known)
    assert listed["text"] == "Stop filling the metformin"


async def test_help_is_answered(known: Service) -> None:
    message = (await write(known, "HELP"))["message"]
    assert all(part in message for part in ("Corner Pharmacy", "212-555-0100", "STOP"))
    assert "ALTO" in (await write(known, "ayuda"))["message"]
    assert await to_read(known) == []


async def test_who_is_not_known_is_told_so(known: Service) -> None:
    for text in ("STOP", "who is this", "HELP"):
        await known.post("/patients/nobody/inbound", 404, by=PATIENT, answer={"text": text})


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        ("STOP", {"patient_id", "opted_out", "message", "heard"}),
        ("wrong number", {"patient_id", "wrong_number", "message", "heard"}),
        ("START", {"contacts", "events", "stale", "patient_id", "opted_out", "message", "heard"}),
        ("HELP", {"contacts", "events", "stale", "message", "heard"}),
        ("who is this", {"contacts", "events", "stale", "text_id", "heard"}),
        ("thanks", {"contacts", "events", "stale", "heard"}),
    ],
)
async def test_a_reply_has_what_belongs_to_it_and_the_same_again(
    known: Service, text: str, answered: set[str]
) -> None:
    by = PATIENT | {"Idempotency-Key": "k1"}
    first = await known.post("/patients/p1/inbound", by=by, answer={"text": text})
    assert set(first) == answered
    assert await known.post("/patients/p1/inbound", by=by, answer={"text": text}) == first


# ---- the number ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["STOP", "wrong number"])
async def test_words_by_a_call_count_where_one_number_is_on_record_twice(known: Service, text: str) -> None:
    mobile_and_home = tuple(Phone(number=NUMBER, kind=kind) for kind in ("mobile", "home"))
    await known.handle(details(revision=2, phones=mobile_and_home))
    reply = await write(known, text, channel="phone")
    assert reply.get("opted_out") or reply.get("wrong_number")


async def test_a_stop_belongs_to_the_number_too(known: Service) -> None:
    await with_the_same_number(known)
    await known.handle(plan(agreed=False), plan(patient_id="p2", agreed=False))
    await write(known, "stop texting me")
    assert await known.lease() == [], "the number is looked at, before anything was told"
    await known.do_due()
    assert sorted(each.key for each in await known.published() if isinstance(each, ContactOptedOut)) == [
        "p1",
        "p2",
    ]
    assert [each["patient_id"] for each in await known.lease(by=CLERK)] != []


async def test_a_stop_of_one_number_leaves_whoever_has_another(known: Service) -> None:
    await known.handle(enrolled("p2"))
    await known.handle(details("p2", phones=(Phone(number="+12125550177", kind="mobile"),)))
    await known.do_due()
    await known.handle(plan(patient_id="p2", agreed=False))
    await write(known, "stop")
    await known.do_due()
    assert [each["patient_id"] for each in await known.lease()] == ["p2"]


async def test_a_stop_at_the_counter_is_the_patients_alone(known: Service) -> None:
    await with_the_same_number(known)
    await known.handle(plan(agreed=False), plan(patient_id="p2", agreed=False))
    await known.post("/patients/p1/opt-out", by=CLERK, channel="other")
    await known.do_due()
    assert [each["patient_id"] for each in await known.lease()] == ["p2"]


async def test_who_takes_over_a_stopped_number_is_not_contacted_by_machine_unless_they_consent_since(
    known: Service,
) -> None:
    await write(known, "stop")
    await known.published()
    await known.handle(enrolled("p2", channels=(Channel.phone,)))
    await known.handle(details("p2"))
    await known.handle(plan(patient_id="p2", agreed=False))
    assert await known.published() == [ContactOptedOut(patient_id="p2", channel=Channel.text)]
    assert await known.lease() == []
    consent = {"given_at": NOW + timedelta(minutes=1), "channels": (Channel.phone, Channel.text)}
    await known.handle(enrolled("p2", revision=2, **consent))
    assert [each["patient_id"] for each in await known.lease()] == ["p2"]


async def test_a_newer_consent_lifts_the_stop(known: Service) -> None:
    await known.handle(plan(agreed=False))
    await write(known, "stop")
    await known.handle(enrolled(revision=2, given_at=NOW))
    assert await known.lease() == [], "not newer"
    await known.handle(enrolled(revision=3, given_at=NOW + timedelta(minutes=1)))
    assert len(await known.lease()) == 1


async def test_start_lifts_the_stop_and_a_newer_stop_counts_again(known: Service) -> None:
    await known.handle(plan(agreed=False))
    await write(known, "stop")
    known.clock.set(NOW + timedelta(minutes=1))
    assert "Corner Pharmacy" in (await write(known, "START"))["message"]
    assert await known.published() == [
        ContactOptedOut(patient_id="p1", channel=Channel.text),
        ContactOptedIn(patient_id="p1", channel=Channel.text),
    ]
    await write(known, "start")
    assert await known.published() == [], "nothing is left to lift"
    [lent] = await known.lease()
    known.clock.set(NOW + timedelta(minutes=2))
    await known.report(lent, "stop")
    await known.at(NOW + timedelta(days=1))
    assert await known.lease() == []


@pytest.mark.parametrize("number", [None, NUMBER])
async def test_a_wrong_number_ends_contact_to_it_about_everybody(known: Service, number: str | None) -> None:
    await with_the_same_number(known)
    await known.handle(plan(agreed=False), plan(patient_id="p2", agreed=False))
    await write(known, "Wrong number. Stop texting me.", number=number)
    assert await known.published() == [], "nobody revoked anything"
    assert await known.lease() == []
    assert await known.lease(by=CLERK) == []


async def test_of_several_numbers_none_is_given_up_on_a_guess(known: Service) -> None:
    second = "+12125550188"
    both = (Phone(number=NUMBER, kind="mobile"), Phone(number=second, kind="mobile"))
    await known.handle(details(revision=2, phones=both))
    await known.handle(plan(agreed=False))
    assert (await write(known, "wrong number"))["wrong_number"] is False
    [listed] = await to_read(known)
    assert listed["seems"] == "wrong_number"
    assert (await read(known, "wrong_number", 422))["code"] == "number_missing"
    assert len(await to_read(known)) == 1
    await read(known, "wrong_number", number=NUMBER)
    assert [each["phone"] for each in await known.lease()] == [second]


# ---- what a person reads ------------------------------------------------------------------------------------


async def test_automated_contact_waits_for_a_message_that_nobody_read(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    text_id = (await write(known, "what is this about my pills?"))["text_id"]
    assert (await known.report(lent, "no_answer", 409))["code"] == "taken_back"
    assert await known.lease() == []
    [listed] = await to_read(known)
    assert (listed["text_id"], listed["text"], listed["escalated"]) == (
        text_id,
        "what is this about my pills?",
        False,
    )
    assert (listed["due_at"], listed["escalates_at"]) == ("2026-10-02T00:00:00Z", "2026-10-03T00:00:00Z")
    [called] = (await known.get("/call-list?store=s1"))["items"]
    assert (called["unread_text"], called["by_hand"]) == (True, True)

    await known.at(datetime(2026, 10, 3, 0, 0, tzinfo=UTC))
    [listed] = await to_read(known)
    assert (listed["escalated"], "Overdue" in listed["because"]) == (True, True)
    assert await known.lease() == [], "a machine waits for whoever reads it"
    await known.at(datetime(2026, 10, 3, 14, 0, tzinfo=UTC))
    [by_hand] = await known.lease(by=CLERK)
    await known.report(by_hand, "no_answer")
    await known.at(datetime(2026, 10, 5, 18, 0, tzinfo=UTC))
    await read(known, "nothing")
    assert await to_read(known) == []
    assert [each["patient_id"] for each in await known.lease()] == ["p1"]


async def test_what_staff_make_of_a_message_follows(known: Service) -> None:
    await known.handle(plan(VISIT))
    for meaning, published in (("question", [QuestionRaised]), ("stop", [ContactOptedOut]), ("nothing", [])):
        await write(known, "hmm")
        [listed] = await to_read(known)
        await read(known, meaning)
        assert [type(event) for event in await known.published()] == published
        again = await known.post(f"/texts/{listed['text_id']}/read", 409, by=PHARMACIST, meaning="nothing")
        assert again["code"] == "read"
    await write(known, "yes to Tuesday but not the second one")
    assert (await read(known, "answer", 422))["code"] == "answer_missing"
    assert (await read(known, "answer", 422, answer={"anchor_on": "2026-10-20"}))["code"] == "wrong_decision"
    await read(known, "answer", answer={"confirm": True, "declined_rx_ids": ["rx2"]})
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert confirmed.declined_rx_ids == ("rx2",)
    await write(known, "you have the number of somebody else here")
    await read(known, "wrong_number")
    assert await known.published() == []


async def test_only_staff_read_messages(known: Service) -> None:
    await write(known, "hmm")
    [listed] = await to_read(known)
    assert (await known.http.get("/texts", headers=DIALLER)).status_code == 403
    assert (await known.http.get("/texts", headers={"Medsync-Role": ""})).status_code == 401
    await known.post(f"/texts/{listed['text_id']}/read", 403, by=DIALLER, meaning="nothing")
    await known.post(f"/texts/{uuid4()}/read", 404, by=CLERK, meaning="nothing")
    assert await to_read(known, store_id="s2") == []


async def test_messages_are_sealed_and_their_words_are_nowhere_else(known: Service) -> None:
    await write(known, "canary about my insulin")
    async with known.work.pool.acquire() as db:
        for table in ("texts", "attempts", "contacts", "fabric.outbox"):
            kept = await db.fetchval(f"select coalesce(string_agg(t::text, ' '), '') from {table} t")
            assert "insulin" not in kept
            assert b"insulin".hex() not in kept


async def test_a_message_that_is_too_long_is_cut_and_said_to_be(known: Service) -> None:
    await write(known, "stop it I say " * 200)
    await write(known, "x" * 1600 + "!")
    await write(known, "y" * 1600)
    assert [(len(each["text"]), each["cut"]) for each in await to_read(known)] == [
        (1600, True),
        (1600, True),
        (1600, False),
    ] or len(await to_read(known)) == 3
    page = (await known.http.get("/texts?limit=2", headers=CLERK)).json()
    assert len(page["items"]) == 2
    assert len(await to_read(known, after=page["next"])) == 1


async def test_a_parked_patients_message_is_kept(known: Service) -> None:
    async with known.work.pool.acquire() as db:
        letter = await db.fetchval(
            """
            insert into fabric.dead_letters (topic, attempts, reason, message, headers)
            values ('t', 1, 'refused', 'm', '[]')
            returning id
            """
        )
        await db.execute(
            "insert into fabric.parked (key, reason, dead_letter_id) values ('patient:p1', 'refused', $1)",
            letter,
        )
    await write(known, "can somebody explain")
    assert len(await to_read(known)) == 1
    await read(known, "stop")
    assert [type(event) for event in await known.published()] == [ContactOptedOut]


# ---- plain answers ------------------------------------------------------------------------------------------


async def test_yes_confirms_the_visit_that_was_asked_about_and_nothing_else(known: Service) -> None:
    await known.handle(plan(VISIT))
    await write(known, "yes")
    assert await known.published() == [], "nothing was asked yet"
    await known.at(SEVEN_DAYS_BEFORE)
    [lent] = await known.lease()
    await known.report(lent, "voicemail")
    await write(known, "Yes please!")
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert confirmed.visit_id == VISIT.visit_id
    assert await to_read(known) == []


async def test_yes_to_a_proposal_and_another_day_are_for_a_person(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    await known.report(lent, "voicemail")
    await write(known, "1")
    await write(known, "2")
    assert await known.published() == []
    assert sorted((each["text"], each["seems"]) for each in await to_read(known)) == [
        ("1", "yes"),
        ("2", "another_day"),
    ]


async def test_what_staff_report_they_have_read(known: Service) -> None:
    await known.post(
        "/patients/p1/inbound", by=CLERK, answer={"question": True, "text": "which pill is blue?"}
    )
    assert await to_read(known) == []
    await known.post(
        "/patients/p1/inbound", by=PATIENT, answer={"question": True, "text": "which pill is blue?"}
    )
    assert len(await to_read(known)) == 1


# ---- questions ----------------------------------------------------------------------------------------------

WORDS = "May I take the lisinopril with Zinnobertee?"


async def asked(service: Service, **params: str) -> list[dict[str, Any]]:
    """The questions of the store."""
    answer = await service.http.get("/questions", params={"store": "s1"} | params, headers=PHARMACIST)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_question_stands_in_a_list_until_a_pharmacist_answered_it(known: Service) -> None:
    await known.post("/patients/p1/inbound", by=CLERK, answer={"asked": WORDS})
    assert [type(event) for event in await known.published()] == [QuestionRaised]
    [listed] = await asked(known)
    assert (listed["words"], listed["escalated"], listed["status"]) == (WORDS, False, "open")
    due_at = datetime.fromisoformat(listed["due_at"])
    assert NOW + timedelta(days=1) < due_at < NOW + timedelta(days=2), "the end of the next business day"
    await known.at(due_at)
    assert [each["escalated"] for each in await asked(known)] == [True]

    path = f"/questions/{listed['question_id']}/answer"
    await known.post(path, 403, by=CLERK, outcome="answered")
    await known.post(path, 400, by=PHARMACIST, outcome="whatever")
    await known.post(path, by=PHARMACIST, outcome="answered", words="Yes, with Zinnobertee too.")
    assert await asked(known) == []
    [done] = await asked(known, status="answered")
    assert (done["outcome"], done["escalated"]) == ("answered", False)
    assert (await known.post(path, 409, by=PHARMACIST, outcome="answered"))["code"] == "answered"
    assert (await known.get("/call-list?store=s1"))["items"] == [], "nobody calls back about it"
    await known.post(f"/questions/{uuid4()}/answer", 404, by=PHARMACIST, outcome="answered")


async def test_what_was_asked_and_answered_is_sealed_and_its_words_are_nowhere_else(known: Service) -> None:
    await known.post("/patients/p1/inbound", by=CLERK, answer={"question": True, "asked": WORDS})
    [listed] = await asked(known)
    path = f"/questions/{listed['question_id']}/answer"
    await known.post(path, by=PHARMACIST, outcome="referred", words="Zinnobertee: ask Dr. N.")
    async with known.work.pool.acquire() as db:
        for table in ("questions", "attempts", "contacts", "fabric.outbox", "fabric.audit"):
            kept = await db.fetchval(f"select coalesce(string_agg(t::text, ' '), '') from {table} t")
            assert "Zinnober" not in kept, table
            assert b"Zinnober".hex() not in kept, table


async def test_a_message_that_is_a_question_is_listed_with_its_words_and_a_call_answers_it(
    known: Service,
) -> None:
    await write(known, WORDS)
    await read(known, "question")
    [listed] = await asked(known)
    assert listed["words"] == WORDS
    lent = await known.post(f"/contacts/{listed['question_id']}/lease", by=PHARMACIST, worker="w")
    [contact] = lent["contacts"]
    await known.post(
        f"/contacts/{listed['question_id']}/outcome",
        by=PHARMACIST,
        lease_id=contact["lease_id"],
        outcome="answered",
        answer={},
    )
    assert await asked(known) == []
    assert [each["status"] for each in await asked(known, status="answered")] == ["answered"]
