-- migrate:up

-- What enrollment says of a patient: whether contact is wanted, and how.
create table patients (
    patient_id text primary key,
    revision integer not null,
    enrolled boolean not null,
    store_id text not null default '',
    channels text[] not null default '{}',
    language text not null default 'en',
    caregiver boolean not null default false,
    standing_instruction boolean not null default false,
    consented_at timestamptz,
    waits boolean not null default true -- for a time zone: the store or the contact details are not known yet
);

create index patients_waiting on patients (patient_id) where waits and enrolled;

-- Stop: no automated contact from then on, until consent is given anew.
create table opt_outs (
    patient_id text primary key,
    at timestamptz not null,
    channel text not null
);

create table stores (
    store_id text primary key,
    revision integer not null,
    name text not null,
    time_zone text not null,
    phone text not null,
    open_weekdays integer[] not null, -- 0 is Monday
    closed_on date[] not null
);

-- Names and numbers: read when a contact is leased, and nowhere else.
create table details (
    patient_id text primary key,
    revision integer not null,
    given_name text not null,
    family_name text not null,
    birth_date date,
    address text not null,
    time_zone text
);

create table phones (
    patient_id text not null,
    position integer not null,
    number text not null,
    kind text not null,
    primary key (patient_id, position)
);

-- Whoever answers there asked not to be called: a hard stop, for every patient.
create table stopped_numbers (
    number text primary key,
    at timestamptz not null
);

-- The number that went out with a lease, until it is reported.
create table lent_numbers (
    patient_id text primary key,
    lease_id uuid not null,
    number text not null
);

-- The newest plan of each patient; none while it is blocked or cancelled.
create table plans (
    patient_id text primary key,
    revision integer not null,
    plan jsonb
);

-- One row per occasion to speak to a patient.
create table contacts (
    contact_id uuid primary key,
    patient_id text not null,
    kind text not null,
    store_id text not null,
    opened_at timestamptz not null,
    plan_id text,
    plan_revision integer not null,
    visit_id text,
    visit_on date,
    last_on date,
    status text not null,
    declined_rx_ids text[] not null,
    attempts integer not null,
    last_attempt_at timestamptz,
    lease_id uuid,
    lease_until timestamptz,
    due_at timestamptz, -- when the dialler may make the next attempt
    by_hand_at timestamptz, -- when a person may, where the dialler may not
    review_at timestamptz, -- when to look at it again if nothing happens
    closed_by text,
    closed_because text
);

create index contacts_of_patient on contacts (patient_id, visit_on);
create index contacts_due on contacts (due_at) where status = 'open' and lease_id is null;
create index contacts_for_people on contacts (coalesce(due_at, by_hand_at)) where status = 'open' and lease_id is null;
create index contacts_to_review on contacts (review_at) where status = 'open';
create index contacts_of_store on contacts (store_id, visit_on) where status = 'open';

-- The one ledger of contacts: every lease, every attempt, every call of the patient, on every channel.
create table attempts (
    lease_id uuid primary key,
    contact_id uuid not null,
    patient_id text not null,
    kind text not null, -- of the contact; renewal: the prescriber was asked
    channel text,
    made_by text not null, -- dialler, person, patient
    actor text not null,
    at timestamptz not null,
    until timestamptz, -- none: the patient called in
    told jsonb, -- the plan as it was read out, while an answer is awaited
    outcome text,
    answer jsonb,
    reported_at timestamptz,
    reply jsonb
);

create index attempts_of_patient on attempts (patient_id, at);
create index attempts_of_contact on attempts (contact_id, at);

-- Items of a visit that the store has too little of.
create table short_items (
    patient_id text not null,
    visit_id text not null,
    rx_id text not null,
    missing numeric not null,
    primary key (patient_id, visit_id, rx_id)
);

-- Prescriptions that a prescriber is asked to renew.
create table renewals (
    contact_id uuid primary key,
    patient_id text not null,
    store_id text not null,
    rx_id text not null,
    drug_name text not null,
    prescriber_id text not null,
    needed_by date not null,
    opened_at timestamptz not null,
    status text not null,
    asked integer not null,
    asked_at timestamptz,
    lease_id uuid,
    lease_until timestamptz,
    due_at timestamptz,
    review_at timestamptz
);

create index renewals_of_patient on renewals (patient_id);
create index renewals_due on renewals (due_at) where status = 'open' and lease_id is null;
create index renewals_to_review on renewals (review_at) where status = 'open';

-- What a dialler may lease.
create view due_contacts as
select patient_id, due_at
from contacts
where status = 'open'
  and lease_id is null
  and due_at is not null;

-- What a person may lease: the same, and what the dialler may not make. A pharmacist's answers are chosen one by one.
create view due_contacts_for_people as
select patient_id, coalesce(due_at, by_hand_at) as due_at
from contacts
where status = 'open'
  and lease_id is null
  and coalesce(due_at, by_hand_at) is not null;

create view due_renewals as
select r.patient_id, r.due_at
from renewals r
join patients p using (patient_id)
where r.status = 'open'
  and r.lease_id is null
  and r.due_at is not null
  and p.enrolled;

-- What falls due by itself: a deadline, the end of a day's hours for calls, the end of a lease; and a patient whose
-- time zone became known.
create view due_reviews as
select patient_id, review_at as due_at
from contacts
where status = 'open'
  and review_at is not null
union all
select p.patient_id, timestamptz 'epoch'
from patients p
left join plans l on l.patient_id = p.patient_id
left join details d on d.patient_id = p.patient_id
left join stores s on s.store_id = coalesce(l.plan ->> 'store_id', p.store_id)
where p.waits
  and p.enrolled
  and coalesce(d.time_zone, s.time_zone) is not null;

create view due_renewal_reviews as
select patient_id, review_at as due_at
from renewals
where status = 'open'
  and review_at is not null;

-- migrate:down
drop view due_renewal_reviews, due_reviews, due_renewals, due_contacts_for_people, due_contacts;
drop table renewals, short_items, attempts, contacts, plans, lent_numbers, stopped_numbers, phones, details, stores,
    opt_outs, patients;
