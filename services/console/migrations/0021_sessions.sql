-- migrate:up

-- Who is signed in: by the hash of what their browser holds. The tokens are sealed. No part of the read model.
create table sessions (
    session_hash bytea primary key,
    csrf text not null,
    tokens bytea not null,
    key_id text not null,
    signed_in_at timestamptz not null, -- when the person last proved who they are, as the provider says
    began_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp()
);

create index sessions_seen on sessions (seen_at);

-- migrate:down
drop table sessions;
