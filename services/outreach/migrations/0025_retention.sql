-- migrate:up

-- Since when it is short, so that it can be forgotten. A process of the version before writes the moment by itself.
alter table short_items add column noted_at timestamptz not null default now();

create index attempts_at on attempts (at);

-- migrate:down

drop index attempts_at;
alter table short_items drop column noted_at;
