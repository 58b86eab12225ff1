"""`medsync doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import typer

from cli.brokers import broker
from cli.sign_in import staff_headers
from cli.system import STATE, find
from shared.broker_access import number_of_brokers
from shared.database import Database, SettingsLost, connect, require_settings
from shared.messaging.outages import BROKER_AWAY

FREE_BYTES = 2 * 1024**3
LOCKS_NEEDED = 256
LETTERS_ASKED = 500
SAID_OF_LETTERS = ("parked", "held_events")


def examine() -> int:
    """Run every check; prints a line each, and answers how many found something wrong."""
    checks: list[Callable[[], str | None]] = [_python, _disk, _namespaces]
    running = _something_runs()
    if running:
        checks += [
            services_are_ready,
            nothing_waits_for_a_person,
            nothing_lasts,
            what_is_past_its_day_is_gone,
            _brokers,
            _databases,
            roles_have_their_settings,
            the_wall_stands,
        ]
    wrong = 0
    for check in checks:
        problem = check()
        wrong += problem is not None
        typer.echo(
            f"{'WRONG' if problem else 'ok   '}  {(check.__doc__ or '').strip()}{': ' + problem if problem else ''}"
        )
    if not running:
        typer.echo(
            "       nothing is running here (start it with `medsync up`), so servers and services were not checked"
        )
    return wrong


def _something_runs() -> bool:
    try:
        return bool(find())
    except SystemExit:
        return False


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
        answer = httpx.get(f"{url}/ops/ready", timeout=5)
        return [f"{url}: {reason}" for reason in answer.json()["missing"]]
    except httpx.TransportError as error:
        return [f"{url}: {type(error).__name__}"]
    except (ValueError, KeyError):
        return [f"{url}: answers {answer.status_code}, and not as a service does"]


def nothing_waits_for_a_person() -> str | None:
    """Nothing needs attention"""
    first = {name: urls[0] for name, urls in find().services.items() if urls}  # each answers for its service
    with ThreadPoolExecutor(max_workers=max(1, len(first))) as side_by_side:
        told = side_by_side.map(_waiting, first.values())
        waiting = [f"{name}: {what}" for name, what in zip(first, told, strict=True) if what]
    if not waiting:
        return None
    return f"{'; '.join(waiting)}. `medsync deadletters list` shows them; `redrive` or `skip` lets them go on"


def _waiting(url: str) -> str | None:
    """What waits at this service for somebody to look at it."""
    try:
        found = httpx.get(f"{url}/ops/deadletters?limit={LETTERS_ASKED}", headers=staff_headers(), timeout=10)
    except httpx.TransportError:
        return None  # said already: it is not ready
    if found.is_error:
        return f"does not say what waits (answers {found.status_code})"
    letters, held = found.json()["items"], found.json()["held"]
    or_more = " or more" if len(letters) == LETTERS_ASKED else ""
    reasons = Counter(letter["reason"] for letter in letters)
    told = []
    if parked := sum(letter["parked"] for letter in letters):
        told.append(f"{parked}{or_more} parked (patients or stores)")
    if letters:
        why = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        told.append(f"{len(letters)}{or_more} open dead letters ({why})")
    if held:
        told.append(f"{len(held)} events held that the broker rejected")
    return ", ".join(told) or None


def nothing_lasts() -> str | None:
    """Nothing lasts longer than it should"""
    of_each = {name: urls for name, urls in find().services.items() if urls}
    urls = [url for each in of_each.values() for url in each]
    with ThreadPoolExecutor(max_workers=max(1, len(urls))) as side_by_side:
        told = dict(zip(urls, side_by_side.map(_warned, urls), strict=True))
    lasting = [
        f"{name}: {what}"
        for name, each in of_each.items()
        for what in dict.fromkeys(what for url in each for what in told[url])
    ]
    return "; ".join(lasting) or None


def _warned(url: str) -> list[str]:
    """What this process warns of, but for what waits for a person: that is said already."""
    try:
        warnings = httpx.get(f"{url}/ops/ready", timeout=5).json()["warnings"]
    except (httpx.TransportError, ValueError, KeyError):
        return []
    return [each["says"] for each in warnings if each["code"] not in SAID_OF_LETTERS]


def what_is_past_its_day_is_gone() -> str | None:
    """Records are removed once their day is past"""
    first = {name: urls[0] for name, urls in find().services.items() if urls}
    with ThreadPoolExecutor(max_workers=max(1, len(first))) as side_by_side:
        told = side_by_side.map(_late, first.values())
        late = [f"{name}: {what}" for name, what in zip(first, told, strict=True) if what]
    return f"{'; '.join(late)}. `medsync retention show` says more" if late else None


def _late(url: str) -> str | None:
    """Which kinds of record this service should have removed by now."""
    try:
        found = httpx.get(f"{url}/ops/retention", headers=staff_headers(), timeout=10)
    except httpx.TransportError:
        return None  # said already: it is not ready
    if found.is_error:
        return f"does not say what is past its day (answers {found.status_code})"
    told = found.json()
    late = ", ".join(f"{each['past']} of {each['kind']}" for each in told["kinds"] if each["late"])
    unsigned = "" if told["signed_off_by"] else " (nobody has signed off how long records are kept)"
    return f"{late} past their day{unsigned}" if late else None


def _brokers() -> str | None:
    """Kafka answers, and takes who we are"""
    if not find().kafka:
        return None
    try:
        asyncio.run(number_of_brokers(broker()))
    except BROKER_AWAY as error:
        return f"{type(error).__name__}; look at MEDSYNC_KAFKA_PROTOCOL and the settings beside it"
    return None


def _databases() -> str | None:
    """PostgreSQL has room for locks"""
    return asyncio.run(_few_locks())


def roles_have_their_settings() -> str | None:
    """The roles of services have timeouts of their own, which a pooler keeps"""
    return asyncio.run(_settings_lost())


async def _settings_lost() -> str | None:
    lost = []
    for url in find().databases.values():
        try:
            db = await connect(Database(url, pooled=True), name="medsync doctor")
        except OSError:
            return None  # said already
        try:
            await require_settings(db)
        except SettingsLost as error:
            lost.append(str(error))
        finally:
            await db.close()
    return " ".join(lost) or None


def the_wall_stands() -> str | None:
    """Row-level security binds the services: who is bound to some stores sees no other's patients"""
    return asyncio.run(wall_lacking(find().databases))


async def wall_lacking(databases: Mapping[str, str]) -> str | None:
    """Where the second wall does not bind the role of a service; none: nowhere. `databases`: their URLs."""
    lacking = []
    for service, url in databases.items():
        try:
            db = await connect(url, name="medsync doctor")
        except OSError:
            return None  # said already
        try:
            unbound = await db.fetchval(
                """
                select string_agg(c.relname, ', ' order by c.relname)
                from pg_policy p
                join pg_class c on c.oid = p.polrelid
                where not row_security_active(c.oid)
                """
            )
            if unbound:
                lacking.append(f"{service}: {await db.fetchval('select current_user')} owns {unbound}")
        finally:
            await db.close()
    return f"{'; '.join(lacking)}: run deploy.setup, which has another role own them" if lacking else None


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
