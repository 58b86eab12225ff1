-- migrate:up
create schema fabric;

-- Every event that this service took in, once. Partitioned on the id itself (uuidv7 sorts by time): with a
-- separate day column in the key, one event could be claimed on two days.
create table fabric.inbox (
    event_id uuid primary key
) partition by range (event_id);

create table fabric.inbox_default partition of fabric.inbox default;

-- What this service has to say, written in the transaction that made it true; deleted once acknowledged.
create table fabric.outbox (
    id bigint generated always as identity primary key,
    event_id uuid not null default uuidv7(),
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null
);

-- Rows of the outbox that the broker will not have; their keys' later rows wait behind them. A table of its own:
-- a condition on a column misled the planner wherever the outbox had filled up faster than its statistics.
create table fabric.held (
    id bigint primary key,
    key text not null,
    why text not null
);

create index held_key on fabric.held (key, id);

-- Who publishes the outbox. The epoch fences a relay that lost the lease without noticing.
create table fabric.relay_lease (
    one boolean primary key default true check (one),
    holder text not null,
    epoch bigint not null,
    until timestamptz not null
);

insert into fabric.relay_lease (holder, epoch, until) values ('', 0, '-infinity');

create table fabric.dead_letters (
    id bigint generated always as identity primary key,
    topic text not null,
    partition integer,
    "offset" bigint,
    key text, -- typed: patient:… or store:…
    event_id uuid,
    event_type text,
    attempts integer not null,
    first_at timestamptz not null default clock_timestamp(),
    last_at timestamptz not null default clock_timestamp(),
    reason text not null,
    message text not null,
    headers jsonb not null,
    record_key bytea,
    payload bytea,
    status text not null default 'open' check (status in ('open', 'redriven', 'skipped')),
    closed_by text,
    closed_at timestamptz,
    closed_because text
);

create index dead_letters_open on fabric.dead_letters (id) where status = 'open';

-- What has no id to be known again by is known by its place. The rest is not: topics may be created anew.
create unique index dead_letters_place on fabric.dead_letters (topic, partition, "offset") where event_id is null;

-- Patients (or stores) that wait for a person to look at a dead letter.
create table fabric.parked (
    key text primary key,
    reason text not null,
    parked_at timestamptz not null default clock_timestamp(),
    dead_letter_id bigint not null references fabric.dead_letters
);

-- Their later events, in the order in which they came.
create table fabric.parked_events (
    id bigint generated always as identity primary key,
    key text not null references fabric.parked,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    event_id uuid,
    headers jsonb not null,
    record_key bytea,
    payload bytea
);

create index parked_events_key on fabric.parked_events (key, id);

create unique index parked_events_place on fabric.parked_events (topic, partition, "offset") where event_id is null;

-- Records with which a process began after it was given their partition; what stays here killed it.
create table fabric.suspects (
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    process uuid not null, -- the one that began last
    deaths integer not null, -- of processes before it
    primary key (topic, partition)
);

-- Answers to commands that carried an Idempotency-Key.
create table fabric.answers (
    idempotency_key text primary key,
    fingerprint text not null,
    answer jsonb,
    answered_at timestamptz not null default clock_timestamp()
);

create index answers_at on fabric.answers (answered_at);

-- migrate:down
drop schema fabric cascade;
