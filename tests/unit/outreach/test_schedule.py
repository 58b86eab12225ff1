"""When an attempt is due: days before the visit, bands, quiet hours, time zones, caps, priorities, channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.outreach.domain.model import By, Calendar, Call, Contact, Kind, Status
from services.outreach.domain.review import review
from services.outreach.domain.schedule import channel_of, may_call, scheduled
from shared.events.enrollment import Channel
from shared.events.planner import VisitKind
from tests.unit.outreach.given import PATIENT, at, case, contact, local, plan, visit

VISIT_ON = date(2026, 10, 30)  # a Friday


def attempts_without_answer(opened: datetime, visit_on: date, kind: Kind = Kind.confirmation) -> list[str]:
    """Local moments of all attempts that a dialer makes, each at its due time and in vain."""
    the_plan = plan(visit(visit_on), agreed=kind is not Kind.alignment)
    waiting = [contact(kind, visit_on, opened)]
    calls: list[Call] = []
    made, now = [], opened
    while True:
        reviewed = review(case(*waiting, plan=the_plan, calls=tuple(calls)), now)
        [now_known] = reviewed.contacts
        if now_known.status is not Status.open:
            return [str(local(moment)) for moment in made]
        due = now_known.due_at
        now = max(due, now) if due else now_known.review_at
        if due:
            made.append(now)
            calls.append(Call(now, By.dialer))
            now_known = replace(now_known, attempts=now_known.attempts + 1, last_attempt_at=now)
        waiting = [now_known]


@pytest.mark.parametrize(
    ("opened", "visit_on", "expected"),
    [
        pytest.param(
            at(5, "09:30"),
            VISIT_ON,
            ["2026-10-23 10:00", "2026-10-25 13:30", "2026-10-27 17:30"],
            id="seven, five and three days before, each in another band",
        ),
        pytest.param(
            at(23, "14:00"),
            VISIT_ON,
            ["2026-10-23 14:00", "2026-10-25 17:30", "2026-10-27 10:00"],
            id="seven days before is today: at once",
        ),
        pytest.param(
            at(26, "14:00"),
            VISIT_ON,
            ["2026-10-26 14:00", "2026-10-27 17:30", "2026-10-28 10:00"],
            id="short notice: once a day until the day before, three a week",
        ),
        pytest.param(
            at(28, "11:00"), VISIT_ON, ["2026-10-28 11:00", "2026-10-29 13:30"], id="two days before"
        ),
        pytest.param(at(29, "19:59"), VISIT_ON, ["2026-10-29 19:59"], id="one minute before quiet hours"),
        pytest.param(at(29, "20:00"), VISIT_ON, [], id="too late for any attempt"),
        pytest.param(
            at(28, "06:10"),
            VISIT_ON,
            ["2026-10-28 10:00", "2026-10-29 13:30"],
            id="known in the night: in the morning",
        ),
        pytest.param(
            at(27, "22:00"),
            VISIT_ON,
            ["2026-10-28 10:00", "2026-10-29 13:30"],
            id="known in the evening: the next morning",
        ),
    ],
)
def test_a_confirmation_is_attempted(opened: datetime, visit_on: date, expected: list[str]) -> None:
    assert attempts_without_answer(opened, visit_on) == expected


@pytest.mark.parametrize(
    ("opened", "visit_on", "expected"),
    [
        pytest.param(
            at(1, "11:00"),
            VISIT_ON,
            [
                "2026-10-01 11:00",
                "2026-10-03 13:30",
                "2026-10-05 17:30",
                "2026-10-23 10:00",
                "2026-10-25 13:30",
                "2026-10-27 17:30",
            ],
            id="at once, twice more within the week, then as a confirmation",
        ),
        pytest.param(
            at(28, "11:00"),
            VISIT_ON,
            ["2026-10-28 11:00", "2026-10-29 13:30", "2026-10-30 17:30"],
            id="three days even where the first visit passes",
        ),
    ],
)
def test_an_alignment_is_attempted(opened: datetime, visit_on: date, expected: list[str]) -> None:
    assert attempts_without_answer(opened, visit_on, Kind.alignment) == expected


@pytest.mark.parametrize(
    ("opened", "visit_on", "kind", "expected"),
    [
        pytest.param(
            at(28, "11:00"),
            VISIT_ON,
            Kind.confirmation,
            [
                "dialler 2026-10-28 11:00",
                "person 2026-10-28 13:00",
                "person 2026-10-28 15:00",
                "dialler 2026-10-29 09:00",
            ],
            id="three times at once, then daily until the day before",
        ),
        pytest.param(
            at(30, "17:00"),
            VISIT_ON,
            Kind.confirmation,
            ["dialler 2026-10-30 17:00", "person 2026-10-30 19:00"],
            id="of today: what the hours for calls still allow",
        ),
        pytest.param(
            at(29, "21:00"),
            VISIT_ON,
            Kind.confirmation,
            ["dialler 2026-10-30 09:00", "person 2026-10-30 11:00", "person 2026-10-30 13:00"],
            id="known in the evening: the next morning, though it is the visit's own",
        ),
        pytest.param(at(30, "20:30"), VISIT_ON, Kind.confirmation, [], id="too late for today"),
        pytest.param(
            at(30, "10:00"),
            VISIT_ON,
            Kind.alignment,
            [
                "dialler 2026-10-30 10:00",
                "person 2026-10-30 12:00",
                "person 2026-10-30 14:00",
                "dialler 2026-10-31 09:00",
                "dialler 2026-11-01 09:00",
            ],
            id="a proposal: then on three days even where the first visit passes",
        ),
    ],
)
def test_what_is_urgent_is_attempted_by_whoever_may_first(
    opened: datetime, visit_on: date, kind: Kind, expected: list[str]
) -> None:
    the_plan = plan(visit(visit_on), agreed=kind is not Kind.alignment)
    [now_known] = waiting = [contact(kind, visit_on, opened, urgent_at=opened)]
    calls: list[Call] = []
    now = opened
    while now_known.status is Status.open:
        [now_known] = review(case(*waiting, plan=the_plan, calls=tuple(calls)), now).contacts
        moment = now_known.due_at or now_known.by_hand_at
        now = max(moment, now) if moment else now_known.review_at or now
        if moment:
            calls.append(Call(now, By.dialer if now_known.due_at else By.person))
            now_known = replace(now_known, attempts=now_known.attempts + 1, last_attempt_at=now)
        waiting = [now_known]
    assert [f"{call.by} {local(call.at)}" for call in calls] == expected


@pytest.mark.parametrize(
    ("zone", "utc"),
    [
        ("America/New_York", "2026-10-23 14:00"),
        ("America/Chicago", "2026-10-23 15:00"),
        ("America/Phoenix", "2026-10-23 17:00"),
        ("Pacific/Honolulu", "2026-10-23 20:00"),
        ("Pacific/Guam", "2026-10-23 00:00"),
    ],
)
def test_the_band_is_on_the_clock_of_the_called_party(zone: str, utc: str) -> None:
    waiting = contact(Kind.confirmation, VISIT_ON, at(5))
    [planned] = scheduled(case(zone=zone), [waiting], at(5))
    assert planned.due_at is not None
    assert f"{planned.due_at:%Y-%m-%d %H:%M}" == utc


@pytest.mark.parametrize(
    ("visit_on", "utc"),
    [
        pytest.param(date(2026, 11, 7), "2026-10-31 14:00", id="the last day of summer time"),
        pytest.param(date(2026, 11, 8), "2026-11-01 15:00", id="the day on which clocks go back"),
        pytest.param(date(2026, 3, 14), "2026-03-07 15:00", id="the last day of winter time"),
        pytest.param(date(2026, 3, 15), "2026-03-08 14:00", id="the day on which clocks go forward"),
    ],
)
def test_ten_in_the_morning_is_ten_in_the_morning_when_clocks_change(visit_on: date, utc: str) -> None:
    opened = datetime(2026, 2, 1, 15, tzinfo=UTC)
    [planned] = scheduled(case(), [contact(Kind.confirmation, visit_on, opened)], opened)
    assert planned.due_at is not None
    assert f"{planned.due_at:%Y-%m-%d %H:%M}" == utc


def test_a_day_on_which_the_store_is_closed_moves_the_call_earlier() -> None:
    closed = Calendar(frozenset(range(6)), frozenset({date(2026, 10, 23)}))
    [planned] = scheduled(case(calendar=closed), [contact(Kind.confirmation, VISIT_ON, at(5))], at(5))
    assert local(planned.due_at) == "2026-10-22 10:00"


def test_what_nobody_made_today_is_due_again_tomorrow() -> None:
    waiting = contact(Kind.confirmation, VISIT_ON, at(5))
    [planned] = scheduled(case(), [waiting], at(23, "20:00"))
    assert local(planned.due_at) == "2026-10-24 10:00"
    assert local(planned.review_at) == "2026-10-24 20:00"


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param([], "2026-10-23 10:00", id="nothing before"),
        pytest.param([at(23, "09:00")], "2026-10-24 10:00", id="one a day"),
        pytest.param([at(17), at(19), at(21)], "2026-10-24 10:00", id="three in seven days"),
        pytest.param([at(16), at(19), at(21)], "2026-10-23 10:00", id="the first of three is eight days old"),
    ],
)
def test_caps_of_automated_contacts_hold_an_attempt_back(calls: list[datetime], expected: str) -> None:
    known = case(calls=tuple(Call(moment, By.dialer) for moment in calls))
    [planned] = scheduled(known, [contact(Kind.confirmation, VISIT_ON, at(5))], at(23, "09:30"))
    assert local(planned.due_at) == expected


def test_calls_by_people_and_by_the_patient_do_not_count_for_the_dialer() -> None:
    known = case(calls=(Call(at(23, "09:00"), By.person), Call(at(23, "09:10"), By.patient)))
    [planned] = scheduled(known, [contact(Kind.confirmation, VISIT_ON, at(5))], at(23, "09:30"))
    assert local(planned.due_at) == "2026-10-23 10:00"


def test_when_the_cap_binds_the_more_important_goes_first() -> None:
    waiting = [
        contact(Kind.reminder, date(2026, 10, 24), at(20), "v1"),
        contact(Kind.ready, date(2026, 10, 25), at(23), "v2"),
        contact(Kind.confirmation, VISIT_ON, at(5)),
        contact(Kind.missed, date(2026, 10, 22), at(23), "v3", last_on=date(2026, 10, 29)),
    ]
    planned = scheduled(case(), waiting, at(23, "10:00"))
    assert [(each.kind, local(each.due_at)) for each in planned] == [
        (Kind.missed, "2026-10-23 10:00"),
        (Kind.confirmation, "2026-10-24 10:00"),
        (Kind.ready, "2026-10-25 10:00"),
        (Kind.reminder, None),
    ]
    assert local(planned[-1].by_hand_at) == "2026-10-23 10:00"


def test_while_one_contact_is_leased_the_others_wait() -> None:
    lent = contact(
        Kind.confirmation, VISIT_ON, at(5), lease_id=contact(Kind.ready, VISIT_ON, at(5)).contact_id
    )
    lent = replace(lent, lease_until=at(23, "10:15"))
    planned = scheduled(case(), [lent, contact(Kind.ready, VISIT_ON, at(23))], at(23))
    assert [each.due_at for each in planned] == [None, None]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.question])
def test_in_hospital_neither_the_dialer_nor_a_person_calls(kind: Kind) -> None:
    [planned] = scheduled(case(in_hospital=True), [contact(kind, VISIT_ON, at(5))], at(5))
    assert (planned.due_at, planned.by_hand_at) == (None, None)


@pytest.mark.parametrize("why", ["opted_out", "unread_text"])
def test_who_said_stop_or_may_have_is_contacted_by_people_alone(why: str) -> None:
    [planned] = scheduled(case(**{why: True}), [contact(Kind.confirmation, VISIT_ON, at(5))], at(5))
    assert (planned.due_at, local(planned.by_hand_at)) == (None, "2026-10-23 10:00")
    assert local(planned.review_at) == "2026-10-27 20:00"


@pytest.mark.parametrize(
    ("lapsed_at", "attempts", "calls", "expected"),
    [
        pytest.param(at(5, "00:00"), 0, [], "2026-10-05 10:00", id="known at midnight: the same day"),
        pytest.param(at(5, "15:00"), 0, [], "2026-10-05 15:00", id="known in the afternoon: at once"),
        pytest.param(at(5, "20:30"), 0, [], "2026-10-06 10:00", id="known in quiet hours: as they end"),
        pytest.param(at(5, "15:00"), 1, [at(5, "15:00")], "2026-10-06 17:30", id="again the next day"),
        pytest.param(at(5, "15:00"), 2, [at(5, "15:00")], "2026-10-08 17:30", id="and on the third"),
        pytest.param(
            at(5, "15:00"), 0, [at(5, "10:00"), at(5, "11:00")], "2026-10-06 10:00", id="within people's cap"
        ),
    ],
)
def test_about_lapsed_insurance_a_person_calls_the_same_day_and_the_dialer_never(
    lapsed_at: datetime, attempts: int, calls: list[datetime], expected: str
) -> None:
    last = calls[-1] if attempts else None
    lapsed = contact(Kind.insurance, None, lapsed_at, "insurance", attempts=attempts, last_attempt_at=last)
    made = tuple(Call(moment, By.person) for moment in calls)
    [planned] = scheduled(case(calls=made), [lapsed], max([lapsed_at, *calls]))
    assert (planned.due_at, local(planned.by_hand_at)) == (None, expected)


def test_what_was_tried_in_vain_about_insurance_is_given_up_after_four_days() -> None:
    lapsed = contact(Kind.insurance, None, at(5), "insurance")
    for now, status in ((at(9, "19:59"), Status.open), (at(9, "20:00"), Status.lapsed)):
        [left] = review(case(lapsed), now).contacts
        assert left.status is status


@pytest.mark.parametrize(
    ("kind", "consented", "reachable", "attempts", "expected"),
    [
        (Kind.confirmation, ["phone", "text"], ["phone", "text"], 0, "phone"),
        (Kind.confirmation, ["phone", "text"], ["phone", "text"], 1, "text"),
        (Kind.confirmation, ["phone", "text"], ["phone"], 1, "phone"),
        (Kind.ready, ["phone", "text"], ["phone", "text"], 0, "text"),
        (Kind.ready, ["phone"], ["phone", "text"], 0, "phone"),
        (Kind.missed, ["phone", "text"], ["phone", "text"], 0, "phone"),
        (Kind.confirmation, ["text", "letter"], ["letter"], 0, "letter"),
        (Kind.confirmation, ["text", "letter"], ["letter"], 2, "letter"),
        (Kind.confirmation, ["text", "letter"], ["text", "letter"], 2, "text"),
        (Kind.ready, ["letter"], ["letter"], 0, None),
        (Kind.insurance, ["phone", "text"], ["phone", "text"], 0, "phone"),
        (Kind.insurance, ["letter"], ["letter"], 0, "letter"),
        (Kind.confirmation, ["text"], ["phone"], 0, None),
        (Kind.confirmation, ["other"], ["phone"], 0, None),
    ],
)
def test_the_channel_is_one_that_the_patient_consented_to(
    kind: Kind, consented: Sequence[str], reachable: Sequence[str], attempts: int, expected: str | None
) -> None:
    known = case(channels=tuple(map(Channel, consented)), reachable=frozenset(map(Channel, reachable)))
    waiting = contact(kind, VISIT_ON, at(5), attempts=attempts)
    assert channel_of(waiting, known, date(2026, 10, 20), By.dialer) == expected


BY_LETTER: dict[str, Any] = {
    "channels": (Channel.phone, Channel.letter),
    "reachable": frozenset({Channel.letter}),
}


@pytest.mark.parametrize(
    ("kind", "opened", "attempts", "written_at", "expected"),
    [
        pytest.param(Kind.confirmation, at(5), 0, None, "2026-10-20 10:00", id="seven days before T-3"),
        pytest.param(Kind.confirmation, at(20), 0, None, "2026-10-20 10:00", id="at once, as the last day"),
        pytest.param(Kind.confirmation, at(21), 0, None, None, id="too late"),
        pytest.param(Kind.alignment, at(5), 0, None, "2026-10-05 10:00", id="a proposal at once"),
        pytest.param(
            Kind.alignment, at(5), 2, None, "2026-10-05 10:00", id="after calls, and a wrong number"
        ),
        pytest.param(Kind.alignment, at(5), 1, at(5), None, id="one letter"),
    ],
)
def test_a_letter_leaves_the_post_seven_days_before_the_visit_is_decided(
    kind: Kind, opened: datetime, attempts: int, written_at: datetime | None, expected: str | None
) -> None:
    waiting = contact(kind, VISIT_ON, opened, attempts=attempts, written_at=written_at)
    [planned] = scheduled(case(**BY_LETTER), [waiting], opened)
    assert local(planned.due_at) == expected
    assert planned.by_hand_at is None


@pytest.mark.parametrize(
    ("now", "calls", "kind", "allowed"),
    [
        (at(23, "10:00"), [], Kind.confirmation, True),
        (at(23, "08:59"), [], Kind.confirmation, False),
        (at(23, "20:00"), [], Kind.confirmation, False),
        (at(23, "15:00"), [at(23, "10:00")], Kind.confirmation, True),
        (at(23, "15:00"), [at(23, "10:00"), at(23, "11:00")], Kind.confirmation, False),
        (at(23, "15:00"), [at(23, "10:00"), at(23, "11:00")], Kind.question, True),
        (at(23, "15:00"), [at(day) for day in (17, 18, 19, 20, 21, 22)], Kind.confirmation, False),
    ],
)
def test_people_have_caps_of_their_own(
    now: datetime, calls: list[datetime], kind: Kind, allowed: bool
) -> None:
    known = case(calls=tuple(Call(moment, By.person) for moment in calls))
    assert (may_call(known, contact(kind, VISIT_ON, at(5)), now) is None) is allowed


@st.composite
def days_of_life(draw: st.DrawFn) -> tuple[str, list[Contact], list[tuple[int, bool]]]:
    """A time zone, contacts of all kinds about visits of some weeks, and when somebody looks (hours) and dials."""
    zone = draw(st.sampled_from(["America/New_York", "America/Denver", "Pacific/Honolulu", "Pacific/Guam"]))
    start = datetime(2026, draw(st.sampled_from([3, 6, 10])), 25, 12, tzinfo=UTC)
    contacts = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([kind for kind in Kind if kind not in (Kind.question, Kind.alignment)]))
        opened = start + timedelta(hours=draw(st.integers(0, 24 * 6)))
        on = opened.date() + timedelta(days=draw(st.integers(0, 12)))
        contacts.append(contact(kind, on, opened, f"v{number}", last_on=on + timedelta(days=7)))
    steps = draw(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=20, max_size=100))
    return zone, contacts, steps


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(days_of_life())
def test_attempts_keep_within_caps_and_hours_whatever_happens(
    life: tuple[str, list[Contact], list[tuple[int, bool]]],
) -> None:
    zone, future, steps = life
    now = min(each.opened_at for each in future)
    visits = [
        visit(each.visit_on).model_copy(update={"visit_id": each.visit_id})
        for each in future
        if each.visit_on
    ]
    the_plan = plan(*visits)
    live: list[Contact] = []
    calls: list[Call] = []
    for hours, dials in steps:
        now += timedelta(hours=hours)
        live += [each for each in future if each.opened_at <= now]
        future = [each for each in future if each.opened_at > now]
        recent = tuple(call for call in calls if call.at > now - timedelta(days=8))
        result = review(case(*live, plan=the_plan, calls=recent, zone=zone), now)
        live = [each for each in result.contacts if each.status is Status.open]
        assert all(each.review_at and each.review_at > now for each in live)
        due = [each for each in live if each.due_at and each.due_at <= now]
        if due and dials:
            calls.append(Call(now, By.dialer))
            called = replace(due[0], attempts=due[0].attempts + 1, last_attempt_at=now)
            live = [called if each is due[0] else each for each in live]
    moments = [call.at.astimezone(ZoneInfo(zone)) for call in calls]
    assert all(time(9) <= moment.time() < time(20) for moment in moments)
    days = [moment.date() for moment in moments]
    assert max(Counter(days).values(), default=0) <= 1
    assert all(sum(0 <= (other - day).days < 7 for other in days) <= 3 for day in days)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 24 * 20), st.integers(0, 2), st.booleans())
def test_looking_twice_changes_nothing(hours: int, attempts: int, opted_out: bool) -> None:
    now = at(5) + timedelta(hours=hours)
    waiting = contact(Kind.confirmation, VISIT_ON, at(5), attempts=attempts)
    known = case(waiting, plan=plan(visit(VISIT_ON)), opted_out=opted_out)
    once = review(known, now)
    again = review(replace(known, contacts=tuple(c for c in once.contacts if c.status is Status.open)), now)
    assert [c for c in once.contacts if c.status is Status.open] == list(again.contacts)
    assert not (again.events and once.events)


def test_contacts_wait_until_enrollment_and_zone_are_known() -> None:
    waiting = contact(Kind.confirmation, date(2026, 10, 2), at(1), due_at=at(1), review_at=at(1))
    for unknown in ({"zone": None}, {"enrolled": False}):
        result = review(
            case(waiting, plan=plan(visit(date(2026, 10, 2), VisitKind.synchronized)), **unknown), at(9)
        )
        assert [(c.patient_id, c.due_at, c.review_at) for c in result.contacts] == [(PATIENT, None, None)]
        assert result.events == ()
