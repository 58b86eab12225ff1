"""Whose stories are told at the end, how their pickup days are drawn, and what is said of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from cli.demo.history import Days, History
from cli.demo.moments import Moment, Planned, moment_of
from cli.demo.stories import STRIP, Chosen, Tale, choose, story, strip, strips, tales_of
from cli.demo.telling import Attempt, attempts, tell
from cli.demo.troubles import Kind, troubles, upsets
from shared.events import EVENTS, Event
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled
from shared.events.fulfillment import (
    Consultation,
    ConsultationHeld,
    FillRejected,
    PackagePickedUp,
    PackageReady,
    PackageReturned,
    PickupMissed,
)
from shared.events.outreach import ChangeReported, PatientUnreached, PickupConfirmed
from shared.events.planner import PlanComputed
from tests.pharmacy import pharmacy

FIRST = date(2009, 10, 1)  # a Thursday
DRUG = {"rx-1": "losartan", "rx-1-R1": "losartan", "rx-2": "niacin", "rx-3": "warfarin"}


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def at(day: int, hour: int = 10) -> datetime:
    return datetime(2009, 10, 1, hour, tzinfo=UTC) + timedelta(days=day)


def moment(day: int, kind: type[Event], visit: str = "", *rx_ids: str, **facts: object) -> Moment:
    return Moment(at(day), kind, visit, rx_ids, **{"on": on(day), **facts})  # type: ignore[arg-type]


def planned(
    day: int, anchor: int, *visits: tuple[str, int, str], aside: str = "", revision: int = 1
) -> Moment:
    return Moment(
        at(day),
        PlanComputed,
        on=on(anchor),
        visits=tuple(Planned(visit, on(when), (rx,), when == anchor) for visit, when, rx in visits),
        set_aside=((aside, "on_hold"),) if aside else (),
        revision=revision,
    )


ENROLLED = [moment(0, PatientEnrolled), planned(0, 3, ("v3", 3, "rx-1"))]
SMOOTH = [*ENROLLED, moment(3, PackagePickedUp, "v3", "rx-1"), moment(33, PackagePickedUp, "v33", "rx-1")]
STOPPED = [
    *ENROLLED,
    moment(20, ChangeReported, "", "rx-2", detail="stopped"),
    planned(20, 33, aside="rx-2"),
    moment(33, PackagePickedUp, "v33", "rx-1"),
]
RETURNED = [
    *ENROLLED,
    moment(3, PackageReady, "v3", "rx-1"),
    moment(4, PickupMissed, "v3", number=1, on=on(3)),
    moment(6, PickupMissed, "v3", number=3, on=on(3)),
    moment(10, PackageReturned, "v3", "rx-1"),
    planned(10, 33, ("v12", 12, "rx-1-R1"), revision=2),
    moment(12, PackagePickedUp, "v12", "rx-1-R1"),
]
LATE = [
    *ENROLLED,
    moment(4, PickupMissed, "v3", number=1, on=on(3)),
    moment(5, PackagePickedUp, "v3", "rx-1"),
]
REJECTED = [
    *ENROLLED,
    moment(3, FillRejected, "v3", "rx-2", detail="75"),
    moment(3, PackageReady, "v3", "rx-1"),
    moment(4, PackagePickedUp, "v3", "rx-1"),
    planned(4, 33, ("v15", 15, "rx-2"), revision=2),
    moment(15, PackagePickedUp, "v15", "rx-2"),
]


def tale(
    patient_id: str,
    moments: list[Moment],
    before: int = 4,
    since: int = 3,
    without: tuple[int, int] = (20, 10),
) -> Tale:
    history = History(
        patient_id=patient_id,
        enrolled_on=FIRST,
        until=on(70),
        drugs=frozenset(DRUG.values()),
        came_before=frozenset(on(-5 * each - 1) for each in range(before)),
        came_since=frozenset(on(30 * each) for each in range(since)),
        synchronized_on=frozenset({on(0), on(30)}),
        before=Days(210, without[0]),
        since=Days(210, without[1]),
    )
    return Tale(history, moments, DRUG)


# ---- choosing ---------------------------------------------------------------------------------------------------


def test_the_ordinary_patient_has_no_upset_and_about_as_many_trips_as_all() -> None:
    tales = [
        tale("calm, many trips", SMOOTH, before=9, since=5),
        tale("calm, usual", SMOOTH),
        tale("rejected", REJECTED),
        tale("calm, few trips", SMOOTH, before=1, since=1),
    ]
    usual = choose(tales)[0]
    assert (usual.title, usual.tale.patient_id) == ("An ordinary patient", "calm, usual")
    assert choose(tales[::-1])[0].tale is usual.tale, "in whatever order they come"


def test_who_left_the_program_is_not_the_ordinary_patient() -> None:
    left = [*SMOOTH, moment(40, PatientDisenrolled)]
    tales = [tale("a, left", left), tale("calm, many trips", SMOOTH, before=9, since=5)]
    assert choose(tales)[0].tale.patient_id == "calm, many trips"


def test_who_was_once_not_reached_is_more_ordinary_than_who_comes_twice_as_often() -> None:
    once = [*SMOOTH, moment(40, PatientUnreached, number=1)]
    tales = [tale("calm", SMOOTH, before=9, since=6), tale("b", once), tale("c", REJECTED), tale("d", LATE)]
    assert choose(tales)[0].tale.patient_id == "b"


def test_the_trouble_told_is_the_one_that_shows_most_of_what_was_done() -> None:
    tales = [tale("calm", SMOOTH), tale("late", LATE), tale("stopped", STOPPED), tale("rejected", REJECTED)]
    assert choose(tales)[1].tale.patient_id == "stopped"
    assert choose([*tales, tale("returned", RETURNED)])[1].tale.patient_id == "returned"


@pytest.mark.parametrize(
    "other",
    [
        tale("a", RETURNED[:-1]),  # not settled
        tale("a", [*RETURNED, *[moment(40, PatientUnreached, number=1)] * 3]),  # nobody could follow it
        tale("a", RETURNED, without=(10, 20)),  # longer without a drug than before
        tale("a", [*RETURNED, moment(40, PatientUnreached, number=1)]),
    ],
)
def test_of_two_with_the_same_trouble_the_clearer_story_is_told(other: Tale) -> None:
    found = choose([other, tale("b", RETURNED), tale("calm", SMOOTH)])[1]
    assert found.tale.patient_id == "b"


def test_without_patients_there_is_no_story() -> None:
    assert choose([]) == [] == tales_of([], {}, [])


@pytest.mark.parametrize(
    ("moments", "kind", "drugs", "settled"),
    [
        (STOPPED, Kind.stopped, {"niacin"}, "v33"),
        ([*STOPPED, moment(50, PackagePickedUp, "v50", "rx-2")], Kind.stopped, {"niacin"}, None),
        (RETURNED, Kind.returned, {"losartan"}, "v12"),
        (RETURNED[:-1], Kind.returned, {"losartan"}, None),
        (LATE, Kind.late, {"losartan"}, "v3"),
        (REJECTED, Kind.rejected, {"niacin"}, "v15"),
    ],
)
def test_a_trouble_is_settled_by_a_pickup(
    moments: list[Moment], kind: Kind, drugs: set[str], settled: str | None
) -> None:
    [trouble] = troubles(moments, DRUG)
    assert (trouble.kind, trouble.drugs) == (kind, drugs)
    assert (trouble.settled.visit_id if trouble.settled else None) == settled


def test_upsets_are_counted() -> None:
    assert [upsets(each) for each in (SMOOTH, STOPPED, LATE, RETURNED)] == [0, 1, 1, 3]


# ---- drawing ----------------------------------------------------------------------------------------------------


def test_a_strip_has_a_mark_a_day() -> None:
    marks = {on(0): "S", on(3): "|", on(9): "S"}
    assert strip(marks, FIRST, on(8)) == "S··|····"
    assert strip({}, FIRST, FIRST) == ""


def test_a_long_strip_counts_the_pickup_days_of_each_week() -> None:
    marks = {on(day): "|" for day in (0, 6, 7, 20)}
    drawn = strip(marks, FIRST, on(STRIP + 1))
    assert drawn == "211········"
    assert len(strip(marks, FIRST, on(3_000))) <= STRIP


def test_a_day_of_trouble_is_marked_and_explained() -> None:
    one = tale("late", LATE)
    [trouble] = troubles(LATE, DRUG)
    _, before, _, since, legend = strips(one.history, trouble)
    assert (before.count("|"), since[2:9]) == (4, "S···!··")
    assert len(before) == len(since) == 72
    assert "! trouble" in legend
    assert "trouble" not in strips(one.history, None)[-1]


# ---- telling ----------------------------------------------------------------------------------------------------


def test_a_missed_pickup_is_told_with_the_calls_and_plans_that_followed_and_how_it_ended() -> None:
    [trouble] = troubles(RETURNED, DRUG)
    calls = [
        Attempt(at(4, 11), "v3", "phone", "no_answer"),
        Attempt(at(4, 12), "another", "text", "answered"),
    ]
    assert tell(RETURNED, DRUG, trouble, calls) == [
        "Thu 10/1  10:00  Enrolls; first plan: sync date Sun 10/4, no short fills",
        "Mon 10/5  10:00  Not picked up, 1 day late",
        "Mon 10/5  11:00  → calls the patient about it: no answer",
        "Wed 10/7  10:00  Not picked up, 3 days late",
        "Sun 10/11 10:00  Return to stock, claims reversed: losartan",
        "Sun 10/11 10:00  → plans losartan for Tue 10/13; sync date Tue 11/3",
        "Tue 10/13 10:00  Picks up losartan",
    ]


def test_a_stopped_drug_is_told_with_what_became_of_the_plan() -> None:
    [trouble] = troubles(STOPPED, DRUG)
    assert tell(STOPPED, DRUG, trouble, [])[1:] == [
        "Wed 10/21 10:00  Says on the call: stopped taking niacin",
        "Wed 10/21 10:00  → plans without niacin: on hold until pharmacist and prescriber decide",
        "Tue 11/3  10:00  Picks up 1 fill, no niacin",
    ]


def test_a_reject_is_told_with_what_could_be_packed_and_the_next_try() -> None:
    [trouble] = troubles(REJECTED, DRUG)
    assert tell(REJECTED, DRUG, trouble, [])[1:] == [
        "Sun 10/4  10:00  Insurance rejects niacin: prior authorization required (reject 75)",
        "Sun 10/4  10:00  → packs the rest: 1 fill ready",
        "Mon 10/5  10:00  → plans niacin for Fri 10/16; sync date Tue 11/3",
        "Mon 10/5  10:00  Picks up 1 fill; next sync date Tue 11/3",
        "Fri 10/16 10:00  Picks up niacin",
    ]


def test_a_day_is_a_line_and_the_lightest_are_left_out() -> None:
    day = [
        moment(3, PackageReady, "v40", "rx-1", "rx-2"),
        moment(3, PickupConfirmed, "v40", "rx-1", "rx-2", number=1, on=on(40)),
        moment(3, PickupConfirmed, "never packed", "rx-3", number=1, on=on(5)),
        moment(3, PackagePickedUp, "v3", "rx-1"),
        moment(3, ConsultationHeld, "v3", detail=str(Consultation.declined)),
    ]
    [line] = tell(day, DRUG, None, [])
    assert line == (
        "Sun 10/4  10:00  Confirms Tue 11/10 (2 fills, 1 if approved in time); picks up 1 fill; counseling declined"
    )
    many = [
        *(moment(each, PickupConfirmed, "v", "rx-1") for each in range(1, 31)),
        moment(1, PackageReady, "v"),
        moment(40, PackagePickedUp, "v", "rx-1"),
    ]
    told = tell([*ENROLLED, *many], DRUG, None, [], lines=4)
    assert len(told) == 4 and "Enrolls" in told[0] and "Picks up" in told[-1]


def test_a_story_fits_eighty_columns() -> None:
    [trouble] = troubles(RETURNED, DRUG)
    chosen = Chosen("A patient with trouble (a missed pickup)", tale("f218d75f0000", RETURNED), trouble)
    lines = list(
        story(chosen, "The next 365 days: 13 trips, against 18 trips in the 365 days before; and so on.")
    )
    assert lines[0] == "A patient with trouble (a missed pickup): f218d75f, 3 drugs"
    assert all(len(line) <= 80 for line in lines)
    assert "  Days without a drug, over all drugs: 20 before, 10 since" in lines


def test_calls_about_a_package_that_waits_are_read_from_the_ledger() -> None:
    tried = [{"at": "2009-10-05T15:00:00+00:00", "channel": "text", "by": "dialler", "outcome": "voicemail"}]
    ledger = [
        {"kind": "confirmation", "visit_id": "v3", "tried": tried},
        {"kind": "missed", "visit_id": "v3", "tried": tried},
    ]
    assert attempts(ledger, UTC) == [Attempt(at(4, 15), "v3", "text", "voicemail")]


def test_moments_are_made_of_events_and_have_an_order_whatever_is_heard_first() -> None:
    told = [each.event for each in pharmacy(48)]
    key = told[-1].key
    made = [found for event in told if event.key == key and (found := moment_of(event, at(0)))]
    assert {found.kind for found in made} <= set(EVENTS.values()) and len(made) > 3
    backwards = made[::-1]
    assert sorted(backwards, key=lambda each: each.place) == sorted(made, key=lambda each: each.place)
