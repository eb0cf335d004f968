-- Rights of entry: days x zones x re-entry rule. The number stands in ticket codes and is never reused.
create table passes (
    festival_id integer not null references festivals,
    pass_id uuid not null,
    pass_number integer not null constraint passes_number_is_two_bytes check (pass_number between 1 and 65535),
    name jsonb not null,
    color text not null constraint passes_color_shape check (color ~ '^#[0-9a-f]{6}$'),
    color_name jsonb not null,
    day_mask integer not null constraint passes_mask_is_two_bytes check (day_mask between 0 and 65535),
    zone_ids uuid[] not null,
    reentry text not null constraint passes_known_reentry check (reentry in ('never', 'after_exit')),
    check_instruction text constraint passes_known_check check (check_instruction in ('age', 'student_card', 'identity', 'companion')),
    constraint passes_pkey primary key (festival_id, pass_id),
    constraint passes_number unique (festival_id, pass_number)
);

-- Anything else handed over; its ticket is collected by a scan. Numbers share the space of passes.
create table add_ons (
    festival_id integer not null references festivals,
    add_on_id uuid not null,
    add_on_number integer not null constraint add_ons_number_is_two_bytes check (add_on_number between 1 and 65535),
    name jsonb not null,
    constraint add_ons_pkey primary key (festival_id, add_on_id),
    constraint add_ons_number unique (festival_id, add_on_number)
);

-- Something scarce. The check is the floor under every sale: never more than there is.
create table stocks (
    festival_id integer not null references festivals,
    stock_id uuid not null,
    name text not null,
    capacity integer,
    held integer not null,
    sold integer not null,
    constraint stocks_pkey primary key (festival_id, stock_id),
    constraint stocks_never_oversold check (held >= 0 and sold >= 0 and (capacity is null or held + sold <= capacity))
) with (fillfactor = 20);

-- What is on sale. Every offer has a stock row of its own (capacity may be null), so placing of it is serial.
create table offers (
    festival_id integer not null references festivals,
    offer_id uuid not null,
    stock_id uuid not null,
    sort smallint not null,
    name jsonb not null,
    about jsonb not null,
    opens_at timestamptz,
    closes_at timestamptz,
    paused jsonb,
    max_per_order integer not null constraint offers_order_limit check (max_per_order between 1 and 100),
    max_per_fan integer constraint offers_fan_limit check (max_per_fan > 0),
    created_at timestamptz not null,
    version integer not null,
    constraint offers_pkey primary key (festival_id, offer_id),
    constraint offers_stock foreign key (festival_id, stock_id) references stocks,
    constraint offers_window check (opens_at < closes_at)
);

-- Other stocks that a unit of the offer takes: several offers on one stock, several stocks of one offer.
create table offer_stocks (
    festival_id integer not null,
    offer_id uuid not null,
    stock_id uuid not null,
    units integer not null constraint offer_stocks_units check (units between 1 and 100),
    constraint offer_stocks_pkey primary key (festival_id, offer_id, stock_id),
    constraint offer_stocks_offer foreign key (festival_id, offer_id) references offers,
    constraint offer_stocks_stock foreign key (festival_id, stock_id) references stocks
);

-- Price steps: by time (until_at) or by count (a stock of their own). The price is what the buyer pays.
create table tiers (
    festival_id integer not null,
    offer_id uuid not null,
    tier_no smallint not null,
    name jsonb not null,
    price_minor bigint not null constraint tiers_price_not_negative check (price_minor >= 0),
    until_at timestamptz,
    stock_id uuid,
    constraint tiers_pkey primary key (festival_id, offer_id, tier_no),
    constraint tiers_offer foreign key (festival_id, offer_id) references offers,
    constraint tiers_stock foreign key (festival_id, stock_id) references stocks
);

-- What an offer is made of: exactly one of pass, release, add-on, with its share of the price and its tax rule.
create table components (
    festival_id integer not null,
    offer_id uuid not null,
    component_no smallint not null,
    pass_id uuid,
    release_id uuid,
    add_on_id uuid,
    promoter_id uuid not null,
    weight integer not null constraint components_weight check (weight between 0 and 1000000000),
    inclusion text not null constraint components_known_inclusion check (inclusion in ('included', 'opt_in')),
    opt_in_minor bigint constraint components_opt_in_price check ((inclusion = 'opt_in') = (opt_in_minor is not null)),
    tax_kind text not null constraint components_known_tax check (tax_kind in ('fixed', 'electronic_service')),
    tax_ppm integer not null constraint components_tax_rate check (tax_ppm between 0 and 1000000),
    constraint components_pkey primary key (festival_id, offer_id, component_no),
    constraint components_one_thing check (num_nonnulls(pass_id, release_id, add_on_id) = 1),
    constraint components_offer foreign key (festival_id, offer_id) references offers,
    constraint components_pass foreign key (festival_id, pass_id) references passes,
    constraint components_add_on foreign key (festival_id, add_on_id) references add_ons,
    constraint components_release foreign key (promoter_id, release_id) references releases (promoter_id, release_id),
    constraint components_same_promoter foreign key (promoter_id, festival_id) references festivals (promoter_id, festival_id)
);

-- What an offer needs beside it: any of a list, at most `per_one` for each of them, in the basket or already held.
create table requirements (
    festival_id integer not null,
    offer_id uuid not null,
    requirement_no smallint not null,
    any_of uuid[] not null,
    per_one integer not null constraint requirements_per_one check (per_one between 1 and 100),
    constraint requirements_pkey primary key (festival_id, offer_id, requirement_no),
    constraint requirements_offer foreign key (festival_id, offer_id) references offers
);

grant select on passes, add_ons, stocks, offers, offer_stocks, tiers, components, requirements to gatefold_app, gatefold_promoter;
grant update (held, sold) on stocks to gatefold_app;
grant insert, update on passes, add_ons, offers to gatefold_promoter;
grant insert, update (name, capacity) on stocks to gatefold_promoter;
grant insert, update, delete on offer_stocks, tiers, components, requirements to gatefold_promoter;
