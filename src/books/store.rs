//! The rows of the books.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Due, JournalKind};
use crate::{
    id::{self, FestivalId, OrderId},
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

// - the queue of documents -

/// The festivals that have entries that are due.
///
/// # Errors
/// What the database said.
pub async fn due_festivals(pool: &PgPool, now: DateTime<Utc>) -> Result<Vec<FestivalId>, sqlx::Error> {
    sqlx::query_scalar("select distinct festival_id from documents_due where due_id < $1")
        .bind(id::first_at(now + TimeDelta::milliseconds(1)))
        .fetch_all(pool)
        .await
}

/// Takes the oldest entry of a festival that is due and that nobody else has, in this transaction.
///
/// # Errors
/// What the database said.
pub async fn take_due(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Option<Due>, sqlx::Error> {
    sqlx::query_as(
        "delete from documents_due where festival_id = $1 and due_id = ( \
             select due_id from documents_due where festival_id = $1 and due_id < $2 order by due_id limit 1 for update skip locked) \
         returning festival_id, due_id, order_ids",
    )
    .bind(festival)
    .bind(id::first_at(now + TimeDelta::milliseconds(1)))
    .fetch_optional(conn)
    .await
}

/// Puts an entry off: it becomes due again at a moment.
///
/// # Errors
/// What the database said.
pub async fn put_off(pool: &PgPool, due: &Due, until: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update documents_due set due_id = $3 where festival_id = $1 and due_id = $2")
        .bind(due.festival_id)
        .bind(due.due_id)
        .bind(id::fresh(due.festival_id, until))
        .execute(pool)
        .await?;
    Ok(())
}

/// Lets the documents of an order be looked at; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn look_at(conn: &mut PgConnection, order: OrderId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into documents_due (festival_id, due_id, order_ids) values ($1, $2, $3)")
        .bind(order.festival())
        .bind(id::fresh(order.festival(), now))
        .bind([order])
        .execute(conn)
        .await?;
    Ok(())
}
