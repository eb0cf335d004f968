//! Wristbands: a ticket becomes one at an exchange desk, and its picture opens nothing from then on. A band carries a barcode or a number that a reader
//! types (NFC), or nothing but its color; what it carries is kept as a keyed hash. A band that is lost never opens a gate again; its ticket does, by a new
//! code, and becomes another band. One that came back goes onto another wrist.

pub mod api;
mod store;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, Transaction};

use super::{Checked, PassShown, Reason, Verdict, catalog::catalog};
use crate::{
    accounts::{Device, Staff},
    app::App,
    audit::{self, Act, Actor},
    id::{BandId, FestivalId, TicketId},
    keys,
    offers::Instruction,
    secrets::{self, Purpose},
    tickets::{self, Becomes, Cause, GENERATIONS, Ticket, TicketKind, TicketStatus, code::Shown},
};

pub use store::BandStock;
pub(super) use store::{Listed, Worn, feed, has_bands};

/// How long the device that gave a band may take it back without a supervisor.
const UNDO: TimeDelta = TimeDelta::minutes(15);
/// How long what a band carries may be.
const LENGTHS: std::ops::RangeInclusive<usize> = 6..=64;

/// Why a band ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum BandEnd {
    /// Nobody knows where it is: it opens nothing any more.
    Lost,
    /// It was given by mistake, or came back: it can go onto another wrist.
    Returned,
}

/// An exchange of a ticket for a wristband.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewExchange {
    /// The device's own id of it (UUIDv7): a repeat with the same id gets the first answer.
    pub exchange_id: BandId,
    /// The text of the ticket's code, as it was read.
    #[oai(validator(max_length = 400))]
    pub ticket_code: String,
    /// The answer to a check.
    pub checked: Option<Checked>,
    /// The member who is signed in on the device says that the fan's phone cannot show a live code; audited.
    #[oai(default)]
    pub lifts_live_code: bool,
    /// The band that is given. Without one nothing changes, and the answer says whether one may be given, and of which color.
    pub band: Option<Band>,
}

/// A band that is given.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Band {
    /// What it carries, as a reader types it; absent on a plain one.
    #[oai(validator(max_length = 64))]
    pub code: Option<String>,
}

/// What an exchange desk shows.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Exchanged {
    /// The exchange.
    pub exchange_id: BandId,
    /// `admitted`: a band may be given, or was.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the staff look at before.
    pub instruction: Option<Instruction>,
    /// Its pass, with the color of its band.
    pub pass: Option<PassShown>,
    /// The ticket.
    pub ticket_id: Option<TicketId>,
    /// The last four characters of its number.
    pub ticket_end: Option<String>,
    /// When the band was given; absent while none was.
    pub given_at: Option<DateTime<Utc>>,
    /// The last characters of what it carries.
    pub band_end: Option<String>,
    /// How many bands of the color are left; absent where nobody said how many there are.
    pub left: Option<i32>,
    /// What staff shall know of the ticket.
    pub note: Option<String>,
}

impl Exchanged {
    fn refused(exchange_id: BandId, reason: Reason) -> Self {
        Self {
            exchange_id,
            verdict: Verdict::Refused,
            reason: Some(reason),
            instruction: None,
            pass: None,
            ticket_id: None,
            ticket_end: None,
            given_at: None,
            band_end: None,
            left: None,
            note: None,
        }
    }
}

