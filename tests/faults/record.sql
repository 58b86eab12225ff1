-- A record that nothing erases: every outbox row, and every delivery of an event to the inbox, each in its own
-- transaction. A row trigger before an insert fires also where the row is there already.
create schema proof;

create table proof.outbox_copy (
    id bigint not null,
    event_id uuid not null,
    topic text not null,
    key text not null,
    payload bytea not null
);

create function proof.copy_outbox() returns trigger language plpgsql as $$
begin
    insert into proof.outbox_copy (id, event_id, topic, key, payload)
    select id, event_id, topic, key, payload
    from written;
    return null;
end $$;

create trigger copy_outbox
after insert on fabric.outbox
referencing new table as written
for each statement execute function proof.copy_outbox();

create table proof.deliveries (
    event_id uuid not null
);

create function proof.note_delivery() returns trigger language plpgsql as $$
begin
    insert into proof.deliveries (event_id) values (new.event_id);
    return new;
end $$;

create trigger note_delivery
before insert on fabric.inbox
for each row execute function proof.note_delivery();
