"""Consent over time, against a real PostgreSQL: amended, withdrawn in part, given again after a stop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.events.enrollment import Channel, ConsentChanged, PatientEnrolled, ProfileChanged
from shared.events.outreach import ContactOptedIn, ContactOptedOut
from tests.integration import test_outreach as outreach
from tests.integration.enrollment.conftest import NOW, P1, Service

CONSENT = f"/patients/{P1}/consent"


async def history(service: Service, *names: str) -> list[tuple[Any, ...]]:
    items = (await service.get(f"/patients/{P1}/consents"))["items"]
    return [tuple(each[name] for name in names) for each in items]


async def test_a_second_consent_amends_what_it_names_and_leaves_the_rest(fed: Service) -> None:
    await fed.post(CONSENT, channels=["phone"], language="en", caregiver=True, preferred_weekday=4)
    await fed.published()
    fed.at(NOW + timedelta(days=1))
    state = await fed.post(CONSENT, channels=["text", "phone"], language="es", standing_instruction=True)
    agreed = state["consent"]
    assert (agreed["channels"], agreed["language"]) == (["text", "phone"], "es")
    assert (agreed["caregiver"], agreed["standing_instruction"]) == (True, True)
    changed = await fed.only(ConsentChanged)
    assert changed.changes == ("channels", "language", "standing_instruction")
    assert (changed.revision, changed.store_id) == (2, "S1")
    assert changed.consent.given_at == NOW
    assert changed.consent.amended_at == changed.consent.contact_agreed_at == NOW + timedelta(days=1)
    assert (await fed.get(f"/patients/{P1}"))["profile"]["preferred_weekday"] == 4


async def test_preferences_of_a_consent_reach_the_plan_and_a_null_gives_them_back_to_the_feed(
    enrolled: Service,
) -> None:
    await enrolled.post(CONSENT, cycle_policy="rolling_28", must_weekdays=[2, 2, 0], preferred_weekday=2)
    changed = await enrolled.only(ProfileChanged)
    assert changed.changes == ("preferences",)
    assert (changed.profile.cycle_policy, changed.profile.must_weekdays) == ("rolling_28", (2, 0))
    await enrolled.post(CONSENT, cycle_policy=None, must_weekdays=[])
    changed = await enrolled.only(ProfileChanged)
    assert (changed.profile.cycle_policy, changed.profile.must_weekdays) == ("auto", ())
    assert changed.profile.preferred_weekday == 2


async def test_the_same_consent_again_changes_nothing(enrolled: Service) -> None:
    said = {"channels": ["text", "phone"], "language": "es", "how": "paper", "document_id": "DOC-1"}
    await enrolled.post(CONSENT, **said)
    await enrolled.published()
    before = await history(enrolled, "valid_from", "change")
    again = await enrolled.post(CONSENT, **said | {"channels": ["phone", "text"]})
    assert again["revision"] == 2
    await enrolled.post(CONSENT)
    assert await enrolled.published() == []
    assert await history(enrolled, "valid_from", "change") == before


async def test_what_was_agreed_when_stays_known_with_who_recorded_it_and_how(fed: Service) -> None:
    await fed.post(CONSENT, how="paper", document_id="DOC-1")
    fed.at(NOW + timedelta(days=1))
    await fed.post(CONSENT, language="es", how="phone")
    fed.at(NOW + timedelta(days=2))
    await fed.handle(ContactOptedOut(patient_id=P1, channel=Channel.phone))
    await fed.post(f"/patients/{P1}/rhythm", cycle_policy="rolling_28")
    await fed.post(CONSENT, document_id="DOC-2")  # the paper of what stands, found later
    await fed.post(f"/patients/{P1}/disenrolment", reason="revoked")
    assert await history(fed, "change", "how", "document_id", "language", "channels", "cycle_policy") == [
        ("given", "paper", "DOC-1", "en", ["phone"], None),
        ("amended", "phone", None, "es", ["phone"], None),
        ("opted_out", None, None, "es", [], None),
        ("amended", None, None, "es", [], "rolling_28"),
        ("amended", "phone", "DOC-2", "es", [], "rolling_28"),
        ("ended", None, None, "es", [], "rolling_28"),
    ]
    assert (await history(fed, "valid_from", "recorded_by", "recorded_as"))[1:3] == [
        ("2009-10-02T15:00:00Z", "staff-7", "technician"),
        ("2009-10-03T15:00:00Z", "outreach", "system"),
    ]
    assert (await fed.http.get(f"/patients/{'0' * 32}/consents")).status_code == 404


async def test_a_start_gives_the_consent_its_channel_back(enrolled: Service) -> None:
    await enrolled.post(CONSENT, channels=["phone", "text"])
    await enrolled.handle(ContactOptedOut(patient_id=P1, channel=Channel.text))
    assert (await history(enrolled, "change", "channels"))[-1] == ("opted_out", ["phone"])
    await enrolled.handle(ContactOptedIn(patient_id=P1, channel=Channel.text))
    assert (await history(enrolled, "change", "channels"))[-1] == ("opted_in", ["phone", "text"])
    await enrolled.published()
    await enrolled.post(CONSENT, language="es")
    changed = await enrolled.only(ConsentChanged)
    assert set(changed.consent.channels) == {Channel.phone, Channel.text}


async def test_only_a_consent_that_names_the_channel_takes_a_stop_back(enrolled: Service) -> None:
    await enrolled.post(CONSENT, channels=["phone", "text"])
    enrolled.at(NOW + timedelta(days=1))
    await enrolled.handle(ContactOptedOut(patient_id=P1, channel=Channel.phone))
    enrolled.at(NOW + timedelta(days=2))
    await enrolled.published()
    other = await enrolled.post(CONSENT, language="es")
    assert other["consent"]["channels"] == ["text"]
    assert (await enrolled.only(ConsentChanged)).consent.contact_agreed_at == NOW

    same = await enrolled.post(CONSENT, channels=["text"])  # as it is held; the patient had stopped
    assert same["consent"]["channels"] == ["text"]
    assert (await enrolled.only(ConsentChanged)).consent.contact_agreed_at == NOW + timedelta(days=2)

    back = await enrolled.post(CONSENT, channels=["text", "phone"])
    assert back["consent"]["channels"] == ["text", "phone"]
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    await enrolled.published()
    await enrolled.post(CONSENT)
    assert (await enrolled.only(PatientEnrolled)).consent.channels == (Channel.phone,)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"scope": ["synchronize", *"abcdefghij"]}, "scope", "at most 10"),
        ({"must_weekdays": [0, 1, 2, 3, 4, 5, 6, 0]}, "must_weekdays", "at most 7"),
        ({"must_weekdays": ["1"]}, "must_weekdays.0", "integer"),
        ({"caregiver": "yes"}, "caregiver", "boolean"),
        ({"standing_instruction": 1}, "standing_instruction", "boolean"),
        ({"chanels": ["text"]}, "chanels", "not permitted"),
        ({"channels": ["fax"]}, "channels.0", "none of phone, text, letter"),
        ({"cycle_policy": "weekly"}, "cycle_policy", "none of rolling_28"),
        ({"scope": ["contact"]}, "scope", "disenroll"),
        ({"how": "by dove"}, "how", "'paper', 'phone' or 'in_person'"),
        ({"document_id": "a form"}, "document_id", "no spaces"),
    ],
)
async def test_what_a_consent_cannot_say_is_refused_by_name(
    fed: Service, body: dict[str, Any], field: str, says: str
) -> None:
    problem = await fed.post(CONSENT, status=400, **body)
    assert [each["field"] for each in problem["errors"]] == [field]
    assert says in problem["detail"]


async def test_what_is_said_twice_in_a_consent_counts_once(fed: Service) -> None:
    state = await fed.post(CONSENT, channels=["text", "text"], scope=["synchronize", "contact", "contact"])
    assert (state["consent"]["channels"], state["consent"]["scope"]) == (["text"], ["synchronize", "contact"])


async def test_outreach_follows_an_amended_consent_at_once(
    enrolled: Service, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    """The two services have one clock; what enrollment publishes is handed to outreach as its topic would."""
    async with outreach.two_processes(fresh_database("outreach"), tmp_path) as contacts:
        await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
        await enrolled.post(CONSENT, channels=["phone"])
        mobile = outreach.details(patient_id=P1)
        for event in (outreach.store("S1"), *await enrolled.published(), mobile):
            await contacts.handle(event)
        await contacts.handle(
            outreach.plan(patient_id=P1, agreed=False).model_copy(update={"store_id": "S1"})
        )

        async def amend(**said: Any) -> None:
            await contacts.at(contacts.clock.now() + timedelta(minutes=5))
            await enrolled.post(CONSENT, **said)
            for event in await enrolled.published():
                await contacts.handle(event)

        async def ways() -> list[tuple[str, str]]:
            lent = await contacts.lease()
            async with contacts.work.pool.acquire() as db:  # as if it was never lent: no cap is used up
                await db.execute("delete from attempts")
                await db.execute("update contacts set lease_id = null, lease_until = null")
            return [(each["channel"], each["language"]) for each in lent]

        await amend(channels=["text"], language="es")
        assert await ways() == [("text", "es")]
        await amend(scope=["synchronize"])
        assert await ways() == []
        assert await contacts.lease(by=outreach.CLERK) == [], "nobody calls, no person either"
        await amend(scope=["synchronize", "contact"])
        assert await ways() == [("text", "es")]
        await contacts.post(f"/patients/{P1}/opt-out", by=outreach.CLERK, channel="text")
        await enrolled.handle(ContactOptedOut(patient_id=P1, channel=Channel.text))
        await amend(language="en")
        assert await ways() == [], "another language is no consent to be contacted again"
        await amend(channels=["text"])
        assert await ways() == [("text", "en")]
