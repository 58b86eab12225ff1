"""Who may not be forgotten yet, and is told why; and who is, with the records that are theirs."""

from __future__ import annotations

from typing import Any

from shared.events.enrollment import CandidateWithdrawn, PatientErased
from tests import feed as records
from tests.dumps import tables_with
from tests.integration.enrollment.conftest import P1, P2, STAFF, Service

BECAUSE = {"because": "request 2026-118"}


async def erase(service: Service, patient_id: str = P1, status: int = 200, **more: str) -> dict[str, Any]:
    return await service.post(f"/patients/{patient_id}/erasure", status, role="privacy", **(BECAUSE | more))


async def test_a_legal_hold_keeps_everything_until_it_is_lifted(fed: Service) -> None:
    path = f"/patients/{P1}/legal-hold"
    await fed.post(path, role="privacy", because="litigation 26-31")
    assert (await erase(fed, status=409))["code"] == "legal_hold"
    await fed.post(f"{path}/lift", role="privacy", because="26-31 was settled")
    assert (await fed.post(f"{path}/lift", 409, role="privacy", because="once more"))["code"] == "no_hold"
    assert (await erase(fed))["erased"]


async def test_a_record_that_has_to_name_the_patient_is_kept(fed: Service) -> None:
    await fed.feed("prescriptions", records.prescription(rx_id="RX9", schedule="c4"))
    await fed.feed("fills", records.fill(fill_id="F9", rx_id="RX9"))
    refused = await erase(fed, status=409)
    assert refused["code"] == "kept_controlled_substances"
    assert "21 CFR 1304.04" in refused["detail"] or "21 CFR 1304.04" in refused["title"]
    async with fed.work.read() as db:
        assert await db.fetchval("select count(*) from people") == 1


async def test_records_that_were_merged_are_forgotten_together(enrolled: Service) -> None:
    await enrolled.feed("patients", records.patient(patient_number="P2"))
    merged = {"reason": "merged", "survivor_id": P1}
    await enrolled.post(f"/patients/{P2}/disenrolment", role="pharmacist", **merged)
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    await enrolled.published()
    done = await erase(enrolled)
    assert done["records"] == [P1, P2]
    kept = await enrolled.rows("select patient_id, because, erased_by from erasures")
    assert {(each["because"], each["erased_by"]) for each in kept} == {("request 2026-118", "staff-7")}
    assert {each["patient_id"] for each in kept} == {P1, P2}
    told = [each for each in await enrolled.published() if isinstance(each, PatientErased)]
    assert {each.patient_id for each in told} == {P1, P2}
    async with enrolled.work.read() as db:
        assert await tables_with(db, "Canary", "5550101") == []
        assert await db.fetchval("select count(*) from fabric.data_keys") == 0


async def test_who_is_forgotten_is_no_candidate_any_more_and_nothing_begins_anew(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    candidates = (await fed.get("/candidates"))["items"]
    await fed.published()
    await erase(fed)
    withdrawn = [each for each in await fed.published() if isinstance(each, CandidateWithdrawn)]
    assert len(withdrawn) == len(candidates)
    assert (await fed.get("/candidates"))["items"] == []
    assert (await fed.post(f"/patients/{P1}/consent", 409))["code"] == "erased"
    fill = await fed.feed("fills", records.fill(fill_id="F7"))
    assert fill["rejected"], "nothing more is taken of them"
    assert (await fed.post("/patients/search", phone="+19185550101"))["items"] == []


async def test_a_key_that_was_used_before_says_no_more_than_that(fed: Service) -> None:
    """An answer that was kept goes with whom it is about, and what it did is not done twice."""
    key = STAFF | {"Idempotency-Key": "k-1"}
    first = await fed.http.post(f"/patients/{P1}/circumstances", json={"payday": 3}, headers=key)
    assert first.status_code == 200, first.text
    await erase(fed)
    again = await fed.http.post(f"/patients/{P1}/circumstances", json={"payday": 3}, headers=key)
    assert (again.status_code, again.json()["code"]) == (422, "key_reused")


async def test_only_the_privacy_officer_erases(fed: Service) -> None:
    for role in ("clerk", "pharmacist", "operator", "auditor", "system"):
        await fed.post(f"/patients/{P1}/erasure", 403, role=role, **BECAUSE)
