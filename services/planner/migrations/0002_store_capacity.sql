-- migrate:up

-- known from each store's next word on; until then no cap, and no state's law
alter table stores
    add column state text not null default '',
    add column daily_cap integer not null default 0; -- synchronized pickups a day; 0: no cap

-- migrate:down

alter table stores
    drop column state,
    drop column daily_cap;
