-- migrate:up

-- what staff decided about plans, in their own words; kept after it was taken back, gone when the patient leaves
create table rulings (
    ruling_id uuid primary key,
    patient_id text not null references patients,
    kind text not null,
    made_by text not null, -- the actor
    made_as text not null, -- the role
    why text not null,
    made_at timestamptz not null,
    made_on date not null, -- at the store
    rx_id text,
    on_day date,
    quantity numeric,
    cycle integer, -- that it is about; none: every one
    taken_back_at timestamptz,
    taken_back_by text
);

create index rulings_by_patient on rulings (patient_id, made_at);

-- migrate:down

drop table rulings;
