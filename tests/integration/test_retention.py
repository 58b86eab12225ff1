"""Records are removed on their day and not a day before, on real databases; what is open or still needed stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.console.store.retention import KINDS as OF_CONSOLE
from services.enrollment.store.retention import KINDS as OF_ENROLLMENT
from services.fulfillment.store.retention import KINDS as OF_FULFILLMENT
from services.outreach.store.retention import KINDS as OF_OUTREACH
from services.planner.store.retention import KINDS as OF_PLANNER
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.grants import SignedOff
from shared.messaging import Work, patient, removing
from shared.messaging.bell import Bell
from shared.messaging.removing import OF_THE_FABRIC, Removing
from shared.messaging.unit import Cause
from shared.retention import SHIPPED, Kind, Policy, Rule, read
from shared.sealing import Sealer
from tests.running import SEALING_KEY, until

SERVICES = {
    "enrollment": OF_ENROLLMENT,
    "planner": OF_PLANNER,
    "outreach": OF_OUTREACH,
    "fulfillment": OF_FULFILLMENT,
    "console": OF_CONSOLE,
}
KINDS = {kind.name: kind for kinds in SERVICES.values() for kind in kinds} | {
    kind.name: kind for kind in OF_THE_FABRIC
}
NOW = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=9000)


def policy(*kinds: Kind, days: int | None = None, signed: bool = True) -> Policy:
    """As few days as each kind allows, or so many."""
    rules = (
        Rule.model_validate(
            {
                "kind": kind.name,
                "after": kind.after,
                "days": days or kind.least_days,
                "from": date(2000, 1, 1),
                "source": "a test",
            }
        )
        for kind in kinds
    )
    return Policy(signed_off=SignedOff(by="officer-1", on=NOW.date()) if signed else None, keep=tuple(rules))


class Service:
    """One process of a service, as far as it removes records."""

    def __init__(self, work: Work, clock: SteppedClock) -> None:
        self.work, self.clock = work, clock

    async def remove(self, by: Policy, *kinds: Kind) -> None:
        for kind in kinds:
            await Removing(self.work, kinds, by).work_off(kind)

    async def sql(self, statement: str, *values: Any) -> None:
        async with self.work.connection() as db:
            await db.execute(statement, *values)

    async def count(self, table: str) -> int:
        async with self.work.connection() as db:
            found: int = await db.fetchval(f"select count(*) from {table}")
            return found


@asynccontextmanager
async def process_of(name: str, url: str, folder: Path) -> AsyncIterator[Service]:
    clock = SteppedClock(folder / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=4, name="test")
    work = Work(
        pool,
        service=name,
        clock=clock,
        sealer=Sealer(SEALING_KEY, key_id="1"),
        bell=Bell(url, name="test"),
    )
    try:
        yield Service(work, clock)
    finally:
        await pool.close()


@dataclass(frozen=True)
class Case:
    """`goes` writes what may go, its moment being $1; `stays` the like, which is open or needed, however old."""

    goes: Sequence[str]
    stays: Sequence[str]


STORE = """
    insert into stores (store_id, revision, name, state, time_zone, hours, closed_on, daily_cap, phone,
                        published_revision)
    values ('s', 1, 'S', 'NY', 'UTC', '[]', '{}', 0, '', 1) on conflict do nothing
"""
PERSON = """
    insert into patients (patient_id, fed_revision, store_id, must_weekdays)
    values ('p', 1, 's', '{}') on conflict do nothing
"""
PRESCRIBED = """
    insert into prescriptions (
        rx_id, patient_id, fed_revision, drug, status, directions, as_needed, usual_quantity, usual_days,
        quantity_left, refills_left, written_on, expires_on, prescriber_id
    )
    select '{rx}', 'p', 1, '{{}}', '{status}', '', false, 30, 30, 0, 0, ($1::timestamptz)::date - 360,
           ($1::timestamptz)::date{more}, 'd'
"""
CONSENTED = """
    insert into consents (patient_id, given_at, recorded_by, recorded_as, scope, channels, language, caregiver,
                          standing_instruction, must_weekdays, ended_at)
    select 'p', $1::timestamptz - interval '1 day', 'x', 'clerk', '{{}}', '{{}}', 'en', false, false, '{{}}', {ended}
