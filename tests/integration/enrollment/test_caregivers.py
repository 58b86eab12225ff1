"""Who may act for whom is recorded here, and told to the services in which caregivers act."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.enrollment import commands
from services.enrollment.store import profiles
from shared.events.enrollment import CaregiversChanged
from shared.messaging import Caller
from tests import feed as records
from tests.integration.enrollment.conftest import NOW, P1, P2, Service

CAREGIVERS = f"/patients/{P1}/caregivers"


async def seen_by(service: Service, caregiver_id: str) -> int:
    headers = {"Medsync-Actor": caregiver_id, "Medsync-Role": "caregiver", "Medsync-Patients": P1}
    return (await service.http.get(f"/patients/{P1}", headers=headers)).status_code


async def test_a_caregiver_reaches_the_patient_while_it_is_recorded(fed: Service) -> None:
    assert await seen_by(fed, "c-1") == 404, "what a token or a header says makes nobody a caregiver"
    await fed.post(CAREGIVERS, caregiver_id="c-1", how="paper", document_id="DOC-7")
    assert (await seen_by(fed, "c-1"), await seen_by(fed, "c-2")) == (200, 404)
    told = await fed.only(CaregiversChanged)
    assert (told.caregiver_ids, told.store_id) == (("c-1",), "S1")
    fed.at(NOW + timedelta(days=1))
    await fed.post(f"{CAREGIVERS}/c-1/end", role="clerk")
    assert await seen_by(fed, "c-1") == 404
    ended = await fed.only(CaregiversChanged)
    assert (ended.caregiver_ids, ended.revision) == ((), told.revision + 1)
    (entry,) = (await fed.get(CAREGIVERS))["items"]
    word = ("caregiver_id", "recorded_by", "recorded_as", "how", "document_id", "ended_by")
    assert [entry[each] for each in word] == ["c-1", "staff-7", "technician", "paper", "DOC-7", "staff-7"]


async def test_a_patient_may_be_somebody_elses_caregiver(fed: Service) -> None:
    await fed.feed("patients", records.patient(patient_number="P2"))
    await fed.post(CAREGIVERS, caregiver_id="c-1")
    both = {"Medsync-Actor": "c-1", "Medsync-Role": "patient,caregiver", "Medsync-Patients": P2}
    for patient_id, role in ((P1, "caregiver"), (P2, "patient")):
        agreed = await fed.http.post(f"/patients/{patient_id}/consent", json={}, headers=both)
        assert agreed.status_code == 200, agreed.text
        (entry,) = (await fed.get(f"/patients/{patient_id}/consents"))["items"]
        assert entry["recorded_as"] == role
    await fed.post(f"{CAREGIVERS}/c-1/end")
    assert (await fed.http.get(f"/patients/{P1}", headers=both)).status_code == 404


async def test_who_is_one_already_is_told_once(fed: Service) -> None:
    for _ in range(2):
        await fed.post(CAREGIVERS, caregiver_id="c-1")
    assert await fed.only(CaregiversChanged)
    await fed.post(f"{CAREGIVERS}/c-1/end")
    assert (await fed.post(f"{CAREGIVERS}/c-1/end", status=404))["code"] == "no_such_caregiver"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"caregiver_id": "staff-7"}, 403, "not_for_oneself"),
        ({"caregiver_id": "Ada Lovelace"}, 400, "invalid_request"),
        ({"caregiver_id": ""}, 400, "invalid_request"),
    ],
)
async def test_nobody_is_named_who_should_not_be(
    said: dict[str, Any], status: int, code: str, fed: Service
) -> None:
    assert (await fed.post(CAREGIVERS, status=status, **said))["code"] == code
    assert await fed.published() == []


async def test_a_patient_has_no_more_than_ten(fed: Service) -> None:
    for number in range(commands.MOST_CAREGIVERS):
        await fed.post(CAREGIVERS, caregiver_id=f"c-{number}")
    assert (await fed.post(CAREGIVERS, status=409, caregiver_id="c-x"))["code"] == "too_many_caregivers"
    await fed.post(f"{CAREGIVERS}/c-0/end")
    await fed.post(CAREGIVERS, caregiver_id="c-x")


async def test_a_closed_record_gets_no_caregiver(fed: Service) -> None:
    await fed.post(f"/patients/{P1}/disenrolment", reason="died")
    assert (await fed.post(CAREGIVERS, status=409, caregiver_id="c-1"))["code"] == "record_closed"


async def test_those_who_missed_it_are_told_again_also_that_there_is_none_any_more(fed: Service) -> None:
    async def again() -> list[tuple[str, ...]]:
        async with fed.work.read() as db:
            events = await profiles.current_state(
                db, keys=fed.work.keys, patient=P1, store=None, after="", limit=10
            )
        return [each.caregiver_ids for each in events if isinstance(each, CaregiversChanged)]

    assert await again() == []
    await fed.post(CAREGIVERS, caregiver_id="c-1")
    assert await again() == [("c-1",)]
    await fed.post(f"{CAREGIVERS}/c-1/end")
    assert await again() == [()]


async def test_an_end_that_a_restore_lost_takes_place_again_and_a_name_of_since_then_stays(
    fed: Service,
) -> None:
    await fed.post(CAREGIVERS, caregiver_id="c-1")
    lost = CaregiversChanged(patient_id=P1, revision=9, store_id="S1")  # told of c-1's end before the restore
    fed.at(NOW + timedelta(hours=2))
    await fed.post(CAREGIVERS, caregiver_id="c-2")
    at, caller = NOW + timedelta(hours=1), Caller("operator-1", "operator")
    assert await commands.end_again(lost, at, caller, fed.work)
    assert (await seen_by(fed, "c-1"), await seen_by(fed, "c-2")) == (404, 200)
    assert not await commands.end_again(lost, at, caller, fed.work)
