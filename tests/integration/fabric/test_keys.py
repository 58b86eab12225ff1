"""Keys are changed while everybody works: nothing is lost, nobody waits, and an old key can go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from deploy.local.databases import migrations_of
from shared import datakeys
from shared.database import connect
from shared.datakeys import DATA_KEY, DataKeys
from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from shared.resealing import reseal
from shared.sealing import Ring, SealBroken, Sealer
from tests.integration.fabric.given import Ledger
from tests.integration.fabric.test_sealing import new_id, record
from tests.running import at_rest


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    file = tmp_path / "ring.json"
    Ring().rotated(datetime.now(UTC), timedelta()).write(file)
    return file


def rotate(file: Path, after: float) -> None:
    Ring.read(file).rotated(datetime.now(UTC), timedelta(seconds=after)).write(file)


async def change(client: httpx.AsyncClient, patient: str, revision: int) -> None:
    details = ContactDetailsChanged(patient_id=patient, revision=revision, family_name=f"Name{revision}")
    answer = await client.post(f"/patients/{patient}/contact", json=details.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text


async def test_a_rotation_under_load_parks_nobody_and_loses_nothing(ledger: Ledger, ring: Path) -> None:
    """Each process has a copy of the file of its own; the second one's comes late."""
    copy = ring.with_name("copy.json")
    Ring.read(ring).write(copy)
    sent = 0

    async def load(client: httpx.AsyncClient, name: str, until_: float) -> None:
        nonlocal sent
        while time.monotonic() < until_:
            sent += 1
            await change(client, f"{name}{sent % 20}", sent)

    async with (
        ledger.process(slot=0, sealing_keys_file=ring, sealing_key="") as first,
        ledger.process(slot=1, sealing_keys_file=copy, sealing_key="") as second,
    ):
        await asyncio.gather(first.ready(), second.ready())
        ends = time.monotonic() + 14
        working = [
            asyncio.create_task(load(each.client, name, ends)) for each, name in ((first, "a"), (second, "b"))
        ]
        rotate(ring, after=9)
        await asyncio.sleep(6.5)  # the first one knows the new key by now
        Ring.read(ring).write(copy)
        await asyncio.gather(*working)
        await at_rest(first.client, second.client)
    assert await ledger.letters() == []
    assert await ledger.count("fabric.parked") == 0
    effects = await ledger.sql("select revision, note from effects where kind = 'contact'")
    assert sorted(row["revision"] for row in effects) == list(range(1, sent + 1))
    assert all(row["note"] == f"Name{row['revision']}" for row in effects)
    used = {dict(one.headers)["ce_sealingkeyid"] for one in await ledger.topic(CONTACTS_TOPIC)}
    assert used == {b"1", b"2"}


async def test_what_waits_for_a_person_is_sealed_anew_and_opens_without_the_old_key(
    ledger: Ledger, ring: Path
) -> None:
    parked = ContactDetailsChanged(patient_id="p", revision=1, family_name="Canarius")
    bound_to = f"{parked.TYPE}/p"
    with_old = Sealer(file=ring).seal(parked.model_dump_json().encode(), bound_to=bound_to)
    headers = {
        "ce_type": parked.TYPE.encode(),
        "ce_subject": b"p",
        "ce_source": b"medsync/enrollment",
        "content-type": b"application/octet-stream",
    }
    flawed = record(b"other", headers | {"ce_id": new_id(1), "ce_sealingkeyid": b"1"}, with_old.payload)
    garbage = record(b"none", headers | {"ce_id": new_id(2), "ce_sealingkeyid": b"gone"}, b"?")
    rotate(ring, after=0)
    async with ledger.running(sealing_keys_file=ring, sealing_key="") as client:
        await ledger.publish_raw([(CONTACTS_TOPIC, flawed), (CONTACTS_TOPIC, garbage)])
        await ledger.until_letters(2)
        told = (await client.get("/ops/keys")).json()
        assert (told["seals"], told["opens"]) == ("2", ["1", "2"])
        assert told["kept"]["fabric.dead_letters"] == {"1": 1, "gone": 1}
        resealed = unopened = 0
        after: str | None = ""
        while after is not None:
            turn = (await client.post("/ops/keys/reseal", json={"after": after})).json()
            resealed, unopened, after = resealed + turn["resealed"], unopened + turn["unopened"], turn["next"]
        assert (resealed, unopened) == (1, 1)
        told = (await client.get("/ops/keys")).json()
        assert told["kept"]["fabric.dead_letters"] == {"2": 1, "gone": 1}
        for nowhere in ("nowhere:", "fabric.dead_letters:x", f"fabric.dead_letters:{2**70}"):
            assert (await client.post("/ops/keys/reseal", json={"after": nowhere})).status_code == 422
    Ring.read(ring).without("1").write(ring)
    letter = next(each for each in await ledger.letters() if each["key"] == "patient:other")
    assert b"Canarius" in Sealer(file=ring).open(letter["payload"], key_id="2", bound_to=bound_to)


async def test_the_keys_of_patients_are_sealed_anew(fresh_database: Callable[..., str], ring: Path) -> None:
    """And nothing else has to be: what they seal opens without the old key of the ring, and is found as before."""
    url = await asyncio.to_thread(fresh_database, "enrollment", *migrations_of("enrollment"))
    db: asyncpg.Connection = await connect(url, name="test")
    try:
        keys = DataKeys(Sealer(file=ring))
        ids = sorted(str(uuid4()) for _ in range(450))
        sealed = await keys.seal(db, {each: {"name": each} for each in ids})
        found_by = (await keys.index(db)).of("name", "Canarius")
        rotate(ring, after=0)
        done, after = 0, ""
        while True:
            async with db.transaction():
                turn = await reseal(db, Sealer(file=ring), datakeys.KEPT, after)
            done += turn.resealed
            if turn.next is None:
                break
            after = turn.next
        assert done == len(ids) + 1
        assert [await kept.by_key(db) for kept in datakeys.KEPT] == [{"2": len(ids)}, {"2": 1}]
        Ring.read(ring).without("1").write(ring)
        new = DataKeys(Sealer(file=ring))
        rows = await db.fetch(f"select patient_id, {DATA_KEY} from fabric.data_keys k")
        assert all(
            new.open({**row, "sealed": sealed[row["patient_id"]]}) == {"name": row["patient_id"]}
            for row in rows
        )
        assert (await new.index(db)).of("name", "Canarius") == found_by
    finally:
        await db.close()


async def test_a_service_that_opens_something_does_not_start_without_a_key(ledger: Ledger) -> None:
    with pytest.raises(SealBroken, match="MEDSYNC_SEALING_KEYS_FILE"):
        async with ledger.running(sealing_key=""):
            pass
