-- migrate:up

-- nullable, so that a process of the version before may still write
alter table plans add column rhythm jsonb; -- of the newest plan: {cycle_days, day_of_month, joins: {rx_id: date}}

-- migrate:down

alter table plans drop column rhythm;
