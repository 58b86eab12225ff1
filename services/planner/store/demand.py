"""What the plans that stand take from a store: its days and its shelf."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from shared.database import Db
from shared.events.planner import DemandForecast
from shared.upsert import row, upsert


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
    return {
        each["on_day"]: {name: value for name, value in each.items() if name != "on_day"} for each in rows
    }


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
    return {each["store_id"]: each["time_zone"] for each in rows}


async def demand_of_drugs(db: Db, first_days: Mapping[str, date], days: int) -> list[dict[str, Any]]:
    """What the plans that stand take of each drug from each store's shelf, by the day on which it is filled, for so
    many days from the store's first.

    Of a visit that nobody confirmed, a fill whose day has passed is still to come; of a confirmed one it is made.
    """
    rows = await db.fetch(
        """
        with chosen as materialized (
            select
                p.patient_id, p.store_id, s.first_on,
                p.published -> 'visits' as planned, e.profile -> 'prescriptions' as prescriptions
            from unnest($1::text[], $2::date[]) as s (store_id, first_on)
            join plans p using (store_id)
            join patients e using (patient_id)
            where p.status = 'planned'
        ),
        drugs as materialized (
            select
                patient_id, rx ->> 'rx_id' as rx_id,
                rx -> 'drug' ->> 'code' as code, rx -> 'drug' ->> 'name' as drug_name
            from chosen
            cross join jsonb_array_elements(prescriptions) as rx
        ),
        fill_steps as materialized (
            select
                patient_id, visit ->> 'visit_id' as visit_id,
                (step ->> 'on')::date as filled_on, step -> 'rx_ids' as rx_ids
            from chosen
            cross join jsonb_array_elements(planned) as visit
            cross join jsonb_array_elements(visit -> 'steps') as step
            where step ->> 'code' = 'fill'
        ),
        items as materialized (
            select
                c.store_id, c.first_on, patient_id, v.visit_id, v.on_day, v.confirmed,
                item ->> 'rx_id' as rx_id, (item ->> 'quantity')::numeric as quantity
            from chosen c
            join visits v using (patient_id)
            cross join jsonb_array_elements(v.items) as item
            where v.on_day >= c.first_on
        ),
        planned_fills as (
            select
                i.store_id, i.first_on, patient_id, d.code, d.drug_name, i.quantity, i.confirmed,
                greatest(
                    coalesce(f.filled_on, i.on_day), case when not i.confirmed then i.first_on end
                ) as on_day
            from items i
            join drugs d using (patient_id, rx_id)
            left join fill_steps f using (patient_id, visit_id)
            where f.rx_ids is null
               or f.rx_ids = '[]'
               or f.rx_ids ? i.rx_id
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
    return [dict(each) for each in rows]


async def load_forecasts(db: Db, store_ids: Collection[str]) -> dict[str, DemandForecast]:
    """The demand of these stores as it was last told, under the revision that stands."""
    rows = await db.fetch(
        """
        select store_id, published || jsonb_build_object('revision', revision) as published
        from forecasts
        where store_id = any($1)
        """,
        list(store_ids),
    )
    return {each["store_id"]: DemandForecast.model_validate(each["published"]) for each in rows}


async def first_revision(db: Db) -> int:
    """What the revisions of this life of the database follow."""
    first: int = await db.fetchval("select fabric.first_revision()")
    return first


_keep_forecasts = upsert("forecasts", "store_id", "revision published")


async def save_forecasts(
    db: Db, forecasts: Sequence[DemandForecast], next_at: Mapping[str, datetime]
) -> None:
    """Keep what is told of stores now, and when to tell of each of them next."""
    await _keep_forecasts(db, [row(each, "store_id revision", published=each) for each in forecasts])
    await db.execute(
        """
        update stores s
        set forecast_due_at = given.next_at
        from unnest($1::text[], $2::timestamptz[]) as given (store_id, next_at)
        where s.store_id = given.store_id
        """,
        list(next_at),
        list(next_at.values()),
    )
