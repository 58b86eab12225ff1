"""A patient with unmistakable values goes through all five services, and is forgotten: nothing of them is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic_core import from_json

from cli.proof import prove
from deploy.local import Addresses
from services.enrollment.imports import pseudonym
from shared.clock import SteppedClock
from shared.database import connect
from shared.events import TOPICS
from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from shared.events.tombstones import ContactDetailsForgotten
from shared.messaging.envelope import Delivery, Record, Unhandled, read
from shared.messaging.forgetting import hash_of
from shared.messaging.tail import records
from shared.messaging.topics import create_topics
from shared.sealing import SealBroken, Sealer
from tests import feed
from tests.copies import Copies
from tests.dumps import tables_with
from tests.running import EVERYBODY, SEALING_KEY, at_rest, producing, running, until

NOW = datetime(2009, 10, 1, 15, tzinfo=UTC)
KEY = "pseudonyms-of-a-test-0123456789abcdef"
SERVICES = ("enrollment", "planner", "outreach", "fulfillment", "console")
P1, P2 = (pseudonym(KEY, "chain", number) for number in ("P1", "P2"))
CANARIES = ("Quetzalina", "Zwetschgenbaum", "1937-04-13", "5559731", "Kolibriweg", "Zinnober")
"""Given and family name, birth date, number, address, and what somebody said in their own words."""
WHO = {
    "given_name": "Quetzalina",
    "family_name": "Zwetschgenbaum",
    "birth_date": "1937-04-13",
    "mobile_phone": "918-555-9731",
    "address": "7 Kolibriweg, Tulsa, OK 74108",
}
WORDS = "Zinnober is what I want"
OFFICER = {"Medsync-Actor": "officer-1", "Medsync-Role": "privacy"}
BECAUSE = {"because": "request 2026-118 of the patient"}

Database = Callable[[str], str]


@dataclass
class Chain:
    """The five services as they run, on one broker."""

    stack: Addresses
    prefix: str
    urls: dict[str, str]
    clock: Path
    http: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    @property
    def kept(self) -> dict[str, Any]:
        return {
            "kafka_bootstrap": self.stack.kafka,
            "topic_prefix": self.prefix,
            "sealing_key": SEALING_KEY,
            "clock_file": self.clock,
        }

    @asynccontextmanager
    async def running(self, *names: str, wait_ready: bool = True, **urls: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in names or SERVICES:
                settings = import_module(f"services.{name}.settings").Settings
                more = {"pseudonym_key": KEY} if name == "enrollment" else {}
                made = settings(database_url=urls.get(name, self.urls[name]), **self.kept, **more)
                app = import_module(f"services.{name}.app").create_app(made)
                client = await stack.enter_async_context(running(app, wait_ready=wait_ready))
                client.headers.update(EVERYBODY)
                self.http[name] = client
            yield

    async def rest(self) -> None:
        await at_rest(*self.http.values(), seconds=90)

    async def post(self, service: str, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = await self.http[service].post(path, json=body, headers=EVERYBODY | headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def ask(self, service: str, path: str) -> Any:
        answer = await self.http[service].get(path, headers=OFFICER)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def forgotten(self, patient_id: str, names: tuple[str, ...] = SERVICES) -> None:
        async def everywhere() -> bool:
            said = [await self.ask(name, f"/ops/privacy/{patient_id}") for name in names]
            return all(each["erased_at"] and not each["holds"] for each in said)

        await until(everywhere, "every service has forgotten", seconds=60)

    async def tables_with(self, *canaries: str) -> dict[str, list[str]]:
        found = {}
        for name, url in self.urls.items():
            db = await connect(url, name="test")
            try:
                if tables := [*await tables_with(db, *canaries), *await sealed_with(db, *canaries)]:
                    found[name] = tables
            finally:
                await db.close()
        return found

    async def topic_records(self) -> list[Any]:
        return [
            each
            async for each in records(
                self.stack.kafka, from_beginning=True, topics=TOPICS, prefix=self.prefix, follow=False
            )
        ]


async def sealed_with(db: asyncpg.Connection, *canaries: str) -> list[str]:
    """Where the ring alone opens something that holds one of these texts: answers, and the journal."""
    ring, found = Sealer(SEALING_KEY), []
    for row in await db.fetch(
        "select actor, idempotency_key, sealed, key_id from fabric.answers where key_id > ''"
    ):
        bound_to = f"answer/{row['actor']}/{row['idempotency_key']}"
        if opens(ring, row["sealed"], row["key_id"], bound_to, canaries):
            found.append("fabric.answers, opened")
    for row in await db.fetch(
        "select key, headers, payload from fabric.outbox where headers ? 'ce_sealingkeyid'"
    ):
        bound_to = f"{ContactDetailsChanged.TYPE}/{row['key']}"
        if opens(ring, row["payload"], row["headers"]["ce_sealingkeyid"], bound_to, canaries):
            found.append("fabric.outbox, opened")
    for row in await db.fetch(
        "select record_key, payload from fabric.dead_letters where payload is not null"
    ):
        bound_to = f"{ContactDetailsChanged.TYPE}/{(row['record_key'] or b'').decode(errors='replace')}"
        if opens(ring, row["payload"], "1", bound_to, canaries):
            found.append("fabric.dead_letters, opened")
    return found


def opens(ring: Sealer, sealed: bytes, key_id: str, bound_to: str, canaries: tuple[str, ...]) -> bool:
    try:
        plain = ring.open(sealed, key_id=key_id, bound_to=bound_to).decode()
    except SealBroken:
        return False
    return any(each in plain or each in json.dumps(from_json(plain), ensure_ascii=False) for each in canaries)


@pytest.fixture
async def chain(stack: Addresses, fresh_database: Database, unique_name: str, tmp_path: Path) -> Chain:
    await create_topics(stack.kafka, 2, prefix=f"{unique_name}.")
    urls = {name: await asyncio.to_thread(fresh_database, name) for name in SERVICES}
    SteppedClock(tmp_path / "clock").set(NOW)
    return Chain(stack, f"{unique_name}.", urls, tmp_path / "clock")


async def a_life(chain: Chain) -> None:
    """P1 goes through everything that keeps a name; P2 beside them stays."""
    await import_(chain, "stores", feed.store())
    await import_(
        chain, "patients", feed.patient(**WHO), feed.patient(patient_number="P2", mobile_phone="918-555-0102")
    )
    await import_(
        chain,
        "prescriptions",
        feed.prescription(directions="1 daily, says Zinnober"),
        feed.prescription(rx_id="RX2", patient_number="P2"),
    )
    await import_(chain, "fills", feed.fill(), feed.fill(fill_id="F2", rx_id="RX2", patient_number="P2"))
    for each in (P1, P2):
        await chain.post("enrollment", f"/patients/{each}/consent", {"channels": ["phone", "text"]})
    await chain.rest()
    key = {"Idempotency-Key": "again-1"}
    leased = await chain.post("outreach", "/contacts/lease", {"worker": "w"}, **key, **DIALER)
    names = {each["name"] for each in leased["contacts"]}
    inbound = {"answer": {"text": WORDS}, "number": "+19185559731", "channel": "text"}
    await chain.post("outreach", f"/patients/{P1}/inbound", inbound, **DIALER)
    texts = (await chain.http["outreach"].get("/texts", headers=EVERYBODY)).json()["items"]
    assert [each["text"] for each in texts] == [WORDS], "it was there to be forgotten"
    assert names == {"Quetzalina Zwetschgenbaum", "Ada Canary"}, "the answer is kept for its key"
    await chain.post(
        "planner", f"/plans/{P1}/rulings", {"kind": "day", "on": "2009-11-16", "why": f"said: {WORDS}"}, 201
    )
    reveal = await chain.http["console"].post(
        f"/patients/{P1}/reveal",
        content="because=Zinnober%20asked",
        headers={**EVERYBODY, "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert reveal.status_code in (200, 303), reveal.text
    await chain.rest()


DIALER = {"Medsync-Role": "dialer"}


async def import_(chain: Chain, kind: str, *rows: dict[str, str]) -> Any:
    body = {"source": "chain", "records": rows}
    answer = await chain.post("enrollment", f"/imports/{kind}", body, **{"Medsync-Role": "feed"})
    assert answer["accepted"] == len(rows), answer
    return answer


async def poison(chain: Chain) -> None:
    """A letter, and behind it details that wait, of the patient in outreach."""
    ring = Sealer(SEALING_KEY)
    details = ContactDetailsChanged(patient_id=P1, revision=90, family_name="Zwetschgenbaum")
    bound_to = f"{ContactDetailsChanged.TYPE}/{P1}"
    payloads = (b"{", details.model_dump_json().encode())
    async with producing(chain.stack.kafka) as producer:
        for plain in payloads:
            sealed = ring.seal(plain, bound_to=bound_to)
            headers = {
                "ce_specversion": "1.0",
                "ce_id": str(uuid4()),
                "ce_type": ContactDetailsChanged.TYPE,
                "ce_source": "medsync/enrollment",
                "ce_subject": P1,
                "ce_sealingkeyid": sealed.key_id,
                "content-type": "application/octet-stream",
            }
            await producer.send_and_wait(
                chain.prefix + CONTACTS_TOPIC,
                key=P1.encode(),
                value=sealed.payload,
                headers=[(name, value.encode()) for name, value in headers.items()],
            )

    async def set_aside() -> bool:
        status = (await chain.http["outreach"].get("/ops/deadletters", headers=EVERYBODY)).json()
        return any(each["behind"] for each in status["items"])

    await until(set_aside, "a letter and what waits behind it are there")


async def test_a_patient_who_is_forgotten_is_found_nowhere(
    chain: Chain, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain.running():
        await a_life(chain)
        held = await chain.tables_with(*CANARIES)
        assert {"fabric.outbox, opened"} <= {*held["enrollment"]}
    backup = await copies.of(chain.urls["outreach"])
    async with chain.running():
        answer = await chain.http["enrollment"].post(f"/patients/{P1}/erasure", json=BECAUSE, headers=OFFICER)
        assert (answer.status_code, answer.json()["code"]) == (409, "enrolled")
        await chain.post("enrollment", f"/patients/{P1}/disenrolment", {"reason": "revoked"})
        await chain.rest()
        before = await chain.ask("enrollment", f"/patients/{P1}/erasure")
        assert (before["erased"], before["against"]) == (False, [])
        exported = {name: await chain.ask(name, f"/ops/privacy/{P1}/export") for name in SERVICES}
        for canary in CANARIES:
            assert canary in json.dumps(exported), canary
        assert "Ada" not in json.dumps(exported), "of the patient alone"

        done = await chain.post("enrollment", f"/patients/{P1}/erasure", BECAUSE, **OFFICER)
        assert {each["record"] for each in done["stays"]} <= {"dispensing", "consent"}
        await chain.forgotten(P1)
        await chain.rest()
        assert await chain.tables_with(*CANARIES) == {}
        assert (await chain.tables_with("Canary"))["enrollment"] == ["fabric.outbox, opened"], (
            "P2 is untouched"
        )
        again = await chain.http["outreach"].post(
            "/contacts/lease",
            json={"worker": "w"},
            headers=EVERYBODY | DIALER | {"Idempotency-Key": "again-1"},
        )
        assert (again.status_code, again.json()["code"]) == (422, "key_reused"), again.text

        found = await chain.topic_records()
        for each in found:
            if each.topic != CONTACTS_TOPIC:
                said = (each.value or b"").decode() + str(each.headers) + str(each.key)
                assert not any(canary in said for canary in CANARIES), each.topic
        details = [each for each in found if each.topic == CONTACTS_TOPIC and each.key == P1.encode()]
        assert details[-1].value is None, "what the broker compacts the others to"

        refused = await chain.post(
            "enrollment",
            "/imports/patients",
            {"source": "chain", "records": [feed.patient(**WHO, revision="2")]},
            **{"Medsync-Role": "feed"},
        )
        assert "erased" in refused["rejected"][0]["reason"]
        await chain.post("enrollment", f"/patients/{P1}/consent", {}, 409)
        for name in SERVICES:
            metrics = (await chain.http[name].get("/metrics")).text
            assert not any(canary in metrics for canary in CANARIES), name
        rebuilt = await chain.http["console"].post("/rebuild?keep=true", headers=EVERYBODY)
        assert rebuilt.status_code == 200, rebuilt.text
        assert await chain.tables_with(*CANARIES) == {}, "the console was built anew from the topics"
    logged = capsys.readouterr()
    assert not any(canary in logged.out + logged.err for canary in CANARIES)
    results = await prove(chain.stack.kafka, chain.urls, prefix=chain.prefix)
    assert {each.name: each.violations for each in results if not each.holds} == {}

    other = Chain(chain.stack, chain.prefix, chain.urls | {"outreach": backup}, chain.clock)
    async with other.running("outreach", wait_ready=False):
        await other.forgotten(
            P1, ("outreach",)
        )  # a backup of before reads the topics again, while they have it


async def test_a_database_of_before_is_told_by_the_others_whom_to_forget(chain: Chain) -> None:
    """Where the topics have it no more."""
    async with chain.running("enrollment", "outreach"):
        await import_(chain, "stores", feed.store())
        await import_(chain, "patients", feed.patient(**WHO), feed.patient(patient_number="P2"))
        for each in (P1, P2):
            await chain.post("enrollment", f"/patients/{each}/consent", {})
        await chain.rest()
        assert (await chain.ask("outreach", f"/ops/privacy/{P1}"))["holds"]["details"] == 1
        answer = await chain.post("outreach", "/ops/erasures", {"hashes": [hash_of(P1), "0" * 64]})
        assert answer == {"erased": 1}
        await chain.forgotten(P1, ("outreach",))
        assert (await chain.ask("outreach", "/ops/erasures"))["items"] == [hash_of(P1)]
        again = await chain.post("outreach", "/ops/erasures", {"hashes": [hash_of(P1)]})
        assert again == {"erased": 0}, "it is known by now"
        assert await chain.post("enrollment", "/ops/erasures", {"hashes": [hash_of(P1)]}) == {"erased": 1}
        urls = {name: chain.urls[name] for name in ("enrollment", "outreach")}
        both = Chain(chain.stack, chain.prefix, urls, chain.clock)
        assert await both.tables_with(*CANARIES) == {}, "the journal too"
        other = await chain.ask("outreach", f"/ops/privacy/{P2}")
        assert other["erased_at"] is None
        assert other["holds"]["details"] == 1


async def test_what_was_set_aside_is_forgotten_too(chain: Chain) -> None:
    """The letter becomes a tombstone, and what waited behind it: they are worked off in the end as any other."""
    async with chain.running("enrollment", "outreach"):
        await import_(chain, "stores", feed.store())
        await import_(chain, "patients", feed.patient(**WHO))
        await chain.post("enrollment", f"/patients/{P1}/consent", {})
        await chain.rest()
        await poison(chain)
        await chain.post("enrollment", f"/patients/{P1}/disenrolment", {"reason": "revoked"})
        await chain.post("enrollment", f"/patients/{P1}/erasure", BECAUSE, **OFFICER)

        await chain.forgotten(P1, ("enrollment", "outreach"))  # though the patient is parked
        letters = (await chain.http["outreach"].get("/ops/deadletters", headers=EVERYBODY)).json()["items"]
        for letter in letters:
            await chain.post("outreach", f"/ops/deadletters/{letter['id']}/redrive", {})
        await chain.rest()
        letters = (await chain.http["outreach"].get("/ops/deadletters", headers=EVERYBODY)).json()["items"]
        assert letters == [], "what was a letter is a tombstone"
        urls = {name: chain.urls[name] for name in ("enrollment", "outreach")}
        assert await Chain(chain.stack, chain.prefix, urls, chain.clock).tables_with(*CANARIES) == {}


async def test_a_restored_enrollment_forgets_again(chain: Chain, copies: Copies) -> None:
    async with chain.running("enrollment"):
        await import_(chain, "stores", feed.store())
        await import_(chain, "patients", feed.patient(**WHO))
        await chain.rest()
    backup = await copies.of(chain.urls["enrollment"])
    async with chain.running("enrollment"):
        await chain.post("enrollment", f"/patients/{P1}/erasure", BECAUSE, **OFFICER)
        await chain.rest()
    restored = Chain(chain.stack, chain.prefix, {"enrollment": backup}, chain.clock)
    async with restored.running("enrollment", wait_ready=False):

        async def refuses() -> bool:
            return (
                "medsync recovered enrollment" in (await restored.http["enrollment"].get("/ops/ready")).text
            )

        await until(refuses, "it sees that it was put back")
        report = await restored.post("enrollment", "/ops/recovered", {})
        assert report["taken_again"] == 1
        await restored.forgotten(P1, ("enrollment",))
        assert await restored.tables_with(*CANARIES) == {}


async def test_a_service_seals_as_it_starts_what_a_release_of_before_left(chain: Chain) -> None:
    """More than it takes in one turn; and only then it answers."""
    db = await connect(chain.urls["enrollment"], name="test")
    try:
        await db.execute(
            """
            insert into stores (store_id, revision, name, state, time_zone, hours, closed_on, daily_cap, phone,
                                published_revision)
            values ('S1', 1, 'One', 'OK', 'America/Chicago', '[]', '{}', 0, '', 1)
            """
        )
        await db.execute(
            """
            insert into patients (patient_id, fed_revision, store_id, must_weekdays)
            select 'p' || n, 1, 'S1', '{}' from generate_series(1, 1100) n
            """
        )
        await db.execute(
            """
            insert into people (patient_id, number, given_name, family_name, birth_date, phones, address, language,
                                revision)
            select 'p' || n, 'N' || n, 'Quetzalina', 'Zwetschgenbaum', '1937-04-13',
                   '[{"number": "+19185559731", "kind": "home"}]', '7 Kolibriweg', 'en', 1
            from generate_series(1, 1100) n
            """
        )
    finally:
        await db.close()
    async with chain.running("enrollment"):
        named = {"family_name": "zwetschgenbaum", "birth_date": "1937-04-13"}
        found = await chain.post("enrollment", "/patients/search?limit=500", named)
        assert len(found["items"]) == 500
        only = Chain(chain.stack, chain.prefix, {"enrollment": chain.urls["enrollment"]}, chain.clock)
        assert await only.tables_with(*CANARIES) == {}


def a_record(value: bytes | None, **headers: str) -> Any:
    given = tuple((name, text.encode()) for name, text in headers.items())
    return Record(CONTACTS_TOPIC, 0, 0, b"p1", given, value)


ENVELOPE = {"ce_type": ContactDetailsChanged.TYPE, "ce_id": str(uuid4()), "ce_subject": "p1"}
OWNED = ENVELOPE | {"ce_source": "medsync/enrollment"}


def understood(record: Any, *kinds: Any) -> Any:
    return read(record, {kind.TYPE: kind for kind in kinds}, Sealer(SEALING_KEY))


def test_a_tombstone_is_honored_and_a_strangers_is_not() -> None:
    both = (ContactDetailsChanged, ContactDetailsForgotten)
    found = understood(a_record(None, **OWNED), *both)
    assert isinstance(found, Delivery)
    assert found.event == ContactDetailsForgotten(patient_id="p1")
    assert isinstance(understood(a_record(None), *both), Unhandled), "a tool's says nothing, and parks nobody"
    foreign = understood(a_record(None, **ENVELOPE, ce_source="medsync/outreach"), *both)
    assert (foreign.reason, foreign.key) == ("foreign_source", None)
    assert understood(a_record(None, **OWNED), ContactDetailsChanged).reason == "tombstone", (
        "who heeds none says so"
    )


@pytest.mark.parametrize("name", SERVICES)
async def test_every_table_with_patients_is_known_to_be_forgotten_or_kept(
    name: str, fresh_database: Database
) -> None:
    """A table that is added is exported and forgotten, or says why not here."""
    module = import_module(f"services.{name}.store.{'erasures' if name == 'enrollment' else 'forgetting'}")
    db = await connect(await asyncio.to_thread(fresh_database, name), name="test")
    try:
        rows = await db.fetch(
            """
            select c.table_name
            from information_schema.columns c
            join information_schema.tables t using (table_schema, table_name)
            where c.table_schema = 'public' and c.column_name = 'patient_id' and t.table_type = 'BASE TABLE'
            """
        )
    finally:
        await db.close()
    assert {row["table_name"] for row in rows} == {*module.PERSONAL.rows, *module.PERSONAL.kept}
