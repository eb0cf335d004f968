//! What Postgres counted while it was measured.

use sqlx::{PgConnection, Row};

/// Rows of each table that were read so far, by index or from end to end.
pub(super) async fn rows_read(conn: &mut PgConnection) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query(
        "select relname::text as name, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint as rows from pg_stat_user_tables order by relname",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("rows")?))).collect()
}

/// Does what autovacuum does in quiet hours: what was filled in minutes has had none.
pub(super) async fn rest(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("vacuum (analyze)").execute(conn).await?;
    Ok(())
}
