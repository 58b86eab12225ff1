"""The console on a real broker and a real database: nothing lost, nothing twice, and rebuilt it is the same."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local import Addresses
from deploy.local.databases import migrations_of
from services.console import handlers
from services.console.app import create_app
from services.console.domain.today import SOON, Part, arrange
from services.console.domain.visits import CALLED_BEFORE, Visit
from services.console.settings import Settings
from services.console.store import reads, rebuilding, writes
from shared.clock import SteppedClock
from shared.database import connect, open_pool
from shared.datakeys import DATA_KEY, DataKeys
from shared.events import EVENTS
from shared.events.enrollment import CandidateWithdrawn
from shared.events.fulfillment import PackageReopened
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from shared.messaging.topics import create_topics
from shared.sealing import Sealer
from tests.console_process import ADA, installed
from tests.pharmacy import FAMILY_NAME, NOW, TODAY, Told, as_record, pharmacy, publish_all
from tests.running import SEALING_KEY, STAFF, at_rest, producing, running, until

Fresh = Callable[[str], str]


@asynccontextmanager
async def console(
    stack: Addresses, url: str, prefix: str, directory: Path, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """One console in this process; the client is a browser that does not follow redirects."""
    clock = SteppedClock(directory / "clock")
    clock.set(NOW)
    await create_topics(stack.kafka, 2, prefix=prefix)
    settings = Settings(
        database_url=url,
        kafka_bootstrap=stack.kafka,
        sealing_key=SecretStr(SEALING_KEY),
        topic_prefix=prefix,
        clock_file=clock.path,
        **more,
    )
    async with running(create_app(settings)) as client:
        client.headers["accept"] = "text/html"
        yield client


async def dump(url: str) -> dict[str, list[str]]:
    """Every row of the read model as text, in order, and what is sealed, opened; numbers of the stream are no part."""
    db = await connect(url, name="test")
    try:
        keys = DataKeys(Sealer(SEALING_KEY))
        sealed = await db.fetch(
            f"select patient_id, d.sealed, {DATA_KEY} from sealed_details d join fabric.data_keys k using (patient_id) "
            "order by patient_id"
        )
        return {
            "opened": [str(keys.open(row)) for row in sealed],
            **{
                table: [
                    row["row"]
                    for row in await db.fetch(
                        f"select (to_jsonb(t) - 'number' - 'sealed')::text as row from {table} t order by {key}"
                    )
                ]
                for table, key in rebuilding.MODEL.items()
            },
        }
    finally:
        await db.close()


# ---- the read model -------------------------------------------------------------------------------------------


async def test_the_model_built_anew_from_the_topics_equals_the_live_one_and_a_difference_is_seen(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    told, url, prefix = pharmacy(48), fresh_database("console"), f"{unique_name}."
    async with console(stack, url, prefix, tmp_path) as client:
        await publish_all(stack.kafka, told, prefix=prefix)
        await at_rest(client)
        live = await dump(url)
        assert len(live["stream"]) == len(told)
        assert {each.event.TYPE for each in told} == set(EVENTS)

        checked = (await client.post("/rebuild?check=true")).json()
        assert (checked["equal"], checked["events"]) == (True, len(told))
        assert (await client.post("/rebuild")).json()["equal"]
        assert await dump(url) == live

        db = await asyncpg.connect(url)
        await db.execute("update visits set fills = 99 where visit_id = (select min(visit_id) from visits)")
        await db.execute("delete from renewals where rx_id = (select min(rx_id) from renewals)")
        await db.close()
        found = (await client.post("/rebuild?check=true")).json()
        assert not found["equal"]
        assert found["tables"]["visits"]["changed"] == 1
        assert found["tables"]["renewals"]["added"] == 1
        assert await dump(url) != live, "a check changes nothing"
        await client.post("/rebuild")
        assert await dump(url) == live

        db = await asyncpg.connect(url)
        await db.execute("insert into stores values ('gone', 1, 'older than the topics', 'UTC', '{}', '{}')")
        await db.close()
        refused = (await client.post("/rebuild")).json()
        assert (refused["kept"], refused["tables"]["stores"]["missing"]) == (False, 1)
        assert (await client.post("/rebuild?force=true")).json()["kept"]
        assert await dump(url) == live

        more = pharmacy(3, "s2")
        await publish_all(stack.kafka, more, prefix=prefix)
        await at_rest(client)
        db = await asyncpg.connect(url)
        numbers = [row["number"] for row in await db.fetch("select number from stream order by at, event_id")]
        await db.close()
        assert len(numbers) == len(told) + len(more)


async def test_topics_taken_in_any_order_make_the_same_model(fresh_database: Fresh, tmp_path: Path) -> None:
    told = pharmacy(16)
    by_topic: dict[str, list[Record]] = {}
    for place, each in enumerate(told):
        by_topic.setdefault(each.event.TOPIC, []).append(as_taken(each, place))
    orders = random.Random(5).sample(list(permutations(by_topic)), 5)
    models = []
    for order in orders:
        url = fresh_database("console")
        async with intake(url, tmp_path) as taking:
            for topic in order:
                await taking.take(by_topic[topic])
            assert taking.tally.buried == 0
        models.append(await dump(url))
    assert all(model == models[0] for model in models)


async def test_a_store_counts_its_visits_as_if_each_were_looked_at_alone(
    fresh_database: Fresh, tmp_path: Path
) -> None:
    told, url = pharmacy(240), fresh_database("console")
    async with intake(url, tmp_path) as taking:
        await taking.take([as_taken(each, place) for place, each in enumerate(told)])
    db = await connect(url, name="reader")
    patients = {each.event.key for each in told if each.event.KEYED_BY == "patient"}
    visits = [visit for patient in patients for visit in await reads.visits_of(db, patient)]
    for on in (TODAY + timedelta(days=days) for days in range(-9, 6)):
        alone = Counter(
            visit.facts
            for visit in visits
            if visit.on
            and (visit.package == "ready" or 0 <= (visit.on - on).days <= (7 if is_open(visit) else 3))
        )
        groups = await reads.groups_around(db, "s1", on, soon=SOON, later=CALLED_BEFORE, first=1000)
        assert {group.facts: group.count for group in groups} == alone
        day = arrange(groups, on)
        for part in Part:
            turned = [each for skip in range(0, day.count(part), 7) for each in day.ids(part, 7, skip)]
            assert turned == day.ids(part, 1000), part
    await db.close()


async def test_a_package_verified_again_is_not_shown_ready_and_who_declined_is_no_candidate(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    told, prefix = pharmacy(48), f"{unique_name}."
    reopened = next(each.event for each in told if isinstance(each.event, PackageReopened))
    declined = next(each.event for each in told if isinstance(each.event, CandidateWithdrawn))
    async with console(stack, fresh_database("console"), prefix, tmp_path) as client:
        await publish_all(stack.kafka, told, prefix=prefix)
        await at_rest(client)
        day = (await client.get("/stores/s1")).text
        row = next(
            each for each in re.findall(r"<tr.*?</tr>", day, re.DOTALL) if reopened.patient_id[:8] in each
        )
        assert 'class="chip to_verify"' in row
        assert 'class="chip ready"' not in row
        assert "Pharmacist verification." in (await client.get(f"/patients/{reopened.patient_id}")).text

        page = (await client.get(f"/patients/{declined.patient_id}")).text
        assert "No longer a candidate since" in page
        assert "Would benefit from med sync" not in page
        assert declined.patient_id in (await client.get("/patients?status=no_candidate")).text
        assert declined.patient_id not in (await client.get("/patients?status=candidate")).text


def is_open(visit: Visit) -> bool:
    return visit.answer is None and visit.package is None


async def test_the_plan_beside_a_patient_is_filled_in_by_its_migration(
    fresh_database: Fresh, tmp_path: Path
) -> None:
    url = fresh_database("console")
    async with intake(url, tmp_path) as taking:
        await taking.take([as_taken(each, place) for place, each in enumerate(pharmacy(16))])
    written, (_, migrations) = await dump(url), migrations_of("console")
    up, down = next(migrations.glob("0003_*.sql")).read_text().split("-- migrate:down")
    db = await asyncpg.connect(url)
    await db.execute(down)
    assert await dump(url) != written
    await db.execute(up)
    await db.close()
    assert await dump(url) == written


@asynccontextmanager
async def intake(url: str, directory: Path) -> AsyncIterator[Intake]:
    """The console's handlers on a database, without a broker."""
    clock = SteppedClock(directory / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=4, name="test")
    try:
        sealer = Sealer(SEALING_KEY, key_id="1")
        yield Intake(
            Work(pool, service="console", clock=clock, sealer=sealer, bell=Bell(url, name="test")),
            handlers.on,
        )
    finally:
        await pool.close()


