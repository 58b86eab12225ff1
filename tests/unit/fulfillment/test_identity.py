"""What is presented at the counter, held against what is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from services.fulfillment.domain import Contact, Proof, WrongTry, attest, check_collector, compare, judge
from services.fulfillment.domain.identity import MOST_TRIES
from shared.problems import Invalid
from tests.unit.fulfillment.given import KNOWN

JOSE = Contact(
    "p1",
    1,
    "José María",
    "O'Brien-López",
    date(1940, 12, 10),
    "12 Elm Road, Apt 4, Tulsa, OK 74104",
    ("+19185550105", "+19185550106"),
)
NOBODY = Contact("p1", 1, "", "", None)
TWO = {"name": "jose maria obrien lopez", "birth_date": date(1940, 12, 10)}


@pytest.mark.parametrize(
    ("name", "said", "agrees"),
    [
        ("name", "José María O'Brien-López", True),
        ("name", "OBRIEN LOPEZ,  jose maria", True),
        ("name", "josemaria obrienlopez", True),
        ("name", "Jose O'Brien-Lopez", False),
        ("name", "Maria", False),
        ("name", "--", False),
        ("birth_date", date(1940, 12, 10), True),
        ("birth_date", date(1940, 10, 12), False),
        ("address", "12 elm rd", True),
        ("address", "12 Elm Road Apartment 4, Tulsa", True),
        ("address", "14 Elm Road", False),
        ("address", "12 Elm Road, Apt 5", False),
        ("address", "Tulsa OK 74104", False),
        ("address", "12", False),
        ("address", "Elm Road", False),
        ("phone", "(918) 555-0106", True),
        ("phone", "+1 918 555 0105", True),
        ("phone", "555-0106", False),
        ("phone", "(918) 555-0107", False),
        ("license_number", "D123", None),
    ],
)
def test_a_value_agrees_however_it_is_written(name: str, said: Any, agrees: bool | None) -> None:
    compared = compare({name: said}, JOSE)
    assert (compared.agree, compared.differ, compared.not_held) == (
        (name,) if agrees else (),
        (name,) if agrees is False else (),
        (name,) if agrees is None else (),
    )


def test_what_is_not_held_agrees_with_nothing_and_differs_from_nothing() -> None:
    said = {**TWO, "address": "12 Elm Rd", "phone": "9185550105"}
    for held in (None, NOBODY):
        assert compare(said, held).not_held == tuple(said)


def test_two_that_agree_release_and_one_does_not() -> None:
    assert judge(compare(TWO, JOSE), tries=0, released=False) == Proof("compared", ("name", "birth_date"))
    one = {"name": TWO["name"], "license_number": "D123"}
    with pytest.raises(Invalid, match=r"two identifiers are needed .* held here of: license_number"):
        judge(compare(one, JOSE), tries=0, released=False)


def test_one_that_differs_is_named_though_two_others_agree_and_what_is_held_is_not_said() -> None:
    found = judge(compare({**TWO, "phone": "9185550000"}, JOSE), tries=0, released=False)
    assert isinstance(found, WrongTry)
    assert (found.differ, found.why) == (("phone",), "phone: not as held here; 4 tries are left")


def test_after_five_wrong_tries_only_who_may_releases_it_though_it_is_right_now() -> None:
    right = compare(TWO, JOSE)
    assert isinstance(judge(right, tries=MOST_TRIES - 1, released=False), Proof)
    with pytest.raises(Invalid, match="5 tries were wrong: a pharmacist or a manager"):
        judge(right, tries=MOST_TRIES, released=False)
    with pytest.raises(Invalid, match="5 tries were wrong"):
        attest(("name", "birth_date"), accepted=True, tries=MOST_TRIES, released=False)
    assert judge(right, tries=MOST_TRIES, released=True).how == "released"  # type: ignore[union-attr]


def test_a_release_says_what_differed_and_what_agrees_needs_none() -> None:
    wrong = compare({**TWO, "phone": "9185550000"}, JOSE)
    assert judge(wrong, tries=0, released=True) == Proof("released", ("name", "birth_date"), ("phone",))
    assert judge(compare(TWO, JOSE), tries=0, released=True) == Proof("compared", ("name", "birth_date"))


@pytest.mark.parametrize("named", [["name"], ["name", "name"], ["name", "shoe size"]])
def test_two_identifiers_are_named_where_names_do(named: list[str]) -> None:
    with pytest.raises(Invalid, match="two identifiers are needed, of address"):
        attest(named, accepted=True, tries=0, released=False)


def test_names_do_not_do_where_values_are_asked_for() -> None:
    assert attest(["name", "phone"], accepted=True, tries=0, released=False).how == "attested"
    with pytest.raises(Invalid, match="presented"):
        attest(["name", "phone"], accepted=False, tries=0, released=False)


@pytest.mark.parametrize(
    ("who", "consented", "recorded", "overruled", "may"),
    [
        ("patient", False, False, False, True),
        ("caregiver", True, False, False, True),
        ("caregiver", False, True, False, True),
        ("caregiver", False, False, True, True),
        ("caregiver", False, False, False, False),
        ("other", True, False, False, False),
        ("other", False, True, False, True),
        ("other", False, False, True, True),
    ],
)
def test_who_may_collect(who: str, consented: bool, recorded: bool, overruled: bool, may: bool) -> None:
    patient = KNOWN.patient
    assert patient is not None
    held = replace(patient, caregiver_may_collect=consented)
    if may:
        check_collector(who, held, overruled=overruled, recorded=recorded)
    else:
        with pytest.raises(Invalid, match="not_released: the patient consented to no"):
            check_collector(who, held, overruled=overruled, recorded=recorded)
