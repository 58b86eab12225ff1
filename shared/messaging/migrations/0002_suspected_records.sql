-- migrate:up

-- How many records the process had in hand, from the first on.
alter table fabric.suspects add column records integer not null default 1;

-- migrate:down

alter table fabric.suspects drop column records;
