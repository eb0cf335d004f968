//! The rows of deadlines.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::{Deadline, DeadlineKind};
use crate::id::{FestivalId, OrderId};

/// Gives new or locked orders deadlines; joins the transaction that holds them as long.
///
/// # Errors
/// What the database said.
pub async fn set(conn: &mut PgConnection, festival: FestivalId, kind: DeadlineKind, due: &[(OrderId, DateTime<Utc>)]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into deadlines (festival_id, order_id, kind, due_at) select $1, d.order_id, $2, d.due_at from unnest($3::uuid[], $4::timestamptz[]) as d (order_id, due_at) \
         on conflict (festival_id, order_id) do update set kind = excluded.kind, due_at = excluded.due_at",
    )
    .bind(festival)
    .bind(kind)
    .bind(due.iter().map(|(order, _)| *order).collect::<Vec<_>>())
    .bind(due.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The deadline of an order, where it has one.
///
/// # Errors
/// What the database said.
pub async fn of_order(on: impl PgExecutor<'_>, order: OrderId) -> Result<Option<Deadline>, sqlx::Error> {
    sqlx::query_as("select order_id, kind, due_at from deadlines where festival_id = $1 and order_id = $2")
        .bind(order.festival())
        .bind(order)
        .fetch_optional(on)
        .await
}

/// How many held orders of an address have a deadline that its buyer chose.
///
/// # Errors
/// What the database said.
pub async fn count_of(conn: &mut PgConnection, festival: FestivalId, email_key: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from orders o join deadlines d on d.festival_id = o.festival_id and d.order_id = o.order_id \
         where o.festival_id = $1 and o.email_key = $2 and o.status = 'held' and d.kind <> 'invitation'",
    )
    .bind(festival)
    .bind(email_key)
    .fetch_one(conn)
    .await
}

/// The festivals in which a deadline is over.
pub(super) async fn due_festivals(pool: &PgPool, now: DateTime<Utc>) -> Result<Vec<FestivalId>, sqlx::Error> {
    sqlx::query_scalar("select distinct festival_id from (select festival_id from deadlines where due_at < $1 order by due_at limit 1000) as over")
        .bind(now)
        .fetch_all(pool)
        .await
}

/// The orders of a festival whose deadline is over.
pub(super) async fn due(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>, most: i64) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar("select order_id from deadlines where festival_id = $1 and due_at < $2 order by due_at limit $3")
        .bind(festival)
        .bind(now)
        .bind(most)
        .fetch_all(conn)
        .await
}

/// Forgets the deadlines of orders that ended.
///
/// # Errors
/// What the database said.
pub(in crate::orders) async fn forget(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from deadlines where festival_id = $1 and order_id = any($2)").bind(festival).bind(orders).execute(conn).await?;
    Ok(())
}

/// Holds a locked order until a deadline; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn wait_until(conn: &mut PgConnection, order: OrderId, kind: DeadlineKind, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set held_until = $3 where festival_id = $1 and order_id = $2 and status = 'held'")
        .bind(order.festival())
        .bind(order)
        .bind(due_at)
        .execute(&mut *conn)
        .await?;
    set(conn, order.festival(), kind, &[(order, due_at)]).await
}

/// Looks at orders again at a moment.
pub(super) async fn postpone(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], until: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update deadlines set due_at = $3 where festival_id = $1 and order_id = any($2)").bind(festival).bind(orders).bind(until).execute(conn).await?;
    Ok(())
}
