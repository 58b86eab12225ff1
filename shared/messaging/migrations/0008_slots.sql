-- migrate:up

-- Which process has which place in the consumer group. A lease, as the relay's: poolers keep no session locks.
create table fabric.slots (
    slot integer primary key,
    holder text not null,
    renewed timestamptz not null,
    until timestamptz not null
);

-- migrate:down

drop table fabric.slots;
