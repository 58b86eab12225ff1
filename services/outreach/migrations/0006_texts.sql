-- migrate:up

-- Messages that a person has to read: until then no automated contact is made with the patient.
create table texts (
    text_id uuid primary key,
    patient_id text not null,
    store_id text not null,
    received_at timestamptz not null,
    channel text not null,
    number text, -- that it came from, where that is known
    sealed bytea not null, -- the words, sealed with this key
    key_id text not null,
    cut boolean not null, -- it was longer
    seems text, -- what it was taken for
    due_at timestamptz not null, -- a person reads it until then
    escalates_at timestamptz not null, -- or it comes before everything else
    read_at timestamptz,
    read_by text,
    meaning text -- what staff made of it
);

create index texts_unread on texts (patient_id) where read_at is null;
create index texts_of_store on texts (store_id, escalates_at) where read_at is null;

-- nullable, so that a process of the version before may still write
alter table opt_outs add column lifted_at timestamptz; -- the patient said start; a newer stop counts again

-- Whoever holds the number said stop: no automated contact with any patient of this number who did not consent since.
create table number_opt_outs (
    number text primary key,
    at timestamptz not null,
    channel text not null,
    lifted_at timestamptz
);

create index phones_by_number on phones (number);

-- A stop that counts: neither a start nor a newer consent to contact has lifted it.
create function counts_still(at timestamptz, lifted_at timestamptz, consented_at timestamptz) returns boolean
language sql immutable
return coalesce(lifted_at < at, true) and coalesce(consented_at <= at, true);

-- Patients whose number somebody else stopped, and who are to be told of as opted out themselves.
create table stops_to_spread (
    patient_id text primary key,
    due_at timestamptz not null
);

create view due_opt_outs as
select patient_id, due_at
from stops_to_spread;

-- migrate:down

drop view due_opt_outs;
drop table stops_to_spread;
drop function counts_still;
drop index phones_by_number;
drop table number_opt_outs;
alter table opt_outs drop column lifted_at;
drop table texts;
