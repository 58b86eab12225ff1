-- migrate:up
create table profiles (
    patient_id text primary key,
    revision bigint not null,
    store_id text not null,
    profile jsonb not null
);

-- The tutorial's own: the same two tables that the fabric has, as they are usually drawn.
create table processed_events (
    event_id uuid primary key
);

create table messages (
    id bigint generated always as identity primary key,
    event_id uuid not null default uuidv7(),
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null
);

-- migrate:down
drop table messages;
drop table processed_events;
drop table profiles;
