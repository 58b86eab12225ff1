-- migrate:up

-- The second wall: whoever is bound to some stores gets no row of a patient of others, whatever the query asks. It binds
-- the role of the service, which owns nothing; views are the owner's, and see all.

alter table patients enable row level security;
create policy within_sight on patients
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
    );

alter table candidates enable row level security;
create policy within_sight on candidates
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = candidates.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table people enable row level security;
create policy within_sight on people
    using (
        (select fabric.stores_in_sight()) is null
        or exists (
            select
            from places v
            where v.patient_id = people.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop policy within_sight on patients;
alter table patients disable row level security;
drop policy within_sight on candidates;
alter table candidates disable row level security;
drop policy within_sight on people;
alter table people disable row level security;
