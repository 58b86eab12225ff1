"""`medsync import` against the service: files in, rejects beside them, a clear word when it cannot be done."""

from __future__ import annotations

import asyncio
import csv
import io
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest_asyncio
import uvicorn
from rich.console import Console

from cli.importing import check_file, import_directory
from data.resample import Records, read_directory
from services.enrollment.domain.records import LAYOUTS
from tests import feed
from tests.integration.enrollment.conftest import NOW, Service
from tests.running import until

FIRST_DAY = date(2009, 10, 1)
SAMPLE = read_directory(Path("data/sample-patients"))

FILLS_HEADER = ",".join(LAYOUTS[3].required).encode()

Import = Callable[[Path], Awaitable[tuple[int, str]]]


@pytest_asyncio.fixture
async def run_import(service: Service) -> AsyncIterator[Import]:
    """`await run_import(directory)` is the exit code and what was said."""
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, lifespan="off", log_config=None))
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
    assert [line.split("│")[1:4] for line in said.splitlines() if ".csv" in line and "│" in line][3][
        2
    ].strip() == "1151"
    assert await service.published() == []


async def test_records_of_days_to_come_are_set_aside_and_stop_nothing(
    run_import: Import, tmp_path: Path
) -> None:
    replace(SAMPLE, fills=[]).write(tmp_path)
    code, said = await run_import(tmp_path)
    assert (code, "prescriptions.rejects.csv" in said) == (3, True)
    rejects = read(tmp_path / "prescriptions.rejects.csv")
    assert len(rejects) == 128
    assert {row["field"] for row in rejects} <= {"written_on", "patient_number"}

    Records(SAMPLE.stores, [], [], []).write(tmp_path)  # corrected: the old rejects are gone
    await run_import(tmp_path)
    assert rejects_in(tmp_path) == []


async def test_a_reject_is_mended_and_fed_again_as_it_is(
    service: Service, run_import: Import, tmp_path: Path
) -> None:
    one_of_each(tmp_path)
    path = write(
        tmp_path,
        "patients",
        feed.patient(birth_date="29.02.1940", payday="x", mobile_phone="555", ward="3"),
        feed.patient(patient_number="P2", ward="3"),
    )
    path.write_text(path.read_text(encoding="utf-8") + "P3,1\r\n", encoding="utf-8")
    code, said = await run_import(tmp_path)
    assert code == 3
    assert "29.02.1940" not in said
    rejects = tmp_path / "patients.rejects.csv"
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    bad, misfit = read(rejects)
    assert (bad["patient_number"], bad["birth_date"], bad["ward"], bad["line"]) == (
        "P1",
        "29.02.1940",
        "3",
        "2",
    )
    assert bad["field"] == "birth_date, mobile_phone, payday"
    assert bad["reason"].startswith(
        "birth_date is not a valid date: use YYYY-MM-DD, for example 2026-03-02; mobile_phone is not a valid phone"
    )
    assert (misfit["patient_number"], misfit["revision"], misfit["line"]) == ("P3", "", "4")
    assert "has more or fewer fields than the header" in misfit["reason"]

    write(tmp_path, "patients.rejects", bad | {"birth_date": "1940-02-29"})
    code, said = await run_import(rejects)
    assert (code, await service.rows("select count(*) from patients")) == (0, [{"count": 2}])
    assert "patients.rejects.csv: accepted without mobile_phone, which is not a valid phone number" in said
    assert "column line" not in said


async def test_the_exit_code_tells_of_a_conflict(run_import: Import, tmp_path: Path) -> None:
    one_of_each(tmp_path)
    assert (await run_import(tmp_path))[0] == 0
    assert (await run_import(tmp_path))[0] == 0, "sent twice, it changes nothing"
    write(tmp_path, "fills", feed.fill(reversed="yes"))
    assert (await run_import(tmp_path))[0] == 3
    (conflict,) = read(tmp_path / "fills.rejects.csv")
    assert (conflict["fill_id"], conflict["field"]) == ("F1", "revision")


async def test_a_header_is_read_in_any_case_and_what_it_holds_besides_is_named(
    service: Service, run_import: Import, tmp_path: Path
) -> None:
    one_of_each(tmp_path)
    write(tmp_path, "fills", feed.fill() | {" Reversed": "yes", "Drug_Name": "x"})
    code, said = await run_import(tmp_path)
    assert (code, await service.rows("select reversed from fills")) == (0, [{"reversed": True}])
    assert "fills.csv: column Drug_Name is not a known column and is ignored" in said


async def test_one_check_per_patient_and_import(service: Service, run_import: Import, tmp_path: Path) -> None:
    await run_import(one_of_each(tmp_path))
    assert await service.rows("select due_at from candidate_checks") == [{"due_at": NOW}]


async def test_nothing_is_sent_before_all_files_are_sound(
    service: Service, run_import: Import, tmp_path: Path
) -> None:
    fills = one_of_each(tmp_path) / "fills.csv"
    for content, said in (
        (None, "fills.csv is missing"),
        (b"fill_id,revision\n", "fills.csv has no column patient_number, rx_id, filled_on"),
        (b"", "fills.csv has no column fill_id"),
        (FILLS_HEADER + b'\nF1,"1\n', "fills.csv is not a CSV file after line 2"),
        (FILLS_HEADER + b",quantity,Quantity\n", "fills.csv has column quantity more than once"),
        (FILLS_HEADER + b",reversal\n", "may be meant for reversed, which is unsafe to miss"),
        (FILLS_HEADER + b"\nF1,1,P1,RX1,2009-09-01,2009-09-02,30,3", "fills.csv ends within a line"),
        (FILLS_HEADER + b"\nF\xff1,1", "fills.csv is not UTF-8"),
    ):
        fills.unlink(missing_ok=True)
        if content is not None:
            fills.write_bytes(content)
        code, output = await run_import(tmp_path)
        assert code == 1
        assert said in output
    assert await service.rows("select * from stores") == []


async def test_a_last_line_without_its_end_is_taken_if_said(tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    path.write_bytes(FILLS_HEADER + b"\nF1,1,P1,RX1,2009-09-01,2009-09-02,30,3")
    assert list(check_file(path, LAYOUTS[3], allow_no_final_newline=True)) == []


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
