"""What tests share: one real stack per run, a fresh database and a name of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.local import Addresses
from deploy.local.databases import (
    create_database,
    ensure_role,
    migrate,
    migrations_of,
    role_of,
    url_of,
    wait_for_others,
)
from deploy.local.sql import on_server
from tests.copies import Copies
from tests.stack import StackOfTheRun, ask

pytest_plugins = ["tests.groups"]

RUN = pytest.StashKey[StackOfTheRun]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[RUN] = StackOfTheRun(say=lambda text: _say(config, text))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist, before it starts, where to ask for the stack."""
    run = node.config.stash[RUN]
    node.workerinput["stack"], node.workerinput["prefix"] = run.served_at(), run.prefix


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].stop()


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Addresses:
    """Real PostgreSQL and real Kafka, shared by all tests of the run. Never stop it: start a LocalStack for that."""
    if RUN in pytestconfig.stash:
        return pytestconfig.stash[RUN].addresses()
    return ask(pytestconfig.workerinput["stack"])


@pytest.fixture(scope="session")
def database_prefix(pytestconfig: pytest.Config) -> str:
    """What the names of this run's databases begin with."""
    if RUN in pytestconfig.stash:
        return pytestconfig.stash[RUN].prefix
    return pytestconfig.workerinput["prefix"]


@pytest.fixture
def fresh_database(stack: Addresses, database_prefix: str) -> Iterator[Callable[[str], str]]:
    """`fresh_database("planner")` is the URL of a migrated database that this test has to itself."""
    made: list[str] = []

    def make(service: str, *migrations: Path) -> str:
        template = f"{database_prefix}_{service}"
        _make_template(stack.postgres, template, role_of(service), migrations or migrations_of(service))
        made.append(f"{template}_{uuid4().hex[:12]}")
        return _create(stack.postgres, made[-1], role_of(service), template)

    yield make
    for database in made:
        drop = f"drop database if exists {database} with (force)"
        on_server(stack.postgres, lambda admin, drop=drop: admin.execute(drop))


@pytest.fixture
def copies(stack: Addresses) -> Iterator[Copies]:
    """`await copies.of(url)` is the URL of a database as it stood: what a backup of it would give back."""
    made = Copies(stack.postgres)
    yield made
    made.drop()


@pytest.fixture
def unique_name() -> str:
    """A name that no other test uses, for topics and groups on the shared broker."""
    return f"test-{uuid4().hex[:12]}"


def _make_template(admin_url: str, template: str, role: str, migrations: tuple[Path, ...]) -> None:
    """Make the migrated database that a service's fresh ones are copied from, once per run."""
    unfinished = f"{template}_unfinished"

    async def make(admin: asyncpg.Connection) -> None:
        await wait_for_others(admin)
        if await admin.fetchval("select true from pg_database where datname = $1", template):
            return
        await ensure_role(admin, admin_url, role)
        await create_database(admin, unfinished, role)
        migrate(url_of(admin_url, unfinished, role), *migrations)
        await admin.execute(f"alter database {unfinished} rename to {template}")

    on_server(admin_url, make)


def _create(admin_url: str, database: str, role: str, template: str) -> str:
    async def create(admin: asyncpg.Connection) -> None:
        await create_database(admin, database, role, template)

    on_server(admin_url, create)
    return url_of(admin_url, database, role)


def _say(config: pytest.Config, text: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line(text)
