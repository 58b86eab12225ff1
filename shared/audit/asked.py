"""What one request leaves in the audit, completed as more of it is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from shared.access import Principal

REFUSED = frozenset({401, 403, 404, 409, 422})
"""Statuses that say no to who asks, and not only to how."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that is to be written. `because` is what a person gave as a reason: it is kept sealed."""

    route: str
    actor: str = ""
    kind: str = ""
    role: str = ""
    store_id: str | None = None
    patients: tuple[str, ...] = ()
    outcome: str = "done"
    because: str | None = None
    trace: str | None = None
    correlation: str | None = None
    times: int = 1


@dataclass(slots=True)
class Asked:
    """One request on its way."""

    entry: Entry
    changes: bool  # it is a command; else it reads
    personal: bool  # its answer names persons
    told: set[str] = field(default_factory=set)  # patients of whom rows are written
    written: bool = False  # by a unit of its own

    def by(self, principal: Principal) -> None:
        """Who asks is known."""
        self.entry = replace(self.entry, actor=principal.sub, kind=principal.kind.value)

    def acting_as(self, role: str, stores: Collection[str] | None) -> None:
        """In which role, and within which stores' reach."""
        own = next(iter(stores)) if stores is not None and len(stores) == 1 else None
        self.entry = replace(self.entry, role=role, store_id=self.entry.store_id or own)

    def is_due(self, status: int) -> bool:
        """Whether a row is to be written before an answer of this status goes out."""
        if self.written and status not in REFUSED:
            return False
        return status in REFUSED or (status < 400 and (self.changes or self.personal))

    def answered(self, code: str | None, named: Collection[str]) -> Entry:
        """The row of an answer: with the code of a refusal, and the patients whom it names."""
        patients = tuple(sorted({*self.entry.patients, *named}))
        return replace(self.entry, outcome=code or "done", patients=patients)

    def is_news(self, patients: Collection[str]) -> bool:
        """Whether a unit about these patients is to write a row: the first one of a request, and those about others."""
        return not self.written or not self.told.issuperset(patients)

    def note_written(self, patients: Collection[str]) -> None:
        """A unit that wrote a row has committed."""
        self.written = True
        self.told.update(patients)
