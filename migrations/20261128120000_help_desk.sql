-- What the help desk made of somebody whom a gate had sent there. Whoever comes in later needs none: the case is closed by that.
create table help_desk_decisions (
    festival_id integer not null,
    ticket_id uuid not null,
    decided_at timestamptz not null,
    outcome text not null constraint help_desk_decisions_known_outcome check (outcome in ('solved', 'sent_away')),
    note text not null,
    decided_by uuid not null,
    constraint help_desk_decisions_pkey primary key (festival_id, ticket_id, decided_at),
    constraint help_desk_decisions_ticket foreign key (festival_id, ticket_id) references tickets
);
grant select, insert on help_desk_decisions to gatefold_app, gatefold_promoter;

-- Serves the cases of the help desk.
create index scans_checked on scans ((festival_id::bigint), decided_at) where verdict = 'check';
