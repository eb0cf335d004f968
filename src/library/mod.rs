//! The albums of a fan: entitlements, and signed addresses of files that are good for ten minutes.
//!
//! **Invariant:** the address of a file is bound to its entitlement; it dies with it.

pub mod api;
mod claim;
mod store;
pub mod transfer;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use sqlx::PgConnection;

use crate::{
    app::App,
    id::{EntitlementId, FestivalId, OrderId, ReleaseId},
    releases::{self, Playable},
    secrets::{Purpose, same},
};

use claim::NAME;
pub use claim::{ClaimError, Claimant, claim, recall};
pub use store::{Album, albums, give_back, of_former, of_ticket};

/// How long the address of a file is good.
pub const LINK: TimeDelta = TimeDelta::minutes(10);

/// An entitlement to be written: a line's copies of a release.
#[derive(Clone, Copy, Debug)]
pub struct Entitle {
    /// The order.
    pub order_id: OrderId,
    /// The line.
    pub line_no: i16,
    /// The component.
    pub component_no: i16,
    /// The release.
    pub release_id: ReleaseId,
    /// How many copies.
    pub copies: i32,
}

/// Writes entitlements; joins the transaction that pays for them.
///
/// # Errors
/// What the database said.
pub async fn entitle(conn: &mut PgConnection, festival: FestivalId, grants: &[Entitle], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if grants.is_empty() {
        return Ok(());
    }
    store::insert(conn, festival, grants, now).await
}

/// What a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// To be played.
    Stream,
    /// To be kept.
    Download,
}

/// The signed address of a track: entitlement, track, purpose, end, and 16 bytes of HMAC.
#[must_use]
pub fn file_link(app: &App, entitlement: EntitlementId, track_no: i16, take: Take, now: DateTime<Utc>) -> String {
    let until = u32::try_from((now + LINK).timestamp()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(39);
    bytes.extend(entitlement.0.as_bytes());
    bytes.extend(track_no.to_be_bytes());
    bytes.push(u8::from(take == Take::Download));
    bytes.extend(until.to_be_bytes());
    let mac = app.secrets.mac(Purpose::FileLink, &[&bytes]);
    bytes.extend(&mac[..16]);
    format!("/files/{}", BASE64URL_NOPAD.encode(&bytes))
}

/// Why a file is not given out.
#[derive(Debug, thiserror::Error)]
pub enum FileLinkError {
    /// Not an address of ours, bent, or its entitlement is gone.
    #[error("no such file")]
    NotFound,
    /// Its ten minutes are over.
    #[error("the address is over")]
    Over,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The track behind a signed address, looked up anew: an entitlement that is gone gives nothing.
///
/// # Errors
/// [`FileLinkError`].
pub async fn open_link(app: &App, signed: &str) -> Result<(Playable, Take), FileLinkError> {
    let bytes = BASE64URL_NOPAD.decode(signed.as_bytes()).map_err(|_| FileLinkError::NotFound)?;
    let bytes: [u8; 39] = bytes.try_into().map_err(|_| FileLinkError::NotFound)?;
    let (body, mac) = bytes.split_at(23);
    if !same(&app.secrets.mac(Purpose::FileLink, &[body])[..16], mac) {
        return Err(FileLinkError::NotFound);
    }
    let until = u32::from_be_bytes([body[19], body[20], body[21], body[22]]);
    let now = app.clock.now();
    if i64::from(until) < now.timestamp() {
        return Err(FileLinkError::Over);
    }
    let entitlement = EntitlementId(uuid::Uuid::from_slice(&body[..16]).map_err(|_| FileLinkError::NotFound)?);
    let track_no = i16::from_be_bytes([body[16], body[17]]);
    let take = if body[18] == 1 { Take::Download } else { Take::Stream };
    let release = store::take(&app.pools.web, entitlement, now).await?.ok_or(FileLinkError::NotFound)?;
    let tracks = releases::tracks(&app.pools.web, &[release]).await?;
    let track = tracks.into_iter().find(|t| t.track_no == track_no).ok_or(FileLinkError::NotFound)?;
    Ok((track, take))
}
