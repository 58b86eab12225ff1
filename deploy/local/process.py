"""A child process of the local stack: its log, its end, and what its log says about why it ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local import tether


class StackError(Exception):
    """The local stack cannot do what was asked: what happened, and what to do."""


class Process:
    """A started child; the kernel ends it should this process die first."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        on_parent_death: signal.Signals = signal.SIGKILL,
        new_namespace: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log.stat().st_size if log.exists() else 0
        self._popen = _spawn(_tethered(command, on_parent_death, new_namespace), log, environment)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where a signal ended it."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def stop(self, number: signal.Signals, grace: float) -> None:
        """Ask it to end with this signal, wait up to `grace` seconds, then kill it."""
        self.send(number)
        self.end_within(grace)

    def end_within(self, grace: float) -> None:
        """Wait up to `grace` seconds for its end, then kill it."""
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def wait_until(self, ready: Callable[[], bool], deadline: float) -> None:
        """Poll `ready` for up to `deadline` seconds. StackError, with the reason, if it ends or is late."""
        end = time.monotonic() + deadline
        while True:
            answered = ready()
            if self.exit_code is not None:  # then whoever answered is somebody else
                raise self.failure(f"{self.name} ended with code {self.exit_code} while it was starting")
            if answered:
                return
            if time.monotonic() > end:
                raise self.failure(f"{self.name} did not answer a request within {deadline:.0f} s")
            time.sleep(0.05)

    def failure(self, what: str) -> StackError:
        """An error that says what the log of this run says about it."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            said = file.read().decode(errors="replace")
        return explained(what, said, self.log.parent, f"See {self.log}.")


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    new_namespace: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code, and keep what it said."""
    tied = _tethered(command, signal.SIGKILL, new_namespace)
    return subprocess.run(tied, env=environment, capture_output=True, text=True, check=False)


def _tethered(
    command: Sequence[str | Path], on_parent_death: signal.Signals, new_namespace: bool
) -> list[str]:
    """The command line that runs `command` tied to this process."""
    return [
        sys.executable,
        *("-I", "-S", tether.__file__),
        *(str(os.getpid()), str(int(on_parent_death)), "new" if new_namespace else "own"),
        *(str(word) for word in command),
    ]


# What a server says in its log, and what it means to the person who started it.
_CAUSES = {
    "No space left on device": "the disk is full: free some space and start again",
    "Address already in use": "another program has taken its port: end that program, or choose another port",
    "Address in use": "another program has taken its port: end that program, or choose another port",
    "insufficient memory": "there is not enough free memory: end other programs and start again",
    "Cannot allocate memory": "there is not enough free memory: end other programs and start again",
}
_FULL = 1 << 20  # with less than this free, a server cannot even log that the disk is full


def explained(what: str, said: str, directory: Path, see: str) -> StackError:
    """An error from what happened, what the program said, and the state of the disk it writes to."""
    full = directory.exists() and shutil.disk_usage(directory).free < _FULL
    known = "No space left on device" if full else next((text for text in _CAUSES if text in said), None)
    if known:
        return StackError(f"{what}: {_CAUSES[known]} ({directory}). {see}")
    last = "\n".join(f"    {line}" for line in said.strip().splitlines()[-8:])
    return StackError(f"{what}. {see} It said last:\n{last}")


# The kernel ties a child to the *thread* that spawned it: all come from one that lives to the end.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def _spawn(command: list[str], log: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return _spawner.submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops the others in order
        ).result()
