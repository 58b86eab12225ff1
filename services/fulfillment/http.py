"""Fulfillment by HTTP, for the dispensing system, the pharmacist and the pickup desk: routes that parse, run a command
or a query, and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request

from services.fulfillment import queries
from services.fulfillment.commands import counter, dispensing, packages, resolving
from services.fulfillment.domain import PackageStatus, Place, WorkOrder, WrongTry
from services.fulfillment.queries import (
    ConsultationRecord,
    CounselingTopics,
    FillOrder,
    FillOrders,
    HandedOver,
    NamedPackage,
    NextDue,
    Package,
)
from services.fulfillment.settings import Settings
from shared.http import Commanding, InStore, Limit, Reading, Working
from shared.messaging import Caller, Unit, Work, patient, store
from shared.pages import Page
from shared.problems import Invalid
from shared.values import Cursor, Day, Id

router = APIRouter()

T = TypeVar("T")


async def _attested(request: Request) -> bool:
    settings: Settings = request.app.state.settings
    return settings.attested_identifiers


Attested = Annotated[bool, Depends(_attested)]
"""Whether names of identifiers are believed at the counter."""


# ---- the dispensing system ----


@router.post("/fill-orders/lease")
async def lease_fill_orders(body: dispensing.LeaseRequest, caller: Commanding, work: Working) -> FillOrders:
    """Lease up to `limit` fills that are due, the longest due first."""

    async def decide(patient_ids: Sequence[str], unit: Unit) -> FillOrders:
        leased = await dispensing.lease_fills(unit, patient_ids, body)
        return FillOrders(orders=[FillOrder.of(*each) for each in leased])

    return await work.claim(caller, "due_fills", body.limit, decide)


@router.get("/fill-orders/next-due")
async def next_due(caller: Reading, work: Working) -> NextDue:
    """When the next fill falls due, or fell due: when the dispensing system is to come."""
    async with work.read_as(caller) as db:
        return await queries.next_due(db, caller.reach.stores)


@router.post("/fill-orders/{order_id}/result")
async def report_result(
    order_id: Id, body: dispensing.FillResult, caller: Commanding, work: Working
) -> Package:
    """Record what became of a leased fill. The same result reported again is answered again."""
    also = [f"fill:{body.new_fill_id}"] if body.new_fill_id else []
    place = await _place(work, caller, order_id=order_id)
    return await _run(work, caller, place, lambda unit: dispensing.report_fill(unit, order_id, body), also)


@router.post("/fill-orders/{order_id}/resolution")
async def resolve_fill(
    order_id: Id, body: resolving.FillResolution, caller: Commanding, work: Working
) -> Package:
    """What is done about a fill that was refused or short: it is tried again, filled in part, or not filled here."""
    place = await _place(work, caller, order_id=order_id)
    return await _run(work, caller, place, lambda unit: resolving.resolve_fill(unit, order_id, body))


@router.get("/owed")
async def list_owed(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    status: PackageStatus | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> Page[NamedPackage]:
    """The packages of owed rests: those that are not handed over yet, or those of one status."""
    async with work.read_as(caller) as db:
        stores = caller.reach.narrowed(store_id)
        return await queries.owed(db, work.keys, stores=stores, status=status, after=after, limit=limit)


# ---- the pharmacist ----


@router.post("/packages/{package_id}/verification")
async def verify_package(
    package_id: Id, body: packages.Verification, caller: Commanding, work: Working
) -> Package:
    """Every filled item is verified but those excepted: the package is ready, in a bin of its own."""
    place = await _place(work, caller, package_id=package_id)
    also = [f"bins:{place.store_id}"]
    return await _run(work, caller, place, lambda unit: packages.verify_package(unit, package_id, body), also)


@router.post("/packages/{package_id}/cancel")
async def cancel_package(
    package_id: Id, body: packages.Cancellation, caller: Commanding, work: Working
) -> Package:
    """Stop a visit's fills for good, whatever the plan says; what is filled goes back to stock."""
    place = await _place(work, caller, package_id=package_id)
    return await _run(work, caller, place, lambda unit: packages.cancel_package(unit, package_id, body))


