"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple

from cli.proof.record import Record


@dataclass(frozen=True)
class Result:
    """One check: what it claims, how much it looked at, and everything that speaks against it (ids only)."""

    name: str
    looked_at: int
    violations: tuple[str, ...] = ()
    note: str = ""
    recorded: bool = True  # false: it had nothing to go by, and neither holds nor fails
    about: str = ""  # delivery, promises, records

    @property
    def holds(self) -> bool:
        return not self.violations


class Found(NamedTuple):
    """What the function of a check answers."""

    looked_at: int
    violations: Iterable[str] = ()
    note: str = ""


NOT_RECORDED = -1
"""For `Found.looked_at`: there is nothing to go by, and the note says why."""

Check = Callable[[Record], Result]


def check(
    claim: str, *, reads: str = "", whole: bool = False
) -> Callable[[Callable[[Record], Found]], Check]:
    """Make a check of a function: its claim begins with the invariant of the fabric that it stands for, if any.

    `reads` names the service whose tables it needs; `whole` that every record written must still be on its
    topic, and every row in those tables.
    """

    def make(look: Callable[[Record], Found]) -> Check:
        @wraps(look)
        def judge(record: Record) -> Result:
            if reads and reads not in record.fabrics:
                return Result(claim, 0, note=f"not recorded: no database of {reads}", recorded=False)
            if whole and record.gone:
                topics = ", ".join(sorted(record.gone))
                return Result(claim, 0, note=f"not recorded: {topics} lost records with age", recorded=False)
            if whole and reads and (forgotten := record.fabrics[reads].forgotten):
                kinds = ", ".join(sorted(forgotten))
                return Result(claim, 0, note=f"not recorded: {kinds} past their day are gone", recorded=False)
            looked_at, violations, note = look(record)
            if looked_at == NOT_RECORDED:
                return Result(claim, 0, note=f"not recorded: {note}", recorded=False)
            return Result(claim, looked_at, tuple(violations), note)

        return judge

    return make
