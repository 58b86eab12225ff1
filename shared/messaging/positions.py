"""Where a service goes on reading: in its own database, moved by the transactions that take events in. So a restored
database reads again what it forgot, and a process that was overtaken changes nothing.

Kafka's own offsets are committed too, for tools that look at lag; nobody here reads them but an upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError

from shared.database import Db
from shared.events import owner_of
from shared.messaging import journal, lives, tables
from shared.messaging.envelope import Record
from shared.messaging.lag import LagMeter, Place, Survey
from shared.messaging.producers import Mark, marks_in
from shared.messaging.tables import Gap, Move, Topic
from shared.messaging.unit import Caller, Unit, Work

log = structlog.get_logger()

WHOLE = -1
"""The partition of a gap that is of the topic as a whole."""


@dataclass(slots=True)
class Span:
    """The offsets of one partition that a batch settles; `first` moves with each transaction that settles some."""

    first: int
    """Where the database stands: what is missing up to the first record are a transaction's markers."""
    next: int
    """Where it stands when all is settled: behind the markers that follow the last record."""


Spans = Mapping[Place, Span]
"""By topic and partition, as the database names them."""


def moves(settled: Sequence[Record], then: Record | None, spans: Spans) -> list[Move]:
    """How these records move the positions. `then` is the batch's next; after the last, every span is at its end."""
    reached = {(record.topic, record.partition): record.offset + 1 for record in settled}
    for place, span in spans.items():
        if then is None or (place in reached and place != (then.topic, then.partition)):
            reached[place] = span.next
    return [
        Move(*place, spans[place].first, offset)
        for place, offset in sorted(reached.items())
        if place in spans and spans[place].first < offset
    ]


# ---- looking ----------------------------------------------------------------------------------------------------


def gaps_of(
    known: Topic, survey: Survey, before: Mapping[Place, int], after: Mapping[Place, int]
) -> list[Gap]:
    """What keeps the service from going on in a topic: as it was, as it is, and where the service stood before the
    broker was asked, and after. Others go on meanwhile: only who stood beyond the end before is beyond it."""
    seen = survey.topics[known.topic]
    for why, was, is_ in (
        ("cluster_replaced", known.cluster_id, seen.cluster_id),
        ("topic_replaced", known.topic_id, seen.topic_id),
        ("partitions_changed", known.partitions, seen.partitions),
        ("cleanup_changed", known.cleanup, seen.cleanup),
    ):
        if was != is_:
            return [Gap(known.topic, WHOLE, why, str(was), str(is_))]
    gaps = []
    if _kept_ms(seen) < _kept_ms(known):
        gaps.append(
            Gap(known.topic, WHOLE, "retention_shortened", str(known.retention_ms), str(seen.retention_ms))
        )
    for partition in range(seen.partitions):
        place = known.topic, partition
        if place not in after or place not in survey.starts:
            continue  # nobody leads it: nothing is known against it
        if after[place] < survey.starts[place]:
            gaps.append(Gap(*place, "records_gone", str(after[place]), str(survey.starts[place])))
        elif before.get(place, 0) > survey.ends[place]:
            gaps.append(Gap(*place, "topic_went_back", str(before[place]), str(survey.ends[place])))
    return gaps


def _kept_ms(topic: Topic) -> float:
    return inf if topic.retention_ms < 0 or topic.cleanup == "compact" else topic.retention_ms


def said(gap: Gap) -> str:
    """What is missing, for who has to bring it back."""
    return {
        "cluster_replaced": f"the topic is on another cluster ({gap.found}) than the one read so far ({gap.expected})",
        "topic_replaced": f"the topic was deleted and made anew ({gap.found} instead of {gap.expected})",
        "partitions_changed": f"it has {gap.found} partitions and had {gap.expected}: patients changed theirs",
        "cleanup_changed": f"its cleanup.policy is {gap.found} and was {gap.expected}",
        "retention_shortened": f"its retention.ms is {gap.found} and was {gap.expected}",
        "records_gone": f"partition {gap.partition} begins at {gap.found}: what stood at {gap.expected} is gone",
        "topic_went_back": f"partition {gap.partition} ends at {gap.found}, and was read up to {gap.expected}",
    }[gap.why]


