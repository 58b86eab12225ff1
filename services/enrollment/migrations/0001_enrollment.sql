-- migrate:up

create table stores (
    store_id text primary key,
    revision bigint not null, -- the source's
    name text not null,
    state text not null,
    time_zone text not null,
    hours jsonb not null, -- [{weekday, opens, closes}], as in StoreChanged
    closed_on date[] not null,
    daily_cap integer not null,
    phone text not null
);

create table patients (
    patient_id text primary key, -- an opaque pseudonym
    fed_revision bigint not null, -- the source's
    store_id text not null references stores,
    cycle_policy text, -- null: not said, here and below
    must_weekdays smallint[] not null,
    preferred_weekday smallint,
    status text not null default 'known' check (status in ('known', 'enrolled', 'disenrolled')),
    disenrolled_for text,
    survivor_id text references patients,
    revision bigint not null default 0, -- of what is published about the patient
    published_at timestamptz -- business time of that; what is published again is as of then
);

create index patients_by_store on patients (store_id, patient_id);

-- who the patient is: the only table with names, numbers, birth dates and addresses
create table people (
    patient_id text primary key references patients,
    number text not null, -- the source's own
    given_name text not null,
    family_name text not null,
    birth_date date not null,
    phones jsonb not null, -- [{number, kind}]
    address text not null,
    time_zone text,
    language text not null,
    revision bigint not null
);

create table consents (
    consent_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    given_at timestamptz not null,
    recorded_by text not null,
    recorded_as text not null, -- the role
    scope text[] not null,
    channels text[] not null,
    language text not null,
    caregiver boolean not null,
    standing_instruction boolean not null,
    cycle_policy text,
    must_weekdays smallint[] not null,
    preferred_weekday smallint,
    ended_at timestamptz,
    ended_for text,
    ended_by text
);

create unique index consents_in_force on consents (patient_id) where ended_at is null;

create table opt_outs (
    patient_id text not null references patients,
    channel text not null,
    opted_out_at timestamptz not null,
    primary key (patient_id, channel)
);

create table prescriptions (
    rx_id text primary key,
    patient_id text not null references patients,
    fed_revision bigint not null, -- the source's
    drug jsonb not null, -- as in the event's Drug
    status text not null, -- the feed's; superseded_by and reported_stopped_on go before it
    directions text not null,
    as_needed boolean not null,
    units_per_day numeric,
    usual_quantity numeric not null,
    usual_days integer not null,
    quantity_left numeric not null,
    refills_left integer not null,
    written_on date not null,
    expires_on date not null,
    prescriber_id text not null,
    payer text,
    renews text,
    superseded_by text,
    reported_stopped_on date
);

create index prescriptions_by_patient on prescriptions (patient_id);
create index prescriptions_by_renewed on prescriptions (renews) where renews is not null;

create table fills (
    fill_id text primary key,
    rx_id text not null references prescriptions,
    patient_id text not null references patients,
    fed_revision bigint not null, -- the source's; 0: known from the hand-over, not yet from the feed
    filled_on date not null,
    handed_over_on date not null,
    quantity numeric not null,
    days_supply integer not null,
    reversed boolean not null
);

create index fills_by_patient on fills (patient_id, handed_over_on);

-- what patients said about their drugs
create table reported_changes (
    patient_id text not null references patients,
    rx_id text not null references prescriptions,
    change text not null,
    reported_on date not null,
    days_left integer,
    primary key (patient_id, rx_id, change, reported_on)
);

create table candidates (
    patient_id text primary key references patients,
    store_id text not null references stores,
    reasons jsonb not null, -- [{code, params}]
    since timestamptz not null
);

-- patients whose history changed since they were last looked at
create table candidate_checks (
    patient_id text primary key references patients,
    due_at timestamptz not null
);

create view due_candidate_checks as
select patient_id, due_at
from candidate_checks;

-- survivors of a merge to whom something happened under the number that is gone
create table tellings (
    patient_id text primary key references patients,
    due_at timestamptz not null
);

create view due_tellings as
select patient_id, due_at
from tellings;

-- migrate:down

drop view due_tellings, due_candidate_checks;
drop table
    tellings,
    candidate_checks, candidates, reported_changes, fills, prescriptions, opt_outs, consents, people, patients,
    stores;
