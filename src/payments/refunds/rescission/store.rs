//! What an order may be withdrawn from.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Unheard;
use crate::id::OrderId;

/// When an order was paid that is not returned whole.
pub(super) async fn paid_at(conn: &mut PgConnection, order: OrderId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let found: Option<Option<DateTime<Utc>>> =
        sqlx::query_scalar("select paid_at from orders where festival_id = $1 and order_id = $2 and status in ('paid', 'partly_refunded')")
            .bind(order.festival())
            .bind(order)
            .fetch_optional(conn)
            .await?;
    Ok(found.flatten())
}

/// The albums of an order that nobody heard, with the copies that nobody took.
pub(super) async fn unheard(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Unheard>, sqlx::Error> {
    sqlx::query_as(
        "select line_no, component_no, release_id, copies - claimed as copies from entitlements \
         where festival_id = $1 and order_id = $2 and first_taken_at is null and copies > claimed order by line_no, component_no",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}
