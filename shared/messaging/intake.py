"""Taking events in: a whole batch in one transaction, each event once, per patient in order; poison set aside."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from shared.messaging import tables
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import Delivery, Invalid, Record, Unhandled, read
from shared.messaging.outages import is_timeout
from shared.messaging.registry import Handlers
from shared.messaging.unit import Cause, Unit, Work, log_ids
from shared.problems import Refused

BATCH_SECONDS = 20.0
"""A transaction that takes longer is cancelled: halved, and after three times alone, poison."""

TIMEOUTS_ALONE = 3

DEADLY = 3
"""Processes that died with one record alone in hand: then it is poison."""

KILLED = ("killed_process", f"{DEADLY} processes died on it")

MANY_PATIENTS, MINUTE = 5, 60.0
"""More patients than this parked by one fault within a minute is a bad release, not bad data. Counted are faults of
handlers, due work and keys; records that are malformed in themselves are bad data, however many."""

log = structlog.get_logger()


class Outage(Exception):
    """The database is away: the batch waits, and no event is blamed."""


class BadRelease(Exception):
    """The handlers fail for one reason on patient after patient: stop consuming, become unready."""


@dataclass(slots=True)
class Tally:
    """What this process took in, for operations and tests."""

    taken: int = 0
    repeated: int = 0
    passed: int = 0
    buried: int = 0
    stored_behind: int = 0
    by_type: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    buried_for: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by reason code


class Intake:
    """Applies batches of records to one service."""

    def __init__(self, work: Work, handlers: Handlers, *, topic_prefix: str = "") -> None:
        self.work, self.handlers = work, handlers
        self.tally = Tally()
        self._prefix = topic_prefix

    async def take(self, records: Sequence[Record]) -> None:
        """Give every record of the batch its effect, once; on return its offsets may be committed.

        Raises:
            Outage: the database is away; take the same records again later.
            BadRelease: see there.
        """
        reach("intake.received")
        run: list[Delivery] = []
        for record in records:
            match read(record, self.handlers.events, self.work.sealer, self.work.group):
                case Delivery() as delivery:
                    run.append(delivery)
                case Invalid() as invalid:
                    await self._settle(run)
                    run = []
                    await self._bury(invalid, attempts=1, reason=invalid.reason, message=invalid.message)
                case Unhandled():
                    self.tally.passed += 1
        await self._settle(run)

    async def bury_killer(self, record: Record) -> None:
        """Set aside a record that killed process after process which had it alone in hand."""
        match read(record, self.handlers.events, self.work.sealer, self.work.group):
            case Unhandled():
                return
            case Delivery() | Invalid() as letter:
                await self._bury(letter, attempts=DEADLY, reason=KILLED[0], message=KILLED[1])

    async def bury_unreadable(self, topic: str, partition: int, offset: int) -> None:
        """Set aside a record that the client library cannot read; its payload is on the topic still."""
        record = Record(topic, partition, offset, None, (), None)
        letter = Invalid(record, "undecodable", "the name of a header is not UTF-8")
        await self._bury(letter, attempts=1, reason=letter.reason, message=letter.message)

    async def _settle(self, deliveries: Sequence[Delivery]) -> None:
        """Apply all in one transaction; where that fails for what is in them, halve until the culprit is alone."""
        if not deliveries:
            return
        with log_ids(deliveries[0]) if len(deliveries) == 1 else nullcontext():
            try:
                await self._apply(deliveries)
            except Exception as error:
                await self._raise_if_outage(error)
                if len(deliveries) > 1:
                    middle = len(deliveries) // 2
                    await self._settle(deliveries[:middle])
                    await self._settle(deliveries[middle:])
                else:
                    await self._blame(deliveries[0], error)

    async def _apply(self, deliveries: Sequence[Delivery]) -> None:
        keys = {delivery.key for delivery in deliveries}
        batch_cause = Cause(deliveries[0].correlation_id, str(deliveries[0].event_id))
        async with asyncio.timeout(BATCH_SECONDS), self.work.begin(sorted(keys), cause=batch_cause) as unit:
            new = await tables.claim(unit.db, [delivery.event_id for delivery in deliveries])
            fresh = _first_of_each(deliveries, new)
            reach("intake.claimed")
            parked = await tables.parked_among(unit.db, sorted(keys))
            behind = [d for d in fresh if d.key in parked and not d.event.OVERTAKES]
            if behind:
                await tables.store_behind(unit.db, behind)
            ahead = [d for d in fresh if d.key not in parked or d.event.OVERTAKES]
            await run_handlers(unit, self.handlers, ahead)
            reach("intake.handled")
        reach("intake.committed")
        self.tally.taken += len(fresh)
        self.tally.repeated += len(deliveries) - len(fresh)
        self.tally.stored_behind += len(behind)
        for delivery in ahead:
            self.tally.by_type[delivery.event.TYPE] += 1

    async def _raise_if_outage(self, error: Exception) -> None:
        if await self.work.is_outage(error):
            raise Outage(type(error).__name__) from error

    async def _blame(self, delivery: Delivery, error: Exception) -> None:
        """The event stands alone and fails: a dead letter, once a timeout has had three tries."""
        attempts = 1
        while is_timeout(error) and attempts < TIMEOUTS_ALONE:
            attempts += 1
            try:
                await self._apply([delivery])
            except Exception as again:
                await self._raise_if_outage(again)
                error = again
            else:
                return
        reason, message = verdict(error)
        log.warning("event.failed", type=delivery.event.TYPE, reason=reason, exc_info=error)
        await self._bury(delivery, attempts=attempts, reason=reason, message=message)

    async def _bury(self, letter: Delivery | Invalid, *, attempts: int, reason: str, message: str) -> None:
        """Keep it as a dead letter and park its patient, in one transaction; then say so."""
        reach("letter.before")
        key = letter.key
        cause = Cause(str(letter.event_id), str(letter.event_id))
        try:
            async with self.work.begin([key] if key else [], cause=cause) as unit:
                if letter.event_id and not await tables.claim(unit.db, [letter.event_id]):
                    return  # taken before: redelivered after the letter was written
                parked = await tables.parked_among(unit.db, [key]) if key else {}
                if parked and not (isinstance(letter, Delivery) and letter.event.OVERTAKES):
                    await tables.store_behind(unit.db, [letter])
                    self.tally.stored_behind += 1
                    return
                number = await tables.bury(unit.db, letter, attempts=attempts, reason=reason, message=message)
                if number and key and not parked:
                    if isinstance(letter, Delivery) or reason == "seal_broken":
                        await check_release(unit, reason)
                    await tables.park(unit.db, key, reason, number)
        except Exception as error:
            await self._raise_if_outage(error)
            raise
        reach("letter.after")
        self.tally.buried += 1
        self.tally.buried_for[reason] += 1
        log_buried(letter, reason)


def log_buried(letter: Delivery | Invalid, reason: str) -> None:
    """Where the record stands, and why it is set aside; not what it says, nor of whom."""
    log.warning(
        "event.buried",
        topic=letter.record.topic,
        partition=letter.record.partition,
        offset=letter.record.offset,
        type=letter.event.TYPE if isinstance(letter, Delivery) else letter.event_type,
        event_id=str(letter.event_id) if letter.event_id else None,
        reason=reason,
    )


async def run_handlers(unit: Unit, handlers: Handlers, deliveries: Sequence[Delivery]) -> None:
    """Hand events to their handlers in rounds: round k holds each patient's k-th event, grouped by type.

    So no list given to a handler holds a patient twice, and no patient's events change places.
    """
    rounds: list[dict[str, list[Delivery]]] = []
    depth: dict[str, int] = defaultdict(int)
    for delivery in deliveries:
        place = depth[delivery.key]
        depth[delivery.key] += 1
        if place == len(rounds):
            rounds.append(defaultdict(list))
        rounds[place][delivery.event.TYPE].append(delivery)
    for by_type in rounds:
        for event_type, group in by_type.items():
            unit.at_hand = {delivery.key: delivery for delivery in group}
            await handlers.by_type[event_type]([delivery.event for delivery in group], unit)
    unit.at_hand = {}


async def check_release(unit: Unit, reason: str) -> None:
    """Raises BadRelease where one more patient parked for this reason would be too many."""
    if await tables.parked_since(unit.db, reason, MINUTE) >= MANY_PATIENTS:
        raise BadRelease(f"more than {MANY_PATIENTS} patients failed within a minute: {reason}")


def verdict(error: Exception) -> tuple[str, str]:
    """Reason code and message of a failure. Only the refusal's own text is kept: others may quote data."""
    if isinstance(error, Refused):
        return f"refused:{error.code}", error.message
    if is_timeout(error):
        return "timed_out", "took too long while the database answered"
    return f"failed:{type(error).__name__}", "the handler failed; its trace is in the log of the service"


def _first_of_each(deliveries: Sequence[Delivery], new: set[UUID]) -> list[Delivery]:
    """Those just claimed, each id once though it may stand twice in the batch."""
    left, fresh = set(new), []
    for delivery in deliveries:
        if delivery.event_id in left:
            left.discard(delivery.event_id)
            fresh.append(delivery)
    return fresh
