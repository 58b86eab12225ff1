-- migrate:up

-- The second wall: whoever is bound to some stores gets no row of a patient of others, whatever the query asks. It binds
-- the role of the service, which owns nothing; views are the owner's, and see all.

alter table patients enable row level security;
create policy within_sight on patients
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
    );

alter table visits enable row level security;
create policy within_sight on visits
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = visits.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table sealed_details enable row level security;
create policy within_sight on sealed_details
    using (
        (select fabric.stores_in_sight()) is null
        or exists (
            select
            from places v
            where v.patient_id = sealed_details.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop policy within_sight on patients;
alter table patients disable row level security;
drop policy within_sight on visits;
alter table visits disable row level security;
drop policy within_sight on sealed_details;
alter table sealed_details disable row level security;
