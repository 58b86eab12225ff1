-- migrate:up

-- What was said of days to come. The newest plan may have others, and nobody may have said them yet. All nullable: where
-- a process of the version before wrote the row, whatever an agreed plan holds counts as said.
alter table plans
    add column promised_on date, -- the pickup
    add column promised_next_on date, -- the one after it
    add column promised_joins jsonb; -- by rx_id, from when on it keeps the rhythm

alter table visits add column promised boolean; -- its day was said

-- migrate:down

alter table visits drop column promised;
alter table plans
    drop column promised_on,
    drop column promised_next_on,
    drop column promised_joins;
