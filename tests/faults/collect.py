"""Reading the complete record of a run: topics from offset 0, tables past the proxy, logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.faults.chain import CHAIN, LEDGER_TOPIC, SENDER_TOPIC
from tests.faults.history import STRANGER, Command, Copied, Effect, History, Letter, Published, number_in
from tests.faults.load import CANARY
from tests.faults.system import System
from tests.running import everything_on

KINDS = {"medsync.sender.counted.v1": "counted", "medsync.ledger.applied.v1": "applied"}

AGAIN = "ce_replayed"
"""Marks a record that was sent again on purpose; the rest of it is as it was."""


async def collect(system: System, commands: Sequence[Command], waiting: dict[str, int]) -> History:
    """Everything that there is to know; the system is at rest."""
    records = [
        record
        for topic in (SENDER_TOPIC, LEDGER_TOPIC)
        for record in await everything_on(system.servers.bootstrap, system.prefix + topic)
    ]
    records.sort(key=lambda record: (record.topic, record.partition, record.offset))
    published = [_published(record) for record in records]
    letters = {service: await _letters(system, service) for service in CHAIN}
    things = await system.sql("sender", "select count(*) from things")
    found = list(_canaries(system, records)) + [
        f"{service}: dead letter of {letter.key}"
        for service in CHAIN
        for letter in await system.sql(service, "select key, reason, message from fabric.dead_letters")
        if CANARY in letter["reason"] + letter["message"]
    ]
    return History(
        commands=commands,
        effects={service: await _effects(system, service) for service in CHAIN},
        copies={service: await _copies(system, service) for service in ("sender", "ledger")},
        published=[record for record in published if not record.key.startswith(STRANGER)],
        letters=letters,
        stored={service: await _stored(system, service) for service in CHAIN},
        rebuilt=None if any(waiting.values()) else await _effects(system, "rebuilt"),
        things=things[0][0],
        waiting=waiting,
        attempts=attempts(system),
        searched=len(records) + sum(map(len, letters.values())) + _lines(system),
        canaries=found,
    )


async def evidence(system: System) -> dict[str, int]:
    """What shows that faults were met: events delivered that were there already, relay leases taken over."""
    found = {"deliveries of an event that was there already": 0, "relay leases taken over": 0}
    for service in CHAIN:
        row = (
            await system.sql(
                service,
                """
                select count(*) - count(distinct event_id) as again,
                       (select sum(epoch)::bigint from fabric.relay_lease) as epoch
                from proof.deliveries
                """,
            )
        )[0]
        found["deliveries of an event that was there already"] += row["again"]
        found["relay leases taken over"] += row["epoch"]
    return found


async def _effects(system: System, service: str) -> list[Effect]:
    rows = await system.sql(service, "select patient_id, kind, number, cause from effects order by id")
    return [Effect(*row) for row in rows]


async def _copies(system: System, service: str) -> list[Copied]:
    rows = await system.sql(
        service, "select id, event_id::text, key, payload from proof.outbox_copy order by id"
    )
    return [Copied(*row) for row in rows]


async def _letters(system: System, service: str) -> list[Letter]:
    rows = await system.sql(
        service, "select key, event_id::text, status, reason from fabric.dead_letters order by id"
    )
    return [
        Letter(row["key"] or "", row["event_id"] or "", row["status"], row["reason"])
        for row in rows
        if not (row["key"] or "").startswith(f"patient:{STRANGER}")
    ]


async def _stored(system: System, service: str) -> frozenset[str]:
    rows = await system.sql(service, "select event_id::text from fabric.parked_events")
    return frozenset(row["event_id"] or "" for row in rows)


def _published(record: Any) -> Published:
    headers = dict(record.headers)
    key = (record.key or b"").decode()
    return Published(
        record.topic,
        record.partition,
        record.offset,
        key,
        headers["ce_id"].decode(),
        int(headers.get("ce_sequence", b"0")),
        KINDS[headers["ce_type"].decode()],
        0 if key.startswith(STRANGER) else number_in(record.value),
        record.value,
        tuple(header for header in record.headers if header[0] != AGAIN),
        AGAIN in headers,
    )


def attempts(system: System) -> dict[str, int]:
    """Told by the logs: a batch that was given back is a line `consumer.waits`, with its second."""
    most = {}
    for log in system.folder.glob("*-?.log"):
        seconds = Counter(
            line.partition('"timestamp": "')[2][:19]
            for line in log.read_text(errors="replace").splitlines()
            if '"consumer.waits"' in line
        )
        most[log.stem] = max(seconds.values(), default=0)
    return most


def _canaries(system: System, records: Sequence[Any]) -> Iterator[str]:
    for record in records:
        if any(CANARY.encode() in (value or b"") for _, value in record.headers):
            yield f"headers of {record.topic}/{record.partition}/{record.offset}"
    for log in sorted(system.folder.glob("*.log")):
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), 1):
            if CANARY in line:
                yield f"{log.name}:{number}"


def _lines(system: System) -> int:
    return sum(log.read_bytes().count(b"\n") for log in system.folder.glob("*.log"))


def faults_logged(system: System) -> list[str]:
    """What the fabric itself did not expect: its logs say `fault` where no outage explains it."""
    found = []
    for log in sorted(system.folder.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if '.fault"' in line or "part_failed" in line or "http.unexpected" in line:
                said = json.loads(line)
                found.append(
                    f"{log.stem}: {said['event']}: {said.get('error')} at {said.get('trace', [''])[-1]}"
                )
    return found
