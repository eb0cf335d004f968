//! What must hold at every moment: each invariant is one query that must return no row (7-proof). `gatefold check` runs
//! them on the live database; every one has a test that breaks a row and sees it found.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::audit;

/// An invariant: its name, what it claims, and a query that counts breaches. `$1` is the moment.
#[derive(Debug)]
pub struct Invariant {
    /// Its name, kebab-case.
    pub name: &'static str,
    /// What it claims, in a sentence.
    pub claim: &'static str,
    query: &'static str,
}

/// What a check found.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// The invariant.
    pub name: &'static str,
    /// What it claims.
    pub claim: &'static str,
    /// How many breaches there are.
    pub breaches: i64,
}

/// The invariants of the database.
pub static INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "stock-in-bounds",
        claim: "held and sold are not negative and never more than the capacity",
        query: "select count(*) from stocks where $1::timestamptz is not null and (held < 0 or sold < 0 or held + sold > capacity)",
    },
    Invariant {
        name: "stock-equals-allocations",
        claim: "held and sold equal the allocations of held and of paid orders",
        query: "select count(*) from stocks s left join lateral ( \
                    select coalesce(sum(a.quantity) filter (where o.status in ('held', 'part_paid')), 0) as held, \
                           coalesce(sum(a.quantity) filter (where o.status in ('paid', 'partly_refunded')), 0) as sold \
                    from allocations a join orders o on o.festival_id = a.festival_id and o.order_id = a.order_id \
                    where a.festival_id = s.festival_id and a.stock_id = s.stock_id) t on true \
                where $1::timestamptz is not null and (s.held <> t.held or s.sold <> t.sold)",
    },
    Invariant {
        name: "tickets-of-paid-orders",
        claim: "a paid order has a ticket for each unit of admission that was not returned, those that were voided without a refund included; any other order has none",
        query: "select count(*) from orders o \
                cross join lateral (select count(*) as n from tickets t where t.festival_id = o.festival_id and t.order_id = o.order_id and (t.status <> 'void' \
                    or 'voided' = (select why from ticket_changes c where c.festival_id = t.festival_id and c.ticket_id = t.ticket_id order by change_no desc limit 1))) t \
                cross join lateral (select coalesce(sum(l.quantity), 0) as n from lines l, jsonb_array_elements(l.shares) x \
                                    where l.festival_id = o.festival_id and l.order_id = o.order_id and (x ? 'pass_id' or x ? 'add_on_id')) u \
                cross join lateral (select count(*) as n from refunds r join refund_tickets x on x.festival_id = r.festival_id and x.refund_id = r.refund_id \
                                    where r.festival_id = o.festival_id and r.order_id = o.order_id and r.returned_at is not null) r \
                where $1::timestamptz is not null and t.n <> case when o.status in ('paid', 'partly_refunded') then u.n - r.n else 0 end",
    },
    Invariant {
        name: "captures-equal-total",
        claim: "the captured payments of an order that was paid add up to its total, in its currency, apart from what came late, twice or wrong and goes back",
        query: "select count(*) from orders o cross join lateral ( \
                    select coalesce(sum(p.amount_minor), 0) as minor, bool_and(p.currency = o.currency) as same from payments p \
                    where p.festival_id = o.festival_id and p.order_id = o.order_id and p.status = 'captured' \
                      and not exists (select from refunds r where r.festival_id = p.festival_id and r.payment_id = p.payment_id and r.reason = 'late_money')) c \
                where $1::timestamptz is not null and o.status in ('paid', 'partly_refunded', 'refunded') and (c.same is not true or c.minor <> o.total_minor)",
    },
    Invariant {
        name: "refunds-add-up",
        claim: "a refund is the money of what it returns less what is kept, no more is returned of anything than there was, and orders and lines say what came back",
        query: "with returned as materialized ( \
                    select r.festival_id, r.order_id, i.line_no, i.component_no, sum(i.units) as units, sum(i.minor) as minor, sum(i.tax_minor) as tax, \
                           coalesce(sum(i.units) filter (where r.returned_at is not null), 0) as back \
                    from refunds r join refund_items i on i.festival_id = r.festival_id and i.refund_id = r.refund_id \
                    where $1::timestamptz is not null and r.status <> 'withdrawn' group by 1, 2, 3, 4) \
                select (select count(*) from refunds r where r.reason <> 'late_money' and r.amount_minor + r.kept_minor <> ( \
                            select coalesce(sum(i.minor), 0) from refund_items i where i.festival_id = r.festival_id and i.refund_id = r.refund_id)) \
                     + (select count(*) from returned x left join (lines l cross join lateral jsonb_array_elements(l.shares) s) \
                            on l.festival_id = x.festival_id and l.order_id = x.order_id and l.line_no = x.line_no and (s ->> 'component_no')::smallint = x.component_no \
                        where l.line_no is null or x.units > l.quantity or x.minor > (s ->> 'minor')::bigint * l.quantity or x.tax > (s ->> 'tax_minor')::bigint * l.quantity) \
                     + (select count(*) from orders o left join ( \
                            select l.festival_id, l.order_id, bool_and(coalesce(x.back, 0) = l.quantity or (s ? 'fee' and (s ->> 'minor')::bigint = 0)) as whole from ( \
                                select distinct festival_id, order_id from refunds where returned_at is not null) r \
                            join lines l on l.festival_id = r.festival_id and l.order_id = r.order_id cross join lateral jsonb_array_elements(l.shares) s \
                            left join returned x on x.festival_id = l.festival_id and x.order_id = l.order_id and x.line_no = l.line_no \
                                                and x.component_no = (s ->> 'component_no')::smallint \
                            group by 1, 2) w on w.festival_id = o.festival_id and w.order_id = o.order_id \
                        where o.status in ('paid', 'partly_refunded', 'refunded') \
                          and o.status <> case when w.whole is null then 'paid' when w.whole then 'refunded' else 'partly_refunded' end) \
                     + (select count(*) from refunds where status = 'done' and returned_at is null and reason <> 'late_money') \
                     + (select count(*) from (select l.returned, coalesce(min(coalesce(x.back, 0)) filter (where s ? 'pass_id' or s ? 'add_on_id'), min(coalesce(x.back, 0)) filter (where not s ? 'fee')) as back \
                            from lines l cross join lateral jsonb_array_elements(l.shares) s \
                            left join returned x on x.festival_id = l.festival_id and x.order_id = l.order_id and x.line_no = l.line_no and x.component_no = (s ->> 'component_no')::smallint \
                            group by l.festival_id, l.order_id, l.line_no, l.returned) l where l.returned <> l.back)",
    },
    Invariant {
        name: "suspended-tickets-have-a-refund",
        claim: "a ticket is suspended while a refund that returns it is undecided or somebody is invited to it, and is void when it came back",
        query: "select count(*) from tickets t left join lateral ( \
                    select bool_or(r.returned_at is null) as open, bool_or(r.returned_at is not null) as back from refund_tickets x \
                    join refunds r on r.festival_id = x.festival_id and r.refund_id = x.refund_id and r.status <> 'withdrawn' \
                    where x.festival_id = t.festival_id and x.ticket_id = t.ticket_id) r on true \
                where $1::timestamptz is not null and ((t.status = 'suspended') <> (coalesce(r.open, false) or exists ( \
                        select from hand_backs h where h.festival_id = t.festival_id and h.ticket_id = t.ticket_id and h.status = 'offered')) \
                    or (r.back and t.status <> 'void'))",
    },
    Invariant {
        name: "what-is-owed-is-on-its-way",
        claim: "the books owe buyers what refunds that did not go yet are to bring them",
        query: "select count(*) from (select 1 from ( \
                    select festival_id, currency, minor from journal_entries where $1::timestamptz is not null and account = 'owed' \
                    union all select festival_id, currency, amount_minor from refunds where status not in ('done', 'withdrawn')) m \
                group by festival_id, currency having sum(minor) <> 0) d",
    },
    Invariant {
        name: "late-money-goes-back",
        claim: "captured money of an order that ended without tickets, or that came twice or wrong, has a refund on its way within 15 minutes",
        query: "select (select count(*) from refunds where reason = 'late_money' and status = 'failed') + (select count(*) from payments p join orders o on o.festival_id = p.festival_id and o.order_id = p.order_id \
                where p.status = 'captured' and (o.status in ('expired', 'cancelled', 'unfulfillable') or p.reason is not null) and p.ended_at < $1::timestamptz - interval '15 minutes' \
                and not exists (select from refunds r where r.festival_id = p.festival_id and r.payment_id = p.payment_id))",
    },
    Invariant {
        name: "refunds-within-payment",
        claim: "the refunds of a payment never exceed it",
        query: "select count(*) from payments p where $1::timestamptz is not null and p.amount_minor < ( \
                    select coalesce(sum(r.amount_minor), 0) from refunds r where r.festival_id = p.festival_id and r.order_id = p.order_id and r.payment_id = p.payment_id and r.status <> 'withdrawn')",
    },
    Invariant {
        name: "shares-add-up",
        claim: "the shares of a line add up to its price, the lines to the total",
        query: "select (select count(*) from lines l where $1::timestamptz is not null and l.unit_minor <> (select coalesce(sum((x ->> 'minor')::bigint), 0) from jsonb_array_elements(l.shares) x)) \
                     + (select count(*) from orders o where o.total_minor <> (select coalesce(sum(l.unit_minor * l.quantity), 0) from lines l where l.festival_id = o.festival_id and l.order_id = o.order_id))",
    },
    Invariant {
        name: "holds-end",
        claim: "no hold is overdue by more than two minutes unless its payment is undecided",
        query: "select count(*) from orders o where o.status = 'held' and o.held_until < $1::timestamptz - interval '2 minutes' \
                and not exists (select from payments p where p.festival_id = o.festival_id and p.order_id = o.order_id and p.status in ('created', 'submitted', 'unknown'))",
    },
    Invariant {
        name: "payments-are-decided",
        claim: "no payment is undecided longer than 15 minutes after its time",
        query: "select count(*) from payments where status in ('created', 'submitted', 'unknown') and decide_by < $1::timestamptz - interval '15 minutes'",
    },
    Invariant {
        name: "payments-are-counted",
        claim: "a held order knows how many payments were tried",
        query: "select count(*) from orders o where $1::timestamptz is not null and o.status = 'held' \
                and o.payment_count <> (select count(*) from payments p where p.festival_id = o.festival_id and p.order_id = o.order_id)",
    },
    Invariant {
        name: "vouchers-equal-uses",
        claim: "a voucher was used as often as held and paid orders use it",
        query: "select count(*) from vouchers v where $1::timestamptz is not null and v.used <> ( \
                    select count(*) from orders o where o.festival_id = v.festival_id and o.voucher_id = v.voucher_id and o.status in ('held', 'part_paid', 'paid', 'partly_refunded'))",
    },
    Invariant {
        name: "budgets-equal-discounts",
        claim: "a voucher with a budget took off what held and paid orders have less to pay by it",
        query: "select count(*) from voucher_rules r where $1::timestamptz is not null and r.budget_minor is not null and r.spent_minor <> ( \
                    select coalesce(sum(l.discount_minor * l.quantity), 0) from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
                    where o.festival_id = r.festival_id and o.voucher_id = r.voucher_id and o.status in ('held', 'part_paid', 'paid', 'partly_refunded'))",
    },
    Invariant {
        name: "journals-balance",
        claim: "the entries of a journal add up to zero in each currency",
        query: "select count(*) from (select 1 from journal_entries where $1::timestamptz is not null group by festival_id, journal_id, currency having sum(minor) <> 0) j",
    },
    Invariant {
        name: "captures-are-booked",
        claim: "what the books say that providers have is what was captured less what went back; nothing is captured or goes back without a journal",
        query: "select (select count(*) from payments p where $1::timestamptz is not null and p.status = 'captured' and p.amount_minor > 0 \
                        and not exists (select from journals j where j.festival_id = p.festival_id and j.journal_id = p.journal_id)) \
                     + (select count(*) from refunds r where r.status = 'done' \
                        and r.amount_minor > 0 and not exists (select from journals j where j.festival_id = r.festival_id and j.journal_id = r.journal_id)) \
                     + (select count(*) from (select 1 from ( \
                            select festival_id, account, currency, minor from journal_entries where account like 'clearing:%' or account = 'by_hand' \
                            union all select festival_id, 'clearing:' || provider, currency, -amount_minor from payments where status = 'captured' \
                            union all select r.festival_id, case when r.by_hand then 'by_hand' else 'clearing:' || p.provider end, r.currency, r.amount_minor \
                                from refunds r join payments p on p.festival_id = r.festival_id and p.payment_id = r.payment_id where r.status = 'done') m \
                            group by festival_id, account, currency having sum(minor) <> 0) d)",
    },
    Invariant {
        name: "sales-are-booked",
        claim: "the accounts of tax, of rights, of fees and of the promoter have what the lines of paid orders say, less what was returned, and what was kept of it",
        query: "with shares as materialized ( \
                    select o.festival_id, o.currency, s ->> 'tax_ppm' as tax_ppm, case when s ? 'fee' then 'fee' else coalesce('rights:' || (s ->> 'release_id'), 'promoter') end as payee, \
                           sum((s ->> 'tax_minor')::bigint * l.quantity) as tax, sum(((s ->> 'minor')::bigint - (s ->> 'tax_minor')::bigint) * l.quantity) as net, \
                           coalesce(sum((s -> 'fee' ->> 'borne_minor')::bigint * l.quantity), 0) as borne \
                    from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id cross join lateral jsonb_array_elements(l.shares) s \
                    where $1::timestamptz is not null and o.paid_at is not null group by 1, 2, 3, 4), \
                given_up as materialized ( \
                    select r.festival_id, r.currency, s ->> 'tax_ppm' as tax_ppm, case when s ? 'fee' then 'fee' else coalesce('rights:' || (s ->> 'release_id'), 'promoter') end as payee, \
                           sum(i.tax_minor) as tax, sum(i.minor - i.tax_minor) as net \
                    from refunds r join refund_items i on i.festival_id = r.festival_id and i.refund_id = r.refund_id \
                    join lines l on l.festival_id = r.festival_id and l.order_id = r.order_id and l.line_no = i.line_no \
                    cross join lateral jsonb_array_elements(l.shares) s where r.status <> 'withdrawn' and (s ->> 'component_no')::smallint = i.component_no group by 1, 2, 3, 4) \
                select count(*) from (select 1 from ( \
                    select festival_id, currency, account, minor from journal_entries where account in ('promoter', 'kept', 'fee') or account like 'tax:%' or account like 'rights:%' \
                    union all select festival_id, currency, 'tax:' || tax_ppm, tax from shares \
                    union all select festival_id, currency, payee, net from shares \
                    union all select festival_id, currency, 'fee', borne from shares union all select festival_id, currency, 'promoter', -borne from shares \
                    union all select festival_id, currency, 'kept', kept_minor from refunds where status <> 'withdrawn' \
                    union all select festival_id, currency, 'tax:' || tax_ppm, -tax from given_up \
                    union all select festival_id, currency, payee, -net from given_up) m \
                group by festival_id, currency, account having sum(minor) <> 0) d",
    },
    Invariant {
        name: "documents-have-no-gaps",
        claim: "the numbers of a series of documents are 1, 2, 3, .., and its counter is the last of them",
        query: "select count(*) from invoicing i cross join lateral (values ('invoice', i.last_invoice), ('credit_note', i.last_credit_note)) s (kind, last) \
                left join lateral (select count(*) as n, coalesce(max(number), 0) as most from documents d where d.festival_id = i.festival_id and d.kind = s.kind) d on true \
                where $1::timestamptz is not null and (d.n <> s.last or d.most <> s.last)",
    },
    Invariant {
        name: "documents-say-what-was-paid",
        claim: "an invoice is the total of an order that was paid, a credit note what went back of one that has an invoice",
        query: "select (select count(*) from documents d join orders o on o.festival_id = d.festival_id and o.order_id = d.order_id \
                        where $1::timestamptz is not null and d.kind = 'invoice' and (o.paid_at is null or (o.total_minor, o.currency) <> (d.total_minor, d.currency))) \
                     + (select count(*) from documents d where (d.content ->> 'total_minor')::bigint <> d.total_minor or d.total_minor <> ( \
                            select sum((r ->> 'minor')::bigint) from jsonb_array_elements(d.content -> 'rows') r) - (d.content ->> 'kept_minor')::bigint) \
                     + (select count(*) from documents d left join refunds r on r.festival_id = d.festival_id and r.refund_id = d.refund_id and r.order_id = d.order_id \
                        where d.kind = 'credit_note' and ((r.amount_minor, r.currency) is distinct from (d.total_minor, d.currency) \
                              or not exists (select from documents i where i.kind = 'invoice' and i.festival_id = d.festival_id and i.order_id = d.order_id)))",
    },
    Invariant {
        name: "one-confirmation",
        claim: "a paid order has exactly one confirmation, any other order none, while they are not in an archive",
        query: "select count(*) from orders o join festivals f on f.festival_id = o.festival_id and f.archived_at is null cross join lateral ( \
                    select count(*) as n from emails e where e.festival_id = o.festival_id and e.thing_id = o.order_id and e.kind = 'confirmation') e \
                where $1::timestamptz is not null and e.n <> case when o.paid_at is not null and o.email <> '' then 1 else 0 end",
    },
    Invariant {
        name: "lists-ask-for-their-lines",
        claim: "a waiting list asks for what its line waits for, and whoever was invited in the last days has an order: carts are forgotten after a week",
        query: "select (select count(*) from waiting_lists w full join ( \
                        select festival_id, offer_id, sum(quantity) as units, count(*) as people from waits \
                        where status = 'waiting' group by festival_id, offer_id) e \
                            on e.festival_id = w.festival_id and e.offer_id = w.offer_id \
                        where coalesce(w.units, 0) <> coalesce(e.units, 0) or coalesce(w.people, 0) <> coalesce(e.people, 0)) \
                     + (select count(*) from waits e where e.order_id is not null and e.ended_at > $1::timestamptz - interval '7 days' \
                          and not exists (select from orders o where o.festival_id = e.festival_id and o.order_id = e.order_id))",
    },
    Invariant {
        name: "receipts-have-no-gaps",
        claim: "the receipts of a box office are numbered from one to its last without a gap, and money that was taken by hand has its payment",
        query: "select (select count(*) from box_offices b left join (select festival_id, count(receipt_no) as n, max(receipt_no) as last from collections group by festival_id) c \
                            on c.festival_id = b.festival_id \
                        where $1::timestamptz is not null and (coalesce(c.n, 0) <> b.last_receipt or coalesce(c.last, 0) <> b.last_receipt)) \
                     + (select count(*) from payments p where p.provider in ('cash', 'card_terminal', 'bank_transfer') and p.status = 'captured' \
                          and not exists (select from collections c where c.festival_id = p.festival_id and c.payment_id = p.payment_id and c.method = p.provider))",
    },
    Invariant {
        name: "outbox-moves",
        claim: "no email is due for more than 30 minutes without a try, and leases end",
        query: "select count(*) from emails where status = 'queued' and (leased_until > $1::timestamptz + interval '10 minutes' or (attempts = 0 and due_at < $1::timestamptz - interval '30 minutes'))",
    },
    Invariant {
        name: "fan-limits-hold",
        claim: "no address holds more of an offer than its limit",
        query: "select count(*) from (select 1 from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
                    join offers f on f.festival_id = l.festival_id and f.offer_id = l.offer_id \
                    where $1::timestamptz is not null and f.max_per_fan is not null and o.status in ('held', 'part_paid', 'paid', 'partly_refunded') \
                    group by o.festival_id, o.email_key, l.offer_id, f.max_per_fan having sum(l.quantity - l.returned) > f.max_per_fan) x",
    },
    Invariant {
        name: "placed-after-opening",
        claim: "no order was placed before the sale of its offers opened, but with a voucher that opens them",
        query: "select count(*) from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
                join offers f on f.festival_id = l.festival_id and f.offer_id = l.offer_id where $1::timestamptz is not null and o.placed_at < f.opens_at \
                  and not exists (select from voucher_rules r join vouchers v on v.festival_id = r.festival_id and v.voucher_id = r.voucher_id \
                                  where r.festival_id = o.festival_id and r.voucher_id = o.voucher_id and r.opens and l.offer_id = any(v.offer_ids)) \
                  and not exists (select from box_office_sales b where b.festival_id = o.festival_id and b.order_id = o.order_id)",
    },
    Invariant {
        name: "one-open-entry",
        claim: "at most one open entry per ticket, festival day and place (the site, an inner zone), apart from surplus admissions that are in the ledger and whom a supervisor let in who knew",
        query: "select count(*) from (select 1 from admissions a left join discrepancies d on d.festival_id = a.festival_id and d.scan_id = a.scan_id \
                        and d.kind = 'surplus_admission' and d.withdrawn_at is null \
                    left join (gates g join zones z on z.festival_id = g.festival_id and z.zone_id = g.zone_id and z.is_inner) \
                        on g.festival_id = a.festival_id and g.gate_id = a.gate_id \
                    where $1::timestamptz is not null and a.left_at is null and a.undone_at is null \
                    group by a.festival_id, a.ticket_id, a.day_index, z.zone_id having count(*) filter (where d.scan_id is null and not a.is_again) > 1) x",
    },
    Invariant {
        name: "surplus-is-in-the-ledger",
        claim: "whoever came in on a ticket that somebody was in on is in the ledger of discrepancies, unless a supervisor let them in who knew",
        query: "select count(*) from admissions a where $1::timestamptz is not null and not a.is_again \
                and exists (select from admissions b where b.festival_id = a.festival_id and b.ticket_id = a.ticket_id and b.day_index = a.day_index \
                            and b.entered_at < a.entered_at and least(b.left_at, b.undone_at, 'infinity') > a.entered_at \
                            and not exists (select from gates g join zones z on z.festival_id = g.festival_id and z.zone_id = g.zone_id and z.is_inner \
                                            join gates h on h.festival_id = g.festival_id and h.gate_id in (a.gate_id, b.gate_id) \
                                                        and h.zone_id is distinct from g.zone_id \
                                            where g.festival_id = a.festival_id and g.gate_id in (a.gate_id, b.gate_id))) \
                and not exists (select from discrepancies d where d.festival_id = a.festival_id and d.scan_id = a.scan_id \
                                and d.kind = 'surplus_admission' and d.withdrawn_at is null)",
    },
    Invariant {
        name: "overrides-have-names",
        claim: "whoever came in by a supervisor's word has its line, with who it was",
        query: "select count(*) from admissions a left join overrides o on o.festival_id = a.festival_id and o.scan_id = a.scan_id and o.because = a.because \
                where $1::timestamptz is not null and (a.because is not null and o.scan_id is null or a.is_again and not o.reasons && array['already_inside', 'no_reentry'])",
    },
    Invariant {
        name: "bands-are-on-one-wrist",
        claim: "a ticket is exchanged where it is on a wrist by a band of its generation, and nowhere else; the stocks count the bands",
        query: "select (select count(*) from tickets t left join bands b on b.festival_id = t.festival_id and b.ticket_id = t.ticket_id and b.ended_at is null \
                        where $1::timestamptz is not null \
                          and (t.status = 'exchanged' and (b.band_id is null or b.generation <> t.generation) or t.status = 'valid' and b.band_id is not null)) \
                     + (select count(*) from (select festival_id, color, count(*) filter (where ended_why is distinct from 'returned') as given, \
                                                     count(*) filter (where ended_why = 'lost') as lost from bands group by 1, 2) b \
                        full join band_stocks s on s.festival_id = b.festival_id and s.color = b.color \
                        where coalesce(b.given, 0) <> coalesce(s.given, 0) or coalesce(b.lost, 0) <> coalesce(s.lost, 0))",
    },
    Invariant {
        name: "zones-add-up",
        claim: "as many are counted in a zone on a day as passes came in since it was cleared and did not leave, with those counted by hand",
        query: "select count(*) from zone_counts c where $1::timestamptz is not null and c.cleared_at is not null \
                and c.inside <> (select count(*) from admissions a join gates g on g.festival_id = a.festival_id and g.gate_id = a.gate_id \
                                 join tickets t on t.festival_id = a.festival_id and t.ticket_id = a.ticket_id and t.kind = 'pass' \
                                 where a.festival_id = c.festival_id and g.zone_id = c.zone_id and a.day_index = c.day_index \
                                       and a.left_at is null and a.undone_at is null and a.entered_at >= c.cleared_at) \
                              + (select coalesce(sum(case when h.kind = 'entry' then h.people else -h.people end), 0) from head_counts h join gates g on g.festival_id = h.festival_id and g.gate_id = h.gate_id and g.zone_id = c.zone_id \
                 where h.festival_id = c.festival_id and h.day_index = c.day_index and h.counted_at >= c.cleared_at)",
    },
    Invariant {
        name: "admissions-have-scans",
        claim: "every admission was a scan that admitted, by the server or by the device",
        query: "select count(*) from admissions a left join scans s on s.festival_id = a.festival_id and s.scan_id = a.scan_id \
                left join scan_reports r on r.festival_id = a.festival_id and r.scan_id = a.scan_id \
                where $1::timestamptz is not null and (s.scan_id is null or (s.verdict <> 'admitted' and r.verdict is distinct from 'admitted'))",
    },
    Invariant {
        name: "reports-are-merged",
        claim: "every report of a device has its scan, and whoever it let in is in the admissions",
        query: "select count(*) from scan_reports r where $1::timestamptz is not null \
                and (not exists (select from scans s where s.festival_id = r.festival_id and s.scan_id = r.scan_id) \
                     or (r.kind = 'entry' and r.verdict = 'admitted' and r.ticket_id is not null \
                         and not exists (select from admissions a where a.festival_id = r.festival_id and a.ticket_id = r.ticket_id and a.scan_id = r.scan_id)))",
    },
    Invariant {
        name: "entitlements-of-paid-lines",
        claim: "entitlements exist only for orders that were paid",
        query: "select count(*) from entitlements e join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id where $1::timestamptz is not null and o.paid_at is null",
    },
    Invariant {
        name: "claims-add-up",
        claim: "the claimed copies of an entitlement are its claims, and their tickets were claimed",
        query: "select (select count(*) from entitlements e where $1::timestamptz is not null \
                    and e.claimed <> (select count(*) from claims c where c.festival_id = e.festival_id and c.entitlement_id = e.entitlement_id and c.ended_at is null)) \
                  + (select count(*) from claims c where not exists (select from tickets t where t.festival_id = c.festival_id and t.ticket_id = c.ticket_id and t.claimed_at is not null))",
    },
    Invariant {
        name: "transfers-move-tickets",
        claim: "a ticket that was passed on has another link since, and one that is on its way has not",
        query: "select count(*) from transfers x join tickets t on t.festival_id = x.festival_id and t.ticket_id = x.ticket_id \
                where $1::timestamptz is not null and ((x.status = 'accepted' and t.link_generation <= x.from_link_generation) \
                   or (x.status = 'sent' and t.link_generation <> x.from_link_generation))",
    },
    Invariant {
        name: "no-orphans",
        claim: "what orders, tickets and payments name is there, and of the same promoter",
        query: "select (select count(*) from lines l where $1::timestamptz is not null and not exists (select from offers o where o.festival_id = l.festival_id and o.offer_id = l.offer_id)) \
                     + (select count(*) from allocations a where not exists (select from stocks s where s.festival_id = a.festival_id and s.stock_id = a.stock_id)) \
                     + (select count(*) from tickets t where not exists (select from passes p where p.festival_id = t.festival_id and p.pass_number = t.pass_number) \
                                                         and not exists (select from add_ons a where a.festival_id = t.festival_id and a.add_on_number = t.pass_number)) \
                     + (select count(*) from entitlements e where not exists (select from releases r where r.release_id = e.release_id)) \
                     + (select count(*) from payments p where (p.provider = 'stripe' or p.account_id is not null) and not exists ( \
                            select from payment_accounts a join festivals f using (promoter_id) where a.account_id = p.account_id and a.provider = p.provider and f.festival_id = p.festival_id))",
    },
];

/// Runs every invariant; a row each with its count.
///
/// # Errors
/// What the database said.
pub async fn check(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::with_capacity(INVARIANTS.len() + 1);
    for invariant in INVARIANTS {
        let breaches = super::store::count(conn, invariant.query, now).await?;
        findings.push(Finding { name: invariant.name, claim: invariant.claim, breaches });
    }
    let breaches = audit::broken_seals(conn).await?;
    findings.push(Finding { name: "audit-unbroken", claim: "the seals of the audit fit its rows", breaches });
    Ok(findings)
}
