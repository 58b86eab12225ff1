"""Taking events in: a whole batch in one transaction, each event once, per patient in order; poison set aside."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import structlog

from shared.messaging import tables
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import AHEAD, Delivery, Invalid, Record, Unhandled, is_from_the_future, read
from shared.messaging.outages import is_timeout
from shared.messaging.positions import Spans, moves
from shared.messaging.registry import Handlers
from shared.messaging.tables import Move
from shared.messaging.unit import Cause, Unit, Work, log_ids
from shared.problems import Refused

BATCH_SECONDS = 20.0
"""A transaction that takes longer is cancelled: halved, and after three times alone, poison."""

TIMEOUTS_ALONE = 3

DEADLY = 3
"""Processes that died with one record alone in hand: then it is poison."""

KILLED = ("killed_process", f"{DEADLY} processes died on it")
ENDED_CONNECTION = ("ended_connection", f"{DEADLY} connections to the database ended on it")

NOBODY = Cause("", "")
"""Of a transaction that only moves positions: nothing follows from it."""

NOWHERE: Spans = {}

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

    async def take(self, records: Sequence[Record], spans: Spans = NOWHERE) -> None:
        """Give every record of the batch its effect, once; each transaction moves the positions over what it settles.

        `spans` say what the batch settles of each partition, and are kept as they move. A partition that has none is
        read by somebody who keeps no position.

        Raises:
            Outage: the database is away; take the same records again later.
            Displaced: the database stands elsewhere; read again from there.
            BadRelease: see there.
        """
        reach("intake.received")
        batch = Batch(records, spans)
        run: list[Delivery | Unhandled] = []
        for record in records:
            match understand(record, self.handlers, self.work):
                case Delivery() as delivery:
                    run.append(delivery)
                case Invalid() as invalid:
                    await self._settle(batch, run)
                    run = []
                    await self._bury(
                        batch, invalid, attempts=1, reason=invalid.reason, message=invalid.message
                    )
                case Unhandled() as unhandled:
                    run.append(unhandled)
                    self.tally.passed += 1
        await self._settle(batch, run)

    async def bury_killer(self, record: Record, spans: Spans, why: tuple[str, str]) -> None:
        """Set aside a record that killed process after process, or connection, which had it alone in hand."""
        match understand(record, self.handlers, self.work):
            case Unhandled() as unhandled:
                await self._settle(Batch([record], spans), [unhandled])
            case Delivery() | Invalid() as letter:
                await self._bury(
                    Batch([record], spans), letter, attempts=DEADLY, reason=why[0], message=why[1]
                )

    async def bury_unreadable(self, topic: str, partition: int, offset: int, spans: Spans) -> None:
        """Set aside a record that the client library cannot read; its payload is on the topic still."""
        record = Record(topic, partition, offset, None, (), None)
        letter = Invalid(record, "undecodable", "the name of a header is not UTF-8")
        await self._bury(
            Batch([record], spans), letter, attempts=1, reason=letter.reason, message=letter.message
        )

    async def _settle(self, batch: Batch, run: Sequence[Delivery | Unhandled]) -> None:
        """Apply all in one transaction; where that fails for what is in them, halve until the culprit is alone."""
        deliveries = [each for each in run if isinstance(each, Delivery)]
        if not deliveries and not batch.moves(len(run)):
            return
        with log_ids(deliveries[0]) if len(deliveries) == 1 else nullcontext():
            try:
                await self._apply(batch, deliveries, len(run))
            except Exception as error:
                await self._raise_if_not_theirs(error, deliveries)
                if len(deliveries) > 1:
                    middle = run.index(deliveries[len(deliveries) // 2])
                    await self._settle(batch, run[:middle])
                    await self._settle(batch, run[middle:])
                else:
                    await self._blame(batch, deliveries[0], len(run), error)

    async def _apply(self, batch: Batch, deliveries: Sequence[Delivery], settled: int) -> None:
        """Give them their effect, and settle the batch's next so many records with it."""
        keys = {delivery.key for delivery in deliveries}
        batch_cause = _cause_of(deliveries[0]) if deliveries else NOBODY
        moved = batch.moves(settled)
        async with asyncio.timeout(BATCH_SECONDS), self.work.begin(sorted(keys), cause=batch_cause) as unit:
            new = await tables.claim(unit.db, [delivery.event_id for delivery in deliveries], moved)
            fresh = _first_of_each(deliveries, new)
            if not fresh and not moved:
                await tables.leave_trace(unit.db)
            reach("intake.claimed")
            parked = await tables.parked_among(unit.db, sorted(keys))
            behind = [d for d in fresh if d.key in parked and not d.event.OVERTAKES]
            if behind:
                await tables.store_behind(unit.db, behind)
            ahead = [d for d in fresh if d.key not in parked or d.event.OVERTAKES]
            await run_handlers(unit, self.handlers, ahead)
            reach("intake.handled")
        batch.settle(settled, moved)
        reach("intake.committed")
        self.tally.taken += len(fresh)
        self.tally.repeated += len(deliveries) - len(fresh)
        self.tally.stored_behind += len(behind)
        for delivery in ahead:
            self.tally.by_type[delivery.event.TYPE] += 1

    async def _raise_if_not_theirs(self, error: Exception, deliveries: Sequence[Delivery]) -> None:
        """Go on only where what failed may be the fault of an event."""
        if isinstance(error, tables.Displaced) or not deliveries:
            raise error
        await self._raise_if_outage(error)

    async def _raise_if_outage(self, error: Exception) -> None:
        if await self.work.is_outage(error):
            raise Outage(type(error).__name__) from error

    async def _blame(self, batch: Batch, delivery: Delivery, settled: int, error: Exception) -> None:
        """The event stands alone and fails: a dead letter, once a timeout has had three tries."""
        attempts = 1
        while is_timeout(error) and attempts < TIMEOUTS_ALONE:
            attempts += 1
            try:
                await self._apply(batch, [delivery], settled)
            except Exception as again:
                await self._raise_if_not_theirs(again, [delivery])
                error = again
            else:
                return
        reason, message = verdict(error)
        log.warning("event.failed", type=delivery.event.TYPE, reason=reason, exc_info=error)
        await self._bury(batch, delivery, settled=settled, attempts=attempts, reason=reason, message=message)

    async def _bury(
        self,
        batch: Batch,
        letter: Delivery | Invalid,
        *,
        settled: int = 1,
        attempts: int,
        reason: str,
        message: str,
    ) -> None:
        """Keep it as a dead letter, park its patient and settle so many records, in one transaction; then say so."""
        reach("letter.before")
        moved = batch.moves(settled)
        try:
            number = await self._keep(moved, letter, attempts, reason, message)
        except Exception as error:
            await self._raise_if_outage(error)
            raise
        batch.settle(settled, moved)
        if number is None:
            return
        reach("letter.after")
        self.tally.buried += 1
        self.tally.buried_for[reason] += 1
        log_buried(letter, reason)

    async def _keep(
        self, moves: Sequence[Move], letter: Delivery | Invalid, attempts: int, reason: str, message: str
    ) -> int | None:
        """The letter's number; none where it was taken before, or waits behind another of its patient."""
        key, ids = letter.key, [letter.event_id] if letter.event_id else []
        async with self.work.begin([key] if key else [], cause=_cause_of(letter)) as unit:
            if not await tables.claim(unit.db, ids, moves) and ids:
                return None  # taken before: redelivered after the letter was written
            parked = await tables.parked_among(unit.db, [key]) if key else {}
            if parked and not (isinstance(letter, Delivery) and letter.event.OVERTAKES):
                await tables.store_behind(unit.db, [letter])
                self.tally.stored_behind += 1
                return None
            number = await tables.bury(unit.db, letter, attempts=attempts, reason=reason, message=message)
            if number and key and not parked:
                if isinstance(letter, Delivery) or reason == "seal_broken":
                    await check_release(unit, reason)
                await tables.park(unit.db, key, reason, number)
            return number


