"""Enrollment against a real PostgreSQL: imports, consent, what comes back from the other services."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from services.enrollment import commands, imports
from services.enrollment.imports import Import, Kind
from services.enrollment.store import profiles
from shared.events.enrollment import (
    CandidateIdentified,
    Channel,
    PatientDisenrolled,
    PatientEnrolled,
    PrescriptionStatus,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import ItemState, PackagedItem, PackagePickedUp, PackageReturned
from shared.events.outreach import ChangeReported, ContactOptedOut, ReportedChange
from shared.messaging import Refused, patient, sizes
from shared.messaging.unit import Cause
from shared.problems import NotAllowed, NotFound
from tests import feed as records
from tests.integration.enrollment.conftest import FEED, KEY, METFORMIN, NOW, P1, P2, STAFF, Service
from tests.running import until

# --- the feed ---


async def test_a_feed_sent_twice_changes_nothing(enrolled: Service) -> None:
    for kind, rows in {
        "stores": [records.store()],
        "patients": [records.patient()],
        "prescriptions": [records.prescription(), records.prescription(**METFORMIN)],
        "fills": [records.fill()],
    }.items():
        answer = await enrolled.feed(kind, *rows)
        assert answer.pop("patients") == ([{"index": 0, "patient_id": P1}] if kind == "patients" else [])
        assert answer == {
            "accepted": 0,
            "unchanged": len(rows),
            "rejected": [],
            "conflicts": [],
            "warnings": [],
        }
    assert await enrolled.published() == []


async def test_mondays_record_after_tuesdays_changes_nothing(enrolled: Service) -> None:
    tuesday = records.prescription(revision="3", quantity_left="30")
    monday = records.prescription(revision="2", quantity_left="60")
    assert (await enrolled.feed("prescriptions", tuesday))["accepted"] == 1
    assert (await enrolled.only(ProfileChanged)).profile.prescriptions[0].quantity_left == Decimal(30)
    assert (await enrolled.feed("prescriptions", monday))["unchanged"] == 1
    assert await enrolled.published() == []


async def test_a_newer_revision_that_says_the_same_is_taken_and_not_told(enrolled: Service) -> None:
    assert (await enrolled.feed("prescriptions", records.prescription(revision="2")))["accepted"] == 1
    assert (await enrolled.feed("patients", records.patient(revision="2")))["accepted"] == 1
    assert await enrolled.published() == []


async def test_one_profile_changed_per_patient_and_request(enrolled: Service) -> None:
    rows = [records.fill(fill_id=f"F{n}", handed_over_on=f"2009-09-{n:02}") for n in range(10, 20)]
    await enrolled.feed("fills", *rows)
    changed = await enrolled.only(ProfileChanged)
    assert (changed.patient_id, changed.revision, changed.changes) == (P1, 2, ("fed",))
    assert len(changed.profile.fills) == 12


async def test_a_bad_record_never_stops_the_good_ones(service: Service) -> None:
    await service.feed("stores", records.store())
    answer = await service.feed(
        "patients",
        records.patient(birth_date="29.02.1940"),
        records.patient(patient_number="P2"),
        records.patient(patient_number="P3", store_id="S9"),
    )
    assert (answer["accepted"], answer["patients"]) == (1, [{"index": 1, "patient_id": P2}])
    assert answer["rejected"] == [
        {
            "index": 0,
            "field": "birth_date",
            "value": None,
            "reason": "is not a valid date: use YYYY-MM-DD, for example 2026-03-02",
            "also": [],
        },
        {
            "index": 2,
            "field": "store_id",
            "value": "S9",
            "reason": "names a store that is not known: import stores.csv first",
            "also": [],
        },
    ]


async def test_other_content_under_the_same_revision_is_a_conflict(enrolled: Service) -> None:
    for kind, row, field in (
        ("stores", records.store(closed_on="2009-10-02"), {"phone": "918-555-0199"}),
        ("patients", records.patient(), {"home_phone": "918-555-0102"}),
        ("prescriptions", records.prescription(), {"quantity_left": "60"}),
        ("fills", records.fill(), {"reversed": "yes"}),
    ):
        row = row | {"revision": "5"}
        assert (await enrolled.feed(kind, row))["accepted"] == 1
        await enrolled.published()
        assert (await enrolled.feed(kind, row))["unchanged"] == 1
        answer = await enrolled.feed(kind, row | field)
        assert (answer["accepted"], answer["unchanged"], answer["rejected"]) == (0, 0, [])
        (conflict,) = answer["conflicts"]
        assert (conflict["field"], conflict["value"]) == ("revision", "5")
        assert "came before with other content" in conflict["reason"]
        assert await enrolled.published() == []


async def test_what_was_handed_over_since_makes_no_conflict(enrolled: Service) -> None:
    await enrolled.handle(picked_up(P1, "RX1"))  # it lowers what is left
    assert (await enrolled.feed("prescriptions", records.prescription()))["unchanged"] == 1


async def test_one_wrong_type_stops_no_other_record(fed: Service) -> None:
    rows = [records.fill(fill_id=f"F{n}") for n in range(10, 20)]
    rows[3] = 7  # type: ignore[call-overload]
    rows[4]["rx_id"] = ["RX1"]  # type: ignore[assignment]
    rows[5]["quantity"] = 30  # type: ignore[assignment]
    answer = await fed.feed("fills", *rows)
    assert answer["accepted"] == 8
    assert [(each["index"], each["field"], each["value"]) for each in answer["rejected"]] == [
        (3, "", None),
        (4, "rx_id", ""),
    ]


async def test_all_faults_are_answered_and_what_can_be_missed_is_a_warning(service: Service) -> None:
    await service.feed("stores", records.store())
    answer = await service.feed(
        "patients",
        records.patient(birth_date="1940", home_phone="555"),
        records.patient(patient_number="P2", mobile_phone="555", payday="32", color="blue"),
    )
    (rejected,) = answer["rejected"]
    assert (rejected["field"], [each["field"] for each in rejected["also"]]) == ("birth_date", ["home_phone"])
    assert answer["accepted"] == 1
    assert [(each["index"], each["field"], each["value"]) for each in answer["warnings"]] == [
        (1, "color", None),
        (1, "mobile_phone", None),
        (1, "payday", "32"),
    ]


async def test_an_answer_that_refuses_something_is_not_given_again(service: Service) -> None:
    patients = records.patient(), records.patient(patient_number="P2")
    await service.feed("stores", records.store(store_id="S2"))
    mixed = {"Idempotency-Key": "monday"}
    rows = [patients[0] | {"store_id": "S2"}, patients[1]]
    assert len((await service.feed("patients", *rows, **mixed))["rejected"]) == 1
    await service.feed("stores", records.store())
    answer = await service.feed("patients", *rows, **mixed)
    assert (answer["accepted"], answer["unchanged"], answer["rejected"]) == (1, 1, [])
    assert await service.feed("patients", *rows, **mixed) == answer, "what took all is given again"


async def test_who_could_be_told_of_no_more_for_the_size_of_it_stops_nobody_beside(
    enrolled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "fits", lambda key, *_: key != P1)
    rows = [
        records.patient(revision="2", given_name="Ann"),
        records.patient(patient_number="P2", given_name="Bea"),
    ]
    answer = await enrolled.feed("patients", *rows)
    (rejected,) = answer["rejected"]
    assert (answer["accepted"], rejected["index"], rejected["field"]) == (1, 0, "patient_number")
    assert "more than one event carries" in rejected["reason"]
    monkeypatch.undo()
    assert (await enrolled.feed("patients", *rows))["accepted"] == 1, "nothing of the other was kept"


async def test_a_record_of_somebody_unknown_is_rejected_and_taken_later(service: Service) -> None:
    rejected = (await service.feed("prescriptions", records.prescription()))["rejected"]
    assert [(each["field"], each["value"]) for each in rejected] == [("patient_number", None)]
    await service.feed("stores", records.store())
    await service.feed("patients", records.patient())
    assert (await service.feed("fills", records.fill()))["rejected"][0]["field"] == "rx_id"
    assert (await service.feed("prescriptions", records.prescription()))["accepted"] == 1
    assert (await service.feed("fills", records.fill()))["accepted"] == 1


async def test_a_prescription_of_another_patient_is_rejected(fed: Service) -> None:
    await fed.feed("patients", records.patient(patient_number="P2"))
    stolen = records.prescription(patient_number="P2", revision="9")
    assert (await fed.feed("prescriptions", stolen))["rejected"][0]["field"] == "rx_id"


async def test_only_the_chains_system_feeds(service: Service) -> None:
    body = {"source": "chain", "records": []}
    assert (await service.http.post("/imports/stores", json=body, headers=STAFF)).status_code == 403


async def test_a_renewal_supersedes_whichever_comes_first(enrolled: Service) -> None:
    renewal = records.prescription(rx_id="RX3", renews="RX1", written_on="2009-09-30", quantity_left="360")
    await enrolled.feed("prescriptions", renewal)
    profile = (await enrolled.only(ProfileChanged)).profile
    assert {each.rx_id: each.status for each in profile.prescriptions} == {
        "RX1": PrescriptionStatus.superseded,  # stays in the profile: its fill is still in the patient's hands
        "RX2": PrescriptionStatus.active,
        "RX3": PrescriptionStatus.active,
    }
    await enrolled.feed("prescriptions", records.prescription(rx_id="RX5", renews="RX4"))
    await enrolled.feed("prescriptions", records.prescription(rx_id="RX4"))
    assert "RX4" not in {each.rx_id for each in (await enrolled.published())[-1].profile.prescriptions}


async def test_a_reversed_fill_counts_no_longer(enrolled: Service) -> None:
    await enrolled.feed("fills", records.fill(revision="2", reversed="yes"))
    assert [fill.fill_id for fill in (await enrolled.only(ProfileChanged)).profile.fills] == ["F2"]


async def test_what_is_fed_of_a_drug_a_fill_and_a_patient_reaches_the_profile_and_is_read_again(
    enrolled: Service,
) -> None:
    pens = records.prescription(
        rx_id="RX3",
        drug_name="Insulin glargine pens",
        ingredient="insulin glargine",
        form="injection",
        units_per_day="",
        directions="40 units SQ once daily",
        rems="yes",
        special_handling="yes",
        over_the_counter="yes",
        doses_per_unit="100",
        doses_basis="manufacturer",
        priming_doses="2",
        container_quantity="3",
        in_use_days="28",
        pack_quantity="15",
        prior_authorization_until="2010-02-01",
        fill_from="2009-12-01",
    )
    fill = records.fill(fill_id="F3", rx_id="RX3", days_supply="35", days_supply_billed="30", elsewhere="yes")
    resident = records.patient(revision="2", long_term_care="yes")
    for kind, row in {"prescriptions": pens, "fills": fill, "patients": resident}.items():
        assert (await enrolled.feed(kind, row))["accepted"] == 1
    profile = (await enrolled.published())[-1].profile  # type: ignore[attr-defined]
    fed = next(each for each in profile.prescriptions if each.rx_id == "RX3")
    drug = fed.drug
    assert (drug.rems, drug.special_handling, drug.over_the_counter) == (True, True, True)
    assert (drug.doses_per_unit, drug.doses_basis, drug.priming_doses) == (100, "manufacturer", 2)
    assert (drug.container_quantity, drug.in_use_days, drug.pack_quantity) == (3, 28, 15)
    assert (fed.prior_authorization_until, fed.fill_from) == (date(2010, 2, 1), date(2009, 12, 1))
    bought = next(each for each in profile.fills if each.fill_id == "F3")
    assert (bought.days_supply, bought.days_supply_billed, bought.elsewhere) == (35, 30, True)
    assert profile.long_term_care
    for kind, row in {"prescriptions": pens, "fills": fill, "patients": resident}.items():
        again = {**row, "revision": "9"}
        assert (await enrolled.feed(kind, again))["accepted"] == 1
    assert await enrolled.published() == [], "what was kept is what was fed"


async def test_a_drug_of_another_pharmacy_stays_in_the_profile(enrolled: Service) -> None:
    await enrolled.feed("prescriptions", records.prescription(rx_id="RX3", ingredient="x", status="outside"))
    profile = (await enrolled.only(ProfileChanged)).profile
    assert profile.prescriptions[-1].status is PrescriptionStatus.outside


async def test_a_store_that_changed_is_published(service: Service) -> None:
    await service.feed("stores", records.store())
    await service.feed("stores", records.store(revision="2", closed_on="2009-10-02"))
    first, second = await service.published()
    assert isinstance(first, StoreChanged) and isinstance(second, StoreChanged)
    assert (second.revision, second.closed_on) == (2, (date(2009, 10, 2),))


async def test_five_hundred_records_go_in_one_request(fed: Service) -> None:
    rows = [records.patient(patient_number=f"Q{n}") for n in range(500)]
    assert (await fed.feed("patients", *rows))["accepted"] == 500
    too_many = {"source": "chain", "records": [*rows, records.patient()]}
    assert (await fed.http.post("/imports/patients", json=too_many, headers=FEED)).status_code == 400


async def test_whatever_is_sent_is_answered_with_a_reason(service: Service) -> None:
    odd = rb'{"source": "chain", "records": [{"store_id": "a\u0000b"}, {"name": null}, {}, {"x": "\u0000"}]}'
    headers = FEED | {"Idempotency-Key": "odd", "Content-Type": "application/json"}
    for _ in range(2):
        answer = await service.http.post("/imports/stores", content=odd, headers=headers)
        assert (answer.status_code, len(answer.json()["rejected"])) == (200, 4), answer.text


# --- consent ---


async def test_consent_enrols_with_the_whole_profile(fed: Service) -> None:
    answer = await fed.post(f"/patients/{P1}/consent", channels=["text"], preferred_weekday=4)
    assert (answer["status"], answer["revision"]) == ("enrolled", 1)
    event = await fed.only(PatientEnrolled)
    assert (event.patient_id, event.revision, event.consent.channels) == (P1, 1, (Channel.text,))
    assert event.consent.given_at == NOW
    assert event.profile.preferred_weekday == 4
    assert [each.rx_id for each in event.profile.prescriptions] == ["RX1", "RX2"]
    assert [each.fill_id for each in event.profile.fills] == ["F1", "F2"]
    assert (await fed.rows("select recorded_by, recorded_as from consents"))[0] == {
        "recorded_by": "staff-7",
        "recorded_as": "technician",
    }


async def test_nobody_but_the_patient_or_staff_consents(fed: Service) -> None:
    for role in ("system", "prescriber"):
        headers = {"Medsync-Actor": "x", "Medsync-Role": role}
        assert (await fed.http.post(f"/patients/{P1}/consent", json={}, headers=headers)).status_code == 403


async def test_an_unknown_patient_cannot_be_enrolled(service: Service) -> None:
    await service.post(f"/patients/{P1}/consent", status=404)


async def test_a_disenrolment_takes_effect_at_once_and_can_be_taken_back(enrolled: Service) -> None:
    left = await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    assert (left["status"], left["consent"]) == ("disenrolled", None)
    gone = await enrolled.only(PatientDisenrolled)
    assert (gone.revision, gone.reason) == (2, "revoked")
    assert (await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked"))["revision"] == 2
    assert (await enrolled.post(f"/patients/{P1}/consent"))["revision"] == 3


async def test_a_profile_of_somebody_who_left_changes_silently(enrolled: Service) -> None:
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    await enrolled.published()
    await enrolled.feed("fills", records.fill(fill_id="F9"))
    assert await enrolled.published() == []


async def test_who_died_is_never_enrolled_again(enrolled: Service) -> None:
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="died")
    await enrolled.post(f"/patients/{P1}/consent", status=409)


async def test_a_merge_gives_the_survivor_the_history_of_both(enrolled: Service) -> None:
    await enrolled.feed("patients", records.patient(patient_number="P2"))
    await enrolled.post(f"/patients/{P2}/consent")
    await enrolled.published()
    await enrolled.post(f"/patients/{P1}/disenrolment", status=422, reason="merged")
    await enrolled.post(f"/patients/{P1}/disenrolment", status=403, reason="merged", survivor_id=P2)
    merge = {"role": "pharmacist", "reason": "merged", "survivor_id": P2}
    await enrolled.post(f"/patients/{P1}/disenrolment", **merge)
    gone, changed = await enrolled.published()
    assert isinstance(gone, PatientDisenrolled) and isinstance(changed, ProfileChanged)
    assert (gone.survivor_id, changed.patient_id, len(changed.profile.fills)) == (P2, P2, 2)
    rejected = (await enrolled.feed("fills", records.fill(fill_id="F9")))["rejected"]
    assert "merged" in rejected[0]["reason"]

    await enrolled.handle(picked_up(P1, "RX1"))  # it stood ready under the old number
    await enrolled.do_due("due_tellings")
    assert len((await enrolled.only(ProfileChanged)).profile.fills) == 3


async def test_commands_need_no_http_and_say_what_is_wrong_by_a_code(fed: Service) -> None:
    async with fed.work.begin([patient(P1)], cause=Cause("test", "test"), role="clerk") as unit:
        await commands.consent(unit, P1, commands.ConsentGiven(language="es"))
        with pytest.raises(NotAllowed, match="only pharmacist may do this; you act as clerk"):
            await commands.state_circumstances(unit, P1, commands.Statement(reconciled_on=None))
        with pytest.raises(NotFound, match="unknown_patient"):
            await commands.consent(unit, P2, commands.ConsentGiven())
    assert (await fed.get(f"/patients/{P1}"))["consent"]["language"] == "es"
    problem = await fed.post(f"/patients/{P2}/consent", status=404)
    assert (problem["title"], problem["code"]) == ("Unknown patient", "unknown_patient")


# --- what comes back ---


def picked_up(patient_id: str, *rx_ids: str, package: str = "PK1", quantity: int = 30) -> PackagePickedUp:
    return PackagePickedUp(
        patient_id=patient_id,
        store_id="S1",
        package_id=package,
        plan_id=str(uuid4()),
        visit_id="V1",
        handed_over_on=date(2009, 10, 1),
        taken=tuple(
            PackagedItem(
                rx_id=rx_id,
                drug_name="",
                state=ItemState.filled,
                quantity=Decimal(quantity),
                days_supply=30,
                fill_id=f"{package}-{rx_id}",
                filled_on=date(2009, 9, 29),
            )
            for rx_id in rx_ids
        ),
    )


async def test_what_was_billed_comes_back_with_the_package(enrolled: Service) -> None:
    package = picked_up(P1, "RX1")
    billed = package.taken[0].model_copy(update={"days_supply_billed": 28})
    await enrolled.handle(package.model_copy(update={"taken": (billed,)}))
    new = (await enrolled.only(ProfileChanged)).profile.fills[-1]
    assert (new.days_supply, new.days_supply_billed, new.elsewhere) == (30, 28, False)


async def test_what_was_handed_over_is_history_and_no_longer_authorized(enrolled: Service) -> None:
    await enrolled.handle(picked_up(P1, "RX1", "RX2"))
    changed = await enrolled.only(ProfileChanged)
    assert (changed.changes, changed.visit_id) == (("handed_over",), "V1")
    assert [(each.quantity_left, each.refills_left) for each in changed.profile.prescriptions] == [
        (Decimal(60), 2),
        (Decimal(90), 1),
    ]
    new = changed.profile.fills[-1]
    assert (new.filled_on, new.handed_over_on) == (date(2009, 9, 29), date(2009, 10, 1))

    fed_later = records.fill(fill_id="PK1-RX1", filled_on="2009-09-29", handed_over_on="2009-10-01")
    assert (await enrolled.feed("fills", fed_later))["accepted"] == 1
    assert await enrolled.published() == []  # the same fill, known already


async def test_a_part_and_its_owed_rest_use_up_what_one_fill_would(enrolled: Service) -> None:
    """As fulfillment tells them: the claim's days are with the part, and the rest is of the same date of service."""
    whole = picked_up(P1, "RX1").taken[0]
    part = {"quantity": Decimal(20), "days_supply": 20, "days_supply_billed": 30, "owed": Decimal(10)}
    rest = {"fill_id": "F-rest", "quantity": Decimal(10), "days_supply": 10, "days_supply_billed": 0}
    first, last = picked_up(P1, "RX1"), picked_up(P1, "RX1", package="PK2")
    await enrolled.handle(first.model_copy(update={"taken": (whole.model_copy(update=part),)}))
    await enrolled.published()
    later = {"handed_over_on": date(2009, 10, 3), "visit_id": "owed"}
    await enrolled.handle(last.model_copy(update={"taken": (whole.model_copy(update=rest),)} | later))
    profile = (await enrolled.only(ProfileChanged)).profile
    assert (profile.prescriptions[0].quantity_left, profile.prescriptions[0].refills_left) == (Decimal(60), 2)
    assert [
        (each.filled_on.day, each.handed_over_on.day, each.days_supply, each.days_supply_billed)
        for each in profile.fills[-2:]
    ] == [(29, 1, 20, 30), (29, 3, 10, 0)]


