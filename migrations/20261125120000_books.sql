-- The books: one journal a batch of sales, an entry an account with its sums, balanced in each currency. Debit is positive. Append-only.
create table journals (
    festival_id integer not null,
    journal_id uuid not null,
    kind text not null constraint journals_known_kind check (kind in ('sale', 'late', 'refund')),
    at timestamptz not null,
    constraint journals_pkey primary key (festival_id, journal_id)
);

create table journal_entries (
    festival_id integer not null,
    journal_id uuid not null,
    account text not null,
    currency text not null,
    minor bigint not null constraint journal_entries_move_something check (minor <> 0),
    constraint journal_entries_pkey primary key (festival_id, journal_id, account, currency),
    constraint journal_entries_journal foreign key (festival_id, journal_id) references journals
);

alter table refunds add column journal_id uuid;

-- What was captured before there were books: one journal a festival, with the same accounts.
insert into journals (festival_id, journal_id, kind, at)
select festival_id, gen_random_uuid(), 'sale', max(ended_at) from payments where status = 'captured' group by festival_id;
update payments p set journal_id = j.journal_id from journals j where j.festival_id = p.festival_id and p.status = 'captured';
insert into journals (festival_id, journal_id, kind, at)
select festival_id, gen_random_uuid(), 'refund', max(ended_at) from refunds where status = 'done' group by festival_id;
update refunds r set journal_id = j.journal_id from journals j where j.festival_id = r.festival_id and j.kind = 'refund' and r.status = 'done';
with split as (
    select p.festival_id, p.journal_id, o.currency, s, (s ->> 'tax_minor')::bigint * l.quantity as tax, ((s ->> 'minor')::bigint - (s ->> 'tax_minor')::bigint) * l.quantity as net
    from payments p
    join orders o on o.festival_id = p.festival_id and o.order_id = p.order_id and o.status = 'paid'
    join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id
    cross join lateral jsonb_array_elements(l.shares) s
    where p.status = 'captured' and not exists (
        select from refunds r where r.festival_id = p.festival_id and r.payment_id = p.payment_id)
), moved as (
    select festival_id, journal_id, 'clearing:' || provider as account, currency, amount_minor as minor from payments where status = 'captured'
    union all
    select festival_id, journal_id, 'tax:' || (s ->> 'tax_ppm'), currency, -tax from split
    union all
    select festival_id, journal_id, case when s ? 'release_id' then 'rights:' || (s ->> 'release_id') else 'promoter' end, currency, -net from split
    union all
    select p.festival_id, p.journal_id, 'owed', p.currency, -p.amount_minor from payments p
    join orders o on o.festival_id = p.festival_id and o.order_id = p.order_id
    where p.status = 'captured' and (o.status <> 'paid' or exists (
        select from refunds r where r.festival_id = p.festival_id and r.payment_id = p.payment_id))
    union all
    select r.festival_id, r.journal_id, 'owed', r.currency, r.amount_minor from refunds r where r.status = 'done'
    union all
    select r.festival_id, r.journal_id, 'clearing:' || p.provider, r.currency, -r.amount_minor from refunds r
    join payments p on p.festival_id = r.festival_id and p.payment_id = r.payment_id where r.status = 'done'
)
insert into journal_entries (festival_id, journal_id, account, currency, minor)
select festival_id, journal_id, account, currency, sum(minor) from moved group by festival_id, journal_id, account, currency having sum(minor) <> 0;

grant select, insert on journals, journal_entries to gatefold_app;
grant select on journals, journal_entries to gatefold_promoter;
