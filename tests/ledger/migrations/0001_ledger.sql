-- migrate:up
create table effects (
    id bigint generated always as identity primary key,
    patient_id text not null,
    kind text not null,
    revision bigint not null,
    note text
);

create table things (
    patient_id text not null,
    due_at timestamptz not null,
    done_by text
);

create view due_things as
select patient_id, due_at
from things
where done_by is null;

create table stocktakes (
    store_id text not null,
    due_at timestamptz not null,
    done_by text
);

create view due_stocktakes as
select store_id, due_at
from stocktakes
where done_by is null;

-- migrate:down
drop view due_stocktakes;
drop table stocktakes;
drop view due_things;
drop table things;
drop table effects;