async def test_a_fill_that_the_feed_brought_first_is_not_counted_twice(enrolled: Service) -> None:
    await enrolled.feed("fills", records.fill(fill_id="PK1-RX1"))
    await enrolled.published()
    await enrolled.handle(picked_up(P1, "RX1"))
    profile = (await enrolled.only(ProfileChanged)).profile
    assert (len(profile.fills), profile.prescriptions[0].quantity_left) == (3, Decimal(90))


async def test_a_fill_id_of_another_fill_is_refused_and_never_passed_over(enrolled: Service) -> None:
    await enrolled.handle(picked_up(P1, "RX1"))
    first = picked_up(P1, "RX1").taken[0]
    other_drug = picked_up(P1, "RX2", package="PK2").taken[0].model_copy(update={"fill_id": first.fill_id})
    for package in (
        picked_up(P1, package="PK2").model_copy(update={"taken": (first,)}),  # of another order
        picked_up(P1).model_copy(update={"taken": (other_drug,)}),  # of another prescription
        picked_up(P1, package="PK3").model_copy(
            update={
                "taken": tuple(
                    each.model_copy(update={"fill_id": "F9"}) for each in picked_up(P1, "RX1", "RX2").taken
                )
            }
        ),
    ):
        with pytest.raises(Refused, match="foreign_fill"):
            await enrolled.handle(package)


