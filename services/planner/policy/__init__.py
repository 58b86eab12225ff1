"""The rules of payers and states: data files with dates and sources, read once into the values of the domain."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from services.planner.domain.limits import DispensingLimit, Disuse, HighCost, LargerFill, StateSchedule
from services.planner.domain.payers import PayerRule, SyncLaw

HERE = Path(__file__).parent
KINDS = frozenset({"commercial", "medicare", "medicaid", "public"})

T = TypeVar("T", PayerRule, SyncLaw, DispensingLimit, StateSchedule, Disuse, HighCost, LargerFill)


class BadPolicy(ValueError):
    """A data file says something that no rule can be made of: names the entry, the field, the value and the way out."""


def payer_rules(path: Path = HERE / "payers.toml") -> tuple[tuple[PayerRule, ...], PayerRule]:
    """The rules of all payers, and what is assumed of one that is not listed.

    Raises:
        BadPolicy: an entry is wrong, or two of one payer are valid on one day.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = _entries(tables["payer"], PayerRule, "payer")
    _never_overlap(rules, lambda rule: rule.payer)
    return rules, _entry({"payer": "unknown", **tables["unknown"]}, PayerRule, "unknown")


def sync_laws(path: Path = HERE / "laws.toml") -> tuple[SyncLaw, ...]:
    """The synchronization laws of all states.

    Raises:
        BadPolicy: an entry is wrong, or two laws of one state bind one kind of payer on one day.
    """
    laws = _entries(tomllib.loads(path.read_text(encoding="utf-8"))["law"], SyncLaw, "law")
    for kind in KINDS:
        _never_overlap([law for law in laws if kind in law.binds], lambda law: law.state)
    return laws


def dispensing_limits(path: Path = HERE / "limits.toml") -> tuple[DispensingLimit, ...]:
    """How long, and how often, prescriptions of controlled drugs may be filled, by federal and state law.

    Raises:
        BadPolicy: an entry is wrong, or two of one name are valid on one day.
    """
    limits = _entries(tomllib.loads(path.read_text(encoding="utf-8"))["limit"], DispensingLimit, "limit")
    _never_overlap(limits, lambda limit: limit.name)
    return limits


def state_schedules(path: Path = HERE / "limits.toml") -> tuple[StateSchedule, ...]:
    """Drugs that a state schedules otherwise than federal law.

    Raises:
        BadPolicy: an entry is wrong, or two of one state and drug are valid on one day.
    """
    schedules = _entries(
        tomllib.loads(path.read_text(encoding="utf-8"))["schedule"], StateSchedule, "schedule"
    )
    _never_overlap(schedules, lambda each: f"{each.state} {each.ingredient}")
    return schedules


def larger_fills(path: Path = HERE / "limits.toml") -> tuple[LargerFill, ...]:
    """The states' laws by which more than a usual fill may be dispensed at once.

    Raises:
        BadPolicy: an entry is wrong, or two of one state are valid on one day.
    """
    fills = _entries(
        tomllib.loads(path.read_text(encoding="utf-8"))["larger_fill"], LargerFill, "larger_fill"
    )
    _never_overlap(fills, lambda fill: fill.state)
    return fills


def disuse(path: Path = HERE / "chain.toml") -> tuple[Disuse, ...]:
    """After how many days without a drug the chain asks for no renewal of it.

    Raises:
        BadPolicy: an entry is wrong, or two are valid on one day.
    """
    entries = _entries(tomllib.loads(path.read_text(encoding="utf-8"))["disuse"], Disuse, "disuse")
    _never_overlap(entries, lambda _: "disuse")
    return entries


def high_cost(path: Path = HERE / "chain.toml") -> tuple[HighCost, ...]:
    """From which price on the chain has no short fill without staff's consent.

    Raises:
        BadPolicy: an entry is wrong, or two are valid on one day.
    """
    entries = _entries(tomllib.loads(path.read_text(encoding="utf-8"))["high_cost"], HighCost, "high_cost")
    _never_overlap(entries, lambda _: "high_cost")
    return entries


def _entries(tables: Sequence[Mapping[str, Any]], kind: type[T], word: str) -> tuple[T, ...]:
    return tuple(
        _entry(
            table, kind, f"{word} {number} ({table.get('payer') or table.get('name') or 'without a name'})"
        )
        for number, table in enumerate(tables, start=1)
    )


