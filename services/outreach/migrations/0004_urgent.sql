-- migrate:up

-- nullable, so that a process of the version before may still write
alter table contacts add column urgent_at timestamptz; -- since when its visit cannot wait; null: it can

-- migrate:down

alter table contacts drop column urgent_at;
