-- migrate:up

-- What was said and shown at the counter, sealed with the patient's key: who collected, the signature, the number of a
-- license that was seen; a pharmacist's words about a talk. The process of the version before removes packages too.
create table counter_notes (
    visit_id text not null references work_orders on delete cascade,
    about text not null check (about in ('hand_over', 'consultation')),
    number smallint not null, -- of several talks; a hand-over is the only one
    patient_id text not null,
    sealed bytea not null,
    primary key (visit_id, about, number)
);

create index counter_notes_by_patient on counter_notes (patient_id);

-- Who acts for a patient, as enrollment says it.
create table caregivers (
    patient_id text primary key,
    revision bigint not null,
    caregiver_ids text[] not null -- opaque: by which the identity provider knows them
);

-- Addresses and phone numbers are sealed beside the names from now on: what is republished brings them, though it is of the
-- revision that is held.
update contacts set revision = revision - 1;

-- Several talks of a visit.
alter table consultations
    add column number smallint not null default 1,
    drop constraint consultations_pkey,
    add primary key (visit_id, number);

-- Where a part of a package is that is not in its bin.
alter table items
    add column place text, -- fridge, oversize
    add column place_label text, -- which shelf or drawer, as it is labeled there
    add column patient_pay numeric; -- US dollars, where the payer's answer carried it

-- migrate:down

alter table items
    drop column place,
    drop column place_label,
    drop column patient_pay;

delete from consultations where number > 1;
alter table consultations
    drop constraint consultations_pkey,
    drop column number,
    add primary key (visit_id);
drop table caregivers;
drop table counter_notes;
