//! A ticket is passed on: its holder sends it to an address, whoever reads it there takes it or does not, and the sender may take it back until then.
//!
//! ```text
//! sent -> accepted | declined | recalled | lapsed (somebody came in on it meanwhile)
//! ```
//!
//! Sent, it is the sender's and valid. Accepted, its codes and links of before are dead in the same moment, and it is the new holder's. An album that nobody
//! claimed goes with it; a claimed one stays with who claimed it.

pub mod api;
mod rule;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use super::{ClaimError, NAME, store as library};
use crate::{
    accounts::{email_key, is_address},
    app::App,
    audit::{self, Act, Actor},
    festivals,
    id::{TicketId, TransferId},
    mail::{self, Draft, Lane},
    orders::{self, OrderStatus},
    secrets::Purpose,
    tickets::{self, Becomes, Cause, GENERATIONS, Ticket, TicketStatus},
    words::Language,
};

pub use rule::{Ends, TransferRule, ends_at, rule, set_rule};
pub use store::{of_order, of_ticket, transfer};

/// How often one ticket may be sent: an open form that sends emails to any address.
const MOST: i64 = 10;

/// The state of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum TransferStatus {
    /// Its reader may take it; until then it is the sender's and valid.
    Sent,
    /// It was taken.
    Accepted,
    /// Its reader did not want it.
    Declined,
    /// Its sender took it back.
    Recalled,
    /// Somebody came in on it meanwhile.
    Lapsed,
}

impl TransferStatus {
    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Recalled => "recalled",
            Self::Lapsed => "lapsed",
        }
    }
}

/// A transfer of a ticket.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Transfer {
    /// Its id.
    pub transfer_id: TransferId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// Its state.
    pub status: TransferStatus,
    /// Who sent it.
    pub from_name: String,
    /// Whom it was sent to, or who took it; empty while nobody says.
    pub to_name: String,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was taken, declined, taken back, or lapsed.
    pub ended_at: Option<DateTime<Utc>>,
    /// Where it was sent.
    #[oai(skip)]
    pub to_email: String,
    /// The language of its reader.
    #[oai(skip)]
    pub language: Language,
    /// The generation of the link of its sender.
    #[oai(skip)]
    pub from_link_generation: i16,
}

impl Transfer {
    /// The link of whoever it was sent to.
    #[must_use]
    pub fn url(&self, app: &App) -> String {
        let id = self.transfer_id;
        format!("{}/x/{id}/{}", app.settings.public_url, app.secrets.link(Purpose::TransferLink, id.0, 0))
    }
}

/// Whom a ticket is sent to.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Their address.
    pub email: String,
    /// Their name, as the sender knows it; may be empty.
    pub name: String,
    /// Their language; that of the order where it is not said.
    pub language: Option<Language>,
}

/// Whether a ticket is on its way to somebody: then it is neither claimed nor is its link taken back.
///
/// # Errors
/// What the database said.
pub(super) async fn is_sent(conn: &mut PgConnection, ticket: TicketId) -> Result<bool, sqlx::Error> {
    Ok(store::open_of(conn, ticket).await?.is_some())
}

/// A transfer as it is now: what is on its way has lapsed as soon as somebody came in on its ticket, whenever somebody asks for it.
///
/// # Errors
/// What the database said.
pub async fn as_it_is(app: &App, mut transfer: Transfer) -> Result<Transfer, sqlx::Error> {
    if transfer.status == TransferStatus::Sent {
        let mut conn = app.pools.web.acquire().await?;
        if tickets::has_entered(&mut conn, transfer.ticket_id).await? {
            transfer.status = TransferStatus::Lapsed;
        }
    }
    Ok(transfer)
}

/// Why a ticket was not passed on.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No such ticket or transfer.
    #[error("no such ticket or transfer")]
    NotFound,
    /// A place of the request and what is wrong with it.
    #[error("{1} ({0})")]
    Invalid(&'static str, &'static str),
    /// It is suspended, exchanged or void, or its order is not paid.
    #[error("the ticket does not open a gate now")]
    NotValid,
    /// Somebody came in on it.
    #[error("somebody came in on the ticket")]
    Used,
    /// The promoter does not let tickets be passed on, any more.
    #[error("tickets are not passed on any more")]
    Over,
    /// It is on its way to somebody else.
    #[error("the ticket is on its way to somebody else")]
    Sent,
    /// It was sent too often, or re-issued as often as its code can count.
    #[error("the ticket was sent or re-issued too often")]
    TooOften,
    /// The transfer ended.
    #[error("the transfer was {}", .0.name())]
    Ended(TransferStatus),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<ClaimError> for TransferError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::NotFound => Self::NotFound,
            ClaimError::Invalid(place, why) => Self::Invalid(place, why),
            ClaimError::Claimed | ClaimError::NotValid | ClaimError::OnItsWay => Self::NotValid,
            ClaimError::Database(error) => Self::Database(error),
        }
    }
}

