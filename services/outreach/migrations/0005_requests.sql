-- migrate:up

-- One request holds all that is open with a prescriber for a patient: while one is out, the next waits.
create or replace view due_renewals as
select r.patient_id, r.due_at
from renewals r
join patients p using (patient_id)
where r.status = 'open'
  and r.lease_id is null
  and r.due_at is not null
  and p.enrolled
  and not exists (
      select
      from renewals asked
      where asked.patient_id = r.patient_id
        and asked.prescriber_id = r.prescriber_id
        and asked.status = 'open'
        and asked.lease_id is not null
  );

-- migrate:down

create or replace view due_renewals as
select r.patient_id, r.due_at
from renewals r
join patients p using (patient_id)
where r.status = 'open'
  and r.lease_id is null
  and r.due_at is not null
  and p.enrolled;
