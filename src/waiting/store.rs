//! The rows of waiting rooms.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Room, Step};
use crate::id::{FestivalId, OfferId};

pub(super) async fn upsert(conn: &mut PgConnection, offer: OfferId, gathers_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<Option<Room>, sqlx::Error> {
    sqlx::query_as(
        "with made as ( \
             insert into waiting_rooms (festival_id, offer_id, gathers_at) select festival_id, offer_id, $3 from offers where festival_id = $1 and offer_id = $2 \
             on conflict (festival_id, offer_id) do update set ended_at = null, \
                 gathers_at = case when waiting_rooms.gathers_at <= $4 then waiting_rooms.gathers_at else $3 end returning festival_id, offer_id, gathers_at, ended_at) \
         select m.offer_id, m.gathers_at, m.ended_at, o.opens_at from made m join offers o on o.festival_id = m.festival_id and o.offer_id = m.offer_id",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(gathers_at)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub(super) async fn end(conn: &mut PgConnection, offer: OfferId, now: DateTime<Utc>) -> Result<Option<Room>, sqlx::Error> {
    sqlx::query_as(
        "update waiting_rooms w set ended_at = coalesce(w.ended_at, greatest($3, w.gathers_at)) from offers o \
         where w.festival_id = $1 and w.offer_id = $2 and o.festival_id = $1 and o.offer_id = $2 \
         returning w.offer_id, w.gathers_at, w.ended_at, o.opens_at",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub(super) async fn one(pool: &PgPool, offer: OfferId) -> Result<Option<Room>, sqlx::Error> {
    sqlx::query_as(
        "select w.offer_id, w.gathers_at, w.ended_at, o.opens_at from waiting_rooms w join offers o on o.festival_id = w.festival_id and o.offer_id = w.offer_id \
         where w.festival_id = $1 and w.offer_id = $2",
    )
    .bind(offer.festival())
    .bind(offer)
    .fetch_optional(pool)
    .await
}

/// The rooms that are on, or will be within the next seconds.
pub(super) async fn on(pool: &PgPool, now: DateTime<Utc>) -> Result<Vec<Room>, sqlx::Error> {
    sqlx::query_as(
        "select w.offer_id, w.gathers_at, w.ended_at, o.opens_at from waiting_rooms w join offers o on o.festival_id = w.festival_id and o.offer_id = w.offer_id \
         where w.gathers_at <= $1 and w.ended_at is null",
    )
    .bind(now + chrono::TimeDelta::seconds(5))
    .fetch_all(pool)
    .await
}

pub(super) async fn add_joins(pool: &PgPool, festival: FestivalId, server: Uuid, counted: &[(OfferId, DateTime<Utc>, i32)]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into waiting_joins (festival_id, offer_id, at, server, joined) \
         select $1, j.offer_id, j.at, $2, j.joined from unnest($3::uuid[], $4::timestamptz[], $5::integer[]) as j (offer_id, at, joined) \
         on conflict (festival_id, offer_id, at, server) do update set joined = waiting_joins.joined + excluded.joined",
    )
    .bind(festival)
    .bind(server)
    .bind(counted.iter().map(|(o, ..)| *o).collect::<Vec<_>>())
    .bind(counted.iter().map(|(_, at, _)| *at).collect::<Vec<_>>())
    .bind(counted.iter().map(|(.., n)| *n).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn joins(pool: &PgPool, offer: OfferId, from: DateTime<Utc>) -> Result<Vec<(DateTime<Utc>, i64)>, sqlx::Error> {
    sqlx::query_as("select at, sum(joined) from waiting_joins where festival_id = $1 and offer_id = $2 and at >= $3 group by at order by at")
        .bind(offer.festival())
        .bind(offer)
        .bind(from)
        .fetch_all(pool)
        .await
}

pub(super) async fn gathered(conn: &mut PgConnection, offer: OfferId, opens_at: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(sum(joined), 0)::bigint from waiting_joins where festival_id = $1 and offer_id = $2 and at < $3")
        .bind(offer.festival())
        .bind(offer)
        .bind(opens_at)
        .fetch_one(conn)
        .await
}

/// Everybody who came so far.
pub(super) async fn all_joins(pool: &PgPool, offer: OfferId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(sum(joined), 0)::bigint from waiting_joins where festival_id = $1 and offer_id = $2")
        .bind(offer.festival())
        .bind(offer)
        .fetch_one(pool)
        .await
}

/// Steps of an opening after a moment; without one those since another, and one before it.
pub(super) async fn steps_after(
    pool: &PgPool,
    offer: OfferId,
    draws_at: DateTime<Utc>,
    after: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
) -> Result<Vec<Step>, sqlx::Error> {
    sqlx::query_as(
        "select at, draws_at, gathered, drawn, joined_before, admitted, placed, waiting, per_second, free, availability from waiting_steps \
         where festival_id = $1 and offer_id = $2 and draws_at = $3 and case when $4::timestamptz is not null then at > $4 else at >= coalesce(( \
             select s.at from waiting_steps s where s.festival_id = $1 and s.offer_id = $2 and s.draws_at = $3 and s.at < $5 order by s.at desc limit 1), $5) end \
         order by at",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(draws_at)
    .bind(after)
    .bind(since)
    .fetch_all(pool)
    .await
}

/// Whether this transaction is the one that moves the room.
pub(super) async fn try_lead(conn: &mut PgConnection, offer: OfferId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended($1::text, 7))").bind(offer.0).fetch_one(conn).await
}

pub(super) async fn last_at(conn: &mut PgConnection, offer: OfferId, draws_at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar("select at from waiting_steps where festival_id = $1 and offer_id = $2 and draws_at = $3 order by at desc limit 1")
        .bind(offer.festival())
        .bind(offer)
        .bind(draws_at)
        .fetch_optional(conn)
        .await
}

pub(super) async fn insert_step(conn: &mut PgConnection, offer: OfferId, step: &Step) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into waiting_steps (festival_id, offer_id, at, draws_at, gathered, drawn, joined_before, admitted, placed, waiting, per_second, free, availability) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(step.at)
    .bind(step.draws_at)
    .bind(step.gathered)
    .bind(step.drawn)
    .bind(step.joined_before)
    .bind(step.admitted)
    .bind(step.placed)
    .bind(step.waiting)
    .bind(step.per_second)
    .bind(step.free)
    .bind(step.availability)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn forget(pool: &PgPool, ended_before: DateTime<Utc>, steps_before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let mut gone = 0;
    for table in [
        "delete from waiting_joins j using waiting_rooms w where w.ended_at < $1 and j.festival_id = w.festival_id and j.offer_id = w.offer_id",
        "delete from waiting_steps s using waiting_rooms w where w.ended_at < $1 and s.festival_id = w.festival_id and s.offer_id = w.offer_id",
    ] {
        gone += sqlx::query(table).bind(ended_before).execute(pool).await?.rows_affected();
    }
    let old = sqlx::query(
        "delete from waiting_steps s using waiting_rooms w where w.ended_at is null and s.festival_id = w.festival_id and s.offer_id = w.offer_id and s.at < $1 \
         and exists (select from waiting_steps n where n.festival_id = s.festival_id and n.offer_id = s.offer_id and n.at > s.at and n.at < $1)",
    );
    gone += old.bind(steps_before).execute(pool).await?.rows_affected();
    Ok(gone)
}
