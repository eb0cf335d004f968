//! The rows of holds and clearings.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{Clearing, GateHold};
use crate::id::{ClearingId, FestivalId, HoldId};

/// The most holds and clearings that gates know of.
const MOST: i64 = 500;

pub(super) async fn insert_hold(conn: &mut PgConnection, festival: FestivalId, hold: &GateHold) -> Result<(), sqlx::Error> {
    sqlx::query("insert into gate_holds (festival_id, hold_id, gate_id, zone_id, note, began_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(festival)
        .bind(hold.hold_id)
        .bind(hold.gate_id)
        .bind(hold.zone_id)
        .bind(&hold.note)
        .bind(hold.began_at)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn end_hold(conn: &mut PgConnection, hold: HoldId, now: DateTime<Utc>) -> Result<Option<GateHold>, sqlx::Error> {
    sqlx::query_as(
        "update gate_holds set ended_at = coalesce(ended_at, greatest(began_at, $3)) where festival_id = $1 and hold_id = $2 \
         returning hold_id, gate_id, zone_id, note, began_at, ended_at",
    )
    .bind(hold.festival())
    .bind(hold)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_clearing(conn: &mut PgConnection, festival: FestivalId, clearing: &Clearing, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into clearings (festival_id, clearing_id, zone_id, clears_at, readmits_until, note, made_at) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(festival)
        .bind(clearing.clearing_id)
        .bind(clearing.zone_id)
        .bind(clearing.clears_at)
        .bind(clearing.readmits_until)
        .bind(&clearing.note)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn clearing(conn: &mut PgConnection, clearing: ClearingId) -> Result<Option<Clearing>, sqlx::Error> {
    sqlx::query_as("select clearing_id, zone_id, clears_at, readmits_until, note from clearings where festival_id = $1 and clearing_id = $2 for no key update")
        .bind(clearing.festival())
        .bind(clearing)
        .fetch_optional(conn)
        .await
}

pub(super) async fn delete_clearing(conn: &mut PgConnection, clearing: ClearingId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from clearings where festival_id = $1 and clearing_id = $2").bind(clearing.festival()).bind(clearing).execute(conn).await?;
    Ok(())
}

/// The holds of a festival: those that last, then the newest first.
///
/// # Errors
/// What the database said.
pub async fn holds(conn: impl PgExecutor<'_>, festival: FestivalId) -> Result<Vec<GateHold>, sqlx::Error> {
    sqlx::query_as("select hold_id, gate_id, zone_id, note, began_at, ended_at from gate_holds where festival_id = $1 order by ended_at is null desc, hold_id desc limit $2")
        .bind(festival)
        .bind(MOST)
        .fetch_all(conn)
        .await
}

/// The clearings of a festival, the latest first.
///
/// # Errors
/// What the database said.
pub async fn clearings(conn: impl PgExecutor<'_>, festival: FestivalId) -> Result<Vec<Clearing>, sqlx::Error> {
    sqlx::query_as(
        "select clearing_id, zone_id, clears_at, readmits_until, note from clearings where festival_id = $1 order by clears_at desc, clearing_id desc limit $2",
    )
    .bind(festival)
    .bind(MOST)
    .fetch_all(conn)
    .await
}
