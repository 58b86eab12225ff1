-- migrate:up

-- known from each store's next word on; until then it delivers on every open day, and takes no longer than the chain's lead
alter table stores
    add column delivery_weekdays smallint[] not null default '{}', -- 0 is Monday; none: every open day
    add column lead_days integer not null default 0; -- more than the chain's until a package can be ready

-- migrate:down

alter table stores
    drop column delivery_weekdays,
    drop column lead_days;