class Batch:
    """Records on their way into the database, settled from the first to the last."""

    def __init__(self, records: Sequence[Record], spans: Spans) -> None:
        self._records, self._spans, self._settled = records, spans, 0

    def moves(self, number: int) -> list[Move]:
        """How the positions move when the next so many are settled."""
        until = self._settled + number
        then = self._records[until] if until < len(self._records) else None
        return moves(self._records[self._settled : until], then, self._spans)

    def settle(self, number: int, moved: Sequence[Move]) -> None:
        """They are: the transaction with their moves was committed."""
        for move in moved:
            self._spans[move.topic, move.partition].first = move.next
        self._settled += number


def understand(record: Record, handlers: Handlers, work: Work) -> Delivery | Invalid | Unhandled:
    """Read a record. One with an id from the future is set aside by its place: the inbox keeps ids by their time."""
    found = read(record, handlers.events, work.sealer, work.group, guests=handlers.guests)
    if isinstance(found, Unhandled) or not is_from_the_future(found.event_id, datetime.now(UTC)):
        return found
    event_type = found.event.TYPE if isinstance(found, Delivery) else found.event_type
    message = f"the time in ce_id is more than {AHEAD.days} days ahead; set the sender's clock"
    return Invalid(record, "from_the_future", message, event_type=event_type)


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


def _cause_of(letter: Delivery | Invalid) -> Cause:
    correlation = letter.correlation_id if isinstance(letter, Delivery) else str(letter.event_id)
    return Cause(correlation, str(letter.event_id))


def _first_of_each(deliveries: Sequence[Delivery], new: set[UUID]) -> list[Delivery]:
    """Those just claimed, each id once though it may stand twice in the batch."""
    left, fresh = set(new), []
    for delivery in deliveries:
        if delivery.event_id in left:
            left.discard(delivery.event_id)
            fresh.append(delivery)
    return fresh
