-- migrate:up

-- nullable or with a default, so that a process of the version before may still write
alter table visits
    -- from the planner
    add column urgent boolean not null default false,
    add column conditions jsonb, -- of its fills that still lack something: [{rx_id, kind, by, needed_by}]
    add column settled_rx_ids text[], -- its fills that lack nothing, a renewal under the id whose place it took
    -- from outreach
    add column conditional_rx_ids text[], -- confirmed if their condition is met
    -- from fulfillment
    add column not_filled jsonb; -- why fills are not in the package: [reason]

-- migrate:down

alter table visits
    drop column urgent,
    drop column conditions,
    drop column settled_rx_ids,
    drop column conditional_rx_ids,
    drop column not_filled;
