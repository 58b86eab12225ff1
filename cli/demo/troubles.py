"""What went wrong for a patient, found in the moments of their story, and the pickup that settled it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cli.demo.moments import Moment
from shared.events import Event
from shared.events.enrollment import PatientDisenrolled
from shared.events.fulfillment import (
    FillRejected,
    PackagePickedUp,
    PackageReturned,
    PickupMissed,
    StockShort,
)
from shared.events.outreach import (
    ChangeReported,
    ContactOptedOut,
    PatientUnreached,
    PickupDeclined,
    ReportedChange,
)
from shared.events.planner import PlanBlocked

Drugs = Mapping[str, str]
"""By prescription the ingredient: a renewal is the same drug."""

UPSETS: frozenset[type[Event]] = frozenset(
    {
        FillRejected,
        StockShort,
        PickupMissed,
        PackageReturned,
        PatientUnreached,
        PickupDeclined,
        ContactOptedOut,
        PlanBlocked,
        PatientDisenrolled,
    }
)
"""Events without which a patient's program runs smoothly."""


class Kind(IntEnum):
    """What a trouble is; first what shows most of what the software does about it."""

    returned = 1  # a package not picked up that went back to stock
    stopped = 2  # a drug that the patient no longer takes
    rejected = 3  # a claim
    late = 4  # a package that waited for the patient


@dataclass(frozen=True)
class Trouble:
    """One thing that went wrong, and the pickup by which it was settled, if it was."""

    kind: Kind
    began: Moment
    drugs: frozenset[str]  # ingredients that it is about
    settled: Moment | None


def upsets(moments: Sequence[Moment]) -> int:
    """How often something went otherwise than planned."""
    return sum(moment.kind in UPSETS or _is_stop(moment) for moment in moments)


def troubles(moments: Sequence[Moment], drug: Drugs) -> Iterator[Trouble]:
    """All of a patient's, as they began; moments in order. Of one package the first missed day begins it."""
    missed: set[str] = set()
    for moment in moments:
        if _is_stop(moment):
            yield _stopped(moment, moments, drug)
        elif moment.kind is FillRejected:
            about = _names(moment, drug)
            yield Trouble(Kind.rejected, moment, about, _next_pickup(moment, moments, drug, about))
        elif moment.kind is PickupMissed and moment.visit_id not in missed:
            missed.add(moment.visit_id)
            yield _missed(moment, moments, drug)


def _is_stop(moment: Moment) -> bool:
    return moment.kind is ChangeReported and moment.detail == ReportedChange.stopped


def _stopped(began: Moment, moments: Sequence[Moment], drug: Drugs) -> Trouble:
    """Settled by the next pickup, if the drug is not handed over any more."""
    about = _names(began, drug)
    later = [each for each in moments if each.kind is PackagePickedUp and each.at > began.at]
    again = any(about & _names(each, drug) for each in later)
    return Trouble(Kind.stopped, began, about, later[0] if later and not again else None)


def _missed(began: Moment, moments: Sequence[Moment], drug: Drugs) -> Trouble:
    """Settled by the pickup after all, or by the one of the same drugs after the return."""
    of_visit = [each for each in moments if each.visit_id == began.visit_id]
    for end in of_visit:
        if end.kind is PackagePickedUp:
            return Trouble(Kind.late, began, _names(end, drug), end)
        if end.kind is PackageReturned:
            about = _names(end, drug)
            return Trouble(Kind.returned, began, about, _next_pickup(end, moments, drug, about))
    return Trouble(Kind.late, began, frozenset(), None)


def _next_pickup(
    after: Moment, moments: Sequence[Moment], drug: Drugs, about: frozenset[str]
) -> Moment | None:
    return next(
        (
            each
            for each in moments
            if each.kind is PackagePickedUp and each.at > after.at and about <= _names(each, drug)
        ),
        None,
    )


def _names(moment: Moment, drug: Drugs) -> frozenset[str]:
    return frozenset(drug[rx_id] for rx_id in moment.rx_ids if rx_id in drug)