@pytest.mark.parametrize(
    ("kind", "mine", "theirs", "field"),
    [
        (
            Kind.fills,
            records.fill(fill_id="F9"),
            records.fill(fill_id="F9", patient_number="P2", rx_id="RX3"),
            "fill_id",
        ),
        (
            Kind.prescriptions,
            records.prescription(rx_id="RX9"),
            records.prescription(rx_id="RX9", patient_number="P2"),
            "rx_id",
        ),
    ],
)
async def test_of_two_imports_at_once_that_name_one_record_for_two_patients_the_later_is_refused(
    enrolled: Service, kind: Kind, mine: dict[str, str], theirs: dict[str, str], field: str
) -> None:
    await enrolled.feed("patients", records.patient(patient_number="P2"))
    await enrolled.feed("prescriptions", records.prescription(rx_id="RX3", patient_number="P2"))
    first = Import(source="chain", records=[theirs])
    reading = imports.read(kind, first, KEY, NOW.date())

    async def waits() -> Sequence[object]:
        return await enrolled.rows(
            "select from pg_stat_activity where datname = current_database() and wait_event = 'transactionid'"
        )

    async with enrolled.work.begin(
        imports.locks_of(kind, reading), cause=Cause("test", "test"), role="system"
    ) as unit:
        taken = await imports.take(unit, kind, first, reading)
        second = asyncio.create_task(enrolled.feed(kind, mine))
        await until(waits, "the second import waits for the first")
    answer = await second
    assert (taken.accepted, taken.rejected) == (1, [])
    (refused,) = answer["rejected"]
    assert (answer["accepted"], refused["index"], refused["field"]) == (0, 0, field)
    assert "of another patient" in refused["reason"]
    assert await enrolled.published() == [], "of what was not taken nothing is told"


