"""`python -m deploy.bootstrap VENV`: make the virtual environment, or bring it up to date.

First everything is fetched, into a folder where it stays until it is installed: whatever happens in between, the next
run goes on from there. Then it is installed, without any network.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.bootstrap import environment, room
from deploy.bootstrap.environment import LOCK, ROOT
from deploy.bootstrap.failures import SetupFailed
from deploy.bootstrap.fetch import Fetch
from deploy.bootstrap.install import install
from deploy.bootstrap.progress import Progress, duration
from deploy.bootstrap.wanted import Package, by_name, lacking, locked_packages, megabytes, what_for

WORK = ROOT / ".medsync" / "setup"
"""Holds what was fetched, until it is installed."""


def main() -> int:
    options = _options()
    venv = Path(options.venv).absolute()
    next_ = "" if options.quiet else " Next: make demo, or make test."
    if options.is_ready:
        ready = environment.is_ready(venv)
        if ready and not options.quiet:
            print(f"{options.venv} is set up already.{next_}")
        return 0 if ready else 1
    progress = Progress()
    try:
        with _alone(progress.say):
            set_up(venv, progress)
    except SetupFailed as failed:
        return _failed(progress, str(failed))
    except KeyboardInterrupt:
        progress.say("Interrupted. What was fetched is kept: the next set-up goes on from there.")
        return 130
    except OSError as error:
        return _failed(progress, room.explained(error, venv))
    progress.say(f"{options.venv} is set up, in {duration(progress.passed)}.{next_}")
    return 0


def set_up(venv: Path, progress: Progress) -> None:
    """Make `venv` what requirements.lock says. Raises SetupFailed, and OSError where the disk is the matter."""
    fetch = Fetch(venv, WORK, progress)
    packages = locked_packages(LOCK)
    anew = not environment.can_be_brought_up_to_date(venv)
    if not anew and environment.is_ready(venv):
        return  # another set-up made it ready while this one waited
    if not anew:
        packages = lacking(environment.for_this_machine(venv, packages), environment.installed(venv))
    to_fetch = lacking(packages, fetch.kept())
    room.require(venv, WORK, fetching=megabytes(to_fetch), installing=megabytes(packages))
    _announce(progress.say, anew, packages, to_fetch)
    if anew:
        environment.begin(venv)
        progress.say("  making the virtual environment …")
        environment.make(venv)
        packages = environment.for_this_machine(venv, packages)
    fetch.all(packages)
    environment.begin(venv)
    install(venv, packages, fetch, progress)
    environment.mark_ready(venv)
    shutil.rmtree(WORK, ignore_errors=True)


def _announce(
    say: Callable[[str], None], anew: bool, packages: list[Package], to_fetch: list[Package]
) -> None:
    """What will be fetched, and what for."""
    if not anew:
        names = ", ".join(package.name for package in packages[:6]) + (", …" if packages[6:] else "")
        say(
            f"Bringing the virtual environment up to date with requirements.lock: {names or 'MedSync itself'}."
        )
        return
    number, here = len(by_name(packages)), len(packages) - len(to_fetch)
    say(
        f"Setting up a virtual environment: about {number} packages{f', {here} of them here already' * bool(here)}; "
        f"about {megabytes(to_fetch):.0f} MB to fetch, and {room.INSTALLED_MB} MB on the disk in the end."
    )
    if big := what_for(to_fetch):
        say(f"The big ones: {big}.")
    say(f"That takes some minutes, once. The first start then fetches Kafka ({room.KAFKA_MB} MB), also once.")


@contextmanager
def _alone(say: Callable[[str], None]) -> Iterator[None]:
    """One set-up of a checkout at a time. The kernel drops the lock with its holder."""
    with LOCK.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up of this checkout runs: waiting for its end.")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _failed(progress: Progress, why: str) -> int:
    progress.say("")
    print(f"Set-up failed. {why}", file=sys.stderr)
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.bootstrap", description=__doc__)
    parser.add_argument("venv", help="the folder of the virtual environment")
    parser.add_argument(
        "--is-ready", action="store_true", help="only say, by the exit code, whether it is set up"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of what comes next")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
