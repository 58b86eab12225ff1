-- migrate:up

-- nullable, so that a process of the version before may still write
alter table plans add column not_before date; -- only a letter reaches the patient, and none confirms an earlier visit

-- migrate:down

alter table plans drop column not_before;
