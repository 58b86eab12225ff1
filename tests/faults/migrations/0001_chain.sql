-- migrate:up
create table counters (
    patient_id text primary key,
    last bigint not null
);

create table effects (
    id bigint generated always as identity primary key,
    patient_id text not null,
    kind text not null,
    number bigint not null,
    cause text not null
);

create table things (
    id bigint generated always as identity primary key,
    patient_id text not null,
    due_at timestamptz not null,
    done boolean not null default false
);

create view due_things as
select patient_id, due_at
from things
where not done;

create table stumbling (
    patient_id text primary key
);

-- migrate:down
drop table stumbling;
drop view due_things;
drop table things;
drop table effects;
drop table counters;
