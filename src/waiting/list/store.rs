//! The rows of waiting lists.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Joining, Wait, WaitStatus};
use crate::id::{FestivalId, OfferId, OrderId, WaitId};

/// Writes a wait down, unless its address has one in the line; whether it was written.
pub(super) async fn insert(
    conn: &mut PgConnection,
    wait: WaitId,
    offer: OfferId,
    joining: &Joining,
    email_key: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into waits (festival_id, wait_id, offer_id, quantity, status, email, email_key, name, language, joined_at) \
         values ($1, $2, $3, $4, 'waiting', $5, $6, $7, $8, $9) on conflict do nothing",
    )
    .bind(offer.festival())
    .bind(wait)
    .bind(offer)
    .bind(joining.quantity)
    .bind(&joining.email)
    .bind(email_key)
    .bind(&joining.name)
    .bind(joining.language)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A wait.
///
/// # Errors
/// What the database said.
pub async fn wait(pool: &PgPool, id: WaitId) -> Result<Option<Wait>, sqlx::Error> {
    sqlx::query_as(
        "select wait_id, offer_id, quantity, status, email, email_key, name, language, joined_at, order_id from waits where festival_id = $1 and wait_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// How many waits of its line are before one, counted to a thousand.
///
/// # Errors
/// What the database said.
pub async fn before(pool: &PgPool, wait: &Wait) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from (select from waits where offer_id = $2 and festival_id = $1 and wait_id < $3 and status = 'waiting' limit 1000) as earlier",
    )
    .bind(wait.wait_id.festival())
    .bind(wait.offer_id)
    .bind(wait.wait_id)
    .fetch_one(pool)
    .await
}

/// Who is first in a line of those who want no more than so many.
///
/// # Errors
/// What the database said.
pub async fn first_in_line(pool: &PgPool, offer: OfferId, at_most: i32, most: i64) -> Result<Vec<Wait>, sqlx::Error> {
    sqlx::query_as(
        "select wait_id, offer_id, quantity, status, email, email_key, name, language, joined_at, order_id from waits \
         where offer_id = $2 and festival_id = $1 and status = 'waiting' and quantity <= $3 order by wait_id limit $4",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(at_most)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// Locks those of some waits that are open.
///
/// # Errors
/// What the database said.
pub async fn lock_waiting(conn: &mut PgConnection, festival: FestivalId, waits: &[WaitId]) -> Result<Vec<Wait>, sqlx::Error> {
    // The line has an index of its own that knows no ids: the state is looked at here.
    let all: Vec<Wait> = sqlx::query_as(
        "select wait_id, offer_id, quantity, status, email, email_key, name, language, joined_at, order_id from waits \
         where festival_id = $1 and wait_id = any($2) order by wait_id for no key update",
    )
    .bind(festival)
    .bind(waits)
    .fetch_all(conn)
    .await?;
    Ok(all.into_iter().filter(|wait| wait.status == WaitStatus::Waiting).collect())
}

/// Ends open waits; what they asked for, by offer: units and people.
pub(super) async fn end(
    conn: &mut PgConnection,
    festival: FestivalId,
    waits: &[WaitId],
    status: WaitStatus,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<(OfferId, i32, i32)>, sqlx::Error> {
    sqlx::query_as(
        "with locked as materialized (select wait_id, status from waits where festival_id = $1 and wait_id = any($2) order by wait_id for no key update), \
              ended as (update waits e set status = $3, reason = $4, ended_at = $5 from locked \
                        where e.festival_id = $1 and e.wait_id = locked.wait_id and locked.status = 'waiting' returning e.offer_id, e.quantity) \
         select offer_id, sum(quantity)::integer, count(*)::integer from ended group by offer_id order by offer_id",
    )
    .bind(festival)
    .bind(waits)
    .bind(status)
    .bind(reason)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Writes orders to locked open waits; what they asked for, by offer: units and people.
pub(super) async fn invite(
    conn: &mut PgConnection,
    festival: FestivalId,
    invitations: &[(Wait, OrderId)],
    now: DateTime<Utc>,
) -> Result<Vec<(OfferId, i32, i32)>, sqlx::Error> {
    sqlx::query_as(
        "with invited as (update waits e set status = 'invited', order_id = i.order_id, ended_at = $4 \
                          from unnest($2::uuid[], $3::uuid[]) as i (wait_id, order_id) \
                          where e.festival_id = $1 and e.wait_id = i.wait_id returning e.offer_id, e.quantity) \
         select offer_id, sum(quantity)::integer, count(*)::integer from invited group by offer_id order by offer_id",
    )
    .bind(festival)
    .bind(invitations.iter().map(|(wait, _)| wait.wait_id).collect::<Vec<_>>())
    .bind(invitations.iter().map(|(_, order)| *order).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await
}

/// How many of an offer's list were invited and may still pay, and how many paid.
pub(super) async fn outcomes(conn: &mut PgConnection, offer: OfferId) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "select count(*) filter (where o.status = 'held'), count(*) filter (where o.status in ('paid', 'partly_refunded', 'refunded')) \
         from waits e join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id \
         where e.festival_id = $1 and e.offer_id = $2 and e.order_id is not null",
    )
    .bind(offer.festival())
    .bind(offer)
    .fetch_one(conn)
    .await
}

/// Empties the addresses of waits that ended before a moment; at most ten thousand.
pub(super) async fn forget(pool: &PgPool, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "with old as materialized (select festival_id, wait_id from waits where ended_at < $1 and email <> '' order by ended_at limit 10000) \
         update waits e set email = '', email_key = '', name = '' from old where e.festival_id = old.festival_id and e.wait_id = old.wait_id",
    )
    .bind(before)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
