//! The latest orders of an address.

use sqlx::PgPool;

use crate::id::{FestivalId, OrderId};

/// The latest paid orders of an address.
pub(super) async fn latest_paid(pool: &PgPool, festival: FestivalId, email_key: &str, most: i64) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar(
        "select order_id from orders where email_key = $2 and festival_id = $1 and email_key <> '' and status in ('paid', 'partly_refunded') order by order_id desc limit $3",
    )
    .bind(festival)
    .bind(email_key)
    .bind(most)
    .fetch_all(pool)
    .await
}
