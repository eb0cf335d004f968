//! What a promoter does about signing keys: rotate them, revoke one that leaked, and have gates go by the list alone meanwhile.
//!
//! The drill of a leak: rotate, so that new tickets are signed by a key that nobody has; switch to list-only, so that no gate lets in a ticket that its list
//! does not have, however well it is signed; re-issue what the leaked key signed (`src/tickets/walk/`); revoke the key; switch back.

use poem_openapi::Object;
use sqlx::PgConnection;

use super::{Festival, note, store};
use crate::{
    accounts::Staff,
    app::App,
    fault::Fault,
    id::FestivalId,
    keys::{self, SigningKey},
};

/// The signing keys of a festival.
#[derive(Clone, Debug, Object)]
pub struct SigningKeys {
    /// The keys, the oldest first.
    pub items: Vec<SigningKey>,
}

/// The keys of a festival, without their private halves.
///
/// # Errors
/// [`Fault`].
pub async fn signing_keys(app: &App, staff: &Staff, festival: FestivalId) -> Result<SigningKeys, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    Ok(SigningKeys { items: keys::listed(&mut tx, festival).await? })
}

/// Makes a new key that signs from now on; the one before goes on to verify what it signed.
///
/// # Errors
/// [`Fault`]; a conflict when 256 keys are used up.
pub async fn rotate_key(app: &App, staff: &Staff, festival: FestivalId) -> Result<SigningKeys, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    keys::rotate(&mut tx, &app.secrets, festival, now).await?.ok_or_else(|| Fault::Conflict("a festival has at most 256 keys".to_owned()))?;
    note(&mut tx, staff, festival, "key.rotated", now).await?;
    let items = keys::listed(&mut tx, festival).await?;
    tx.commit().await?;
    Ok(SigningKeys { items })
}

/// Refuses what is not done to the key that signs now.
///
/// # Errors
/// [`Fault`]; a conflict for that key.
pub async fn is_rotated(conn: &mut PgConnection, festival: FestivalId, key_id: u8) -> Result<(), Fault> {
    match keys::one(conn, festival, key_id).await? {
        None => Err(Fault::NotFound),
        Some(key) if key.is_active() => Err(Fault::Conflict("this key signs new tickets: rotate first".to_owned())),
        Some(_) => Ok(()),
    }
}

/// Revokes a key: what it signed opens no gate any more. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`]; a conflict for the key that signs now.
pub async fn revoke_key(app: &App, staff: &Staff, festival: FestivalId, key_id: u8) -> Result<SigningKeys, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    is_rotated(&mut tx, festival, key_id).await?;
    keys::revoke(&mut tx, festival, key_id, now).await?;
    note(&mut tx, staff, festival, "key.revoked", now).await?;
    let items = keys::listed(&mut tx, festival).await?;
    tx.commit().await?;
    Ok(SigningKeys { items })
}

/// Has gates go by their list alone, or by signatures again.
///
/// # Errors
/// [`Fault`].
pub async fn set_list_only(app: &App, staff: &Staff, festival: FestivalId, list_only: bool) -> Result<Festival, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let changed = store::set_list_only(&mut tx, staff.promoter, festival, list_only).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, if list_only { "gates.list_only" } else { "gates.by_signature" }, now).await?;
    tx.commit().await?;
    Ok(changed)
}
