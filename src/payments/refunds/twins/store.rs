//! What is compared of two orders.

use std::collections::HashMap;

use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};

use super::Compared;
use crate::id::{OfferId, OrderId};

/// Whether an address paid for one of the offers of its order near it: one statement, because every page of a held order asks.
pub(super) async fn is_bought_already(pool: &PgPool, order: OrderId, apart: TimeDelta) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from orders own join orders o on o.email_key = own.email_key and o.festival_id = own.festival_id \
             join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
             where own.festival_id = $1 and own.order_id = $2 and own.email_key <> '' and o.order_id <> own.order_id and o.status = 'paid' \
               and o.placed_at between own.placed_at - make_interval(secs => $3) and own.placed_at + make_interval(secs => $3) \
               and l.offer_id in (select offer_id from lines where festival_id = $1 and order_id = $2))",
    )
    .bind(order.festival())
    .bind(order)
    .bind(f64::from(i32::try_from(apart.num_seconds()).unwrap_or(i32::MAX)))
    .fetch_one(pool)
    .await
}

/// An order, and the paid orders of its address that were placed near it.
pub(super) async fn near(conn: &mut PgConnection, order: OrderId, apart: TimeDelta) -> Result<(Option<Compared>, Vec<Compared>), sqlx::Error> {
    let mut found: Vec<Compared> = sqlx::query_as(
        "select o.order_id, o.placed_at, o.paid_at from orders own join orders o on o.email_key = own.email_key and o.festival_id = own.festival_id \
         where own.festival_id = $1 and own.order_id = $2 and own.email_key <> '' and (o.order_id = own.order_id or (o.status = 'paid' and not exists ( \
               select from refunds r where r.festival_id = o.festival_id and r.order_id = o.order_id and r.status <> 'withdrawn'))) \
           and o.placed_at between own.placed_at - make_interval(secs => $3) and own.placed_at + make_interval(secs => $3)",
    )
    .bind(order.festival())
    .bind(order)
    .bind(f64::from(i32::try_from(apart.num_seconds()).unwrap_or(i32::MAX)))
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<OrderId> = found.iter().map(|o| o.order_id).collect();
    let units: Vec<(OrderId, OfferId, i64)> = sqlx::query_as(
        "select order_id, offer_id, sum(quantity) from lines where festival_id = $1 and order_id = any($2) group by order_id, offer_id order by order_id, offer_id",
    )
    .bind(order.festival())
    .bind(&ids)
    .fetch_all(conn)
    .await?;
    let mut of: HashMap<OrderId, Vec<(OfferId, i64)>> = HashMap::new();
    for (order, offer, units) in units {
        of.entry(order).or_default().push((offer, units));
    }
    for one in &mut found {
        one.units = of.remove(&one.order_id).unwrap_or_default();
    }
    let own = found.iter().position(|o| o.order_id == order).map(|i| found.swap_remove(i));
    Ok((own, found))
}

/// Whether nobody came in on an order, took a ticket of it, heard its album, or asked for money back.
pub(super) async fn is_untouched(conn: &mut PgConnection, order: OrderId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select not exists (select from tickets t where t.festival_id = $1 and t.order_id = $2 \
                            and (t.claimed_at is not null or t.status <> 'valid' \
                                 or exists (select from admissions a where a.festival_id = t.festival_id and a.ticket_id = t.ticket_id))) \
            and not exists (select from entitlements e where e.festival_id = $1 and e.order_id = $2 and e.first_taken_at is not null) \
            and not exists (select from refunds r where r.festival_id = $1 and r.order_id = $2 and r.status <> 'withdrawn')",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_one(conn)
    .await
}
