-- migrate:up

-- the visit for which the fill was to be made; null: of a refusal from before this was kept
alter table rejections add column visit_id text;

-- migrate:down

alter table rejections drop column visit_id;
