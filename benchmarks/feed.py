"""A feed of fills in the order of their days, as a chain sends them at first: `python -m benchmarks.feed`.

The same files are fed to this enrollment and to that of the last revision which looked at a patient as a candidate
after every request, one after the other on the same servers; `--alone` leaves it out, `--beside` names another. Fills
in the order of their days bring every patient back in nearly every request. The clock runs from the first record until
every candidate is found.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from benchmarks.common import ROOT, Bench, Contender, Target, arguments, run, stopping, table
from deploy.local.databases import migrations_of
from deploy.local.ports import free_port
from deploy.local.process import Process
from tests import feed as records
from tests.running import SEALING_KEY, STAFF

BEFORE = "b311959"
"""The last revision that looked at a patient after every request."""

DAYS = 365
DRUGS = 4


@dataclass(frozen=True)
class Fed:
    """What a feed took."""

    seconds: float
    checks: int


async def benchmark(bench: Bench) -> Sequence[Target]:
    """One feed here, and one there."""
    folder = bench.folder / "feed"
    write_files(folder, given.patients, given.fills)
    here = await fed(bench, ROOT, folder)
    rows = [("here", here)]
    if not given.alone:
        with tempfile.TemporaryDirectory(prefix="medsync-feed-") as other:
            check_out(given.beside, Path(other))
            rows.append((f"at {given.beside}", await fed(bench, Path(other), folder)))
    table(
        (f"{given.fills:,} fills of {given.patients:,} patients", "seconds", "checks"),
        [(name, f"{each.seconds:.1f}", f"{each.checks:,}") for name, each in rows],
    )
    targets = [Target("looks at a candidate, per patient", here.checks / given.patients, None, 1.0)]
    if not given.alone:
        there = rows[1][1]
        targets.append(Target(f"fewer of them than at {given.beside}", there.checks / here.checks, 8.0))
    return targets


def check_out(revision: str, folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    if subprocess.run(["git", "-C", folder, "checkout", "--quiet", revision], check=False).returncode:
        sys.exit(f"this clone has no {revision} to compare with: `git fetch --unshallow`, or say --alone")


async def fed(bench: Bench, checkout: Path, folder: Path) -> Fed:
    """Start the enrollment of a checkout, feed the files with its own command, and wait for the candidates."""
    prefix = f"feed-{uuid4().hex[:8]}."
    await bench.topics(prefix)
    fabric, own = migrations_of("enrollment")
    migrations = (fabric, checkout / own.relative_to(ROOT))  # an older process lives with a newer fabric
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "MEDSYNC_DATABASE_URL": await asyncio.to_thread(bench.database, *migrations),
        "MEDSYNC_KAFKA_BOOTSTRAP": bench.kafka,
        "MEDSYNC_TOPIC_PREFIX": prefix,
        "MEDSYNC_SEALING_KEY": SEALING_KEY,
        "MEDSYNC_PSEUDONYM_KEY": SEALING_KEY,
        "MEDSYNC_PORT": str(port),
        "MEDSYNC_ENROLLMENT_URL": url,
    }
    # -P: not the folder that this is run from, but the checkout
    command = [sys.executable, "-P", "-m", "cli.main"]
    log = bench.folder / "logs" / f"enrollment-{uuid4().hex[:6]}.log"
    service = Contender(
        Process("enrollment", [*command, "run", "enrollment"], log, environment=environment), url
    )
    with stopping(service):
        await service.ready()
        await bench.settle()
        began = time.monotonic()
        importing = await asyncio.create_subprocess_exec(
            *command, "import", str(folder), env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        if await importing.wait():
            sys.exit(f"the import of {checkout} failed")
        checks = await all_found(url)
        return Fed(time.monotonic() - began, checks)


async def all_found(url: str) -> int:
    """How many patients were looked at, once nobody waits for it."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, headers=STAFF) as http:
        while True:
            status = (await http.get("/ops/status", timeout=60)).json()
            if not (status["due_now"] or status["outbox"]):
                return int(status["tally"]["due_done"])
            await asyncio.sleep(0.1)


def write_files(folder: Path, patients: int, fills: int) -> None:
    """A chain of one store, its patients with some drugs each, and their fills in the order of their days."""
    folder.mkdir()
    kinds = {
        "stores": iter([records.store()]),
        "patients": (records.patient(patient_number=f"P{n}") for n in range(patients)),
        "prescriptions": (
            records.prescription(rx_id=f"RX{n}-{drug}", patient_number=f"P{n}", ingredient=f"drug {drug}")
            for n in range(patients)
            for drug in range(DRUGS)
        ),
        "fills": _fills(patients, fills),
    }
    for kind, rows in kinds.items():
        with (folder / f"{kind}.csv").open("w", encoding="utf-8", newline="") as text:
            first = next(rows)
            writer = csv.DictWriter(text, list(first))
            writer.writeheader()
            writer.writerow(first)
            writer.writerows(rows)


def _fills(patients: int, fills: int) -> Iterator[dict[str, str]]:
    last = date.today()
    for number in range(fills):
        patient, drug = number % patients, number // patients % DRUGS
        day = (last - timedelta(DAYS) + timedelta(DAYS) * number / fills).isoformat()
        yield records.fill(
            fill_id=f"F{number}",
            patient_number=f"P{patient}",
            rx_id=f"RX{patient}-{drug}",
            filled_on=day,
            handed_over_on=day,
        )


if __name__ == "__main__":
    parser: argparse.ArgumentParser = arguments(__doc__)
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--fills", type=int, default=20_000)
    parser.add_argument(
        "--beside", metavar="REVISION", default=BEFORE, help="which enrollment is fed after it"
    )
    parser.add_argument("--alone", action="store_true", help="no other is fed after it")
    given = parser.parse_args()
    run(benchmark, given)
