//! The rows of re-issuing what a key signed.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::KeyReissue;
use crate::{
    id::{FestivalId, OrderId, TicketId},
    words::Language,
};

/// Begins to re-issue what a key signed; one that goes on goes on.
pub(super) async fn begin_walk(conn: &mut PgConnection, festival: FestivalId, key_id: i16, now: DateTime<Utc>) -> Result<KeyReissue, sqlx::Error> {
    sqlx::query(
        "insert into key_reissues (festival_id, key_id, asked_at) values ($1, $2, $3) on conflict (festival_id, key_id) do update \
         set asked_at = excluded.asked_at, after_id = null, done = 0, ended_at = null where key_reissues.ended_at is not null",
    )
    .bind(festival)
    .bind(key_id)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    walk(conn, festival, key_id).await?.ok_or(sqlx::Error::RowNotFound)
}

pub(super) async fn walk(conn: &mut PgConnection, festival: FestivalId, key_id: i16) -> Result<Option<KeyReissue>, sqlx::Error> {
    sqlx::query_as("select key_id, asked_at, done, ended_at from key_reissues where festival_id = $1 and key_id = $2")
        .bind(festival)
        .bind(key_id)
        .fetch_optional(conn)
        .await
}

/// Locks a walk that goes on at a festival, which no other server walks now.
pub(super) async fn next_walk(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<(i16, DateTime<Utc>, Option<TicketId>)>, sqlx::Error> {
    sqlx::query_as(
        "select key_id, asked_at, after_id from key_reissues where festival_id = $1 and ended_at is null order by asked_at limit 1 \
         for no key update skip locked",
    )
    .bind(festival)
    .fetch_optional(conn)
    .await
}

/// The festivals with a walk that goes on; asks every shard.
pub(super) async fn walking(pool: &PgPool) -> Result<Vec<FestivalId>, sqlx::Error> {
    sqlx::query_scalar("select festival_id from key_reissues where ended_at is null group by festival_id").fetch_all(pool).await
}

/// The next tickets of a festival, by their ids, that are below one.
pub(super) async fn ids_between(
    conn: &mut PgConnection,
    festival: FestivalId,
    after: Option<TicketId>,
    before: TicketId,
    most: i64,
) -> Result<Vec<TicketId>, sqlx::Error> {
    sqlx::query_scalar(
        "select ticket_id from tickets where festival_id = $1 and ticket_id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000'::uuid) and ticket_id < $3 \
         order by ticket_id limit $4",
    )
    .bind(festival)
    .bind(after)
    .bind(before)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// A ticket that a key signed, with who is told of it.
#[derive(Debug, FromRow)]
pub(super) struct Signed {
    pub(super) ticket_id: TicketId,
    pub(super) order_id: OrderId,
    pub(super) holder_email: Option<String>,
    pub(super) email: String,
    pub(super) language: Language,
}

/// Locks those of some tickets that a key signed and that open a gate.
pub(super) async fn lock_signed(conn: &mut PgConnection, festival: FestivalId, key_id: i16, ids: &[TicketId]) -> Result<Vec<Signed>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_id, t.order_id, t.holder_email, o.email, o.language from tickets t join orders o on o.festival_id = t.festival_id and o.order_id = t.order_id \
         where t.festival_id = $1 and t.ticket_id = any($2) and t.key_id = $3 and t.status = 'valid' and t.generation < 255 order by t.ticket_id for no key update of t",
    )
    .bind(festival)
    .bind(ids)
    .bind(key_id)
    .fetch_all(conn)
    .await
}

/// Which of some orders were told of a walk that was asked for at a moment: their tickets need not lie in one page.
pub(super) async fn told(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], asked_at: DateTime<Utc>) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar(
        "select o.order_id from unnest($2::uuid[]) as o (order_id) where exists (select from tickets t \
              join ticket_changes c on c.festival_id = t.festival_id and c.ticket_id = t.ticket_id and c.why = 'reissued' and c.letter_id is not null and c.changed_at >= $3 \
              join emails e on e.festival_id = c.festival_id and e.thing_id = c.letter_id and e.kind = 'codes_changed' \
              where t.festival_id = $1 and t.order_id = o.order_id)",
    )
    .bind(festival)
    .bind(orders)
    .bind(asked_at)
    .fetch_all(conn)
    .await
}

/// Writes down what locked tickets are until now.
pub(super) async fn insert_reissues(
    conn: &mut PgConnection,
    festival: FestivalId,
    ids: &[TicketId],
    letters: &[Option<Uuid>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into ticket_changes (festival_id, ticket_id, change_no, before_generation, before_status, why, note, changed_at, letter_id) \
         select $1, t.ticket_id, coalesce((select max(c.change_no) from ticket_changes c where c.festival_id = $1 and c.ticket_id = t.ticket_id), 0) + 1, \
                t.generation, t.status, 'reissued', '', $4, u.letter_id \
         from unnest($2::uuid[], $3::uuid[]) as u (ticket_id, letter_id) join tickets t on t.festival_id = $1 and t.ticket_id = u.ticket_id",
    )
    .bind(festival)
    .bind(ids)
    .bind(letters)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives locked tickets another code; phones that they are bound to hear of their new certificate by the ticket's page.
pub(super) async fn reissue_many(conn: &mut PgConnection, festival: FestivalId, ids: &[TicketId], key_id: i16, first: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update tickets t set generation = t.generation + 1, key_id = $3, position = $4 + u.no - 1 \
         from unnest($2::uuid[]) with ordinality as u (ticket_id, no) where t.festival_id = $1 and t.ticket_id = u.ticket_id",
    )
    .bind(festival)
    .bind(ids)
    .bind(key_id)
    .bind(first)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn advance_walk(conn: &mut PgConnection, festival: FestivalId, key_id: i16, after: TicketId, done: i32) -> Result<(), sqlx::Error> {
    sqlx::query("update key_reissues set after_id = $3, done = done + $4 where festival_id = $1 and key_id = $2")
        .bind(festival)
        .bind(key_id)
        .bind(after)
        .bind(done)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn end_walk(conn: &mut PgConnection, festival: FestivalId, key_id: i16, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update key_reissues set ended_at = $3 where festival_id = $1 and key_id = $2").bind(festival).bind(key_id).bind(now).execute(conn).await?;
    Ok(())
}
