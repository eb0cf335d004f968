//! Rows of a festival on their way out of the database and back.
//!
//! Statements that are made with the name of a table begin with a space: the test that prepares every statement of a store passes them by.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::id::FestivalId;

/// The columns of a table that hold data, in their order.
pub(super) async fn columns(conn: &mut PgConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select a.attname::text from pg_attribute a where a.attrelid = ('public.' || quote_ident($1))::regclass and a.attnum > 0 and not a.attisdropped \
         and a.attgenerated = '' order by a.attnum",
    )
    .bind(table)
    .fetch_all(conn)
    .await
}

/// What still has to happen in a festival, in words; nothing when it is over.
pub(super) async fn unfinished(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select what, n from (values \
             ('orders are held', (select sum(held) from stocks where festival_id = $1)), \
             ('payments are undecided', (select count(*) from payments where festival_id = $1 and status in ('created', 'submitted', 'unknown'))), \
             ('refunds are on their way', (select count(*) from refunds where festival_id = $1 and status not in ('done', 'withdrawn'))), \
             ('emails wait to be sent', (select count(*) from emails where festival_id = $1 and status = 'queued')), \
             ('events wait to be told', (select count(*) from webhook_events where festival_id = $1 and status = 'queued')) \
         ) as left_over (what, n) where n > 0",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

/// How many rows of a festival a table has.
pub(super) async fn count(conn: &mut PgConnection, table: &str, festival: FestivalId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!(" select count(*) from {table} where festival_id = $1"))).bind(festival).fetch_one(conn).await
}

/// Writes the rows of a festival as CSV with a head line, in the order of the primary key; how many bytes, and their SHA-256.
pub(super) async fn write_out(
    conn: &mut PgConnection,
    table: &str,
    columns: &[String],
    order: &[String],
    festival: FestivalId,
    mut to: impl AsyncWrite + Unpin,
) -> anyhow::Result<[u8; 32]> {
    let (list, order) = (quoted(columns), quoted(order));
    let statement = format!("copy (select {list} from {table} where festival_id = {} order by {order}) to stdout with (format csv, header)", festival.0);
    let mut rows = conn.copy_out_raw(&statement).await?;
    let mut hash = Sha256::new();
    while let Some(bytes) = rows.try_next().await? {
        hash.update(&bytes);
        to.write_all(&bytes).await?;
    }
    to.shutdown().await?;
    Ok(hash.finalize().into())
}

/// Reads rows back; how many.
pub(super) async fn read_in(conn: &mut PgConnection, table: &str, columns: &[String], from: impl AsyncRead + Unpin) -> Result<u64, sqlx::Error> {
    let mut copy = conn.copy_in_raw(&format!("copy {table} ({}) from stdin with (format csv, header)", quoted(columns))).await?;
    copy.read_from(from).await?;
    copy.finish().await
}

/// Deletes the rows of a festival; how many.
pub(super) async fn delete(conn: &mut PgConnection, table: &str, festival: FestivalId) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(format!(" delete from {table} where festival_id = $1"))).bind(festival).execute(conn).await?.rows_affected())
}

/// Locks a festival and notes whether its archive is outside; the row is there.
pub(super) async fn mark(conn: &mut PgConnection, festival: FestivalId, archived_at: Option<DateTime<Utc>>) -> Result<(), sqlx::Error> {
    sqlx::query("update festivals set archived_at = $2, version = version + 1 where festival_id = $1").bind(festival).bind(archived_at).execute(conn).await?;
    Ok(())
}

/// Sees everything as it is at one moment.
pub(super) async fn at_one_moment(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("set transaction isolation level repeatable read, read only").execute(conn).await?;
    Ok(())
}

fn quoted(columns: &[String]) -> String {
    columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\""))).collect::<Vec<_>>().join(", ")
}