/// A ticket that may be passed on now, locked with its order, as its holder saw it.
async fn movable(conn: &mut PgConnection, seen: &Ticket, ends: Ends, now: DateTime<Utc>) -> Result<(orders::Held, Ticket), TransferError> {
    let festival = seen.ticket_id.festival();
    let order = orders::lock(&mut *conn, festival, &[seen.order_id]).await?.pop().ok_or(TransferError::NotFound)?;
    let found = tickets::lock_one(&mut *conn, seen.ticket_id).await?;
    let ticket = found.filter(|t| t.link_generation == seen.link_generation).ok_or(TransferError::NotFound)?;
    if !matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded) || ticket.status != TicketStatus::Valid {
        return Err(TransferError::NotValid);
    }
    if tickets::has_entered(&mut *conn, ticket.ticket_id).await? {
        return Err(TransferError::Used);
    }
    if !ends.is_open(now) {
        return Err(TransferError::Over);
    }
    if ticket.generation >= GENERATIONS {
        return Err(TransferError::TooOften);
    }
    Ok((order, ticket))
}

/// Sends a ticket to an address. It stays the sender's and valid until it is taken. To the same address again it is the same transfer.
///
/// # Errors
/// [`TransferError`].
pub async fn send(app: &App, seen: &Ticket, to: &Recipient) -> Result<Transfer, TransferError> {
    let (email, name) = (to.email.as_str(), to.name.trim());
    if !is_address(email) {
        return Err(TransferError::Invalid("/email", "not an email address"));
    }
    if name.chars().count() > NAME {
        return Err(TransferError::Invalid("/name", "a name of at most 120 characters"));
    }
    let (festival, now) = (seen.ticket_id.festival(), app.clock.now());
    let ends = ends_at(app, seen).await?;
    let mut tx = app.pools.web.begin().await?;
    let (order, ticket) = movable(&mut tx, seen, ends, now).await?;
    if let Some(open) = store::open_of(&mut tx, ticket.ticket_id).await? {
        return if email_key(&open.to_email) == email_key(email) { Ok(open) } else { Err(TransferError::Sent) };
    }
    if store::count(&mut tx, ticket.ticket_id).await? >= MOST {
        return Err(TransferError::TooOften);
    }
    let transfer = Transfer {
        transfer_id: TransferId::fresh(festival, now),
        ticket_id: ticket.ticket_id,
        status: TransferStatus::Sent,
        // A ticket that nobody took is sent by whoever ordered it, whomever it was meant for.
        from_name: if ticket.claimed_at.is_some() { ticket.holder_name.clone() } else { order.buyer_name.clone() },
        to_name: name.to_owned(),
        sent_at: now,
        ended_at: None,
        to_email: email.to_owned(),
        language: to.language.unwrap_or(order.language),
        from_link_generation: ticket.link_generation,
    };
    store::insert(&mut tx, &transfer).await?;
    note(&mut tx, &transfer, "ticket.transfer_sent", now).await?;
    write(&mut tx, &transfer, &[("transfer_sent", transfer.to_email.clone(), transfer.language)], now).await?;
    tx.commit().await?;
    Ok(transfer)
}

/// A transfer with its ticket, as they are read before they are locked.
async fn seen(app: &App, id: TransferId) -> Result<(Transfer, Ticket), TransferError> {
    let transfer = store::transfer(&app.pools.web, id).await?.ok_or(TransferError::NotFound)?;
    let ticket = tickets::ticket(&app.pools.web, transfer.ticket_id).await?.ok_or(TransferError::NotFound)?;
    Ok((transfer, ticket))
}

/// Locks a ticket and its transfer.
async fn locked(conn: &mut PgConnection, id: TransferId, ticket: TicketId) -> Result<(Transfer, Ticket), TransferError> {
    let ticket = tickets::lock_one(&mut *conn, ticket).await?.ok_or(TransferError::NotFound)?;
    let transfer = store::locked(conn, id).await?.ok_or(TransferError::NotFound)?;
    Ok((transfer, ticket))
}

