-- migrate:up

-- the revisions of whose database was put back are counted from beyond what an integer holds
alter table patients alter column revision type bigint;
alter table stores alter column revision type bigint;
alter table details alter column revision type bigint;
alter table plans alter column revision type bigint;
alter table contacts alter column plan_revision type bigint;

-- migrate:down

alter table contacts alter column plan_revision type integer;
alter table plans alter column revision type integer;
alter table details alter column revision type integer;
alter table stores alter column revision type integer;
alter table patients alter column revision type integer;
