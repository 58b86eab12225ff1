"""When the next attempt of each contact is due: days before the visit, bands of the day, quiet hours, caps.

Days and clock times are local to the called party. There are few distinct moments (the bands), so that attempts of
many patients fall due together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.outreach.domain.model import ASKS, By, Case, Contact, Kind
from shared.events.enrollment import Channel

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many contacts of one patient, on all channels and for all reasons together."""

    a_day: int
    a_week: int  # in any seven days on end


@dataclass(frozen=True, slots=True)
class Policy:
    """What a chain may set about contacts (R14)."""

    opens: time = time(9)  # quiet hours end
    closes: time = time(20)  # quiet hours begin
    bands: tuple[time, ...] = (time(10), time(13, 30), time(17, 30))
    automated: Cap = Cap(a_day=1, a_week=3)
    person: Cap = Cap(a_day=2, a_week=6)
    confirm_before: tuple[int, ...] = (7, 5, 3)  # days before the visit
    lapse_after: tuple[int, ...] = (0, 1, 3)  # days after insurance lapsed
    letter_days: int = 7  # for a letter there, and the answer back
    urgent_attempts: int = 3  # on the first day, where the visit cannot wait
    urgent_gap: timedelta = timedelta(hours=2)  # between them


POLICY = Policy()

PRIORITY = (
    Kind.missed,
    Kind.insurance,
    Kind.confirmation,
    Kind.alignment,
    Kind.ready,
    Kind.reminder,
    Kind.question,
)
"""Which contact goes first where a cap binds (R14.5; for insurance the same day: R14.12)."""


def scheduled(
    case: Case, contacts: Sequence[Contact], now: datetime, policy: Policy = POLICY
) -> list[Contact]:
    """Give each open contact of a patient the time of its next attempt and of its next review.

    The most important contact takes its time first, the others what the caps leave; what is urgent goes to whoever may
    make it first. What the dialer may not make (the
    patient said stop or wrote what nobody read yet, the caps are used up, no channel is left, it is about money: 47 CFR
    64.1200(a)(9)(iv) exempts no billing) falls to people, with caps of their own. While one is
    leased the others wait: the call that is being made may answer them.
    """
    zone = ZoneInfo(case.zone or "UTC")
    booked = {by: [call.at.astimezone(zone).date() for call in case.calls if call.by is by] for by in By}
    leased = any(contact.lease_id for contact in contacts)
    result = []
    for contact in sorted(contacts, key=priority):
        if contact.lease_id or contact.kind is Kind.question:
            result.append(replace(contact, due_at=None, by_hand_at=None, review_at=contact.lease_until))
            continue
        due_at = by_hand_at = None
        if not leased:
            due_at = next_attempt(contact, case, now, booked[By.dialer], By.dialer, policy)
            if contact.urgent_at or not due_at:
                by_hand_at = next_attempt(contact, case, now, booked[By.person], By.person, policy)
        if due_at and by_hand_at:  # urgent
            due_at, by_hand_at = (None, by_hand_at) if by_hand_at < due_at else (due_at, None)
        if due_at:
            booked[By.dialer].append(due_at.astimezone(zone).date())
        next_at = due_at or (by_hand_at if contact.urgent_at else None)
        until = next_at.astimezone(zone).date() if next_at else _decided_by(contact, case, zone, policy)
        result.append(
            replace(contact, due_at=due_at, by_hand_at=by_hand_at, review_at=closing(until, zone, policy))
        )
    return result


def _decided_by(contact: Contact, case: Case, zone: ZoneInfo, policy: Policy) -> date:
    """The local day at whose end it shows whether the contact can still be made."""
    last = last_day(contact, zone, policy)
    return min(last, letter_by(contact, policy)) if waits_for_letter(contact, case) else last


def waits_for_letter(contact: Contact, case: Case) -> bool:
    """Whether a letter alone can ask the patient, and none went out yet."""
    return contact.kind in ASKS and contact.written_at is None and only_by_letter(case)


def priority(contact: Contact) -> tuple[bool, int, date, str]:
    """Sort key: what cannot wait first, then the most important contact, then the nearest visit."""
    return (
        contact.urgent_at is None,
        PRIORITY.index(contact.kind),
        contact.visit_on or date.max,
        str(contact.contact_id),
    )


def next_attempt(
    contact: Contact, case: Case, now: datetime, booked: Sequence[date], by: By, policy: Policy = POLICY
) -> datetime | None:
    """The first moment at which the dialer, or a person, may make the next attempt (UTC); none where there is none.

    The moment may have passed: then the attempt is due now. `booked` are the local days of contacts by the same, made
    or to be made.
    """
    for_people = case.opted_out or case.unread_text or contact.kind is Kind.insurance
    if case.in_hospital or (by is By.dialer and for_people):
        return None
    zone = ZoneInfo(case.zone or "UTC")
    cap = policy.automated if by is By.dialer else policy.person
    for moment in moments(contact, case, now, policy):
        day = moment.astimezone(zone).date()
        if channel_of(contact, case, day, by, policy) and fits(day, booked, cap):
            return moment
    return None


