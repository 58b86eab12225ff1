-- migrate:up

-- The second wall: whoever is bound to some stores gets no row of a patient of others, whatever the query asks. It binds
-- the role of the service, which owns nothing; views are the owner's, and see all.

alter table patients enable row level security;
create policy within_sight on patients
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
    );

alter table contacts enable row level security;
create policy within_sight on contacts
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = contacts.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table renewals enable row level security;
create policy within_sight on renewals
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = renewals.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table texts enable row level security;
create policy within_sight on texts
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = texts.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

alter table details enable row level security;
create policy within_sight on details
    using (
        (select fabric.stores_in_sight()) is null
        or exists (
            select
            from places v
            where v.patient_id = details.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop policy within_sight on patients;
alter table patients disable row level security;
drop policy within_sight on contacts;
alter table contacts disable row level security;
drop policy within_sight on renewals;
alter table renewals disable row level security;
drop policy within_sight on texts;
alter table texts disable row level security;
drop policy within_sight on details;
alter table details disable row level security;
