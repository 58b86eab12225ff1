-- migrate:up

-- How far this service is with removing each kind of record whose day is past.
create table fabric.retention (
    kind text primary key,
    done_on date, -- by the service's clock: nothing was past its day any more; null: never yet
    left_rows bigint not null default 0, -- past their day when it was last looked at: counted up to a bound
    removed bigint not null default 0 -- since the service began
);

create index dead_letters_closed on fabric.dead_letters (closed_at) where status <> 'open';

-- migrate:down

drop index fabric.dead_letters_closed;
drop table fabric.retention;
