-- Money back for what an order brought: requested -> submitted -> done | failed -> (again | by hand | withdrawn); requested -> waiting_for_funds -> submitted.
alter table refunds drop constraint refunds_known_status;
alter table refunds add constraint refunds_known_status
    check (status in ('requested', 'submitted', 'waiting_for_funds', 'done', 'failed', 'withdrawn')) not valid;
alter table refunds validate constraint refunds_known_status;
-- A ticket that cost nothing is returned for nothing.
alter table refunds drop constraint refunds_amount_positive;
alter table refunds add constraint refunds_amount_not_negative check (amount_minor >= 0) not valid;
alter table refunds validate constraint refunds_amount_not_negative;
alter table refunds
    add column note text not null default '',
    -- What the promoter keeps of what was returned.
    add column kept_minor bigint not null default 0 constraint refunds_keep_something check (kept_minor >= 0),
    -- The request that asked for it: a repeat gets the same refund.
    add column key_hash bytea,
    add column fingerprint bytea,
    -- The provider knows it by its id and this number: only who decides "again" lets it be paid anew.
    add column round smallint not null default 0,
    add column attempts smallint not null default 0,
    -- When the provider is asked next; a claim of a worker moves it. A server of before writes refunds that are due at once.
    add column due_at timestamptz not null default '-infinity',
    add column provider_ref text,
    add column last_error text,
    add column by_hand boolean not null default false,
    -- The journal that says that it is owed.
    add column owed_journal_id uuid,
    -- The email that tells of its state last: one of before that did not leave yet has nothing to say any more.
    add column letter_id uuid,
    -- When units, tickets and copies came back: once, whatever the provider says later.
    add column returned_at timestamptz;
-- Serves the refunds of an order and repeated requests.
create unique index refunds_by_order on refunds (order_id, festival_id, key_hash);
-- A reason of before is no reason of what was captured: from now on it says that another amount came.
update payments set reason = null where status = 'captured' and reason is not null;
-- Serves the worker that asks providers.
create index refunds_due on refunds (due_at) where status in ('requested', 'submitted', 'waiting_for_funds');
-- Serves the desk: what somebody has to decide.
create index refunds_undecided on refunds (requested_at) where status in ('failed', 'waiting_for_funds', 'withdrawn', 'submitted');
-- Serves the worker that gives back what a server of before did not.
create index refunds_unreturned on refunds (requested_at) where status = 'done' and returned_at is null and reason <> 'late_money';
-- Serves the emails that tell of it.
create unique index refunds_by_letter on refunds (letter_id, festival_id) where letter_id is not null;
drop index refunds_open;

-- What is returned: units of a component, and the money of them; money alone where nothing is returned.
create table refund_items (
    festival_id integer not null,
    refund_id uuid not null,
    line_no smallint not null,
    component_no smallint not null,
    units integer not null constraint refund_items_units check (units >= 0),
    minor bigint not null constraint refund_items_money check (minor >= 0),
    tax_minor bigint not null constraint refund_items_tax check (tax_minor between 0 and minor),
    constraint refund_items_pkey primary key (festival_id, refund_id, line_no, component_no),
    constraint refund_items_refund foreign key (festival_id, refund_id) references refunds
);

-- The tickets that are returned, and what they were before.
create table refund_tickets (
    festival_id integer not null,
    refund_id uuid not null,
    ticket_id uuid not null,
    before_status text not null,
    constraint refund_tickets_pkey primary key (festival_id, refund_id, ticket_id),
    constraint refund_tickets_refund foreign key (festival_id, refund_id) references refunds
);
-- Serves the look whether a ticket is being returned.
create index refund_tickets_by_ticket on refund_tickets (ticket_id, festival_id);

grant select, insert on refund_items, refund_tickets to gatefold_app;
grant select on refund_items, refund_tickets to gatefold_promoter;

-- Units of a line whose last ticket came back: limits per fan count without them.
alter table lines add column returned integer not null default 0;
alter table lines add constraint lines_returned_within check (returned between 0 and quantity) not valid;
grant update (returned) on lines to gatefold_app;

-- A claim ends when its copy is returned.
alter table claims add column ended_at timestamptz;
grant update (ended_at) on claims to gatefold_app;

alter table journals drop constraint journals_known_kind;
alter table journals add constraint journals_known_kind check (kind in ('sale', 'late', 'refund', 'returned', 'withdrawn')) not valid;

-- The simulated bank keeps its refunds by their own numbers, as real ones do.
create table simulated_refunds (
    festival_id integer not null,
    refund_ref text not null,
    payment_id uuid not null,
    amount_minor bigint not null constraint simulated_refunds_something check (amount_minor > 0),
    status text not null constraint simulated_refunds_known_status check (status in ('pending', 'succeeded', 'failed')),
    constraint simulated_refunds_pkey primary key (festival_id, refund_ref),
    constraint simulated_refunds_intent foreign key (festival_id, payment_id) references simulated_intents
);
grant select, insert, update on simulated_refunds to gatefold_app;

-- A new festival looks empty to statistics (see the plans): these tables are planned for as if it had a third of them.
alter table refund_items alter column festival_id set (n_distinct = 3);
alter table refund_tickets alter column festival_id set (n_distinct = 3);
alter table simulated_refunds alter column festival_id set (n_distinct = 3);
