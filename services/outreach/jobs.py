"""What falls due by itself. Contacts that wait to be made are not among it: a dialer leases those."""

from __future__ import annotations

from collections.abc import Sequence

from services.outreach.domain.renewals import review_renewal
from services.outreach.recompute import recompute_contacts, recompute_opt_outs
from services.outreach.store import renewals
from shared.messaging import Jobs, Unit

due = Jobs()


@due("due_reviews")
async def review_contacts(patients: Sequence[str], unit: Unit) -> None:
    """A deadline passed, a lease ran out, a day's hours for calls ended, or a time zone became known."""
    await recompute_contacts(unit, patients)


@due("due_opt_outs")
async def spread_stops(patients: Sequence[str], unit: Unit) -> None:
    """Somebody with the same number said stop."""
    await recompute_opt_outs(unit, patients)
    await recompute_contacts(unit, patients)


@due("due_renewal_reviews")
async def review_renewals(patients: Sequence[str], unit: Unit) -> None:
    """Take back leases that ran out, and give up on prescribers who did not answer."""
    reviewed = [
        review_renewal(renewal, unit.now)
        for renewal in await renewals.open_renewals(unit.db, patients)
        if renewal.review_at and renewal.review_at <= unit.now
    ]
    await renewals.save_renewals(unit.db, [renewal for renewal, _ in reviewed])
    for _, events in reviewed:
        unit.emit(events)
