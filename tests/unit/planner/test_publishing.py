"""The published profile and the rules' own have the same words: nothing that enrollment says is lost on the way."""

from __future__ import annotations

from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from services.planner.domain import model
from services.planner.publishing import profile_of
from shared.events import enrollment
from tests.unit.planner.cases import in_days

WORDS: dict[type[BaseModel], tuple[type[Any], set[str]]] = {
    enrollment.Profile: (model.Profile, {"household_id"}),
    enrollment.Prescription: (model.Prescription, set()),
    enrollment.Drug: (model.Drug, {"code", "refrigerated"}),
    enrollment.Fill: (model.Fill, {"fill_id"}),
    enrollment.StockReport: (model.StockReport, set()),
    enrollment.Span: (model.Span, set()),
}
"""What is published, what of it the rules know, and what they leave to others."""


@pytest.mark.parametrize("published", WORDS)
def test_each_field_that_is_published_is_one_of_the_rules_unless_it_is_left_to_others(
    published: type[BaseModel],
) -> None:
    known, left = WORDS[published]
    assert set(published.model_fields) - left == {each.name for each in fields(known)} & set(
        published.model_fields
    )


@pytest.mark.parametrize("published", WORDS)
def test_what_an_older_profile_does_not_say_the_rules_take_as_it_is_published_now(
    published: type[BaseModel],
) -> None:
    known, _ = WORDS[published]
    for each in fields(known):
        told = published.model_fields.get(each.name)
        if told and not told.is_required() and each.default is not MISSING and each.name != "form":
            assert profile_value(told.default) == profile_value(each.default), each.name


def profile_value(default: Any) -> Any:
    """Weekdays are published in a row, and are a set to the rules."""
    return frozenset(default) if isinstance(default, tuple | frozenset) else default


def test_a_profile_is_read_with_days_quantities_and_sets_of_their_own_kind() -> None:
    told = enrollment.Profile(
        store_id="s1",
        must_weekdays=(1, 3),
        prescriptions=(
            enrollment.Prescription(
                rx_id="a",
                drug=enrollment.Drug(code="1", name="a", ingredient="a", schedule=enrollment.Schedule.c4),
                usual_quantity=Decimal("30.5"),
                usual_days=30,
                quantity_left=Decimal(90),
                written_on=in_days(-10),
                expires_on=in_days(300),
                prescriber_id="dr-1",
            ),
        ),
        stays=(enrollment.Span(begins_on=in_days(-3)),),
    )
    refused = model.Rejection("a", "79", in_days(-1))
    profile = profile_of(
        {**told.model_dump(mode="json"), "patient_id": "p1", "rejections": [refused], "household_on": ()}
    )
    [each] = profile.prescriptions
    assert (profile.patient_id, profile.must_weekdays) == ("p1", {1, 3})
    assert (each.usual_quantity, each.written_on) == (Decimal("30.5"), in_days(-10))
    assert (each.drug.schedule, type(each.drug.schedule)) == ("c4", str)
    assert profile.stays == (model.Span(in_days(-3)),)
    assert profile.rejections == (refused,)
