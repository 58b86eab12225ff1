"""`medsync doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import typer

from cli.system import STATE, described, find
from shared.database import connect

FREE_BYTES = 2 * 1024**3
LOCKS_NEEDED = 256


def examine() -> int:
    """Run every check; prints a line each, and answers how many found something wrong."""
    checks: list[Callable[[], str | None]] = [_python, _disk, _namespaces]
    if described().exists():
        checks += [services_are_ready, _databases]
    wrong = 0
    for check in checks:
        problem = check()
        wrong += problem is not None
        typer.echo(
            f"{'WRONG' if problem else 'ok   '}  {(check.__doc__ or '').strip()}{': ' + problem if problem else ''}"
        )
    if not described().exists():
        typer.echo(
            "       nothing runs here (`medsync up` starts it), so servers and services were not looked at"
        )
    return wrong


def _python() -> str | None:
    """Python is 3.11 or newer"""
    return None if sys.version_info >= (3, 11) else f"this is {sys.version.split()[0]}; install a newer one"


def _disk() -> str | None:
    """Two gigabytes of disk are free"""
    free = shutil.disk_usage(Path.cwd()).free
    return None if free >= FREE_BYTES else f"{free // 1024**2} MB are; make room for the data in {STATE}"


def _namespaces() -> str | None:
    """PostgreSQL can run as this user"""
    limit = Path("/proc/sys/user/max_user_namespaces")
    if os.geteuid() == 0 and limit.exists() and int(limit.read_text()) == 0:
        return "as root it needs user namespaces, and they are off; use an ordinary user or set MEDSYNC_POSTGRES_URL"
    return None


def services_are_ready() -> str | None:
    """Every service is ready"""
    urls = find().every_url
    with ThreadPoolExecutor(max_workers=max(1, len(urls))) as side_by_side:
        unready = [reason for reasons in side_by_side.map(_missing, urls) for reason in reasons]
    return "; ".join(unready) or None


def _missing(url: str) -> list[str]:
    """What the service at this address lacks to be ready."""
    try:
        answer = httpx.get(f"{url}/ops/ready", timeout=5).json()
    except httpx.TransportError as error:
        return [f"{url}: {type(error).__name__}"]
    return [f"{url}: {reason}" for reason in answer["missing"]]


def _databases() -> str | None:
    """PostgreSQL has room for locks"""
    return asyncio.run(_few_locks())


async def _few_locks() -> str | None:
    for url in find().databases.values():
        try:
            db = await connect(url, name="medsync doctor")
        except OSError as error:
            return f"no answer ({type(error).__name__}); is it running?"
        try:
            locks = int(await db.fetchval("show max_locks_per_transaction"))
        finally:
            await db.close()
        if locks < LOCKS_NEEDED:
            return f"max_locks_per_transaction is {locks}; set it to {LOCKS_NEEDED} or more"
        return None
    return None