"""
SAID = """
    insert into consent_history (patient_id, valid_from, change, recorded_by, recorded_as, scope, channels, language,
                                 caregiver, standing_instruction, must_weekdays)
    select 'p', {at}, 'amended', 'x', 'clerk', '{{}}', '{{}}', 'en', false, false, '{{}}'
"""
STATED = """
    insert into statements (patient_id, stated_at, recorded_by, recorded_as, said)
    select 'p', $1::timestamptz, 'x', 'clerk', '{said}'
"""
ANSWERED = """
    insert into candidate_answers (patient_id, answer, answered_on, recorded_at, recorded_by, recorded_as)
    select 'p', 'declined', '2026-01-01', $1::timestamptz, 'x', 'clerk'
"""
PLANNED_FOR = """
    insert into patients (patient_id, revision, enrolled, store_id, profile)
    values ('p', 1, true, 's', '{"prescriptions": [{"rx_id": "now"}]}') on conflict do nothing
"""
PLAN = """
    insert into plans (patient_id, store_id, revision, status, cycle, agreed, misses, offered_on, declined_until,
                       booked_since)
    values ('p', 's', 1, 'planned', 3, true, 0, '{}', '{}', now()) on conflict do nothing
"""
RULED = """
    insert into rulings (ruling_id, patient_id, kind, made_by, made_as, why, made_at, made_on, cycle, taken_back_at)
    select uuidv7(), 'p', 'exclude', 'x', 'pharmacist', 'y', $1::timestamptz, '2026-01-01', {cycle}, {back}
"""
REJECTED = """
    insert into rejections (patient_id, rx_id, code, rejected_on)
    select 'p', '{rx}', '79', ($1::timestamptz at time zone 'UTC')::date
"""
RENEWED = """
    insert into renewals (patient_id, rx_id, needed_by, asked_at)
    select 'p', '{rx}', '2001-01-01', $1::timestamptz
"""
CONTACT = """
    insert into contacts (contact_id, patient_id, kind, store_id, opened_at, plan_revision, visit_on, status,
                          declined_rx_ids, attempts, last_attempt_at, lease_id)
    select uuidv7(), 'p', '{kind}', 's', '2001-01-01', 1, {on}, '{status}', '{{}}', 1, $1::timestamptz, {lease}
"""
ATTEMPT = """
    insert into attempts (lease_id, contact_id, patient_id, kind, made_by, actor, at, until, outcome, reported_at,
                          reply)
    select uuidv7(), {of}, 'p', 'confirmation', 'person', 'x', $1::timestamptz, {until}, 'reached', $1::timestamptz,
           '{reply}'
"""
AGREED = '{"events": ["medsync.outreach.alignment-agreed.v1"]}'
TEXT = """
    insert into texts (text_id, patient_id, store_id, received_at, channel, sealed, key_id, cut, due_at, escalates_at,
                       read_at)
    select uuidv7(), 'p', 's', $1::timestamptz, 'text', '', '1', false, now(), now(), {read}
"""
QUESTION = """
    insert into questions (question_id, patient_id, store_id, asked_at, due_at, answered_at)
    select {of}, 'p', 's', $1::timestamptz, now(), {answered}
"""
ASKED = """
    insert into renewals (contact_id, patient_id, store_id, rx_id, drug_name, prescriber_id, needed_by, opened_at,
                          status, asked, asked_at)
    select uuidv7(), 'p', 's', 'r', 'd', 'x', '2001-01-01', '2001-01-01', '{status}', 1, $1::timestamptz
"""
SHORT = """
    insert into short_items (patient_id, visit_id, rx_id, missing, noted_at)
    select 'p', '{visit}', 'r', 1, $1::timestamptz
"""
ORDER = """
    insert into work_orders (visit_id, patient_id, store_id, package_id, plan_id, plan_revision, visit_kind, visit_on,
                             status, store_revision, missed_days, missed_at)
    select '{visit}', 'p', 's', '{visit}', 'pl', 1, 'bridge', ($1::timestamptz at time zone 'UTC')::date, '{status}', 0,
           0, {missed}
