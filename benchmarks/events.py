"""What is sent: real profiles, as enrollment publishes them, and events of half a kilobyte."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from uuid import UUID

from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from benchmarks.business import Told
from benchmarks.common import Bench
from benchmarks.runs import Load
from data.resample import KINDS, read_directory, resample
from services.enrollment.app import create_app
from services.enrollment.settings import Settings
from shared.clock import SteppedClock
from shared.events.enrollment import TOPIC, PatientEnrolled, Profile, ProfileChanged, StockReport
from shared.messaging.envelope import headers_of
from tests.running import SEALING_KEY, at_rest, everything_on, running

SAMPLE = Path(__file__).parents[1] / "data" / "sample-patients"
FIRST_DAY = datetime(2009, 10, 1, 15, tzinfo=UTC)
FEED = {"Medsync-Actor": "feed", "Medsync-Role": "system"}

LATE_DAYS = 3
"""Ids are of the last days, as on a topic that is read late: they sort by time."""


async def real_profiles(
    database_url: str, bootstrap: str, prefix: str, clock: Path, *, patients: int = 200
) -> list[PatientEnrolled]:
    """What the enrollment service publishes when so many of the sample patients (resampled) are fed and enrolled."""
    stepped = SteppedClock(clock)
    stepped.set(FIRST_DAY)
    settings = Settings(
        database_url=database_url,
        kafka_bootstrap=bootstrap,
        topic_prefix=prefix,
        clock_file=clock,
        sealing_key=SecretStr(SEALING_KEY),
        pseudonym_key=SecretStr(SEALING_KEY),
    )
    known = resample(read_directory(SAMPLE), patients, seed=7).known_by(FIRST_DAY.date())
    async with running(create_app(settings)) as service:
        for kind in KINDS:
            rows = [_without_day(row) for row in known.of(kind)]
            for some in (rows[n : n + 500] for n in range(0, len(rows), 500)):
                fed = await service.post(
                    f"/imports/{kind}", json={"source": "chain", "records": some}, headers=FEED, timeout=60
                )
                fed.raise_for_status()
        listed, after = [], ""
        while after is not None:
            page = (await service.get("/patients", params={"after": after, "limit": 500})).json()
            listed += [item["patient_id"] for item in page["items"]]
            after = page["next"]
        for patient_id in listed:
            (await service.post(f"/patients/{patient_id}/consent", json={}, timeout=60)).raise_for_status()
        await at_rest(service)
    enrolled = PatientEnrolled.TYPE.encode()
    return [
        PatientEnrolled.model_validate_json(record.value or b"")
        for record in await everything_on(bootstrap, prefix + TOPIC)
        if dict(record.headers)["ce_type"] == enrolled
    ]


def _without_day(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "known_on"}


def from_profiles(profiles: Sequence[PatientEnrolled], patients: int) -> Iterator[Told]:
    """Endless: first every patient is enrolled, with one profile or another, then they change again and again."""
    for revision in itertools.count(1):
        for number in range(patients):
            one = profiles[number % len(profiles)]
            patient_id = f"{number:07}-{one.patient_id}"[:64]
            if revision == 1:
                yield one.model_copy(update={"patient_id": patient_id})
            else:
                yield ProfileChanged(
                    patient_id=patient_id, revision=revision, profile=one.profile, changes=("handed_over",)
                )


def half_kilobyte(patients: int) -> Iterator[ProfileChanged]:
    """Endless: each patient once in every round, in an order of its own."""
    draw = Random(5)
    for revision in itertools.count(1):
        for number in draw.sample(range(patients), patients):
            yield small(number, revision)


def of_anyone(patients: int) -> Iterator[ProfileChanged]:
    """Endless: half-kilobyte events of patients drawn from all."""
    draw = Random(5)
    for revision in itertools.count(1):
        yield small(draw.randrange(patients), revision)


def small(number: int, revision: int) -> ProfileChanged:
    """A change of a small profile; some 500 bytes."""
    return ProfileChanged(
        patient_id=f"{number:032x}",
        revision=revision,
        profile=Profile(store_id=f"S{number % 90}", stock_reports=REPORTS),
        changes=("on_hand",),
    )


REPORTS = (StockReport(rx_id="RX1", reported_on=date(2009, 9, 2), days_left=4),)


async def load(bench: Bench, name: str, prefix: str, stream: Iterable[Told]) -> Load:
    """Put events on enrollment's topic under a prefix."""
    await bench.topics(prefix)
    count, size = await fill(bench.kafka, prefix + TOPIC, stream)
    return Load(name, prefix, count, size / count)


async def fill(bootstrap: str, topic: str, events: Iterable[Told]) -> tuple[int, int]:
    """Put events on a topic as their owner's relay does; answers their number and their bytes of payload."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20, max_batch_size=500_000
    )
    await producer.start()
    count = size = 0
    began = int(time.time() * 1000) - LATE_DAYS * 86_400_000
    now = datetime.now(UTC).isoformat()
    try:
        for count, event in enumerate(events, start=1):
            headers = headers_of(
                event,
                service="enrollment",
                at=now,
                correlation_id=str(UUID(int=count)),
                causation_id="benchmark",
                trace_parent=None,
            ) | {"ce_id": str(time_id(began, count)), "ce_sequence": str(count)}
            value = event.model_dump_json().encode()
            size += len(value)
            await producer.send(
                topic,
                key=event.key.encode(),
                value=value,
                headers=[(name, text.encode()) for name, text in headers.items()],
            )
        await producer.flush()
    finally:
        await producer.stop()
    return count, size


def time_id(began: int, number: int) -> UUID:
    """The uuidv7 of the n-th event since `began` (milliseconds): four a millisecond."""
    random = Random(number).getrandbits(62)
    return UUID(int=(began + number // 4) << 80 | 0x7 << 76 | (number % 4) << 64 | 0x2 << 62 | random)
