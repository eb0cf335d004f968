//! The rows of orders that are looked at.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};

use super::super::{Line, Order, store::lines};
use crate::id::{FestivalId, OrderId};

/// An order with its lines.
///
/// # Errors
/// What the database said.
pub async fn order(pool: &PgPool, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    let found: Option<Order> = sqlx::query_as(
        "select order_id, status, email, buyer_name, language, row(total_minor, currency)::amount as total, placed_at, held_until, paid_at, ended_at, link_generation \
         from orders where festival_id = $1 and order_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_optional(pool)
    .await?;
    let Some(mut order) = found else { return Ok(None) };
    let mut conn = pool.acquire().await?;
    order.lines = lines(&mut conn, id.festival(), &[id]).await?.into_iter().map(|(_, line)| line).collect();
    Ok(Some(order))
}

/// A page of the orders of a festival, newest first.
///
/// # Errors
/// What the database said.
pub async fn orders_of(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, status, email, buyer_name, language, row(total_minor, currency)::amount as total, placed_at, held_until, paid_at, ended_at, link_generation \
         from orders where festival_id = $1 and ($2::uuid is null or order_id < $2) order by order_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}

/// The orders of a festival whose address begins with a text, newest first, at most 50.
///
/// # Errors
/// What the database said.
pub async fn search(conn: &mut PgConnection, festival: FestivalId, address: &str) -> Result<Vec<Order>, sqlx::Error> {
    // Beginnings are ranges of bytes; U+10FFFF comes after whatever an address may go on with.
    sqlx::query_as(
        "with found as materialized (select festival_id, order_id from orders where festival_id = $1 and email_key >= $2 and email_key < $2 || $3 \
                                    order by email_key limit 500) \
         select o.order_id, o.status, o.email, o.buyer_name, o.language, row(o.total_minor, o.currency)::amount as total, o.placed_at, o.held_until, \
                o.paid_at, o.ended_at, o.link_generation \
         from found f join orders o on o.festival_id = f.festival_id and o.order_id = f.order_id order by o.order_id desc limit 50",
    )
    .bind(festival)
    .bind(address)
    .bind("\u{10ffff}")
    .fetch_all(conn)
    .await
}

/// Orders of a festival with their lines, in the order of their ids; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn whole(conn: &mut PgConnection, festival: FestivalId, ids: &[OrderId]) -> Result<Vec<Order>, sqlx::Error> {
    let mut orders: Vec<Order> = sqlx::query_as(
        "select order_id, status, email, buyer_name, language, row(total_minor, currency)::amount as total, placed_at, held_until, paid_at, ended_at, link_generation \
         from orders where festival_id = $1 and order_id = any($2)",
    )
    .bind(festival)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    let mut by_order: HashMap<OrderId, Vec<Line>> = HashMap::new();
    for (order, line) in lines(conn, festival, ids).await? {
        by_order.entry(order).or_default().push(line);
    }
    for order in &mut orders {
        order.lines = by_order.remove(&order.order_id).unwrap_or_default();
    }
    // Sorted here: sorted by the database, it reads all of the festival in that order.
    orders.sort_unstable_by_key(|order| order.order_id);
    Ok(orders)
}
