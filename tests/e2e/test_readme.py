"""README says nothing that does not work: its commands run as they stand, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import readme
from tests.e2e.demo_process import DemoProcess

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

COMMAND = re.compile(r"^ {4}(?:\$ )?((?:make|\.venv/bin/medsync) .*?)(?: +#.*)?$", re.MULTILINE)
COMMANDS = COMMAND.findall(README)
MADE = [each for each in COMMANDS if each.startswith("make ")]
RUN = [each for each in COMMANDS if each.startswith(".venv/bin/medsync ")]

FOLLOWS = "events tail"
"""The command that only Ctrl-C ends."""

READY_SECONDS = 240


def test_there_are_commands() -> None:
    assert len(MADE) >= 3
    assert len(RUN) >= 5


@pytest.mark.parametrize("command", MADE)
def test_make_knows_what_it_is_asked_for(command: str) -> None:
    """What `make` would do; that it does it is for the other tests, and for who makes them."""
    ran = subprocess.run(
        ["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(each.relative_to(ROOT)) for each in ROOT.glob("docs/**/*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


SAID = """…
75 days later: 1 of 2
│ a │
└──┘
Before: x

An ordinary patient: b
  ·S

  Sun 10/4
Proof: all
  c
  All figures"""

IN_README = """
    75 days later: 1 of 2
    │ a │
    └──┘

    An ordinary patient: b
      ·S

    Proof: all
      c

"""


def test_the_end_of_the_demo_is_found_in_what_it_says_and_in_readme() -> None:
    """So that `make readme` finds both; the rest of the page stays."""
    page = readme.with_figures(README, SAID)
    before, _, after = page.partition(IN_README)
    assert README.startswith(before)
    assert README.endswith(after)


@pytest.mark.timeout(400)
def test_its_commands_run_beside_a_demo_that_was_left_running(tmp_path: Path) -> None:
    for name in ("examples", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    demo = DemoProcess(tmp_path / ".medsync", "--keep", "--patients", "12", "--days", "12")
    try:
        demo.until_left_running(READY_SECONDS)
        failed = {command: said for command in RUN if (said := complaint(command, tmp_path))}
        assert failed == {}
    finally:
        demo.end()


def complaint(command: str, directory: Path) -> str:
    """What a command says where it fails, or has nothing to say."""
    arguments = command.removeprefix(".venv/bin/medsync ")
    process = subprocess.Popen(
        medsync(arguments),
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    if arguments.startswith(FOLLOWS):
        first = process.stdout.readline()
        process.kill()
        process.wait()
        return "" if first.strip() else f"{command} said nothing"
    said, _ = process.communicate(timeout=120)
    return "" if process.returncode == 0 and said.strip() else f"code {process.returncode}: {said[-2000:]}"


def medsync(arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *shlex.split(arguments)]