def cure(service: str, topic: str) -> str:
    """The commands that bring what is missing, and go on."""
    owner = owner_of(topic)
    return (
        f"`medsync replay {owner} --topic {topic} --from TIME` sends again what {service} may not have taken in, "
        f"`medsync gaps accept {service} {topic}` goes on"
    )


class Lookout:
    """Looks whether a service can go on where it stands."""

    def __init__(self, work: Work, meter: LagMeter, *, prefix: str = "") -> None:
        self._work, self._meter, self._prefix = work, meter, prefix

    async def look(self) -> dict[TopicPartition, int]:
        """Where to go on in each partition; none of topics with a gap, and none at all where the database was put back.
        What is seen for the first time is written down. Raises what asking the broker and the database raises."""
        async with self._work.connection() as db:
            before = await tables.positions(db)
        survey, marks = await self._meter.survey(), marks_in(await self._meter.marks())
        async with self._work.connection() as db, db.transaction():
            if await self._is_put_back(db, marks):
                return {}
            await self._meet(db, survey)
            known, stored = await tables.known_topics(db), await tables.positions(db)
            met = survey.topics.keys() & known.keys()
            gaps = [gap for name in met for gap in gaps_of(known[name], survey, before, stored)]
            for gap in await tables.note_gaps(db, gaps):
                log.critical("consumer.gap", topic=gap.topic, why=gap.why, what=said(gap))
            refused = {gap.topic for gap, _ in await tables.open_gaps(db)}
            for name in met - refused:
                if survey.topics[name] != known[name]:  # its records are kept longer than before
                    await tables.renew(db, survey.topics[name])
        return {
            TopicPartition(self._prefix + topic, partition): offset
            for (topic, partition), offset in stored.items()
            if topic in met - refused
        }

    async def _is_put_back(self, db: Db, marks: Mapping[int, Mark]) -> bool:
        """Whether the database is older than what was published from it, by marks that were read before.

        The leading relay sees that too, but later: first it has the broker undo what others began.
        """
        for number in range(await journal.ranges(db)):
            tick = await journal.last_tick(db, number)
            if await lives.put_back(db, self._work.service, tick, marks.get(number)):
                return True
        if self._work.looked is not None:
            self._work.looked.set()
        return False

    async def _meet(self, db: Db, survey: Survey) -> None:
        """Begin with topics that this database never saw: where Kafka says that the service was before positions were
        kept here, else at the first record."""
        unmet = survey.topics.keys() - (await tables.known_topics(db)).keys()
        if not unmet:
            return
        before = await self._meter.acknowledged() if await tables.has_taken(db) else {}
        for topic in (survey.topics[name] for name in sorted(unmet)):
            places = [(topic.topic, partition) for partition in range(topic.partitions)]
            if all(place in survey.starts for place in places):
                await tables.meet(db, topic, [before.get(place, survey.starts[place]) for place in places])

    async def accept(self, caller: Caller, name: str) -> bool:
        """Go on though events are missing, with the topic as it is; says whether there was a gap.

        Where the service stands nowhere in a partition as it is, it reads from the first record: the inbox knows what
        was taken in before. Raises KafkaError where the broker is away, or does not lead all of the topic.
        """
        async with self._work.connection() as db:
            if not await tables.open_gaps(db, name):
                return False
        survey = await self._meter.survey()
        seen = survey.topics.get(name)
        if seen is None or any(
            (name, partition) not in survey.starts for partition in range(seen.partitions)
        ):
            raise LeaderNotAvailableError(f"nobody leads a partition of {name}, or there is no such topic")

        async def accept(unit: Unit) -> bool:
            known = (await tables.known_topics(unit.db)).get(name)
            if known is None or not await tables.accept_gaps(unit.db, name, unit.actor):
                return False
            same = (known.cluster_id, known.topic_id) == (seen.cluster_id, seen.topic_id)
            stored = await tables.positions(unit.db) if same else {}
            await tables.begin_anew(
                unit.db, seen, [_goes_on(survey, stored, (name, p)) for p in range(seen.partitions)]
            )
            return True

        return await self._work.command(caller, (), accept)


def _goes_on(survey: Survey, stored: Mapping[Place, int], place: Place) -> int:
    start = survey.starts[place]
    stands = stored.get(place, start)
    return stands if start <= stands <= survey.ends[place] else start
