//! The rows of the outbox.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::Draft;
use crate::{id::FestivalId, words::Language};

/// An email of the outbox.
#[derive(Debug, Clone, FromRow)]
pub struct Email {
    /// Whose festival.
    pub festival_id: FestivalId,
    /// What it is about.
    pub thing_id: Uuid,
    /// Its kind.
    pub kind: String,
    /// The language of its reader.
    pub language: Language,
    /// Its reader.
    pub recipient: String,
    /// queued, sent or failed.
    pub status: String,
    /// How often it was tried.
    pub attempts: i16,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    drafts: &[&Draft],
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into emails (festival_id, thing_id, kind, lane, language, recipient, status, queued_at, due_at, attempts) \
         select $1, d.thing_id, d.kind, d.lane, d.language, d.recipient, 'queued', $7, $8, 0 \
         from unnest($2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::text[]) as d (thing_id, kind, lane, language, recipient) \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(drafts.iter().map(|d| d.thing).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| d.kind).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| d.lane as i16).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| if d.language == Language::Zh { "zh" } else { "en" }).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| d.recipient.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// The festival whose email is due first; asked before claiming because Citus claims in one shard only.
pub(super) async fn next_festival(pool: &PgPool, now: DateTime<Utc>) -> Result<Option<FestivalId>, sqlx::Error> {
    sqlx::query_scalar(
        "select festival_id from emails where status = 'queued' and due_at <= $1 and (leased_until is null or leased_until < $1) \
         order by lane, due_at limit 1",
    )
    .bind(now)
    .fetch_optional(pool)
    .await
}

pub(super) async fn claim(pool: &PgPool, festival: FestivalId, now: DateTime<Utc>, until: DateTime<Utc>, most: i64) -> Result<Vec<Email>, sqlx::Error> {
    sqlx::query_as(
        "with due as materialized ( \
             select thing_id, kind from emails \
             where festival_id = $1 and status = 'queued' and due_at <= $2 and (leased_until is null or leased_until < $2) \
             order by lane, due_at limit $4 for update skip locked) \
         update emails e set leased_until = $3 from due \
         where e.festival_id = $1 and e.thing_id = due.thing_id and e.kind = due.kind \
         returning e.festival_id, e.thing_id, e.kind, e.language, e.recipient, e.status, e.attempts, e.queued_at",
    )
    .bind(festival)
    .bind(now)
    .bind(until)
    .bind(most)
    .fetch_all(pool)
    .await
}

pub(super) async fn sent(pool: &PgPool, email: &Email, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update emails set status = 'sent', sent_at = $4, leased_until = null, attempts = attempts + 1, last_error = null \
         where festival_id = $1 and thing_id = $2 and kind = $3 and status not in ('sent', 'failed')",
    )
    .bind(email.festival_id)
    .bind(email.thing_id)
    .bind(&email.kind)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn failed(pool: &PgPool, email: &Email, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update emails set status = 'failed', leased_until = null, attempts = attempts + 1, last_error = $4 \
         where festival_id = $1 and thing_id = $2 and kind = $3 and status not in ('sent', 'failed')",
    )
    .bind(email.festival_id)
    .bind(email.thing_id)
    .bind(&email.kind)
    .bind(why)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn later(pool: &PgPool, email: &Email, due_at: DateTime<Utc>, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update emails set due_at = $4, leased_until = null, attempts = attempts + 1, last_error = $5 \
         where festival_id = $1 and thing_id = $2 and kind = $3 and status not in ('sent', 'failed')",
    )
    .bind(email.festival_id)
    .bind(email.thing_id)
    .bind(&email.kind)
    .bind(due_at)
    .bind(why)
    .execute(pool)
    .await?;
    Ok(())
}

/// Queues emails under the first of some kinds that was not queued in the last hour; none where all were.
pub(super) async fn again(
    conn: &mut PgConnection,
    festival: FestivalId,
    drafts: &[&Draft],
    kinds: &[&str],
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into emails (festival_id, thing_id, kind, lane, language, recipient, status, queued_at, due_at, attempts) \
         select $1, d.thing_id, k.kind, d.lane, d.language, d.recipient, 'queued', $7, $8, 0 \
         from unnest($2::uuid[], $3::smallint[], $4::text[], $5::text[]) as d (thing_id, lane, language, recipient) \
         cross join lateral (select k.kind from unnest($6::text[]) with ordinality as k (kind, no) \
             where not exists (select from emails e where e.festival_id = $1 and e.thing_id = d.thing_id and e.kind = k.kind and e.queued_at > $7::timestamptz - interval '1 hour') \
             order by k.no limit 1) k \
         on conflict (festival_id, thing_id, kind) do update set status = 'queued', queued_at = excluded.queued_at, due_at = excluded.due_at, attempts = 0, \
             language = excluded.language, recipient = excluded.recipient, sent_at = null, last_error = null, leased_until = null",
    )
    .bind(festival)
    .bind(drafts.iter().map(|d| d.thing).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| d.lane as i16).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| if d.language == Language::Zh { "zh" } else { "en" }).collect::<Vec<_>>())
    .bind(drafts.iter().map(|d| d.recipient.as_str()).collect::<Vec<_>>())
    .bind(kinds)
    .bind(now)
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// The emails about a thing.
///
/// # Errors
/// What the database said.
pub async fn of_thing(pool: &PgPool, festival: FestivalId, thing: Uuid) -> Result<Vec<Email>, sqlx::Error> {
    sqlx::query_as("select festival_id, thing_id, kind, language, recipient, status, attempts, queued_at from emails where festival_id = $1 and thing_id = $2")
        .bind(festival)
        .bind(thing)
        .fetch_all(pool)
        .await
}
