-- migrate:up

-- nullable, so that a process of the version before may still write
alter table consents
    add column amended_at timestamptz, -- null: stands as it was given
    add column contact_agreed_at timestamptz, -- a stop of before counts no longer; null: given_at
    add column how text, -- of the newest word: paper, phone, in_person; null: not said
    add column document_id text;

-- what each consent said from when on: rows are added, never changed; consents holds what is in force
create table consent_history (
    entry_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    valid_from timestamptz not null,
    change text not null, -- given, amended, opted_out, ended
    recorded_by text not null,
    recorded_as text not null, -- the role
    how text,
    document_id text,
    scope text[] not null,
    channels text[] not null,
    language text not null,
    caregiver boolean not null,
    standing_instruction boolean not null,
    cycle_policy text,
    must_weekdays smallint[] not null,
    preferred_weekday smallint
);

create index consent_history_by_patient on consent_history (patient_id, entry_id);

-- as far as it is known: what opt-outs changed before is in the newest row
insert into consent_history (
    patient_id, valid_from, change, recorded_by, recorded_as, scope, channels, language, caregiver,
    standing_instruction, cycle_policy, must_weekdays, preferred_weekday
)
select
    c.patient_id, word.valid_from, word.change, word.recorded_by, word.recorded_as, c.scope, c.channels, c.language,
    c.caregiver, c.standing_instruction, c.cycle_policy, c.must_weekdays, c.preferred_weekday
from consents c
cross join lateral (
    values
        (c.given_at, 'given', c.recorded_by, c.recorded_as),
        (c.ended_at, 'ended', c.ended_by, 'unknown')
) as word (valid_from, change, recorded_by, recorded_as)
where word.valid_from is not null
order by c.consent_id, word.valid_from;

-- what candidates answered; the newest row of each counts
create table candidate_answers (
    answer_id bigint generated always as identity primary key,
    patient_id text not null references patients,
    answer text not null, -- declined, not_now
    answered_on date not null, -- where the store is
    ask_again_on date, -- null: never by itself
    recorded_at timestamptz not null,
    recorded_by text not null,
    recorded_as text not null -- the role
);

create index candidate_answers_by_patient on candidate_answers (patient_id, answer_id);

-- migrate:down

drop table candidate_answers, consent_history;
alter table consents
    drop column amended_at,
    drop column contact_agreed_at,
    drop column how,
    drop column document_id;
