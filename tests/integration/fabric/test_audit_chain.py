"""The audit's chain on the real fabric: nothing is left out of it, and whatever is changed in it is found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import asyncpg
import httpx
import pytest

from shared.audit import chain, store
from shared.audit.asked import Entry
from shared.audit.chain import Verified, Verifier
from shared.audit.chaining import A_TURN, Chainer
from shared.audit.model import AuditLink
from shared.clock import SystemClock
from shared.database import open_pool
from shared.events.audit import AuditHead
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.heads import Heads, published
from shared.resealing import reseal
from shared.sealing import Ring, Sealer
from tests.integration.fabric.given import Ledger
from tests.running import SEALING_KEY, until

AUDITOR = {"Medsync-Actor": "auditor-1", "Medsync-Role": "auditor"}
SERVICE = "ledger"


# ---- the job --------------------------------------------------------------------------------------------------


@pytest.fixture
async def work(ledger: Ledger) -> AsyncIterator[Work]:
    pool = await open_pool(ledger.database_url, size=8, name="test")
    yield Work(
        pool,
        service=SERVICE,
        clock=SystemClock(),
        sealer=Sealer(SEALING_KEY),
        bell=Bell(ledger.database_url, name="test"),
    )
    await pool.close()


@pytest.fixture
def chainer(work: Work, ledger: Ledger) -> Chainer:
    return Chainer(work, Heads(ledger.bootstrap, prefix=ledger.prefix, client="test"))


def entry(actor: str, **more: object) -> Entry:
    return Entry("GET /patients/{patient_id}", actor, "person", "clerk", **more)  # type: ignore[arg-type]


async def look_through(
    work: Work, heads: list[AuditHead] | None, *rings: Sealer, db: asyncpg.Connection | None = None
) -> Verified:
    """The verdict on a whole database."""
    if db is None:
        async with work.read() as db:
            return await look_through(work, heads, *rings, db=db)
    verifier = Verifier(work.service, rings or [Sealer(SEALING_KEY)], heads)
    verifier.take(await store.links(db, work.sealer, 0, 100_000))
    return verifier.verdict(await store.strays(db, 1000))


async def chained(work: Work) -> list[str]:
    async with work.read() as db:
        return [link.row.actor for link in await store.links(db, work.sealer, 0, 100_000) if link.row]


async def test_what_commits_late_is_chained_late_and_not_left_out(work: Work, chainer: Chainer) -> None:
    async with work.connection() as slow:
        late = slow.transaction()
        await late.start()
        await store.append(slow, work.sealer, [entry("began-first")])
        await asyncio.gather(*(work.audit.write(entry(f"quick-{n}")) for n in range(3)))
        await chainer.turn()
        assert sorted(await chained(work)) == ["quick-0", "quick-1", "quick-2"]
        await late.commit()
    await chainer.turn()
    assert (await chained(work))[-1] == "began-first"
    found = await look_through(work, [chainer.head] if chainer.head else None)
    assert (found.wrong, found.count) == ([], 4)


async def test_many_rows_are_chained_by_turns(work: Work, chainer: Chainer) -> None:
    async with work.connection() as db:
        await store.append(db, work.sealer, [entry(f"a{n}") for n in range(2 * A_TURN + 7)])
    turns = 1
    while await chainer.turn():
        turns += 1
        async with work.connection() as db:
            await store.append(db, work.sealer, [entry("meanwhile")])
    assert turns == 3
    assert len(await chained(work)) == 2 * A_TURN + 9
    assert (await look_through(work, None)).wrong == []


async def test_two_that_chain_at_once_put_each_row_in_one_place(work: Work, chainer: Chainer) -> None:
    other = Chainer(work, Heads("nowhere", prefix="", client="test"))

    async def write(name: str) -> None:
        for n in range(60):
            await work.audit.write(entry(f"{name}-{n}"))

    async def chain_on(which: Chainer, ends: asyncio.Event) -> None:
        while not ends.is_set():
            await which.turn()
            await asyncio.sleep(0)

    ends = asyncio.Event()
    chaining = [asyncio.create_task(chain_on(each, ends)) for each in (chainer, other)]
    await asyncio.gather(*(write(name) for name in "abcd"))
    ends.set()
    await asyncio.gather(*chaining)
    await chainer.turn()
    found = await look_through(work, None)
    assert (found.wrong, found.count) == ([], 240)
    assert chainer.head and other.head, "both had their turns"


async def test_a_database_that_was_moved_to_another_cluster_is_chained_on(
    work: Work, chainer: Chainer
) -> None:
    """Its snapshots mean nothing there: one that is ahead of every transaction would pass all rows over."""
    await work.audit.write(entry("before"))
    await chainer.turn()
    async with work.connection() as db:
        await db.execute("update fabric.audit_chain set system = 1, upto = '9999999999:9999999999:'")
    await work.audit.write(entry("after"))
    await chainer.turn()
    await work.audit.write(entry("later"))
    await chainer.turn()
    assert await chained(work) == ["before", "after", f"medsync-{SERVICE}", "later"]


async def test_an_old_key_can_go_once_another_seals(ledger: Ledger, work: Work, tmp_path: Path) -> None:
    file = tmp_path / "ring.json"
    Ring().rotated(datetime.now(UTC), timedelta()).write(file)
    work.sealer = Sealer(file=file)
    chainer = Chainer(work, Heads(ledger.bootstrap, prefix=ledger.prefix, client="test"))
    for _ in range(3):
        await work.audit.write(entry("a"))
        await chainer.turn()
    Ring.read(file).rotated(datetime.now(UTC), timedelta()).write(file)
    work.sealer = Sealer(file=file)
    await chainer.turn()  # nobody asked for anything meanwhile
    Ring.read(file).without("1").write(file)
    found = await look_through(work, [chainer.head] if chainer.head else None, Sealer(file=file))
    assert (found.wrong, found.unchecked, found.count) == ([], [], 4)
    stranger = Ring().rotated(datetime.now(UTC), timedelta())
    stranger = stranger.model_copy(update={"keys": (stranger.keys[0].model_copy(update={"id": "2"}),)})
    stranger.write(file)
    found = await look_through(work, None, Sealer(file=file))
    assert [each.position for each in found.wrong] == [1]


async def test_a_command_and_its_row_are_both_there_or_neither(ledger: Ledger) -> None:
    async with ledger.running() as client:
        done = await client.post("/patients/p1/things", json={"revision": 1})
        failed = await client.post("/patients/p2/things", json={"revision": 1, "fail_with": "secret"})
        assert (done.status_code, failed.status_code) == (200, 500)
        rows = await ledger.sql("select patients, outcome, correlation from fabric.audit")
        (sent,) = await ledger.sql("select headers ->> 'ce_correlationid' as id from fabric.outbox")
    assert [tuple(row) for row in rows] == [(["p1"], "done", sent["id"])]


async def test_a_killed_process_leaves_no_command_without_its_row(ledger: Ledger) -> None:
    for point in ("command.decided", "unit.outbox_written", "unit.committed"):
        async with ledger.process(crash_at=point) as process:
            await process.ready()
            with pytest.raises(httpx.HTTPError):
                await process.client.post("/patients/p1/things", json={"revision": 1})
    commands = await ledger.sql("select count(*) from effects where kind = 'command'")
    rows = await ledger.sql("select count(*) from fabric.audit")
    assert commands == rows == [(1,)]


async def test_a_running_service_chains_within_seconds_and_publishes_its_head(ledger: Ledger) -> None:
    async with ledger.process(slot=0) as first, ledger.process(slot=1) as second:
        await asyncio.gather(first.ready(), second.ready())
        for n in range(40):
            client = (first.client, second.client)[n % 2]
            assert (await client.post(f"/patients/p{n}/things", json={"revision": n})).status_code == 200

        async def is_published() -> list[AuditHead]:
            heads = await published(ledger.bootstrap, prefix=ledger.prefix)
            return heads if max((head.count for head in heads), default=0) >= 40 else []

        heads = await until(is_published, "the head says that 40 rows are chained", seconds=15)
        answer = await first.client.get("/ops/audit/chain", headers=AUDITOR)
        metrics = (await second.client.get("/metrics")).text
    verifier = Verifier(SERVICE, [Sealer(SEALING_KEY)], heads)
    verifier.take([AuditLink.model_validate(each) for each in answer.json()["items"]])
    found = verifier.verdict()
    assert (found.wrong, found.unchecked) == ([], [])
    assert {head.key for head in heads} == {f"{SERVICE}.1.{heads[0].sealed_at:%Y-%m-%d}"}
    assert "medsync_audit_unchained_rows 0.0" in metrics or "medsync_audit_unchained_rows 1.0" in metrics


async def test_rows_that_nobody_chains_are_warned_of(ledger: Ledger) -> None:
    """Whoever holds the lock of the chain and does not chain: a process that hangs."""
    async with ledger.running() as client:
        holder = await asyncpg.connect(ledger.database_url)
        await holder.execute("select pg_advisory_lock(hashtext('fabric.audit_chain'))")
        await ledger.sql(
            """
            insert into fabric.audit (at, actor, kind, role, patients, route, outcome, times)
            values (now() - interval '2 minutes', 'a', 'person', 'clerk', '{}', 'GET /', 'done', 1)
            """
        )
        told = (await client.get("/ops/ready")).json()["warnings"]
        assert [each["code"] for each in told] == ["audit_unchained"]
        await holder.close()

        async def is_well() -> bool:
            return (await client.get("/ops/ready")).json()["warnings"] == []

        await until(is_well, "it is chained")


# ---- what is changed is found -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copy:
    """A chain of several turns in a database that anybody may change."""

    db: asyncpg.Connection
    work: Work
    heads: list[AuditHead]
    seals: list[int]
    reasons: list[int]  # positions with a reason
    count: int

    async def verdict(self) -> Verified:
        return await look_through(self.work, self.heads, db=self.db)

    async def row_at(self, position: int) -> int:
        return await self.db.fetchval("select row_id from fabric.audit_chain where position = $1", position)


@pytest.fixture
async def copy(work: Work, chainer: Chainer, ledger: Ledger) -> AsyncIterator[Copy]:
    dice, heads, seals, written = Random(7), [], [], 0
    for _ in range(10):
        for _ in range(dice.randint(2, 8)):
            written += 1
            because = f"because {written}" if dice.random() < 0.3 else None
            await work.audit.write(entry(f"actor-{written}", patients=(f"p{written}",), because=because))
        await chainer.turn()
        assert chainer.head
        heads.append(chainer.head)
        seals.append(written)
    await work.audit.write(entry("waits"))
    db = await asyncpg.connect(ledger.database_url)
    await db.execute("alter table fabric.audit alter column id drop identity")
    reasons = await db.fetch(
        """
        select position
        from fabric.audit_chain c
        join fabric.audit a on a.id = c.row_id
        where reason is not null
        """
    )
    yield Copy(db, work, heads, seals, [row["position"] for row in reasons], written)
    await db.close()


COLUMNS = {
    "id": "9000 + id",
    "xid": "(xid::text::bigint + 1)::text::xid8",
    "at": "at + interval '1 microsecond'",
    "actor": "actor || 'x'",
    "kind": "'service'",
    "role": "'pharmacist'",
    "store_id": "'s9'",
    "patients": "patients || array['p0']",
    "route": "route || '/'",
    "outcome": "'not_found'",
    "reason": r"'\x00'",
    "trace": "'0'",
    "correlation": "'0'",
    "times": "times + 1",
}

SEALS = {
    "sealed_at": "sealed_at - interval '1 second'",
    "key_id": "'7'",
    "seal": "sha256(seal)",
    "upto": "'3:3:'",
    "system": "system + 1",
    "floor": "floor + 1",
}


async def change_a_column(copy: Copy, dice: Random) -> tuple[int, int]:
    at, column = dice.randint(1, copy.count), dice.choice(sorted(COLUMNS))
    await copy.db.execute(
        f"update fabric.audit set {column} = {COLUMNS[column]} where id = $1", await copy.row_at(at)
    )
    return at, at


async def change_a_reason(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.choice(copy.reasons)
    await copy.db.execute(
        """
        update fabric.audit_reasons
        set sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1)
        where digest = (select reason from fabric.audit where id = $1)
        """,
        await copy.row_at(at),
    )
    return at, at


async def change_a_hash(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("update fabric.audit_chain set hash = sha256(hash) where position = $1", at)
    return at, at


async def change_a_seal(copy: Copy, dice: Random) -> tuple[int, int]:
    at, column = dice.choice(copy.seals), dice.choice(sorted(SEALS))
    await copy.db.execute(f"update fabric.audit_chain set {column} = {SEALS[column]} where position = $1", at)
    return max([0, *(seal for seal in copy.seals if seal < at)]) + 1, at


async def delete_a_row(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("delete from fabric.audit where id = $1", await copy.row_at(at))
    return at, at


async def delete_a_link(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("delete from fabric.audit_chain where position = $1", at)
    return at, at


async def delete_both(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("delete from fabric.audit where id = $1", await copy.row_at(at))
    await copy.db.execute("delete from fabric.audit_chain where position = $1", at)
    return at, at


async def insert_an_older_row(copy: Copy, dice: Random) -> tuple[int, int]:
    await _insert(copy, dice, "at - interval '1 hour'", "pg_current_xact_id()")
    return 0, 0


async def insert_as_if_chained(copy: Copy, dice: Random) -> tuple[int, int]:
    await _insert(copy, dice, "clock_timestamp()", "xid")
    return 0, 0


async def _insert(copy: Copy, dice: Random, at: str, xid: str) -> None:
    await copy.db.execute(
        f"""
        insert into fabric.audit (id, xid, at, actor, kind, role, patients, route, outcome, times)
        select 9999, {xid}, {at}, 'forged', kind, role, patients, route, outcome, times
        from fabric.audit
        where id = $1
        """,
        await copy.row_at(dice.randint(1, copy.count)),
    )


async def swap_rows(copy: Copy, dice: Random) -> tuple[int, int]:
    first, second = sorted(dice.sample(range(1, copy.count + 1), 2))
    ids = [await copy.row_at(first), await copy.row_at(second)]
    for old, new in ((ids[0], 9999), (ids[1], ids[0]), (9999, ids[1])):
        await copy.db.execute("update fabric.audit set id = $2 where id = $1", old, new)
    return first, first


async def swap_links(copy: Copy, dice: Random) -> tuple[int, int]:
    first, second = sorted(dice.sample(range(1, copy.count + 1), 2))
    for old, new in ((first, 9999), (second, first), (9999, second)):
        await copy.db.execute("update fabric.audit_chain set position = $2 where position = $1", old, new)
    return first, first


async def chain_anew(copy: Copy, dice: Random) -> tuple[int, int]:
    """Change a row and make every hash from there on right again; the seals cannot be made."""
    at = dice.randint(1, copy.count)
    await copy.db.execute("update fabric.audit set actor = 'nobody' where id = $1", await copy.row_at(at))
    links = await store.links(copy.db, copy.work.sealer, 0, 1000)
    hash_ = chain.first_hash(SERVICE)
    for link in links:
        assert link.row
        hash_ = chain.next_hash(hash_, link.row)
        await copy.db.execute(
            "update fabric.audit_chain set hash = $2 where position = $1", link.position, bytes.fromhex(hash_)
        )
    forged = dice.choice(["", "seal = sha256(seal)", "seal = sha256(seal), key_id = '7'"])
    if forged:
        await copy.db.execute(
            f"update fabric.audit_chain set {forged} where position >= $1 and seal is not null", at
        )
    elif dice.random() < 0.5:
        await copy.db.execute(
            """
            update fabric.audit_chain
            set sealed_at = null, key_id = null, seal = null, upto = null, system = null, floor = null
            where position >= $1
            """,
            at,
        )
    return at, at


async def cut_rows(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("delete from fabric.audit where id >= $1", await copy.row_at(at))
    return at, at


async def cut_links(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.randint(1, copy.count)
    await copy.db.execute("delete from fabric.audit_chain where position >= $1", at)
    return at, at


async def cut_both(copy: Copy, dice: Random) -> tuple[int, int]:
    at = dice.choice([dice.randint(1, copy.count), *(seal + 1 for seal in copy.seals[:-1])])
    await copy.db.execute("delete from fabric.audit where id >= $1", await copy.row_at(at))
    await copy.db.execute("delete from fabric.audit_chain where position >= $1", at)
    return at, at


TAMPERINGS = [
    change_a_column,
    change_a_column,
    change_a_column,
    change_a_reason,
    change_a_hash,
    change_a_seal,
    delete_a_row,
    delete_a_link,
    delete_both,
    insert_an_older_row,
    insert_as_if_chained,
    swap_rows,
    swap_links,
    chain_anew,
    chain_anew,
    cut_rows,
    cut_links,
    cut_both,
]

BY_RANGE = (change_a_seal, chain_anew, cut_links, cut_both)
"""What is found by the seal behind it: up to where the seal before it is."""


async def test_five_hundred_tamperings_are_all_found_and_located(copy: Copy) -> None:
    assert (await copy.verdict()).wrong == []
    dice, missed = Random(20261201), []
    for number in range(500):
        tamper = dice.choice(TAMPERINGS)
        change = copy.db.transaction()
        await change.start()
        low, high = await tamper(copy, dice)
        found = await copy.verdict()
        await change.rollback()
        if not found.wrong:
            missed.append((number, tamper.__name__, low, "not found"))
            continue
        first = found.wrong[0]
        if low == 0:
            if first.row_id != 9999:
                missed.append((number, tamper.__name__, first))
            continue
        assert first.position is not None
        last = (first.up_to or first.position) if tamper in BY_RANGE else first.position
        if not (first.position <= high and low <= last):
            missed.append((number, tamper.__name__, (low, high), str(first)))
    print(*missed, sep="\n")
    assert missed == []
    assert (await copy.verdict()).wrong == []


async def test_without_what_was_published_a_cut_tail_is_said_to_be_unchecked(copy: Copy) -> None:
    async with copy.db.transaction():
        await copy.db.execute(
            "delete from fabric.audit where id >= $1", await copy.row_at(copy.seals[-2] + 1)
        )
        await copy.db.execute("delete from fabric.audit_chain where position > $1", copy.seals[-2])
        found = await look_through(copy.work, None, db=copy.db)
    assert found.wrong == []
    assert any("cut off" in each for each in found.unchecked)


async def test_a_reason_can_be_forgotten_and_its_row_stands(copy: Copy) -> None:
    await copy.db.execute("delete from fabric.audit_reasons")
    found = await copy.verdict()
    assert found.wrong == []
    assert f"{len(copy.reasons)} reasons are forgotten" in found.remarks[-1]


async def test_what_a_restore_lost_is_a_remark_once_another_life_has_begun(copy: Copy) -> None:
    end = copy.seals[-3]
    await copy.db.execute("delete from fabric.audit where id > $1", await copy.row_at(end))
    await copy.db.execute("delete from fabric.audit_chain where position > $1", end)
    links = await store.links(copy.db, copy.work.sealer, 0, 1000)
    for epoch, cut in ((1, [end + 1]), (2, [])):
        verifier = Verifier(SERVICE, [Sealer(SEALING_KEY)], copy.heads)
        verifier.take(links)
        found = verifier.verdict(epoch=epoch)
        assert sorted({each.position for each in found.wrong}) == cut
    assert sum("lost when the database was put back" in each for each in found.remarks) == 2


async def test_reasons_are_sealed_anew_and_the_chain_stands(
    work: Work, chainer: Chainer, tmp_path: Path
) -> None:
    file = tmp_path / "ring.json"
    Ring().rotated(datetime.now(UTC), timedelta()).write(file)
    async with work.connection() as db:
        entries = [entry(f"a{n}", because=f"why {n}") for n in range(450)]
        await store.append(db, Sealer(file=file), entries)
        Ring.read(file).rotated(datetime.now(UTC), timedelta()).write(file)
        after: str | None = ""
        while after is not None:
            assert len(after) <= 80, "the route takes no longer one"
            after = (await reseal(db, Sealer(file=file), [store.KEPT_REASONS], after)).next
        assert await store.KEPT_REASONS.by_key(db) == {"2": 450}
    Ring.read(file).without("1").write(file)
    work.sealer = Sealer(file=file)
    await chainer.turn()
    assert (await look_through(work, None, Sealer(file=file))).wrong == []
    async with work.read() as db:
        (newest,) = await store.found(db, work.sealer, store.Filter(actor="a449"), None, 10)
    assert newest["because"] == "why 449"


async def test_a_forged_head_is_passed_over(copy: Copy) -> None:
    forged = copy.heads[-1].model_copy(update={"count": 9999})
    copy.heads.append(forged)
    found = await copy.verdict()
    assert found.wrong == []
    assert any("not signed by this ring" in each for each in found.remarks)


def test_a_row_is_hashed_as_documented() -> None:
    """docs/reference/audit.md says it so that others can verify."""
    row = {
        "id": 1,
        "xid": "7",
        "at": "2026-12-01T00:00:00+00:00",
        "actor": "a",
        "kind": "person",
        "role": "clerk",
        "store_id": None,
        "patients": ["p"],
        "route": "GET /",
        "outcome": "done",
        "reason": None,
        "trace": None,
        "correlation": None,
        "times": 1,
    }
    told = chain.canonical(AuditLink(position=1, row_id=1, hash="", row=row).row)  # type: ignore[arg-type]
    assert json.loads(told) == row | {"at": "2026-12-01T00:00:00.000000+00:00"}
    assert told.startswith(b'{"actor":"a","at":"2026-12-01T00:00:00.000000+00:00","correlation":null')
