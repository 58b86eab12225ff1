-- migrate:up

-- nullable or with a default, so that a process of the version before may still write
alter table items
    add column condition jsonb, -- with which it was confirmed: {kind, by, needed_by}
    add column waits_for jsonb, -- the same, as the newest plan has it; null: nothing, it may be filled
    add column gives_up_at timestamptz, -- when the visit goes on without it
    add column late boolean not null default false, -- its condition was met after that: nothing waits for it
    add column renewed_as text, -- the prescription that took the place of the one confirmed: that is what is filled
    add column urgent boolean not null default false; -- its visit cannot wait

create index items_conditional on items (gives_up_at) where status = 'to_fill' and gives_up_at is not null;

create view due_conditions as
select patient_id, gives_up_at as due_at
from items
where status = 'to_fill'
  and gives_up_at is not null;

-- migrate:down

drop view due_conditions;
alter table items
    drop column condition,
    drop column waits_for,
    drop column gives_up_at,
    drop column late,
    drop column renewed_as,
    drop column urgent;
