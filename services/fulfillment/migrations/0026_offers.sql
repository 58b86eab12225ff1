-- migrate:up

-- Offered: due since the visit was confirmed, and asked about at the counter. With a default, so that a process of the
-- version before may still write; it reads no such status, so the planner, of whom offers come, is replaced last.
alter table items
    add column at_counter boolean not null default false; -- nobody confirmed it: it was offered

alter table items drop constraint items_status_check;

alter table items
    add constraint items_status_check check (
        status in ('offered', 'to_fill', 'leased', 'filled', 'rejected', 'short', 'withheld', 'cancelled')
    ) not valid;

-- migrate:down

update items set status = 'cancelled', why = 'not_planned' where status = 'offered';

alter table items drop constraint items_status_check;

alter table items
    add constraint items_status_check check (
        status in ('to_fill', 'leased', 'filled', 'rejected', 'short', 'withheld', 'cancelled')
    );

alter table items drop column at_counter;