/// Takes a ticket that was sent: in one moment the codes and links of before are dead, and it is the new holder's. Whoever took it gets it again.
///
/// # Errors
/// [`TransferError`].
pub async fn accept(app: &App, id: TransferId, name: &str) -> Result<Ticket, TransferError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME {
        return Err(TransferError::Invalid("/name", "a name of 1 to 120 characters"));
    }
    let now = app.clock.now();
    let (_, seen) = seen(app, id).await?;
    let ends = ends_at(app, &seen).await?;
    let mut tx = app.pools.web.begin().await?;
    // Orders are locked before tickets.
    let moved = movable(&mut tx, &seen, ends, now).await;
    let (transfer, ticket) = locked(&mut tx, id, seen.ticket_id).await?;
    match transfer.status {
        TransferStatus::Sent if ticket.link_generation == transfer.from_link_generation => {}
        TransferStatus::Sent => return Err(TransferError::NotFound),
        TransferStatus::Accepted if ticket.link_generation == transfer.from_link_generation + 1 && ticket.holder_name == name => return Ok(ticket),
        ended => return Err(TransferError::Ended(ended)),
    }
    let (order, _) = match moved {
        Ok(moved) => moved,
        Err(TransferError::Used) => {
            store::end(&mut tx, id, TransferStatus::Lapsed, None, now).await?;
            note(&mut tx, &transfer, "ticket.transfer_lapsed", now).await?;
            tx.commit().await?;
            return Err(TransferError::Ended(TransferStatus::Lapsed));
        }
        Err(error) => return Err(error),
    };
    let sender = store::sender(&mut tx, &ticket, &order.email).await?;
    let was_claimed = ticket.claimed_at.is_some();
    store::end(&mut tx, id, TransferStatus::Accepted, Some(name), now).await?;
    let taken = store::pass_on(&mut tx, &transfer, name, now).await?;
    if !was_claimed {
        library::claim(&mut tx, &taken, Some(id), now).await?;
    }
    // What it was bound to is the phone of its former holder.
    let becomes = Becomes { status: taken.status, generation: taken.generation + 1, live_key: None, released_key: None };
    note(&mut tx, &transfer, "ticket.transferred", now).await?;
    let letters = [("transfer_accepted", transfer.to_email.clone(), transfer.language), ("transfer_passed", sender, order.language)];
    write(&mut tx, &transfer, &letters, now).await?;
    let taken = tickets::alter(&mut tx, &taken, &becomes, Cause::of("transferred"), now).await?;
    tx.commit().await?;
    Ok(taken)
}

/// Declines a ticket that was sent: it stays with its sender, who hears of it. Doing it again changes nothing.
///
/// # Errors
/// [`TransferError`].
pub async fn decline(app: &App, id: TransferId) -> Result<Transfer, TransferError> {
    end(app, id, TransferStatus::Declined).await
}

/// Takes a ticket back that was sent; whoever it was sent to hears of it. Doing it again changes nothing.
///
/// # Errors
/// [`TransferError`].
pub async fn recall(app: &App, id: TransferId) -> Result<Transfer, TransferError> {
    end(app, id, TransferStatus::Recalled).await
}

async fn end(app: &App, id: TransferId, status: TransferStatus) -> Result<Transfer, TransferError> {
    let now = app.clock.now();
    let (_, seen) = seen(app, id).await?;
    let order = orders::held(&app.pools.web, seen.order_id).await?.ok_or(TransferError::NotFound)?;
    let mut tx = app.pools.web.begin().await?;
    let (transfer, ticket) = locked(&mut tx, id, seen.ticket_id).await?;
    if transfer.status == status {
        return Ok(transfer);
    }
    if transfer.status != TransferStatus::Sent {
        return Err(TransferError::Ended(transfer.status));
    }
    let ended = store::end(&mut tx, id, status, None, now).await?;
    let (action, letter) = if status == TransferStatus::Declined {
        ("ticket.transfer_declined", ("transfer_declined", store::sender(&mut tx, &ticket, &order.email).await?, order.language))
    } else {
        ("ticket.transfer_recalled", ("transfer_recalled", transfer.to_email.clone(), transfer.language))
    };
    note(&mut tx, &transfer, action, now).await?;
    write(&mut tx, &transfer, &[letter], now).await?;
    tx.commit().await?;
    Ok(ended)
}

async fn write(conn: &mut PgConnection, transfer: &Transfer, letters: &[(&'static str, String, Language)], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let festival = transfer.transfer_id.festival();
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    let draft = |(kind, recipient, language): &(&'static str, String, Language)| Draft {
        thing: transfer.transfer_id.0,
        kind,
        lane: Lane::Claim,
        language: *language,
        recipient: recipient.clone(),
    };
    mail::queue(conn, festival, &letters.iter().map(draft).collect::<Vec<_>>(), now, due_at).await
}

async fn note(conn: &mut PgConnection, transfer: &Transfer, action: &'static str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let (festival, object_kind, object_id) = (transfer.ticket_id.festival(), "ticket", transfer.ticket_id.to_string());
    let after = Some(serde_json::json!({ "transfer_id": transfer.transfer_id }));
    audit::record(conn, Act { festival, actor: Actor::Fan, action, object_kind, object_id, before: None, after }, now).await
}
