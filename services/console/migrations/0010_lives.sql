-- migrate:up

-- the revisions of whose database was put back are counted from beyond what an integer holds
alter table patients
    alter column revision type bigint,
    alter column plan_revision type bigint,
    alter column unreached_revision type bigint;
alter table plans alter column revision type bigint;
alter table visits alter column plan_revision type bigint, alter column answer_revision type bigint;
alter table stores alter column revision type bigint;
alter table sealed_details alter column revision type bigint;
alter table forecasts alter column revision type bigint;

-- migrate:down

alter table forecasts alter column revision type integer;
alter table sealed_details alter column revision type integer;
alter table stores alter column revision type integer;
alter table visits alter column plan_revision type integer, alter column answer_revision type integer;
alter table plans alter column revision type integer;
alter table patients
    alter column revision type integer,
    alter column plan_revision type integer,
    alter column unreached_revision type integer;
