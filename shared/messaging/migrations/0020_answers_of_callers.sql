-- migrate:up

-- A key belongs to who sent it, and its answer, which may name a person, is sealed. What was kept before, by '', is
-- given to nobody: it only says that the key was used.
alter table fabric.answers
    add column actor text not null default '',
    add column sealed bytea,
    add column key_id text,
    drop constraint answers_pkey,
    add primary key (idempotency_key, actor);

-- migrate:down
truncate fabric.answers;
alter table fabric.answers
    drop constraint answers_pkey,
    drop column actor,
    drop column sealed,
    drop column key_id,
    add primary key (idempotency_key);
