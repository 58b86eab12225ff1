-- migrate:up

-- How far this service has taken in each partition, moved in the transaction that takes the events. Where it stands
-- is the `next` of the row with the highest `first`. Rows are only added, so that each move meets the last one in the
-- primary key, and a snapshot that somebody holds makes nothing slower; what lies behind is swept away now and then.
create table fabric.positions (
    topic text not null,
    partition integer not null,
    "first" bigint not null, -- where it stood; -1 where it began
    "next" bigint not null,
    primary key (topic, partition, "first")
);

-- The topics that this service reads, as they were when it first saw them: another one of the same name is not the same.
create table fabric.topics (
    topic text primary key,
    partitions integer not null,
    topic_id uuid not null,
    cluster_id text not null,
    cleanup text not null,
    retention_ms bigint not null -- -1: for ever
);

-- Events that this service should have read and cannot. The topic waits until somebody accepts that.
create table fabric.gaps (
    id bigint generated always as identity primary key,
    topic text not null,
    partition integer not null, -- -1: the topic as a whole
    why text not null,
    expected text not null,
    found text not null,
    since timestamptz not null default clock_timestamp(),
    accepted_at timestamptz,
    accepted_by text
);

create unique index gaps_open on fabric.gaps (topic, partition, why) where accepted_at is null;

-- migrate:down
drop table fabric.gaps;
drop table fabric.topics;
drop table fabric.positions;
