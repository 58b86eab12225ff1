"""The borders hold: each is broken here on purpose, and is seen to bite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.rooms import ROOMS, SERVICES, faults

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Five services with empty rooms."""
    for service in SERVICES:
        for room in ROOMS:
            place = tmp_path / "services" / service / room
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch() if place.suffix else place.mkdir()
    return tmp_path


def test_empty_rooms_are_in_shape(house: Path) -> None:
    assert faults(house) == []


def test_the_services_are_in_shape() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("room", "written", "says"),
    [
        ("domain/rule.py", "Q = 'select a from t'", "SQL belongs into store/"),
        ("commands.py", "def a():\n  'Do.'\n  raise Problem(404, '', '')", "an answer of HTTP"),
        (
            "http.py",
            "def route():\n  async def decide():\n    raise Conflict('', '')",
            "a decision inside of a route",
        ),
        ("handlers.py", "async def take(events, unit): ...", "does not say what it does"),
        ("queries.py", "def long():\n" + "  a = 1\n" * 70, "a function fits a screen"),
        ("helpers.py", "", "is no room"),
    ],
)
def test_what_stands_in_the_wrong_room_is_named(house: Path, room: str, written: str, says: str) -> None:
    (house / "services" / "outreach" / room).write_text(written)
    (fault,) = faults(house)
    assert fault.path.startswith("services/outreach") and says in fault.says


def test_a_room_that_is_missing_is_named(house: Path) -> None:
    (house / "services" / "planner" / "queries.py").unlink()
    assert [str(each) for each in faults(house)] == [
        "services/planner:0: has no queries.py (what routes and pages read)"
    ]


def test_a_room_that_outgrew_a_file_is_a_package_held_to_the_same(house: Path) -> None:
    room = house / "services" / "outreach" / "commands"
    room.with_suffix(".py").unlink()
    room.mkdir()
    (room / "patients.py").write_text("async def stop(unit): ...")
    (fault,) = faults(house)
    assert str(fault) == "services/outreach/commands/patients.py:1: stop does not say what it does"


BROKEN = {
    "services/planner/store/__init__.py": "import services.outreach.settings",
    "shared/clock.py": "import services.planner.settings",
    "services/outreach/domain/__init__.py": "import asyncpg",
    "services/planner/domain/forms.py": "import shared.events",
    "services/console/commands.py": "import fastapi",
    "services/console/handlers.py": "import aiokafka",
    "cli/proof/result.py": "import shared.clock",
    "services/enrollment/jobs.py": "import cli.clock",
}
"""A line that breaks each border of pyproject.toml."""


@pytest.mark.slow
def test_every_border_of_imports_bites(tmp_path: Path) -> None:
    """One border broken by each line: as many are broken as there are, and none before."""
    for package in ("services", "shared", "cli", "deploy"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, line in BROKEN.items():
        file = tmp_path / path
        text = file.read_text()
        file.write_text(text + f"\n{line}\n")
    ran = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    kept = re.findall(r"^(.+) KEPT", ran.stdout, re.M)
    broken = re.findall(r"^(.+) BROKEN", ran.stdout, re.M)
    assert kept == [] and len(broken) == len(BROKEN), ran.stdout + ran.stderr


def test_the_how_to_names_every_place_of_a_field() -> None:
    """The page is followed from its example: each place that it names has it, and no other room does."""
    page = (ROOT / "docs" / "how-to" / "add-a-field.md").read_text()
    named = set(re.findall(r"^\| \d \| `([^`]+)`", page, re.M))
    files = {place for place in named if not place.endswith("/")}
    assert all("fill_from" in (ROOT / place).read_text() for place in files)
    holders = {
        str(path.relative_to(ROOT))
        for room in ("services", "shared")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"\bfill_from\b", path.read_text()) and "planner/domain" not in str(path)
    }
    assert holders <= files and len(named) < 10
