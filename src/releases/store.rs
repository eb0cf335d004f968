//! The rows of releases, recordings, tracks and uploads.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};

use super::{Part, Recording, Release, ReleaseTerms, Upload};
use crate::id::{FestivalId, PromoterId, RecordingId, ReleaseId, UploadId};

pub(super) async fn insert_upload(conn: &mut PgConnection, promoter: PromoterId, upload: &Upload, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into uploads (promoter_id, upload_id, purpose, bytes, parts, created_at) values ($1, $2, $3, $4, '[]', $5)")
        .bind(promoter)
        .bind(upload.upload_id)
        .bind(upload.purpose)
        .bind(upload.bytes)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn lock_upload(conn: &mut PgConnection, promoter: PromoterId, upload: UploadId) -> Result<Option<Upload>, sqlx::Error> {
    sqlx::query_as("select upload_id, purpose, bytes, parts, file_hash from uploads where upload_id = $1 and promoter_id = $2 for no key update")
        .bind(upload)
        .bind(promoter)
        .fetch_optional(conn)
        .await
}

pub(super) async fn update_parts(conn: &mut PgConnection, upload: UploadId, parts: &[Part]) -> Result<(), sqlx::Error> {
    sqlx::query("update uploads set parts = $2 where upload_id = $1").bind(upload).bind(Json(parts)).execute(conn).await?;
    Ok(())
}

pub(super) async fn complete_upload(conn: &mut PgConnection, upload: UploadId, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("update uploads set file_hash = $2 where upload_id = $1").bind(upload).bind(hash).execute(conn).await?;
    Ok(())
}

pub(super) async fn insert_recording(conn: &mut PgConnection, promoter: PromoterId, r: &Recording, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into recordings (promoter_id, recording_id, title, artist, isrc, duration_ms, master_hash, media_type, bytes, sample_rate, channels, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(promoter)
    .bind(r.recording_id)
    .bind(&r.title)
    .bind(&r.artist)
    .bind(&r.isrc)
    .bind(r.duration_ms)
    .bind(&r.master_hash)
    .bind(&r.media_type)
    .bind(r.bytes)
    .bind(r.sample_rate)
    .bind(r.channels)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_release(conn: &mut PgConnection, promoter: PromoterId, terms: &ReleaseTerms, now: DateTime<Utc>) -> Result<Release, sqlx::Error> {
    sqlx::query_as(
        "insert into releases (promoter_id, release_id, title, artist, kind, catalog_number, upc, language, released_at, about, created_at, version) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) returning *",
    )
    .bind(promoter)
    .bind(ReleaseId::fresh(FestivalId::HOUSE, now))
    .bind(&terms.title)
    .bind(&terms.artist)
    .bind(terms.kind)
    .bind(&terms.catalog_number)
    .bind(&terms.upc)
    .bind(terms.language)
    .bind(terms.released_at)
    .bind(Json(&terms.about))
    .bind(now)
    .fetch_one(conn)
    .await
}

pub(super) async fn insert_tracks(conn: &mut PgConnection, promoter: PromoterId, release: ReleaseId, recordings: &[RecordingId]) -> Result<(), sqlx::Error> {
    if recordings.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into tracks (promoter_id, release_id, track_no, recording_id) \
         select $1, $2, r.no, r.recording_id from unnest($3::uuid[]) with ordinality as r (recording_id, no)",
    )
    .bind(promoter)
    .bind(release)
    .bind(recordings)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn set_cover(conn: &mut PgConnection, promoter: PromoterId, release: ReleaseId, hash: &[u8]) -> Result<Option<Release>, sqlx::Error> {
    sqlx::query_as("update releases set cover_hash = $3, version = version + 1 where release_id = $1 and promoter_id = $2 returning *")
        .bind(release)
        .bind(promoter)
        .bind(hash)
        .fetch_optional(conn)
        .await
}

/// The releases of a promoter, newest first.
///
/// # Errors
/// What the database said.
pub async fn own(conn: &mut PgConnection, promoter: PromoterId) -> Result<Vec<Release>, sqlx::Error> {
    sqlx::query_as("select * from releases where promoter_id = $1 order by release_id desc limit 200").bind(promoter).fetch_all(conn).await
}

/// A release.
///
/// # Errors
/// What the database said.
pub async fn release(pool: &PgPool, release: ReleaseId) -> Result<Option<Release>, sqlx::Error> {
    sqlx::query_as("select * from releases where release_id = $1").bind(release).fetch_optional(pool).await
}

/// A track with its recording: what a player needs.
#[derive(Clone, Debug, FromRow)]
pub struct Playable {
    /// The release.
    pub release_id: ReleaseId,
    /// Its place.
    pub track_no: i16,
    /// Its title.
    pub title: String,
    /// Its artist.
    pub artist: String,
    /// Its ISRC.
    pub isrc: Option<String>,
    /// Its length in milliseconds.
    pub duration_ms: i32,
    /// The type of its master.
    pub media_type: String,
    /// The size of its master in bytes.
    pub bytes: i64,
    /// The hash of its master.
    pub master_hash: Vec<u8>,
}

/// The titles of releases.
///
/// # Errors
/// What the database said.
pub async fn titles(pool: &PgPool, releases: &[ReleaseId]) -> Result<Vec<(ReleaseId, String)>, sqlx::Error> {
    sqlx::query_as("select release_id, title from releases where release_id = any($1)").bind(releases).fetch_all(pool).await
}

/// What releases are called, and whose they are; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn titles_and_artists(conn: &mut PgConnection, releases: &[ReleaseId]) -> Result<Vec<(ReleaseId, String, String)>, sqlx::Error> {
    sqlx::query_as("select release_id, title, artist from releases where release_id = any($1)").bind(releases).fetch_all(conn).await
}

/// The tracks of releases, in their order.
///
/// # Errors
/// What the database said.
pub async fn tracks(pool: &PgPool, releases: &[ReleaseId]) -> Result<Vec<Playable>, sqlx::Error> {
    sqlx::query_as(
        "select t.release_id, t.track_no, r.title, r.artist, r.isrc, r.duration_ms, r.media_type, r.bytes, r.master_hash \
         from tracks t join recordings r on r.recording_id = t.recording_id where t.release_id = any($1) order by t.release_id, t.track_no",
    )
    .bind(releases)
    .fetch_all(pool)
    .await
}
