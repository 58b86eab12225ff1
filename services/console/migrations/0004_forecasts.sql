-- migrate:up

-- what each store's shelf has to hold, as the planner told it last
create table forecasts (
    store_id text primary key,
    revision integer not null,
    content jsonb not null -- the event
);

-- migrate:down

drop table forecasts;
