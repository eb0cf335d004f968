//! The rows of overrides and of supervisors' cards.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::{Because, Overridden};
use crate::{
    entry::Reason,
    id::{DeviceId, FestivalId, GateId, MemberId, ScanId, TicketId},
};

/// The most cards that are listed.
const MOST: i64 = 500;

/// The row of a card.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Card {
    #[sqlx(rename = "card_number")]
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) day_index: i16,
    pub(super) overrides: i16,
    pub(super) used: i32,
    pub(super) key_id: i16,
    pub(super) not_after: DateTime<Utc>,
    pub(super) issued_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
}

pub(super) async fn insert_card(conn: &mut PgConnection, festival: FestivalId, card: &Card) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into supervisor_cards (festival_id, card_number, name, day_index, overrides, key_id, not_after, issued_at) values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(festival)
    .bind(card.number)
    .bind(&card.name)
    .bind(card.day_index)
    .bind(card.overrides)
    .bind(card.key_id)
    .bind(card.not_after)
    .bind(card.issued_at)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn card(pool: &PgPool, festival: FestivalId, number: i64) -> Result<Option<Card>, sqlx::Error> {
    sqlx::query_as("select * from supervisor_cards where festival_id = $1 and card_number = $2").bind(festival).bind(number).fetch_optional(pool).await
}

pub(super) async fn cards_of(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<Vec<Card>, sqlx::Error> {
    sqlx::query_as("select * from supervisor_cards where festival_id = $1 and card_number = any($2)").bind(festival).bind(numbers).fetch_all(conn).await
}

pub(super) async fn cards(conn: impl PgExecutor<'_>, festival: FestivalId) -> Result<Vec<Card>, sqlx::Error> {
    sqlx::query_as("select * from supervisor_cards where festival_id = $1 order by issued_at desc, card_number limit $2")
        .bind(festival)
        .bind(MOST)
        .fetch_all(conn)
        .await
}

/// The numbers of the cards that were revoked: gates without network refuse them, whatever became of their day.
///
/// # Errors
/// What the database said.
pub async fn revoked_cards(conn: impl PgExecutor<'_>, festival: FestivalId) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("select card_number from supervisor_cards where festival_id = $1 and revoked_at is not null order by card_number")
        .bind(festival)
        .fetch_all(conn)
        .await
}

/// Revokes a card; `None` where it is not there or was revoked before.
pub(super) async fn revoke_card(conn: &mut PgConnection, festival: FestivalId, number: i64, now: DateTime<Utc>) -> Result<Option<Card>, sqlx::Error> {
    sqlx::query_as("update supervisor_cards set revoked_at = $3 where festival_id = $1 and card_number = $2 and revoked_at is null returning *")
        .bind(festival)
        .bind(number)
        .bind(now)
        .fetch_optional(conn)
        .await
}

/// Locks cards, behind the locks of tickets; how often each may be used yet: one that was revoked not at all.
///
/// # Errors
/// What the database said.
pub async fn lock_cards(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<Vec<(i64, i32)>, sqlx::Error> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "select card_number, case when revoked_at is null then overrides - used else 0 end from supervisor_cards where festival_id = $1 and card_number = any($2) \
         order by card_number for no key update",
    )
    .bind(festival)
    .bind(numbers)
    .fetch_all(conn)
    .await
}

/// The same without a lock: only the negative control of the race tests may use it.
///
/// # Errors
/// What the database said.
pub async fn cards_left(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<Vec<(i64, i32)>, sqlx::Error> {
    sqlx::query_as(
        "select card_number, case when revoked_at is null then overrides - used else 0 end from supervisor_cards where festival_id = $1 and card_number = any($2)",
    )
    .bind(festival)
    .bind(numbers)
    .fetch_all(conn)
    .await
}

/// Counts the uses of cards.
pub(super) async fn count_uses(conn: &mut PgConnection, festival: FestivalId, done: &[&Overridden]) -> Result<(), sqlx::Error> {
    let mut numbers: Vec<i64> = done.iter().filter_map(|one| one.overriding.by.card()).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    numbers.sort_unstable();
    lock_cards(conn, festival, &numbers).await?;
    sqlx::query(
        "update supervisor_cards c set used = c.used + u.times from (select n, count(*)::integer as times from unnest($2::bigint[]) as n group by n) u \
         where c.festival_id = $1 and c.card_number = u.n",
    )
    .bind(festival)
    .bind(numbers)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes overrides; those that nobody had written.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, done: &[Overridden]) -> Result<Vec<ScanId>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into overrides (festival_id, scan_id, ticket_id, gate_id, device_id, reasons, because, note, member_id, card_number, made_at) \
         select $1, o.scan_id, o.ticket_id, o.gate_id, o.device_id, string_to_array(o.reasons, ' '), o.because, o.note, o.member_id, o.card_number, o.made_at \
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::bigint[], $11::timestamptz[]) \
              as o (scan_id, ticket_id, gate_id, device_id, reasons, because, note, member_id, card_number, made_at) \
         on conflict do nothing returning scan_id",
    )
    .bind(festival)
    .bind(done.iter().map(|o| o.scan_id).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.ticket_id).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.gate_id).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.device_id).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.reasons.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.overriding.lifts.because.name()).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.overriding.note.as_str()).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.overriding.by.member()).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.overriding.by.card()).collect::<Vec<_>>())
    .bind(done.iter().map(|o| o.made_at).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
}

/// An override as it was made.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Made {
    /// The scan.
    pub scan_id: ScanId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// Where.
    pub gate_id: GateId,
    /// On which device.
    pub device_id: DeviceId,
    /// The rules that refused, as the device showed them.
    pub reasons: Vec<Reason>,
    /// Why they came in.
    pub because: Because,
    /// What was written.
    pub note: String,
    /// The member who did it, where nobody showed a card.
    pub member_id: Option<MemberId>,
    /// Their name, or that on the card.
    pub name: Option<String>,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// The latest overrides of a festival.
///
/// # Errors
/// What the database said.
pub async fn latest(conn: impl PgExecutor<'_>, festival: FestivalId, most: i64) -> Result<Vec<Made>, sqlx::Error> {
    sqlx::query_as(
        "select o.scan_id, o.ticket_id, o.gate_id, o.device_id, o.reasons, o.because, o.note, o.member_id, coalesce(m.name, c.name) as name, o.made_at \
         from overrides o left join members m on m.member_id = o.member_id \
         left join supervisor_cards c on c.festival_id = o.festival_id and c.card_number = o.card_number \
         where o.festival_id::bigint = $1 order by o.made_at desc limit $2",
    )
    .bind(festival)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// A page of the overrides of a festival, the newest scans first.
///
/// # Errors
/// What the database said.
pub async fn page(conn: impl PgExecutor<'_>, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Made>, sqlx::Error> {
    sqlx::query_as(
        "select o.scan_id, o.ticket_id, o.gate_id, o.device_id, o.reasons, o.because, o.note, o.member_id, coalesce(m.name, c.name) as name, o.made_at \
         from overrides o left join members m on m.member_id = o.member_id \
         left join supervisor_cards c on c.festival_id = o.festival_id and c.card_number = o.card_number \
         where o.festival_id = $1 and ($2::uuid is null or o.scan_id < $2) order by o.scan_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}
