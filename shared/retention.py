"""How long each kind of record is kept: one dated file, signed off by whoever answers for it.

[signed_off]                    # without it everything is counted, and nothing is removed
by = "the privacy officer's id"
on = 2026-03-02

[[keep]]
kind = "outreach.attempts"
after = "it was made, and reported"   # as the service counts it: a file that says another is refused
days = 3653                           # removed once that many whole days (UTC) lie behind it
from = 2026-01-01                     # the rule holds from then
until = 2027-12-31                    # to then; left out: still
source = "42 CFR 423.505(d)"

A kind without a rule that holds today is kept. What a service may not remove whatever the file says (what is open, what
a plan still needs) is in its own statements, `services/*/store/retention.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.grants import SignedOff

SHIPPED = Path(__file__).parent / "policy" / "retention.toml"
OF_EVERY_SERVICE = "messaging"
"""What kinds of the fabric's own tables begin with."""

DAY = "($1::timestamptz at time zone 'UTC')::date"
"""The same bound for a column that holds a date."""

Text = Annotated[str, Field(min_length=1, max_length=400)]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record that a service removes in its time.

    `past` selects `id` (text) and `patient_id` of what may go: its moment is before $1, and nothing needs it any more.
    `remove` are the statements that remove these ids ($1, text[]), of these patients where one asks ($2); the last one
    removes the rows that are counted.
    """

    name: str  # outreach.attempts
    after: str  # from when on its days are counted, in words
    least_days: int  # the service itself still reads what is younger
    past: str
    remove: tuple[str, ...]
    of_patients: bool = True  # locked, and left alone while they are parked
    by_machine_time: bool = False  # as it was written by the database's clock


class BadRetention(Exception):
    """The file cannot be used; the text says where, and what to do."""


class Rule(BaseModel):
    """How long one kind is kept, while the rule holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Text
    after: Text
    days: Annotated[int, Field(gt=0, le=36_600)]
    begins_on: date = Field(alias="from")
    ends_on: date = Field(default=date.max, alias="until")
    source: Text

    def holds(self, on: date) -> bool:
        return self.begins_on <= on <= self.ends_on


class Policy(BaseModel):
    """The file, asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signed_off: SignedOff | None = None
    keep: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _one_rule_a_day(self) -> Policy:
        for rule in self.keep:
            if rule.ends_on < rule.begins_on:
                raise ValueError(f"{rule.kind}: until {rule.ends_on} is before from {rule.begins_on}")
        for former, latter in pairwise(sorted(self.keep, key=lambda rule: (rule.kind, rule.begins_on))):
            if former.kind == latter.kind and latter.begins_on <= former.ends_on:
                raise ValueError(
                    f"{latter.kind}: the rule from {latter.begins_on} begins before the one from "
                    f"{former.begins_on} ends; give that one an `until` before it"
                )
        return self

    def rule(self, kind: Kind, on: date) -> Rule | None:
        """The one that holds that day."""
        return next((rule for rule in self.keep if rule.kind == kind.name and rule.holds(on)), None)


def read(path: Path, service: str, kinds: Sequence[Kind]) -> Policy:
    """The policy for a service with these kinds. Raises BadRetention."""
    try:
        policy = Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadRetention(f"{path}: {error.strerror}: name the file of how long records are kept") from None
    except tomllib.TOMLDecodeError as error:
        raise BadRetention(f"{path}: {error}") from None
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise BadRetention(f"{path}: {places}") from None
    by_name = {kind.name: kind for kind in kinds}
    for rule in policy.keep:
        if rule.kind.partition(".")[0] in (service, OF_EVERY_SERVICE):
            _require_fitting(rule, by_name.get(rule.kind), path)
    return policy


def _require_fitting(rule: Rule, kind: Kind | None, path: Path) -> None:
    """Who signs a rule signs what is done, and not something like it."""
    if kind is None:
        raise BadRetention(f"{path}: there is no kind {rule.kind!r}: see docs/how-to/retention.md")
    if rule.after != kind.after:
        raise BadRetention(f"{path}: {rule.kind} is counted after {kind.after!r}, not {rule.after!r}")
    if rule.days < kind.least_days:
        raise BadRetention(
            f"{path}: {rule.kind} is needed for {kind.least_days} days, and {rule.days} are given: give more"
        )


def kept_from(today: date, days: int) -> datetime:
    """The moment before which a record is past its day.

    >>> kept_from(date(2026, 3, 12), 10).isoformat()
    '2026-03-02T00:00:00+00:00'
    """
    return datetime.combine(today - timedelta(days=days), time(), UTC)
