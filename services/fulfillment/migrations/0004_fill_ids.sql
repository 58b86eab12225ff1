-- migrate:up

-- One fill, one order: a second under the same id would vanish from the patient's history. Those taken before this rule
-- stay as they were, and are marked.
alter table items add column fill_id_repeated boolean not null default false;

update items i
set fill_id_repeated = true
where exists (
    select
    from items earlier
    where earlier.fill_id = i.fill_id
      and earlier.order_id < i.order_id
);

create unique index items_by_fill on items (fill_id) where fill_id is not null and not fill_id_repeated;

-- migrate:down

drop index items_by_fill;
alter table items drop column fill_id_repeated;
