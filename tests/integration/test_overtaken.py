"""A departure leaves though an earlier event of its patient is held; released after it, that one brings nobody back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.events import Event
from shared.events.enrollment import (
    Consent,
    DisenrolmentReason,
    PatientDisenrolled,
    PatientEnrolled,
    Profile,
    ProfileChanged,
)
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from tests.running import SEALING_KEY, record
from tests.without_broker import without_broker

NOW = datetime(2026, 10, 8, 15, tzinfo=UTC)
PROFILE = Profile(store_id="store-1")

TAKES_PART = {
    "planner": "select enrolled from patients",
    "outreach": "select enrolled from patients",
    "fulfillment": "select enrolled from patients",
    "console": "select status = 'enrolled' from patients",
}


def enrolled(revision: int) -> PatientEnrolled:
    return PatientEnrolled(patient_id="p", revision=revision, consent=Consent(given_at=NOW), profile=PROFILE)


def changed(revision: int) -> ProfileChanged:
    return ProfileChanged(patient_id="p", revision=revision, profile=PROFILE)


def left(revision: int) -> PatientDisenrolled:
    return PatientDisenrolled(patient_id="p", revision=revision, reason=DisenrolmentReason.revoked)


@pytest.mark.parametrize("service", TAKES_PART)
@pytest.mark.parametrize(
    ("story", "takes_part"),
    [
        ([enrolled(1), left(3), changed(2)], False),
        ([left(2), enrolled(1)], False),
        ([enrolled(1), left(3), enrolled(2)], False),
        ([enrolled(1), left(3), changed(2), enrolled(4)], True),
    ],
    ids=["a profile", "the enrollment itself", "an enrollment anew", "and then a new enrollment"],
)
async def test_what_is_released_behind_a_departure_is_older_than_it(
    service: str,
    story: list[Event],
    takes_part: bool,
    fresh_database: Callable[[str], str],
    tmp_path: Path,
) -> None:
    parts = [import_module(f"services.{service}.{part}") for part in ("app", "handlers", "settings")]
    app, handlers, settings = parts
    url = fresh_database(service)
    created = app.create_app(
        settings.Settings(database_url=url, kafka_bootstrap="unused", sealing_key=SecretStr(SEALING_KEY))
    )
    jobs = import_module("shared.messaging").Jobs()
    async with without_broker(
        service, created, handlers.on, jobs, url=url, now=NOW, folder=tmp_path
    ) as running:
        intake = Intake(running.work, handlers.on)
        for offset, event in enumerate(story):
            await intake.take([as_record(event, offset)])
        (row,) = await running.rows(TAKES_PART[service])
        assert await running.rows("select * from fabric.dead_letters") == []
    assert [*row.values()] == [takes_part]


def as_record(event: Event, offset: int) -> Record:
    one = record(event)
    return Record(event.TOPIC, 0, offset, one["key"], tuple(one["headers"]), one["value"])
