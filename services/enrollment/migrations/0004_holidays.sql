-- migrate:up

-- nullable, so that a process of the version before may still write; known from each store's next word on
alter table stores
    add column holidays text, -- none, major, state: which of them closed_on holds besides
    add column holidays_year integer; -- in which they were last told, with those of the next two

-- at the turn of a year there
create view due_holidays as
select store_id, make_timestamptz(holidays_year + 1, 1, 1, 0, 0, 0, time_zone) as due_at
from stores
where holidays <> 'none';

-- migrate:down

drop view due_holidays;
alter table stores
    drop column holidays,
    drop column holidays_year;
