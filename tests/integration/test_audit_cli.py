"""`medsync audit` from the terminal: shows, verifies, exports, and says where something was changed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local import Addresses
from deploy.local.ports import free_port
from deploy.local.process import Process
from shared.messaging.heads import published
from shared.messaging.topics import create_topics
from shared.sealing import Ring
from tests import feed
from tests.integration.fabric.conftest import delete_topics
from tests.running import EVERYBODY, SEALING_KEY, until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Here:
    """An enrollment service in a process of its own, whose audit has a few rows."""

    folder: Path
    environment: dict[str, str]
    database: str
    patient: str
    rows: int

    def audit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", "audit", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    async def sql(self, statement: str) -> None:
        db = await asyncpg.connect(self.database)
        await db.execute(statement)
        await db.close()


@pytest.fixture
async def here(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> AsyncIterator[Here]:
    prefix, port = f"{unique_name}.", free_port()
    await create_topics(stack.kafka, 2, prefix=prefix)
    ring = tmp_path / "sealing.json"
    Ring().rotated(datetime.now(UTC), timedelta()).write(ring)
    settings = {
        "DATABASE_URL": await asyncio.to_thread(fresh_database, "enrollment"),
        "KAFKA_BOOTSTRAP": stack.kafka,
        "TOPIC_PREFIX": prefix,
        "SEALING_KEYS_FILE": str(ring),
        "PSEUDONYM_KEY": SEALING_KEY,
        "PORT": str(port),
        "ENROLLMENT_URL": f"http://127.0.0.1:{port}",
    }
    environment = os.environ | {f"MEDSYNC_{name}": value for name, value in settings.items()}
    environment |= {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-m", "cli.main", "run", "enrollment"]
    process = Process("enrollment", command, tmp_path / "log", environment=environment)
    try:
        async with httpx.AsyncClient(base_url=settings["ENROLLMENT_URL"], headers=EVERYBODY) as http:
            patient = await _ask(http)
        rows = await _chained(settings["DATABASE_URL"], stack.kafka, prefix)
        yield Here(tmp_path, environment, settings["DATABASE_URL"], patient, rows)
    finally:
        process.kill()
        await delete_topics(stack.kafka, prefix)


async def _ask(http: httpx.AsyncClient) -> str:
    async def ready() -> bool:
        try:
            return (await http.get("/ops/ready")).status_code == 200
        except httpx.TransportError:
            return False

    await until(ready, "enrollment is ready", seconds=60)
    for kind, record in (("stores", feed.store()), ("patients", feed.patient())):
        answer = await http.post(f"/imports/{kind}", json={"source": "chain", "records": [record]})
        assert answer.json()["accepted"] == 1, answer.text
    patient: str = (await http.get("/patients")).json()["items"][0]["patient_id"]
    for _ in range(5):
        await http.get(f"/patients/{patient}", headers={"Medsync-Actor": "clerk-7", "Medsync-Role": "clerk"})
    return patient


async def _chained(url: str, kafka: str, prefix: str) -> int:
    db = await asyncpg.connect(url)
    try:
        rows: int = await db.fetchval("select count(*) from fabric.audit")

        async def is_published() -> bool:
            return any(head.count >= rows for head in await published(kafka, prefix=prefix))

        await until(is_published, "the head is published")
    finally:
        await db.close()
    return rows


@pytest.fixture
def exported(here: Here) -> Iterator[Path]:
    file = here.folder / "audit.jsonl"
    wrote = here.audit("export", str(file))
    assert wrote.returncode == 0, wrote.stderr
    assert file.stat().st_mode & 0o77 == 0, "for its owner's eyes alone"
    yield file


async def test_who_looked_is_shown(here: Here) -> None:
    shown = here.audit("show", "--patient", here.patient, "--actor", "clerk-7", "--json")
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {(row["actor"], row["route"], row["outcome"]) for row in rows} == {
        ("clerk-7", "GET /patients/{patient_id}", "done")
    }
    assert len(rows) == 5
    assert "clerk-7" in here.audit("show", "--patient", here.patient).stdout
    nobody = here.audit("show", "--actor", "somebody-else")
    assert (nobody.returncode, nobody.stdout) == (0, "Nobody did or saw anything of that kind.\n")


async def test_a_record_that_was_changed_is_wrong_and_the_place_is_named(here: Here) -> None:
    whole = here.audit("verify")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert whole.stdout.startswith("enrollment   whole: "), "and nothing before it"
    no_ring = here.environment.pop("MEDSYNC_SEALING_KEYS_FILE")
    unchecked = here.audit("verify")
    assert (unchecked.returncode, "the seals are not checked" in unchecked.stdout) == (3, True)
    here.environment["MEDSYNC_SEALING_KEYS_FILE"] = no_ring
    await here.sql("update fabric.audit set actor = 'somebody-else' where id = 2")
    changed = here.audit("verify")
    assert (changed.returncode, "position 2: " in changed.stdout) == (1, True), changed.stdout


async def test_a_tail_that_was_cut_off_is_missed_by_what_was_published(here: Here) -> None:
    """All rows and links: what then is added, and chained, is another head than the one that was published."""
    await here.sql("truncate fabric.audit, fabric.audit_chain")
    cut = here.audit("verify")
    assert cut.returncode == 1, cut.stdout
    assert "position 1" in cut.stdout


def test_an_export_is_verified_without_a_service(here: Here, exported: Path) -> None:
    for name in ("ENROLLMENT_URL", "DATABASE_URL"):
        del here.environment[f"MEDSYNC_{name}"]
    del here.environment["KAFKA_BOOTSTRAP_SERVERS"]
    whole = here.audit("verify", str(exported))
    assert whole.returncode == 0, whole.stdout + whole.stderr
    text = exported.read_text()
    exported.write_text(text.replace("clerk-7", "clerk-8", 1))
    assert here.audit("verify", str(exported)).returncode == 1
    lines = text.splitlines(keepends=True)
    links = [line for line in lines if '"link": ' in line]
    exported.write_text("".join(line for line in lines if line != links[-1]))
    cut = here.audit("verify", str(exported))
    assert (cut.returncode, f"position {len(links)}" in cut.stdout) == (1, True), cut.stdout
    exported.write_text("".join(lines[:-1]))
    assert "has no end" in here.audit("verify", str(exported)).stderr
    exported.write_text("no audit\n")
    assert here.audit("verify", str(exported)).returncode == 1
