-- migrate:up

-- In which stores a patient is: whose staff reach them.
create view places as
select patient_id, store_id
from patients;

-- A lease belongs to who took it; none is said of those taken before.
alter table attempts add column taken_by text;

-- migrate:down
alter table attempts drop column taken_by;
drop view places;
