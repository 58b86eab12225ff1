"""What the plans that stand take from a store: its days and its shelf."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from shared.database import Db
from shared.events.planner import DemandForecast


async def planned_by_day(db: Db, store_id: str, first: date, days: int) -> dict[date, dict[str, int]]:
    """What the plans that stand bring to a store on each of so many days, in their order: also days with nothing."""
    rows = await db.fetch(
        """
        with visits_there as (
            select v.on_day, v.kind = 'synchronized' as synchronized, v.confirmed, p.agreed,
                   jsonb_array_length(v.items) as fills
            from plans p
            join visits v using (patient_id)
            where p.store_id = $1
              and p.status = 'planned'
        )
        select
            day::date as on_day,
            count(*) filter (where synchronized) as pickups,
            count(*) filter (where synchronized and agreed) as agreed,
            count(*) filter (where synchronized and confirmed) as confirmed,
            count(*) filter (where not synchronized) as other_visits,
            coalesce(sum(fills), 0) as fills
        from generate_series($2::date, $2::date + $3::int - 1, interval '1 day') as day
        left join visits_there on on_day = day::date
        group by day
        order by day
        """,
        store_id,
        first,
        days,
    )
    return {row["on_day"]: {name: value for name, value in row.items() if name != "on_day"} for row in rows}


async def due_forecasts(db: Db, store_ids: Sequence[str], now: datetime) -> dict[str, str]:
    """Of these stores, those whose demand is to be told now, with their time zones."""
    rows = await db.fetch(
        """
        select store_id, time_zone
        from stores
        where store_id = any($1)
          and coalesce(forecast_due_at, 'epoch') <= $2
        """,
        store_ids,
        now,
    )
    return {row["store_id"]: row["time_zone"] for row in rows}


async def demand_of_drugs(db: Db, first_days: Mapping[str, date], days: int) -> list[dict[str, Any]]:
    """What the plans that stand take of each drug from each store's shelf, by the day on which it is filled, for so
    many days from the store's first.

    Of a visit that nobody confirmed, a fill whose day has passed is still to come; of a confirmed one it is made.
    """
    rows = await db.fetch(
        """
        with planned_fills as (
            select
                p.store_id, p.patient_id, v.confirmed, s.first_on,
                rx -> 'drug' ->> 'code' as code,
                rx -> 'drug' ->> 'name' as drug_name,
                (item ->> 'quantity')::numeric as quantity,
                case when v.confirmed then made.filled_on else greatest(made.filled_on, s.first_on) end as on_day
            from unnest($1::text[], $2::date[]) as s (store_id, first_on)
            join plans p on p.store_id = s.store_id and p.status = 'planned'
            join visits v on v.patient_id = p.patient_id and v.on_day >= s.first_on
            join patients e on e.patient_id = p.patient_id
            cross join jsonb_array_elements(v.items) as item
            join jsonb_array_elements(e.profile -> 'prescriptions') as rx on rx -> 'rx_id' = item -> 'rx_id'
            cross join lateral (
                select coalesce(min((step ->> 'on')::date), v.on_day) as filled_on
                from jsonb_array_elements(p.published -> 'visits') as planned
                cross join jsonb_array_elements(planned -> 'steps') as step
                where planned ->> 'visit_id' = v.visit_id
                  and step ->> 'code' = 'fill'
                  and (step -> 'rx_ids' = '[]' or step -> 'rx_ids' @> (item -> 'rx_id'))
            ) made
        )
        select
            store_id, code, on_day as on,
            min(drug_name) as drug_name,
            sum(quantity) as quantity,
            coalesce(sum(quantity) filter (where confirmed), 0) as confirmed,
            count(*) as fills,
            count(distinct patient_id) as patients
        from planned_fills
        where on_day between first_on and first_on + $3::int - 1
        group by store_id, code, on_day
        order by store_id, code, on_day
        """,
        list(first_days),
        list(first_days.values()),
        days,
    )
    return [dict(row) for row in rows]


async def load_forecasts(db: Db, store_ids: Collection[str]) -> dict[str, DemandForecast]:
    """The demand of these stores as it was last told."""
    rows = await db.fetch(
        "select store_id, published from forecasts where store_id = any($1)", list(store_ids)
    )
    return {row["store_id"]: DemandForecast.model_validate(row["published"]) for row in rows}


async def save_forecasts(
    db: Db, forecasts: Sequence[DemandForecast], next_at: Mapping[str, datetime]
) -> None:
    """Keep what is told of stores now, and when to tell of each of them next."""
    await db.execute(
        """
        insert into forecasts
        select *
        from jsonb_populate_recordset(null::forecasts, $1)
        on conflict (store_id) do update
        set revision = excluded.revision, published = excluded.published
        """,
        [
            {"store_id": each.store_id, "revision": each.revision, "published": each.model_dump(mode="json")}
            for each in forecasts
        ],
    )
    await db.execute(
        """
        update stores s
        set forecast_due_at = told.next_at
        from unnest($1::text[], $2::timestamptz[]) as told (store_id, next_at)
        where s.store_id = told.store_id
        """,
        list(next_at),
        list(next_at.values()),
    )
