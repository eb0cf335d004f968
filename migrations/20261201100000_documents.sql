-- Invoices and credit notes: numbered without gaps per festival, by a worker, frozen when they are numbered.
create table invoicing (
    festival_id integer not null references festivals,
    mode text not null constraint invoicing_mode check (mode in ('always', 'on_request', 'off')),
    -- What the numbers begin with.
    prefix text not null constraint invoicing_prefix check (prefix ~ '^[A-Z0-9][A-Z0-9-]{0,15}$'),
    seller jsonb not null,
    -- The last number of each series; its lock makes the series serial.
    last_invoice bigint not null,
    last_credit_note bigint not null,
    constraint invoicing_pkey primary key (festival_id)
);

-- No two festivals of one seller share a prefix, not even one that is used no more.
create table invoice_prefixes (
    promoter_id uuid not null references promoters,
    prefix text not null,
    taken_by integer not null references festivals,
    constraint invoice_prefixes_pkey primary key (promoter_id, prefix)
);

-- Orders whose documents are to be looked at: a row a batch of sales or a refund, in the transaction that they are about, gone when it was done.
create table documents_due (
    festival_id integer not null,
    due_id uuid not null,
    order_ids uuid[] not null,
    constraint documents_due_pkey primary key (festival_id, due_id)
);
create index documents_due_oldest on documents_due (due_id);

create table documents (
    festival_id integer not null,
    document_id uuid not null,
    kind text not null constraint documents_known_kind check (kind in ('invoice', 'credit_note')),
    number bigint not null constraint documents_number check (number > 0),
    -- As it is printed: prefix and number.
    full_number text not null,
    order_id uuid not null,
    refund_id uuid,
    issued_at timestamptz not null,
    currency text not null,
    total_minor bigint not null,
    content jsonb not null,
    constraint documents_pkey primary key (festival_id, document_id),
    constraint documents_gapless unique (number, kind, festival_id),
    constraint documents_of_refunds check ((kind = 'credit_note') = (refund_id is not null))
);
-- One invoice an order, one credit note a refund; and what an order has.
create unique index documents_one_invoice on documents (order_id, festival_id) where kind = 'invoice';
create unique index documents_one_credit_note on documents (refund_id, festival_id) where refund_id is not null;
create index documents_of_order on documents (order_id, festival_id);

-- Who an invoice is for, where the buyer said so. Goes with its order.
create table billing (
    festival_id integer not null,
    order_id uuid not null,
    details jsonb not null,
    changed_at timestamptz not null,
    constraint billing_pkey primary key (festival_id, order_id),
    constraint billing_order foreign key (festival_id, order_id) references orders on delete cascade
);

alter table documents alter column festival_id set (n_distinct = 3);
alter table billing alter column festival_id set (n_distinct = 3);

grant select, update (last_invoice, last_credit_note) on invoicing to gatefold_app;
grant select, insert, update (mode, prefix, seller) on invoicing to gatefold_promoter;
grant select, insert on invoice_prefixes to gatefold_promoter;
-- Whoever takes an entry locks it first.
grant select, insert, update, delete on documents_due to gatefold_app;
grant select, insert on documents to gatefold_app;
grant select on documents, billing to gatefold_promoter;
grant select, insert, update on billing to gatefold_app;
