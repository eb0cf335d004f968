//! The rows of signing keys.

use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sqlx::{PgConnection, PgPool};

use super::{Key, KeyState, place};
use crate::{id::FestivalId, secrets::Secrets};

/// Id, state, public half, sealed private half, when it was revoked.
type Row = (i16, String, Vec<u8>, Vec<u8>, Option<DateTime<Utc>>);

pub(super) async fn keys(pool: &PgPool, secrets: &Secrets, festival: FestivalId) -> Result<Vec<Key>, sqlx::Error> {
    let rows: Vec<Row> =
        sqlx::query_as("select key_id, state, public_key, private_key_sealed, revoked_at from signing_keys where festival_id = $1 order by key_id")
            .bind(festival)
            .fetch_all(pool)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(key_id, state, public, sealed, revoked_at)| {
            let public = VerifyingKey::from_bytes(public.as_slice().try_into().ok()?).ok()?;
            let seed = secrets.open(place(festival, &key_id.to_string()), &sealed);
            let private = seed.and_then(|seed| Some(SigningKey::from_bytes(seed.as_slice().try_into().ok()?)));
            let state = match state.as_str() {
                "pending" => KeyState::Pending,
                "active" => KeyState::Active,
                "verify_only" => KeyState::VerifyOnly,
                _ => KeyState::Revoked,
            };
            Some(Key { key_id: u8::try_from(key_id).ok()?, state, public, revoked_at, private })
        })
        .collect())
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    key_id: u8,
    public: &[u8],
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into signing_keys (festival_id, key_id, state, public_key, private_key_sealed, created_at) values ($1, $2, 'active', $3, $4, $5)")
        .bind(festival)
        .bind(i16::from(key_id))
        .bind(public)
        .bind(sealed)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn listed(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<super::SigningKey>, sqlx::Error> {
    sqlx::query_as(
        "select key_id, state, encode(public_key, 'base64') as public_key, created_at, revoked_at from signing_keys where festival_id = $1 order by key_id",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

/// Locks the keys of a festival; the largest id.
pub(super) async fn lock_last(conn: &mut PgConnection, festival: FestivalId) -> Result<i16, sqlx::Error> {
    let ids: Vec<i16> =
        sqlx::query_scalar("select key_id from signing_keys where festival_id = $1 order by key_id for no key update").bind(festival).fetch_all(conn).await?;
    Ok(ids.last().copied().unwrap_or(0))
}

/// The key that signs only verifies from now on.
pub(super) async fn retire(conn: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
    sqlx::query("update signing_keys set state = 'verify_only' where festival_id = $1 and state = 'active'").bind(festival).execute(conn).await?;
    Ok(())
}

pub(super) async fn revoke(conn: &mut PgConnection, festival: FestivalId, key_id: u8, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update signing_keys set state = 'revoked', revoked_at = coalesce(revoked_at, $3) where festival_id = $1 and key_id = $2 and state <> 'active'",
    )
    .bind(festival)
    .bind(i16::from(key_id))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn active(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<i16>, sqlx::Error> {
    sqlx::query_scalar("select key_id from signing_keys where festival_id = $1 and state = 'active'").bind(festival).fetch_optional(conn).await
}
