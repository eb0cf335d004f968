-- Codes that lower a price. The code is looked up by a keyed hash and kept sealed: a copy of the database buys nothing cheaper. A use is
-- counted like stock: held with its order, given back with it.
create table vouchers (
    festival_id integer not null references festivals,
    voucher_id uuid not null,
    code_key bytea not null,
    sealed_code bytea not null,
    label text not null,
    percent_off integer constraint vouchers_percent check (percent_off between 1 and 100),
    minor_off bigint constraint vouchers_amount check (minor_off > 0),
    offer_ids uuid[] not null,
    max_uses integer constraint vouchers_most check (max_uses > 0),
    used integer not null,
    opens_at timestamptz,
    closes_at timestamptz,
    created_at timestamptz not null,
    constraint vouchers_pkey primary key (festival_id, voucher_id),
    constraint vouchers_code unique (code_key, festival_id),
    constraint vouchers_one_effect check (num_nonnulls(percent_off, minor_off) = 1),
    constraint vouchers_window check (opens_at < closes_at),
    -- The floor: never more uses than there are.
    constraint vouchers_never_overused check (used >= 0 and (max_uses is null or used <= max_uses))
) with (fillfactor = 20);

alter table orders add column voucher_id uuid;
alter table lines add column discount_minor bigint not null default 0 constraint lines_discount_not_negative check (discount_minor >= 0);

grant select on vouchers to gatefold_app, gatefold_promoter;
grant update (used) on vouchers to gatefold_app;
grant insert, update (label, max_uses, opens_at, closes_at, offer_ids) on vouchers to gatefold_promoter;
