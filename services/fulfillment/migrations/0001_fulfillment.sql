-- migrate:up

-- What is known around a work order; each may arrive before or after its confirmation.

create table patients (
    patient_id text primary key, -- an opaque pseudonym
    revision bigint not null,
    enrolled boolean not null,
    died boolean not null,
    left_revision bigint not null, -- of the last disenrolment; 0: never
    caregiver_may_collect boolean not null
);

create table plans (
    patient_id text primary key,
    revision bigint not null,
    profile_revision bigint not null,
    content jsonb not null, -- {visits: {visit_id: {rx_id: day from which its payer pays}}, prescriptions: [rx_id]}
    cancelled_through bigint not null -- this revision and all before it were withdrawn
);

create table stores (
    store_id text primary key,
    revision bigint not null,
    time_zone text not null,
    calendar jsonb not null, -- {weekdays: [0 is Monday], closed_on: [day]}
    known_at timestamptz not null -- business time
);

-- For the pickup desk: the only table with names and birth dates.
create table contacts (
    patient_id text primary key,
    revision bigint not null,
    given_name text not null,
    family_name text not null,
    birth_date date
);

-- Every confirmation as it came; one of a visit's is live, the others were replaced or came too late.
create table confirmations (
    confirmation_id bigint generated always as identity primary key,
    visit_id text not null,
    patient_id text not null,
    plan_id text not null,
    plan_revision bigint not null,
    items jsonb not null, -- {rx_id: [quantity, days_supply]}
    received_at timestamptz not null, -- business time
    live boolean not null
);

create unique index confirmations_live on confirmations (visit_id) where live;

-- One work order per visit, and its package.
create table work_orders (
    visit_id text primary key,
    patient_id text not null,
    store_id text not null,
    package_id text not null unique,
    plan_id text not null,
    plan_revision bigint not null, -- of the confirmation
    visit_kind text not null,
    visit_on date not null,
    status text not null
        check (status in ('filling', 'to_verify', 'ready', 'picked_up', 'returned', 'cancelled')),
    store_revision bigint not null, -- of the calendar that it is scheduled by; 0: none yet
    return_on date, -- last saleable day
    return_at timestamptz,
    ready_on date,
    missed_at timestamptz, -- when the pickup counts as missed next
    missed_days smallint not null,
    handed_over_on date,
    bin integer
);

create index work_orders_open on work_orders (patient_id) where status not in ('picked_up', 'returned');
create index work_orders_by_status on work_orders (status, package_id);
create index work_orders_by_store on work_orders (store_id, status, package_id);
create index work_orders_by_calendar on work_orders (store_id, store_revision)
    where status in ('filling', 'to_verify', 'ready');
create index work_orders_missed on work_orders (missed_at) where missed_at is not null;
create index work_orders_returning on work_orders (return_at) where return_at is not null;
create unique index work_orders_bins on work_orders (store_id, bin) where bin is not null;

create table items (
    order_id text primary key,
    visit_id text not null references work_orders,
    patient_id text not null,
    rx_id text not null,
    drug_name text not null,
    quantity numeric not null,
    days_supply integer not null,
    status text not null
        check (status in ('to_fill', 'leased', 'filled', 'rejected', 'short', 'withheld', 'cancelled')),
    why text, -- why it is withheld or cancelled
    due_at timestamptz, -- null: not every fact is known yet
    lease_id text,
    leased_by text,
    leased_until timestamptz, -- business time
    fill_id text,
    filled_on date,
    reject_code text,
    next_fill_on date,
    missing numeric,
    unique (visit_id, rx_id)
);

create index items_due on items (due_at) where status = 'to_fill';
create index items_leased on items (leased_until) where status = 'leased';

create table consultations (
    visit_id text primary key references work_orders,
    outcome text not null,
    topics text[] not null
);

-- Who did what to a package, in what capacity: the fills and reviews that the dispensing system performed, and every
-- decision of staff with its reason.
create table actions (
    action_id bigint generated always as identity primary key,
    visit_id text not null references work_orders,
    action text not null,
    done_at timestamptz not null, -- business time
    actor text not null,
    role text not null,
    licence text,
    detail jsonb not null
);

create index actions_by_visit on actions (visit_id);

-- Work that falls due, one row per piece of it. The fills are leased on request; the others are jobs.

create view due_fills as
select patient_id, due_at
from items
where status = 'to_fill'
  and due_at is not null;

create view due_lease_ends as
select patient_id, leased_until as due_at
from items
where status = 'leased';

create view due_missed_pickups as
select patient_id, missed_at as due_at
from work_orders
where missed_at is not null;

create view due_returns as
select patient_id, return_at as due_at
from work_orders
where return_at is not null;

-- Work orders scheduled by an older calendar of their store than the newest, or by none.
create view due_reschedules as
select w.patient_id, s.known_at as due_at
from work_orders w
join stores s on s.store_id = w.store_id and s.revision > w.store_revision
where w.status in ('filling', 'to_verify', 'ready');

-- migrate:down

drop view due_fills, due_lease_ends, due_missed_pickups, due_returns, due_reschedules;
drop table actions, consultations, items, work_orders, confirmations, contacts, stores, plans, patients;
