-- The promise: held -> paid -> partly_refunded -> refunded, or held -> expired | cancelled. The status of an order is the
-- state of its hold: allocations have none of their own.
create table orders (
    festival_id integer not null,
    order_id uuid not null,
    status text not null constraint orders_known_status
        check (status in ('held', 'part_paid', 'paid', 'partly_refunded', 'refunded', 'expired', 'cancelled', 'unfulfillable')),
    email text not null,
    email_key text not null,
    buyer_name text not null,
    language text not null,
    currency text not null,
    total_minor bigint not null constraint orders_total_not_negative check (total_minor >= 0),
    key_hash bytea not null,
    fingerprint bytea not null,
    link_generation smallint not null,
    -- How many payments were tried while it was held: an order without any is paid without a look at the payments.
    payment_count smallint not null constraint orders_payment_attempts check (payment_count between 0 and 5),
    placed_at timestamptz not null,
    held_until timestamptz not null,
    paid_at timestamptz,
    ended_at timestamptz,
    constraint orders_pkey primary key (festival_id, order_id),
    -- A random unique index: it is what makes a repeated request harmless. 16 bytes a row.
    -- The festival stands last in every index beside the primary key of a table that grows: while the table is new and has no
    -- statistics, two indexes that begin with the festival cost the planner the same, it may take the wrong one, and a plan
    -- (of a foreign key's check, too) is kept (measured: 725 sales a second fell to 170 within 4,500 orders).
    constraint orders_key unique (key_hash, festival_id),
    constraint orders_moments check (
        (status in ('paid', 'partly_refunded', 'refunded')) = (paid_at is not null)
        and (status in ('expired', 'cancelled', 'refunded', 'unfulfillable')) = (ended_at is not null)
    )
    -- An order changes once in its life. No index names what changes, and half of every page is left for the second version, so
    -- that paying touches no index. Expiry walks the primary key instead: ids begin with the moment of placing.
) with (fillfactor = 50);

-- Serves limits per fan, and the search of the dashboard by address. Case-folded addresses: not random within a rush.
create index orders_by_address on orders (email_key, festival_id);

-- One offer at one tier x quantity, with everything that was decided then: price, shares and tax are frozen here.
create table lines (
    festival_id integer not null,
    order_id uuid not null,
    line_no smallint not null,
    offer_id uuid not null,
    tier_no smallint not null,
    quantity integer not null constraint lines_quantity_positive check (quantity > 0),
    unit_minor bigint not null constraint lines_price_not_negative check (unit_minor >= 0),
    shares jsonb not null,
    constraint lines_pkey primary key (festival_id, order_id, line_no),
    constraint lines_order foreign key (festival_id, order_id) references orders
);

-- Stock that an order takes, while it is held and after it is paid.
create table allocations (
    festival_id integer not null,
    order_id uuid not null,
    stock_id uuid not null,
    quantity integer not null constraint allocations_not_negative check (quantity >= 0),
    constraint allocations_pkey primary key (festival_id, order_id, stock_id),
    constraint allocations_order foreign key (festival_id, order_id) references orders
);

grant select, insert, update on orders, allocations to gatefold_app;
grant select, insert on lines to gatefold_app;
grant select on orders, lines, allocations to gatefold_promoter;