def moments(contact: Contact, case: Case, now: datetime, policy: Policy = POLICY) -> Iterator[datetime]:
    """The moments at which the contact's next attempt may be made, leaving caps aside: the first of each local day."""
    zone = ZoneInfo(case.zone or "UTC")
    first = _first_day(contact, case, zone, policy)
    if first is None:
        return
    today = now.astimezone(zone).date()
    day = max(_open_day(first, contact, case, zone), today)
    if now >= closing(today, zone, policy):
        day = max(day, today + DAY)
    if contact.last_attempt_at:
        apart = timedelta(0) if contact.urgent_at else DAY
        day = max(day, contact.last_attempt_at.astimezone(zone).date() + apart)
    while day <= last_day(contact, zone, policy):
        if moment := _moment_on(day, contact, zone, policy):
            yield moment
        day += DAY


def _first_day(contact: Contact, case: Case, zone: ZoneInfo, policy: Policy) -> date | None:
    """The local day from which the next attempt may be made; none where all were made."""
    if contact.kind in ASKS and only_by_letter(case):
        opened = contact.opened_at.astimezone(zone).date()
        return opened if contact.kind is Kind.alignment else max(opened, letter_by(contact, policy))
    days = attempt_days(contact, zone, policy)
    return days[contact.attempts] if contact.attempts < len(days) else None


def attempt_days(contact: Contact, zone: ZoneInfo, policy: Policy = POLICY) -> tuple[date, ...]:
    """The local days planned for the attempts, in order; empty where it is too late for any.

    A confirmation: seven, five and three days before the visit; at short notice once a day until the day before. An
    alignment: at once, after two days and after four, then as a confirmation of the first visit; at short notice once
    a day, and on three days even where the first visit passes meanwhile (agreeing plans it anew). What is urgent:
    three times at once, then as at short notice.
    """
    if contact.urgent_at and contact.kind in ASKS:
        return _urgent_days(contact, contact.urgent_at, zone, policy)
    opened = contact.opened_at.astimezone(zone).date()
    visit_on = contact.visit_on or opened
    before = (visit_on - n * DAY for n in policy.confirm_before)
    match contact.kind:
        case Kind.alignment if short_notice(contact, zone):
            return tuple(opened + n * DAY for n in range(max(3, (visit_on - opened).days)))
        case Kind.confirmation if short_notice(contact, zone):
            return tuple(opened + n * DAY for n in range((visit_on - opened).days))
        case Kind.alignment:
            days = (opened, opened + 2 * DAY, opened + 4 * DAY)
            return days + tuple(day for day in before if day >= days[-1] + 2 * DAY)
        case Kind.confirmation:
            return tuple(before)
        case Kind.reminder:
            return (visit_on - DAY,) if visit_on - DAY > opened else ()
        case Kind.insurance:
            return tuple(opened + n * DAY for n in policy.lapse_after)
        case _:
            return opened, opened + DAY


def _urgent_days(
    contact: Contact, urgent_at: datetime, zone: ZoneInfo, policy: Policy = POLICY
) -> tuple[date, ...]:
    """All attempts on the first day that still has hours for calls, then one a day until the day before the visit; on
    the visit's own day where there is no other."""
    first = urgent_at.astimezone(zone).date()
    first += DAY if urgent_at >= closing(first, zone, policy) else timedelta(0)
    visit_on = contact.visit_on or first
    if contact.kind is Kind.alignment:
        last = max(visit_on - DAY, first + 2 * DAY)
    else:
        last = max(visit_on - DAY, min(first, visit_on))
    once_a_day = tuple(first + n * DAY for n in range((last - first).days + 1))
    return once_a_day[:1] * (policy.urgent_attempts - 1) + once_a_day


def last_day(contact: Contact, zone: ZoneInfo, policy: Policy = POLICY) -> date:
    """The last local day for an attempt: T-3, or T-1 at short notice; for what is only told, while it is of use."""
    opened = contact.opened_at.astimezone(zone).date()
    visit_on = contact.visit_on or opened
    match contact.kind:
        case Kind.alignment | Kind.confirmation if contact.urgent_at:
            return max(attempt_days(contact, zone, policy), default=visit_on)
        case Kind.alignment | Kind.confirmation if short_notice(contact, zone):
            return max(attempt_days(contact, zone, policy), default=visit_on - DAY)
        case Kind.alignment | Kind.confirmation:
            return visit_on - min(policy.confirm_before) * DAY
        case Kind.ready:
            return max(visit_on, opened + DAY)
        case Kind.reminder:
            return visit_on - DAY
        case Kind.insurance:
            return opened + (policy.lapse_after[-1] + 1) * DAY
        case _:
            return contact.last_on or opened + DAY


def only_by_letter(case: Case) -> bool:
    """Whether the patient can be written to, and reached in no other way that they consented to."""
    ways = case.reachable & set(case.channels)
    return Channel.letter in ways and not ways & {Channel.phone, Channel.text}


