-- migrate:up

-- What is past its day is found by these: see store/retention.py.
create index stream_happened_at on stream (coalesce(at, uuid_extract_timestamp(event_id)));

-- migrate:down

drop index stream_happened_at;
