"""What the demo counts of the stream."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from cli.demo.recorder import Recorder
from shared.events.fulfillment import PackagePickedUp
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
