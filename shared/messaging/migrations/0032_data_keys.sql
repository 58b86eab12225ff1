-- migrate:up

-- A key for each patient, sealed with the ring's: what says who they are is sealed with it. Who is to be forgotten loses
-- it. Backups of this table are kept only as long as forgetting may take (docs/adr/0019).
create table fabric.data_keys (
    patient_id text primary key,
    key_id text not null,
    sealed bytea not null
);

-- What blind indexes are made with: it stays while the keys of the ring change.
create table fabric.index_key (
    one boolean primary key default true check (one),
    key_id text not null,
    sealed bytea not null
);

-- Who was forgotten, by a hash of the id alone: a backup of before has to forget them again.
create table fabric.erased (
    patient_hash text primary key,
    erased_at timestamptz not null default clock_timestamp()
);

-- Whom an answer is about: it goes with them. Null: of before, or nobody.
alter table fabric.answers add column patients text[];

-- migrate:down
alter table fabric.answers drop column patients;
drop table fabric.erased, fabric.index_key, fabric.data_keys;
