-- migrate:up

-- nullable, so that a process of the version before may still write; those who share one are planned for one day
alter table patients add column household_id text;

create index patients_by_household on patients (household_id) where household_id is not null;

-- migrate:down

alter table patients drop column household_id;
