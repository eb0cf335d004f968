-- Accounts of promoters at payment providers, keys sealed. An account that was disconnected stays: what it took is given back through it.
create table payment_accounts (
    promoter_id uuid not null references promoters,
    account_id uuid not null,
    provider text not null constraint payment_accounts_known_provider check (provider in ('stripe')),
    external_ref text not null,
    is_live boolean not null,
    key_sealed bytea not null,
    key_hint text not null,
    methods text[] not null constraint payment_accounts_some_method check (cardinality(methods) > 0),
    created_at timestamptz not null,
    connected_at timestamptz not null,
    changed_at timestamptz not null,
    disconnected_at timestamptz,
    constraint payment_accounts_pkey primary key (account_id),
    -- One account is one row, however often it is connected.
    constraint payment_accounts_one_row unique (promoter_id, provider, external_ref, is_live)
);

-- What is sold is paid to one account.
create unique index payment_accounts_one_connected on payment_accounts (promoter_id, provider) where disconnected_at is null;

-- What the provider signs its notifications with: several at once while one takes the place of another.
create table payment_account_secrets (
    account_id uuid not null references payment_accounts,
    secret_no smallint not null constraint payment_account_secrets_number check (secret_no > 0),
    secret_sealed bytea not null,
    hint text not null,
    added_at timestamptz not null,
    removed_at timestamptz,
    constraint payment_account_secrets_pkey primary key (account_id, secret_no)
);

grant select on payment_accounts, payment_account_secrets to gatefold_app;
grant select, insert, update on payment_accounts, payment_account_secrets to gatefold_promoter;

-- The account that takes the money of a payment; none for what has no accounts. Nothing refers to it by a foreign key (10-rules 3): `gatefold check` looks.
alter table payments add column account_id uuid;

-- Serves the reconciliation of payments that were given up without a word of their provider.
create index payments_given_up on payments (created_at) where status = 'cancelled';
