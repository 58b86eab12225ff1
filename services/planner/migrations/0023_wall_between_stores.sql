-- migrate:up

-- The second wall: whoever is bound to some stores gets no row of a patient of others, whatever the query asks. It binds
-- the role of the service, which owns nothing; views are the owner's, and see all.

alter table patients enable row level security;
create policy within_sight on patients
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
    );

alter table plans enable row level security;
create policy within_sight on plans
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = plans.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table rulings enable row level security;
create policy within_sight on rulings
    using (
        (select fabric.stores_in_sight()) is null
        or exists (
            select
            from places v
            where v.patient_id = rulings.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop policy within_sight on patients;
alter table patients disable row level security;
drop policy within_sight on rulings;
alter table rulings disable row level security;
drop policy within_sight on plans;
alter table plans disable row level security;
