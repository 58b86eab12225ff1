"""The database's disk is full under load: its server fails or ends; nothing is lost, and no event is blamed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import LocalStack
from tests.integration.fabric.outages import exposed_on, nothing_lost_nothing_blamed, under_load
from tests.running import at_rest, until

DISK = "400m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where PostgreSQL will keep its data: a disk in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk: the full disk was NOT tried")
    disk = tmp_path / "stack" / "postgres"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(
            f"no small disk can be mounted here ({mounted.stderr.strip()}): the full disk was NOT tried"
        )
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue
    assert shutil.disk_usage(disk).free < 1 << 12
    return filler


async def test_a_full_disk_is_waited_out(small_disk: Path, tmp_path: Path) -> None:
    with LocalStack(tmp_path / "stack", durable=True, kafka_session_timeout=4) as own:
        ledger = await exposed_on(own, tmp_path)
        async with ledger.running(relay_lease_seconds=5.0) as client:
            async with under_load(ledger, client) as load:
                await ledger.until_effects(200)
                filler = await asyncio.to_thread(fill, small_disk)

                async def felt() -> bool:
                    before = len(load.accepted)
                    await asyncio.sleep(1)
                    return len(load.accepted) == before

                await until(felt, "no command is accepted", seconds=60)
                await asyncio.sleep(5)
                filler.unlink()
                await asyncio.to_thread(own.tend)
            await at_rest(client)
        await nothing_lost_nothing_blamed(ledger, load)