/// Why nothing was exchanged, or no band ended.
#[derive(Debug, thiserror::Error)]
pub enum BandError {
    /// No such ticket, or no band of it.
    #[error("no such band")]
    NotFound,
    /// Only desks and supervisors.
    #[error("only a device of an exchange desk, or where a member is signed in")]
    NotAllowed,
    /// What was read is no band's.
    #[error("six to 64 letters and digits")]
    Unreadable,
    /// It is on another wrist, or was lost.
    #[error("the band is on another wrist, or was reported lost")]
    Taken,
    /// It opens nothing any more, or the byte of its generation is used up.
    #[error("the ticket is no wristband any more, or gets no other code")]
    Ended,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a band carries as it is compared; `None` where it is none.
pub(super) fn carried(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_uppercase();
    let fits = LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:._".contains(&b));
    fits.then_some(text)
}

/// Whose wrists bands were on, by the texts that they carry, in the order of time.
pub(super) async fn worn(app: &App, conn: &mut PgConnection, festival: FestivalId, texts: &[&str]) -> Result<HashMap<String, Vec<Worn>>, sqlx::Error> {
    let carried: HashMap<Vec<u8>, String> = texts.iter().filter_map(|text| carried(text)).map(|text| (hash(app, festival, &text).to_vec(), text)).collect();
    let mut by_text: HashMap<String, Vec<Worn>> = HashMap::new();
    for worn in store::worn(conn, festival, &carried.keys().cloned().collect::<Vec<_>>()).await? {
        if let Some(text) = carried.get(&worn.band_hash) {
            by_text.entry(text.clone()).or_default().push(worn);
        }
    }
    Ok(by_text)
}

/// Whose wrist a band was on at a moment; who wore it last before, or who was the first to, where nobody did then.
pub(super) fn at(worn: &[Worn], moment: DateTime<Utc>) -> Option<&Worn> {
    worn.iter().rfind(|worn| worn.given_at <= moment).or(worn.first())
}

/// What devices hash bands with: not the house's own secret, and another one at each festival.
#[must_use]
pub fn salt(app: &App, festival: FestivalId) -> [u8; 32] {
    app.secrets.mac(Purpose::Band, &[&festival.0.to_be_bytes()])
}

/// The keyed hash of what a band carries: the first eight bytes of HMAC-SHA256 under the festival's salt (10-rules 29).
pub(super) fn hash(app: &App, festival: FestivalId, carried: &str) -> [u8; 8] {
    let mac = secrets::hmac(&salt(app, festival), &[carried.as_bytes()]);
    let mut short = [0; 8];
    short.copy_from_slice(&mac[..8]);
    short
}

/// Exchanges a ticket for a band, or says whether it may be.
///
/// # Errors
/// [`BandError`].
pub async fn exchange(app: &App, device: &Device, asked: &NewExchange) -> Result<Exchanged, BandError> {
    if device.profile != "exchange" && device.supervisor_id.is_none() && !device.is_supervisor() {
        return Err(BandError::NotAllowed);
    }
    let (now, festival) = (app.clock.now(), device.festival_id);
    let band = match asked.band.as_ref().map(|band| band.code.as_deref().filter(|code| !code.trim().is_empty())) {
        None => None,
        Some(None) => Some(None),
        Some(Some(code)) => Some(Some(carried(code).ok_or(BandError::Unreadable)?)),
    };
    let ring = keys::ring(app, festival).await?;
    let refused = |reason| Exchanged::refused(asked.exchange_id, reason);
    let shown = match Shown::verify(asked.ticket_code.trim(), festival, &ring) {
        Ok(shown) => shown,
        Err(error) => return Ok(refused(error.into())),
    };
    let catalog = catalog(app, festival).await?;
    let mut tx = app.pools.web.begin().await?;
    let Some(ticket) = tickets::lock_numbered(&mut tx, festival, shown.code.number).await? else { return Ok(refused(Reason::Unknown)) };
    let Some(pass) = catalog.pass(ticket.pass_number).filter(|_| ticket.kind == TicketKind::Pass) else { return Ok(refused(Reason::Unknown)) };
    let color = pass.terms.color.as_str();
    let answer = Exchanged {
        pass: Some(PassShown::of(pass)),
        ticket_id: Some(ticket.ticket_id),
        ticket_end: Some(ticket.number[12..].to_uppercase()),
        ..refused(Reason::Unknown)
    };
    if let Some(given) = store::living(&mut tx, ticket.ticket_id).await?.filter(|given| given.band_id == asked.exchange_id) {
        let left = store::stock(&mut tx, festival, color).await?.and_then(|stock| stock.left());
        return Ok(Exchanged { verdict: Verdict::Admitted, reason: None, given_at: Some(given.given_at), band_end: given.band_end, left, ..answer });
    }
    // The band takes a moment to be found; its desk saw the code before.
    let is_live = if band.is_some() { shown.is_recent(now) } else { shown.is_live(now) || (asked.checked.is_some() && shown.is_recent(now)) };
    let is_lifted = asked.lifts_live_code && device.supervisor_id.is_some();
    if let Some(reason) = refusal(&ticket, &shown, pass.terms.needs_live_code && !is_live && !is_lifted) {
        return Ok(Exchanged { reason: Some(reason), ..answer });
    }
    let answer = Exchanged { note: ticket.note.clone(), ..answer };
    let instruction = pass.terms.check_instruction.or(ticket.note.is_some().then_some(Instruction::Note));
    if let (Some(instruction), true) = (instruction, asked.checked != Some(Checked::Yes)) {
        return Ok(Exchanged { verdict: Verdict::Check, reason: None, instruction: Some(instruction), ..answer });
    }
    let Some(band) = band else {
        let left = store::stock(&mut tx, festival, color).await?.and_then(|stock| stock.left());
        return Ok(Exchanged { verdict: Verdict::Admitted, reason: None, left, ..answer });
    };
    let (band_end, left) = give(&mut tx, app, device, asked.exchange_id, (&ticket, color), band.as_deref(), now).await?;
    if let (true, Some(member)) = (is_lifted && !is_live, device.supervisor_id) {
        let (action, object_id, after) =
            ("ticket.exchanged_without_live_code", ticket.ticket_id.to_string(), serde_json::json!({ "device_id": device.device_id }));
        let act = Act { festival, actor: Actor::Member(member), action, object_kind: "ticket", object_id, before: None, after: Some(after) };
        audit::record(&mut tx, act, now).await?;
    }
    tx.commit().await?;
    Ok(Exchanged { verdict: Verdict::Admitted, reason: None, given_at: Some(now), band_end, left, ..answer })
}

/// Gives a band for a locked ticket; the last characters of what it carries, and how many of its color are left.
async fn give(
    conn: &mut PgConnection,
    app: &App,
    device: &Device,
    band_id: BandId,
    (ticket, color): (&Ticket, &str),
    band: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(Option<String>, Option<i32>), BandError> {
    let festival = device.festival_id;
    let becomes = Becomes { status: TicketStatus::Exchanged, ..Becomes::of(ticket) };
    let after = tickets::alter(&mut *conn, ticket, &becomes, Cause::of("exchanged"), now).await?;
    let band_end: Option<String> = band.map(|code| code.chars().skip(code.len() - 4).collect());
    let given = store::Given {
        band_id,
        ticket_id: ticket.ticket_id,
        generation: ticket.generation,
        color: color.to_owned(),
        band_hash: band.map(|code| hash(app, festival, code).to_vec()),
        band_end: band_end.clone(),
        device_id: device.device_id,
        given_at: now,
        position: after.position,
    };
    if !store::insert(&mut *conn, festival, &given).await? {
        return Err(BandError::Taken);
    }
    let left = store::count_given(conn, festival, color).await?.left();
    Ok((band_end, left))
}

/// Why a ticket becomes no band.
fn refusal(ticket: &Ticket, shown: &Shown, is_picture: bool) -> Option<Reason> {
    match ticket.status {
        TicketStatus::Exchanged => Some(Reason::Exchanged),
        TicketStatus::Suspended => Some(Reason::Suspended),
        TicketStatus::Void => Some(Reason::Revoked),
        TicketStatus::Valid if i16::from(shown.code.generation) != ticket.generation => Some(Reason::Revoked),
        TicketStatus::Valid => is_picture.then_some(Reason::LiveCodeRequired),
    }
}

/// Ends the band of a ticket: the ticket is valid again; after a loss by a new code. By a member who is signed in on the device; the device that gave it takes it back
/// itself within fifteen minutes.
///
/// # Errors
/// [`BandError`].
pub async fn end(app: &App, device: &Device, id: TicketId, why: BandEnd) -> Result<Ticket, BandError> {
    let (now, festival) = (app.clock.now(), device.festival_id);
    if id.festival() != festival {
        return Err(BandError::NotFound);
    }
    let mut tx = app.pools.web.begin().await?;
    let ticket = tickets::lock_one(&mut tx, id).await?.ok_or(BandError::NotFound)?;
    let given = store::living(&mut tx, id).await?.ok_or(BandError::NotFound)?;
    let is_own = why == BandEnd::Returned && given.device_id == device.device_id && now - given.given_at <= UNDO;
    if !is_own && device.supervisor_id.is_none() {
        return Err(BandError::NotAllowed);
    }
    if ticket.status != TicketStatus::Exchanged || ticket.generation >= GENERATIONS {
        return Err(BandError::Ended);
    }
    // What was a mistake leaves the ticket as it was, on paper, too; after a loss nobody knows who has what.
    let mut becomes = Becomes { status: TicketStatus::Valid, ..Becomes::of(&ticket) };
    if tickets::is_suspect(&mut tx, festival, ticket.key_id).await? {
        // What a leaked key signed was re-issued meanwhile.
        becomes.generation = ticket.generation + 1;
    }
    if why == BandEnd::Lost {
        (becomes.generation, becomes.live_key) = (ticket.generation + 1, None);
    }
    let after = tickets::alter(&mut tx, &ticket, &becomes, Cause::of("returned"), now).await?;
    store::end(&mut tx, festival, given.band_id, why, now, after.position).await?;
    store::count_ended(&mut tx, festival, &given.color, why).await?;
    let act = Act {
        festival,
        actor: device.supervisor_id.map_or(Actor::Device(device.device_id.0), Actor::Member),
        action: "band.ended",
        object_kind: "ticket",
        object_id: id.to_string(),
        before: None,
        after: Some(serde_json::json!({ "why": why, "band_end": given.band_end, "device_id": device.device_id })),
    };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(after)
}

/// The stocks of bands of a festival, by color.
///
/// # Errors
/// What the database said.
pub async fn stocks(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<BandStock>, sqlx::Error> {
    store::stocks(conn, festival).await
}

/// Says how many bands of a color were delivered; `None` takes that back.
///
/// # Errors
/// What the database said.
pub async fn deliver(
    app: &App,
    mut tx: Transaction<'_, Postgres>,
    staff: &Staff,
    festival: FestivalId,
    color: &str,
    delivered: Option<i32>,
) -> Result<BandStock, sqlx::Error> {
    let before = store::stock(&mut tx, festival, color).await?;
    let after = store::deliver(&mut tx, festival, color, delivered).await?;
    let act = Act {
        festival,
        actor: staff.actor,
        action: "bands.delivered",
        object_kind: "band_stock",
        object_id: color.to_owned(),
        before: Some(serde_json::json!({ "delivered": before.and_then(|stock| stock.delivered) })),
        after: Some(serde_json::json!({ "delivered": delivered })),
    };
    audit::record(&mut tx, act, app.clock.now()).await?;
    tx.commit().await?;
    Ok(after)
}
