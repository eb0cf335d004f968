//! The rows of acts, sets and imports.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, types::Json};

use super::{Billed, ImportReport, PerformingAct, Set, name_key};
use crate::id::{ActId, FestivalId};

pub(super) async fn insert_acts(conn: &mut PgConnection, festival: FestivalId, acts: &[PerformingAct], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if acts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into acts (festival_id, act_id, name, latin_name, name_key, billing, created_at) \
         select $1, a.act_id, a.name, a.latin_name, a.name_key, a.billing, $7 \
         from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::smallint[]) as a (act_id, name, latin_name, name_key, billing)",
    )
    .bind(festival)
    .bind(acts.iter().map(|a| a.act_id).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.latin_name.as_deref()).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| name_key(&a.name)).collect::<Vec<_>>())
    .bind(acts.iter().map(|a| a.billing).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_sets(conn: &mut PgConnection, festival: FestivalId, sets: &[Set]) -> Result<(), sqlx::Error> {
    if sets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into sets (festival_id, set_id, act_id, stage_id, day_index, starts_at, ends_at) \
         select $1, s.* from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::smallint[], $6::timestamptz[], $7::timestamptz[]) as s",
    )
    .bind(festival)
    .bind(sets.iter().map(|s| s.set_id).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.act_id).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.stage_id).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.day_index).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.starts_at).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.ends_at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn update_sets(conn: &mut PgConnection, festival: FestivalId, sets: &[Set]) -> Result<(), sqlx::Error> {
    if sets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update sets s set act_id = u.act_id, ends_at = u.ends_at \
         from unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) as u (set_id, act_id, ends_at) where s.festival_id = $1 and s.set_id = u.set_id",
    )
    .bind(festival)
    .bind(sets.iter().map(|s| s.set_id).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.act_id).collect::<Vec<_>>())
    .bind(sets.iter().map(|s| s.ends_at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_import(conn: &mut PgConnection, festival: FestivalId, report: &ImportReport) -> Result<(), sqlx::Error> {
    sqlx::query("insert into lineup_imports (festival_id, import_id, imported_at, report) values ($1, $2, $3, $4)")
        .bind(festival)
        .bind(report.import_id)
        .bind(report.imported_at)
        .bind(Json(report))
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn act_keys(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<(String, ActId)>, sqlx::Error> {
    sqlx::query_as("select name_key, act_id from acts where festival_id = $1").bind(festival).fetch_all(conn).await
}

pub(super) async fn placed_sets(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Set>, sqlx::Error> {
    sqlx::query_as(
        "select set_id, act_id, stage_id, day_index, starts_at, ends_at from sets \
         where festival_id = $1 and stage_id is not null and starts_at is not null order by set_id for no key update",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

/// The acts of a festival by their row on the poster.
///
/// # Errors
/// What the database said.
pub async fn acts(pool: &PgPool, festival: FestivalId) -> Result<Vec<PerformingAct>, sqlx::Error> {
    sqlx::query_as("select act_id, name, latin_name, billing from acts where festival_id = $1 order by billing, act_id limit 5000")
        .bind(festival)
        .fetch_all(pool)
        .await
}

/// The sets of a festival by time.
///
/// # Errors
/// What the database said.
pub async fn sets(pool: &PgPool, festival: FestivalId) -> Result<Vec<Set>, sqlx::Error> {
    sqlx::query_as(
        "select set_id, act_id, stage_id, day_index, starts_at, ends_at from sets where festival_id = $1 order by starts_at nulls last, set_id limit 5000",
    )
    .bind(festival)
    .fetch_all(pool)
    .await
}

/// The sets of a festival with the words that pages print, by time.
///
/// # Errors
/// What the database said.
pub async fn billed(pool: &PgPool, festival: FestivalId) -> Result<Vec<Billed>, sqlx::Error> {
    sqlx::query_as(
        "select a.name, a.latin_name, a.billing, s.stage_id, s.day_index, s.starts_at, s.ends_at \
         from sets s left join acts a on a.festival_id = s.festival_id and a.act_id = s.act_id \
         where s.festival_id = $1 order by s.starts_at nulls last, s.set_id limit 5000",
    )
    .bind(festival)
    .fetch_all(pool)
    .await
}

/// The latest imports with their reports.
///
/// # Errors
/// What the database said.
pub async fn imports(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<ImportReport>, sqlx::Error> {
    let rows: Vec<(Json<ImportReport>,)> =
        sqlx::query_as("select report from lineup_imports where festival_id = $1 order by import_id desc limit 20").bind(festival).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(Json(report),)| report).collect())
}
