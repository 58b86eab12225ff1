"""What a store's shelf has to hold in the next days, told to whoever replenishes it (R12.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from shared.events.planner import DayDemand, DemandForecast, DrugDemand

DAYS = 14
"""A fortnight: what is ordered five days before a visit, with a week to spare."""

TOLD_AT = time(6)
"""Before the store opens, and hours before wholesalers close their books for the day."""


def forecast(
    store_id: str,
    first_on: date,
    rows: Iterable[Mapping[str, Any]],
    held: DemandForecast | None,
    first_revision: int = 0,
) -> DemandForecast | None:
    """The store's demand, by drug and day; none where it is what was told last.

    `rows` are of this store, in the order of code and day; `first_revision` is what its first revision follows.
    """
    drugs = tuple(
        DrugDemand(
            code=code, drug_name=found[0]["drug_name"], days=tuple(map(DayDemand.model_validate, found))
        )
        for code, of_drug in groupby(rows, key=lambda row: str(row["code"]))
        if (found := list(of_drug))
    )
    if drugs == (held.drugs if held else ()):
        return None
    return DemandForecast(
        store_id=store_id,
        revision=(held.revision if held else first_revision) + 1,
        first_on=first_on,
        last_on=first_on + timedelta(days=DAYS - 1),
        drugs=drugs,
    )


def next_telling(now: datetime, time_zone: str) -> datetime:
    """The next moment at which it is the hour there, in UTC."""
    here = now.astimezone(ZoneInfo(time_zone))
    day = here.date() if here.time() < TOLD_AT else here.date() + timedelta(days=1)
    return datetime.combine(day, TOLD_AT, ZoneInfo(time_zone)).astimezone(UTC)
