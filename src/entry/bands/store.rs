//! The rows of wristbands.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection, PgPool};

use super::BandEnd;
use crate::id::{BandId, DeviceId, FestivalId, TicketId};

/// How many bands of a color there are.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct BandStock {
    /// The color of the passes that they are given for.
    pub color: String,
    /// How many were delivered; absent where nobody said.
    pub delivered: Option<i32>,
    /// How many were given, those that were lost among them.
    pub given: i32,
    /// How many of them were reported lost.
    pub lost: i32,
}

impl BandStock {
    /// How many are left to be given; below zero where more were given than were said to be there.
    #[must_use]
    pub fn left(&self) -> Option<i32> {
        Some(self.delivered? - self.given)
    }
}

/// A band that is on a wrist.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Given {
    pub(super) band_id: BandId,
    pub(super) ticket_id: TicketId,
    pub(super) generation: i16,
    pub(super) color: String,
    pub(super) band_hash: Option<Vec<u8>>,
    pub(super) band_end: Option<String>,
    pub(super) device_id: DeviceId,
    pub(super) given_at: DateTime<Utc>,
    pub(super) position: i64,
}

/// A band that was on a wrist, by what it carries.
#[derive(Clone, Debug, FromRow)]
pub struct Worn {
    /// The number of its ticket.
    pub ticket_number: i64,
    /// The number of its pass.
    pub pass_number: i32,
    /// The generation that it opens a gate with.
    pub generation: i16,
    /// What it carries, hashed.
    pub band_hash: Vec<u8>,
    /// Since when.
    pub given_at: DateTime<Utc>,
    /// Until when.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A band in the feed of gates: its ticket's number, and what it carries while it is on a wrist.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    /// The number of its ticket.
    pub ticket_number: i64,
    /// What it carries, hashed; `None` where it ended or is plain.
    pub band_hash: Option<Vec<u8>>,
    /// Where it stands in the feed of tickets.
    pub position: i64,
}

/// The band that a ticket is on a wrist by.
pub(super) async fn living(conn: &mut PgConnection, ticket: TicketId) -> Result<Option<Given>, sqlx::Error> {
    sqlx::query_as(
        "select band_id, ticket_id, generation, color, band_hash, band_end, device_id, given_at, position from bands \
         where festival_id = $1 and ticket_id = $2 and ended_at is null",
    )
    .bind(ticket.festival())
    .bind(ticket)
    .fetch_optional(conn)
    .await
}

/// Writes a band down; not where it is on another wrist, or was lost.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, given: &Given) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into bands (festival_id, band_id, ticket_id, generation, color, band_hash, band_end, device_id, given_at, position) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing",
    )
    .bind(festival)
    .bind(given.band_id)
    .bind(given.ticket_id)
    .bind(given.generation)
    .bind(&given.color)
    .bind(&given.band_hash)
    .bind(&given.band_end)
    .bind(given.device_id)
    .bind(given.given_at)
    .bind(given.position)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn end(
    conn: &mut PgConnection,
    festival: FestivalId,
    band: BandId,
    why: BandEnd,
    now: DateTime<Utc>,
    position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("update bands set ended_at = $3, ended_why = $4, position = $5 where festival_id = $1 and band_id = $2 and ended_at is null")
        .bind(festival)
        .bind(band)
        .bind(now)
        .bind(why)
        .bind(position)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts a band that is given, as the last lock.
pub(super) async fn count_given(conn: &mut PgConnection, festival: FestivalId, color: &str) -> Result<BandStock, sqlx::Error> {
    sqlx::query_as(
        "insert into band_stocks (festival_id, color, given) values ($1, $2, 1) \
         on conflict (festival_id, color) do update set given = band_stocks.given + 1 returning color, delivered, given, lost",
    )
    .bind(festival)
    .bind(color)
    .fetch_one(conn)
    .await
}

/// Counts a band that ended, as the last lock.
pub(super) async fn count_ended(conn: &mut PgConnection, festival: FestivalId, color: &str, why: BandEnd) -> Result<(), sqlx::Error> {
    let (given, lost) = if why == BandEnd::Lost { (0, 1) } else { (-1, 0) };
    sqlx::query("update band_stocks set given = given + $3, lost = lost + $4 where festival_id = $1 and color = $2")
        .bind(festival)
        .bind(color)
        .bind(given)
        .bind(lost)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn stock(conn: &mut PgConnection, festival: FestivalId, color: &str) -> Result<Option<BandStock>, sqlx::Error> {
    sqlx::query_as("select color, delivered, given, lost from band_stocks where festival_id = $1 and color = $2")
        .bind(festival)
        .bind(color)
        .fetch_optional(conn)
        .await
}

pub(super) async fn stocks(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<BandStock>, sqlx::Error> {
    sqlx::query_as("select color, delivered, given, lost from band_stocks where festival_id = $1 order by color").bind(festival).fetch_all(conn).await
}

pub(super) async fn deliver(conn: &mut PgConnection, festival: FestivalId, color: &str, delivered: Option<i32>) -> Result<BandStock, sqlx::Error> {
    sqlx::query_as(
        "insert into band_stocks (festival_id, color, delivered) values ($1, $2, $3) \
         on conflict (festival_id, color) do update set delivered = excluded.delivered returning color, delivered, given, lost",
    )
    .bind(festival)
    .bind(color)
    .bind(delivered)
    .fetch_one(conn)
    .await
}

/// Whether anybody at a festival wears a band.
///
/// # Errors
/// What the database said.
pub async fn has_bands(pool: &PgPool, festival: FestivalId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from bands where festival_id::bigint = $1)").bind(festival).fetch_one(pool).await
}

/// Whose wrists bands were on, by what they carry, in the order of time.
///
/// # Errors
/// What the database said.
pub async fn worn(conn: &mut PgConnection, festival: FestivalId, hashes: &[Vec<u8>]) -> Result<Vec<Worn>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_number, t.pass_number, b.generation, b.band_hash, b.given_at, b.ended_at from unnest($2::bytea[]) as h (band_hash) \
         cross join lateral (select ticket_id, generation, band_hash, given_at, ended_at from bands where festival_id = $1 and band_hash = h.band_hash offset 0) b \
         cross join lateral (select ticket_number, pass_number from tickets where festival_id = $1 and ticket_id = b.ticket_id offset 0) t order by b.given_at",
    )
    .bind(festival)
    .bind(hashes)
    .fetch_all(conn)
    .await
}

/// Bands behind a position of the feed of tickets, up to another, oldest first.
///
/// # Errors
/// What the database said.
pub async fn feed(conn: &mut PgConnection, festival: FestivalId, after: i64, upto: i64, most: i64) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_number, case when b.ended_at is null then b.band_hash end as band_hash, b.position from \
              (select ticket_id, band_hash, ended_at, position from bands where festival_id::bigint = $1 and position > $2 and position <= $3 order by position limit $4) b \
         cross join lateral (select ticket_number from tickets where festival_id = $1 and ticket_id = b.ticket_id offset 0) t order by b.position",
    )
    .bind(festival)
    .bind(after)
    .bind(upto)
    .bind(most)
    .fetch_all(conn)
    .await
}
