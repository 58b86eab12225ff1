-- migrate:up

-- The lives of this database. One begins where it was put back to an older state, after `medsync recovered`: what it
-- publishes from then on goes before all that it published and no longer knows.
create table fabric.incarnations (
    epoch integer primary key,
    since timestamptz not null default clock_timestamp(),
    by text not null,
    why text not null,
    known bigint not null -- the last id of the outbox before; of the first life, before the outbox was a journal
);

insert into fabric.incarnations (epoch, by, why, known)
select 1, 'system', 'the first', coalesce(min(id) - 1, pg_sequence_last_value(
    pg_get_serial_sequence('fabric.outbox', 'id')::regclass), 0)
from fabric.outbox;

-- What revisions of this life are counted from. A row that is new here may be one that readers know, and that was lost.
create function fabric.first_revision() returns bigint
language sql stable
return (select max(epoch) - 1 from fabric.incarnations)::bigint << 32;

-- migrate:down

drop function fabric.first_revision;
drop table fabric.incarnations;
