-- migrate:up

-- nullable, so that a process of the version before may still write
alter table contacts add column written_at timestamptz; -- when a letter went out

-- migrate:down

alter table contacts drop column written_at;