async def test_a_fill_that_was_fed_is_handed_over_once(enrolled: Service) -> None:
    await enrolled.feed("fills", records.fill(fill_id="PK1-RX1"))
    await enrolled.handle(picked_up(P1, "RX1"))
    again = picked_up(P1, "RX1").model_copy(update={"package_id": "PK2"})
    with pytest.raises(Refused, match="foreign_fill"):
        await enrolled.handle(again)


async def test_a_return_adds_nothing(enrolled: Service) -> None:
    await enrolled.handle(
        PackageReturned(patient_id=P1, store_id="S1", package_id="PK1", plan_id="x", visit_id="V1", items=())
    )
    changed = await enrolled.only(ProfileChanged)
    assert (changed.changes, changed.visit_id, len(changed.profile.fills)) == (("returned",), "V1", 2)


async def test_a_drug_that_the_patient_stopped_is_on_hold_until_the_pharmacist_releases_it(
    enrolled: Service,
) -> None:
    stopped = ChangeReported(
        patient_id=P1, rx_id="RX1", change=ReportedChange.stopped, reported_on=date(2009, 10, 1)
    )
    await enrolled.handle(stopped)
    changed = await enrolled.only(ProfileChanged)
    assert (changed.changes, changed.profile.prescriptions[0].status) == (("stopped",), "on_hold")
    await enrolled.feed("prescriptions", records.prescription(revision="2", quantity_left="60"))
    assert (await enrolled.only(ProfileChanged)).profile.prescriptions[0].status == "on_hold"

    release = f"/patients/{P1}/prescriptions/RX1/release"
    await enrolled.post(release, status=403)
    pharmacist = {"Medsync-Actor": "ph-1", "Medsync-Role": "pharmacist"}
    assert (await enrolled.http.post(release, headers=pharmacist)).status_code == 200
    assert (await enrolled.only(ProfileChanged)).profile.prescriptions[0].status == "active"


