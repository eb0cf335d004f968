-- One issued right of entry of one holder: valid -> suspended -> void; valid -> exchanged. The code is a pure function of
-- the row and the festival's private key, so it is not stored.
create table tickets (
    festival_id integer not null,
    ticket_id uuid not null,
    order_id uuid not null,
    line_no smallint not null,
    component_no smallint not null,
    unit_no integer not null,
    kind text not null constraint tickets_known_kind check (kind in ('pass', 'add_on')),
    status text not null constraint tickets_known_status check (status in ('valid', 'suspended', 'exchanged', 'void')),
    -- 24 bits of coarse time and 40 random bits.
    ticket_number bigint not null,
    generation smallint not null constraint tickets_generation_is_a_byte check (generation between 0 and 255),
    key_id smallint not null,
    pass_number integer not null,
    day_mask integer not null,
    not_after timestamptz not null,
    holder_name text not null,
    holder_email text,
    link_generation smallint not null,
    claimed_at timestamptz,
    position bigint not null,
    constraint tickets_pkey primary key (festival_id, ticket_id),
    constraint tickets_number unique (ticket_number, festival_id),
    constraint tickets_order foreign key (festival_id, order_id) references orders
);

-- Serves the tickets of an order.
create index tickets_by_order on tickets (order_id, festival_id);
-- Serves the feed that gates follow. An expression, so that no look-up by id may take it for the primary key (see orders_key).
create index tickets_by_position on tickets ((festival_id::bigint), position);

grant select, insert, update on tickets to gatefold_app;
grant select on tickets to gatefold_promoter;
