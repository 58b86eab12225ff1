-- migrate:up

alter table prescriptions add column fill_from date; -- the prescriber wrote: not before; nullable, as a process of before writes none

-- migrate:down

alter table prescriptions drop column fill_from;