async def test_what_the_patient_has_left_is_reported(enrolled: Service) -> None:
    said = ChangeReported(
        patient_id=P1, rx_id="RX2", change=ReportedChange.on_hand, reported_on=date(2009, 10, 1), days_left=9
    )
    await enrolled.handle(said)
    (report,) = (await enrolled.only(ProfileChanged)).profile.stock_reports
    assert (report.rx_id, report.days_left) == ("RX2", 9)


async def test_a_changed_dose_is_kept_for_the_pharmacist(enrolled: Service) -> None:
    said = ChangeReported(
        patient_id=P1, rx_id="RX2", change=ReportedChange.dose_changed, reported_on=date(2009, 10, 1)
    )
    await enrolled.handle(said)
    assert await enrolled.published() == []
    assert (await enrolled.get(f"/patients/{P1}"))["reported"][0]["change"] == "dose_changed"


async def test_a_stop_takes_the_channel_out_of_this_consent_and_the_next(enrolled: Service) -> None:
    await enrolled.handle(ContactOptedOut(patient_id=P1, channel=Channel.phone))
    assert (await enrolled.get(f"/patients/{P1}"))["consent"]["channels"] == []
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    assert (await enrolled.post(f"/patients/{P1}/consent"))["consent"]["channels"] == []
    assert await enrolled.published() != []


