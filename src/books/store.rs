//! The rows of the books.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::JournalKind;
use crate::{
    id::{FestivalId, OrderId},
    money::Currency,
};

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    id: Uuid,
    kind: JournalKind,
    about: &[OrderId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with j as (insert into journals (festival_id, journal_id, kind, at) values ($1, $2, $3, $4)) \
         insert into documents_due (festival_id, due_id, order_ids) select $1, $2, $5 \
         where cardinality($5::uuid[]) > 0 and exists (select from invoicing where festival_id = $1)",
    )
    .bind(festival)
    .bind(id)
    .bind(kind)
    .bind(now)
    .bind(about)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_entries(conn: &mut PgConnection, festival: FestivalId, id: Uuid, entries: &[(String, &Currency, i64)]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into journal_entries (festival_id, journal_id, account, currency, minor) \
         select $1, $2, e.* from unnest($3::text[], $4::text[], $5::bigint[]) as e",
    )
    .bind(festival)
    .bind(id)
    .bind(entries.iter().map(|(account, ..)| account.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, currency, _)| currency.code()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(.., minor)| *minor).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
