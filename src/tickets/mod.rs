//! Issued tickets: one right of entry of one holder each, with a code, a short code and a link of its own.
//!
//! ```text
//! valid -> suspended -> void;  valid -> exchanged
//! ```
//!
//! **Invariant:** a code is a pure function of its row and the festival's key, for ever. A holder's link shows this ticket
//! and its album and nothing else of the order.

pub mod api;
pub mod code;
pub mod live;
mod notes;
pub mod picture;
mod reissue;
mod store;
mod walk;

use chrono::{DateTime, Months, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::{
    app::App,
    batcher::Trouble,
    festivals,
    id::{FestivalId, OrderId, TicketId},
    keys,
    secrets::Purpose,
};
use code::TicketCode;

pub use notes::{name_holders, set_note, tell_gates};
pub use reissue::{Becomes, Cause, GENERATIONS, ReissueError, alter, alter_all, of_letter, reissue, void};
pub use store::{
    Before, Listed, Named, Scanned, by_numbers, changes, count_bindings, feed, has_entered, holders, is_passed_on, is_there, lock, lock_all, lock_numbered,
    lock_one, mark_claimed, named, named_of, of_festival, of_order, passed_on, renew_link, telling, ticket,
};
pub use walk::{KeyReissue, is_suspect, progress, reissue_all, walk};

/// The state of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum TicketStatus {
    /// It opens a gate.
    Valid,
    /// A refund is under way.
    Suspended,
    /// It became a wristband.
    Exchanged,
    /// It is dead.
    Void,
}

impl TicketStatus {
    /// Its name in JSON and rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspended => "suspended",
            Self::Exchanged => "exchanged",
            Self::Void => "void",
        }
    }

    /// Its key in the catalog of words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "ticket-valid",
            Self::Suspended => "ticket-suspended",
            Self::Exchanged => "ticket-exchanged",
            Self::Void => "ticket-void",
        }
    }
}

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum TicketKind {
    /// A right of entry.
    Pass,
    /// Something to be collected.
    AddOn,
}

/// A ticket.
#[derive(Clone, Debug, Object, FromRow)]
pub struct Ticket {
    /// Its id.
    pub ticket_id: TicketId,
    /// The order it came with.
    pub order_id: OrderId,
    /// What it is for.
    pub kind: TicketKind,
    /// Its state.
    pub status: TicketStatus,
    /// Its number as 16 hexadecimal digits: a 64 bit number does not fit JavaScript.
    #[sqlx(skip)]
    pub number: String,
    /// How often its code was re-issued.
    pub generation: i16,
    /// The number of its pass or add-on.
    pub pass_number: i32,
    /// The festival days it opens, bit i for day i.
    pub day_mask: i32,
    /// Who it is for.
    pub holder_name: String,
    /// When its holder took it; absent while nobody did.
    #[oai(skip_serializing_if_is_none)]
    pub claimed_at: Option<DateTime<Utc>>,
    /// The number itself.
    #[oai(skip)]
    pub ticket_number: i64,
    /// The key that signs it.
    #[oai(skip)]
    pub key_id: i16,
    /// A backstop of its code.
    #[oai(skip)]
    pub not_after: DateTime<Utc>,
    /// How often its holder's link was revoked.
    #[oai(skip)]
    pub link_generation: i16,
    /// The line of the order.
    #[oai(skip)]
    pub line_no: i16,
    /// The component of the line.
    #[oai(skip)]
    pub component_no: i16,
    /// The Ed25519 key of the phone that it is bound to.
    #[oai(skip)]
    pub live_key: Option<Vec<u8>>,
    /// The key of a phone that it was let go from.
    #[oai(skip)]
    pub released_key: Option<Vec<u8>>,
    /// Where it stands in the feed of tickets.
    #[oai(skip)]
    pub position: i64,
    /// What staff shall know when it comes to a gate.
    #[oai(skip)]
    pub note: Option<String>,
}

impl Ticket {
    pub(crate) fn numbered(mut self) -> Self {
        self.number = format!("{:016x}", self.ticket_number);
        self
    }

