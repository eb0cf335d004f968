//! The statements that end holds, lengthen them, and find those that are due.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::OrderStatus;
use crate::id::{FestivalId, OrderId};

pub(super) async fn end(
    conn: &mut PgConnection,
    festival: FestivalId,
    orders: &[OrderId],
    status: OrderStatus,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("update orders set status = $3, ended_at = $4 where festival_id = $1 and order_id = any($2) and status = 'held'")
        .bind(festival)
        .bind(orders)
        .bind(status)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Locks the next orders of a festival that are held, in the order of their ids.
pub(super) async fn lock_held_after(conn: &mut PgConnection, festival: FestivalId, after: OrderId, most: i64) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar("select order_id from orders where festival_id = $1 and order_id > $2 and status = 'held' order by order_id limit $3 for no key update")
        .bind(festival)
        .bind(after)
        .bind(most)
        .fetch_all(conn)
        .await
}

/// Holds locked orders until a moment, or as long as an order may be held; what is over stays over.
pub(super) async fn extend(
    conn: &mut PgConnection,
    festival: FestivalId,
    orders: &[OrderId],
    until: DateTime<Utc>,
    longest: TimeDelta,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update orders set held_until = least($3, placed_at + $4) where festival_id = $1 and order_id = any($2) and held_until >= $5 \
         and held_until < least($3, placed_at + $4)",
    )
    .bind(festival)
    .bind(orders)
    .bind(until)
    .bind(longest)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Which of some orders have a payment that is still to be decided.
pub(super) async fn with_open_payment(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar("select order_id from payments where festival_id = $1 and order_id = any($2) and status in ('created', 'submitted', 'unknown')")
        .bind(festival)
        .bind(orders)
        .fetch_all(conn)
        .await
}

/// The festivals in which something is held: every held order takes units of a stock.
pub(super) async fn holding_festivals(pool: &PgPool) -> Result<Vec<FestivalId>, sqlx::Error> {
    sqlx::query_scalar("select distinct festival_id from stocks where held > 0").fetch_all(pool).await
}

/// Where a walk over orders came to.
#[derive(Debug, FromRow)]
pub(in crate::orders) struct Walked {
    /// The first order that is still held.
    pub(in crate::orders) held: Option<OrderId>,
    /// The last order that was looked at.
    pub(in crate::orders) last: Option<OrderId>,
}

/// Looks at orders from one id to another, at most so many. What has a deadline of its own is ended by it.
pub(in crate::orders) async fn walk(pool: &PgPool, festival: FestivalId, from: OrderId, to: OrderId, most: i64) -> Result<Walked, sqlx::Error> {
    sqlx::query_as(
        "with walked as materialized (select order_id, status from orders where festival_id = $1 and order_id >= $2 and order_id < $3 order by order_id limit $4) \
         select (select w.order_id from walked w where w.status = 'held' \
                   and not exists (select from deadlines d where d.festival_id = $1 and d.order_id = w.order_id) order by w.order_id limit 1) as held, \
                (select order_id from walked order by order_id desc limit 1) as last",
    )
    .bind(festival)
    .bind(from)
    .bind(to)
    .bind(most)
    .fetch_one(pool)
    .await
}

pub(super) async fn claim_due(
    conn: &mut PgConnection,
    festival: FestivalId,
    from: OrderId,
    to: OrderId,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar(
        "select o.order_id from orders o where o.festival_id = $1 and o.order_id >= $2 and o.order_id < $3 and o.status = 'held' and o.held_until < $4 \
         and not exists (select from payments p where p.festival_id = $1 and p.order_id = o.order_id and p.status in ('created', 'submitted', 'unknown')) \
         order by o.order_id limit $5 for no key update skip locked",
    )
    .bind(festival)
    .bind(from)
    .bind(to)
    .bind(now)
    .bind(most)
    .fetch_all(conn)
    .await
}
