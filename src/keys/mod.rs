//! Signing keys of ticket codes: Ed25519, several verify at once, one signs. The private half is sealed under the master key.
//!
//! ```text
//! pending -> active -> verify_only -> revoked
//! ```

mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey as PrivateKey, VerifyingKey};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::{
    app::App,
    fresh::Fresh,
    id::FestivalId,
    secrets::{self, Place, Secrets},
};

/// Whether a key signs, verifies or is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Made, not yet used.
    Pending,
    /// Signs and verifies.
    Active,
    /// Verifies codes that are out.
    VerifyOnly,
    /// Opens nothing.
    Revoked,
}

/// One key of a festival.
#[derive(Clone)]
pub struct Key {
    /// Its id in the code: a byte.
    pub key_id: u8,
    /// What it is good for.
    pub state: KeyState,
    /// The public half.
    pub public: VerifyingKey,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    private: Option<PrivateKey>,
}

/// The keys of a festival.
#[derive(Clone, Default)]
pub struct Ring(pub Vec<Key>);

impl Ring {
    /// The key of an id.
    #[must_use]
    pub fn key(&self, key_id: u8) -> Option<&Key> {
        self.0.iter().find(|key| key.key_id == key_id)
    }

    /// The id of the key that signs new tickets.
    #[must_use]
    pub fn active(&self) -> Option<u8> {
        self.0.iter().find(|key| key.state == KeyState::Active).map(|key| key.key_id)
    }

    /// The private half of a key; also of one that only verifies, because a code is a pure function of its row for ever.
    #[must_use]
    pub fn signer(&self, key_id: u8) -> Option<&PrivateKey> {
        self.key(key_id).and_then(|key| key.private.as_ref())
    }
}

/// The keys of festivals, at most a second old: a rotation reaches every server after that.
pub type Rings = Fresh<FestivalId, Arc<Ring>>;

/// The keys of a festival, at most a second old.
///
/// # Errors
/// What the database said.
pub async fn ring(app: &App, festival: FestivalId) -> Result<Arc<Ring>, sqlx::Error> {
    app.the::<Rings>().get_impatiently(festival, async || Ok(Arc::new(Ring(store::keys(&app.pools.scan, &app.secrets, festival).await?)))).await
}

/// The keys of a festival, with one that a row of it names: it may have been made a moment ago.
///
/// # Errors
/// What the database said.
pub async fn ring_with(app: &App, festival: FestivalId, key_id: u8) -> Result<Arc<Ring>, sqlx::Error> {
    let known = ring(app, festival).await?;
    if known.key(key_id).is_some() {
        return Ok(known);
    }
    app.the::<Rings>().forget();
    ring(app, festival).await
}

/// A key as its promoter sees it.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct SigningKey {
    /// Its id in ticket codes: 0 to 255.
    pub key_id: i16,
    /// `active`: signs and verifies; `verify_only`: verifies what it signed; `revoked`: opens nothing; `pending`: not yet used.
    pub state: String,
    /// The public half (RFC 8032), base64.
    pub public_key: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl SigningKey {
    /// Whether it signs new tickets.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }
}

/// The keys of a festival, the oldest first.
///
/// # Errors
/// What the database said.
pub async fn listed(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<SigningKey>, sqlx::Error> {
    store::listed(conn, festival).await
}

/// One of them.
///
/// # Errors
/// What the database said.
pub async fn one(conn: &mut PgConnection, festival: FestivalId, key_id: u8) -> Result<Option<SigningKey>, sqlx::Error> {
    Ok(listed(conn, festival).await?.into_iter().find(|key| key.key_id == i16::from(key_id)))
}

/// The key that signs new tickets, read in a transaction: a second ago another one may have.
///
/// # Errors
/// What the database said.
pub async fn active(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<i16>, sqlx::Error> {
    store::active(conn, festival).await
}

/// Makes a new key that signs, in place of the one before, which verifies from now on; `None` when there are 256 already.
///
/// # Errors
/// What the database said.
pub async fn rotate(conn: &mut PgConnection, secrets: &Secrets, festival: FestivalId, now: DateTime<Utc>) -> Result<Option<u8>, sqlx::Error> {
    // Whoever rotates at the same time waits here.
    let last = store::lock_last(conn, festival).await?;
    let Ok(key_id) = u8::try_from(last + 1) else { return Ok(None) };
    store::retire(conn, festival).await?;
    make(conn, secrets, festival, key_id, now).await?;
    Ok(Some(key_id))
}

/// Revokes a key.
///
/// # Errors
/// What the database said.
pub async fn revoke(conn: &mut PgConnection, festival: FestivalId, key_id: u8, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    store::revoke(conn, festival, key_id, now).await
}

/// Makes the first key of a festival; joins the transaction that makes the festival.
///
/// # Errors
/// What the database said.
pub async fn make(conn: &mut PgConnection, secrets: &Secrets, festival: FestivalId, key_id: u8, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let mut seed = [0_u8; 32];
    secrets::fill(&mut seed);
    let key = PrivateKey::from_bytes(&seed);
    let sealed = secrets.seal(place(festival, &key_id.to_string()), &seed);
    store::insert(conn, festival, key_id, key.verifying_key().as_bytes(), &sealed, now).await
}

fn place(festival: FestivalId, key: &str) -> Place<'_> {
    Place { table: "signing_keys", column: "private_key_sealed", festival, key }
}

#[cfg(test)]
impl Key {
    /// A key of a unit test.
    pub(crate) fn of_test(key_id: u8, state: KeyState, key: PrivateKey) -> Self {
        Self { key_id, state, public: key.verifying_key(), revoked_at: None, private: Some(key) }
    }
}
