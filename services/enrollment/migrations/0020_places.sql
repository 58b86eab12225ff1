-- migrate:up

-- In which stores a patient is: whose staff reach them.
create view places as
select patient_id, store_id
from patients;

-- migrate:down
drop view places;
