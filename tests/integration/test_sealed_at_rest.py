"""What outreach, fulfillment and the console keep of who patients are: sealed, and nothing in clear beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from services.console import handlers as of_console
from services.console.app import create_app as create_console
from services.console.settings import Settings as ConsoleSettings
from services.console.store import reads as console_reads
from services.console.store.writes import IN_CLEAR as OF_CONSOLE
from services.fulfillment import handlers as of_fulfillment
from services.fulfillment.app import create_app as create_fulfillment
from services.fulfillment.settings import Settings as FulfillmentSettings
from services.fulfillment.store.reads import contacts_of
from services.fulfillment.store.writes import IN_CLEAR as OF_FULFILLMENT
from services.outreach.store import texts
from services.outreach.store.numbers import IN_CLEAR as OF_OUTREACH
from services.outreach.store.reads import load_cases, load_people
from shared.datakeys import InClear
from shared.events.enrollment import Channel, ContactDetailsChanged, Phone
from shared.messaging import Handlers, Jobs, Work
from shared.sealing import Sealer
from tests.dumps import tables_with
from tests.integration.test_outreach import CLERK, NOW, NUMBER, details, enrolled, plan, store, two_processes
from tests.integration.test_outreach_texts import PATIENT, to_read
from tests.running import SEALING_KEY
from tests.without_broker import Unbrokered, without_broker

WORDS = "Zwetschgen are not on my list"
CANARIES = ("Ada", "Canary", "1950-03-04", NUMBER.removeprefix("+"), "Elm Rd", "Zwetschgen")
SOMEBODY = ContactDetailsChanged(
    patient_id="p1",
    revision=1,
    given_name="Ada",
    family_name="Canary",
    birth_date=date(1950, 3, 4),
    phones=(Phone(number=NUMBER, kind="mobile"),),
    address="1 Elm Rd",
)

TEXT_ID = UUID(int=7)

Database = Callable[[str], str]


async def seal_all(work: Work, *kinds: InClear) -> None:
    async with work.pool.acquire() as db:
        for kind in kinds:
            found = await kind.find(db, "", 100)
            await kind.seal(db, work.keys, found)
            assert await kind.find(db, "", 100) == []


async def test_a_dump_of_outreach_names_nobody(fresh_database: Database, tmp_path: Path) -> None:
    """Not after a lease, a message that waits for a person, and a number that was stopped either."""
    async with two_processes(fresh_database("outreach"), tmp_path) as service:
        await service.handle(store())
        await service.handle(enrolled(channels=(Channel.phone, Channel.text)))
        await service.handle(details(address="1 Elm Rd"))
        await service.handle(plan(agreed=False))
        await service.do_due()
        [lent] = await service.lease()
        assert (lent["name"], lent["phone"]) == ("Ada Canary", NUMBER)
        await service.post("/patients/p1/inbound", by=PATIENT, answer={"text": WORDS}, number=NUMBER)
        [text] = await to_read(service)
        assert (text["text"], text["number"]) == (WORDS, NUMBER)
        await service.post("/patients/p1/opt-out", by=CLERK, channel="text", number=NUMBER)
        async with service.work.read() as db:
            assert await tables_with(db, *CANARIES) == []
            assert await db.fetchval("select count(*) from number_opt_outs join phones using (number)") == 1


async def test_what_outreach_left_in_clear_is_sealed(fresh_database: Database, tmp_path: Path) -> None:
    async with two_processes(fresh_database("outreach"), tmp_path) as service:
        await service.handle(store())
        await service.handle(enrolled())
        old = Sealer(SEALING_KEY).seal(WORDS.encode(), bound_to=f"text/{TEXT_ID}")
        async with service.work.pool.acquire() as db:
            await db.execute(
                """
                insert into details (patient_id, revision, given_name, family_name, birth_date, address)
                values ('p1', 1, 'Ada', 'Canary', '1950-03-04', '1 Elm Rd')
                """
            )
            await db.execute("insert into stopped_numbers values ($1, now())", NUMBER)
            await db.execute("insert into number_opt_outs values ($1, now(), 'phone')", NUMBER)
            for place, number in enumerate(("+19185550199", NUMBER)):
                await db.execute("insert into phones values ('p1', $1, $2, 'mobile')", place, number)
            await db.execute("insert into lent_numbers values ('p1', gen_random_uuid(), $1)", NUMBER)
            await db.execute(
                """
                insert into texts (text_id, patient_id, store_id, received_at, channel, number, sealed, key_id, cut,
                                   due_at, escalates_at)
                values ($1, 'p1', 's1', now(), 'text', $2, $3, $4, false, now(), now())
                """,
                TEXT_ID,
                NUMBER,
                old.payload,
                old.key_id,
            )
            assert len(await tables_with(db, *CANARIES)) == 6
        await seal_all(service.work, *OF_OUTREACH)
        async with service.work.read() as db:
            assert await tables_with(db, *CANARIES, "9185550199") == []
            people = await load_people(db, service.work.keys, ["p1"])
            text = await texts.load_text(db, service.work.keys, TEXT_ID)
            [case] = await load_cases(db, ["p1"], NOW)
        assert (people["p1"].name, people["p1"].address) == ("Ada Canary", "1 Elm Rd")
        assert [each.number for each in people["p1"].phones] == ["+19185550199"], "the other one is stopped"
        assert text is not None
        assert (text.words, text.number) == (WORDS, NUMBER)
        assert case.opted_out, "by the number"
        assert Channel.letter in case.reachable


@asynccontextmanager
async def fulfillment(url: str, folder: Path) -> AsyncIterator[Unbrokered]:
    settings = FulfillmentSettings(
        database_url=url, kafka_bootstrap="unused", sealing_key=SecretStr(SEALING_KEY)
    )
    app, on = create_fulfillment(settings), of_fulfillment.on
    async with without_broker("fulfillment", app, on, Jobs(), url=url, now=NOW, folder=folder) as service:
        yield service


async def test_a_dump_of_fulfillment_names_nobody(fresh_database: Database, tmp_path: Path) -> None:
    async with fulfillment(fresh_database("fulfillment"), tmp_path) as service:
        await service.handle(SOMEBODY)
        await service.handle(SOMEBODY.model_copy(update={"patient_id": "p2"}))
        async with service.work.pool.acquire() as db:
            assert await tables_with(db, *CANARIES) == []
            held = (await contacts_of(db, service.work.keys, ["p1"]))["p1"]
            assert (held.address, held.phones) == ("1 Elm Rd", (NUMBER,))
            await db.execute(
                """
                update contacts
                set sealed = null, given_name = 'Ada', family_name = 'Canary', birth_date = '1950-03-04'
                where patient_id = 'p2'
                """
            )
        await seal_all(service.work, OF_FULFILLMENT)
        async with service.work.read() as db:
            assert await tables_with(db, *CANARIES) == []
            for who in (await contacts_of(db, service.work.keys, ["p1", "p2"])).values():
                assert (who.given_name, who.family_name, who.birth_date) == (
                    "Ada",
                    "Canary",
                    date(1950, 3, 4),
                )


async def test_what_the_console_sealed_with_the_ring_is_sealed_with_keys_of_patients(
    fresh_database: Database, tmp_path: Path
) -> None:
    """So that an old backup opens only as long as there is a backup of the key. What no key opens stays as it is."""
    url = fresh_database("console")
    app = create_console(ConsoleSettings(database_url=url, kafka_bootstrap="unused", sealing_key=SEALING_KEY))
    on: Handlers = of_console.on
    async with without_broker("console", app, on, Jobs(), url=url, now=NOW, folder=tmp_path) as service:
        ring = Sealer(SEALING_KEY)
        came = ring.seal(SOMEBODY.model_dump_json().encode(), bound_to=f"{ContactDetailsChanged.TYPE}/p1")
        async with service.work.pool.acquire() as db:
            keep = "insert into sealed_details (patient_id, revision, key_id, sealed) values ($1, 1, $2, $3)"
            await db.execute(keep, "p1", *came)
            await db.execute(keep, "p2", "gone", b"?")
            found = await OF_CONSOLE.find(db, "", 10)
            await OF_CONSOLE.seal(db, service.work.keys, found)
            assert await OF_CONSOLE.find(db, "", 10) == ["p2"]
            assert await OF_CONSOLE.find(db, "p2", 10) == [], "and the start goes on"
            assert await console_reads.details(db, service.work.keys, "p1") == SOMEBODY
            assert await tables_with(db, *CANARIES) == []
