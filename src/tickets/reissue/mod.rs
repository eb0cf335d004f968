//! A ticket changes after it was issued: its promoter re-issues or voids it, its holder binds it to a phone, it becomes a wristband. Its code of before is
//! dead from that moment: gates hear of it by the feed, and what a gate without network let in by it afterwards is in the ledger of discrepancies.

mod store;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Ticket, TicketStatus, store as tickets};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    festivals,
    id::{self, FestivalId, TicketId},
    keys,
    mail::{self, Draft, Lane},
};
pub use store::of_letter;

/// What a ticket becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Becomes<'a> {
    /// Its state.
    pub status: TicketStatus,
    /// The only generation that opens a gate.
    pub generation: i16,
    /// The key of the phone that it is bound to.
    pub live_key: Option<&'a [u8]>,
    /// The key of a phone that was let go: it binds the ticket no more.
    pub released_key: Option<&'a [u8]>,
}

impl<'a> Becomes<'a> {
    /// As a ticket is.
    #[must_use]
    pub fn of(ticket: &'a Ticket) -> Self {
        let Ticket { status, generation, .. } = *ticket;
        Self { status, generation, live_key: ticket.live_key.as_deref(), released_key: ticket.released_key.as_deref() }
    }
}

/// Why a ticket changes, in words of the schema, with a sentence for whoever asks later.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// One of `ticket_changes.why`.
    pub why: &'static str,
    /// The sentence, or nothing.
    pub note: &'a str,
    /// The email that tells whoever holds it.
    pub letter: Option<Uuid>,
}

impl Cause<'_> {
    /// A cause that says all by its word, to somebody who knows.
    #[must_use]
    pub fn of(why: &'static str) -> Self {
        Self { why, note: "", letter: None }
    }
}

/// The last generation: the byte of its code is used up.
pub const GENERATIONS: i16 = 255;

/// Changes a locked ticket: what it was is written down, and gates hear of it. A new generation is signed by the active key, because whatever signed the
/// codes of before may have leaked.
///
/// # Errors
/// What the database said.
pub async fn alter(conn: &mut PgConnection, ticket: &Ticket, becomes: &Becomes<'_>, cause: Cause<'_>, now: DateTime<Utc>) -> Result<Ticket, sqlx::Error> {
    let festival = ticket.ticket_id.festival();
    let key_id = if becomes.generation == ticket.generation { None } else { keys::active(&mut *conn, festival).await? };
    store::insert_change(&mut *conn, ticket, cause, now).await?;
    let position = festivals::take_positions(&mut *conn, festival, "tickets", 1).await?;
    store::change(conn, ticket.ticket_id, becomes, key_id.unwrap_or(ticket.key_id), position).await
}

/// Changes the state of locked tickets, as [`alter`] does: three statements, whatever their number. Holders with a letter are told by it.
///
/// # Errors
/// What the database said.
pub async fn alter_all(
    conn: &mut PgConnection,
    festival: FestivalId,
    becomes: &[(&Ticket, TicketStatus)],
    why: &'static str,
    letters: &[(TicketId, Uuid)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if becomes.is_empty() {
        return Ok(());
    }
    store::insert_changes(&mut *conn, festival, becomes, why, letters, now).await?;
    let first = festivals::take_positions(&mut *conn, festival, "tickets", i64::try_from(becomes.len()).unwrap_or(i64::MAX)).await?;
    store::change_all(conn, festival, becomes, first).await
}

/// Why a ticket was not re-issued or voided.
#[derive(Debug, thiserror::Error)]
pub enum ReissueError {
    /// No such ticket.
    #[error("no such ticket")]
    NotFound,
    /// It became a wristband, its money goes back or went back, or its code was re-issued 255 times.
    #[error("the ticket is {0:?} and gets no other code")]
    Ended(TicketStatus),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Gives a ticket another code: the generation is raised and the codes of before are dead. A ticket that its promoter voided is valid again. Whoever holds
/// it is told by email.
///
/// # Errors
/// [`ReissueError`].
pub async fn reissue(app: &App, staff: &Staff, id: TicketId, note: &str) -> Result<Ticket, ReissueError> {
    change(app, staff, id, ("reissued", "ticket.reissued", note), |ticket, voided| {
        let revives = ticket.status == TicketStatus::Void && voided;
        // Gates know a ticket by its number, so it keeps it; the byte of its generation is used up after 255.
        let fits = ticket.generation < GENERATIONS && (revives || ticket.status == TicketStatus::Valid);
        fits.then_some((TicketStatus::Valid, ticket.generation + 1))
    })
    .await
}

/// Voids a ticket; it is re-issued to undo that. Voiding it again changes nothing. Whoever holds it is told by email.
///
/// # Errors
/// [`ReissueError`].
pub async fn void(app: &App, staff: &Staff, id: TicketId, note: &str) -> Result<Ticket, ReissueError> {
    change(app, staff, id, ("voided", "ticket.voided", note), |ticket, voided| {
        let again = ticket.status == TicketStatus::Void && voided;
        (again || ticket.status == TicketStatus::Valid).then_some((TicketStatus::Void, ticket.generation))
    })
    .await
}

/// `decide`: the state and generation that follow for a locked ticket, by whether its promoter voided it.
async fn change(
    app: &App,
    staff: &Staff,
    ticket_id: TicketId,
    (why, action, note): (&'static str, &'static str, &str),
    decide: impl FnOnce(&Ticket, bool) -> Option<(TicketStatus, i16)>,
) -> Result<Ticket, ReissueError> {
    let (now, festival) = (app.clock.now(), ticket_id.festival());
    let mut tx = app.pools.web.begin().await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(ReissueError::NotFound);
    }
    let ticket = tickets::lock_one(&mut tx, ticket_id).await?.ok_or(ReissueError::NotFound)?;
    let voided = store::last_change(&mut tx, ticket_id).await?.is_some_and(|why| why == "voided");
    let (status, generation) = decide(&ticket, voided).ok_or(ReissueError::Ended(ticket.status))?;
    if (status, generation) == (ticket.status, ticket.generation) {
        return Ok(ticket);
    }
    let letter = id::fresh(festival, now);
    // Whoever gets another code binds it anew.
    let live_key = ticket.live_key.as_deref().filter(|_| generation == ticket.generation);
    let after =
        alter(&mut tx, &ticket, &Becomes { status, generation, live_key, ..Becomes::of(&ticket) }, Cause { why, note, letter: Some(letter) }, now).await?;
    let said = |ticket: &Ticket| serde_json::json!({ "status": ticket.status, "generation": ticket.generation });
    let act = Act {
        festival,
        actor: staff.actor,
        action,
        object_kind: "ticket",
        object_id: ticket_id.to_string(),
        before: Some(said(&ticket)),
        after: Some(said(&after)),
    };
    audit::record(&mut tx, act, now).await?;
    let due_at = festivals::mail_due(&mut tx, festival, now).await?;
    let (recipient, language) = store::reader_of(&mut tx, ticket.ticket_id).await?;
    mail::queue(&mut tx, festival, &[Draft { thing: letter, kind: "ticket_changed", lane: Lane::Change, language, recipient }], now, due_at).await?;
    tx.commit().await?;
    Ok(after)
}