"""
OF_ORDER = (
    """
    insert into items (order_id, visit_id, patient_id, rx_id, drug_name, quantity, days_supply, status)
    select '{visit}', '{visit}', 'p', 'r', 'd', 1, 1, '{item}' where $1::timestamptz is not null
    """,
    """
    insert into confirmations (visit_id, patient_id, plan_id, plan_revision, items, received_at, live)
    select '{visit}', 'p', 'pl', 1, '{{}}', $1::timestamptz, true
    """,
    """
    insert into actions (visit_id, action, done_at, actor, role, detail)
    select '{visit}', 'verified', $1::timestamptz, 'x', 'pharmacist', '{{}}'
    """,
    "insert into consultations select '{visit}', 'held', '{{}}' where $1::timestamptz is not null",
)
LINE = """
    insert into stream (event_id, service, kind, at, correlation_id, topic, partition, "offset", words)
    select {id}, 'planner', 'plan-computed', {at}, 'c', 't', 0, 0, '' where $1::timestamptz is not null
"""
OF_MOMENT = """
    overlay(gen_random_uuid()::text placing
            substr(lpad(to_hex((extract(epoch from $1::timestamptz) * 1000)::bigint), 12, '0'), 1, 8) || '-'
            || substr(lpad(to_hex((extract(epoch from $1::timestamptz) * 1000)::bigint), 12, '0'), 9) || '-7'
            from 1 for 15)::uuid
"""
SHOWN = """
    insert into patients (patient_id, plan_revision) values ('p', 5) on conflict do nothing
"""
REVISION = """
    insert into plans (patient_id, revision, event_id, at, status, content)
    select 'p', {revision}, uuidv7(), $1::timestamptz, 'agreed', '{{}}'
"""
VISIT = """
    insert into visits (visit_id, patient_id, "on", plan_revision, package)
    select '{visit}', 'p', ($1::timestamptz at time zone 'UTC')::date, {revision}, {package}
"""
ACTION = """
    insert into actions (at, actor, role, what, because, until)
    select $1::timestamptz, 'x', 'clerk', 'reveal', 'y', {until}
"""
LETTER = """
    insert into fabric.dead_letters (topic, attempts, reason, message, headers, status, closed_at)
    select 'due:x', 1, 'schema', '', '[]', '{status}', $1::timestamptz
