-- migrate:up

-- When the lease was taken or renewed. If that lies ahead, machine time was set back, and `until` means nothing.
alter table fabric.relay_lease add column renewed timestamptz not null default '-infinity';

-- migrate:down

alter table fabric.relay_lease drop column renewed;
