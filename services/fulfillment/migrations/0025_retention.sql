-- migrate:up

-- What is past its day is found by these: see store/retention.py.
create index work_orders_visit_on on work_orders (visit_on);
create index confirmations_by_visit on confirmations (visit_id);

-- migrate:down

drop index confirmations_by_visit;
drop index work_orders_visit_on;
