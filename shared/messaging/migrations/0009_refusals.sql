-- migrate:up

-- Why nothing is published in a life of this database, found by whichever relay looked: every process of the service holds
-- still until another life begins (`medsync recovered`).
create table fabric.refusals (
    epoch integer primary key,
    why text not null,
    since timestamptz not null default clock_timestamp()
);

-- migrate:down

drop table fabric.refusals;
