-- migrate:up

-- nullable, so that a process of the version before may still write; facts of drugs are in prescriptions.drug
alter table patients add column long_term_care boolean;
alter table prescriptions add column prior_authorization_until date;
alter table fills
    add column days_supply_billed integer, -- where the payer was told another than the true one
    add column elsewhere boolean; -- at another pharmacy

-- migrate:down

alter table fills
    drop column days_supply_billed,
    drop column elsewhere;
alter table prescriptions drop column prior_authorization_until;
alter table patients drop column long_term_care;
