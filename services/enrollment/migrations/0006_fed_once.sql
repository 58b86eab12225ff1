-- migrate:up

-- nullable, so that a process of the version before may still write
alter table fills add column package_id text; -- that brought it to the patient; null: known from the feed alone

-- "{revision}:{digest}" of what the source said under its newest revision, so that the same revision with other content
-- is found out; null, or of another revision: written by the version before
alter table stores add column fed_digest text;
alter table patients add column fed_digest text;
alter table prescriptions add column fed_digest text;
alter table fills add column fed_digest text;

-- migrate:down

alter table fills drop column fed_digest;
alter table prescriptions drop column fed_digest;
alter table patients drop column fed_digest;
alter table stores drop column fed_digest;
alter table fills drop column package_id;
