"""The counter on a real database: who stands there, what is taken, what is talked about."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from services.fulfillment import handlers, jobs
from services.fulfillment.app import create_app
from services.fulfillment.commands.counter import PNG
from services.fulfillment.settings import Settings
from services.fulfillment.store.forgetting import PERSONAL
from shared.events.enrollment import CaregiversChanged, ContactDetailsChanged, Phone
from shared.events.fulfillment import ConsultationHeld, PackagePickedUp
from shared.messaging.forgetting import forget, held_of
from shared.messaging.unit import Cause
from tests.dumps import tables_with
from tests.integration import test_outreach as of_outreach
from tests.integration.test_fulfillment import (
    DUE,
    NOW,
    RX,
    confirmed,
    enrolled,
    lease,
    planned,
    report,
    with_ready_package,
    with_work_order,
)
from tests.integration.test_outreach import two_processes
from tests.running import SEALING_KEY
from tests.without_broker import Unbrokered, without_broker

ROOT = Path(__file__).parents[2]
ADA = {"name": "Ada Canary", "birth_date": "1940-12-10"}
BO = {"name": "Bo Canary", "phone": "(918) 555-0199"}
SAID = ("Canary", "1940-12-10", "5550105", "5550199", "Elm Rd", "D-4711", "Cousin", "M 0 0 L 9 9", "cough")


@pytest.fixture
def app_of(fresh_database: Callable[[str], str]) -> tuple[FastAPI, str]:
    url = fresh_database("fulfillment")
    settings = Settings(database_url=url, kafka_bootstrap="unused", sealing_key=SecretStr(SEALING_KEY))
    return create_app(settings), url


@pytest.fixture
async def service(app_of: tuple[FastAPI, str], tmp_path: Path) -> AsyncIterator[Unbrokered]:
    app, url = app_of
    async with without_broker(
        "fulfillment", app, handlers.on, jobs.due, url=url, now=NOW, folder=tmp_path
    ) as service:
        await service.handle(
            ContactDetailsChanged(
                patient_id="p1",
                revision=1,
                given_name="Ada",
                family_name="Canary",
                birth_date=date(1940, 12, 10),
                phones=(Phone(number="+19185550105"),),
                address="12 Elm Rd, Tulsa",
            )
        )
        yield service


async def hand_over(
    service: Unbrokered, package: dict[str, Any], status: int = 200, *, role: str = "clerk", **body: Any
) -> Any:
    return await service.send(f"/packages/{package['package_id']}/hand-over", status, role=role, **body)


async def details(service: Unbrokered, patient_id: str, **more: Any) -> None:
    await service.handle(ContactDetailsChanged(patient_id=patient_id, **more))


async def filled_for_two(service: Unbrokered, *, caregiver: bool) -> list[str]:
    """Ids of a package of Ada's and one of Bo's, filled at one store."""
    await details(
        service,
        "p2",
        revision=1,
        given_name="Bo",
        family_name="Canary",
        phones=(Phone(number="+19185550199"),),
    )
    await with_work_order(service, *RX)
    await service.handle(enrolled("p2", caregiver=caregiver))
    await service.handle(planned(1, "rx-c", patient_id="p2"))
    await service.handle(confirmed("rx-c", patient_id="p2"))
    service.clock.set(DUE)
    package_ids = {}
    for rx_id, order in (await lease(service)).items():
        package = await report(service, order, result="filled", fill_id=f"fill-{rx_id}")
        package_ids[package["patient_id"]] = package["package_id"]
    return [package_ids["p1"], package_ids["p2"]]


async def with_household(service: Unbrokered, *, caregiver: bool = False) -> list[dict[str, Any]]:
    """The same, ready."""
    ready = [
        await service.send(f"/packages/{each}/verification", role="pharmacist", licence="RPH-1")
        for each in await filled_for_two(service, caregiver=caregiver)
    ]
    await service.published()
    return ready


def together(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    presented = {"p1": ADA, "p2": BO}
    patients = sorted({package["patient_id"] for package in packages})
    return {
        "packages": [{"package_id": package["package_id"]} for package in packages],
        "proofs": [{"patient_id": each, "presented": presented[each]} for each in patients],
        "collecting_patient_id": "p1",
    } | more


async def action(service: Unbrokered, name: str) -> list[dict[str, Any]]:
    rows = await service.rows("select detail from actions where action = $1 order by action_id", name)
    return [row["detail"] for row in rows]


# ---- who stands there ----


async def test_what_is_presented_is_compared_and_the_record_says_so(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    presented = {"name": "CANARY, ada", "phone": "918-555-0105", "license_number": "D-4711"}
    taken = await hand_over(service, package, presented=presented)
    assert taken["status"] == "picked_up"
    (detail,) = await action(service, "hand_over")
    assert (detail["proof"], detail["identifiers"]) == ("compared", ["name", "phone"])


async def test_names_of_identifiers_are_told_as_attested(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    await hand_over(service, package, identifiers=["name", "birth_date"])
    (detail,) = await action(service, "hand_over")
    assert (detail["proof"], detail["identifiers"]) == ("attested", ["birth_date", "name"])


async def test_where_values_are_asked_for_names_of_identifiers_do_not_do(
    service: Unbrokered, app_of: tuple[FastAPI, str]
) -> None:
    package = await with_ready_package(service, *RX)
    app = app_of[0]
    app.state.settings = app.state.settings.model_copy(update={"attested_identifiers": False})
    problem = await hand_over(service, package, 422, identifiers=["name", "birth_date"])
    assert (problem["code"], "presented" in problem["detail"]) == ("not_released", True)
    await hand_over(service, package, presented=ADA)


async def test_a_difference_is_named_counted_and_never_says_what_is_held(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    wrong = ADA | {"birth_date": "1941-12-10"}
    for left in ("4 tries are left", "3 tries are left", "2 tries are left", "1 try is left"):
        problem = await hand_over(service, package, 422, presented=wrong)
        assert (problem["code"], problem["detail"]) == (
            "not_released",
            f"birth_date: not as held here; {left}",
        )
    await hand_over(service, package, 422, presented=wrong)
    assert await service.published() == []
    bodies: list[dict[str, Any]] = [{"presented": ADA}, {"identifiers": ["name", "birth_date"]}]
    for body in bodies:
        problem = await hand_over(service, package, 422, **body)
        assert "5 tries were wrong" in problem["detail"]
        await hand_over(service, package, 422, **body, release_reason="known to me for years")
        await hand_over(service, package, 422, role="manager", **body)
    assert await action(service, "wrong_try") == [{"differ": ["birth_date"]}] * 5
    await hand_over(
        service, package, role="manager", presented=wrong, release_reason="birth date is wrong in the feed"
    )
    (detail,) = await action(service, "hand_over")
    assert (detail["proof"], detail["differ"]) == ("released", ["birth_date"])
    assert detail["release_reason"] == "birth date is wrong in the feed"


async def test_a_wrong_try_sent_again_with_its_key_is_refused_and_a_right_one_is_answered_again(
    service: Unbrokered,
) -> None:
    package = await with_ready_package(service, *RX)
    path = f"/packages/{package['package_id']}/hand-over"
    await service.send(path, 422, role="clerk", key="k1", presented=ADA | {"name": "Eve"})
    taken = await service.send(path, role="clerk", key="k2", presented=ADA)
    assert await service.send(path, role="clerk", key="k2", presented=ADA) == taken
    assert len(await action(service, "wrong_try")) == 1


async def test_what_cannot_be_compared_releases_nothing_and_is_no_wrong_try(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    await hand_over(service, package, 422, presented={"name": "Ada Canary", "license_number": "D-4711"})
    await hand_over(service, package, 422)
    await hand_over(service, package, 400, presented=ADA | {"shoe_size": "8"})
    assert await action(service, "wrong_try") == []


# ---- who collects ----


async def test_somebody_else_collects_where_recorded_or_on_a_pharmacists_word(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX, caregiver=True)
    cousin = {"name": "Cousin Canary", "relation": "cousin"}
    said: dict[str, Any] = {"presented": ADA, "collected_by": "other", "collector": cousin}
    await hand_over(service, package, 400, presented=ADA, collected_by="other")
    await hand_over(service, package, 422, **said)
    known = said | {"collector": cousin | {"caregiver_id": "7f3a91"}}
    await hand_over(service, package, 422, **known)
    named = CaregiversChanged(patient_id="p1", revision=2, store_id="store-1", caregiver_ids=("7f3a91",))
    await service.handle(named)
    await service.handle(named.model_copy(update={"revision": 1, "caregiver_ids": ()}))
    await hand_over(service, package, **known)


async def test_a_drawn_signature_is_a_path_or_a_small_png(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)

    def png(size: int) -> str:
        return b64encode(PNG + bytes(size - len(PNG))).decode()

    for drawn in (
        None,
        {},
        {"svg_path": "M 0 0<script>"},
        {"svg_path": "M" * 20_001},
        {"png": "M 0 0"},
        {"png": png(20_001)},
        {"svg_path": "M 0 0", "png": png(100)},
    ):
        await hand_over(service, package, 400, presented=ADA, signature="drawn", drawn=drawn)
    await hand_over(service, package, 400, presented=ADA, signature="on_paper", drawn={"png": png(100)})
    await hand_over(service, package, presented=ADA, signature="drawn", drawn={"png": png(20_000)})
    (detail,) = await action(service, "hand_over")
    assert detail["signature"] == "drawn"


async def test_what_is_said_at_the_counter_is_sealed_told_to_the_patient_and_forgotten(
    service: Unbrokered,
) -> None:
    package = await with_ready_package(service, *RX)
    await hand_over(
        service,
        package,
        role="pharmacist",
        presented=ADA | {"license_number": "D-4711", "address": "12 Elm Rd"},
        collected_by="other",
        collector={"name": "Cousin Canary", "relation": "cousin"},
        signature="drawn",
        drawn={"svg_path": "M 0 0 L 9 9"},
        reason="asked by phone",
    )
    await service.send(
        "/visits/visit-p1/consultation", role="pharmacist", outcome="held", words="has a cough"
    )
    async with service.work.read() as db:
        assert await tables_with(db, *SAID) == []
        held = await held_of(db, service.work.keys, PERSONAL, "p1")
    by_visit = {row["about"]: row["said"] for row in held["counter_notes"]}
    assert by_visit == {
        "hand_over": {
            "collector": {"name": "Cousin Canary", "relation": "cousin"},
            "drawn": {"svg_path": "M 0 0 L 9 9"},
            "license_number": "D-4711",
        },
        "consultation": {"words": "has a cough"},
    }
    assert held["contacts"][0]["said"]["address"] == "12 Elm Rd, Tulsa"
    async with service.work.begin(["patient:p1"], cause=Cause("test", "test")) as unit:
        await forget(unit, PERSONAL, ["p1"])
    assert await service.rows("select from counter_notes") == []
    (detail,) = await action(service, "hand_over")
    assert "reason" not in detail


# ---- what a scanner typed ----


@pytest.mark.parametrize(
    ("scanned", "says"),
    [
        ({"bin": "1-02", "labels": ["fill-rx-a", "rx-b"]}, "bin 1-02 was scanned: this package is in 1-01"),
        ({"bin": "1-01", "labels": ["fill-rx-a"]}, "not scanned: rx-b"),
        ({"bin": "1-01", "labels": ["rx-a", "rx-b", "fill-rx-z"]}, "not of this package: fill-rx-z"),
        ({"bin": "1-01", "labels": ["fill-rx-a", "rx-b"]}, None),
    ],
)
async def test_what_was_scanned_is_this_package_and_all_of_it(
    service: Unbrokered, scanned: dict[str, Any], says: str | None
) -> None:
    package = await with_ready_package(service, *RX)
    answer = await hand_over(service, package, 422 if says else 200, presented=ADA, scanned=scanned)
    if says:
        assert (answer["code"], answer["detail"]) == ("scan_mismatch", says)


async def test_what_is_left_need_not_be_scanned(service: Unbrokered) -> None:
    package = await with_ready_package(service, *RX)
    scanned = {"bin": "1-01", "labels": ["rx-a"]}
    await hand_over(service, package, presented=ADA, scanned=scanned, left_rx_ids=["rx-b"])


# ---- several packages at once ----


async def test_a_household_is_handed_over_together_where_the_other_consented(service: Unbrokered) -> None:
    ada, bo = await with_household(service, caregiver=True)
    done = await service.send("/hand-overs", role="clerk", **together(ada, bo))
    assert [each["status"] for each in done["packages"]] == ["picked_up", "picked_up"]
    events = await service.published()
    assert sorted(event.patient_id for event in events if isinstance(event, PackagePickedUp)) == ["p1", "p2"]
    assert [each["collected_by"] for each in await action(service, "hand_over")] == ["patient", "caregiver"]


async def test_of_several_packages_all_are_handed_over_or_none(service: Unbrokered) -> None:
    ada, bo = await with_household(service)
    await service.send("/hand-overs", 422, role="clerk", **together(ada, bo))
    wrong = together(ada, bo)
    wrong["proofs"][1] = {"patient_id": "p2", "presented": BO | {"name": "Eve"}}
    problem = await service.send("/hand-overs", 422, role="pharmacist", **wrong, reason="lives with her")
    assert problem["detail"] == "patient p2: name: not as held here; 4 tries are left"
    unknown = together(ada, bo | {"package_id": "unknown"})
    await service.send("/hand-overs", 404, role="clerk", **unknown)
    packages = (await service.get("/packages", status="ready"))["items"]
    assert len(packages) == 2
    assert await service.published() == []
    assert await action(service, "wrong_try") == [{"differ": ["name"]}]
    await service.send("/hand-overs", role="pharmacist", **together(ada, bo), reason="lives with her")


async def test_each_patient_needs_a_proof_and_one_of_them_collects(service: Unbrokered) -> None:
    ada, bo = await with_household(service, caregiver=True)
    proofs = together(ada)["proofs"]
    problem = await service.send("/hand-overs", 422, role="clerk", **together(ada, bo, proofs=proofs))
    assert "two identifiers" in problem["detail"]
    problem = await service.send(
        "/hand-overs", 422, role="clerk", **together(ada, bo, collecting_patient_id=None)
    )
    assert "collecting_patient_id" in problem["detail"]
    alone = await service.send("/hand-overs", role="clerk", **together(bo, collecting_patient_id=None))
    assert len(alone["packages"]) == 1


async def test_a_caregiver_takes_the_packages_of_all_who_consented_and_a_package_counts_once(
    service: Unbrokered,
) -> None:
    ada, bo = await with_household(service, caregiver=True)
    body = together(bo, bo, collected_by="caregiver", collector={"name": "Cy", "relation": "son"})
    done = await service.send("/hand-overs", role="clerk", **body)
    assert [each["package_id"] for each in done["packages"]] == [bo["package_id"]]
    await service.send("/hand-overs", 422, role="clerk", **together(ada, collected_by="caregiver"))
    await service.send("/hand-overs", 409, role="pharmacist", **together(ada, bo), reason="his wife")


# ---- the talk ----


async def test_a_visit_has_several_talks_and_one_that_is_sent_again_is_one(service: Unbrokered) -> None:
    await with_work_order(service, "rx-a")
    service.clock.set(DUE)
    path = "/visits/visit-p1/consultation"
    first = await service.send(path, role="pharmacist", key="k1", outcome="declined")
    assert await service.send(path, role="pharmacist", key="k1", outcome="declined") == first
    second = await service.send(
        path, role="pharmacist", outcome="held", topics=["side_effects", "travel"], words="a cough"
    )
    assert (first["number"], second) == (
        1,
        {"visit_id": "visit-p1", "number": 2, "outcome": "held", "topics": ["side_effects", "travel"]},
    )
    events = await service.published()
    assert [type(event) for event in events] == [ConsultationHeld, ConsultationHeld]
    assert [str(event.outcome) for event in events if isinstance(event, ConsultationHeld)] == [
        "declined",
        "held",
    ]


async def test_the_topics_of_a_talk_are_published_with_words(service: Unbrokered) -> None:
    topics = (await service.get("/counseling-topics"))["items"]
    assert {"topic": "storage", "words": "How to store it"} in topics


# ---- what is not in the bin ----


async def test_what_is_in_the_fridge_is_listed_and_not_forgotten(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    for rx_id, order in (await lease(service)).items():
        package = await report(service, order, result="filled", fill_id=f"fill-{rx_id}")
    path = f"/packages/{package['package_id']}/verification"
    places = [{"rx_id": "rx-b", "place": "fridge", "label": "F2"}]
    said: dict[str, Any] = {"licence": "RPH-1", "places": [{"rx_id": "rx-z", "place": "fridge"}]}
    await service.send(path, 422, role="pharmacist", **said)
    ready = await service.send(path, role="pharmacist", licence="RPH-1", places=places)
    assert ready["places"] == places
    (listed,) = (await service.get("/packages", status="ready"))["items"]
    assert listed["places"] == places

    problem = await hand_over(service, package, 422, presented=ADA)
    assert (problem["code"], problem["detail"].endswith(": rx-b (F2)")) == ("left_in_place", True)
    await hand_over(service, package, 422, presented=ADA, collected_places=["rx-a"])
    done = await hand_over(service, package, presented=ADA, collected_places=["rx-b"])
    assert done["status"] == "picked_up"


async def test_what_is_left_stays_in_the_fridge(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    for rx_id, order in (await lease(service)).items():
        package = await report(service, order, result="filled", fill_id=f"fill-{rx_id}")
    path = f"/packages/{package['package_id']}/verification"
    places = [{"rx_id": "rx-b", "place": "oversize"}]
    await service.send(path, role="pharmacist", licence="RPH-1", places=places)
    done = await hand_over(service, package, presented=ADA, left_rx_ids=["rx-b"])
    assert done["places"] == []


# ---- what is paid ----


async def test_what_the_patient_pays_is_shown_where_the_payer_said_it_and_summed_at_the_hand_over(
    service: Unbrokered,
) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    orders = await lease(service)
    filled: dict[str, Any] = {"result": "filled", "fill_id": "fill-a"}
    for amount in ("-1", "1.005", "a lot"):
        await report(service, orders["rx-a"], 400, **filled, patient_pay=amount)
    package = await report(service, orders["rx-a"], **filled, patient_pay="10.50")
    assert (package["items"][0]["patient_pay"], package["patient_pay"]) == ("10.50", "10.50")
    await report(service, orders["rx-a"], 409, **filled, patient_pay="99")
    package = await report(service, orders["rx-b"], result="filled", fill_id="fill-b", patient_pay="0")
    path = f"/packages/{package['package_id']}/verification"
    await service.send(path, role="pharmacist", licence="RPH-1")
    done = await service.send("/hand-overs", role="clerk", **together(package))
    assert (done["patient_pay"], done["packages"][0]["patient_pay"]) == ("10.50", "10.50")


async def test_a_sum_of_which_a_part_is_not_known_is_not_said(service: Unbrokered) -> None:
    await with_work_order(service, *RX)
    service.clock.set(DUE)
    orders = await lease(service)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a", patient_pay="10.50")
    package = await report(service, orders["rx-b"], result="filled", fill_id="fill-b")
    assert [item["patient_pay"] for item in package["items"]] == ["10.50", None]
    assert package["patient_pay"] is None


# ---- the how-to ----

STEP = re.compile(r"```\n(\w+): (GET|POST) (\S+)(?: → (\d+) (\w+))?\n(.*?)```", re.S)


async def test_the_how_to_works_as_it_stands(
    service: Unbrokered, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    ada, bo = await filled_for_two(service, caregiver=True)
    birth = date(1940, 12, 10)
    await details(service, "p1", revision=2, given_name="Ada", family_name="Byron", birth_date=birth)
    phones = (Phone(number="+19185550199"),)
    await details(service, "p2", revision=2, given_name="Bo", family_name="Byron", phones=phones)
    steps = STEP.findall((ROOT / "docs" / "how-to" / "hand-over.md").read_text())
    done = []
    (tmp_path / "outreach").mkdir()
    async with two_processes(fresh_database("outreach"), tmp_path / "outreach") as outreach:
        for event in (of_outreach.store(), of_outreach.enrolled(), of_outreach.details(), of_outreach.plan()):
            await outreach.handle(event)
        names = {"{ada}": ada, "{bo}": bo, "{rx}": of_outreach.VISIT.items[0].rx_id}
        for role, method, path, status, code, body in steps:
            http = outreach.http if path.endswith("/inbound") else service.http
            headers = {"Medsync-Actor": f"{role}-1", "Medsync-Role": role, "Content-Type": "application/json"}
            for name, own in names.items():
                path, body = path.replace(name, own), body.replace(name, own)
            answer = await http.request(method, path, content=body, headers=headers)
            assert (answer.status_code, answer.json().get("code")) == (int(status or 200), code or None), (
                path,
                answer.text,
            )
            done.append(path.rpartition("/")[2])
            if done == ["verification"]:  # the other one too
                await service.send(f"/packages/{bo}/verification", role="pharmacist", licence="RPH-1")
    assert done == [
        "verification",
        "packages?status=ready",
        "hand-over",
        "hand-overs",
        "counseling-topics",
        "consultation",
        "inbound",
    ]
