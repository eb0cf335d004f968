//! Overrides: a supervisor lets somebody in whom the rules refuse, by name and with a reason. Who may: a member who is signed in on the device for
//! a shift, or whoever carries a supervisor's card of the day, which gates without network check, too.
//!
//! **Invariant:** an override names who did it and which rule it overrode, is audited, and counts as an admission. Dead codes, held gates and full
//! zones are not overridden: there the code, the hold or the capacity is changed.

pub mod api;
pub mod card;
pub mod store;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;

use super::{Reason, decide::Lifts};
use crate::{
    accounts::{Device, shift},
    app::App,
    audit::{self, Act, Actor},
    festivals::Day,
    id::{DeviceId, FestivalId, GateId, MemberId, ScanId, TicketId},
    keys::{KeyState, Ring},
    sabotage,
};

use card::CardCode;

/// The letters of the longest word of a note.
const WORD: usize = 60;

/// Why somebody comes in whom the rules refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Because {
    /// They had left, and nobody scanned it: the entry of before ends.
    LeftUnscanned,
    /// A mistake of the staff or the house.
    OurMistake,
    /// The promoter said so.
    PromotersWord,
    /// An emergency, illness, a child alone.
    Hardship,
    /// What the note says.
    Other,
}

impl Because {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::LeftUnscanned, Self::OurMistake, Self::PromotersWord, Self::Hardship, Self::Other];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftUnscanned => "left_unscanned",
            Self::OurMistake => "our_mistake",
            Self::PromotersWord => "promoters_word",
            Self::Hardship => "hardship",
            Self::Other => "other",
        }
    }
}

impl Reason {
    /// Whether a supervisor may let somebody in all the same.
    #[must_use]
    pub fn is_overridable(self) -> bool {
        match self {
            Self::WrongDay
            | Self::CancelledDay
            | Self::WrongGate
            | Self::WrongZone
            | Self::TooEarly
            | Self::TooLate
            | Self::AlreadyInside
            | Self::NoReentry
            | Self::NeedsCompanion
            | Self::LiveCodeRequired => true,
            Self::Unknown
            | Self::Forged
            | Self::Revoked
            | Self::Suspended
            | Self::Exchanged
            | Self::WrongFestival
            | Self::GateOnHold
            | Self::TypedCodeOff
            | Self::ZoneFull
            | Self::KeyRetired => false,
        }
    }
}

/// An override, as a device asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct Override {
    /// The reasons that the device showed, and that are overridden: whatever else refuses is shown, and overridden by its own name or not at all.
    #[oai(validator(min_items = 1, max_items = 10, unique_items = true))]
    pub reasons: Vec<Reason>,
    /// Why they come in.
    pub because: Because,
    /// More of it; needed with `other`.
    #[oai(default, validator(max_length = 200))]
    pub note: String,
    /// The code of a supervisor's card. Without one it is the member who is signed in on the device.
    #[oai(validator(max_length = 200))]
    pub card_code: Option<String>,
}

/// Who overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Member(MemberId),
    Card(i64),
}

impl By {
    pub(super) fn member(self) -> Option<MemberId> {
        if let Self::Member(id) = self { Some(id) } else { None }
    }

    pub(super) fn card(self) -> Option<i64> {
        if let Self::Card(number) = self { Some(number) } else { None }
    }
}

/// An override by somebody who may.
#[derive(Clone, Debug)]
pub(super) struct Overriding {
    pub(super) lifts: Lifts,
    pub(super) note: String,
    pub(super) by: By,
}

impl Overriding {
    /// What it comes to, where it let somebody in past some reasons.
    pub(super) fn done(&self, (scan_id, ticket_id): (ScanId, TicketId), device: &Device, reasons: &[Reason], made_at: DateTime<Utc>) -> Overridden {
        let Device { gate_id, device_id, .. } = *device;
        Overridden { scan_id, ticket_id, gate_id, device_id, reasons: reasons.to_vec(), overriding: self.clone(), made_at }
    }
}

/// Why an override is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Nobody is signed in on the device, and no card was shown.
    #[error("nobody is signed in on this device for a shift, and no card was shown")]
    Nobody,
    /// `other` without a note.
    #[error("say why: the note is empty")]
    NoteMissing,
    /// A note that is no words: a code was typed into it.
    #[error("a note is words, not a code")]
    NoteIsNoWords,
    /// No card of this festival.
    #[error("not a supervisor's card of this festival")]
    NoCard,
    /// Of another day.
    #[error("the card is of another day")]
    OtherDay,
    /// Revoked.
    #[error("the card was revoked")]
    Revoked,
    /// Used as often as it may be.
    #[error("the card was used as often as it may be")]
    UsedUp,
}

/// Why an override was not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Whether somebody may override on a device now.
pub(super) async fn allowed(app: &App, device: &Device, wish: &Override, ring: &Ring, days: &[Day], now: DateTime<Utc>) -> Result<Overriding, AskError> {
    let by = match &wish.card_code {
        None => By::Member(device.supervisor_id.filter(|_| device.supervisor_until.is_some_and(|until| now < until)).ok_or(NotAllowed::Nobody)?),
        Some(text) => {
            let number = carried(text, device.festival_id, ring, days, now)?;
            let card = store::card(&app.pools.scan, device.festival_id, number).await?.ok_or(NotAllowed::NoCard)?;
            if card.revoked_at.is_some() {
                return Err(NotAllowed::Revoked.into());
            }
            if card.used >= i32::from(card.overrides) {
                return Err(NotAllowed::UsedUp.into());
            }
            By::Card(number)
        }
    };
    Ok(noted(wish, by)?)
}

