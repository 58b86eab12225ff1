"""On which day a drug's next fill is paid, by what, and with which code: one answer for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from services.planner.domain.calendar import LONG_AGO
from services.planner.domain.model import Reason


@dataclass(frozen=True, slots=True)
class Early:
    """What has a payer pay one fill although it is too soon (R11.6, R11.7)."""

    code: str  # NCPDP 420-DK
    begins: int  # from this day on
    why: Reason


@dataclass(frozen=True, slots=True)
class Override:
    """A fill that is too soon is paid all the same where it joins: by a state's law (R9.2), or as staff
    settled it with the payer."""

    begins: int  # from this day on
    by_staff: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    """From which day on the next fill is paid, by what, and for what else it waits. Days are ordinals."""

    payer: int  # by the payer's own clock; before it reject 79
    waits: int = LONG_AGO  # no fill before, whoever pays: declined, held, not yet valid, not yet to be had
    billed_ahead: int = 0  # days from the claim to the hand-over, beyond the usual
    early: Early | None = None
    override: Override | None = None

    @property
    def ready(self) -> int:
        """The first day on which it may be handed over, at any visit."""
        paid = self.early.begins if self.early else self.payer
        return max(paid + self.billed_ahead, self.waits)

    @property
    def joining(self) -> int:
        """The same of the fill with which it joins, which an override is for."""
        if self.override is None:
            return self.ready
        return min(self.ready, max(self.override.begins + self.billed_ahead, self.waits))

    @property
    def staff_settled(self) -> bool:
        """Do staff want it filled where it joins, due or not?"""
        return self.override is not None and self.override.by_staff

    @property
    def payable_from(self) -> date | None:
        """The payer's own day; none for one before all, of a drug that it never paid."""
        return date.fromordinal(self.payer) if self.payer > date.min.toordinal() else None

    def allows(self, day: int, *, joining: bool) -> bool:
        """May it be handed over on that day?"""
        return (self.joining if joining else self.ready) <= day

    def early_on(self, day: int) -> Early | None:
        """What a fill of that day is paid by, although it is too soon, at any visit."""
        return self.early if self.early and day - self.billed_ahead < self.payer else None

    def later(self, first: int) -> Payment:
        """The same, and no fill before that day."""
        return replace(self, waits=max(self.waits, first))

    def exception_for(self, day: int) -> Payment | None:
        """What a fill of that day makes use of because it is too soon; none where it is not."""
        if self.ready > day:
            return replace(self, early=None)
        return replace(self, override=None) if self.early_on(day) else None
