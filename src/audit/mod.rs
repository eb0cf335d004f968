//! Who did what. Rows are appended in the transaction of the act; a worker seals them behind, each seal chained to the one
//! before, so that a row that was changed or removed is found.
//!
//! **Invariant:** rows hold ids, never names, addresses or IPs.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    app::App,
    id::{FestivalId, MemberId, TokenId},
};

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The house itself: a worker or the command line.
    House,
    /// A fan, by the secret of an order.
    Fan,
    /// A person of a promoter.
    Member(MemberId),
    /// A program of a promoter.
    Token(TokenId),
    /// A gate device.
    Device(Uuid),
    /// A payment provider.
    Provider,
}

impl Actor {
    /// The id of a member, a token or a device.
    #[must_use]
    pub fn id(self) -> Option<Uuid> {
        match self {
            Self::Member(id) => Some(id.0),
            Self::Token(id) => Some(id.0),
            Self::Device(id) => Some(id),
            Self::House | Self::Fan | Self::Provider => None,
        }
    }

    pub(super) fn parts(self) -> (&'static str, String) {
        match self {
            Self::House => ("house", String::new()),
            Self::Fan => ("fan", String::new()),
            Self::Member(id) => ("member", id.to_string()),
            Self::Token(id) => ("token", id.to_string()),
            Self::Device(id) => ("device", id.to_string()),
            Self::Provider => ("provider", String::new()),
        }
    }
}

/// One act.
#[derive(Debug)]
pub struct Act<'a> {
    /// Whose festival; [`FestivalId::HOUSE`] for the platform.
    pub festival: FestivalId,
    /// Who acted.
    pub actor: Actor,
    /// What was done: `offer.changed`.
    pub action: &'a str,
    /// The kind of the object.
    pub object_kind: &'a str,
    /// The id of the object.
    pub object_id: String,
    /// What it was before, without personal data.
    pub before: Option<Value>,
    /// What it is now, without personal data.
    pub after: Option<Value>,
}

/// Appends an act; joins the transaction of the act.
///
/// # Errors
/// What the database said.
pub async fn record(conn: &mut PgConnection, act: Act<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    store::insert(conn, &act, act.actor.parts(), now).await
}

/// Appends acts of one festival, in one statement.
///
/// # Errors
/// What the database said: the act is rolled back with them.
pub async fn record_all(conn: &mut PgConnection, acts: &[Act<'_>], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if acts.is_empty() { Ok(()) } else { store::insert_all(conn, acts, now).await }
}

/// How old a row is before it is sealed: longer than any transaction lives, so no row appears behind its seal.
const SETTLED: TimeDelta = TimeDelta::seconds(60);

/// Seals what was appended since the last seal; called by one worker.
///
/// # Errors
/// What the database said.
pub async fn seal(app: &App) -> Result<u64, sqlx::Error> {
    let now = app.clock.now();
    let mut sealed = 0;
    for festival in store::unsealed(&app.pools.work, now - SETTLED).await? {
        let mut tx = app.pools.work.begin().await?;
        sealed += store::seal(&mut tx, festival, now - SETTLED, now).await?;
        tx.commit().await?;
    }
    Ok(sealed)
}

/// Seals whose rows no longer give their hash: the audit was tampered with.
///
/// # Errors
/// What the database said.
pub async fn broken_seals(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    store::broken(conn).await
}
