//! Typed ids. An id names its festival, so that every statement can bind both and no path is looked up twice.
//!
//! Layout (RFC 9562 UUIDv8, 10-rules 2): 48 bit Unix milliseconds, 4 bit version, 12 random bits, 2 bit variant,
//! 30 random bits, 32 bit festival number. Ids are not secrets: what must not be guessed is derived in [`crate::secrets`].

use chrono::{DateTime, Utc};
use poem_openapi::NewType;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of a festival: the primary key of `festivals` and the festival number of a ticket code.
///
/// Festival 0 is the house: sign-in emails and platform audit carry it, no page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, NewType, Serialize, Deserialize, sqlx::Type)]
#[sqlx(transparent)]
pub struct FestivalId(pub i32);

impl FestivalId {
    /// The house: rows of the platform that belong to no festival.
    pub const HOUSE: Self = Self(0);

    /// The number as it stands in ids and ticket codes.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.unsigned_abs()
    }

    /// The catalog number that pages print: `GF 0217`.
    #[must_use]
    pub fn catalog_number(self) -> String {
        format!("GF {:04}", self.0)
    }
}

/// Makes the bits of an id of a festival at a moment.
#[must_use]
pub fn fresh(festival: FestivalId, now: DateTime<Utc>) -> Uuid {
    let mut noise = [0_u8; 6];
    crate::secrets::fill(&mut noise);
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..12].copy_from_slice(&noise);
    bytes[12..].copy_from_slice(&festival.number().to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The least id of a moment: every id made earlier is below it, every id made then or later is not.
#[must_use]
pub fn first_at(moment: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(moment.timestamp_millis()).unwrap_or(0);
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

/// When an id was made, to the millisecond.
#[must_use]
pub fn made_at(id: Uuid) -> DateTime<Utc> {
    let mut millis = [0_u8; 8];
    millis[2..].copy_from_slice(&id.as_bytes()[..6]);
    DateTime::from_timestamp_millis(i64::from_be_bytes(millis)).unwrap_or_default()
}

/// Reads the festival out of an id.
#[must_use]
pub fn festival_of(id: Uuid) -> FestivalId {
    let bytes = id.as_bytes();
    FestivalId(i32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]))
}

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, NewType, Serialize, Deserialize, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new id of a festival.
            #[must_use]
            pub fn fresh(festival: FestivalId, now: DateTime<Utc>) -> Self {
                Self(fresh(festival, now))
            }

            /// The festival that the id names.
            #[must_use]
            pub fn festival(self) -> FestivalId {
                festival_of(self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// An organization that runs festivals.
    PromoterId;
    /// Something that a payment provider says otherwise than we do.
    DifferenceId;
    /// A ticket that is passed on.
    TransferId;
    /// An account of a promoter at a payment provider.
    PaymentAccountId;
    /// A person of a promoter.
    MemberId;
    /// An API token of a promoter.
    TokenId;
    /// One attempt of a member to sign in.
    SignInId;
    /// A paired phone or scanner.
    DeviceId;
    /// An entry of the discrepancy ledger.
    DiscrepancyId;
    /// A chance to pair one device.
    PairingId;
    /// A member's time at the gates.
    ShiftId;
    /// A part of the site.
    ZoneId;
    /// Where sets are played.
    StageId;
    /// An entrance.
    GateId;
    /// A hold of gates.
    HoldId;
    /// A moment when the site or a zone is empty.
    ClearingId;
    /// People who were counted by hand.
    CountId;
    /// Who performs.
    ActId;
    /// One act on one stage, from-to.
    SetId;
    /// One import of a line-up and its report.
    ImportId;
    /// An album, EP or single.
    ReleaseId;
    /// One performance fixed in sound.
    RecordingId;
    /// A right of entry that offers are made of.
    PassId;
    /// Something else handed over.
    AddOnId;
    /// What is on sale.
    OfferId;
    /// Something scarce and counted.
    StockId;
    /// A code that lowers a price.
    VoucherId;
    /// An invoice or a credit note.
    DocumentId;
    /// A batch of vouchers.
    VoucherBatchId;
    /// Somebody on a waiting list.
    WaitId;
    /// A ticket that its holder hands back.
    HandBackId;
    /// A promise: lines, total, state.
    OrderId;
    /// Our wish to be paid.
    PaymentId;
    /// The id of a refund.
    RefundId;
    /// One issued right of entry of one holder.
    TicketId;
    /// A fan's right to a release.
    EntitlementId;
    /// One presentation of a code at a gate; made by the device (UUIDv7 or v8).
    ScanId;
    /// One exchange of a ticket for a wristband; made by the device (UUIDv7 or v8).
    BandId;
    /// One upload of a file in parts.
    UploadId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_festival_and_its_moment() {
        let now = DateTime::from_timestamp_millis(1_780_000_000_123).unwrap();
        let id = OrderId::fresh(FestivalId(217), now);
        assert_eq!(id.festival(), FestivalId(217));
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(&id.0.as_bytes()[..6], &1_780_000_000_123_u64.to_be_bytes()[2..]);
    }

    #[test]
    fn ids_of_one_moment_differ() {
        let now = Utc::now();
        let many: std::collections::HashSet<_> = (0..1000).map(|_| OrderId::fresh(FestivalId(1), now)).collect();
        assert_eq!(many.len(), 1000);
    }
}