def as_taken(told: Told, offset: int) -> Record:
    sent: dict[str, Any] = as_record(told)
    return Record(told.event.TOPIC, 0, offset, sent["key"], tuple(sent["headers"]), sent["value"])


# ---- the stream -----------------------------------------------------------------------------------------------


async def read_while_two_write(url: str, directory: Path) -> tuple[set[int], set[int]]:
    """The numbers that a reader saw who went on from the highest it had seen, and all numbers there are."""
    records = [as_taken(each, place) for place, each in enumerate(pharmacy(60))]
    halves = (records[::2], records[1::2])
    async with intake(url, directory) as first, intake(url, directory) as second:

        async def write(taking: Intake, mine: Sequence[Record]) -> None:
            for start in range(0, len(mine), 7):
                await taking.take(mine[start : start + 7])

        writing = asyncio.gather(write(first, halves[0]), write(second, halves[1]))
        seen: set[int] = set()
        reader = await connect(url, name="reader")
        while not writing.done():
            seen |= {
                line.number
                for line in await reads.lines_after(reader, reads.Filter(), max(seen, default=0), 500)
            }
            await asyncio.sleep(0)
        await writing
        seen |= {
            line.number
            for line in await reads.lines_after(reader, reads.Filter(), max(seen, default=0), 5000)
        }
        every = {line.number for line in await reads.lines_after(reader, reads.Filter(), 0, 100_000)}
        await reader.close()
    return seen, every


