-- migrate:up

-- The second wall: whoever is bound to some stores gets no row of a patient of others, whatever the query asks. It binds
-- the role of the service, which owns nothing; views are the owner's, and see all.

alter table work_orders enable row level security;
create policy within_sight on work_orders
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = work_orders.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop policy within_sight on work_orders;
alter table work_orders disable row level security;
