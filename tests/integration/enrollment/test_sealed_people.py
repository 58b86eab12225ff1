"""Who patients are, as enrollment keeps it: sealed with a key of each one's own, and found all the same."""

from __future__ import annotations

import pytest

from services.enrollment.store import people, profiles
from shared.sealing import SealBroken
from tests import feed as records
from tests.dumps import tables_with
from tests.integration.enrollment.conftest import P1, P2, STAFF, Service

CANARIES = ("Canary", "canary", "Ada", "1940-02-29", "555-0101", "9185550101", "Elm Rd")


async def search(service: Service, **asked: str) -> list[str]:
    found = await service.post("/patients/search", **asked)
    return [each["patient_id"] for each in found["items"]]


async def test_a_dump_of_the_database_names_nobody(enrolled: Service) -> None:
    await enrolled.post("/patients/search", family_name="Canary", birth_date="1940-02-29")
    async with enrolled.work.read() as db:
        assert await tables_with(db, *CANARIES) == []
        assert await tables_with(db, "Main Street") == ["public.stores"], "the search finds what is there"


async def test_what_a_release_of_before_left_in_clear_is_sealed(fed: Service) -> None:
    async with fed.work.pool.acquire() as db:
        await db.execute(
            """
            update people
            set sealed = null, number = 'P1', given_name = 'Ada', family_name = 'Canary', birth_date = '1940-02-29',
                phones = '[{"number": "+19185550101", "kind": "mobile"}]', address = '1 Elm Rd'
            """
        )
        await db.execute("delete from blind_indexes")
        assert await tables_with(db, *CANARIES) == ["public.people"]
        found = await people.IN_CLEAR.find(db, "", 10)
        await people.IN_CLEAR.seal(db, fed.work.keys, found)
        assert found == [P1]
        assert await people.IN_CLEAR.find(db, "", 10) == []
        assert await tables_with(db, *CANARIES) == []
        (held,) = (await people.load_fed_patients(db, fed.work.keys, found)).values()
    assert (held.value.number, held.value.person.family_name) == ("P1", "Canary")
    assert await search(fed, phone="+19185550101") == [P1]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"family_name": "Canary", "birth_date": "1940-02-29"}, [P1]),
        ({"family_name": " cANARY ", "birth_date": "1940-02-29"}, [P1]),
        ({"phone": "+19185550101"}, [P1]),
        ({"family_name": "Canary", "birth_date": "1940-02-29", "phone": "+19185550101"}, [P1]),
        ({"family_name": "Canary", "birth_date": "1940-02-28"}, []),
        ({"family_name": "Canary", "birth_date": "1940-02-29", "phone": "+19185550102"}, []),
        ({"family_name": "+19185550101", "birth_date": "1940-02-29"}, []),
    ],
)
async def test_people_are_found_by_name_and_birth_date_or_by_number(
    fed: Service, asked: dict[str, str], found: list[str]
) -> None:
    assert await search(fed, **asked) == found


@pytest.mark.parametrize(
    "asked", [{}, {"family_name": "Canary"}, {"birth_date": "1940-02-29"}, {"phone": "5"}]
)
async def test_a_search_says_enough(fed: Service, asked: dict[str, str]) -> None:
    await fed.post("/patients/search", 400, **asked)


async def test_who_changed_is_found_by_what_is_true_now(fed: Service) -> None:
    await fed.feed("patients", records.patient(revision="2", family_name="Lovelace"))
    assert await search(fed, family_name="Canary", birth_date="1940-02-29") == []
    assert await search(fed, family_name="Lovelace", birth_date="1940-02-29") == [P1]


async def test_people_out_of_reach_are_not_found(fed: Service) -> None:
    body = {"phone": "+19185550101"}
    for stores, found in (("S1", 1), ("S2", 0)):
        answer = await fed.http.post(
            "/patients/search", json=body, headers=STAFF | {"Medsync-Stores": stores}
        )
        assert len(answer.json()["items"]) == found, stores


async def test_a_row_that_was_moved_to_another_patient_does_not_open(fed: Service) -> None:
    await fed.feed("patients", records.patient(patient_number="P2", family_name="Other"))
    async with fed.work.pool.acquire() as db:
        await db.execute("update people set sealed = (select sealed from people where patient_id = $1)", P1)
        with pytest.raises(SealBroken):
            await people.load_fed_patients(db, fed.work.keys, [P2])


async def test_a_page_of_names_is_one_query_and_a_batch_of_the_feed_a_fixed_number(service: Service) -> None:
    await service.feed("stores", records.store())
    for name, number in (("A", 1), ("B", 50)):
        await service.feed(
            "patients", *(records.patient(patient_number=f"{name}{each}") for each in range(number))
        )
    asked: list[str] = []
    keys = service.work.keys
    async with service.work.pool.acquire() as db:
        db.add_query_logger(lambda query: asked.append(query.query))
        ids = [row["patient_id"] for row in await db.fetch("select patient_id from people limit 50")]
        asked.clear()
        found = await people.load_fed_patients(db, keys, ids)
        assert (len(found), len(asked)) == (50, 1)
        taken = []
        for some in (ids[:1], ids):
            await db.execute("delete from fabric.data_keys where patient_id = any($1)", some)
            asked.clear()
            await people.save_people(db, keys, [found[each] for each in some])
            taken.append(len(asked))
        assert taken[0] == taken[1] <= 8


async def test_details_that_are_published_are_those_that_were_fed(enrolled: Service) -> None:
    async with enrolled.work.read() as db:
        (details,) = await profiles.contact_details(db, enrolled.work.keys, [P1])
    assert (details.given_name, details.family_name) == ("Ada", "Canary")
    assert [phone.number for phone in details.phones] == ["+19185550101"]
    assert details.address == "1 Elm Rd, Tulsa, OK 74108"
