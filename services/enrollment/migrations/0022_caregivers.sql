-- migrate:up

-- Who acts for a patient: rows are ended, and never removed.
create table caregivers (
    entry_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    caregiver_id text not null, -- opaque: by which the identity provider knows them
    recorded_at timestamptz not null,
    recorded_by text not null,
    recorded_as text not null, -- the role
    how text, -- paper, phone, in_person; null: not said
    document_id text,
    ended_at timestamptz,
    ended_by text,
    ended_as text
);

create unique index caregivers_in_force on caregivers (patient_id, caregiver_id) where ended_at is null;
create index caregivers_by_patient on caregivers (patient_id, entry_id);

-- Of whom somebody is a caregiver now: whom they reach.
create view caregiving as
select patient_id, caregiver_id
from caregivers
where ended_at is null;

-- migrate:down

drop view caregiving;
drop table caregivers;
