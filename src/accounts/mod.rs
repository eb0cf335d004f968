//! Who is calling: members and their roles, tokens of programs, gate devices, and what each may do.
//!
//! People have no passwords; programs have tokens. A member signs in by a link or six digits from an email:
//!
//! ```text
//! asked -> sent (its 15 minutes begin) -> used | over
//! ```

pub mod api;
pub mod guard;
mod pairing;
pub mod shift;
mod sign_in;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use sqlx::FromRow;
use unicode_normalization::UnicodeNormalization;

use crate::{
    audit::Actor,
    id::{DeviceId, FestivalId, GateId, MemberId, PromoterId},
    words::Language,
};

pub use pairing::{
    DeviceCache, PairError, Paired, Pairing, Pulse, Pulses, Wanted, device_of, devices, flush_pulses, heard, offer_pairing, pair, pairing as pairing_of,
    revoke_device, revoke_pairing, sheets,
};
pub use sign_in::{EnterError, ask, begin_life, enter_by_code, enter_by_link, forget, leave, session};
pub use store::{Invited, LastUsed, first_link, flush_last_used, invite, new_token, promoter_name, renew_token};

/// A verb on a part of the promoter's work: what tokens carry and roles stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
#[oai(rename_all = "snake_case")]
pub enum Scope {
    /// See everything of the catalog, drafts included.
    CatalogRead,
    /// Change festivals, days, zones, stages, gates.
    FestivalsWrite,
    /// Change acts and sets.
    LineupWrite,
    /// Change passes, add-ons, offers, stock.
    OffersWrite,
    /// Change releases and upload music.
    ReleasesWrite,
    /// See orders, tickets and sales.
    OrdersRead,
    /// See scans and who is in.
    ScansRead,
    /// Pair and revoke devices.
    GatesWrite,
    /// Void and re-issue tickets.
    TicketsWrite,
    /// Ask for refunds of what nobody used.
    RefundsWrite,
    /// Move money otherwise: refunds of used tickets, by hand, taken back.
    MoneyWrite,
    /// Say where the money goes: accounts at payment providers.
    AccountsWrite,
    /// Sell at the door, give away, and take money by hand.
    SalesWrite,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 13] = [
        Self::CatalogRead,
        Self::FestivalsWrite,
        Self::LineupWrite,
        Self::OffersWrite,
        Self::ReleasesWrite,
        Self::OrdersRead,
        Self::ScansRead,
        Self::GatesWrite,
        Self::TicketsWrite,
        Self::RefundsWrite,
        Self::MoneyWrite,
        Self::AccountsWrite,
        Self::SalesWrite,
    ];

    /// The name that a token carries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CatalogRead => "catalog:read",
            Self::FestivalsWrite => "festivals:write",
            Self::LineupWrite => "lineup:write",
            Self::OffersWrite => "offers:write",
            Self::ReleasesWrite => "releases:write",
            Self::OrdersRead => "orders:read",
            Self::ScansRead => "scans:read",
            Self::GatesWrite => "gates:write",
            Self::TicketsWrite => "tickets:write",
            Self::RefundsWrite => "refunds:write",
            Self::MoneyWrite => "money:write",
            Self::AccountsWrite => "accounts:write",
            Self::SalesWrite => "sales:write",
        }
    }
}

/// A role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Owner,
    /// The catalog: festivals, line-up, offers, music.
    Editor,
    /// Orders and money.
    Finance,
    /// Orders, masked.
    Support,
    /// Gates and devices.
    Access,
    /// Line-up and running times.
    Stage,
    /// Sells at the door.
    BoxOffice,
    /// Overrides at a gate.
    Supervisor,
}

impl Role {
    /// Reads the name of the database.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Some(match name {
            "owner" => Self::Owner,
            "editor" => Self::Editor,
            "finance" => Self::Finance,
            "support" => Self::Support,
            "access" => Self::Access,
            "stage" => Self::Stage,
            "box_office" => Self::BoxOffice,
            "supervisor" => Self::Supervisor,
            _ => return None,
        })
    }

    /// What the role may do: the table that the authorization tests are made from.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Owner => &Scope::ALL,
            Self::Editor => &[Scope::CatalogRead, Scope::FestivalsWrite, Scope::LineupWrite, Scope::OffersWrite, Scope::ReleasesWrite],
            Self::Finance => &[Scope::CatalogRead, Scope::OrdersRead, Scope::ScansRead, Scope::RefundsWrite, Scope::MoneyWrite, Scope::SalesWrite],
            Self::Support => &[Scope::CatalogRead, Scope::OrdersRead, Scope::TicketsWrite, Scope::RefundsWrite],
            Self::Access | Self::Supervisor => &[Scope::CatalogRead, Scope::ScansRead, Scope::GatesWrite],
            Self::Stage => &[Scope::CatalogRead, Scope::LineupWrite],
            Self::BoxOffice => &[Scope::CatalogRead, Scope::SalesWrite],
        }
    }
}

