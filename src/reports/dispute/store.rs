//! What happened to an order, read across rooms.

use sqlx::PgConnection;

use super::{Event, Terms};
use crate::id::OrderId;

pub(super) async fn terms(conn: &mut PgConnection, order: OrderId) -> Result<Terms, sqlx::Error> {
    sqlx::query_as(
        "select r.hours_before, r.kept_ppm, r.from_at from orders o left join lateral ( \
             select hours_before, kept_ppm, from_at from refund_rules where festival_id = o.festival_id and from_at <= o.placed_at order by rule_no desc limit 1) r on true \
         where o.festival_id = $1 and o.order_id = $2",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_one(conn)
    .await
}

pub(super) async fn events(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Event>, sqlx::Error> {
    sqlx::query_as(
        "with own as materialized (select ticket_id, lpad(to_hex(ticket_number), 16, '0') as number, claimed_at from tickets where festival_id = $1 and order_id = $2) \
         select at, kind, what from ( \
             select placed_at as at, 'placed' as kind, total_minor || ' ' || currency as what from orders where festival_id = $1 and order_id = $2 \
             union all \
             select created_at, 'payment_created', provider || ' ' || amount_minor || ' ' || currency from payments where festival_id = $1 and order_id = $2 \
             union all \
             select ended_at, 'payment_' || status, provider || ' ' || amount_minor || ' ' || currency from payments where festival_id = $1 and order_id = $2 and ended_at is not null \
             union all \
             select requested_at, 'refund_requested', amount_minor || ' ' || currency || coalesce(' ' || reason, '') from refunds where festival_id = $1 and order_id = $2 \
             union all \
             select ended_at, 'refund_' || status, amount_minor || ' ' || currency from refunds where festival_id = $1 and order_id = $2 and ended_at is not null \
             union all \
             select sent_at, 'email_sent', kind from emails where festival_id = $1 and thing_id = $2 and sent_at is not null \
             union all \
             select claimed_at, 'ticket_taken', right(number, 4) from own where claimed_at is not null \
             union all \
             select t.sent_at, 'transfer_sent', right(own.number, 4) from own join transfers t on t.ticket_id = own.ticket_id and t.festival_id = $1 \
             union all \
             select t.ended_at, 'transfer_' || t.status, right(own.number, 4) from own join transfers t on t.ticket_id = own.ticket_id and t.festival_id = $1 where t.ended_at is not null \
             union all \
             select a.entered_at, 'admitted', right(own.number, 4) || ' ' || coalesce(g.name ->> 'en', g.name ->> 'zh', '') from own \
                 join admissions a on a.festival_id = $1 and a.ticket_id = own.ticket_id and a.undone_at is null \
                 left join gates g on g.festival_id = $1 and g.gate_id = a.gate_id \
             union all \
             select e.first_taken_at, 'album_heard', coalesce(r.artist || ', ' || r.title, '') from entitlements e left join releases r on r.release_id = e.release_id \
                 where e.festival_id = $1 and e.order_id = $2 and e.first_taken_at is not null \
             union all \
             select issued_at, kind, full_number from documents where festival_id = $1 and order_id = $2) happened \
         order by at, kind, what limit 1000",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}
