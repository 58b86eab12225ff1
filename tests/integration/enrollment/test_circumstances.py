"""On which days a patient can be served, by the feed and by what staff learn; and the days that staff close a store."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.enrollment.store import profiles
from shared.events.enrollment import Profile, ProfileChanged, Span, StoreChanged
from tests import feed as records
from tests.integration.enrollment.conftest import P1, STAFF, Service

PHARMACIST = {"Medsync-Actor": "staff-9", "Medsync-Role": "pharmacist"}


async def stated(service: Service, **said: Any) -> Profile:
    """The profile as published once staff have stated this."""
    await service.post(f"/patients/{P1}/circumstances", **said)
    changed = await service.only(ProfileChanged)
    assert changed.changes == ("circumstances",)
    profile: Profile = changed.profile
    return profile


async def test_the_feed_says_them_and_a_change_is_told_apart_from_wishes(enrolled: Service) -> None:
    in_hospital = records.patient(revision="2", payday="3", stays="2009-09-28/", away="2009-12-20/2010-01-03")
    await enrolled.feed("patients", in_hospital)
    changed = await enrolled.only(ProfileChanged)
    assert changed.changes == ("circumstances",)
    assert (changed.profile.payday, changed.profile.stays) == (3, (Span(begins_on=date(2009, 9, 28)),))
    await enrolled.feed("patients", records.patient(revision="3", must_weekdays="monday"))
    changed = await enrolled.only(ProfileChanged)
    assert changed.changes == ("preferences", "circumstances")
    assert (changed.profile.payday, changed.profile.stays) == (None, ())


async def test_a_household_is_known_by_a_pseudonym(enrolled: Service) -> None:
    await enrolled.feed("patients", records.patient(revision="2", household_id="ELM-1"))
    profile = (await enrolled.only(ProfileChanged)).profile
    assert profile.household_id
    assert "ELM" not in profile.household_id


async def test_what_staff_state_goes_before_the_feed_until_it_is_taken_back(enrolled: Service) -> None:
    assert (await stated(enrolled, payday=5, rides=["2009-10-09"])).payday == 5
    await enrolled.feed("patients", records.patient(revision="2", payday="3", delivered="yes"))
    profile = (await enrolled.only(ProfileChanged)).profile
    assert (profile.payday, profile.rides, profile.delivered) == (5, (date(2009, 10, 9),), True)
    profile = await stated(enrolled, payday=None)
    assert (profile.payday, profile.rides) == (3, (date(2009, 10, 9),))


async def test_every_statement_is_kept_with_who_made_it(enrolled: Service) -> None:
    await stated(enrolled, payday=5)
    await stated(enrolled, payday=6)
    kept = await enrolled.rows("select said, recorded_by, recorded_as from statements order by statement_id")
    assert [(row["said"], row["recorded_by"], row["recorded_as"]) for row in kept] == [
        ({"payday": day}, "staff-7", "technician") for day in (5, 6)
    ]


@pytest.mark.parametrize(
    ("headers", "said", "status"),
    [
        (STAFF, {"stays": [{"begins_on": "2009-09-20", "ends_on": "2009-09-25"}]}, 200),
        (STAFF, {"reconciled_on": "2009-10-01"}, 403),
        (PHARMACIST, {"reconciled_on": "2009-10-01"}, 200),
        (PHARMACIST, {"reconciled_on": "2009-10-09"}, 422),
        (STAFF, {"away": [{"begins_on": "2009-10-09", "ends_on": "2009-10-08"}]}, 400),
        (STAFF, {"payday": 32}, 400),
        (STAFF, {"household_id": "ELM-1"}, 400),
        ({**STAFF, "Medsync-Role": "prescriber"}, {"payday": 3}, 403),
    ],
)
async def test_who_may_state_what(enrolled: Service, headers: Any, said: Any, status: int) -> None:
    answer = await enrolled.http.post(f"/patients/{P1}/circumstances", json=said, headers=headers)
    assert answer.status_code == status, answer.text


# --- the rhythm ---


async def test_the_rhythm_is_changed_by_staff_and_kept_before_the_feeds(enrolled: Service) -> None:
    assert (await profile_of(enrolled))["cycle_policy"] == "auto"
    await enrolled.post(f"/patients/{P1}/rhythm", cycle_policy="rolling_90")
    changed = await enrolled.only(ProfileChanged)
    assert changed.changes == ("preferences",)
    assert changed.profile.cycle_policy == "rolling_90"
    await enrolled.feed("patients", records.patient(revision="2", cycle_policy="rolling_28", payday="3"))
    assert (await enrolled.only(ProfileChanged)).profile.cycle_policy == "rolling_90"
    answer = await enrolled.post(f"/patients/{P1}/rhythm", cycle_policy="day_of_month", day_of_month=15)
    assert answer == {"patient_id": P1, "cycle_policy": "day_of_month", "day_of_month": 15}
    profile = (await enrolled.only(ProfileChanged)).profile
    assert (profile.cycle_policy, profile.day_of_month, profile.payday) == ("day_of_month", 15, 3)
    kept = await enrolled.rows("select said, recorded_by, recorded_as from statements order by statement_id")
    assert [(row["said"]["cycle_policy"], row["recorded_by"], row["recorded_as"]) for row in kept] == [
        ("rolling_90", "staff-7", "technician"),
        ("day_of_month", "staff-7", "technician"),
    ]


async def test_who_comes_back_says_the_rhythm_anew(enrolled: Service) -> None:
    await enrolled.post(f"/patients/{P1}/rhythm", cycle_policy="rolling_90")
    await enrolled.post(f"/patients/{P1}/disenrolment", reason="revoked")
    await enrolled.post(f"/patients/{P1}/rhythm", status=409, cycle_policy="rolling_30")
    await enrolled.post(f"/patients/{P1}/consent")
    assert (await profile_of(enrolled))["cycle_policy"] == "auto"


@pytest.mark.parametrize(
    ("headers", "said", "status"),
    [
        (STAFF, {"cycle_policy": "rolling_30"}, 200),
        (STAFF, {"cycle_policy": "rolling_31"}, 400),
        (STAFF, {"cycle_policy": "other"}, 400),
        (STAFF, {"cycle_policy": "day_of_month"}, 400),
        (STAFF, {"cycle_policy": "auto", "day_of_month": 3}, 400),
        (STAFF, {}, 400),
        ({**STAFF, "Medsync-Role": "prescriber"}, {"cycle_policy": "auto"}, 403),
    ],
)
async def test_a_rhythm_that_is_none_is_refused(
    enrolled: Service, headers: Any, said: Any, status: int
) -> None:
    answer = await enrolled.http.post(f"/patients/{P1}/rhythm", json=said, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(await enrolled.published()) == (status == 200)


async def profile_of(service: Service) -> Any:
    return (await service.get(f"/patients/{P1}"))["profile"]


# --- a store's days ---


async def close(service: Service, day: str) -> dict[str, Any]:
    return await service.post("/stores/S1/closures", on=day, why="burst pipe")


async def test_a_day_that_staff_close_is_published_and_outlives_the_next_feed(fed: Service) -> None:
    await close(fed, "2009-10-12")
    published = await fed.only(StoreChanged)
    assert published.closed_on == (date(2009, 10, 12), date(2009, 11, 26), date(2009, 12, 25))
    assert published.revision == 2
    await fed.feed("stores", records.store(revision="2", closed_on=""))
    published = await fed.only(StoreChanged)
    assert (published.closed_on, published.revision) == ((date(2009, 10, 12),), 3)
    await fed.post("/stores/S1/closures/2009-10-12/lift")
    published = await fed.only(StoreChanged)
    assert (published.closed_on, published.revision) == ((), 4)


async def test_a_closure_said_twice_is_told_once_and_one_that_is_not_cannot_be_lifted(fed: Service) -> None:
    await close(fed, "2009-10-12")
    await fed.published()
    again = await close(fed, "2009-10-12")
    assert "2009-10-12" in again["closed_on"]
    assert await fed.published() == []
    await fed.post("/stores/S1/closures/2009-10-13/lift", status=404)
    await fed.post("/stores/S9/closures", status=404, on="2009-10-12", why="burst pipe")


async def test_what_is_published_again_of_a_store_holds_its_closures(fed: Service) -> None:
    await close(fed, "2009-10-12")
    published = await fed.only(StoreChanged)
    async with fed.work.read() as db:
        again = await profiles.current_state(
            db, keys=fed.work.keys, patient=None, store="S1", after="", limit=10
        )
    assert published in again


async def test_a_store_delivers_and_takes_longer_as_the_feed_says(fed: Service) -> None:
    slow = records.store(revision="2", delivery_weekdays="tuesday friday", lead_days="2", holidays="major")
    await fed.feed("stores", slow)
    published = await fed.only(StoreChanged)
    assert (published.delivery_weekdays, published.lead_days) == ((1, 4), 2)
    assert {date(2009, 11, 26), date(2010, 7, 4)} <= set(published.closed_on)


async def test_as_a_year_begins_there_the_holidays_of_one_more_are_told(fed: Service) -> None:
    """And what staff and the feed closed stays closed."""
    await fed.feed("stores", records.store(revision="2", holidays="major"))
    await close(fed, "2009-10-12")
    before = (await fed.published())[-1]
    assert isinstance(before, StoreChanged)
    assert max(before.closed_on) == date(2011, 12, 25)

    fed.at(datetime(2010, 1, 1, 5, 59, tzinfo=UTC))  # a minute before midnight in Chicago
    await fed.do_due("due_holidays")
    assert await fed.published() == []
    fed.at(datetime(2010, 1, 1, 6, tzinfo=UTC))
    await fed.do_due("due_holidays")
    after = await fed.only(StoreChanged)
    assert set(after.closed_on) - set(before.closed_on) == {
        date(2012, 1, 1),
        date(2012, 5, 28),
        date(2012, 7, 4),
        date(2012, 9, 3),
        date(2012, 11, 22),
        date(2012, 12, 25),
    }
    assert set(before.closed_on) <= set(after.closed_on)
    assert after.revision == before.revision + 1

    fed.at(datetime(2013, 6, 1, tzinfo=UTC))  # after years without a word
    await fed.do_due("due_holidays")
    assert max((await fed.only(StoreChanged)).closed_on) == date(2015, 12, 25)


async def test_a_store_that_keeps_no_holidays_is_not_told_of_again(fed: Service) -> None:
    fed.at(datetime(2011, 1, 2, tzinfo=UTC))
    await fed.do_due("due_holidays")
    assert await fed.published() == []
