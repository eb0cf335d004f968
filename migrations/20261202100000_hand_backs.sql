-- Tickets that their buyers hand back to the pool at face value: valid until somebody from the waiting list is invited to them, suspended while that lasts,
-- given back when it was paid. Their unit is the pool's from the invitation on.
create table hand_backs (
    festival_id integer not null,
    hand_back_id uuid not null,
    ticket_id uuid not null,
    order_id uuid not null,
    line_no smallint not null,
    component_no smallint not null,
    offer_id uuid not null,
    tier_no smallint not null,
    status text not null constraint hand_backs_known_status check (status in ('open', 'offered', 'sold', 'withdrawn', 'over')),
    -- Whom it was offered to.
    wait_id uuid,
    refund_id uuid,
    asked_at timestamptz not null,
    offered_at timestamptz,
    ended_at timestamptz,
    constraint hand_backs_pkey primary key (festival_id, hand_back_id),
    constraint hand_backs_ticket foreign key (festival_id, ticket_id) references tickets,
    constraint hand_backs_end check ((status in ('sold', 'withdrawn', 'over')) = (ended_at is not null)),
    constraint hand_backs_offer check ((status = 'offered') <= (offered_at is not null)),
    constraint hand_backs_sale check ((status = 'sold') = (refund_id is not null))
);
-- A ticket is handed back once at a time.
create unique index hand_backs_once on hand_backs (ticket_id, festival_id) where status in ('open', 'offered');
-- Serves what a refund returns of it.
create index hand_backs_by_ticket on hand_backs (ticket_id, festival_id);
-- Serves what an offer has in its pool, in the order of coming.
create index hand_backs_pool on hand_backs (offer_id, hand_back_id, festival_id) where status in ('open', 'offered');
-- Serves the page of an order.
create index hand_backs_by_order on hand_backs (order_id, festival_id);
-- Serves whose place it went to.
create index hand_backs_by_wait on hand_backs (wait_id, festival_id) where wait_id is not null;
grant select, insert, update on hand_backs to gatefold_app;
grant select on hand_backs to gatefold_promoter;
alter table hand_backs alter column festival_id set (n_distinct = 3), alter column ticket_id set (n_distinct = -0.9), alter column order_id set (n_distinct = -0.5);

-- Whether tickets may be handed back, and how many hours before the festival first opens that ends. Without a row they may, until a day before.
create table hand_back_rules (
    festival_id integer not null references festivals,
    open boolean not null,
    hours_before integer not null constraint hand_back_rules_hours check (hours_before between 0 and 8760),
    constraint hand_back_rules_pkey primary key (festival_id)
);
grant select on hand_back_rules to gatefold_app, gatefold_promoter;
grant insert, update on hand_back_rules to gatefold_promoter;
