-- migrate:up

-- revisions are counted from where this life of the database begins: see fabric.incarnations
alter table patients alter column revision set default fabric.first_revision();

-- of every store, so that one column holds what is published
update stores set published_revision = revision where published_revision is null;
alter table stores alter column published_revision set not null;

-- migrate:down

alter table stores alter column published_revision drop not null;
alter table patients alter column revision set default 0;
