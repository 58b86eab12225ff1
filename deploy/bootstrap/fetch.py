"""Fetching the wheels, each kept as soon as it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deploy.bootstrap import room
from deploy.bootstrap.failures import SetupFailed, explained, is_changed, is_network, package_of
from deploy.bootstrap.pip import Ran, run_pip
from deploy.bootstrap.progress import Pace, Progress
from deploy.bootstrap.wanted import MB, Package, is_one_of, lacking, name_and_version


class Fetch:
    """What is fetched by pip into the folder `work`, and is still there when this is killed."""

    def __init__(self, venv: Path, work: Path, progress: Progress) -> None:
        self.wheels, self.scratch, self.log = work / "wheels", work / "scratch", work / "pip.log"
        self._venv = venv
        self._progress = progress
        self._sizes: dict[Path, int] = {}
        self._hashes: dict[tuple[str, str], frozenset[str]] = {}

    def kept(self) -> list[Path]:
        """The wheels that are here, whole."""
        return list(self.wheels.glob("*.whl"))

    def what_is_kept(self) -> str:
        """A sentence for whoever has to start again."""
        number = len(self.kept())
        return (
            f"The {number} packages that were fetched are kept: run it again."
            if number
            else "Then run it again."
        )

    def written(self, packages: Iterable[Package]) -> Path:
        """The packages as a file for pip, as the lock has them."""
        file = self.scratch.with_name("wanted.lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(package.text for package in packages), encoding="utf-8")
        return file

    def all(self, packages: list[Package]) -> None:
        """Fetch them. Where the connection breaks, go on from there as long as that gets any further."""
        self._hashes = {(package.name, package.version): package.hashes for package in packages}
        spoilt: set[str] = set()
        while missing := lacking(packages, self.kept()):
            before = len(self.kept())
            ran = self._once(missing)
            if ran.code == 0:
                return
            if is_network(ran.said) and len(self.kept()) > before:
                self._progress.say("  the connection broke; going on with what is missing")
            elif is_changed(ran.said) and (package := package_of(ran.said)) not in spoilt:
                # Also what pip before 24 makes of a connection that broke: half a wheel, taken for a whole one.
                spoilt.add(package)
                self._progress.say(f"  {package} did not come as it should; fetching it again")
            else:
                raise self._failure(ran)

    def _once(self, packages: list[Package]) -> Ran:
        self._sweep(whole_only=False)
        of, about = len(packages), sum(package.megabytes for package in packages)
        already = sum(wheel.stat().st_size for wheel in self.kept()) / MB
        pace = Pace()

        def tick() -> None:
            self._sweep(whole_only=True)
            arrived = self._arrived() / MB - already
            total = max(about, arrived)
            done = of - len(lacking(packages, self.kept()))
            left = pace.left(done + arrived, of + total)  # a package costs a question, and its megabytes
            self._progress.show(
                f"fetched {done} of {of} packages, {arrived:.0f} of about {total:.0f} MB{left}"
            )

        ran = run_pip(
            self._venv,
            *("download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off", "--require-hashes"),
            *("--dest", str(self.scratch / "done"), "--requirement", str(self.written(packages))),
            scratch=self.scratch,
            log=self.log,
            line=self._listen,
            tick=tick,
        )
        self._sweep(whole_only=False)
        return ran

    def _listen(self, line: str) -> None:
        if "Retrying (" in line:
            self._progress.show("no answer from the package index; trying again")

    def _arrived(self) -> int:
        """Bytes, with those of the wheel that is under way."""
        sizes = {}
        for wheel in (*self._under_way(), *self.kept()):
            with suppress(FileNotFoundError):
                sizes[wheel.name] = wheel.stat().st_size
        return sum(sizes.values())

    def _under_way(self) -> list[Path]:
        """Where pip puts a wheel that it fetches, to throw all of them away where it fails, and else copy them."""
        return [*self.scratch.glob("pip-unpack-*/*.whl"), *self.scratch.glob("done/*.whl")]

    def _sweep(self, *, whole_only: bool) -> None:
        """Keep every wheel of pip's that is what the lock pins. `whole_only`: pip runs; look at none that grows."""
        self.wheels.mkdir(parents=True, exist_ok=True)
        for wheel in self._under_way():
            with suppress(FileNotFoundError):
                size = wheel.stat().st_size
                settled = self._sizes.get(wheel) == size or not whole_only
                self._sizes[wheel] = size
                kept = self.wheels / wheel.name
                pinned = self._hashes.get(name_and_version(wheel), frozenset())
                if settled and not kept.exists() and is_one_of(wheel, pinned):
                    os.link(wheel, kept)
        if not whole_only:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _failure(self, ran: Ran) -> SetupFailed:
        place = room.left(self.wheels)
        return explained(ran.said, ran.code, kept=self.what_is_kept(), place=place, log=str(self.log))
