-- A fan's right to a release: one row a line and component, with how many copies and how many were claimed.
create table entitlements (
    festival_id integer not null,
    entitlement_id uuid not null,
    order_id uuid not null,
    line_no smallint not null,
    component_no smallint not null,
    release_id uuid not null,
    copies integer not null constraint entitlements_copies check (copies >= 0),
    claimed integer not null constraint entitlements_claimed check (claimed between 0 and copies),
    first_taken_at timestamptz,
    constraint entitlements_pkey primary key (festival_id, entitlement_id),
    constraint entitlements_order foreign key (festival_id, order_id) references orders
);

-- Serves the albums of an order.
create index entitlements_by_order on entitlements (order_id, festival_id);

grant select, insert, update on entitlements to gatefold_app;
grant select on entitlements to gatefold_promoter;

-- One copy that a holder took with their ticket. Unclaimed copies travel with a transfer, claimed ones stay.
create table claims (
    festival_id integer not null,
    entitlement_id uuid not null,
    ticket_id uuid not null,
    claimed_at timestamptz not null,
    constraint claims_pkey primary key (festival_id, entitlement_id, ticket_id),
    constraint claims_entitlement foreign key (festival_id, entitlement_id) references entitlements
);

grant select, insert on claims to gatefold_app;
grant select on claims to gatefold_promoter;
