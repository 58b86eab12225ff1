-- migrate:up

-- Who migrates owns the tables; a service's own role owns nothing, and has its partitions made and dropped by these. They
-- run as the owner, and by the catalog alone whatever the caller's search path is.

create function fabric.make_partition(parent text, by_column text, partition text, low text, high text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if parent not in ('inbox', 'outbox') or not starts_with(partition, parent || '_') then
        raise 'no partition of the inbox or the outbox: %', partition;
    end if;
    if to_regclass(format('fabric.%I', partition)) is not null then
        return; -- another process was faster
    end if;
    -- `create table … partition of` would fail for ever on one row in the default one. And an insert that chose the
    -- default one before, and waits for it meanwhile, would fail as if its row were at fault: so inserts wait for the
    -- table itself.
    execute format('lock table fabric.%I in share row exclusive mode', parent);
    execute format('create table fabric.%I (like fabric.%I including all excluding identity)', partition, parent);
    execute format(
        $move$
            with moved as (
                delete from fabric.%1$I
                where %2$I >= %3$L
                  and %2$I < %4$L
                returning *
            )
            insert into fabric.%5$I
            select * from moved
        $move$,
        parent || '_default', by_column, low, high, partition
    );
    execute format(
        'alter table fabric.%I attach partition fabric.%I for values from (%L) to (%L)', parent, partition, low, high
    );
end
$$;

create function fabric.drop_partition(partition text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent in ('fabric.inbox'::regclass, 'fabric.outbox'::regclass)
          and c.relname = partition
          and partition not in ('inbox_default', 'outbox_default')
    ) then
        execute format('drop table fabric.%I', partition);
    end if;
end
$$;

-- migrate:down

drop function fabric.make_partition(text, text, text, text, text);
drop function fabric.drop_partition(text);