def letter_by(contact: Contact, policy: Policy = POLICY) -> date:
    """The last local day on which a letter can go out, for the answer to be there when the visit is to be decided."""
    return (contact.visit_on or date.max) - (policy.letter_days + min(policy.confirm_before)) * DAY


def reachable_on(now: datetime, zone: ZoneInfo, policy: Policy = POLICY) -> date:
    """The first day of a visit that a letter of today can confirm; of tomorrow, once the day's hours are over."""
    today = now.astimezone(zone).date()
    goes_out = today if now < closing(today, zone, policy) else today + DAY
    return goes_out + (policy.letter_days + min(policy.confirm_before)) * DAY


def short_notice(contact: Contact, zone: ZoneInfo) -> bool:
    """Whether the visit was nearer than seven days when it was first known."""
    opened = contact.opened_at.astimezone(zone).date()
    return contact.visit_on is not None and contact.visit_on - opened < 7 * DAY


def fits(day: date, booked: Sequence[date], cap: Cap) -> bool:
    """Whether one more contact on this day keeps within the cap, in each seven days that hold the day."""
    if booked.count(day) >= cap.a_day:
        return False
    first_days = (day - n * DAY for n in range(7))
    return all(sum(first <= other < first + 7 * DAY for other in booked) < cap.a_week for first in first_days)


def channel_of(contact: Contact, case: Case, day: date, by: By, policy: Policy = POLICY) -> Channel | None:
    """The channel of the next attempt among those consented to: speak to ask, write to tell, then the other way.

    A person calls where that is possible. A letter is the last resort, once, where nothing else is left and there is
    time for the post both ways.
    """
    order = (Channel.text, Channel.phone)
    if contact.kind in ASKS or contact.kind in (Kind.missed, Kind.insurance):
        order = (Channel.phone, Channel.text)
    usable = [channel for channel in order if channel in case.channels and channel in case.reachable]
    if by is By.person and Channel.phone in usable:
        return Channel.phone
    if usable:
        return usable[contact.attempts % len(usable)]
    if contact.written_at or not only_by_letter(case):
        return None
    in_time = contact.kind is Kind.insurance or (contact.kind in ASKS and day <= letter_by(contact, policy))
    return Channel.letter if in_time else None


def may_call(case: Case, contact: Contact, now: datetime, policy: Policy = POLICY) -> str | None:
    """Why a person may not call now, in words; none where nothing stands against it.

    A pharmacist's answer to a question is never held back by caps.
    """
    zone = ZoneInfo(case.zone or "UTC")
    here = now.astimezone(zone)
    today = here.date()
    if not policy.opens <= here.time() < policy.closes:
        return f"it is {here:%H:%M} where the patient is: outside the hours for calls"
    made = [call.at.astimezone(zone).date() for call in case.calls if call.by is By.person]
    if contact.kind is not Kind.question and not fits(today, made, policy.person):
        return f"people made {made.count(today)} calls today and {len(made)} this week: no more for now"
    return None


def closing(day: date, zone: ZoneInfo, policy: Policy = POLICY) -> datetime:
    """When quiet hours begin on a local day (UTC)."""
    return datetime.combine(day, policy.closes, zone).astimezone(UTC)


def _open_day(day: date, contact: Contact, case: Case, zone: ZoneInfo) -> date:
    """The planned day, or the nearest open day of the store before it, though not before the contact was opened."""
    opened = contact.opened_at.astimezone(zone).date()
    earlier = day
    while earlier > opened and not case.calendar.is_open(earlier):
        earlier -= DAY
    return earlier if case.calendar.is_open(earlier) else day


def _moment_on(day: date, contact: Contact, zone: ZoneInfo, policy: Policy) -> datetime | None:
    """At once on the day of opening, else in the band after that of the last attempt; 24 hours after it at least.

    What is urgent: as soon as there are hours for calls, some hours after the last attempt.
    """
    if contact.urgent_at and contact.kind in ASKS:
        opens = datetime.combine(day, policy.opens, zone).astimezone(UTC)
        again = contact.last_attempt_at + policy.urgent_gap if contact.last_attempt_at else opens
        moment = max(opens, again, contact.urgent_at)
        return moment if moment < closing(day, zone, policy) else None
    opened = contact.opened_at.astimezone(zone)
    if not contact.attempts and day == opened.date() and opened.time() >= policy.opens:
        return contact.opened_at
    bands = [datetime.combine(day, clock, zone).astimezone(UTC) for clock in policy.bands]
    if contact.last_attempt_at is None:
        return bands[0]
    last = contact.last_attempt_at
    wanted = bands[(_band_of(last.astimezone(zone).time(), policy) + 1) % len(bands)]
    if short_notice(contact, zone) or wanted - last >= DAY:
        return wanted
    return next((band for band in bands if band - last >= DAY), None)


def _band_of(clock: time, policy: Policy) -> int:
    """Index of the band that a local clock time falls into."""
    return max((n for n, start in enumerate(policy.bands) if start <= clock), default=0)
