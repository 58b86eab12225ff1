-- migrate:up

-- In which stores a patient is: whose staff reach them.
create view places as
select distinct patient_id, store_id
from work_orders;

-- A lease belongs to who took it; none is said of those taken before.
alter table items add column taken_by text;

-- migrate:down
alter table items drop column taken_by;
drop view places;
