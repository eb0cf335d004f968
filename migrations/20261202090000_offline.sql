-- How fans pay without a provider: money is sent to the account of the promoter, or handed over at the door. An order waits so many days for it, and not
-- longer than so many hours before the festival first opens.
create table offline_methods (
    festival_id integer not null references festivals,
    method text not null constraint offline_methods_known_method check (method in ('bank_transfer', 'on_site')),
    days integer not null constraint offline_methods_days check (days between 1 and 14),
    hours_before integer not null constraint offline_methods_hours check (hours_before between 0 and 2160),
    -- Where the money goes, by language.
    instructions jsonb not null,
    constraint offline_methods_pkey primary key (festival_id, method)
);
grant select on offline_methods to gatefold_app;
grant select, insert, update, delete on offline_methods to gatefold_promoter;

-- Where members sell at the door. Cash has a number without gaps: it is counted here, in the transaction that takes the money.
create table box_offices (
    festival_id integer not null references festivals,
    -- ISO 3166-1: some countries want certified tills.
    country text not null constraint box_offices_country check (country ~ '^[A-Z]{2}$'),
    is_open boolean not null,
    last_receipt integer not null constraint box_offices_receipts check (last_receipt >= 0),
    constraint box_offices_pkey primary key (festival_id)
);
grant select, update (last_receipt) on box_offices to gatefold_app;
grant select, insert, update (country, is_open) on box_offices to gatefold_promoter;

-- What was sold or given away at the door, beside its order.
create table box_office_sales (
    festival_id integer not null,
    order_id uuid not null,
    is_comp boolean not null,
    reason text not null constraint box_office_sales_say_why check (not is_comp or reason <> ''),
    sold_by uuid,
    sold_at timestamptz not null,
    -- No foreign key: what was not paid for is forgotten like every cart, by a function that knows nothing of sales at the door.
    constraint box_office_sales_pkey primary key (festival_id, order_id)
);
grant select, insert on box_office_sales to gatefold_app;
grant select on box_office_sales to gatefold_promoter;
alter table box_office_sales alter column festival_id set (n_distinct = 3);

-- Money that a member took or found on the account, beside its payment.
create table collections (
    festival_id integer not null,
    payment_id uuid not null,
    order_id uuid not null,
    method text not null constraint collections_known_method check (method in ('bank_transfer', 'cash', 'card_terminal')),
    receipt_no integer constraint collections_receipt check ((method = 'cash') = (receipt_no is not null)),
    note text not null,
    collected_by uuid,
    collected_at timestamptz not null,
    constraint collections_pkey primary key (festival_id, payment_id),
    constraint collections_payment foreign key (festival_id, payment_id) references payments
);
-- A number is given once.
create unique index collections_receipts on collections (receipt_no, festival_id) where receipt_no is not null;
-- Serves what an order was paid by.
create index collections_by_order on collections (order_id, festival_id);
grant select, insert on collections to gatefold_app;
grant select on collections to gatefold_promoter;
alter table collections alter column festival_id set (n_distinct = 3), alter column order_id set (n_distinct = -0.9);
