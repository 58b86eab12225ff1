-- migrate:up

-- Among how many partitions the service shares out the keys of each topic that it publishes on: as many as there were the
-- first time. Partitions that somebody adds stay empty: else keys would move, and their events overtake one another.
create table fabric.topics_published (
    topic text primary key,
    partitions integer not null check (partitions > 0)
);

-- migrate:down

drop table fabric.topics_published;
