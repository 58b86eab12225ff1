"""What the demo counts of the stream."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest

from cli.demo.recorder import Recorder
from shared.events.base import Event
from shared.events.fulfillment import (
    Consultation,
    ConsultationHeld,
    FillRejected,
    PackagePickedUp,
    PackageReady,
)
from shared.events.outreach import PickupConfirmed
from shared.events.planner import PlanComputed
from shared.messaging.envelope import Record
from shared.messaging.tail import Seen

GOLDEN = Path(__file__).parents[2] / "contract" / "golden"


def test_an_event_that_stands_on_its_topic_twice_counts_once() -> None:
    recorder = Recorder("nowhere")
    for offset in (1, 2):
        recorder.note(picked_up(offset))

    assert recorder.records == 2
    assert recorder.counts == {"package-picked-up": 1}
    assert len(recorder.picked_up) == 1


def picked_up(offset: int) -> Seen:
    event = PackagePickedUp.model_validate_json((GOLDEN / f"{PackagePickedUp.TYPE}.json").read_bytes())
    record = Record(PackagePickedUp.TOPIC, 0, offset, event.key.encode(), (), b"")
    now = datetime(2026, 3, 2, tzinfo=UTC)
    return Seen(record, now, str(UUID(int=1)), PackagePickedUp.TYPE, "", "", event)


def seen(kind: type[Event], minute: int) -> Seen:
    event = kind.model_validate_json((GOLDEN / f"{kind.TYPE}.json").read_bytes())
    record = Record(kind.TOPIC, 0, minute, event.key.encode(), (), b"")
    at = datetime(2026, 3, 2, 15, minute, tzinfo=UTC)
    return Seen(record, at, str(UUID(int=minute)), kind.TYPE, "", "", event)


DAY = date(2026, 3, 2)
NEXT_DAY = date(2026, 3, 3)


def test_a_day_is_told_by_what_happened_to_patients_and_by_its_newest() -> None:
    recorder = Recorder("nowhere")
    for kind, minute in ((FillRejected, 1), (PackagePickedUp, 2), (PackagePickedUp, 3), (PlanComputed, 4)):
        recorder.note(seen(kind, minute))

    assert recorder.before(DAY) == ({}, []), "not over yet"
    counts, lines = recorder.before(NEXT_DAY)
    assert counts == {"fill-rejected": 1, "package-picked-up": 2, "plan-computed": 1}
    assert [line.at.minute for line in lines] == [1, 3], "plans are counted"
    assert recorder.before(NEXT_DAY) == ({}, []), "another day"


def test_what_comes_late_of_a_day_is_told_with_the_next() -> None:
    recorder = Recorder("nowhere")
    recorder.note(seen(PackageReady, 1))
    recorder.before(NEXT_DAY)
    recorder.note(seen(PackageReady, 2))

    counts, lines = recorder.before(date(2026, 3, 4))
    assert counts == {"package-ready": 1} and [line.at.minute for line in lines] == [2]


def test_what_was_told_least_is_told_first() -> None:
    recorder = Recorder("nowhere")
    often = [PickupConfirmed, PackagePickedUp, PackageReady]
    for minute, kind in enumerate(often):
        recorder.note(seen(kind, minute))
    recorder.before(NEXT_DAY)
    for minute, kind in enumerate([*often, FillRejected], 10):
        recorder.note(seen(kind, minute))

    _, lines = recorder.before(NEXT_DAY)
    assert 13 in [line.at.minute for line in lines], "a reject among all that happens every day"


def test_who_asks_for_the_newest_hears_of_each_once() -> None:
    recorder = Recorder("nowhere")
    for kind, minute in ((FillRejected, 1), (PackagePickedUp, 2), (PlanComputed, 3)):
        recorder.note(seen(kind, minute))

    assert [line.kind for line in recorder.newest(1)] == ["fill-rejected"]
    assert recorder.newest(1) == [], "what was not asked for is in the counts"
    recorder.note(seen(PackagePickedUp, 4))
    assert [line.patient for line in recorder.newest(5)] == ["7d5c1a90"]


def test_what_happened_at_one_moment_is_told_in_the_order_in_which_it_was_heard() -> None:
    recorder = Recorder("nowhere")
    for number, kind in enumerate((PackagePickedUp, ConsultationHeld), 1):
        recorder.note(replace(seen(kind, number), at=datetime(2026, 3, 2, 22, tzinfo=UTC)))

    _, lines = recorder.before(NEXT_DAY)
    assert [line.kind for line in lines] == ["package-picked-up", "consultation-held"]


def test_of_many_patients_the_same_ones_are_followed_in_whatever_order_they_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cli.demo.recorder.STORIES", 2)
    followed = []
    for ids in ("abcd", "dcba", "bdac"):
        recorder = Recorder("nowhere")
        for number, patient_id in enumerate(ids * 2):
            one = seen(PickupConfirmed, number)
            assert one.event is not None
            recorder.note(replace(one, event=one.event.model_copy(update={"patient_id": patient_id})))
        followed.append({key: len(moments) for key, moments in recorder.stories.items()})

    assert followed == [{"a": 2, "b": 2}] * 3


def test_talks_that_were_held_are_counted() -> None:
    recorder = Recorder("nowhere")
    recorder.note(seen(ConsultationHeld, 1))
    one = seen(ConsultationHeld, 2)
    assert one.event is not None
    recorder.note(replace(one, event=one.event.model_copy(update={"outcome": Consultation.declined})))

    assert (recorder.talks, recorder.counts["consultation-held"]) == (1, 2)
