-- migrate:up

-- Each try at a fill, with its result, and what was resolved about it before the next. Reasons in words stay with the
-- action; the number of an authorization with the item.
create table tries (
    order_id text not null references items,
    number smallint not null,
    result text not null check (result in ('filled', 'rejected', 'short')),
    reject_code text,
    next_fill_on date,
    missing numeric,
    on_hand numeric,
    reported_by text not null,
    reported_at timestamptz not null, -- business time
    resolution text, -- how it was resolved, given_up or other_store
    resolved_by text,
    resolved_at timestamptz,
    primary key (order_id, number)
);

-- nullable or with a default, so that a process of the version before may still write
alter table items
    add column tries smallint not null default 0, -- results reported, since this column is there
    add column resolution jsonb, -- of the newest refusal or shortage: how, at, and what it says
    add column on_hand numeric, -- of a shortage, where it was said
    add column filled_quantity numeric, -- of a partial fill; null: as ordered
    add column filled_days integer,
    add column completes jsonb, -- of an owed rest: the partial fill, whose claim it is
    add column expected_on date; -- of an owed rest: when its stock is there

create index items_unsettled on items (gives_up_at) where status in ('rejected', 'short') and gives_up_at is not null;
create index items_owed on items ((completes ->> 'order_id')) where completes is not null;

create view due_unsettled as
select patient_id, gives_up_at as due_at
from items
where status in ('rejected', 'short')
  and gives_up_at is not null;

-- migrate:down

-- An owed rest is on no list of the version before: hand over what is owed first.
drop view due_unsettled;
drop index items_owed;
drop index items_unsettled;
alter table items
    drop column tries,
    drop column resolution,
    drop column on_hand,
    drop column filled_quantity,
    drop column filled_days,
    drop column completes,
    drop column expected_on;
drop table tries;
