-- migrate:up

-- the plan that stands, beside the patient: lists of a store are found without opening every plan. What a process of
-- the release before writes meanwhile lacks it until the patient's next plan, or a rebuild
alter table patients
    add column plan_status text,
    add column cycle integer,
    add column anchor_on date;

update patients p
set plan_status = l.status,
    cycle = (l.content ->> 'cycle')::integer,
    anchor_on = (l.content ->> 'anchor_on')::date
from plans l
where l.patient_id = p.patient_id
  and l.revision = p.plan_revision;

create index patients_to_agree on patients (store_id, anchor_on, patient_id)
where plan_status = 'proposed' and status = 'enrolled';

-- migrate:down

drop index patients_to_agree;
alter table patients drop column plan_status, drop column cycle, drop column anchor_on;
