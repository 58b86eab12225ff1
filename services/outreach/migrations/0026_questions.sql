-- migrate:up

-- What patients ask of a pharmacist, until it is answered. The id is that of the contact that calls back.
create table questions (
    question_id uuid primary key,
    patient_id text not null,
    store_id text not null,
    visit_id text,
    asked_at timestamptz not null,
    due_at timestamptz not null, -- answered until then, or it comes before everything else
    sealed bytea, -- the words, where some were written down
    answered_at timestamptz,
    answered_by text,
    outcome text,
    answer_sealed bytea -- what the pharmacist said
);

create index questions_of_store on questions (store_id, due_at) where answered_at is null;
create index questions_of_patient on questions (patient_id);

-- Those that were asked before there was a list: the store has until the end of the next day.
insert into questions (question_id, patient_id, store_id, visit_id, asked_at, due_at)
select contact_id, patient_id, store_id, visit_id, opened_at, opened_at + interval '1 day'
from contacts
where kind = 'question'
  and status = 'open';

alter table questions enable row level security;
create policy within_sight on questions
    using (
        (select fabric.stores_in_sight()) is null
        or store_id = any ((select fabric.stores_in_sight())::text[])
        or exists (
            select
            from places v
            where v.patient_id = questions.patient_id
              and v.store_id = any ((select fabric.stores_in_sight())::text[])
        )
    );

-- migrate:down

drop table questions;
