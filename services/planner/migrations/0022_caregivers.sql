-- migrate:up

-- Who acts for a patient, as enrollment says it.
create table caregivers (
    patient_id text primary key,
    revision bigint not null,
    caregiver_ids text[] not null -- opaque: by which the identity provider knows them
);

-- Of whom somebody is a caregiver now: whom they reach.
create view caregiving as
select patient_id, unnest(caregiver_ids) as caregiver_id
from caregivers;

-- migrate:down

drop view caregiving;
drop table caregivers;