def _entry(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    values = {}
    for name, value in table.items():
        read = FIELDS.get(name)
        if read is None or FIELD_NAMES.get(name, name) not in kind.__dataclass_fields__:
            raise BadPolicy(f"{where}: there is no field {name!r}; remove it or correct its name")
        values[FIELD_NAMES.get(name, name)] = read(value, f"{where}, {name}")
    try:
        entry = kind(**values)
    except TypeError as missing:
        raise BadPolicy(f"{where}: {missing}; give every field of the entries beside it") from None
    if not entry.source:
        raise BadPolicy(f"{where}: source is missing; say where the figures come from")
    if entry.ends_on < entry.begins_on:
        raise BadPolicy(
            f"{where}: until {entry.ends_on} is before from {entry.begins_on}; correct one of them"
        )
    return entry


def _never_overlap(entries: Sequence[T], key: Callable[[T], str]) -> None:
    for former, latter in pairwise(sorted(entries, key=lambda entry: (key(entry), entry.begins_on))):
        if key(former) == key(latter) and latter.begins_on <= former.ends_on:
            raise BadPolicy(
                f"{key(latter)}: the entry from {latter.begins_on} begins before the one from {former.begins_on} "
                f"ends ({former.ends_on}); give that one an `until` before it"
            )


# --- how each field is read ---


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadPolicy(f"{where}: {value!r} is not text; put it in quotes")
    return value


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadPolicy(f"{where}: {value!r} is not a whole number from 0 up")
    return value


def _positive(value: object, where: str) -> int:
    if _whole(value, where) == 0:
        raise BadPolicy(f"{where}: it is 0; give a whole number from 1 on")
    return _whole(value, where)


def _percent(value: object, where: str) -> int:
    percent = _whole(value, where)
    if not 0 < percent <= 100:
        raise BadPolicy(f"{where}: {value!r} is not a percentage; use a whole number from 1 to 100")
    return percent


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise BadPolicy(f"{where}: {value!r} is neither true nor false")
    return value


def _day(value: object, where: str) -> date:
    if type(value) is not date:
        raise BadPolicy(f"{where}: {value!r} is not a valid date; use 2026-01-31, without quotes")
    return value


def _money(value: object, where: str) -> Decimal:
    try:
        return Decimal(_text(value, where))
    except InvalidOperation:
        raise BadPolicy(f'{where}: {value!r} is not an amount; use "35.00"') from None


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadPolicy(f"{where}: {value!r} is not a list of texts")
    return tuple(_text(each, where) for each in value)


def _names(value: object, where: str) -> frozenset[str]:
    return frozenset(each.casefold() for each in _texts(value, where))


def _kind(value: object, where: str) -> str:
    kind = _text(value, where)
    if kind not in KINDS:
        raise BadPolicy(f"{where}: {kind!r} is not one of {', '.join(sorted(KINDS))}")
    return kind


def _kinds(value: object, where: str) -> frozenset[str]:
    return frozenset(_kind(each, where) for each in _texts(value, where))


def _one_of(*allowed: str) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if value not in allowed:
            raise BadPolicy(f"{where}: {value!r} is not one of {', '.join(allowed)}")
        return str(value)

    return read


def _percents(value: object, where: str) -> Mapping[str, int]:
    if not isinstance(value, dict):
        raise BadPolicy(f"{where}: {value!r} is not a table of percentages by form")
    return {name.casefold(): _percent(percent, f"{where}.{name}") for name, percent in value.items()}


def _sizes(value: object, where: str) -> frozenset[int]:
    """Ranges such as "1-30", and single sizes, to the days' supplies in them."""
    sizes: set[int] = set()
    for text in _texts(value, where):
        first, dash, last = text.partition("-")
        last = last if dash else first
        if not first.isdigit() or not last.isdigit() or not 0 < int(first) <= int(last) <= 400:
            raise BadPolicy(f'{where}: {text!r} is not a range of days\' supplies; use "1-30" or "60"')
        sizes |= set(range(int(first), int(last) + 1))
    return frozenset(sizes)


FIELD_NAMES = {"from": "begins_on", "until": "ends_on"}
FIELDS: dict[str, Callable[[object, str], Any]] = {
    "payer": _text,
    "name": _text,
    "kind": _kind,
    "state": _text,
    "binds": _kinds,
    "from": _day,
    "until": _day,
    "source": _text,
    "refill_percent": _percent,
    "controlled_percent": _percent,
    "percent_of_form": _percents,
    "refill_days_early": _whole,
    "counts_from": _one_of("filled_on", "handed_over_on"),
    "look_back_days": _whole,
    "most_surplus_days": _whole,
    "days_supplies": _sizes,
    "month_days": _positive,
    "prorates": _truth,
    "pays_short_fills": _truth,
    "insulin_cap": _money,
    "insulin_price_percent": _percent,
    "short_fill_codes": _texts,
    "follow_up_code": _text,
    "excluded_schedules": _names,
    "excluded_ingredients": _names,
    "excluded_forms": _names,
    "excludes_unbreakable": _truth,
    "excludes_antibiotics": _truth,
    "syncs_a_year": _whole,
    "syncs_per": _one_of("insured", "drug"),
    "drugs_at_least": _whole,
    "overrides_too_soon": _truth,
    "overrides_short_fills_alone": _truth,
    "full_fee": _truth,
    "consents": _texts,
    "prorated_forms": _names,
    "prorates_antibiotics": _truth,
    "plan_limit_code": _text,
    "therapy_change_code": _text,
    "prescription_months": _positive,
    "override_code": _text,
    "vacation_code": _text,
    "vacation_days": _positive,
    "vacation_fills_a_year": _whole,
    "discharge_code": _text,
    "discharge_days": _positive,
    "transition_days": _positive,
    "transition_within_days": _positive,
    "emergency_hours": _positive,
    "schedules": _names,
    "schedule": _one_of("c2", "c3", "c4", "c5"),
    "ingredient": lambda value, where: _text(value, where).casefold(),
    "refills": _whole,
    "months": _positive,
    "days": _positive,
    "month_price": _money,
}
