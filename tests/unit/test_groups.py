"""A group of tests whose program is missing is named in one closing line, and fails where every group must run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groups import EVERY

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.fixture
def server():
    raise RuntimeError("started for a test that does not run")

@pytest.mark.parametrize("number", range(4))
@pytest.mark.needs("node")
def test_of_node(server, number): ...

@pytest.mark.needs("browser")
def test_of_the_browser(server): ...

def test_of_no_group(): ...
"""
CLOSING = (
    "not run: browser (chromium is missing: apt-get install chromium), "
    "node (node is missing: apt-get install nodejs npm)"
)


def run(folder: Path, *arguments: str, programs: tuple[str, ...] = (), every: str = "") -> tuple[int, str]:
    """The end and the output of pytest, on a machine that has these programs and no others."""
    (folder / "test_sample.py").write_text(TESTS)
    path = folder / "bin"
    path.mkdir()
    for program in programs:
        (path / program).touch(mode=0o755)
    plugins = ("-p", "tests.groups", "-p", "xdist.plugin", "-p", "no:cacheprovider")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plugins,
            "--strict-markers",
            "--rootdir",
            folder,
            *arguments,
            folder,
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": str(path), EVERY: every, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_missing_programs_are_named_in_one_closing_line(tmp_path: Path, workers: tuple[str, ...]) -> None:
    code, output = run(tmp_path, *workers)
    assert code == 0
    *_, closing, result = output.strip().splitlines()
    assert closing == CLOSING
    assert "1 passed, 5 skipped" in result


@pytest.mark.slow
def test_where_every_group_must_run_a_missing_program_fails_its_tests_by_name(tmp_path: Path) -> None:
    code, output = run(tmp_path, every="1")
    assert code == 1
    assert "node (node is missing: apt-get install nodejs npm), and MEDSYNC_EVERY_GROUP=1" in output
    assert "1 passed, 5 errors" in output
    assert "not run:" not in output


@pytest.mark.slow
def test_a_group_whose_program_is_there_runs(tmp_path: Path) -> None:
    code, output = run(tmp_path, "-k", "browser", programs=("chromium",))
    assert code == 1
    assert "started for a test that does not run" in output
    assert "not run:" not in output
