-- migrate:up

-- What a pharmacist keeps out, whatever the plan says; it may arrive before or after the confirmation.
create table exclusions (
    patient_id text primary key,
    revision bigint not null,
    rx_ids text[] not null
);

-- migrate:down

drop table exclusions;
