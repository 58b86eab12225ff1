-- migrate:up

create table stores (
    store_id text primary key,
    revision bigint not null,
    time_zone text not null,
    weekdays smallint[] not null, -- with pharmacist hours; 0 is Monday
    closed_on date[] not null
);

-- what the planner was told: enrollment's newest word on each patient
create table patients (
    patient_id text primary key,
    revision bigint not null,
    enrolled boolean not null,
    store_id text not null,
    profile jsonb not null -- as in PatientEnrolled and ProfileChanged; empty once disenrolled
);

create index patients_by_store on patients (store_id);

-- what the planner answers, and where the patient stands
create table plans (
    patient_id text primary key references patients,
    store_id text not null,
    revision bigint not null, -- of what is published about the patient; grows over all plans
    status text not null check (status in ('waiting', 'planned', 'blocked', 'gone')),
    plan_id text,
    cycle integer not null,
    agreed boolean not null,
    misses integer not null,
    anchor_on date,
    next_anchor_on date,
    offered_on date[] not null,
    declined_until jsonb not null, -- {rx_id: date}
    wanted_on date,
    instead_of date,
    published jsonb, -- the newest PlanComputed, PlanBlocked or PlanCancelled, by status
    due_at timestamptz, -- when time alone calls for another look
    -- the store's load: the day of the synchronized pickup while one is planned; since when; and the day before that
    booked_on date,
    booked_since timestamptz not null,
    booked_before date
);

create index plans_due on plans (due_at) where due_at is not null;
create index plans_by_store on plans (store_id, patient_id);
create index plans_by_store_day on plans (store_id) include (booked_on, booked_since, booked_before);

-- visits of the newest plan that have not come to an end
create table visits (
    patient_id text not null references plans,
    visit_id text not null,
    kind text not null,
    on_day date not null,
    confirmed boolean not null,
    items jsonb not null, -- [{rx_id, kind, quantity, days_supply}]
    primary key (patient_id, visit_id)
);

-- every answer, with or without effect
create table answers (
    answer_id bigint generated always as identity primary key,
    patient_id text not null,
    answered_at timestamptz not null,
    answer text not null, -- the type of the event
    plan_id text,
    plan_revision bigint,
    visit_id text,
    stale boolean not null
);

create index answers_by_patient on answers (patient_id, answer_id);

-- the payer's newest refusal of each prescription
create table rejections (
    patient_id text not null,
    rx_id text not null,
    code text not null,
    rejected_on date not null,
    next_fill_on date,
    primary key (patient_id, rx_id)
);

-- renewals asked for: once per prescription
create table renewals (
    patient_id text not null,
    rx_id text not null,
    needed_by date not null,
    asked_at timestamptz not null,
    answer text,
    answered_at timestamptz,
    primary key (patient_id, rx_id)
);

-- patients to be planned anew because their store changed; rows are only added and taken, so nobody waits for them
create table replans (
    replan_id bigint generated always as identity primary key,
    patient_id text not null,
    due_at timestamptz not null
);

create index replans_by_patient on replans (patient_id);

create view due_looks as
select patient_id, due_at
from plans
where due_at is not null;

create view due_replans as
select patient_id, due_at
from replans;

-- migrate:down

drop view due_replans, due_looks;
drop table replans, renewals, rejections, answers, visits, plans, patients, stores;
