-- migrate:up

-- Names, numbers and addresses, sealed with a key of each patient's own (fabric.data_keys). What stood in clear is sealed
-- as the service starts, and these columns stay empty. Every other column `number` holds a blind index from then on:
-- equal ones for equal numbers, and nothing that could be dialed.
alter table details
    add column sealed bytea,
    add column has_address boolean not null default false,
    alter column given_name drop not null,
    alter column family_name drop not null,
    alter column address drop not null;

-- The number that went out with a lease, sealed; and a message with the number that it came from.
alter table lent_numbers
    add column sealed bytea,
    alter column number drop not null;
alter table texts alter column key_id drop not null;

-- migrate:down

-- What is sealed cannot be opened here: `medsync republish enrollment` brings it again. Stops of numbers are lost.
delete from phones where patient_id in (select patient_id from details where sealed is not null);
delete from details where sealed is not null;
delete from lent_numbers where number is null;
delete from stopped_numbers where number not like '+%';
delete from number_opt_outs where number not like '+%';
delete from texts where key_id is null;
alter table texts alter column key_id set not null;
alter table lent_numbers
    drop column sealed,
    alter column number set not null;
alter table details
    drop column sealed,
    drop column has_address,
    alter column given_name set not null,
    alter column family_name set not null,
    alter column address set not null;
