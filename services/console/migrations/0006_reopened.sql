-- migrate:up

-- What was ready may wait for a pharmacist again; who was a candidate may be none any more.
alter table visits
    drop constraint visits_package_check,
    add constraint visits_package_check check (package in ('ready', 'to_verify', 'picked_up', 'returned'));

alter table patients
    drop constraint patients_status_check,
    add constraint patients_status_check check (status in ('candidate', 'no_candidate', 'enrolled', 'left'));

-- migrate:down

update visits set package = null where package = 'to_verify';
update patients set status = null where status = 'no_candidate';

alter table visits
    drop constraint visits_package_check,
    add constraint visits_package_check check (package in ('ready', 'picked_up', 'returned'));

alter table patients
    drop constraint patients_status_check,
    add constraint patients_status_check check (status in ('candidate', 'enrolled', 'left'));
