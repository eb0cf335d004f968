-- What the later kinds of vouchers say stands beside them: servers of before read whole rows of `vouchers`. A voucher without a row here lowers a
-- price and nothing else.
create table voucher_rules (
    festival_id integer not null,
    voucher_id uuid not null,
    -- The price that a unit has with it; the third effect beside percent_off and minor_off.
    price_minor bigint constraint voucher_rules_price check (price_minor >= 0),
    max_per_fan integer constraint voucher_rules_per_fan check (max_per_fan > 0),
    budget_minor bigint constraint voucher_rules_budget check (budget_minor > 0),
    -- Counted only where there is a budget: held with its order, given back with it.
    spent_minor bigint not null,
    opens boolean not null,
    -- How many addresses its list has; without a list it is for everybody.
    listed integer constraint voucher_rules_list check (listed >= 0),
    batch_id uuid,
    constraint voucher_rules_pkey primary key (festival_id, voucher_id),
    constraint voucher_rules_voucher foreign key (festival_id, voucher_id) references vouchers,
    -- The floor: never more than the budget.
    constraint voucher_rules_never_overspent check (spent_minor >= 0 and (budget_minor is null or spent_minor <= budget_minor))
) with (fillfactor = 20);

-- The vouchers of a batch are listed by it.
create index voucher_rules_batch on voucher_rules (batch_id, voucher_id) where batch_id is not null;

create table voucher_batches (
    festival_id integer not null references festivals,
    batch_id uuid not null,
    label text not null,
    size integer not null constraint voucher_batches_size check (size > 0),
    created_at timestamptz not null,
    -- What makes asking again harmless: hashes over caller and key, and over what is asked.
    key_hash bytea not null,
    fingerprint bytea not null,
    constraint voucher_batches_pkey primary key (festival_id, batch_id),
    constraint voucher_batches_key unique (festival_id, key_hash)
);

-- Who a voucher is for: keyed hashes of addresses, so that a copy of the database names nobody. Random by their nature, written by hand, never
-- on the way of a sale.
create table voucher_addresses (
    festival_id integer not null,
    voucher_id uuid not null,
    address_key bytea not null,
    constraint voucher_addresses_pkey primary key (festival_id, voucher_id, address_key),
    constraint voucher_addresses_voucher foreign key (festival_id, voucher_id) references vouchers
);

-- A voucher that opens an offer or names a price takes neither percent nor amount.
alter table vouchers drop constraint vouchers_one_effect;
alter table vouchers add constraint vouchers_one_effect check (num_nonnulls(percent_off, minor_off) <= 1) not valid;

-- An offer that pages and lists do not show: a voucher opens it.
alter table offers add column hidden boolean not null default false;

grant select on voucher_rules, voucher_batches, voucher_addresses to gatefold_app, gatefold_promoter;
grant update (spent_minor) on voucher_rules to gatefold_app;
grant insert, update (max_per_fan, budget_minor, listed) on voucher_rules to gatefold_promoter;
grant insert, update (label) on voucher_batches to gatefold_promoter;
grant insert, delete on voucher_addresses to gatefold_promoter;
