-- migrate:up

-- when the store's demand is to be told next; null: now. Nullable, so that a process of the version before may write
alter table stores add column forecast_due_at timestamptz;

-- the demand of each store as it was last told
create table forecasts (
    store_id text primary key,
    revision bigint not null,
    published jsonb not null -- DemandForecast
);

create view due_forecasts as
select store_id, coalesce(forecast_due_at, 'epoch') as due_at
from stores;

-- migrate:down

drop view due_forecasts;
drop table forecasts;
alter table stores drop column forecast_due_at;
