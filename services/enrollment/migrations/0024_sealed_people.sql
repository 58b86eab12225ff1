-- migrate:up

-- Who the patient is, sealed with a key of their own (fabric.data_keys). What stood in clear is sealed as the service
-- starts, and these columns stay empty.
alter table people
    add column sealed bytea,
    alter column number drop not null,
    alter column given_name drop not null,
    alter column family_name drop not null,
    alter column birth_date drop not null,
    alter column phones drop not null,
    alter column address drop not null;

-- By what people are found: hashes, made with a key that is not in clear here, of a family name and birth date together
-- and of each phone number. A name alone would be told by how often it occurs.
create table blind_indexes (
    patient_id text not null references people,
    hash text not null,
    primary key (patient_id, hash)
);

create index blind_indexes_by_hash on blind_indexes (hash);

-- Patients of whose records nothing may be destroyed: a lawsuit, an investigation.
create table legal_holds (
    hold_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    because text not null,
    held_at timestamptz not null,
    held_by text not null,
    lifted_at timestamptz,
    lifted_by text,
    lifted_because text
);

-- Who had whom forgotten, when, and why.
create table erasures (
    erasure_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    because text not null,
    erased_at timestamptz not null,
    erased_by text not null
);

create unique index legal_holds_in_force on legal_holds (patient_id) where lifted_at is null;

-- migrate:down

-- What is sealed cannot be opened here: the next feed brings it again.
drop table erasures, legal_holds, blind_indexes;
update patients
set fed_revision = -1, fed_digest = null
where patient_id in (select patient_id from people where sealed is not null);
delete from people where sealed is not null;
alter table people
    drop column sealed,
    alter column number set not null,
    alter column given_name set not null,
    alter column family_name set not null,
    alter column birth_date set not null,
    alter column phones set not null,
    alter column address set not null;
