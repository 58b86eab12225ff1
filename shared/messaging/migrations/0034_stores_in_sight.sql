-- migrate:up

-- Of which stores a transaction sees the patients, as it said itself; null: of all. The policies of a service's tables ask
-- it, once a statement. Who says nothing sees all: handlers, due work, and processes of before.
create function fabric.stores_in_sight() returns text[]
language sql stable parallel safe
return case
    when starts_with(current_setting('medsync.stores', true), '[')
    then array(select jsonb_array_elements_text(current_setting('medsync.stores', true)::jsonb))
end;

-- migrate:down

drop function fabric.stores_in_sight();