async def test_events_about_strangers_are_refused(enrolled: Service) -> None:
    await enrolled.feed("patients", records.patient(patient_number="P2"))
    for event in (picked_up("nobody"), picked_up(P1, "RX9"), picked_up(P2, "RX1")):
        with pytest.raises(Refused):
            await enrolled.handle(event)


# --- candidates, queries, republish ---


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
async def test_an_id_with_a_slash_is_reached_by_its_encoding(enrolled: Service, slash: str) -> None:
    await enrolled.feed("prescriptions", records.prescription(rx_id="RX/7/%2F"))
    await enrolled.handle(
        ChangeReported(
            patient_id=P1, rx_id="RX/7/%2F", change=ReportedChange.stopped, reported_on=date(2009, 10, 1)
        )
    )
    pharmacist = {"Medsync-Actor": "ph-1", "Medsync-Role": "pharmacist"}
    release = f"/patients/{P1}/prescriptions/RX{slash}7{slash}%252F/release"
    answer = await enrolled.http.post(release, headers=pharmacist)
    assert answer.status_code == 200, answer.text
    await enrolled.feed("stores", records.store(store_id="S/2"))
    closed = await enrolled.post(f"/stores/S{slash}2/closures", on="2009-10-02", why="a burst pipe")
    assert closed["store_id"] == "S/2"
    await enrolled.post(f"/stores/S{slash}2/closures/2009-10-02/lift")
    answer = await enrolled.http.get(f"/patients/{P1}{slash}x")
    assert answer.status_code in (404, 422, 400)


