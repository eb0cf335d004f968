-- A ticket that is passed on: sent by an email, valid and the sender's until it is accepted; then it is another holder's under another code.
create table transfers (
    festival_id integer not null,
    transfer_id uuid not null,
    ticket_id uuid not null,
    status text not null constraint transfers_known_status check (status in ('sent', 'accepted', 'declined', 'recalled', 'lapsed')),
    from_name text not null,
    -- The links of before open nothing after it was accepted but a page that says so.
    from_link_generation smallint not null,
    to_name text not null,
    to_email text not null,
    language text not null,
    sent_at timestamptz not null,
    ended_at timestamptz,
    constraint transfers_pkey primary key (festival_id, transfer_id),
    constraint transfers_ticket foreign key (festival_id, ticket_id) references tickets,
    constraint transfers_end check ((status = 'sent') = (ended_at is null))
);
-- Serves the transfers of a ticket; one is open at a time.
create unique index transfers_one_sent on transfers (ticket_id, festival_id) where status = 'sent';
create index transfers_by_ticket on transfers (ticket_id, festival_id);
grant select, insert, update on transfers to gatefold_app;
grant select on transfers to gatefold_promoter;
alter table transfers alter column festival_id set (n_distinct = 3), alter column ticket_id set (n_distinct = -0.5);

-- A copy of an album that went with its ticket: whoever ordered it has it no more.
alter table claims add column transfer_id uuid;
-- The link of whoever claimed it: after a transfer the copy stays theirs. A server of before does not say; then it was whoever had the ticket first.
alter table claims add column link_generation smallint;

-- Whether tickets may be passed on, and how many hours before they first open a gate that ends; without hours when they open none any more. Without a row
-- they may. Tables of their own: a server of before that runs beside reads all columns of tickets and festivals, and knows which there are.
create table transfer_rules (
    festival_id integer not null references festivals,
    open boolean not null,
    hours_before integer constraint transfer_rules_hours check (hours_before between 0 and 8760),
    constraint transfer_rules_pkey primary key (festival_id)
);
grant select on transfer_rules to gatefold_app, gatefold_promoter;
grant insert, update on transfer_rules to gatefold_promoter;