async def test_a_reader_who_goes_on_from_the_highest_number_misses_nothing_while_two_write(
    fresh_database: Fresh, tmp_path: Path
) -> None:
    seen, every = await read_while_two_write(fresh_database("console"), tmp_path)
    assert seen == every


async def test_without_turns_the_same_reader_misses_lines(
    fresh_database: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: numbers drawn by two at once are not committed in order."""

    async def no_turn(_db: object) -> None:
        await asyncio.sleep(0.002)

    monkeypatch.setattr(writes, "take_turn", no_turn)
    seen, every = await read_while_two_write(fresh_database("console"), tmp_path)
    assert seen < every


@pytest.mark.timeout(300)
async def test_a_reader_whose_console_is_killed_resumes_at_another_and_gets_every_line_once(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    """Two processes, more than ten thousand events, one of them killed in the middle."""
    told = pharmacy(900)
    assert len(told) > 10_000
    async with installed(stack, fresh_database, unique_name, tmp_path, processes={"console": 2}) as here:
        publishing = asyncio.create_task(publish_all(stack.kafka, told, prefix=here.prefix))
        before = Reader()
        async with asyncio.timeout(60):
            await before.read(here.url(0), enough=len(told) // 4)
        here.services.kill("console", 0)
        after = Reader(before.place)
        await publishing
        async with asyncio.timeout(120):
            await after.read(here.url(1), enough=len(told) - before.lines)
        numbers = before.numbers + after.numbers
        assert len(numbers) == len(told)
        assert all(one < next_ for one, next_ in pairwise(numbers)), "in order, none twice"

        folded = Reader("1.0", whole=False)
        async with asyncio.timeout(60):
            await folded.read(here.url(1), enough=len(told))
        assert folded.lines == len(told)
        assert folded.items < len(told) / 4, "a burst is folded, and says how many lines it folded"

        away = Reader("99.1")
        async with asyncio.timeout(20):
            await away.read(here.url(1), enough=1)
        assert away.numbered_anew


class Reader:
    """Reads server-sent events as a browser does: keeps the last id, counts what the items say they hold."""

    def __init__(self, place: str = "1.0", *, whole: bool = True) -> None:
        self.place, self.whole = place, whole
        self.numbers: list[int] = []
        self.lines = self.items = 0
        self.numbered_anew = False

    async def read(self, url: str, *, enough: int) -> None:
        """Until so many lines came, or the connection ends."""
        headers = {"Last-Event-ID": self.place}
        query = {"whole": "true"} if self.whole else {}
        try:
            async with (
                httpx.AsyncClient(timeout=60, trust_env=False, headers=STAFF) as http,
                http.stream("GET", f"{url}/stream/events", params=query, headers=headers) as answer,
            ):
                message: dict[str, str] = {}
                async for text in answer.aiter_lines():
                    name, _, value = text.partition(": ")
                    if text:
                        message[name] = f"{message.get(name, '')}{value}\n" if name == "data" else value
                        continue
                    self._take(message)
                    message = {}
                    if self.lines >= enough or self.numbered_anew:
                        return
        except httpx.TransportError:
            return

    def _take(self, message: dict[str, str]) -> None:
        self.numbered_anew = message.get("event") == "anew"
        if "id" not in message:
            return
        self.place = message["id"]
        numbers = [int(part.split('"')[0]) for part in message["data"].split('data-number="')[1:]]
        counts = [int(part.split('"')[0]) for part in message["data"].split('data-rows="')[1:]]
        self.numbers += sorted(numbers)
        self.lines += sum(counts)
        self.items += len(counts)


# ---- names ----------------------------------------------------------------------------------------------------


async def test_a_name_is_shown_to_who_said_why_and_to_nobody_else(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    told, url, prefix = pharmacy(8), fresh_database("console"), f"{unique_name}."
    patient = told[-1].event.key
    page = f"/patients/{patient}"
    async with console(stack, url, prefix, tmp_path) as client:
        await publish_all(stack.kafka, told, prefix=prefix)
        await at_rest(client)
        del client.headers["medsync-actor"], client.headers["medsync-role"]
        assert FAMILY_NAME not in (await client.get(page, cookies=ADA)).text

        nobody = await client.post(f"{page}/reveal", data={"because": "a call"})
        assert (nobody.status_code, "Not signed in" in nobody.text) == (401, True)
        from_elsewhere = {"sec-fetch-site": "cross-site"}
        strange = await client.post(
            f"{page}/reveal", data={"because": "a call"}, cookies=ADA, headers=from_elsewhere
        )
        assert strange.status_code == 403
        assert (await client.post(f"{page}/reveal", data={"because": ""}, cookies=ADA)).status_code == 400

        shown = await client.post(f"{page}/reveal", data={"because": "she is on the phone"}, cookies=ADA)
        assert shown.status_code == 303
        assert FAMILY_NAME in (await client.get(page, cookies=ADA)).text
        bob = ADA | {"medsync-actor": "bob"}
        as_bob = (await client.get(page, cookies=bob)).text
        assert FAMILY_NAME not in as_bob
        assert "ada (pharmacist)" in as_bob, "everyone can see who looked"
        assert "she is on the phone" not in as_bob, "why is for auditors"

        db = await asyncpg.connect(url)
        kept = [
            table
            for table in await tables(db)
            if FAMILY_NAME in str(await db.fetch(f"select * from {table}"))
        ]
        sealed = [bytes(row["sealed"]) for row in await db.fetch("select sealed from sealed_details")]
        await db.execute("update actions set until = clock_timestamp()")
        await db.close()
        assert not kept
        assert not any(FAMILY_NAME.encode() in each for each in sealed)
        assert FAMILY_NAME not in (await client.get(page, cookies=ADA)).text, "hidden again after a while"


async def tables(db: asyncpg.Connection) -> list[str]:
    rows = await db.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'fabric')"
    )
    return [row["name"] for row in rows]


# ---- dead letters ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_a_dead_letter_of_another_service_is_redriven_and_skipped_from_the_page(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    told = pharmacy(2)
    plan = next(each for each in told if each.event.TYPE.endswith("plan-computed.v1"))
    poison: dict[str, Any] = as_record(plan) | {"value": b'{"patient_id": "p"}'}
    more = as_record(replace(plan, event_id=uuid4())) | {"value": poison["value"]}
    processes = {"fulfillment": 1, "console": 1}
    async with installed(stack, fresh_database, unique_name, tmp_path, processes=processes) as here:
        async with producing(stack.kafka) as producer:
            await producer.send_and_wait(f"{here.prefix}{plan.event.TOPIC}", **poison)
            await producer.send_and_wait(f"{here.prefix}{plan.event.TOPIC}", **more)
        headers = {"accept": "text/html"}
        async with httpx.AsyncClient(
            base_url=here.url(), cookies=ADA | {"medsync-role": "operator"}, headers=headers, timeout=30
        ) as browser:

            async def health() -> str:
                return (await browser.get("/health")).text

            async def buried() -> bool:
                page = await health()
                return (
                    "1 event of theirs waits"
                    in page.partition('id="fulfillment-1"')[2].partition("</article>")[0]
                )

            await until(
                buried, "the page shows the dead letter of fulfillment, and one behind it", seconds=60
            )
            assert "schema" in await health()
            letter = "/health/fulfillment/deadletters/1"
            for way_out in ("redrive", "skip"):
                assert f'action="{letter}/{way_out}"' in await health(), "a form, without script"
            again = await browser.post(f"{letter}/redrive", data={"because": "mended?"})
            assert again.status_code == 303
            assert "failed again: schema" in await health()
            assert (
                await browser.post(f"{letter}/skip", data={"because": "a test's poison"})
            ).status_code == 303
            page = await health()
            assert 'id="fulfillment-1"' not in page
            assert "a test&#39;s poison" in page, "who, what and why are kept"
            assert "done; the next behind it failed: schema" in page, "and what came of it"
            assert 'id="fulfillment-2"' in page
            gone = await browser.post(f"{letter}/skip", data={"because": "once more"})
            assert (gone.status_code, "No such dead letter" in gone.text) == (404, True)
            unknown = await browser.post("/health/planner/deadletters/1/skip", data={"because": "unknown"})
            assert unknown.status_code == 404
        async with httpx.AsyncClient(base_url=here.url(0, "fulfillment"), headers=STAFF) as service:
            closed = (await service.get("/ops/deadletters?status=skipped")).json()["items"]
        assert [(each["closed_by"], each["closed_because"]) for each in closed] == [
            ("ada", "a test's poison")
        ]


# ---- pages ----------------------------------------------------------------------------------------------------


async def test_a_patient_whose_event_cannot_be_taken_in_is_shown_as_perhaps_behind(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    told, prefix = pharmacy(8), f"{unique_name}."
    plan = next(each for each in told if each.event.TYPE.endswith("plan-computed.v1"))
    patient = plan.event.key
    poison: dict[str, Any] = as_record(replace(plan, event_id=uuid4())) | {"value": b'{"patient_id": "p"}'}
    async with console(stack, fresh_database("console"), prefix, tmp_path) as client:
        await publish_all(stack.kafka, told, prefix=prefix)
        await at_rest(client)

        async def says_so() -> bool:
            return "this page may be out of date" in (await client.get(f"/patients/{patient}")).text

        assert not await says_so()
        for each in {each.event.key for each in told if each.event.KEYED_BY == "patient"}:
            assert (await client.get(f"/patients/{each}")).status_code == 200, "whichever way a life goes"
        async with producing(stack.kafka) as producer:
            await producer.send_and_wait(f"{prefix}{plan.event.TOPIC}", **poison)
        await until(says_so, "the page says that it may be behind")
        letter = (await client.get("/ops/deadletters")).json()["items"][0]["id"]
        skipped = await client.post(f"/health/console/deadletters/{letter}/skip", data={"because": "a test"})
        assert skipped.status_code == 303
        assert not await says_so()

        assert (await client.get(f"/patients/{patient}?revision=99")).status_code == 404
        of_patient = (await client.get(f"/stream?patient={patient[:6]}")).text
        assert f'value="{patient}"' in of_patient, "the first characters are enough"
        assert (await client.get("/stream?patient=0")).text.count("No event matches") == 1, "they fit several"


async def test_a_stores_day_shows_what_its_shelf_has_to_hold(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    prefix = f"{unique_name}."
    async with console(stack, fresh_database("console"), prefix, tmp_path) as client:
        await publish_all(stack.kafka, pharmacy(1), prefix=prefix)
        await at_rest(client)
        today = (await client.get("/stores/s1")).text
        assert "Needed on hand" in today
        cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", today.partition('id="demand"')[2])
        assert cells[4:8] == ["Lisinopril 10 MG Oral Tablet", "60", "30.5", "2"]
        tomorrow = (await client.get(f"/stores/s1?on={TODAY + timedelta(days=1)}")).text
        assert "Needed on hand" not in tomorrow


async def test_pages_say_what_is_urgent_and_what_a_fill_depends_on(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    """The ninth patient's visit cannot wait, the tenth's has a conditional fill, one of the fifth's was left out."""
    told, prefix = pharmacy(10), f"{unique_name}."
    async with console(stack, fresh_database("console"), prefix, tmp_path) as client:
        await publish_all(stack.kafka, told, prefix=prefix)
        await at_rest(client)

        async def visits_of(number: int) -> str:
            (patient_id,) = {each.event.key for each in told if each.event.key.startswith(f"{number:03x}")}
            page = (await client.get(f"/patients/{patient_id}")).text
            return page.partition('id="visits"')[2].partition('id="story"')[0]

        assert ">urgent</span>" in await visits_of(8)
        assert ">urgent</span>" not in await visits_of(9)
        depends = await visits_of(9)
        assert "1 fill only if the prescriber renews it by Fri 10/9." in depends
        assert ">to verify</span>" in depends, "nothing waits for what may not come"
        assert "Not filled: the prescriber did not renew it by Fri 10/9." in await visits_of(4)
        to_call = (await client.get("/stores/s1?list=to_call")).text
        assert re.findall(r"confirm the synchronized visit( <span[^>]*>urgent)?", to_call)[0], (
            "urgent comes first"
        )


async def test_pages_of_an_empty_pharmacy_and_of_what_is_not_there(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    async with console(stack, fresh_database("console"), f"{unique_name}.", tmp_path) as client:
        for path, words in (
            ("/", "Nothing has happened yet"),
            ("/stream", "No events yet"),
            ("/patients", "No patients yet"),
            ("/health", "its address is not given"),
        ):
            answer = await client.get(path)
            assert (answer.status_code, words in answer.text) == (200, True), path
        for path in (f"/patients/{uuid4().hex}", "/stores/none", "/nothing"):
            answer = await client.get(path)
            assert (answer.status_code, "<h1>" in answer.text) == (404, True), path
        for path in (
            "/stores/s1?on=9999-12-31",
            "/stores/s1?list=none",
            "/stores/%00",
            "/patients/%00",
            "/patients?q=%00",
            "/stream?first=abc",
            "/stream?before=99999999999999999999",
        ):
            answer = await client.get(path)
            assert (answer.status_code, "Not understood" in answer.text) == (400, True), path
        elsewhere = await client.post(
            "/acting-as", data={"actor": "ada", "role": "clerk", "to": "//evil.example"}
        )
        assert elsewhere.headers["location"] == "/"
