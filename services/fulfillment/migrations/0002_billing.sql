-- migrate:up

-- nullable, so that a process of the version before may still write
alter table items
    add column days_supply_billed integer, -- where the payer is told another than the true one
    add column clarification_codes jsonb; -- NCPDP 420-DK, in the order to try

-- migrate:down

alter table items
    drop column days_supply_billed,
    drop column clarification_codes;
