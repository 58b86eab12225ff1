"""Which record wins, what a renewal replaces, who would benefit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enrollment.domain.candidates import (
    WORDS,
    History,
    in_words,
    reasons_to_synchronize,
    says_anew,
    uncovered_days,
)
from services.enrollment.domain.feed import merge
from services.enrollment.domain.profile import age, belongs, consented_channels, renewals, status_of
from services.enrollment.domain.records import Fed
from shared.events import Reason
from shared.events.enrollment import Channel, Drug, Fill, Prescription, PrescriptionStatus

TODAY = date(2009, 10, 1)
S = PrescriptionStatus

# --- which record wins ---

feeds = st.lists(
    st.builds(Fed, st.sampled_from("abc"), st.integers(1, 5), st.sampled_from("xy")), max_size=12
)


def numbered(feed: list[Fed[str]]) -> dict[int, Fed[str]]:
    """By place in the request."""
    return dict(enumerate(feed))


@pytest.mark.slow
@given(feeds)
def test_a_feed_that_was_taken_changes_nothing(feed: list[Fed[str]]) -> None:
    first = merge({}, numbered(feed))
    again = merge({fed.key: fed for fed in first.save}, numbered(feed))
    assert (again.save, again.accepted, again.unchanged) == ((), (), tuple(range(len(feed))))


@pytest.mark.slow
@given(feeds, feeds)
def test_the_latest_revision_stands_whatever_comes_first(
    monday: list[Fed[str]], tuesday: list[Fed[str]]
) -> None:
    def revisions(*feeds: list[Fed[str]]) -> dict[str, int]:
        held: dict[str, Fed[str]] = {}
        for feed in feeds:
            held |= {fed.key: fed for fed in merge(held, numbered(feed)).save}
        return {key: fed.revision for key, fed in held.items()}

    assert revisions(monday, tuesday) == revisions(tuesday, monday) == revisions(monday + tuesday)


def test_what_says_the_same_under_a_later_revision_is_saved_but_no_change() -> None:
    held = {"a": Fed("a", 1, "x"), "b": Fed("b", 1, "x")}
    merged = merge(held, numbered([Fed("a", 2, "x"), Fed("b", 2, "y")]))
    assert [fed.key for fed in merged.save] == ["a", "b"]
    assert [fed.key for fed in merged.changed] == ["b"]


@pytest.mark.parametrize(
    ("held", "fed", "is_conflict"),
    [
        (Fed("a", 1, "x", digest="x"), Fed("a", 1, "y", digest="y"), True),
        (Fed("a", 1, "x", digest="x"), Fed("a", 1, "x", digest="x"), False),
        (Fed("a", 1, "less", digest="x"), Fed("a", 1, "x", digest="x"), False),  # changed here since
        (Fed("a", 2, "x", digest="x"), Fed("a", 1, "y", digest="y"), False),  # the older one loses
        (Fed("a", 1, "x"), Fed("a", 1, "y", digest="y"), False),  # held since before digests were
    ],
)
def test_other_content_under_the_same_revision_is_a_conflict_and_the_first_stands(
    held: Fed[str], fed: Fed[str], is_conflict: bool
) -> None:
    merged = merge({"a": held}, {4: fed})
    assert (merged.save, merged.accepted) == ((), ())
    assert (merged.conflicts, merged.unchanged) == (((4,), ()) if is_conflict else ((), (4,)))


def test_two_contents_of_one_revision_in_one_request_are_a_conflict() -> None:
    merged = merge({}, numbered([Fed("a", 1, "x", digest="x"), Fed("a", 1, "y", digest="y")]))
    assert (merged.accepted, merged.conflicts) == ((0,), (1,))


# --- prescriptions ---


def prescription(rx_id: str = "RX1", **different: object) -> Prescription:
    drug = {"code": "314077", "name": "", "ingredient": "lisinopril", "strength": "20 mg", "form": "tablet"}
    fields = {
        "rx_id": rx_id,
        "units_per_day": Decimal(1),
        "usual_quantity": Decimal(30),
        "usual_days": 30,
        "quantity_left": Decimal(90),
        "written_on": TODAY - timedelta(days=200),
        "expires_on": TODAY + timedelta(days=165),
        "prescriber_id": "DR1",
    } | different
    return Prescription(drug=Drug(**(drug | dict(fields.pop("drug", {})))), **fields)  # type: ignore[call-overload]


def fill(rx_id: str, days_ago: int, days_supply: int = 30) -> Fill:
    day = TODAY - timedelta(days=days_ago)
    return Fill(
        fill_id=f"{rx_id}-{days_ago}",
        rx_id=rx_id,
        filled_on=day,
        handed_over_on=day,
        quantity=Decimal(days_supply),
        days_supply=days_supply,
    )


@pytest.mark.parametrize(
    ("fed", "superseded", "reported_stopped", "status"),
    [
        (S.active, False, False, S.active),
        (S.active, False, True, S.on_hold),
        (S.active, True, True, S.superseded),
        (S.on_hold, False, False, S.on_hold),
        (S.discontinued, True, True, S.discontinued),
    ],
)
def test_the_chains_word_goes_before_a_renewal_and_that_before_the_patients(
    fed: S, superseded: bool, reported_stopped: bool, status: S
) -> None:
    assert status_of(fed, superseded=superseded, reported_stopped=reported_stopped) is status


@pytest.mark.parametrize(
    ("new", "supersedes"),
    [
        ({}, True),
        ({"drug": {"ingredient": "Lisinopril", "name": "another brand", "code": "1"}}, True),
        ({"drug": {"strength": "10 mg"}}, False),  # two strengths side by side may be deliberate
        ({"drug": {"form": "liquid"}}, False),
        ({"units_per_day": Decimal(2)}, False),  # a changed dose waits for a pharmacist
        ({"as_needed": True}, False),
        ({"status": S.discontinued}, False),
        ({"renews": "RX7"}, False),
        ({"renews": None}, False),
    ],
)
def test_only_the_same_use_of_the_same_drug_is_a_renewal(new: dict[str, object], supersedes: bool) -> None:
    found = renewals([prescription(), prescription("RX2", **({"renews": "RX1"} | new))])
    assert found == ({"RX1": "RX2"} if supersedes else {})


def test_a_superseded_prescription_belongs_while_its_fills_count() -> None:
    old = prescription(status=S.superseded)
    assert belongs(old, [fill("RX1", 20)])
    assert not belongs(old, [fill("RX2", 20)])
    assert not belongs(prescription(status=S.discontinued), [fill("RX1", 20)])


def test_what_another_pharmacy_dispenses_belongs_to_the_profile() -> None:
    assert belongs(prescription(status=S.outside), [])


def test_a_stop_outlives_the_consent_unless_the_next_one_names_the_channel() -> None:
    assert consented_channels(None, []) == (Channel.phone,)
    assert consented_channels(None, [Channel.phone]) == ()
    assert consented_channels([Channel.phone, Channel.text], [Channel.phone]) == (Channel.phone, Channel.text)


def test_a_year_is_completed_on_the_birthday() -> None:
    assert [age(date(1944, 10, 1), TODAY), age(date(1944, 10, 2), TODAY), age(date(1944, 2, 29), TODAY)] == [
        65,
        64,
        65,
    ]


# --- candidates ---


def history(*prescriptions: Prescription, fills: list[Fill], born: date = date(1980, 1, 1)) -> History:
    return History("p", "S1", born, prescriptions, fills)


def drug(number: int, **different: object) -> Prescription:
    return prescription(f"RX{number}", drug={"ingredient": f"drug {number}"}, **different)


def codes(history: History) -> list[str]:
    return [reason.code for reason in reasons_to_synchronize(history, TODAY)]


def monthly(rx_id: str, shift: int = 0) -> list[Fill]:
    return [fill(rx_id, days_ago) for days_ago in range(360 + shift, 0, -30)]


def test_one_drug_has_nothing_to_be_synchronized_with() -> None:
    assert codes(history(drug(1), fills=monthly("RX1"), born=date(1930, 1, 1))) == []


def test_two_strengths_of_one_ingredient_are_one_drug() -> None:
    both = prescription("RX1"), prescription("RX2", drug={"strength": "10 mg"})
    assert codes(history(*both, fills=monthly("RX1") + monthly("RX2"), born=date(1930, 1, 1))) == []


def test_as_needed_short_stopped_and_lapsed_drugs_do_not_count() -> None:
    for different in (
        {"as_needed": True},
        {"drug": {"ingredient": "other", "maintenance": False}},
        {"drug": {"ingredient": "other", "over_the_counter": True}},
        {"status": S.on_hold},
        {"status": S.outside},
        {"written_on": date(2005, 1, 1)},
    ):
        second = prescription("RX2", **({"drug": {"ingredient": "other"}} | different))
        assert codes(history(drug(1), second, fills=monthly("RX1"), born=date(1930, 1, 1))) == []


def test_who_lives_in_long_term_care_is_no_candidate() -> None:
    both = history(drug(1), drug(2), fills=monthly("RX1") + monthly("RX2"), born=date(1930, 1, 1))
    assert codes(both) == ["older_patient"]
    assert codes(replace(both, long_term_care=True)) == []


def test_an_expired_prescription_that_is_still_filled_counts() -> None:
    expired = drug(2, written_on=date(2008, 1, 1), expires_on=date(2009, 1, 1))
    both = monthly("RX1") + monthly("RX2")
    assert codes(history(drug(1), expired, fills=both, born=date(1930, 1, 1))) == ["older_patient"]


def test_a_patient_who_comes_once_a_month_and_misses_nothing_is_no_candidate() -> None:
    assert codes(history(drug(1), drug(2), fills=monthly("RX1") + monthly("RX2"))) == []


def test_many_trips_are_a_reason() -> None:
    scattered = monthly("RX1") + monthly("RX2", shift=11)
    assert codes(history(drug(1), drug(2), fills=scattered)) == ["many_trips"]


def test_many_drugs_are_a_reason() -> None:
    drugs = [drug(number) for number in range(5)]
    fills = [each for number in range(5) for each in monthly(f"RX{number}")]
    assert codes(history(*drugs, fills=fills)) == ["many_drugs"]


def test_missed_days_are_a_reason() -> None:
    gappy = [fill("RX2", days_ago) for days_ago in (300, 260, 220, 180, 140, 100, 60, 20)]
    reasons = reasons_to_synchronize(history(drug(1), drug(2), fills=monthly("RX1") + gappy), TODAY)
    assert [(reason.code, reason.params["missed"]) for reason in reasons if reason.code == "missed_days"] == [
        ("missed_days", 40)
    ]


def test_new_therapy_is_a_reason() -> None:
    assert codes(history(drug(1), drug(2), fills=[*monthly("RX1"), fill("RX2", 30)])) == ["new_therapy"]


def test_supply_left_over_is_carried_forward() -> None:
    """TV13: 5 January, 1 February, 10 March 2026, 30 days each: 6 to 9 March are uncovered."""
    days = [date(2026, 1, 5), date(2026, 2, 1), date(2026, 3, 10)]
    fills = [
        Fill(
            fill_id=str(day),
            rx_id="x",
            filled_on=day,
            handed_over_on=day,
            quantity=Decimal(30),
            days_supply=30,
        )
        for day in days
    ]
    assert uncovered_days(fills, since=days[0], until=date(2026, 4, 9)) == 4
    assert uncovered_days(fills, since=days[0], until=date(2026, 4, 19)) == 14
    assert uncovered_days(fills, since=date(2026, 3, 8), until=date(2026, 4, 9)) == 2
    assert uncovered_days([], since=days[0], until=days[1]) == 0


def test_a_candidate_is_told_again_only_where_a_reason_came_or_went() -> None:
    seven, eight = (Reason(code="many_trips", params={"trips": trips, "days": 180}) for trips in (7, 8))
    assert not says_anew([seven], [eight])
    assert says_anew([], [seven])
    assert says_anew([seven], [])
    assert in_words(eight) == "came to the pharmacy 8 times in 180 days"
    assert len(WORDS) == 5
