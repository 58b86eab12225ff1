-- migrate:up

-- nullable, so that a process of the version before may still write
alter table plans add column in_hospital boolean; -- or not reconciled yet: nobody is contacted

-- migrate:down

alter table plans drop column in_hospital;