@router.post("/visits/{visit_id}/consultation")
async def record_consultation(
    visit_id: Id, body: packages.ConsultationDone, caller: Commanding, work: Working
) -> ConsultationRecord:
    """The talk was offered, and held or declined. A visit may have several."""
    place = await _place(work, caller, visit_id=visit_id)

    async def decide(unit: Unit) -> ConsultationRecord:
        number = await packages.record_consultation(unit, visit_id, body)
        topics = list(body.topics)
        return ConsultationRecord(visit_id=visit_id, number=number, outcome=body.outcome, topics=topics)

    return await work.command(caller, [patient(place.patient_id)], decide)


@router.get("/counseling-topics")
async def list_counseling_topics() -> CounselingTopics:
    """What a talk may be about. Others are taken too."""
    return CounselingTopics.all()


# ---- the pickup desk ----


@router.get("/packages")
async def list_packages(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    status: PackageStatus | None = None,
    on: Day | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> Page[NamedPackage]:
    """Packages with their items and whom they are for."""
    async with work.read_as(caller) as db:
        return await queries.packages(
            db,
            work.keys,
            stores=caller.reach.narrowed(store_id),
            status=status,
            visit_on=on,
            after=after,
            limit=limit,
        )


@router.post("/packages/{package_id}/offers")
async def answer_offers(
    package_id: Id, body: counter.OfferAnswers, caller: Commanding, work: Working
) -> Package:
    """What the patient says to what became due since the visit was confirmed: filled while they wait, or declined."""
    place = await _place(work, caller, package_id=package_id)
    return await _run(work, caller, place, lambda unit: counter.answer_package_offers(unit, package_id, body))


@router.post("/packages/{package_id}/hand-over")
async def hand_over_package(
    package_id: Id, body: counter.HandOver, caller: Commanding, work: Working, attested: Attested
) -> Package:
    """Give a ready package to the patient, or to whom the patient's consent lets collect.

    What was presented is compared with what is held; what differs is named and counted, and nothing is released.
    """
    place = await _place(work, caller, package_id=package_id)

    async def decide(unit: Unit) -> Package | WrongTry:
        done = await counter.hand_over_package(unit, package_id, body, attested=attested)
        return done if isinstance(done, WrongTry) else Package.of(done)

    return _released(await work.command(caller, [patient(place.patient_id)], decide, keep=_is_released))


@router.post("/hand-overs")
async def hand_over_packages(
    body: counter.HandOvers, caller: Commanding, work: Working, attested: Attested
) -> HandedOver:
    """Give several packages of one store to one person: of one patient, or of a household; all of them or none."""
    places = [await _place(work, caller, package_id=bag.package_id) for bag in body.packages]

    async def decide(unit: Unit) -> HandedOver | WrongTry:
        done = await counter.hand_over_packages(unit, body, attested=attested)
        return done if isinstance(done, WrongTry) else HandedOver.of(done)

    locks = [patient(place.patient_id) for place in places]
    return _released(await work.command(caller, locks, decide, keep=_is_released))


def _is_released(answer: object) -> bool:
    return not isinstance(answer, WrongTry)


def _released(answer: T | WrongTry) -> T:
    """A wrong try is refused once it is written down and committed. Raises Invalid."""
    if isinstance(answer, WrongTry):
        raise Invalid("not_released", answer.why)
    return answer


# ---- how every command on a package runs ----


async def _place(work: Work, caller: Caller, **named: str) -> Place:
    """Whom to lock for a command on what a visit_id, package_id or order_id names.

    Raises NotFound, also where it is another store's: a patient may have packages at several.
    """
    return await work.locate(
        caller,
        lambda db: queries.place_of(db, **named),
        lambda place: [patient(place.patient_id), store(place.store_id)],
    )


async def _run(
    work: Work,
    caller: Caller,
    place: Place,
    command: Callable[[Unit], Awaitable[WorkOrder]],
    also: Sequence[str] = (),
) -> Package:
    """A command on a work order, with its patient locked and what `also` has to be, answered with its package."""

    async def decide(unit: Unit) -> Package:
        return Package.of(await command(unit))

    return await work.command(caller, [patient(place.patient_id), *also], decide)
