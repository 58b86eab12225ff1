-- migrate:up

-- the prescription that a line is about, where it is about one; a rebuild fills in the lines that are older
alter table stream add column rx_id text;

-- migrate:down

alter table stream drop column rx_id;
