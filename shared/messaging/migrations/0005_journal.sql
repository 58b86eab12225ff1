-- migrate:up

-- The outbox becomes a journal: rows are added, kept for longer than the topics keep records, and dropped by the day.
alter table fabric.outbox rename to old_outbox;

create table fabric.outbox (
    id bigint generated always as identity,
    day date not null default current_date,
    xid xid8 not null default pg_current_xact_id(), -- tells which commits a snapshot saw
    hash integer, -- of the key, as Kafka's clients hash it: which range of relays has the row
    event_id uuid not null default uuidv7(),
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null,
    primary key (id, day)
) partition by range (day);

create index outbox_xid on fabric.outbox (xid);

create table fabric.outbox_default partition of fabric.outbox default;

do $$
begin
    for ahead in 0..2 loop
        execute format(
            'create table fabric.outbox_%s partition of fabric.outbox for values from (%L) to (%L)',
            to_char(current_date + ahead, 'YYYYMMDD'), current_date + ahead, current_date + ahead + 1
        );
    end loop;
end $$;

-- Of what was not sent yet, the transactions are over: 3 is a transaction that every snapshot has seen.
insert into fabric.outbox (id, xid, event_id, topic, key, headers, payload) overriding system value
select id, '3', event_id, topic, key, headers, payload
from fabric.old_outbox;

select setval(pg_get_serial_sequence('fabric.outbox', 'id'), last_value, is_called)
from fabric.outbox_id_seq;

-- How far the journal is published. A tick's rows are those that `before` had not seen and `upto` has, sent in the order
-- of their ids: ids are not committed in their order, so that no single id could say how far. Rows are only added: what
-- a held snapshot keeps from being vacuumed slows nothing down.
create table fabric.ticks (
    range integer not null,
    epoch integer not null, -- of the database: raised after it was restored to an older state
    no bigint not null,
    done boolean not null default false, -- a second row, once all is sent and nothing more is there
    floor bigint not null, -- rows up to this id are none of it: they are settled, whatever a snapshot says
    before pg_snapshot not null,
    upto pg_snapshot not null,
    low bigint not null, -- the first id, the last one, and the days they are in
    high bigint not null,
    first_day date not null,
    last_day date not null,
    system bigint not null, -- the cluster: elsewhere, snapshots mean nothing
    at timestamptz not null default clock_timestamp(),
    primary key (range, epoch, no, done)
);

insert into fabric.ticks (range, epoch, no, done, floor, before, upto, low, high, first_day, last_day, system)
select 0, 1, 0, count(id) = 0, 0, '3:3:', pg_current_snapshot(), coalesce(min(id), 0), coalesce(max(id), 0),
       current_date, current_date, (select system_identifier from pg_control_system())
from fabric.old_outbox;

drop table fabric.old_outbox;

-- Into how many ranges of keys the journal is divided, each with a relay.
create table fabric.relays (
    one boolean primary key default true check (one),
    ranges integer not null
);

insert into fabric.relays (ranges) values (1);

alter table fabric.relay_lease drop column one;
alter table fabric.relay_lease add column range integer primary key default 0;

-- Which pair of transactional ids is in use: one that the broker cannot bring to an end is left for another.
alter table fabric.relay_lease add column ids integer not null default 0;

-- Rows that the cursor passed and that are not sent: refused by the broker (why), behind a refused one of their key, or
-- of a partition that cannot be written (topic, partition; -1 where there is no such topic).
alter table fabric.held alter column why drop not null;
alter table fabric.held add column topic text;
alter table fabric.held add column partition integer;
alter table fabric.held add column released boolean not null default false;

-- What is in the journal and not yet published; `held` says why, where the broker refused it.
create view fabric.unpublished as
select o.id, o.day, o.event_id, o.topic, o.key, o.headers, o.payload, h.why as held
from fabric.held h
join fabric.outbox o using (id)
union all
select o.id, o.day, o.event_id, o.topic, o.key, o.headers, o.payload, null
from fabric.relays r
cross join lateral generate_series(0, r.ranges - 1) each (range)
cross join lateral (
    select floor, case when done then upto else before end as settled
    from fabric.ticks t
    where t.range = each.range
    order by epoch desc, no desc, done desc
    limit 1
) last
cross join lateral (
    select *
    from fabric.outbox o
    where (o.xid >= pg_snapshot_xmax(settled) or o.xid = any (array(select pg_snapshot_xip(settled))))
      and o.id + 0 > floor -- the sum keeps the planner from looking through all ids
      and coalesce(o.hash, 0) % r.ranges = each.range
    offset 0 -- for one range after the other, by the index on xid
) o
where not exists (select from fabric.held h where h.id = o.id);

-- How much of that there is, counted up to a bound, and since when. By index, however the journal's statistics stand.
create function fabric.waiting(bound integer, out events bigint, out held bigint, out since timestamptz)
language sql stable
set enable_seqscan = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
    select count(*) filter (where w.held is null),
           count(*) filter (where w.held is not null),
           min(uuid_extract_timestamp(event_id))
    from (select u.held, u.event_id from fabric.unpublished u limit bound) w
$$;

-- migrate:down

create table fabric.old_outbox (
    id bigint generated always as identity primary key,
    event_id uuid not null default uuidv7(),
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null
);

insert into fabric.old_outbox overriding system value
select id, event_id, topic, key, headers, payload
from fabric.unpublished;

select setval(pg_get_serial_sequence('fabric.old_outbox', 'id'), greatest(max(id), 1))
from fabric.outbox;

drop function fabric.waiting;
drop view fabric.unpublished;
drop table fabric.ticks;
drop table fabric.relays;
drop table fabric.outbox;
alter table fabric.old_outbox rename to outbox;

delete from fabric.held where why is null;
alter table fabric.held drop column topic, drop column partition, drop column released;
alter table fabric.held alter column why set not null;
delete from fabric.relay_lease where range > 0;
alter table fabric.relay_lease drop column range, drop column ids;
alter table fabric.relay_lease add column one boolean primary key default true check (one);
