"""Groups of tests that need a program which not every machine has.

A test says so with `pytest.mark.needs("browser")`. Where the program is missing, its group does not run, and the run
closes with one line that names it. With MEDSYNC_EVERY_GROUP=1, as `.ci/run` sets it, such a test fails instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import keycloak

EVERY = "MEDSYNC_EVERY_GROUP"
NODE_PACKAGES = Path(__file__).parent / "contract" / "node" / "node_modules"
NOT_RUN = "not run"

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Where Debian puts servers, which is not on everybody's path."""


def _browser() -> str | None:
    return None if shutil.which("chromium") else "chromium is missing: apt-get install chromium"


def _node() -> str | None:
    if not shutil.which("node"):
        return "node is missing: apt-get install nodejs npm"
    if not (NODE_PACKAGES / "ajv-formats").is_dir():
        return "its packages are missing: npm ci --prefix tests/contract/node"
    return None


def _solver() -> str | None:
    return None if importlib.util.find_spec("ortools") else "OR-tools is missing: make setup"


def _keycloak() -> str | None:
    return None if keycloak.BUILT.exists() else "Keycloak is missing: python -m tests.keycloak"


def _pooler() -> str | None:
    return None if shutil.which("pgbouncer", path=PATH) else "pgbouncer is missing: apt-get install pgbouncer"


GROUPS: Mapping[str, Callable[[], str | None]] = {
    "browser": _browser,
    "keycloak": _keycloak,
    "node": _node,
    "pooler": _pooler,
    "solver": _solver,
}
"""What each group misses here and how to get it, or none."""


def pytest_configure(config: pytest.Config) -> None:
    names = ", ".join(GROUPS)
    config.addinivalue_line("markers", f"needs(group): a test of a group that may not run here: {names}")


@pytest.hookimpl(tryfirst=True)  # before any fixture starts a server
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        (group,) = mark.args
        if missing := GROUPS[group]():
            _leave_out(item, f"{group} ({missing})")


def _leave_out(item: pytest.Item, group: str) -> None:
    if os.environ.get(EVERY) == "1":
        pytest.fail(f"{group}, and {EVERY}=1 wants every group run", pytrace=False)
    item.user_properties.append((NOT_RUN, group))  # which a worker of pytest-xdist hands on
    pytest.skip(f"{NOT_RUN}: {group}")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after all else that is summed up
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    left_out = {
        group
        for report in terminalreporter.stats.get("skipped", ())
        for name, group in report.user_properties
        if name == NOT_RUN
    }
    if left_out:
        terminalreporter.write_line(f"{NOT_RUN}: {', '.join(sorted(left_out))}", yellow=True)
