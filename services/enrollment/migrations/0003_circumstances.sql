-- migrate:up

-- nullable, so that a process of the version before may still write
alter table patients add column circumstances jsonb; -- as in the event's Circumstances, by the feed; only what is said

-- what staff stated of them: it goes before the feed; a null takes a field back
create table statements (
    statement_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    stated_at timestamptz not null,
    recorded_by text not null,
    recorded_as text not null, -- the role
    said jsonb not null
);

create index statements_by_patient on statements (patient_id, statement_id);

alter table stores
    add column delivery_weekdays smallint[],
    add column lead_days integer,
    add column published_revision bigint; -- grows with the feed and with closures; null: the feed's own

-- days on which staff closed a store, beside those of the feed
create table closures (
    store_id text not null references stores,
    on_day date not null,
    why text not null,
    closed_at timestamptz not null,
    closed_by text not null,
    lifted_at timestamptz,
    lifted_by text,
    primary key (store_id, on_day)
);

-- migrate:down

drop table closures, statements;
alter table stores
    drop column delivery_weekdays,
    drop column lead_days,
    drop column published_revision;
alter table patients drop column circumstances;
