-- Our wish to be paid: created -> submitted -> captured | failed | cancelled; submitted -> unknown -> any of these.
-- An order may have several; captures add up to its total; at most one is open at a time.
create table payments (
    festival_id integer not null,
    payment_id uuid not null,
    order_id uuid not null,
    provider text not null,
    status text not null constraint payments_known_status
        check (status in ('created', 'submitted', 'unknown', 'captured', 'failed', 'cancelled')),
    currency text not null,
    amount_minor bigint not null constraint payments_amount_not_negative check (amount_minor >= 0),
    key_hash bytea not null,
    provider_ref text,
    redirect_url text,
    reason text,
    created_at timestamptz not null,
    decide_by timestamptz not null,
    asked_at timestamptz,
    ended_at timestamptz,
    journal_id uuid,
    constraint payments_pkey primary key (festival_id, payment_id),
    constraint payments_order foreign key (festival_id, order_id) references orders,
    constraint payments_end check ((status in ('captured', 'failed', 'cancelled')) = (ended_at is not null))
);

-- Serves the payments of an order, repeated requests, and the limit of five attempts.
create unique index payments_by_order on payments (order_id, festival_id, key_hash);
-- At most one open payment an order.
create unique index payments_one_open on payments (order_id, festival_id) where status in ('created', 'submitted', 'unknown');
-- Serves the reconciliation of undecided payments.
create index payments_undecided on payments (created_at) where status in ('created', 'submitted', 'unknown');

-- What a provider told us, as it came: append-only, one row a notification.
create table provider_events (
    festival_id integer not null,
    provider text not null,
    event_ref text not null,
    payment_id uuid not null,
    outcome text not null,
    received_at timestamptz not null,
    constraint provider_events_pkey primary key (festival_id, provider, event_ref)
);

-- Money back: requested -> submitted -> done | failed. Written where late money finds no stock.
create table refunds (
    festival_id integer not null,
    refund_id uuid not null,
    payment_id uuid not null,
    order_id uuid not null,
    status text not null constraint refunds_known_status check (status in ('requested', 'submitted', 'done', 'failed')),
    currency text not null,
    amount_minor bigint not null constraint refunds_amount_positive check (amount_minor > 0),
    reason text not null,
    requested_at timestamptz not null,
    ended_at timestamptz,
    constraint refunds_pkey primary key (festival_id, refund_id),
    constraint refunds_payment foreign key (festival_id, payment_id) references payments
);

-- Serves the worker that submits refunds.
create index refunds_open on refunds (requested_at) where status in ('requested', 'submitted');

grant select, insert, update on payments, refunds to gatefold_app;
grant select, insert on provider_events to gatefold_app;
grant select on payments, refunds, provider_events to gatefold_promoter;

-- The simulated bank's own books: it behaves like a provider of its own, and it survives us.
create table simulated_intents (
    festival_id integer not null,
    payment_id uuid not null,
    currency text not null,
    amount_minor bigint not null,
    status text not null constraint simulated_intents_known_status check (status in ('pending', 'succeeded', 'declined', 'cancelled')),
    refunded_minor bigint not null,
    constraint simulated_intents_pkey primary key (festival_id, payment_id),
    constraint simulated_intents_refund check (refunded_minor between 0 and amount_minor)
);
grant select, insert, update on simulated_intents to gatefold_app;
