"""What candidates answer other than yes, against a real PostgreSQL: kept as it is, and asked again on its day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.events.enrollment import (
    CandidateIdentified,
    CandidateWithdrawn,
    PatientDisenrolled,
    PatientEnrolled,
)
from tests import feed as records
from tests.integration.enrollment.conftest import NOW, P1, Service

ANSWER = f"/candidates/{P1}/answer"


async def listed(service: Service) -> list[dict[str, Any]]:
    await service.do_due("due_candidate_checks")
    return list((await service.get("/candidates"))["items"])


async def test_who_says_not_now_is_back_after_ninety_days_with_the_answer_in_words(fed: Service) -> None:
    (before,) = await listed(fed)
    assert before["answered"] is None
    await fed.published()
    state = await fed.post(ANSWER, answer="not_now")
    assert (state["status"], state["disenrolled_for"]) == ("disenrolled", "not_now")
    assert state["ask_again_on"] == "2009-12-30"
    told = await fed.only(CandidateWithdrawn)
    assert (told.reason, str(told.ask_again_on), told.store_id) == ("not_now", "2009-12-30", "S1")
    await fed.feed("fills", records.fill(fill_id="F9"))
    assert await listed(fed) == [], "nothing that the feed says brings the patient back before"

    fed.at(NOW + timedelta(days=89))
    assert await listed(fed) == []
    fed.at(NOW + timedelta(days=90))
    (again,) = await listed(fed)
    assert again["answered"] == {
        "answer": "not_now",
        "on": "2009-10-01",
        "ask_again_on": "2009-12-30",
        "words": "said not now on Thu Oct 1, 2009, to be asked again on Wed Dec 30, 2009",
    }
    assert [type(event) for event in await fed.published()] == [CandidateIdentified], "as a candidate again"
    assert (await fed.get(f"/patients/{P1}"))["status"] == "known"


async def test_who_declined_is_asked_again_only_on_a_day_that_was_given(fed: Service) -> None:
    await listed(fed)
    assert (await fed.post(ANSWER, answer="declined"))["ask_again_on"] is None
    assert (await fed.post(ANSWER, answer="declined", ask_again_on="2009-11-01"))[
        "ask_again_on"
    ] == "2009-11-01"
    assert (await fed.post(ANSWER, answer="declined"))["ask_again_on"] == "2009-11-01", "said again, as it is"
    fed.at(NOW + timedelta(days=31))
    (again,) = await listed(fed)
    assert again["answered"]["words"].startswith("declined on Thu Oct 1, 2009")
    await fed.post(ANSWER, answer="not_now", ask_again_on="2009-12-01")
    await fed.post(ANSWER, answer="declined")
    fed.at(NOW + timedelta(days=90))
    assert await listed(fed) == []


async def test_that_a_candidate_declined_is_told_once_and_of_nobody_who_was_none(fed: Service) -> None:
    await fed.post(ANSWER, answer="not_now", ask_again_on="2009-10-02")
    assert await fed.published() == []
    fed.at(NOW + timedelta(days=1))
    await listed(fed)
    assert isinstance(await fed.only(CandidateIdentified), CandidateIdentified)
    await fed.post(ANSWER, answer="declined")
    assert (await fed.only(CandidateWithdrawn)).reason == "declined"
    await fed.post(ANSWER, answer="declined")
    assert await fed.published() == []


@pytest.mark.parametrize("reason", ["died", "moved_away", "revoked"])
async def test_a_candidate_whose_record_ends_is_told_to_be_none(fed: Service, reason: str) -> None:
    await listed(fed)
    await fed.published()
    await fed.post(f"/patients/{P1}/disenrolment", reason=reason)
    assert (await fed.only(CandidateWithdrawn)).reason == reason


async def test_a_candidate_who_would_benefit_no_longer_is_told_to_be_none(fed: Service) -> None:
    await listed(fed)
    await fed.published()
    await fed.feed("prescriptions", records.prescription(revision="2", status="discontinued"))
    assert await listed(fed) == []
    assert (await fed.only(CandidateWithdrawn)).reason == "no_benefit"


async def test_a_consent_goes_before_an_answer_and_ends_the_waiting(fed: Service) -> None:
    await listed(fed)
    await fed.post(ANSWER, answer="not_now")
    await fed.published()
    await fed.post(f"/patients/{P1}/consent")
    assert isinstance(await fed.only(PatientEnrolled), PatientEnrolled)
    await fed.post(f"/patients/{P1}/disenrolment", reason="revoked")
    fed.at(NOW + timedelta(days=100))
    assert await listed(fed) == [], "who left is asked no more"
    problem = await fed.post(ANSWER, status=409, answer="not_now")
    assert problem["code"] == "not_a_candidate"


@pytest.mark.parametrize(("reason", "kept", "back"), [("not_now", "not_now", 1), ("declined", "declined", 0)])
async def test_the_old_way_keeps_the_answer_too(fed: Service, reason: str, kept: str, back: int) -> None:
    await listed(fed)
    state = await fed.post(f"/patients/{P1}/disenrolment", reason=reason)
    assert (state["status"], state["disenrolled_for"]) == ("disenrolled", kept)
    fed.at(NOW + timedelta(days=90))
    assert len(await listed(fed)) == back


async def test_who_takes_part_and_declines_revokes_the_consent(enrolled: Service) -> None:
    assert (await enrolled.post(ANSWER, status=409, answer="declined"))["code"] == "enrolled"
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="not_now")
    assert (await enrolled.only(PatientDisenrolled)).reason == "revoked"


async def test_who_died_while_waiting_is_not_asked(fed: Service) -> None:
    await listed(fed)
    await fed.post(ANSWER, answer="not_now")
    assert (await fed.post(f"/patients/{P1}/disenrolment", reason="died"))["disenrolled_for"] == "died"
    fed.at(NOW + timedelta(days=100))
    assert await listed(fed) == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"answer": "maybe"}, 400, "answer: "),
        ({"answer": "not_now", "ask_again_on": "2009-10-01"}, 422, "is not after today, 2009-10-01"),
        ({"answer": "not_now", "ask_again": "2009-12-01"}, 400, "ask_again: "),
    ],
)
async def test_an_answer_that_cannot_be_is_refused_by_name(
    fed: Service, body: dict[str, Any], status: int, says: str
) -> None:
    assert says in (await fed.post(ANSWER, status=status, **body))["detail"]
