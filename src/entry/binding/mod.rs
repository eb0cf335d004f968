//! A ticket that shows live codes is bound to one phone: in the last two days before its doors, by its holder alone until somebody came in on it or took it
//! by its link, then after a supervisor let it go (5-tickets-and-gates, 10-rules 28).

pub mod api;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64;

use super::catalog::{Catalog, catalog};
use crate::{
    accounts::Device,
    app::App,
    audit::{self, Act, Actor},
    id::TicketId,
    keys,
    tickets::{self, Becomes, Cause, GENERATIONS, Ticket, TicketKind, TicketStatus, live},
};

/// How long before the doors of its first day a ticket can be bound.
const BEFORE: TimeDelta = TimeDelta::hours(48);
/// How often its holder binds a ticket: a change of phone, and another one, not a game.
const MOST: i64 = 20;

/// How the binding of a ticket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// From when it can be bound.
    pub opens_at: Option<DateTime<Utc>>,
    /// The certificate of the phone that it is bound to, in base64: it is no secret, the phone's key is.
    pub certificate: Option<String>,
}

/// How the binding of a ticket stands; `None` where its pass asks for no live code.
///
/// # Errors
/// What the database said.
pub async fn binding(app: &App, ticket: &Ticket) -> Result<Option<Binding>, sqlx::Error> {
    let festival = ticket.ticket_id.festival();
    let catalog = catalog(app, festival).await?;
    if !is_asked_for(&catalog, ticket) {
        return Ok(None);
    }
    let ring = keys::ring(app, festival).await?;
    let key = ticket.live_key.as_deref().and_then(|key| <&[u8; 32]>::try_from(key).ok());
    let certificate = key.and_then(|key| ticket.code().certify(key, &ring)).map(|certificate| BASE64.encode(&certificate));
    Ok(Some(Binding { opens_at: opens_at(&catalog, ticket), certificate }))
}

fn is_asked_for(catalog: &Catalog, ticket: &Ticket) -> bool {
    ticket.kind == TicketKind::Pass && catalog.pass(ticket.pass_number).is_some_and(|pass| pass.terms.needs_live_code)
}

fn opens_at(catalog: &Catalog, ticket: &Ticket) -> Option<DateTime<Utc>> {
    let own = catalog.days.iter().filter(|day| ticket.day_mask >> day.day_index & 1 == 1);
    own.map(|day| day.opens_at).min().map(|doors| doors - BEFORE)
}

/// Why a ticket was not bound, or not let go.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No such ticket.
    #[error("no such ticket")]
    NotFound,
    /// Its pass asks for no live code.
    #[error("the pass asks for no live code")]
    NotAsked,
    /// It opens no gate.
    #[error("the ticket is {0:?} and is bound to no phone")]
    Ended(TicketStatus),
    /// It is early.
    #[error("the ticket can be bound to a phone from {}", .0.to_rfc3339())]
    TooEarly(DateTime<Utc>),
    /// Somebody came in on it or took it, it was bound too often, or its phone was let go.
    #[error("the ticket cannot be put on this phone; a supervisor at the gate can let it go from its phone")]
    Taken,
    /// It is bound to no phone.
    #[error("the ticket is bound to no phone")]
    Free,
    /// The phone does not have the private half of the key.
    #[error("not signed by that key")]
    NotProven,
    /// The festival's key cannot be opened.
    #[error("the signing key cannot be opened")]
    NoKey,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Binds a ticket to the key of a phone, and certifies it: the codes of before are dead. The same key again gets the same certificate.
///
/// # Errors
/// [`BindError`].
pub async fn bind(app: &App, seen: &Ticket, key: &[u8; 32], proof: &[u8; 64]) -> Result<[u8; live::CERTIFICATE], BindError> {
    let id = seen.ticket_id;
    if !live::is_proven(id, key, proof) {
        return Err(BindError::NotProven);
    }
    let (now, festival) = (app.clock.now(), id.festival());
    let catalog = catalog(app, festival).await?;
    let mut tx = app.pools.web.begin().await?;
    // Whoever passed it on a moment ago has the link of before.
    let found = tickets::lock_one(&mut tx, id).await?;
    let ticket = found.filter(|ticket| ticket.link_generation == seen.link_generation).ok_or(BindError::NotFound)?;
    if !is_asked_for(&catalog, &ticket) {
        return Err(BindError::NotAsked);
    }
    if ticket.status != TicketStatus::Valid {
        return Err(BindError::Ended(ticket.status));
    }
    if let Some(opens_at) = opens_at(&catalog, &ticket).filter(|opens_at| now < *opens_at) {
        return Err(BindError::TooEarly(opens_at));
    }
    let bound = if ticket.live_key.as_deref() == Some(key) {
        ticket
    } else {
        // Whoever took it by its link shares that link with whoever sent it.
        let is_settled = ticket.live_key.is_some() && (ticket.claimed_at.is_some() || tickets::has_entered(&mut tx, id).await?);
        let is_lost = ticket.released_key.as_deref() == Some(key);
        if is_settled || is_lost || ticket.generation >= GENERATIONS || tickets::count_bindings(&mut tx, id).await? >= MOST {
            return Err(BindError::Taken);
        }
        let becomes = Becomes { generation: ticket.generation + 1, live_key: Some(key), ..Becomes::of(&ticket) };
        let bound = tickets::alter(&mut tx, &ticket, &becomes, Cause::of("bound"), now).await?;
        tx.commit().await?;
        bound
    };
    let code = bound.code();
    let ring = keys::ring_with(app, festival, code.key_id).await?;
    code.certify(key, &ring).ok_or(BindError::NoKey)
}

/// Lets a ticket go, so that its holder binds another phone; not the one that it was on, which may be in other hands. By a supervisor who is signed in on a device.
///
/// # Errors
/// [`BindError`].
pub async fn unbind(app: &App, device: &Device, id: TicketId) -> Result<(), BindError> {
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    let ticket = match tickets::lock_one(&mut tx, id).await? {
        Some(ticket) if id.festival() == device.festival_id => ticket,
        _ => return Err(BindError::NotFound),
    };
    if ticket.status != TicketStatus::Valid {
        return Err(BindError::Ended(ticket.status));
    }
    if ticket.live_key.is_none() {
        return Err(BindError::Free);
    }
    if ticket.generation >= GENERATIONS {
        return Err(BindError::Taken);
    }
    let becomes = Becomes { status: ticket.status, generation: ticket.generation + 1, live_key: None, released_key: ticket.live_key.as_deref() };
    tickets::alter(&mut tx, &ticket, &becomes, Cause::of("unbound"), now).await?;
    let actor = device.supervisor_id.map_or(Actor::Device(device.device_id.0), Actor::Member);
    let act = Act {
        festival: device.festival_id,
        actor,
        action: "ticket.unbound",
        object_kind: "ticket",
        object_id: id.to_string(),
        before: None,
        after: Some(serde_json::json!({ "device_id": device.device_id })),
    };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(())
}
