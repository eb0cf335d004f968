//! Entry: scans, verdicts, admissions. A code is verified before anything is asked of the database; a batch locks the
//! tickets in the order of their ids, decides in arrival order by pure code and records every scan.
//!
//! **Invariant:** one admission per ticket and festival day (and re-entry where the pass allows it, after an exit);
//! a repeat of a scan gets the first answer. Every presentation is recorded. What devices without network let in beyond that is in the ledger.

pub mod api;
pub mod bands;
pub mod binding;
mod catalog;
pub mod crowd;
mod decide;
pub mod explain;
pub mod head_counts;
pub mod help_desk;
pub mod incident;
mod presence;
pub mod ledger;
pub mod lookup;
pub mod merge;
pub mod overrides;
pub mod pack;
mod replay;
mod scan;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use crate::{
    id::{GateId, ScanId, TicketId},
    offers::{Instruction, Pass},
    tickets::code::{CodeError, Shown, TicketCode},
    words::Text,
};

pub use catalog::{Catalog, Catalogs};
use overrides::Because;
pub use scan::{Asked, Forgeries, ScanError, Scanning, record_forgeries, scan};
pub use store::{arrivals, latest, of_festival};

impl From<CodeError> for Reason {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Unknown => Self::Unknown,
            CodeError::Forged => Self::Forged,
            CodeError::KeyRetired => Self::KeyRetired,
            CodeError::WrongFestival => Self::WrongFestival,
        }
    }
}

/// What somebody carries to a gate, as far as it vouches for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carried {
    /// The number of the ticket.
    number: i64,
    /// The number of its pass.
    pass_number: i32,
    /// The generation of the ticket that it opens a gate with.
    generation: i16,
    /// Whether the phone that the ticket is bound to made it just now.
    is_live: bool,
    /// Whether it is a wristband.
    is_band: bool,
}

impl Carried {
    /// A code.
    fn code(shown: &Shown, is_live: bool) -> Self {
        let TicketCode { number, pass_number, generation, .. } = shown.code;
        Self { number, pass_number: pass_number.into(), generation: generation.into(), is_live, is_band: false }
    }

    /// A wristband at a moment. What was lost or came back by then is of no generation.
    fn band(worn: &bands::Worn, at: DateTime<Utc>) -> Self {
        let bands::Worn { ticket_number: number, pass_number, generation, ended_at, .. } = *worn;
        let generation = if ended_at.is_some_and(|ended| ended <= at) { -1 } else { generation };
        Self { number, pass_number, generation, is_live: false, is_band: true }
    }
}

/// What a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ScanKind {
    /// Somebody comes in.
    Entry,
    /// Somebody leaves; it never fails.
    Exit,
    /// A look without effect.
    Look,
    /// Takes back an entry of the same device, up to fifteen minutes later.
    Undo,
}

/// What the gate shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Verdict {
    /// In.
    Admitted,
    /// One instruction for the staff; it admits nobody.
    Check,
    /// Not in.
    Refused,
}

