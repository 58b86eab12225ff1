"""What would be, if: a patient whom the planner knows as a document, with changes. Nothing is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from pydantic import Field
from pydantic_core import to_jsonable_python

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Commitments, Profile
from services.planner.faults import BadInput, Fault
from services.planner.inputs import PatientInput, answer, plan, read_patient
from shared.values import Document, Id, Input, for_example

ADDED = ("fills", "stock_reports", "rejections", "rulings")
MERGED = ("told", "calendar", "rules")


class WhatIf(Input):
    """A question: a whole patient, or one whom the planner knows, with what is to be otherwise."""

    model_config = for_example(patient_id="50b5b879ed48bc3a", changes={"wanted_on": "2026-06-15"})

    patient: Document | None = Field(None, description="a document as of schemas/inputs/patient.json")
    patient_id: Id | None = None
    changes: Document = Field(
        {},
        description="any fields of such a document. Prescriptions are merged by rx_id, those of an unknown one "
        "added; fills, stock reports, rejections and rulings are added; told, calendar and rules are merged by "
        "name; any other field takes the place of the one held. Besides: `wanted_on`, another day for the pickup, "
        "and `without_rx_ids`, prescriptions to leave out.",
    )


def work_out(
    document: Mapping[str, Any], changes: Mapping[str, Any] | None, today: date
) -> dict[str, Any] | list[Fault]:
    """The answer to a whole document, or to one held with changes; or what is wrong with it.

    Of plain values throughout: it runs in another process.
    """
    try:
        asked = read_patient(document, today) if changes is None else read_changed(document, changes, today)
        return answer(plan(asked, today))
    except BadInput as bad:
        return bad.faults


def document_of(profile: Profile, commitments: Commitments, calendar: Calendar, cycle: int) -> dict[str, Any]:
    """What the planner holds about a patient, as a document to plan from."""
    held = {**asdict(profile), "told": asdict(commitments), "calendar": asdict(calendar), "cycle": cycle}
    return only_of(to_jsonable_python(held), {each.rx_id for each in profile.prescriptions})


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with what is to be otherwise (see `WhatIf.changes`).

    Raises:
        BadInput: a change cannot be applied. What the changed document holds, `read_patient` looks at.
    """
    left_out = changes.get("without_rx_ids", [])
    if not _are_texts(left_out):
        raise BadInput([Fault("changes.without_rx_ids", "", 'is not a list of rx_ids: use ["…", …]')])
    after = only_of(document, {each["rx_id"] for each in document["prescriptions"]} - set(left_out))
    for name, value in changes.items():
        if name == "wanted_on":
            after["told"] = {**after["told"], "wanted_on": value, "instead_of": document["told"]["anchor_on"]}
        elif name == "prescriptions":
            after[name] = _with_prescriptions(after[name], _objects(name, value))
        elif name in ADDED:
            after[name] = [*after[name], *_objects(name, value)]
        elif name in MERGED and isinstance(value, Mapping):
            after[name] = {**after.get(name, {}), **value}
        elif name != "without_rx_ids":
            after[name] = value
    return after


def read_changed(held: Mapping[str, Any], changes: Mapping[str, Any], today: date) -> PatientInput:
    """The changed document as values. What is wrong with what is held already is no fault of who asks.

    Raises:
        BadInput: a change cannot be applied, or what it says cannot be planned from.
    """
    alone = changed(held, {"without_rx_ids": changes.get("without_rx_ids", [])})
    return read_patient(changed(held, changes), today, alone)


def only_of(document: Mapping[str, Any], rx_ids: Collection[str]) -> dict[str, Any]:
    """The document with these prescriptions alone, and what belongs to them."""
    lists = ("prescriptions", *ADDED)
    commitments = document["told"]
    visits = [{**visit, "items": _of(visit["items"], rx_ids)} for visit in commitments["visits"]]
    declined = {rx_id: until for rx_id, until in commitments["declined_until"].items() if rx_id in rx_ids}
    return {
        **document,
        **{name: _of(document[name], rx_ids) for name in lists},
        "told": {**commitments, "visits": visits, "declined_until": declined},
    }


def _of(items: Iterable[Mapping[str, Any]], rx_ids: Collection[str]) -> list[Mapping[str, Any]]:
    """Those that belong to one of the prescriptions, or to none: a decision on the day."""
    return [each for each in items if each["rx_id"] is None or each["rx_id"] in rx_ids]


def _objects(name: str, value: object) -> list[dict[str, Any]]:
    """A list of objects that name their prescription; a staff decision may name none."""
    objects = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    nobody = "" if name == "rulings" else None
    if not objects or not _are_texts([each.get("rx_id", nobody) for each in value]):  # type: ignore[attr-defined]
        raise BadInput(
            [Fault(f"changes.{name}", "", 'is not a list of objects with an rx_id: use [{"rx_id": …}, …]')]
        )
    return value  # type: ignore[return-value]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _with_prescriptions(
    held: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    by_rx = {each["rx_id"]: each for each in held}
    for each in given:
        before = by_rx.get(each["rx_id"], {})
        drug = (
            {"drug": {**before["drug"], **each["drug"]}}
            if before and isinstance(each.get("drug"), dict)
            else {}
        )
        by_rx[each["rx_id"]] = {**before, **each, **drug}
    return list(by_rx.values())