    /// What its code says.
    #[must_use]
    pub fn code(&self) -> TicketCode {
        TicketCode {
            is_add_on: self.kind == TicketKind::AddOn,
            key_id: u8::try_from(self.key_id).unwrap_or(0),
            festival: self.ticket_id.festival(),
            number: self.ticket_number,
            pass_number: u16::try_from(self.pass_number).unwrap_or(0),
            day_mask: u16::try_from(self.day_mask).unwrap_or(0),
            generation: u8::try_from(self.generation).unwrap_or(0),
            live_required: self.live_key.is_some(),
            not_after: u32::try_from(self.not_after.timestamp()).unwrap_or(u32::MAX),
        }
    }

    /// Its code as text; `None` when the key is not here.
    ///
    /// # Errors
    /// What the database said.
    pub async fn code_text(&self, app: &App) -> Result<Option<String>, sqlx::Error> {
        let code = self.code();
        let ring = keys::ring_with(app, self.ticket_id.festival(), code.key_id).await?;
        Ok(code.sign(&ring))
    }

    /// The signature that its holder carries: of its code, or of the certificate where it is bound to a phone. `None` when the key is not here.
    #[must_use]
    pub fn carried(&self, ring: &keys::Ring) -> Option<[u8; 64]> {
        let phone = self.live_key.as_deref().and_then(|key| <&[u8; 32]>::try_from(key).ok());
        match phone {
            Some(phone) => self.code().certify(phone, ring)?.last_chunk().copied(),
            None => self.code().signature(ring),
        }
    }

    /// The short code for broken screens: ten letters without look-alikes, in two groups.
    #[must_use]
    pub fn short_code(&self, app: &App) -> String {
        let letters = app.secrets.letters(Purpose::ShortCode, self.ticket_id.0, self.generation, 10);
        format!("{} {}", &letters[..5], &letters[5..])
    }

    /// The holder's own link.
    #[must_use]
    pub fn url(&self, app: &App) -> String {
        format!("{}/t/{}/{}", app.settings.public_url, self.ticket_id, app.secrets.link(Purpose::HolderLink, self.ticket_id.0, self.link_generation))
    }
}

/// A ticket to be issued.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The order.
    pub order_id: OrderId,
    /// The line.
    pub line_no: i16,
    /// The component.
    pub component_no: i16,
    /// Which one of the line.
    pub unit_no: i32,
    /// What it is for.
    pub kind: TicketKind,
    /// The number of the pass or add-on.
    pub pass_number: i32,
    /// The festival days it opens.
    pub day_mask: i32,
    /// Who it is for: the buyer until somebody is named.
    pub holder_name: String,
}

/// What new tickets of a festival share: the key that signs them and the backstop of their codes.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    key_id: u8,
    not_after: DateTime<Utc>,
}

/// Reads what new tickets share.
///
/// # Errors
/// What the database said; a festival without a signing key.
pub async fn stamp(app: &App, conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Stamp, Trouble> {
    let key_id =
        keys::ring(app, festival).await?.active().ok_or_else(|| sqlx::Error::Protocol(format!("festival {} has no active signing key", festival.0)))?;
    // The last festival day plus two years; without days, two years from now.
    let last_day = festivals::last_day(conn, festival).await?;
    Ok(Stamp { key_id, not_after: last_day.unwrap_or(now).checked_add_months(Months::new(24)).unwrap_or(now) })
}

/// Issues tickets: takes their positions in the feed as the last lock, then writes them all by one statement.
///
/// # Errors
/// [`Trouble::Again`] when a random number was taken.
pub async fn issue(conn: &mut PgConnection, festival: FestivalId, issues: &[Issue], stamp: Stamp, now: DateTime<Utc>) -> Result<(), Trouble> {
    if issues.is_empty() {
        return Ok(());
    }
    let first = festivals::take_positions(conn, festival, "tickets", i64::try_from(issues.len()).unwrap_or(i64::MAX)).await?;
    let written = store::insert(conn, festival, issues, i16::from(stamp.key_id), stamp.not_after, first, now).await?;
    if written == issues.len() as u64 { Ok(()) } else { Err(Trouble::Again) }
}