fn noted(wish: &Override, by: By) -> Result<Overriding, NotAllowed> {
    let note = wish.note.trim().to_owned();
    if wish.because == Because::Other && note.is_empty() {
        return Err(NotAllowed::NoteMissing);
    }
    // A scanner that types may have typed into it: no code rests in the database.
    if note.split_whitespace().any(|word| word.len() > WORD && word.is_ascii()) {
        return Err(NotAllowed::NoteIsNoWords);
    }
    Ok(Overriding { lifts: Lifts { reasons: wish.reasons.clone(), because: wish.because }, note, by })
}

/// The number of a card that is good at a moment, as far as its code says it.
fn carried(text: &str, festival: FestivalId, ring: &Ring, days: &[Day], at: DateTime<Utc>) -> Result<i64, NotAllowed> {
    let (card, state) = CardCode::signed(text.trim(), festival, ring).ok_or(NotAllowed::NoCard)?;
    if !matches!(state, KeyState::Active | KeyState::VerifyOnly) {
        return Err(NotAllowed::Revoked);
    }
    if card.is_of(days, at) { Ok(card.number) } else { Err(NotAllowed::OtherDay) }
}

/// Who could override on a device when it reports later.
pub(super) struct Past {
    supervised: Vec<shift::Supervised>,
    cards: Vec<store::Card>,
}

impl Past {
    /// Reads what the overrides of a report need; nothing where there is none.
    pub(super) async fn of(conn: &mut PgConnection, device: DeviceId, wishes: &[&Override], since: DateTime<Utc>) -> Result<Self, sqlx::Error> {
        if wishes.is_empty() {
            return Ok(Self { supervised: Vec::new(), cards: Vec::new() });
        }
        let numbers: Vec<i64> = wishes.iter().filter_map(|wish| CardCode::parse(wish.card_code.as_deref()?.trim())).map(|(card, _)| card.number).collect();
        Ok(Self { supervised: shift::supervised(conn, device, since).await?, cards: store::cards_of(conn, device.festival(), &numbers).await? })
    }

    /// Whether somebody could override then. How often a card was used nobody counts without network.
    pub(super) fn allowed(&self, wish: &Override, festival: FestivalId, ring: &Ring, days: &[Day], at: DateTime<Utc>) -> Option<Overriding> {
        let by = match &wish.card_code {
            None => By::Member(self.supervised.iter().find(|s| s.began_at <= at && at < s.ended_at)?.member_id),
            Some(text) => {
                let (code, _) = CardCode::signed(text.trim(), festival, ring)?;
                let card = self.cards.iter().find(|card| card.number == code.number)?;
                let key = ring.key(code.key_id)?;
                let is_alive = [card.revoked_at, key.revoked_at].into_iter().flatten().all(|at_last| at < at_last) && key.state != KeyState::Pending;
                By::Card((is_alive && code.is_of(days, at)).then_some(code.number)?)
            }
        };
        noted(wish, by).ok()
    }
}

/// The numbers of the cards that were revoked, as a pack carries them.
///
/// # Errors
/// What the database said.
pub(super) async fn revoked_cards(pool: &sqlx::PgPool, festival: FestivalId) -> Result<Vec<String>, sqlx::Error> {
    Ok(store::revoked_cards(pool, festival).await?.into_iter().map(card::hex).collect())
}

/// How often the supervisors' cards of a batch may be used yet, under the locks of their rows.
pub(super) struct Cards(HashMap<i64, i32>);

impl Cards {
    pub(super) async fn lock(conn: &mut PgConnection, festival: FestivalId, asked: impl Iterator<Item = &Overriding>) -> Result<Self, sqlx::Error> {
        let numbers: BTreeSet<i64> = asked.filter_map(|o| o.by.card()).collect();
        let numbers: Vec<i64> = numbers.into_iter().collect();
        let read = if sabotage::no_lock() { store::cards_left(conn, festival, &numbers).await? } else { store::lock_cards(conn, festival, &numbers).await? };
        Ok(Self(read.into_iter().collect()))
    }

    /// Takes a use; a member needs none.
    pub(super) fn take(&mut self, by: By) -> bool {
        by.card().is_none_or(|number| self.0.get_mut(&number).filter(|left| **left > 0).map(|left| *left -= 1).is_some())
    }
}

/// An override that happened.
#[derive(Clone, Debug)]
pub(super) struct Overridden {
    pub(super) scan_id: ScanId,
    pub(super) ticket_id: TicketId,
    pub(super) gate_id: GateId,
    pub(super) device_id: DeviceId,
    /// What it overrode, as the device showed it.
    pub(super) reasons: Vec<Reason>,
    pub(super) overriding: Overriding,
    pub(super) made_at: DateTime<Utc>,
}

/// Writes overrides down, each with its line of the audit, and counts the uses of cards.
pub(super) async fn record(conn: &mut PgConnection, festival: FestivalId, done: &[Overridden], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if done.is_empty() {
        return Ok(());
    }
    let new = store::insert(conn, festival, done).await?;
    let new: Vec<&Overridden> = done.iter().filter(|one| new.contains(&one.scan_id)).collect();
    store::count_uses(conn, festival, &new).await?;
    let act = |one: &&Overridden| {
        let by = one.overriding.by;
        let (actor, card) = (by.member().map_or(Actor::Device(one.device_id.0), Actor::Member), by.card().map(card::hex));
        let Overridden { scan_id, reasons, device_id, overriding, .. } = one;
        let after = json!({ "scan_id": scan_id, "reasons": reasons, "because": overriding.lifts.because, "card_number": card, "device_id": device_id });
        Act { festival, actor, action: "entry.overridden", object_kind: "ticket", object_id: one.ticket_id.to_string(), before: None, after: Some(after) }
    };
    audit::record_all(conn, &new.iter().map(act).collect::<Vec<_>>(), now).await
}
