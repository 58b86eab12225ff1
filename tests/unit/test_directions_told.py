"""Directions are told without their words, and the planner takes what was read for what it would have read."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from services.enrollment.domain.profile import for_others
from services.planner.publishing import profile_of
from shared.directions import Directions, Refusal, read, says_as_needed
from shared.events.enrollment import Drug, Prescription, Profile
from tests.unit.planner.test_directions import READ, REFUSED


def prescribed(rx_id: str, directions: str) -> Prescription:
    return Prescription(
        rx_id=rx_id,
        drug=Drug(code="1", name="a", ingredient="a"),
        directions=directions,
        usual_quantity=Decimal(30),
        usual_days=30,
        quantity_left=Decimal(30),
        written_on=date(2026, 1, 1),
        expires_on=date(2027, 1, 1),
        prescriber_id="d",
    )


def told(*directions: str, patient_id: str = "p1") -> list[Directions]:
    """What the planner takes from the published profile of a patient with these."""
    prescriptions = tuple(prescribed(f"rx-{number}", each) for number, each in enumerate(directions))
    published = for_others(Profile(store_id="s1", prescriptions=prescriptions), patient_id)
    held = json.loads(published.model_dump_json())
    return [each.said for each in profile_of({**held, "patient_id": patient_id}).prescriptions]


@pytest.mark.parametrize("directions", [*READ, *REFUSED, ""])
def test_what_is_told_is_what_the_words_say(directions: str) -> None:
    (said,) = told(directions)
    assert (said.use, said.as_needed) == (read(directions), says_as_needed(directions))


def test_no_word_is_told() -> None:
    profile = Profile(
        store_id="s1", prescriptions=(prescribed("rx", "1 daily for Canarius, he is forgetful"),)
    )
    published = for_others(profile, "p1").model_dump_json()
    assert "anarius" not in published
    assert "forgetful" not in published
    assert '"directions":""' in published


def test_the_same_words_of_one_patient_are_told_to_be_the_same() -> None:
    one, same, other, none = told("Apply  as needed", "apply as needed ", "apply twice", "")
    assert one.digest == same.digest != other.digest
    assert none.digest == ""
    assert told("Apply as needed", patient_id="p2")[0].digest != one.digest


def test_what_a_later_release_says_is_not_understood_rather_than_wrong() -> None:
    profile = for_others(Profile(store_id="s1", prescriptions=(prescribed("rx", "as directed"),)), "p1")
    held = json.loads(profile.model_dump_json())
    held["prescriptions"][0]["directions_read"]["refused"] = "by_moonlight"
    (prescription,) = profile_of({**held, "patient_id": "p1"}).prescriptions
    assert prescription.said.use is Refusal.not_understood
