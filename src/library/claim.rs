//! The claim: a holder opens the link of their ticket and takes it, and the copies of its albums with it. Unclaimed, an album
//! travels with a transfer of its ticket; claimed, it stays with who claimed it. And the recall of a link that nobody took.

use sqlx::PgConnection;

use super::{store, transfer};
use crate::{
    accounts::is_address,
    app::App,
    audit::{self, Act, Actor},
    id::TicketId,
    offers,
    orders::{self, OrderStatus},
    tickets::{self, Becomes, Cause, GENERATIONS, Ticket, TicketKind, TicketStatus},
};

/// The longest name of a holder, in characters.
pub(super) const NAME: usize = 120;

/// Who takes a ticket.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The name that is printed on it.
    pub name: String,
    /// Where emails about the festival go; without one they go to the buyer.
    pub email: Option<String>,
}

/// Why a ticket was not claimed or its link not recalled.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// No such ticket.
    #[error("no such ticket")]
    NotFound,
    /// A place of the request and what is wrong with it.
    #[error("{1} ({0})")]
    Invalid(&'static str, &'static str),
    /// Somebody else took it.
    #[error("somebody claimed this ticket")]
    Claimed,
    /// It is on its way to somebody else.
    #[error("the ticket is on its way to somebody else")]
    OnItsWay,
    /// It is suspended, exchanged or void, or its order is not paid.
    #[error("the ticket does not open a gate now")]
    NotValid,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes a ticket, as it was seen when its link was looked at, and the copies of its albums, in one transaction. A link that was
/// recalled meanwhile takes nothing. The same name again gets the same ticket again.
///
/// # Errors
/// [`ClaimError`].
pub async fn claim(app: &App, seen: &Ticket, who: &Claimant) -> Result<Ticket, ClaimError> {
    let name = who.name.trim();
    let email = who.email.as_deref().map(str::trim).filter(|email| !email.is_empty());
    if name.is_empty() || name.chars().count() > NAME {
        return Err(ClaimError::Invalid("/name", "a name of 1 to 120 characters"));
    }
    if email.is_some_and(|email| !is_address(email)) {
        return Err(ClaimError::Invalid("/email", "not an email address"));
    }
    let (id, now) = (seen.ticket_id, app.clock.now());
    let passes = offers::passes(&app.pools.web, id.festival()).await?;
    let mut tx = app.pools.web.begin().await?;
    let paid = orders::lock(&mut tx, id.festival(), &[seen.order_id])
        .await?
        .pop()
        .is_some_and(|o| matches!(o.status, OrderStatus::Paid | OrderStatus::PartlyRefunded));
    let found = tickets::lock_one(&mut tx, id).await?;
    let ticket = found.filter(|t| t.link_generation == seen.link_generation).ok_or(ClaimError::NotFound)?;
    if !paid || ticket.status != TicketStatus::Valid {
        return Err(ClaimError::NotValid);
    }
    if ticket.claimed_at.is_some() {
        return if ticket.holder_name == name { Ok(ticket) } else { Err(ClaimError::Claimed) };
    }
    if transfer::is_sent(&mut tx, id).await? {
        return Err(ClaimError::OnItsWay);
    }
    let claimed = tickets::mark_claimed(&mut tx, id, name, email, now).await?.ok_or(ClaimError::Claimed)?;
    store::claim(&mut tx, &claimed, None, now).await?;
    note(&mut tx, id, "ticket.claimed", now).await?;
    // A phone that it was bound to before is somebody else's; one that came in stays, until a supervisor lets it go.
    let claimed = if claimed.live_key.is_some() && claimed.generation < GENERATIONS && !tickets::has_entered(&mut tx, id).await? {
        let becomes = Becomes { status: claimed.status, generation: claimed.generation + 1, live_key: None, released_key: None };
        tickets::alter(&mut tx, &claimed, &becomes, Cause::of("unbound"), now).await?
    } else {
        // Gates that compare names with documents carry this one.
        if claimed.kind == TicketKind::Pass && offers::identified(&passes).contains(&claimed.pass_number) {
            tickets::tell_gates(&mut tx, id.festival(), &[id]).await?;
        }
        claimed
    };
    tx.commit().await?;
    Ok(claimed)
}

/// Takes back the link of a ticket that nobody claimed: the old link dies, a new one is printed.
///
/// # Errors
/// [`ClaimError`].
pub async fn recall(app: &App, id: TicketId) -> Result<Ticket, ClaimError> {
    let mut tx = app.pools.web.begin().await?;
    let ticket = tickets::lock_one(&mut tx, id).await?.ok_or(ClaimError::NotFound)?;
    if ticket.claimed_at.is_some() {
        return Err(ClaimError::Claimed);
    }
    if transfer::is_sent(&mut tx, id).await? {
        return Err(ClaimError::OnItsWay);
    }
    let recalled = tickets::renew_link(&mut tx, id).await?.ok_or(ClaimError::Claimed)?;
    note(&mut tx, id, "ticket.link_recalled", app.clock.now()).await?;
    tx.commit().await?;
    Ok(recalled)
}

async fn note(conn: &mut PgConnection, id: TicketId, action: &'static str, now: chrono::DateTime<chrono::Utc>) -> Result<(), sqlx::Error> {
    let (object_kind, object_id) = ("ticket", id.to_string());
    audit::record(conn, Act { festival: id.festival(), actor: Actor::Fan, action, object_kind, object_id, before: None, after: None }, now).await
}
