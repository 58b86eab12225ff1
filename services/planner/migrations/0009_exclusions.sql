-- migrate:up

-- what pharmacists keep out of plans, as it was last published; no word of theirs is in it
create table exclusions (
    patient_id text primary key,
    revision bigint not null,
    kept_out jsonb not null -- [{rx_id, reason}]
);

-- the order of two decisions of one moment: the later one counts
alter table rulings
    add column entered bigint generated always as identity;

-- migrate:down

alter table rulings
    drop column entered;
drop table exclusions;
