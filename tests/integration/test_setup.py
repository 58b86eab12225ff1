"""`make setup`: tells what it does, goes on where it was cut off, and says what to do about each failure.

Each case runs make, venv and pip for real, in a checkout that has little to install.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import copy
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.small_checkout import PYTHON, Checkout, Index, index, wheel

NOBODY_LISTENS = "http://127.0.0.1:9"
A_MACHINE_OF_ANOTHER_KIND = "py3-none-win_arm64"


@pytest.fixture
def served() -> Iterator[Index]:
    with index() as served:
        for name in ("aaa", "bbb", "ccc"):
            served.add(name)
        yield served


@pytest.fixture
def checkout(tmp_path: Path, served: Index) -> Checkout:
    """One in which nothing is set up yet."""
    return Checkout(tmp_path / "checkout", served)


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with index() as served:
        served.add("first")
        checkout = Checkout(tmp_path_factory.mktemp("shared") / "checkout", served)
        code, said = checkout.set_up()
        assert code == 0, said
        yield checkout


@pytest.fixture
def older(_shared: Checkout) -> Iterator[Checkout]:
    """One that is set up, of which the lock wants more since: aaa, bbb and ccc. To make one anew takes seconds."""
    _shared.served.wheels = {
        name: content for name, content in _shared.served.wheels.items() if "first" in name
    }
    for name in ("aaa", "bbb", "ccc"):
        _shared.served.add(name)
    _shared.lock()
    _shared.served.asked.clear()
    yield _shared
    _shared.served.instead = as_it_is
    _shared.served.wheels = {
        name: content for name, content in _shared.served.wheels.items() if "first" in name
    }
    _shared.lock()
    _shared.uninstall("aaa", "bbb", "ccc")


def test_a_set_up_says_what_it_fetches_and_a_second_has_nothing_to_do(checkout: Checkout) -> None:
    code, said = checkout.set_up()
    assert code == 0, said
    assert "about 4 packages" in said
    assert "MB to fetch" in said
    assert "Next: make demo" in said
    assert len(said.splitlines()) < 10
    assert checkout.installed == {"aaa", "bbb", "ccc", "small"}
    assert not (checkout.folder / ".medsync" / "setup").exists()
    began = time.monotonic()
    assert checkout.set_up() == (0, ".venv is set up already. Next: make demo, or make test.\n")
    assert time.monotonic() - began < 5


def test_what_a_slow_line_leaves_to_do_is_told_again_and_again(older: Checkout) -> None:
    older.served.instead = slowly(6)
    code, said = older.set_up()
    assert code == 0, said
    assert re.search(r"fetched \d of 3 packages, \d of about \d MB", said), said


def test_a_changed_lock_fetches_what_changed(older: Checkout) -> None:
    code, said = older.set_up()
    assert code == 0, said
    assert "up to date with requirements.lock: aaa, bbb, ccc" in said
    assert [name[:3] for name in older.served.asked] == ["aaa", "bbb", "ccc"]
    assert older.installed == {"first", "aaa", "bbb", "ccc", "small"}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_cut_off_while_it_fetches_it_goes_on_from_there(end: signal.Signals, older: Checkout) -> None:
    older.served.instead = never("ccc")
    with older.start() as make:
        eventually(lambda: older.kept == {"aaa", "bbb"}, "two of three are kept")
        pip = pid_of(f"{older.folder}/.venv/bin/python -m pip")
        os.killpg(make.pid, end)
        said, _ = make.communicate(timeout=120)
    eventually(lambda: not Path(f"/proc/{pip}/cmdline").exists(), "pip has ended")
    # pip, which is interrupted as well, may be the first to end: then it is said of that
    is_said = re.search(r"What was fetched is kept|that were fetched are kept", said) is not None
    assert is_said == (end == signal.SIGINT)
    older.served.instead = as_it_is
    code, said = older.set_up()
    assert code == 0, said
    assert [name[:3] for name in older.served.asked] == ["aaa", "bbb", "ccc", "ccc"]


def test_killed_while_it_installs_it_begins_anew(checkout: Checkout, served: Index) -> None:
    for name in ("aaa", "bbb", "ccc"):
        served.add(name, wheel(name, modules=800))
    checkout.lock()
    with checkout.start() as make:
        eventually(lambda: bool(checkout.installed), "one of three is installed")
        os.killpg(make.pid, signal.SIGKILL)
        make.communicate(timeout=120)
    assert checkout.installed != {"aaa", "bbb", "ccc", "small"}
    code, said = checkout.set_up()
    assert code == 0, said
    assert "3 of them here already" in said
    assert len(served.asked) == 3
    for name in ("aaa", "bbb", "ccc"):
        assert len(list(checkout.folder.glob(f".venv/lib/python*/site-packages/{name}/m*.py"))) == 800


def test_a_connection_that_breaks_is_taken_up_again(older: Checkout) -> None:
    older.served.add("bbb", wheel("bbb", padding=3_000_000))
    older.lock()
    older.served.instead = breaking_off_once("bbb")
    code, said = older.set_up()
    assert code == 0, said
    assert re.search("the connection broke|did not come as it should", said)  # as pip sees it, by its version


@pytest.mark.parametrize(
    "settings",
    [{"HTTPS_PROXY": NOBODY_LISTENS, "PIP_INDEX_URL": ""}, {"PIP_INDEX_URL": f"{NOBODY_LISTENS}/simple"}],
    ids=lambda settings: next(iter(settings)),
)
def test_without_a_network_it_names_what_is_missing_and_the_settings(
    settings: dict[str, str], older: Checkout
) -> None:
    said = refused(older.set_up(**settings))
    assert "aaa 1.0 could not be fetched: the package index cannot be reached" in said
    assert NOBODY_LISTENS in said
    assert "HTTPS_PROXY names a proxy, PIP_INDEX_URL an index of your own" in said


def test_a_wheel_that_was_changed_on_the_way_is_refused(older: Checkout) -> None:
    older.served.add("bbb", wheel("bbb", padding=10))
    said = refused(older.set_up())
    assert "bbb 1.0 is not the file that requirements.lock pins" in said
    assert older.installed == {"first", "small"}


def test_a_package_without_a_wheel_for_this_machine_is_named(older: Checkout) -> None:
    older.served.add("zzz", tag=A_MACHINE_OF_ANOTHER_KIND)
    older.lock()
    said = refused(older.set_up())
    assert "zzz 1.0 is not at the package index" in said
    assert f"for this machine ({sys.platform} {os.uname().machine}" in said
    assert "Docker" in said


def test_too_small_a_disk_is_told_before_anything_is_fetched(checkout: Checkout, served: Index) -> None:
    served.add("playwright")  # said to be large
    checkout.lock()
    said = refused(checkout.set_up_behind(small_disk(checkout, "30m", ".venv")))
    assert re.search("Too little room: about 2.. MB more are needed", said)
    assert str(checkout.folder / ".venv") in said
    assert served.asked == []


def test_too_small_a_cache_for_what_the_first_start_fetches_is_told_too(
    checkout: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    mount = f"mount -t tmpfs -o size=20m small {tmp_path}/cache"
    said = refused(checkout.set_up_behind(mount, XDG_CACHE_HOME=f"{tmp_path}/cache"))
    assert f"about 45 MB more are needed on the disk of {tmp_path}/cache" in said


@pytest.mark.parametrize(("place", "room"), [(".venv", "6m"), (".medsync", "9m"), (".venv", "30m")])
def test_a_disk_that_fills_up_is_called_by_its_name(
    place: str, room: str, checkout: Checkout, served: Index
) -> None:
    served.add("bbb", wheel("bbb", padding=20_000_000))
    checkout.lock()
    said = refused(checkout.set_up_behind(small_disk(checkout, room, place)))
    assert "The disk is full" in said
    assert str(checkout.folder) in said


def test_an_old_python_is_named_with_the_way_to_name_another(checkout: Checkout, tmp_path: Path) -> None:
    old = program(tmp_path / "python3", 'case "$2" in *print*) echo 3.9.2;; *) exit 1;; esac')
    said = refused(checkout.set_up(f"PYTHON={old}", PATH=f"{tools(tmp_path)}"))
    assert f"MedSync needs Python 3.11 or newer; {old} is 3.9.2." in said
    assert "make setup PYTHON=/path/to/python3" in said


def test_an_old_python_beside_a_new_one_is_told_of_it(checkout: Checkout, tmp_path: Path) -> None:
    path = tools(tmp_path)
    program(path / "python3", 'case "$2" in *print*) echo 3.9.2;; *) exit 1;; esac')
    name = f"python3.{sys.version_info.minor}"
    program(path / name, f'exec {PYTHON} "$@"')
    said = refused(checkout.set_up("PYTHON=python3", PATH=str(path)))
    assert f"This machine has {name}: make setup PYTHON={name}" in said


def test_no_python_at_all_is_told(checkout: Checkout, tmp_path: Path) -> None:
    said = refused(checkout.set_up("PYTHON=python3", PATH=str(tools(tmp_path))))
    assert "MedSync needs Python 3.11 or newer, and there is no 'python3' that runs." in said
    assert "sudo apt install python3" in said


def test_a_python_without_ensurepip_is_told_its_debian_package(checkout: Checkout) -> None:
    where = subprocess.check_output([PYTHON, "-c", "import ensurepip; print(*ensurepip.__path__)"], text=True)
    said = refused(checkout.set_up_behind(f"mount -t tmpfs none {where.strip()}"))
    assert "sudo apt install python3-venv" in said


def test_a_home_that_cannot_be_written_is_no_matter(older: Checkout) -> None:
    code, said = older.set_up(HOME="/dev/null/home")
    assert code == 0, said


def test_a_folder_of_something_else_is_left_alone(older: Checkout, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter").write_text("dear")
    said = refused(older.set_up(f"VENV={tmp_path}/letters"))
    assert "holds something else than a virtual environment" in said
    assert (tmp_path / "letters" / "letter").exists()


def test_a_checkout_that_was_moved_is_set_up_anew(older: Checkout, tmp_path: Path) -> None:
    moved = copy(older)
    moved.folder = Path(shutil.copytree(older.folder, tmp_path / "moved", symlinks=True))
    code, said = moved.set_up()
    assert code == 0, said
    assert "Setting up a virtual environment" in said
    assert moved.installed == {"first", "aaa", "bbb", "ccc", "small"}


def test_two_set_ups_at_once_wait_for_each_other(older: Checkout) -> None:
    with older.start() as one, older.start() as other:
        said = [one.communicate(timeout=100)[0], other.communicate(timeout=60)[0]]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert sum("Another set-up of this checkout runs" in text for text in said) == 1
    assert sum("Bringing the virtual environment up to date" in text for text in said) == 1
    assert len(older.served.asked) == 3


def refused(ran: tuple[int, str]) -> str:
    """What a set-up said that failed as it should: short, and without a traceback."""
    code, said = ran
    assert code == 2, said  # make's
    assert "Traceback" not in said
    assert len(said.split("Set-up failed.")[-1].strip().splitlines()) <= 3, said
    return said


def as_it_is(name: str, request: BaseHTTPRequestHandler) -> bool:
    return False


def never(package: str) -> Callable[[str, BaseHTTPRequestHandler], bool]:
    """One package never comes."""

    def instead(name: str, request: BaseHTTPRequestHandler) -> bool:
        if name.startswith(package):
            request.rfile.read(1)  # until whoever asked is gone
        return name.startswith(package)

    return instead


def slowly(seconds: float) -> Callable[[str, BaseHTTPRequestHandler], bool]:
    """The first package takes its time."""

    def instead(name: str, request: BaseHTTPRequestHandler) -> bool:
        if name.startswith("bbb"):
            time.sleep(seconds)
        return False

    return instead


def breaking_off_once(package: str) -> Callable[[str, BaseHTTPRequestHandler], bool]:
    """Half of one package comes, once."""
    broken: list[str] = []

    def instead(name: str, request: BaseHTTPRequestHandler) -> bool:
        if not name.startswith(package) or broken:
            return False
        broken.append(name)
        request.send_response(200)
        request.send_header("Content-Length", "3000000")
        request.end_headers()
        request.wfile.write(b"x" * 1_000_000)
        time.sleep(1)  # what came before is kept meanwhile
        request.close_connection = True
        return True

    return instead


def small_disk(checkout: Checkout, room: str, place: str) -> str:
    """The shell command that mounts one."""
    (checkout.folder / place).mkdir(exist_ok=True)
    return f"mount -t tmpfs -o size={room} small {checkout.folder / place}"


def tools(tmp_path: Path) -> Path:
    """A PATH with make's own needs and no Python."""
    path = tmp_path / "tools"
    path.mkdir()
    for tool in ("make", "sh", "grep", "sed"):
        (path / tool).symlink_to(shutil.which(tool) or tool)
    return path


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def pid_of(command: str) -> int:
    """The process that runs it."""
    found: list[int] = []

    def look() -> bool:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words.startswith(command):
                found.append(int(process.parent.name))
        return bool(found)

    eventually(look, f"{command} runs")
    return found[0]


def eventually(holds: Callable[[], bool], what: str, deadline: float = 60) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.02)
