-- migrate:up

-- What is past its day is found by these: see store/retention.py.
create index fills_handed_over_on on fills (handed_over_on);

-- migrate:down

drop index fills_handed_over_on;