"""

CASES = {
    "enrollment.fills": Case(
        [
            STORE,
            PERSON,
            PRESCRIBED.format(rx="r", status="active", more=""),
            """
            insert into fills (fill_id, rx_id, patient_id, fed_revision, filled_on, handed_over_on, quantity,
                               days_supply, reversed)
            select 'f', 'r', 'p', 1, '2001-01-01', ($1::timestamptz at time zone 'UTC')::date, 1, 1, false
            """,
        ],
        [],
    ),
    "enrollment.reported_changes": Case(
        [
            STORE,
            PERSON,
            PRESCRIBED.format(rx="r", status="discontinued", more=""),
            "insert into reported_changes select 'p', 'r', 'stopped', '2001-01-01' where $1::timestamptz is not null",
        ],
        [
            STORE,
            PERSON,
            PRESCRIBED.format(rx="r", status="active", more=" + 20000"),
            "insert into reported_changes select 'p', 'r', 'stopped', ($1::timestamptz)::date",
        ],
    ),
    "enrollment.prescriptions": Case(
        [STORE, PERSON, PRESCRIBED.format(rx="r", status="superseded", more="")],
        [
            STORE,
            PERSON,
            PRESCRIBED.format(rx="active", status="active", more=""),
            PRESCRIBED.format(rx="filled", status="superseded", more=""),
            """
            insert into fills (fill_id, rx_id, patient_id, fed_revision, filled_on, handed_over_on, quantity,
                               days_supply, reversed)
            select 'f', 'filled', 'p', 1, ($1::timestamptz)::date, ($1::timestamptz)::date, 1, 1, false
            """,
        ],
    ),
    "enrollment.consents": Case(
        [
            STORE,
            PERSON,
            CONSENTED.format(ended="$1::timestamptz"),
            CONSENTED.format(ended="null::timestamptz"),
        ],
        [
            STORE,
            PERSON,
            CONSENTED.format(ended="$1::timestamptz"),
        ],  # that the patient left is told again by it
    ),
    "enrollment.consent_history": Case(
        [STORE, PERSON, SAID.format(at="timestamptz '2001-01-01'"), SAID.format(at="$1::timestamptz")],
        [STORE, PERSON, SAID.format(at="$1::timestamptz"), SAID.format(at="timestamptz '2090-01-01'")],
    ),
    "enrollment.statements": Case(
        [
            STORE,
            PERSON,
            STATED.format(said='{"payday": 1, "delivered": true}'),
            STATED.format(said='{"payday": 2}'),
            STATED.format(said='{"delivered": null}'),
        ],
        [STORE, PERSON, STATED.format(said='{"payday": 1}'), STATED.format(said='{"delivered": true}')],
    ),
    "enrollment.candidate_answers": Case([STORE, PERSON, ANSWERED, ANSWERED], [STORE, PERSON, ANSWERED]),
    "planner.answers": Case(
        [
            "insert into answers (patient_id, answered_at, answer, stale) select 'p', $1::timestamptz, 'x', false"
        ],
        [],
    ),
    "planner.rulings": Case(
        [PLANNED_FOR, PLAN, RULED.format(cycle="2", back="null::timestamptz")],
        [
            PLANNED_FOR,
            PLAN,
            RULED.format(cycle="3", back="null::timestamptz"),
            RULED.format(cycle="null::integer", back="null::timestamptz"),
        ],
    ),
    "planner.rejections": Case(
        [PLANNED_FOR, REJECTED.format(rx="gone")], [PLANNED_FOR, REJECTED.format(rx="now")]
    ),
    "planner.renewals": Case(
        [PLANNED_FOR, RENEWED.format(rx="gone")], [PLANNED_FOR, RENEWED.format(rx="now")]
    ),
    "outreach.contacts": Case(
        [CONTACT.format(kind="confirmation", on="date '2001-01-01'", status="done", lease="null::uuid")],
        [
            CONTACT.format(kind="confirmation", on="null::date", status="open", lease="null::uuid"),
            CONTACT.format(kind="confirmation", on="null::date", status="promised", lease="null::uuid"),
            CONTACT.format(kind="confirmation", on="null::date", status="done", lease="uuidv7()"),
            CONTACT.format(kind="confirmation", on="date '2090-01-01'", status="done", lease="null::uuid"),
            CONTACT.format(kind="insurance", on="null::date", status="done", lease="null::uuid"),
        ],
    ),
    "outreach.attempts": Case(
        [ATTEMPT.format(of="uuidv7()", until="null::timestamptz", reply="{}")],
        [
            CONTACT.format(kind="confirmation", on="null::date", status="open", lease="null::uuid"),
            ATTEMPT.format(of="(select contact_id from contacts)", until="null::timestamptz", reply="{}"),
            ATTEMPT.format(of="uuidv7()", until="timestamptz '2090-01-01'", reply="{}"),
            ATTEMPT.format(of="uuidv7()", until="null::timestamptz", reply=AGREED),
        ],
    ),
    "outreach.texts": Case([TEXT.format(read="$1::timestamptz")], [TEXT.format(read="null::timestamptz")]),
    "outreach.questions": Case(
        [
            QUESTION.format(of="uuidv7()", answered="$1::timestamptz"),
            QUESTION.format(of="uuidv7()", answered="null"),
        ],
        [
            QUESTION.format(of="uuidv7()", answered="timestamptz '2090-01-01'"),
            CONTACT.format(kind="question", on="null::date", status="open", lease="null::uuid"),
            QUESTION.format(of="(select contact_id from contacts where kind = 'question')", answered="null"),
        ],
    ),
    "outreach.renewals": Case([ASKED.format(status="closed")], [ASKED.format(status="open")]),
    "outreach.short_items": Case(
        [SHORT.format(visit="v")],
        [
            CONTACT.format(kind="confirmation", on="null::date", status="open", lease="null::uuid"),
            "update contacts set visit_id = 'v' where $1::timestamptz is not null",
            SHORT.format(visit="v"),
        ],
    ),
    "fulfillment.packages": Case(
        [
            ORDER.format(visit="v", status="picked_up", missed="null::timestamptz"),
            *(each.format(visit="v", item="filled") for each in OF_ORDER),
        ],
        [
            ORDER.format(visit="ready", status="ready", missed="null::timestamptz"),
            ORDER.format(visit="missed", status="cancelled", missed="now()"),
            ORDER.format(visit="filling", status="cancelled", missed="null::timestamptz"),
            *(each.format(visit="filling", item="leased") for each in OF_ORDER),
        ],
    ),
    "fulfillment.confirmations": Case(
        [OF_ORDER[1].format(visit="v")],
        [
            ORDER.format(visit="v", status="picked_up", missed="null::timestamptz"),
            OF_ORDER[1].format(visit="v"),
        ],
    ),
    "console.stream": Case(
        [
            LINE.format(id="uuidv7()", at="$1::timestamptz"),
            LINE.format(id=OF_MOMENT, at="null::timestamptz"),
            LINE.format(id="uuidv7()", at="timestamptz '2090-01-01'"),
        ],
        [LINE.format(id="uuidv7()", at="$1::timestamptz")],  # the newest: readers go on after it
    ),
    "console.plans": Case([SHOWN, REVISION.format(revision=4)], [SHOWN, REVISION.format(revision=5)]),
    "console.visits": Case(
        [
            SHOWN,
            VISIT.format(visit="v", revision=4, package="'picked_up'"),
            "insert into fills select 'v', 'r', 'p', 'filled' where $1::timestamptz is not null",
        ],
        [
            SHOWN,
            VISIT.format(visit="in the plan", revision=5, package="null"),
            VISIT.format(visit="ready", revision=4, package="'ready'"),
        ],
    ),
    "console.renewals": Case(
        [
            """
            insert into renewals (patient_id, rx_id, needed_by)
            select 'p', 'r', ($1::timestamptz at time zone 'UTC')::date
            """
        ],
        ["insert into renewals (patient_id, rx_id) select 'p', 'r' where $1::timestamptz is not null"],
    ),
    "console.actions": Case(
        [ACTION.format(until="null::timestamptz")], [ACTION.format(until="timestamptz '2090-01-01'")]
    ),
    "messaging.dead_letters": Case(
        [LETTER.format(status="redriven")],
        [
            LETTER.format(status="open"),
            LETTER.format(status="skipped"),
            """
            insert into fabric.parked (key, reason, dead_letter_id)
            select 'patient:p', 'x', max(id) from fabric.dead_letters where $1::timestamptz is not null
            """,
        ],
    ),
}
"""By kind."""

TABLES = {
    "fulfillment.packages": ("work_orders", "items", "confirmations", "actions", "consultations"),
    "console.visits": ("visits", "fills"),
    "messaging.dead_letters": ("fabric.dead_letters",),
}
KEPT_BESIDE = {
    "enrollment.consents": 1,
    "enrollment.consent_history": 1,
    "enrollment.statements": 2,
    "enrollment.candidate_answers": 1,
    "console.stream": 1,
}
"""Rows of `goes` that take the place of what goes."""

Fresh = Callable[[str], str]


def test_every_kind_is_tried_and_has_a_rule_with_its_source() -> None:
    assert CASES.keys() == KINDS.keys()
    for service, kinds in SERVICES.items():
        shipped = read(SHIPPED, service, (*kinds, *OF_THE_FABRIC))
        assert {rule.kind for rule in shipped.keep} == KINDS.keys()
        assert shipped.signed_off is None


@pytest.fixture
async def service(
    request: pytest.FixtureRequest, fresh_database: Fresh, tmp_path: Path
) -> AsyncIterator[Service]:
    """Of the kind that the test names, else outreach."""
    named = getattr(request.node, "callspec", None)
    name = named.params["kind"].partition(".")[0] if named else "outreach"
    name = "outreach" if name == "messaging" else name
    url = await asyncio.to_thread(fresh_database, name)
    async with process_of(name, url, tmp_path) as service:
        yield service


async def rows(service: Service, kind: str) -> list[int]:
    return [await service.count(each) for each in TABLES.get(kind, (kind.partition(".")[2],))]


async def write(service: Service, statements: Sequence[str], moment: datetime) -> None:
    for each in statements:
        await (service.sql(each, moment) if "$1" in each else service.sql(each))


@pytest.mark.parametrize("kind", CASES)
async def test_a_record_goes_on_its_day_and_not_a_day_before(service: Service, kind: str) -> None:
    of = KINDS[kind]
    days = of.least_days
    moment = datetime.now(UTC) - timedelta(days=days) if of.by_machine_time else NOW
    service.clock.set(moment + timedelta(days=days))
    await write(service, CASES[kind].goes, moment)
    before = await rows(service, kind)
    await service.remove(policy(of), of)
    assert await rows(service, kind) == before

    service.clock.advance(timedelta(days=1))
    a_day_later = days - 1 if of.by_machine_time else days  # nobody sets the database's clock
    await service.remove(policy(of, days=a_day_later), of)
    assert await rows(service, kind) == [KEPT_BESIDE.get(kind, 0)] * len(before)


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case.stays])
async def test_what_is_open_or_needed_stays_however_old(service: Service, kind: str) -> None:
    await write(service, CASES[kind].stays, LONG_AGO)
    before = await rows(service, kind)
    await service.remove(policy(KINDS[kind]), KINDS[kind])
    assert await rows(service, kind) == before


ATTEMPTS = KINDS["outreach.attempts"]


async def many_attempts(service: Service, number: int) -> None:
    """Of a hundred patients."""
    await service.sql(
        """
        insert into attempts (lease_id, contact_id, patient_id, kind, made_by, actor, at)
        select uuidv7(), uuidv7(), 'p' || n % 100, 'confirmation', 'person', 'x', $1
        from generate_series(1, $2) n
        """,
        LONG_AGO,
        number,
    )


async def test_without_a_signature_it_is_counted_and_nothing_goes(service: Service) -> None:
    await many_attempts(service, 3)
    unsigned = policy(ATTEMPTS, signed=False)
    await service.remove(unsigned, ATTEMPTS)
    assert await service.count("attempts") == 3
    async with service.work.read() as db:
        (told,) = await Removing(service.work, [ATTEMPTS], unsigned).kept(db)
    assert (told.past, told.removed, told.done_on, told.late) == (3, 0, None, True)


async def test_looking_changes_nothing_and_says_what_a_run_would_remove(service: Service) -> None:
    await many_attempts(service, 3)
    process = Removing(service.work, [ATTEMPTS], policy(ATTEMPTS))
    async with service.work.read() as db:  # read-only: what it wrote would fail
        (told,) = await process.kept(db)
    assert (told.past, told.late, await service.count("attempts")) == (3, True, 3)
    await process.work_off(ATTEMPTS)
    async with service.work.read() as db:
        (told,) = await process.kept(db)
    assert (told.past, told.removed, told.done_on, told.late) == (0, 3, NOW.date(), False)


async def test_a_kind_without_a_rule_that_holds_is_kept(service: Service) -> None:
    await many_attempts(service, 3)
    (rule,) = policy(ATTEMPTS).keep
    over = rule.model_copy(update={"ends_on": NOW.date() - timedelta(days=1)})
    await service.remove(policy(ATTEMPTS).model_copy(update={"keep": (over,)}), ATTEMPTS)
    assert await service.count("attempts") == 3


async def test_a_run_that_is_cut_off_goes_on_where_it_was(service: Service) -> None:
    await many_attempts(service, 2500)
    running = asyncio.create_task(Removing(service.work, [ATTEMPTS], policy(ATTEMPTS)).run())

    async def begun() -> bool:
        return await service.count("attempts") < 2500

    await until(begun, "some are removed")
    running.cancel()
    await asyncio.wait([running])
    assert 0 < await service.count("attempts") < 2500
    await service.remove(policy(ATTEMPTS), ATTEMPTS)
    assert await service.count("attempts") == 0
    assert await service.count("fabric.retention where removed = 2500 and done_on is not null") == 1


async def test_while_one_process_removes_another_leaves_it_to_it(service: Service) -> None:
    await many_attempts(service, 1000)
    one, other = (Removing(service.work, [ATTEMPTS], policy(ATTEMPTS)) for _ in range(2))
    async with service.work.begin((), cause=Cause("test", "test")) as unit:
        assert await one.batch(unit, ATTEMPTS) == 500
        await other.work_off(ATTEMPTS)
        assert await service.count("attempts") == 1000  # the other one's would be there to see
    assert await service.count("attempts") == 500


async def test_two_processes_remove_each_record_once(service: Service) -> None:
    await many_attempts(service, 3000)
    both = [Removing(service.work, [ATTEMPTS], policy(ATTEMPTS)) for _ in range(2)]
    while await service.count("attempts"):
        await asyncio.gather(*(each.work_off(ATTEMPTS) for each in both))
    assert await service.count("fabric.retention where removed = 3000") == 1


async def test_who_is_at_work_or_parked_is_left_alone_and_the_others_go(service: Service) -> None:
    await many_attempts(service, 3000)
    await service.sql(
        """
        with letter as (
            insert into fabric.dead_letters (topic, attempts, reason, message, headers)
            values ('due:x', 1, 'schema', '', '[]')
            returning id
        )
        insert into fabric.parked (key, reason, dead_letter_id)
        select 'patient:p7', 'x', id from letter
        """
    )
    async with service.work.begin([patient("p3")], cause=Cause("test", "test")):
        await service.remove(policy(ATTEMPTS), ATTEMPTS)
        async with service.work.read() as db:
            left = await db.fetch("select patient_id, count(*) from attempts group by 1 order by 1")
    assert [tuple(row) for row in left] == [("p3", 30), ("p7", 30)]
    await service.remove(policy(ATTEMPTS), ATTEMPTS)  # the same day: not all was done
    assert await service.count("attempts") == 30


@pytest.mark.parametrize("kind", ["console.stream"])
async def test_a_busy_year_leaves_no_more_than_its_last_days(
    service: Service, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of the stream, plans and visits of twenty patients, as many every day."""
    rng, kinds = random.Random(7), [KINDS[f"console.{each}"] for each in ("stream", "plans", "visits")]
    by, sizes = policy(*kinds), []
    monkeypatch.setattr(removing, "PAUSE_SECONDS", 0)
    await service.sql(
        "insert into patients (patient_id, plan_revision) select 'p' || n, 0 from generate_series(0, 19) n"
    )
    for day in range(365):
        service.clock.set(NOW + timedelta(days=day))
        who = [f"p{n}" for n in rng.sample(range(20), 10)]
        await service.sql(
            """
            with lines as (
                insert into stream (event_id, service, kind, at, patient_id, correlation_id, topic, partition, "offset",
                                    words)
                select uuidv7(), 'planner', 'plan-computed', $1, id, 'c', 't', 0, 0, ''
                from unnest($2::text[]) id
            ), plans as (
                insert into plans (patient_id, revision, event_id, at, status, content)
                select id, $3::int, uuidv7(), $1::timestamptz, 'agreed', '{}'::jsonb
                from unnest($2::text[]) id
            ), visits as (
                insert into visits (visit_id, patient_id, "on", plan_revision)
                select id || '/' || $3::int, id, $1::date + 10, $3::int
                from unnest($2::text[]) id
            )
            update patients set plan_revision = $3::int where patient_id = any($2)
            """,
            service.clock.now(),
            who,
            day + 1,
        )
        await service.remove(by, *kinds)
        sizes.append([await service.count(each) for each in ("stream", "plans", "visits")])
    most = [max(at[place] for at in sizes[:80]) for place in range(3)]
    assert [kind.least_days for kind in kinds] == [60, 60, 60]
    assert all(at[0] <= 62 * 10 for at in sizes)
    for place in range(3):
        assert max(at[place] for at in sizes[80:]) <= most[place] + 20  # of each patient, the newest
