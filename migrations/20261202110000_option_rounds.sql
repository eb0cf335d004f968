-- A festival is postponed, moved, or loses a day: every paid order is asked what becomes of it until a deadline, and who says nothing gets the default.
create table option_rounds (
    festival_id integer not null references festivals,
    round_no integer not null constraint option_rounds_number check (round_no between 1 and 9),
    kind text not null constraint option_rounds_known_kind check (kind in ('postponed', 'moved', 'lost_day')),
    -- What fans read, by language.
    message jsonb not null,
    may_refund boolean not null,
    -- The share of the price of passes that goes back where it is offered, in parts per million.
    share_ppm integer constraint option_rounds_share check (share_ppm between 1 and 1000000),
    default_choice text not null constraint option_rounds_known_default check (default_choice in ('keep', 'refund', 'share')),
    status text not null constraint option_rounds_known_status check (status in ('open', 'done', 'called_off')),
    opened_at timestamptz not null,
    deadline_at timestamptz not null,
    ended_at timestamptz,
    -- How far the walks came that tell of it and that give silent orders the default.
    told_upto uuid not null,
    decided_upto uuid not null,
    -- When orders were looked for last that were placed before and paid since.
    looked_at timestamptz not null,
    constraint option_rounds_pkey primary key (festival_id, round_no),
    constraint option_rounds_default_is_offered check (default_choice = 'keep' or (default_choice = 'refund' and may_refund) or (default_choice = 'share' and share_ppm is not null)),
    constraint option_rounds_end check ((status = 'open') = (ended_at is null))
);
create unique index option_rounds_one_open on option_rounds (festival_id) where status = 'open';
grant select, insert, update on option_rounds to gatefold_promoter;
grant select, update on option_rounds to gatefold_app;

create table option_answers (
    festival_id integer not null,
    round_no integer not null,
    order_id uuid not null,
    choice text not null constraint option_answers_known_choice check (choice in ('keep', 'refund', 'share')),
    -- Nobody said so: it is the default.
    is_default boolean not null,
    answered_at timestamptz not null,
    -- When it is done, or tried again where something is in the way just now.
    due_at timestamptz not null,
    applied_at timestamptz,
    refund_id uuid,
    -- Why it could not be done.
    problem text,
    constraint option_answers_pkey primary key (festival_id, round_no, order_id),
    constraint option_answers_order foreign key (festival_id, order_id) references orders
);
-- Serves what is to be done.
create index option_answers_due on option_answers (due_at, festival_id) where applied_at is null;
grant select, insert, update on option_answers to gatefold_app;
grant select, update on option_answers to gatefold_promoter;
alter table option_answers alter column festival_id set (n_distinct = 3);
