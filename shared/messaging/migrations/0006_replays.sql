-- migrate:up

-- What a person asked to have sent again, out of the journal.
create table fabric.replays (
    id bigint generated always as identity primary key,
    since timestamptz not null,
    until timestamptz,
    topic text, -- of one topic alone
    for_group text, -- for one group of readers alone
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp()
);

-- How far each range's relay came with it.
create table fabric.replayed (
    replay bigint not null references fabric.replays,
    range integer not null,
    last_id bigint not null,
    events bigint not null,
    done boolean not null,
    primary key (replay, range)
);

-- migrate:down

drop table fabric.replayed;
drop table fabric.replays;