async def test_a_patient_is_looked_up_by_the_number_of_the_source(
    fed: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await fed.post("/patients/lookup", source="chain", number="P1")
    assert found == {"patient_id": P1, "survivor_id": None}
    await fed.post("/patients/lookup", 404, source="chain", number="P2-canary")
    await fed.post("/patients/lookup", 404, source="other", number="P1")
    assert "P2-canary" not in "".join(capsys.readouterr())
    body = {"source": "chain", "number": "P1"}
    for role, status in (("system", 200), ("clerk", 200), ("prescriber", 403), ("patient", 403)):
        headers = {"Medsync-Actor": "x", "Medsync-Role": role}
        assert (await fed.http.post("/patients/lookup", json=body, headers=headers)).status_code == status


async def test_who_would_benefit_is_told_once(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    identified = await fed.only(CandidateIdentified)
    assert [reason.code for reason in identified.reasons] == ["older_patient", "new_therapy"]
    (listed,) = (await fed.get("/candidates?store=S1"))["items"]
    assert listed["reasons"][0]["words"] == "is 69 years old"

    await fed.feed("fills", records.fill(fill_id="F3", handed_over_on="2009-09-30"))
    await fed.do_due("due_candidate_checks")
    assert await fed.published() == []  # the reasons are the same


async def test_a_patient_is_looked_at_once_when_the_feed_is_through(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    await fed.published()
    for number in range(10, 13):
        await feed_more(fed, records.fill(fill_id=f"F{number}"))
        await fed.do_due("due_candidate_checks")
    waiting = await fed.rows("select due_at from candidate_checks")
    assert waiting == [{"due_at": NOW + timedelta(minutes=10)}]
    await feed_more(fed, more=False)
    assert await fed.rows("select due_at from candidate_checks") == [{"due_at": NOW}]


async def test_a_feed_that_never_ends_keeps_nobody_waiting(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    for minute in range(9):
        fed.at(NOW + timedelta(minutes=minute))
        await feed_more(fed, records.fill(fill_id=f"F{minute + 10}"))
    fed.at(NOW + timedelta(minutes=10))
    await fed.do_due("due_candidate_checks")
    assert await fed.rows("select from candidate_checks") == []


async def test_what_stands_alone_is_looked_at_at_once_and_ends_no_others_wait(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    await fed.feed("patients", records.patient(patient_number="P2"))
    await fed.feed("prescriptions", records.prescription(rx_id="RX9", patient_number="P2"))
    await fed.do_due("due_candidate_checks")
    await feed_more(fed, records.fill(fill_id="F10"))
    await feed_more(fed, records.fill(fill_id="F11", rx_id="RX9", patient_number="P2"))
    await fed.feed("fills", records.fill(fill_id="F12"))
    checks = await fed.rows("select patient_id, due_at from candidate_checks")
    assert {row["patient_id"]: row["due_at"] for row in checks} == {P1: NOW, P2: NOW + timedelta(minutes=10)}


async def feed_more(service: Service, *rows: dict[str, str], more: bool = True) -> None:
    body = {"source": "chain", "records": rows, "more": more}
    answer = await service.http.post("/imports/fills", json=body, headers=FEED)
    assert answer.json()["rejected"] == [], answer.text


async def test_who_takes_part_or_will_not_is_no_candidate(fed: Service) -> None:
    await fed.do_due("due_candidate_checks")
    await fed.post(f"/patients/{P1}/disenrolment", reason="revoked")
    assert (await fed.get("/candidates"))["items"] == []
    await fed.feed("fills", records.fill(fill_id="F3"))
    assert await fed.rows("select * from candidate_checks") == []


async def test_patients_are_listed_page_by_page(fed: Service) -> None:
    await fed.feed("patients", *(records.patient(patient_number=f"Q{n}") for n in range(5)))
    await fed.post(f"/patients/{P1}/consent")
    seen, after = [], ""
    while after is not None:
        page = await fed.get(f"/patients?store=S1&limit=2&after={after}")
        seen += [each["patient_id"] for each in page["items"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 6
    assert [each["patient_id"] for each in (await fed.get("/patients?status=enrolled"))["items"]] == [P1]


async def test_what_is_published_again_is_what_was_published(enrolled: Service) -> None:
    await enrolled.feed("fills", records.fill(fill_id="F3"))
    told = (await enrolled.published())[-1]
    assert isinstance(told, ProfileChanged)
    keys = enrolled.work.keys
    async with enrolled.work.read() as db:
        events = await profiles.current_state(db, keys=keys, patient=None, store=None, after="", limit=10)
        only_patient = await profiles.current_state(db, keys=keys, patient=P1, store=None, after="", limit=10)
        nothing = await profiles.current_state(db, keys=keys, patient=None, store="S1", after="z", limit=10)
    assert sorted(type(event).__name__ for event in events) == [
        "ContactDetailsChanged",
        "PatientEnrolled",
        "StoreChanged",
    ]
    again = next(event for event in only_patient if isinstance(event, PatientEnrolled))
    assert (again.revision, again.profile) == (told.revision, told.profile)
    assert nothing == []


async def test_a_query_never_shows_who_the_patient_is(enrolled: Service) -> None:
    shown = (await enrolled.http.get(f"/patients/{P1}")).text
    assert not [canary for canary in ("Canary", "Ada", "555", "1940", "Elm") if canary in shown]
