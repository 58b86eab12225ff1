"""Installing what was fetched, without any network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from deploy.bootstrap import environment, room
from deploy.bootstrap.environment import ROOT
from deploy.bootstrap.failures import explained
from deploy.bootstrap.fetch import Fetch
from deploy.bootstrap.pip import run_pip
from deploy.bootstrap.progress import Pace, Progress
from deploy.bootstrap.wanted import Package, name_and_version

_FROM_HERE = ("install", "--no-index", "--no-deps")
_COMPILED = 12  # times as long as unpacking takes compiling: 103 MB of sources 13 s, all 750 MB unpacked 8 s


def install(venv: Path, packages: list[Package], fetch: Fetch, progress: Progress) -> None:
    """Install the packages' wheels, and the project itself as it lies here."""
    if packages:
        pinned = ["--require-hashes", "--requirement", str(fetch.written(packages))]
        tick = _teller(venv, packages, fetch, progress)
        _pip(venv, fetch, tick, *_FROM_HERE, "--find-links", str(fetch.wheels), *pinned)
    progress.show("installing MedSync itself")
    _pip(venv, fetch, lambda: None, *_FROM_HERE, "--no-build-isolation", "--editable", str(ROOT))


def _teller(venv: Path, packages: list[Package], fetch: Fetch, progress: Progress) -> Callable[[], None]:
    """Says how far it is. pip says nothing while it installs; but each package leaves something when it is done."""
    wanted = {(package.name, package.version) for package in packages}
    work = {name_and_version(wheel): _work(wheel) for wheel in fetch.kept()}
    total = sum(work[package] for package in wanted if package in work)
    pace = Pace()

    def tick() -> None:
        done = wanted & {name_and_version(left) for left in environment.installed(venv)}
        left = pace.left(sum(work.get(package, 0) for package in done), total)
        progress.show(f"installed {len(done)} of {len(wanted)} packages{left}")

    return tick


def _work(wheel: Path) -> int:
    """How much there is to do for it, beside others."""
    with zipfile.ZipFile(wheel) as content:
        return sum(
            file.file_size * (_COMPILED if file.filename.endswith(".py") else 1)
            for file in content.infolist()
        )


def _pip(venv: Path, fetch: Fetch, tick: Callable[[], None], *arguments: str) -> None:
    ran = run_pip(venv, *arguments, scratch=fetch.scratch, log=fetch.log, tick=tick)
    if ran.code != 0:
        place = room.left(venv)
        raise explained(ran.said, ran.code, kept=fetch.what_is_kept(), place=place, log=str(fetch.log))
