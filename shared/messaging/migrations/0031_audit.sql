-- migrate:up

-- Who did what, who was refused, and who saw whom: rows are added, and neither changed nor deleted. A command's row is of
-- the command's own transaction. The service's role may add what it knows of a request; number, transaction and moment
-- are the database's (deploy/local/databases.py has the grants).
create table fabric.audit (
    id bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(), -- tells which commits a snapshot saw
    at timestamptz not null default clock_timestamp(),
    actor text not null, -- empty: nobody was signed in
    kind text not null, -- person or service
    role text not null, -- in which they acted
    store_id text, -- that was asked about, else the caller's own where they have one
    patients text[] not null, -- whom it changed, or whom the answer named
    route text not null, -- its template
    outcome text not null, -- done, repeated, or the code of the refusal
    reason bytea, -- the digest of what the person gave as a reason
    trace text,
    correlation text,
    times integer not null -- so often, where nobody was signed in
);

create index audit_xid on fabric.audit (xid);
create index audit_actor on fabric.audit (actor, id);
-- A short list of what is not sorted in yet: else who fills it up waits until all is.
create index audit_patients on fabric.audit using gin (patients) with (gin_pending_list_limit = 256);

-- The reasons, sealed: they are sealed anew when keys change, and can be forgotten, and the rows stay as they are.
create table fabric.audit_reasons (
    digest bytea primary key,
    key_id text not null,
    sealed bytea not null
);

-- The rows in the order in which they were found to be committed, each with a hash of itself and of the one before. The
-- last of each turn has a seal: whoever changes what is before it would have to make another one.
create table fabric.audit_chain (
    position bigint primary key,
    row_id bigint not null unique,
    hash bytea not null,
    sealed_at timestamptz,
    key_id text,
    seal bytea,
    upto pg_snapshot, -- all that this snapshot has seen is chained
    system bigint, -- of which cluster it is: elsewhere, snapshots mean nothing
    floor bigint, -- rows up to this id are chained, whatever a snapshot says
    check (num_nonnulls(sealed_at, key_id, seal, system, floor) in (0, 5)),
    check (upto is null or seal is not null)
);

create index audit_chain_seals on fabric.audit_chain (position) where seal is not null;

-- migrate:down

drop table fabric.audit_chain;
drop table fabric.audit_reasons;
drop table fabric.audit;
