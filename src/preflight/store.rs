//! What a backup holds.

use sqlx::PgConnection;

/// How many orders are there.
pub(super) async fn orders(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from orders").fetch_one(conn).await
}
