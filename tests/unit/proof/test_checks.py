"""Every check holds for a good history, and fails for each thing that it is there to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cli.proof import contract as c
from cli.proof.checks import (
    CHECKS,
    console,
    delivery,
    enrollment,
    fulfillment,
    outreach,
    planner,
    promises,
    state,
)
from cli.proof.record import (
    Confirmation,
    Copied,
    DeadLetter,
    Enrollment,
    HeldFill,
    Item,
    Line,
    Order,
    Plan,
    Planner,
    Record,
    Standing,
    Waiting,
)
from cli.proof.result import Check
from tests.unit.proof.given import (
    DRUG,
    PACKED,
    PATIENT,
    SHORT,
    STORE,
    WANTED,
    again,
    altered,
    attempt,
    day,
    events,
    history,
    with_events,
)


def test_what_needs_every_row_is_not_judged_where_some_were_removed_with_age() -> None:
    record = history()
    fabrics = {
        **record.fabrics,
        "planner": replace(record.fabrics["planner"], forgotten=frozenset({"planner.answers"})),
    }
    removed = replace(record, fabrics=fabrics, planner=replace(record.planner, answers=Counter()))
    for check in planner.PLANNER:
        judged = check(removed)
        assert (judged.recorded, judged.note) == (
            False,
            "not recorded: planner.answers past their day are gone",
        )
    assert all(check(removed).recorded for check in fulfillment.FULFILLMENT)


def recorded() -> Record:
    """The history with what fault tests keep beside it."""
    record = history()
    copies = {
        service: [
            Copied(event.sequence, event.id, event.topic, event.key, event.payload)
            for event in record.events
            if event.service == service
        ]
        for service in record.fabrics
    }
    return replace(
        record,
        fabrics={
            service: replace(
                fabric,
                copies=copies[service],
                commands={"call-2": 200, "bad": 422},
                answers=frozenset({"call-2"}),
            )
            for service, fabric in record.fabrics.items()
        },
    )


def with_fabric(service: str, record: Record | None = None, **changes: Any) -> Record:
    """The history with the messaging tables of one service changed."""
    record = record or history()
    return replace(record, fabrics={**record.fabrics, service: replace(record.fabrics[service], **changes)})


def with_tables(service: str, **changes: Any) -> Record:
    """The history with the own tables of one service changed."""
    record = history()
    return replace(record, **{service: replace(getattr(record, service), **changes)})


def in_parts(part: int, rest: int) -> list[Line]:
    """Of a fill of thirty so many now, and so many owed."""
    filled = DRUG._replace(fill_id="fill-1")
    owed = Item("rx-1", Decimal(rest), rest)
    return [
        Line("visit-1", filled, "filled", 0, 0, part=(Decimal(part), part), order_id="order-1"),
        Line("visit-2", owed, "to_fill", 0, 0, order_id="order-2", completes="order-1"),
    ]


PART = {"says_quantity": Decimal(20), "says_days_supply": 20, "says_intended": (Decimal(30), 30)}
REST = {
    "says_quantity": Decimal(10),
    "says_days_supply": 10,
    "says_intended": (Decimal(30), 30),
    "says_visit_id": "visit-2",
    "says_fill_id": "fill-2",
    "says_completes": "fill-1",
}
PUT_RIGHT = replace(
    again("rejected", type=c.FILL_RESOLVED, id="resolved"),
    says=replace(events()["rejected"].says, detail="resubmitted"),
)


def with_copies(service: str, change: Callable[[list[Copied]], list[Copied]]) -> Record:
    record = recorded()
    return with_fabric(service, record, copies=change(list(record.fabrics[service].copies or ())))


def without(service: str, event_id: str) -> Record:
    """The history with one row missing from an inbox."""
    return with_fabric(service, inbox=history().fabrics[service].inbox - {event_id})


def with_plan(status: str) -> Record:
    return with_tables("planner", plans={PATIENT: Plan(3, status, "plan-2")})


def held(service: str, table: str, revisions: dict[str, int]) -> Record:
    record = history()
    return replace(record, held={**record.held, (service, table): revisions})


def copied(**changes: Any) -> Record:
    """The history with a copy of an event."""
    return replace(history(), copies=[altered("planned", offset=90, **changes)])


LOST = Copied(9, "lost", "medsync.planner.v1", PATIENT, 1)
LETTER = DeadLetter(1, "medsync.planner.v1/0/0", "planned", "open", "refused:x")

PARKED = with_fabric(
    "outreach",
    parked={f"patient:{PATIENT}": "refused:x"},
    dead_letters=[LETTER],
    stored=frozenset({"planned"}),
)
UNREADABLE = with_fabric("outreach", without("outreach", "planned"), dead_letters=[LETTER])
SKIPPED = replace(
    with_fabric("enrollment", dead_letters=[LETTER._replace(event_id="picked-up", status="skipped")]),
    enrollment=Enrollment(),
)

FAULTS: list[tuple[Check, str, Record]] = [
    # ---- delivery
    (delivery.nothing_waits, "outbox row 7", with_fabric("planner", outbox=[Waiting(7, "x", held=False)])),
    (delivery.nothing_waits, "is held", with_fabric("planner", outbox=[Waiting(7, "x", held=True)])),
    (delivery.nothing_waits, "moved on", replace(history(), grew=frozenset({"medsync.planner.v1"}))),
    (delivery.nobody_waits, "is parked", with_fabric("planner", parked={f"patient:{PATIENT}": "refused:x"})),
    (delivery.nobody_waits, "dead letter 1 is open", with_fabric("outreach", dead_letters=[LETTER])),
    (delivery.commands_answered, "is not there", with_fabric("planner", recorded(), commands={"lost": 200})),
    (
        delivery.commands_answered,
        "had an effect",
        with_fabric("planner", recorded(), commands={"call-2": 409}),
    ),
    (delivery.written_and_published, "is on no topic", with_copies("planner", lambda rows: [*rows, LOST])),
    (
        delivery.written_and_published,
        "is not what",
        with_copies("planner", lambda rows: [rows[0]._replace(payload=1)]),
    ),
    (delivery.published_and_written, "never in the outbox", with_copies("planner", lambda rows: rows[1:])),
    (
        delivery.only_the_owner_writes,
        "does not own",
        with_events(ghost=again("planned", source="medsync/outreach")),
    ),
    (
        delivery.only_the_owner_writes,
        "does not belong",
        with_events(ghost=again("planned", type=c.PACKAGE_READY)),
    ),
    (
        delivery.only_the_owner_writes,
        "no ce_time",
        with_events(planned=altered("planned", flaws=("no ce_time",))),
    ),
    (delivery.causes_are_known, "on no topic", with_events(planned=altered("planned", cause="nothing"))),
    (delivery.causes_are_known, "does not handle", with_events(planned=altered("planned", cause="talk"))),
    (
        delivery.taken_once,
        "fulfillment never took PickupConfirmed confirmed",
        without("fulfillment", "confirmed"),
    ),
    (delivery.taken_once, "2 dead letters", with_fabric("outreach", dead_letters=[LETTER, LETTER])),
    (delivery.nothing_taken_from_nowhere, "on no topic", with_fabric("planner", inbox=frozenset({"ghost"}))),
    (delivery.nothing_taken_from_nowhere, "not handle", with_fabric("planner", inbox=frozenset({"talk"}))),
    (delivery.one_effect_per_cause, "both follow", with_events(twice=again("replanned", says_revision=3))),
    (delivery.order_of_commits, "comes after", with_events(late=again("changed", sequence=1))),
    (delivery.order_of_commits, "partitions 0 and 1", with_events(elsewhere=again("changed", partition=1))),
    (delivery.revisions_grow, "has revision 1, after", with_events(old=again("cancelled", says_revision=1))),
    (delivery.revisions_grow, "has revision 3, after", with_events(same=again("cancelled", payload=1))),
    (delivery.revisions_grow, "has revision 1, after", with_events(old=again("excluded", payload=1))),
    (delivery.no_revision_missing, "the one before 1", with_events(changed=None)),
    (delivery.no_revision_missing, "the one before none", with_events(planned=None)),
    (delivery.one_id_one_payload, "is not what it was", copied(whole=1)),
    (delivery.one_id_one_payload, "is not what it was", copied(partition=1)),
    (delivery.one_sequence, "belongs to events", with_events(other=again("filled", sequence=1))),
    (delivery.one_sequence, "has the numbers", copied(sequence=9)),
    # ---- state
    (state.newest_is_held, "revision 1 of patient-1 in plans", held("outreach", "plans", {PATIENT: 1})),
    (state.newest_is_held, "revision none", held("fulfillment", "stores", {})),
    (state.newest_is_held, "never published", held("fulfillment", "stores", {STORE: 1, "ghost": 1})),
    (state.details_are_held, "holds nothing", held("outreach", "details", {})),
    (state.details_are_held, "different revisions", held("outreach", "details", {PATIENT: 2})),
    # ---- enrollment
    (
        enrollment.standing_is_published,
        "is not",
        with_tables("enrollment", patients={PATIENT: Standing("enrolled", 3)}),
    ),
    (
        enrollment.standing_is_published,
        "has revision 3; 2",
        replace(with_events(left=None), enrollment=Enrollment({PATIENT: Standing("enrolled", 3)})),
    ),
    (
        enrollment.standing_is_published,
        "never published",
        with_tables(
            "enrollment", patients={PATIENT: Standing("disenrolled", 3), "ghost": Standing("enrolled", 1)}
        ),
    ),
    (enrollment.taken_home_is_history, "fill fill-1", with_tables("enrollment", fills={})),
    (
        enrollment.taken_home_is_history,
        "not as it was",
        with_tables(
            "enrollment", fills={"fill-1": HeldFill("rx-1", Decimal(60), 30, date(2009, 10, 10), fed=False)}
        ),
    ),
    (enrollment.history_was_taken_home, "never picked up", with_events(picked_up=None)),
    (enrollment.words_are_kept, "said stop", with_tables("enrollment", opt_outs=frozenset())),
    (enrollment.words_are_kept, "was reported stopped", with_tables("enrollment", changes=frozenset())),
    (enrollment.words_are_kept, "never said", with_events(opted_out=None)),
    (enrollment.words_are_kept, "never said", with_events(stopped=None)),
    # ---- planner
    (
        planner.standing_plan_is_published,
        "has revision 3; PlanComputed replanned has 2",
        with_events(cancelled=None),
    ),
    (
        planner.standing_plan_is_published,
        "is planned; last published was PlanCancelled",
        with_plan("planned"),
    ),
    (
        planner.standing_plan_is_published,
        "plan-9 of patient-1 stands",
        replace(with_events(cancelled=None), planner=Planner({PATIENT: Plan(2, "planned", "plan-9")})),
    ),
    (
        planner.standing_plan_is_published,
        "none was published",
        with_events(planned=None, replanned=None, cancelled=None),
    ),
    (planner.answers_are_recorded, "PickupConfirmed of patient-1", with_tables("planner", answers=Counter())),
    (planner.answers_are_recorded, "0 published, 1 recorded", with_events(confirmed=None)),
    (planner.answers_are_recorded, "refusal of rx-3", with_tables("planner", rejections=frozenset())),
    (planner.renewals_are_told, "renewal of rx-1", with_events(renewal=None)),
    # ---- outreach
    (outreach.attempts_are_told, "led to 1 PickupConfirmed, 0", with_events(confirmed=None)),
    (outreach.answers_were_given, "comes from no attempt", with_tables("outreach", attempts=())),
    (outreach.stops_and_renewals, "published, and not kept", with_tables("outreach", opt_outs=frozenset())),
    (outreach.stops_and_renewals, "kept, and not published", with_events(opted_out=None)),
    (outreach.stops_and_renewals, "nobody asks", with_tables("outreach", renewals=frozenset())),
    (outreach.stops_and_renewals, "never needed", with_events(renewal=None)),
    # ---- fulfillment
    (fulfillment.confirmations_are_kept, "kept 0 times", with_tables("fulfillment", confirmations=())),
    (fulfillment.confirmations_are_kept, "confirmed 0 times", with_events(confirmed=None)),
    (
        fulfillment.one_order_per_visit,
        "2 live",
        with_tables(
            "fulfillment",
            confirmations=[Confirmation("visit-1", PATIENT, 1, frozenset(WANTED), live=True)] * 2,
        ),
    ),
    (fulfillment.one_order_per_visit, "has no work order", with_tables("fulfillment", orders={})),
    (fulfillment.one_order_per_visit, "never confirmed", with_tables("fulfillment", confirmations=())),
    (
        fulfillment.one_order_per_visit,
        "not as the patient confirmed",
        with_tables(
            "fulfillment",
            confirmations=[
                Confirmation("visit-1", PATIENT, 1, frozenset({DRUG._replace(days_supply=7)}), live=True)
            ],
        ),
    ),
    (
        fulfillment.parts_add_up,
        "filled and owed are 25 for 25 days, and 30 for 30 were ordered",
        with_tables("fulfillment", lines=in_parts(20, 5)),
    ),
    (
        fulfillment.parts_add_up,
        "is the rest of no partial fill",
        with_tables("fulfillment", lines=in_parts(20, 10)[1:]),
    ),
    (
        fulfillment.fills_are_told,
        "FillRejected happened 1 times and was published 2",
        with_events(rejected_again=again("rejected")),
    ),
    (
        fulfillment.fills_are_told,
        "FillCompleted happened 1 times and was published 0",
        with_events(filled=None),
    ),
    (fulfillment.fills_are_told, "FillCompleted happened 0 times", with_tables("fulfillment", lines=())),
    (fulfillment.fills_are_told, "StockShort happened 1 times and was published 0", with_events(short=None)),
    (fulfillment.packages_are_told, "is picked_up; published: PackageReady", with_events(picked_up=None)),
    (fulfillment.packages_are_told, "has no work order", with_tables("fulfillment", orders={})),
    (
        fulfillment.packages_are_told,
        "not handed over on the day",
        with_events(picked_up=altered("picked-up", says_on=date(2009, 10, 11))),
    ),
    (
        fulfillment.packages_are_told,
        "another was published",
        with_events(ready=altered("ready", says_package_id="other")),
    ),
    (fulfillment.talks_are_told, "not kept", with_tables("fulfillment", consultations=frozenset())),
    (fulfillment.talks_are_told, "0 times", with_events(talk=None)),
    # ---- console
    (console.stream_is_published, "is not shown", with_tables("console", stream=frozenset())),
    (console.stream_is_published, "is on no topic", with_tables("console", stream=frozenset({"ghost"}))),
    # ---- promises
    (promises.answers_fit_a_plan, "never published", with_events(planned=None)),
    (
        promises.answers_fit_a_plan,
        "not in PlanComputed",
        with_events(planned=altered("planned", says_visits={})),
    ),
    (
        promises.answers_fit_a_plan,
        "has rx-1 otherwise",
        with_events(confirmed=altered("confirmed", says_items=(DRUG._replace(quantity=Decimal(31)),))),
    ),
    (promises.filled_as_confirmed, "was never confirmed", with_events(confirmed=None)),
    (
        promises.filled_as_confirmed,
        "was never confirmed",
        with_events(confirmed=altered("confirmed", says_items=(SHORT,))),
    ),
    (
        promises.filled_as_confirmed,
        "was never confirmed",
        with_events(confirmed=None, filled=altered("filled", says_at_counter=True)),
    ),
    (promises.filled_as_confirmed, "only after it", with_events(confirmed=altered("confirmed", at=day(7)))),
    (
        promises.filled_as_confirmed,
        "is 60 for 30 days",
        with_events(filled=altered("filled", says_quantity=Decimal(60))),
    ),
    (
        promises.standing_instructions_were_given,
        "event confirmed uses",
        with_events(confirmed=altered("confirmed", says_standing=True)),
    ),
    (promises.one_package_per_visit, "2 times", with_events(ready_twice=again("ready"))),
    (
        promises.one_package_per_visit,
        "several packages",
        with_events(other=again("ready", says_package_id="package-2")),
    ),
    (
        promises.one_package_per_visit,
        "several visits",
        with_events(other=again("ready", says_visit_id="visit-2")),
    ),
    (
        promises.one_package_per_visit,
        "picked up and returned",
        with_events(returned=again("picked-up", type=c.PACKAGE_RETURNED)),
    ),
    (promises.one_package_per_visit, "never ready", with_events(ready=None)),
    (promises.handed_over_as_filled, "never completed like that", with_events(filled=None)),
    (
        promises.handed_over_as_filled,
        "for another visit",
        with_events(filled=altered("filled", says_visit_id="visit-2")),
    ),
    (promises.handed_over_as_filled, "completed by events", with_events(filled_twice=again("filled"))),
    (promises.handed_over_as_filled, "handed over before", with_events(twice=again("picked-up"))),
    (
        promises.nothing_filled_after_leaving,
        "not confirmed since",
        with_events(left=altered("left", at=day(3))),
    ),
    (
        promises.nothing_filled_after_leaving,
        "not confirmed since",
        with_events(
            left=altered("left", at=day(3)),
            back=again("enrolled", says_revision=4, at=day(4), says_given_at=day(4)),
        ),
    ),
    (
        promises.nobody_called_in_vain,
        "left at",
        with_tables("outreach", attempts=(attempt(21, made_by="person"),)),
    ),
    (promises.nobody_called_in_vain, "said stop at", with_tables("outreach", attempts=(attempt(13),))),
    (promises.renewals_needed_once, "repeats renewal", with_events(twice=again("renewal"))),
]


RIGHT: list[tuple[str, Check, Record]] = [
    ("a record sent twice", delivery.one_id_one_payload, copied()),
    ("a record sent twice", delivery.one_sequence, copied()),
    ("parked, and allowed", delivery.nobody_waits, replace(PARKED, allow_parked=True)),
    ("parked patients know less", state.newest_is_held, replace(PARKED, held={("outreach", "plans"): {}})),
    (
        "a dead letter is accounted for",
        delivery.taken_once,
        UNREADABLE,
    ),
    (
        "a plan sent again",
        delivery.revisions_grow,
        with_events(again=again("cancelled", cause="command:republish")),
    ),
    (
        "an enrollment sent again",
        delivery.revisions_grow,
        with_events(left=None, again=again("enrolled", says_revision=2, cause="command:republish")),
    ),
    ("a skipped event had no effect", enrollment.taken_home_is_history, SKIPPED),
    (
        "a standing instruction",
        outreach.answers_were_given,
        with_events(confirmed=altered("confirmed", says_standing=True, at=day(0))),
    ),
    (
        "a standing instruction, given",
        promises.standing_instructions_were_given,
        with_events(
            enrolled=altered("enrolled", says_standing=True),
            confirmed=altered("confirmed", says_standing=True),
        ),
    ),
    (
        "twenty of thirty and the rest",
        promises.filled_as_confirmed,
        with_events(filled=altered("filled", **PART), filled_rest=again("filled", **REST)),
    ),
    (
        "twenty of thirty and the rest, as the work orders have it",
        fulfillment.parts_add_up,
        with_tables("fulfillment", lines=in_parts(20, 10)),
    ),
    (
        "an owed rest is of no confirmed visit",
        fulfillment.one_order_per_visit,
        replace(
            history(),
            fulfillment=replace(
                history().fulfillment,
                lines=in_parts(20, 10),
                orders={
                    **history().fulfillment.orders,
                    "visit-2": Order(PATIENT, "package-2", "filling", None),
                },
            ),
        ),
    ),
    (
        "rejected twice, and both tries kept",
        fulfillment.fills_are_told,
        replace(
            with_events(rejected_again=again("rejected")),
            fulfillment=replace(
                history().fulfillment,
                lines=[line._replace(rejected=2 * line.rejected) for line in history().fulfillment.lines],
            ),
        ),
    ),
    (
        "a refusal put right is forgotten",
        planner.answers_are_recorded,
        replace(
            with_events(put_right=PUT_RIGHT),
            planner=replace(history().planner, rejections=frozenset()),
        ),
    ),
    ("confirmed twice", promises.filled_as_confirmed, with_events(confirmed_again=again("confirmed"))),
    (
        "a renewal, in place of what was confirmed",
        promises.filled_as_confirmed,
        with_events(filled=altered("filled", says_rx_id="rx-9", says_in_place_of="rx-1")),
    ),
    (
        "a renewal, as the work order has it",
        fulfillment.fills_are_told,
        replace(
            with_events(filled=altered("filled", says_rx_id="rx-9", says_in_place_of="rx-1")),
            fulfillment=replace(
                history().fulfillment,
                lines=(
                    history().fulfillment.lines[0]._replace(renewed_as="rx-9"),
                    *history().fulfillment.lines[1:],
                ),
            ),
        ),
    ),
    (
        "ready again, with more",
        promises.one_package_per_visit,
        with_events(ready_again=again("ready", says_items=(PACKED, PACKED._replace(fill_id="fill-2")))),
    ),
    (
        "ready again, then picked up",
        fulfillment.packages_are_told,
        with_events(ready_again=again("ready", offset=events()["ready"].offset)),
    ),
    (
        "a stop, and a new consent",
        promises.nobody_called_in_vain,
        replace(
            with_events(left=None, back=again("enrolled", says_given_at=day(12.5))),
            outreach=replace(history().outreach, attempts=(attempt(13),)),
        ),
    ),
    (
        "a stop, and a start",
        promises.nobody_called_in_vain,
        replace(
            with_events(left=None, back=again("opted-out", type=c.CONTACT_OPTED_IN, at=day(12.5))),
            outreach=replace(history().outreach, attempts=(attempt(13),)),
        ),
    ),
    (
        "a stop that was taken back",
        enrollment.words_are_kept,
        replace(
            with_events(back=again("opted-out", type=c.CONTACT_OPTED_IN, at=day(12.5))),
            enrollment=replace(history().enrollment, opt_outs=frozenset()),
        ),
    ),
    (
        "a stop, and a person calls",
        promises.nobody_called_in_vain,
        with_tables("outreach", attempts=(attempt(13, made_by="person"),)),
    ),
    (
        "a day to hear of leaving",
        promises.nobody_called_in_vain,
        replace(
            with_tables("outreach", attempts=(attempt(20.5, made_by="person"),)),
            hearing=timedelta(days=1),
        ),
    ),
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_history_holds(check: Check) -> None:
    result = check(recorded())
    assert result.violations == ()
    assert result.recorded
    assert result.looked_at > 0


@pytest.mark.parametrize(("check", "words", "record"), FAULTS)
def test_a_fault_is_found(check: Check, words: str, record: Record) -> None:
    result = check(record)
    assert any(words in violation for violation in result.violations), result


@pytest.mark.parametrize(
    ("check", "record"), [(check, record) for _, check, record in RIGHT], ids=[w for w, *_ in RIGHT]
)
def test_what_is_right_is_not_blamed(check: Check, record: Record) -> None:
    assert check(record).violations == ()


def test_what_cannot_be_known_is_said() -> None:
    record = replace(history(), fabrics={}, held={}, gone={"medsync.planner.v1": 3})
    unknown = {check: check(record) for check in CHECKS if not check(record).recorded}
    assert {promises.filled_as_confirmed, outreach.answers_were_given, delivery.commands_answered} <= set(
        unknown
    )
    assert all(result.note.startswith("not recorded: ") for result in unknown.values())


def test_every_check_was_seen_to_fail() -> None:
    assert {check for check, _, _ in FAULTS} == set(CHECKS)


def test_a_fill_that_a_plan_had_to_be_asked_about_and_the_patient_agreed_to_needs_no_confirmation() -> None:
    offers = frozenset({("visit-1", DRUG)})
    asked = with_events(
        confirmed=None,
        planned=altered("planned", says_offers=offers),
        filled=altered("filled", says_at_counter=True),
    )
    assert not list(promises.filled_as_confirmed(asked).violations)
    unasked = with_events(confirmed=None, planned=altered("planned", says_offers=offers))
    assert list(promises.filled_as_confirmed(unasked).violations), "nobody says that the patient agreed"
