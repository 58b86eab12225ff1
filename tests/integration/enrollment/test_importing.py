"""`medsync import` against the service: files in, rejects beside them, a clear word when it cannot be done."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest_asyncio
import uvicorn
from rich.console import Console

from cli.importing import import_directory
from data.resample import Records, read_directory
from services.enrollment.domain.records import LAYOUTS
from tests import feed
from tests.integration.enrollment.conftest import Service
from tests.running import until

FIRST_DAY = date(2009, 10, 1)
SAMPLE = read_directory(Path("data/sample-patients"))

Import = Callable[[Path], Awaitable[tuple[int, str]]]


@pytest_asyncio.fixture
async def run_import(service: Service) -> AsyncIterator[Import]:
    """`await run_import(directory)` is the exit code and what was said."""
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, lifespan="off", log_level="critical"))
    serving = asyncio.create_task(server.serve())
    await until(started(server), "the server listens")
    port = server.servers[0].sockets[0].getsockname()[1]

    async def run(directory: Path) -> tuple[int, str]:
        return await in_thread(directory, f"http://127.0.0.1:{port}")

    yield run
    server.should_exit = True
    await serving


def started(server: uvicorn.Server) -> Callable[[], Awaitable[bool]]:
    async def is_started() -> bool:
        return server.started

    return is_started


async def in_thread(directory: Path, url: str) -> tuple[int, str]:
    said = io.StringIO()
    code = await asyncio.to_thread(
        import_directory, directory, url, console=Console(file=said, width=200, force_terminal=False)
    )
    return code, said.getvalue()


def one_of_each(directory: Path) -> Path:
    """A store, a patient, a prescription and a fill."""
    write(directory, "stores", feed.store())
    write(directory, "patients", feed.patient())
    write(directory, "prescriptions", feed.prescription())
    write(directory, "fills", feed.fill())
    return directory


def write(directory: Path, kind: str, *rows: dict[str, str]) -> Path:
    path = directory / f"{kind}.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


async def test_the_sample_patients_go_in_and_change_nothing_when_sent_again(
    service: Service, run_import: Import, tmp_path: Path
) -> None:
    SAMPLE.known_by(FIRST_DAY).write(tmp_path)
    code, said = await run_import(tmp_path)
    assert code == 0
    assert rejects_in(tmp_path) == []
    counts = await service.rows(
        "select (select count(*) from patients) patients, (select count(*) from prescriptions) prescriptions, "
        "(select count(*) from fills) fills, (select count(*) from prescriptions where superseded_by is not null) old"
    )
    assert counts == [{"patients": 63, "prescriptions": 264, "fills": 1151, "old": 3}]
    await service.published()
    code, said = await run_import(tmp_path)
    assert [line.split("│")[1:4] for line in said.splitlines() if ".csv" in line][3][2].strip() == "1151"
    assert await service.published() == []


async def test_records_of_days_to_come_are_set_aside_and_stop_nothing(
    run_import: Import, tmp_path: Path
) -> None:
    replace(SAMPLE, fills=[]).write(tmp_path)
    code, said = await run_import(tmp_path)
    assert (code, "prescriptions.rejects.csv" in said) == (0, True)
    rejects = read(tmp_path / "prescriptions.rejects.csv")
    assert len(rejects) == 128
    assert {row["field"] for row in rejects} <= {"written_on", "patient_number"}

    Records(SAMPLE.stores, [], [], []).write(tmp_path)  # corrected: the old rejects are gone
    await run_import(tmp_path)
    assert rejects_in(tmp_path) == []


async def test_a_reject_names_line_field_value_and_reason(run_import: Import, tmp_path: Path) -> None:
    one_of_each(tmp_path)
    path = write(
        tmp_path, "patients", feed.patient(birth_date="29.02.1940"), feed.patient(patient_number="P2")
    )
    path.write_text(path.read_text(encoding="utf-8") + "P3,1\r\n", encoding="utf-8")
    code, said = await run_import(tmp_path)
    assert code == 0
    assert read(tmp_path / "patients.rejects.csv") == [
        {
            "line": "4",
            "field": "",
            "value": "",
            "reason": "has more or fewer fields than the header: put text that holds a comma in quotes",
        },
        {
            "line": "2",
            "field": "birth_date",
            "value": "29.02.1940",
            "reason": "is no date: write it as 2009-10-01",
        },
    ]
    assert "29.02.1940" not in said


async def test_nothing_is_sent_before_all_files_are_sound(
    service: Service, run_import: Import, tmp_path: Path
) -> None:
    fills = one_of_each(tmp_path) / "fills.csv"
    for content, said in (
        (None, "fills.csv is missing"),
        (b"fill_id,revision\n", "fills.csv has no column patient_number, rx_id, filled_on"),
        (b"", "fills.csv has no column fill_id"),
        (",".join(LAYOUTS[3].required).encode() + b'\nF1,"1', "fills.csv is no CSV file after line 1"),
        (",".join(LAYOUTS[3].required).encode() + b"\nF\xff1,1", "fills.csv is not UTF-8"),
    ):
        fills.unlink(missing_ok=True)
        if content is not None:
            fills.write_bytes(content)
        code, output = await run_import(tmp_path)
        assert code == 1
        assert said in output
    assert await service.rows("select * from stores") == []


async def test_a_service_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    code, said = await in_thread(one_of_each(tmp_path), "http://127.0.0.1:9")
    assert code == 1
    assert "enrollment does not answer at http://127.0.0.1:9" in said
    assert "medsync up" in said


def rejects_in(directory: Path) -> list[Path]:
    return list(directory.glob("*.rejects.csv"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))
