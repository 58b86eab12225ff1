"""The pickup desk asks about what else is due, and hands packages over: to whom, by what proof, and what is written
down of it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from services.fulfillment.commands.common import LongId, Reason, calendar_of, load, note, save
from services.fulfillment.domain import (
    Change,
    Contact,
    Facts,
    Proof,
    WorkOrder,
    WrongTry,
    answer_offers,
    attest,
    check_collector,
    check_places,
    check_scanned,
    compare,
    hand_over,
    judge,
    reconcile,
)
from services.fulfillment.recompute import save_changes
from services.fulfillment.store import reads, writes
from shared.access import may
from shared.messaging import Unit
from shared.problems import Invalid
from shared.values import Day, Id, Input, LenientInput, Text, for_example

PNG = b"\x89PNG\r\n\x1a\n"
DRAWN_BYTES = 20_000
BASE64_CHARACTERS = -(-DRAWN_BYTES // 3) * 4
MOST_PACKAGES = 20
"""In one hand-over: a household of some visits."""


def _png(text: str) -> str:
    """Raises ValueError where it is no picture in base64, or too large a one."""
    try:
        picture = b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is not base64") from None
    if not picture.startswith(PNG) or len(picture) > DRAWN_BYTES:
        raise ValueError(f"is not a PNG of at most {DRAWN_BYTES} bytes")
    return text


Words = Annotated[Text, Field(min_length=1)]


class OfferAnswer(LenientInput):
    """What the patient says to one drug that is due as well."""

    rx_id: Id
    answer: Literal["fill", "decline"]
    reason: Literal["no_time", "price", "enough_left", "stopped", "other"] | None = None  # with decline


class OfferAnswers(LenientInput):
    """What the patient says to what is offered."""

    model_config = for_example(answers=[{"rx_id": "RX1002", "answer": "fill"}])

    answers: Annotated[tuple[OfferAnswer, ...], Field(min_length=1)]


async def answer_package_offers(unit: Unit, package_id: str, said: OfferAnswers) -> WorkOrder:
    """Have what the patient agrees to filled while they wait; what they decline is planned anew after the hand-over."""
    order, facts = await load(unit, package_id=package_id)
    wanted = {each.rx_id: each.answer == "fill" for each in said.answers}
    after = answer_offers(order, wanted)
    await note(unit, order, "offers", None, **said.model_dump())
    return await save(unit, order, reconcile(after, facts, unit.now))


class Presented(Input):
    """What a person said or showed to be identified: values, which the server compares with what it holds."""

    name: Words | None = None
    birth_date: Day | None = None
    address: Words | None = None
    phone: Words | None = None
    license_number: Words | None = None  # of a photo id: it is written down, and compared with nothing

    @property
    def values(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}


class Shown(LenientInput):
    """By what one patient is identified: by values, or by the names of what staff checked themselves."""

    identifiers: tuple[LongId, ...] = ()
    presented: Presented | None = None


class Scanned(LenientInput):
    """The bin and the labels that a scanner typed."""

    bin: LongId
    labels: Annotated[tuple[LongId, ...], Field(max_length=100)] = ()  # each a fill id or an rx id


class Taken(LenientInput):
    """What is taken of one package."""

    left_rx_ids: tuple[Id, ...] = ()
    later_rx_ids: tuple[Id, ...] = ()  # due as well, and not waited for: each is planned anew
    scanned: Scanned | None = None
    collected_places: tuple[Id, ...] = ()  # rx ids of what was fetched from fridge or oversize shelf


class Collector(LenientInput):
    """Who collects for the patient."""

    name: Words
    relation: Words
    caregiver_id: LongId | None = None  # where they are recorded as a caregiver: as enrollment has it


class Drawn(LenientInput):
    """A signature as it was drawn: one of the two."""

    svg_path: (
        Annotated[str, Field(max_length=DRAWN_BYTES, pattern=r"^[MmLlHhVvCcSsQqTtAaZz0-9eE ,.+-]+$")] | None
    ) = None
    png: Annotated[str, Field(max_length=BASE64_CHARACTERS), AfterValidator(_png)] | None = None  # base64

    @model_validator(mode="after")
    def is_one(self) -> Self:
        if (self.svg_path is None) == (self.png is None):
            raise ValueError("a signature is an svg_path or a png")
        return self


class Pickup(LenientInput):
    """Who stands at the counter, and what they leave there."""

    collected_by: Literal["patient", "caregiver", "other"] = "patient"
    collector: Collector | None = None
    signature: Literal["drawn", "on_paper"] | None = None
    drawn: Drawn | None = None
    reason: Reason | None = None  # why somebody may collect without the patient's consent: pharmacist only
    release_reason: Reason | None = None  # why it is released without proof: pharmacist or manager only

    @model_validator(mode="after")
    def says_who_and_how(self) -> Self:
        if self.collected_by == "other" and self.collector is None:
            raise ValueError("somebody else who collects needs a collector: name and relation")
        if (self.signature == "drawn") != (self.drawn is not None):
            raise ValueError("a drawn signature needs what was drawn, and no other has it")
        return self


class HandOver(Pickup, Shown, Taken):
    """Who came for a package, how they were identified, and what they left."""

    model_config = for_example(
        presented={"name": "Ada Byron", "birth_date": "1940-12-10"},
        collected_by="patient",
        signature="on_paper",
    )


class Bag(Taken):
    """One package of several."""

    package_id: Id


class ShownBy(Shown):
    """By what one patient of several is identified."""

    patient_id: Id


class HandOvers(Pickup):
    """Who came for several packages of one store: of one patient, or of a household.

    `collecting_patient_id`: which of several patients collects; for the others they are a caregiver.
    """

    model_config = for_example(
        packages=[{"package_id": "3f0c5a"}, {"package_id": "9b21d4"}],
        proofs=[
            {"patient_id": "p1", "presented": {"name": "Ada Byron", "birth_date": "1940-12-10"}},
            {"patient_id": "p2", "presented": {"name": "Bo Byron", "birth_date": "1938-01-02"}},
        ],
        collected_by="patient",
        collecting_patient_id="p1",
    )

    packages: Annotated[tuple[Bag, ...], Field(min_length=1, max_length=MOST_PACKAGES)]
    proofs: Annotated[tuple[ShownBy, ...], Field(max_length=MOST_PACKAGES)] = ()
    collecting_patient_id: Id | None = None


class Collected(NamedTuple):
    """One package at the counter."""

    order: WorkOrder
    facts: Facts
    taken: Taken
    collected_by: str  # as it is for its patient


class AtTheCounter(NamedTuple):
    """What is known of the patients whose packages are collected."""

    contacts: Mapping[str, Contact]
    caregivers: Mapping[str, Collection[str]]
    attested: bool  # whether names of identifiers are believed here


async def hand_over_package(
    unit: Unit, package_id: str, handed: HandOver, *, attested: bool = True
) -> WorkOrder | WrongTry:
    """Give a ready package to the patient, or to whom their consent lets collect. A wrong try is written down."""
    order, facts = await load(unit, package_id=package_id)
    one = Collected(order, facts, handed, handed.collected_by)
    done = await _hand_over(unit, handed, [one], {order.patient_id: handed}, attested=attested)
    return done if isinstance(done, WrongTry) else done[0]


async def hand_over_packages(
    unit: Unit, handed: HandOvers, *, attested: bool = True
) -> list[WorkOrder] | WrongTry:
    """Give all of these packages to one person, or none of them."""
    bags = {bag.package_id: bag for bag in handed.packages}
    loaded = [await load(unit, package_id=package_id) for package_id in bags]
    if len({order.store_id for order, _ in loaded}) > 1:
        raise Invalid("not_released", "the packages are of several stores: hand over those of this one")
    patients = {order.patient_id for order, _ in loaded}
    collecting = handed.collecting_patient_id or (next(iter(patients)) if len(patients) == 1 else None)
    if handed.collected_by == "patient" and collecting not in patients:
        raise Invalid("not_released", "say which of the patients collects: collecting_patient_id")
    collected = [
        Collected(order, facts, bag, _collected_by(handed, order, collecting))
        for bag, (order, facts) in zip(bags.values(), loaded, strict=True)
    ]
    shown = {each.patient_id: each for each in handed.proofs}
    return await _hand_over(unit, handed, collected, shown, attested=attested)


def _collected_by(handed: HandOvers, order: WorkOrder, collecting: str | None) -> str:
    """For others of the household, a patient who collects is a caregiver."""
    if handed.collected_by == "patient" and order.patient_id != collecting:
        return "caregiver"
    return handed.collected_by


async def _hand_over(
    unit: Unit,
    pickup: Pickup,
    collected: Sequence[Collected],
    shown: Mapping[str, Shown],
    *,
    attested: bool,
) -> list[WorkOrder] | WrongTry:
    patient_ids = {each.order.patient_id for each in collected}
    around = AtTheCounter(
        await reads.contacts_of(unit.db, unit.keys, patient_ids),
        await reads.caregivers_of(unit.db, patient_ids),
        attested,
    )
    changed = [Change(each.order, _taken(unit, pickup, each, around)) for each in collected]
    proofs = {
        each: await _proof(unit, pickup, each, shown.get(each, Shown()), collected, around)
        for each in sorted(patient_ids)
    }
    if wrong := {each: proof for each, proof in proofs.items() if isinstance(proof, WrongTry)}:
        return await _note_wrong(unit, collected, wrong)
    for each in collected:
        proof = proofs[each.order.patient_id]
        assert isinstance(proof, Proof)
        await _note_handed(unit, pickup, each, shown.get(each.order.patient_id, Shown()), proof)
    await save_changes(unit, changed)
    return [change.after for change in changed]


def _taken(unit: Unit, pickup: Pickup, each: Collected, around: AtTheCounter) -> WorkOrder:
    """A package without what is left, if this person may collect it. Raises Invalid and Conflict."""
    order, facts, taken, collected_by = each
    recorded = pickup.collector is not None and pickup.collector.caregiver_id in around.caregivers.get(
        order.patient_id, ()
    )
    overruled = unit.role == "pharmacist" and pickup.reason is not None
    check_collector(collected_by, facts.patient, overruled=overruled, recorded=recorded)
    today = unit.today(calendar_of(facts).time_zone)
    after = hand_over(order, left=taken.left_rx_ids, later=taken.later_rx_ids, today=today)
    if taken.scanned:
        check_scanned(order, taken.scanned.bin, taken.scanned.labels, taken.left_rx_ids)
    check_places(after, taken.collected_places)
    return after


async def _proof(
    unit: Unit,
    pickup: Pickup,
    patient_id: str,
    shown: Shown,
    collected: Sequence[Collected],
    around: AtTheCounter,
) -> Proof | WrongTry:
    """Whether a patient is who they are. Raises Invalid where that cannot be said."""
    visits = [each.order.visit_id for each in collected if each.order.patient_id == patient_id]
    tries = max([await reads.wrong_tries(unit.db, visit_id) for visit_id in visits])
    released = pickup.release_reason is not None and may("release without proof", unit.role)
    if shown.presented is None:
        return attest(shown.identifiers, accepted=around.attested, tries=tries, released=released)
    compared = compare(shown.presented.values, around.contacts.get(patient_id))
    return judge(compared, tries=tries, released=released)


async def _note_wrong(unit: Unit, collected: Sequence[Collected], wrong: Mapping[str, WrongTry]) -> WrongTry:
    """A try that was wrong counts for each package that it was about."""
    unit.outcome = "not_released"
    for each in collected:
        if found := wrong.get(each.order.patient_id):
            await note(unit, each.order, "wrong_try", None, differ=found.differ)
    if len(wrong) == 1 and len({each.order.patient_id for each in collected}) == 1:
        return next(iter(wrong.values()))
    said = [f"patient {patient_id}: {each.why}" for patient_id, each in sorted(wrong.items())]
    return WrongTry(tuple(name for each in wrong.values() for name in each.differ), "; ".join(said))


async def _note_handed(unit: Unit, pickup: Pickup, each: Collected, shown: Shown, proof: Proof) -> None:
    """Who did it and by what proof, in clear; who collected and signed, sealed."""
    reasons = pickup.model_dump(include={"reason", "release_reason"}, exclude_none=True)
    await note(
        unit,
        each.order,
        "hand_over",
        None,
        **reasons,
        proof=proof.how,
        identifiers=proof.identifiers,
        differ=proof.differ,
        left_rx_ids=each.taken.left_rx_ids,
        later_rx_ids=each.taken.later_rx_ids,
        collected_by=each.collected_by,
        signature=pickup.signature,
        scanned=each.taken.scanned is not None,
    )
    said = pickup.model_dump(include={"collector", "drawn"}, exclude_none=True)
    if shown.presented and shown.presented.license_number:
        said["license_number"] = shown.presented.license_number
    if said:
        await writes.save_counter_note(unit.db, unit.keys, each.order, "hand_over", said)
