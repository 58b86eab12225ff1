"""An operator sees what is past its day, has it removed, and a service removes it by itself."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.messaging import removing
from shared.messaging.removing import OF_THE_FABRIC
from shared.retention import BadRetention
from tests.integration.fabric.given import Ledger
from tests.integration.fabric.test_operator import Terminal
from tests.integration.fabric.test_watching import of, scraped
from tests.running import until

(LETTERS,) = OF_THE_FABRIC
SIGNED = """
[signed_off]
by = "officer-1"
on = 2026-03-02
"""
RULE = f"""
[[keep]]
kind = "{LETTERS.name}"
after = "{LETTERS.after}"
days = 400
from = 2020-01-01
source = "the chain's own"
"""


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    file = tmp_path / "retention.toml"
    file.write_text(SIGNED + RULE)
    return file


async def closed_letters(ledger: Ledger, number: int, days: int) -> None:
    await ledger.sql(
        """
        insert into fabric.dead_letters (topic, attempts, reason, message, headers, status, closed_at)
        select 'due:x', 1, 'schema', '', '[]', 'skipped', $2
        from generate_series(1, $1::int)
        """,
        number,
        datetime.now(UTC) - timedelta(days=days),
    )


async def letters_left(ledger: Ledger) -> int:
    return await ledger.count("fabric.dead_letters")


async def test_an_operator_looks_tries_and_removes(ledger: Ledger, signed: Path, tmp_path: Path) -> None:
    await closed_letters(ledger, 3, 10)
    async with ledger.process(retention_file=signed) as process:
        await process.ready()
        await until(lambda: _done(ledger), "the first look is over")
        await closed_letters(ledger, 1200, 500)
        terminal = Terminal(tmp_path, ledger, process)

        code, said, _ = await terminal.run("retention", "show")
        assert code == 0, said
        assert "planner: signed off by officer-1 on 2026-03-02" in said
        assert f"messaging.dead_letters: 400 days after {LETTERS.after}" in said
        assert "1200 past their day, 0 removed so far" in said

        code, said, _ = await terminal.run("retention", "run", "--dry-run", "planner")
        assert (code, "messaging.dead_letters: 1200 would be removed" in said) == (0, True), said
        assert await letters_left(ledger) == 1203

        code, said, _ = await terminal.run("retention", "run")
        assert (code, "messaging.dead_letters: 1200 removed" in said) == (0, True), said
        assert await letters_left(ledger) == 3
        samples = await scraped(process.client)
        assert of(samples, "medsync_retention_removed_total", kind=LETTERS.name) == 1200
        assert of(samples, "medsync_retention_past_rows", kind=LETTERS.name) == 0
        code, said, _ = await terminal.run("retention", "run")
        assert "nothing is past its day" in said


async def _done(ledger: Ledger) -> bool:
    return await ledger.count("fabric.retention where done_on is not null") == 1


async def test_without_a_signature_the_doctor_says_what_stays(ledger: Ledger, tmp_path: Path) -> None:
    await closed_letters(ledger, 7, 500)
    async with ledger.process() as process:  # by the rules that are shipped
        await process.ready()
        terminal = Terminal(tmp_path, ledger, process)
        code, said, _ = await terminal.run("doctor")
        (wrong,) = [line for line in said.splitlines() if line.startswith("WRONG")]
        assert code == 1
        assert "planner: 7 of messaging.dead_letters past their day (nobody has signed off" in wrong
        code, said, _ = await terminal.run("retention", "run")
        assert "7 would be removed" in said and "nobody has signed off" in said
        answer = await process.client.post("/ops/retention/run", json={"kind": ""})
        assert (answer.status_code, "MEDSYNC_RETENTION_FILE" in answer.text) == (409, True)
        await until(lambda: _noted(ledger, 7), "the daily look has counted them")
        samples = await scraped(process.client)
    assert of(samples, "medsync_retention_past_rows", kind=LETTERS.name) == 7
    assert await letters_left(ledger) == 7


async def _noted(ledger: Ledger, number: int) -> bool:
    return await ledger.count(f"fabric.retention where left_rows = {number}") == 1


async def test_a_service_removes_by_itself_and_after_a_kill_goes_on(ledger: Ledger, signed: Path) -> None:
    await closed_letters(ledger, 6000, 500)

    async def begun() -> bool:
        return await letters_left(ledger) < 6000

    async with ledger.process(retention_file=signed) as process:
        await until(begun, "some are removed")
        process.process.send(signal.SIGKILL)
        await process.ended()
    assert 0 < await letters_left(ledger) < 6000
    async with ledger.process(retention_file=signed):

        async def gone() -> bool:
            return await letters_left(ledger) == 0

        await until(gone, "all are removed")
    assert await ledger.count("fabric.retention where removed = 6000") == 1


async def test_the_daily_look_comes_back_with_the_day(
    ledger: Ledger, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing, "LOOK_SECONDS", 0.1)
    async with ledger.running(retention_file=signed):
        await until(lambda: _done(ledger), "the first look is over")
        await closed_letters(ledger, 5, 500)
        await ledger.sql("update fabric.retention set done_on = done_on - 1")  # yesterday

        async def gone() -> bool:
            return await letters_left(ledger) == 0

        await until(gone, "the next day's look has removed them")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SIGNED + RULE.replace("dead_letters", "letters"), "there is no kind 'messaging.letters'"),
        (SIGNED + RULE.replace("days = 400", "days = 20"), "needed for 60 days, and 20 are given"),
        (SIGNED + RULE.replace(LETTERS.after, "it came"), "is counted after 'it was redriven or skipped'"),
        (SIGNED + RULE + RULE, "the rule from 2020-01-01 begins before the one from 2020-01-01 ends"),
        (SIGNED + RULE + "until = 2019-01-01\n", "until 2019-01-01 is before from 2020-01-01"),
        (SIGNED + RULE.replace("source", "sauce"), "keep.0.source: Field required"),
        (SIGNED.replace("officer-1", "") + RULE, "signed_off.by"),
        ("[[keep", "retention.toml"),
    ],
)
async def test_a_service_does_not_start_by_a_file_that_is_wrong(
    ledger: Ledger, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "retention.toml"
    file.write_text(text)
    with pytest.raises(BadRetention) as refused:
        async with ledger.running(retention_file=file):
            pass
    assert says in str(refused.value)
