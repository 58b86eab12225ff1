-- migrate:up

-- nullable, so that a process of the version before may still write; known from each store's next word on
alter table stores
    add column delivery_weekdays smallint[], -- 0 is Monday; none: it delivers on every open day
    add column lead_days integer; -- more than the chain's until a package can be ready

-- migrate:down

alter table stores
    drop column delivery_weekdays,
    drop column lead_days;
