-- migrate:up

-- What is past its day is found by these: see store/retention.py.
create index answers_at on answers (answered_at);

-- migrate:down

drop index answers_at;
