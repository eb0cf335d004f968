-- What a provider says of a day, held against what we say of it.
create table comparisons (
    account_id uuid not null references payment_accounts,
    day date not null,
    begun_at timestamptz not null,
    done_at timestamptz,
    payments bigint not null default 0,
    refunds bigint not null default 0,
    constraint comparisons_pkey primary key (account_id, day)
);

-- What differs, until somebody looked at it or it is so no more.
create table differences (
    festival_id integer not null,
    difference_id uuid not null,
    account_id uuid not null,
    day date not null,
    kind text not null constraint differences_known_kind check (kind in ('payment_only_there', 'payment_only_here', 'payment_amount', 'refund_only_there')),
    provider_ref text not null,
    payment_id uuid not null,
    currency text not null,
    ours_minor bigint not null,
    theirs_minor bigint not null,
    found_at timestamptz not null,
    cleared_at timestamptz,
    note text not null default '',
    constraint differences_pkey primary key (festival_id, difference_id)
);
-- The same difference is one row, however often it is found.
create unique index differences_once on differences (payment_id, kind, provider_ref, festival_id);
-- Serves the page of what differs.
create index differences_open on differences (found_at) where cleared_at is null;

grant select, insert, update on comparisons to gatefold_app;
grant select, insert on differences to gatefold_app;
grant select on comparisons to gatefold_promoter;
grant select on differences to gatefold_promoter;
grant update (cleared_at, note) on differences to gatefold_app, gatefold_promoter;

-- Serves the comparison: the payments that an account took on a day.
create index payments_by_account on payments (account_id, created_at) where account_id is not null;