impl Verdict {
    /// Its name in JSON, CSS and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Check => "check",
            Self::Refused => "refused",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// Why somebody was refused. The list is closed: a device in the field cannot learn a new one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, Serialize, Deserialize, sqlx::Type)]
        #[oai(rename_all = "snake_case")]
        #[serde(rename_all = "snake_case")]
        #[sqlx(type_name = "text", rename_all = "snake_case")]
        pub enum Reason { $($(#[doc = $doc])+ $name),+ }

        impl Reason {
            /// Its name in JSON and in the catalog of words.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

reasons! {
    /// Not our format, or not on the list.
    Unknown = "unknown";
    /// Bad signature or unknown key.
    Forged = "forged";
    /// An old generation, or void.
    Revoked = "revoked";
    /// A refund is under way.
    Suspended = "suspended";
    /// It became a wristband, or was collected.
    Exchanged = "exchanged";
    /// Of another festival.
    WrongFestival = "wrong_festival";
    /// Not for this festival day.
    WrongDay = "wrong_day";
    /// The day is cancelled.
    CancelledDay = "cancelled_day";
    /// Not at this gate.
    WrongGate = "wrong_gate";
    /// Not into this zone.
    WrongZone = "wrong_zone";
    /// The gate is on hold.
    GateOnHold = "gate_on_hold";
    /// Before the day opens.
    TooEarly = "too_early";
    /// After the last day.
    TooLate = "too_late";
    /// In already.
    AlreadyInside = "already_inside";
    /// Left, and the pass does not allow to come back.
    NoReentry = "no_reentry";
    /// The companion is not in.
    NeedsCompanion = "needs_companion";
    /// A live code is demanded.
    LiveCodeRequired = "live_code_required";
    /// Typed codes are off.
    TypedCodeOff = "typed_code_off";
    /// The zone is full.
    ZoneFull = "zone_full";
    /// The signing key was revoked.
    KeyRetired = "key_retired";
}

/// What the staff answered to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Checked {
    /// It is as it should be.
    Yes,
    /// The help desk decides.
    HelpDesk,
}

/// The pass that a gate names, with its color and the color's name.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
pub struct PassShown {
    /// Its name.
    pub name: Text,
    /// Its color.
    pub color: String,
    /// That color in words.
    pub color_name: Text,
}

impl PassShown {
    fn of(pass: &Pass) -> Self {
        Self { name: pass.terms.name.clone(), color: pass.terms.color.clone(), color_name: pass.terms.color_name.clone() }
    }
}

/// The first entry of a ticket on this day: what a duplicate is told.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
pub struct FirstEntry {
    /// When.
    pub entered_at: DateTime<Utc>,
    /// At which gate.
    pub gate_id: GateId,
    /// The name of that gate.
    pub gate: Text,
}

/// An add-on that is to be handed out.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
pub struct ToCollect {
    /// Its name.
    pub name: Text,
    /// How many.
    pub quantity: u32,
}

/// The answer to a scan. A refusal is an answer, not an error: it happened and is recorded.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ScanAnswer {
    /// The scan.
    pub scan_id: ScanId,
    /// What the gate shows.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the staff look at.
    pub instruction: Option<Instruction>,
    /// The pass.
    pub pass: Option<PassShown>,
    /// The last four characters of the ticket's number, for questions.
    pub ticket_end: Option<String>,
    /// The festival day.
    pub day: Option<Text>,
    /// The first entry, for a duplicate.
    pub first_entry: Option<FirstEntry>,
    /// How many other passes of the same order may come in today and did not yet.
    pub others_not_in: Option<u32>,
    /// The add-ons of the same order that nobody collected yet.
    #[oai(skip_serializing_if_is_empty)]
    pub to_collect: Vec<ToCollect>,
    /// Why a supervisor let them in although the rules refused.
    pub because: Option<Because>,
    /// What staff shall know of the ticket.
    pub note: Option<String>,
    /// Whom it is for, maybe empty: on devices of the profile `identity` alone, of passes that ask for it.
    pub holder_name: Option<String>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
}

/// A scan as it was recorded.
#[derive(Clone, Debug, Object, sqlx::FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Scan {
    /// Its id.
    pub scan_id: ScanId,
    /// What it is.
    pub kind: ScanKind,
    /// Where.
    pub gate_id: GateId,
    /// The ticket, where the code was one of ours.
    pub ticket_id: Option<TicketId>,
    /// The festival day.
    pub day_index: Option<i16>,
    /// What the gate showed.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the staff looked at.
    pub instruction: Option<Instruction>,
    /// When the device scanned, by its clock.
    pub scanned_at: DateTime<Utc>,
    /// When the server decided.
    pub decided_at: DateTime<Utc>,
    /// The scan that had admitted before, for a duplicate.
    pub first_scan_id: Option<ScanId>,
}