/// Who speaks for a promoter: a member in the dashboard or a program with a token.
#[derive(Clone, Debug)]
pub struct Staff {
    /// The promoter.
    pub promoter: PromoterId,
    /// Member or token, for the audit.
    pub actor: Actor,
    /// The only festival that a token may touch; `None` for all of the promoter.
    pub festival: Option<FestivalId>,
    /// What may be done.
    pub scopes: Vec<Scope>,
    /// Whether personal data is masked: a member who is support and nothing else.
    pub masked: bool,
}

/// The caller may not do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("needs the scope {}", .0.name())]
pub struct Denied(pub Scope);

impl Staff {
    /// Whether the caller may do something.
    ///
    /// # Errors
    /// [`Denied`] with the scope that is missing.
    pub fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Denied(scope)) }
    }

    /// Whether the caller's token reaches a festival. The promoter itself is checked in the query.
    #[must_use]
    pub fn reaches(&self, festival: FestivalId) -> bool {
        self.festival.is_none_or(|only| only == festival)
    }
}

/// A member who is signed in.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who.
    pub member_id: MemberId,
    /// Their name.
    pub name: String,
    /// Their roles, by name.
    pub roles: Vec<String>,
    /// Their language.
    pub language: Language,
    /// What they may do.
    pub staff: Staff,
}

/// A paired gate device.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Device {
    /// Its festival.
    pub festival_id: FestivalId,
    /// Its id.
    pub device_id: DeviceId,
    /// The gate it stands at.
    pub gate_id: GateId,
    /// The gates that it may be moved to by whoever holds it, its own among them.
    pub gate_ids: Vec<GateId>,
    /// The name it was given when it was paired.
    pub name: String,
    /// `scan`, `supervisor` or `exchange`.
    pub profile: String,
    /// When it was paired.
    pub paired_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was heard last; behind by up to a minute.
    pub seen_at: Option<DateTime<Utc>>,
    /// How many of its scans and head counts waited to be reported then.
    pub waiting: Option<i32>,
    /// Its battery then, in percent.
    pub battery: Option<i16>,
    /// Whether it was charging then.
    pub is_charging: Option<bool>,
    /// The member who is signed in on it for a shift.
    pub supervisor_id: Option<MemberId>,
    /// Their name.
    pub supervisor: Option<String>,
    /// Until when.
    pub supervisor_until: Option<DateTime<Utc>>,
}

impl Device {
    /// Whether a supervisor holds it.
    #[must_use]
    pub fn is_supervisor(&self) -> bool {
        self.profile == "supervisor"
    }

    /// Who is signed in on it for a shift.
    #[must_use]
    pub fn supervising(&self) -> Option<shift::Supervising> {
        Some(shift::Supervising { name: self.supervisor.clone()?, until: self.supervisor_until? })
    }

    /// Whether it compares names with documents.
    #[must_use]
    pub fn reads_names(&self) -> bool {
        self.profile == "identity"
    }

    /// The device at the gate that its holder chose; `None` where it may not stand there.
    #[must_use]
    pub fn at(mut self, gate: Option<GateId>) -> Option<Self> {
        match gate {
            None => Some(self),
            Some(gate) if self.gate_id == gate || self.gate_ids.contains(&gate) => {
                self.gate_id = gate;
                Some(self)
            }
            Some(_) => None,
        }
    }
}

/// The key of an address: NFC, case-folded, plus kept. Two spellings of one address have one key.
#[must_use]
pub fn email_key(address: &str) -> String {
    address.trim().nfc().collect::<String>().to_lowercase()
}

/// Whether a text is an address that a mail server would take; what lettre parses, with a domain, at most 254 bytes.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.len() <= 254
        && text.trim() == text
        && text.parse::<lettre::Address>().is_ok()
        && text.rsplit('@').next().is_some_and(|d| d.contains('.') || d == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_have_one_key() {
        assert_eq!(email_key("Mara@Lindqvist.Example "), "mara@lindqvist.example");
        assert_ne!(email_key("mara+1@lindqvist.example"), email_key("mara@lindqvist.example"));
        assert_eq!(email_key("cafe\u{301}@x.example"), email_key("caf\u{e9}@x.example"));
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["a@b.example", "mara.o'neil+x@sub.domain.example"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a", "a@", "@b.example", "a b@c.example", "a@b", "a@b.example\r\nBcc: x@y.example", " a@b.example"] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
