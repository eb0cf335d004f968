//! Orders: the promise. Lines, total, state; holds of ten minutes; expiry.
//!
//! ```text
//! held -> paid -> partly_refunded -> refunded
//! held -> expired | cancelled         late money: re-taken -> paid, else -> unfulfillable
//! ```
//!
//! **Invariant:** the status of an order is the state of its hold. Units come back by exactly two commands: cancel, expire.

mod again;
mod allot;
pub mod api;
mod box_office;
pub mod deadline;
mod doors;
mod end;
mod forget;
mod grief;
mod invite;
mod place;
mod read;
mod recent;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    batcher::Busy,
    id::{FestivalId, OfferId, OrderId},
    money::Money,
    offers::{Availability, NoVoucher, Share, Taken},
    waiting::Turn,
    words::{Language, Text},
};

pub use crate::secrets::short_hash;
pub use again::{send_again, send_lost};
pub use box_office::DoorSale;
pub use doors::{admit_waiting, order_of_place};
pub use end::{CancelError, Cancelling, LONGEST, Swept, cancel, expire_due, extend_holds, keep_holds};
pub use forget::{Walked, forget_carts};
pub use grief::{Holder, OpenHolds};
pub use invite::invite_due;
pub use place::{Asking, Placing, Request, Source, place};
pub use read::{order, orders_of, search, whole};
pub use recent::{Recent, what_they_take};
pub use store::{Held, allocations, count_payments, finish, held, lock, lower, mark_returned, raise, refunded, reopen, unfulfillable, voucher_uses};

/// How long stock is held for an order.
pub const HOLD: TimeDelta = TimeDelta::minutes(10);
/// The most lines of a basket.
pub const LINES: usize = 20;

/// The state of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum OrderStatus {
    /// Stock is held; nothing is paid.
    Held,
    /// A deposit is paid.
    PartPaid,
    /// Paid in full: tickets and albums are out.
    Paid,
    /// A part of the money went back.
    PartlyRefunded,
    /// All of the money went back.
    Refunded,
    /// Ten minutes were over.
    Expired,
    /// The buyer gave it up.
    Cancelled,
    /// Money came too late and nothing was left: it goes back.
    Unfulfillable,
}

impl OrderStatus {
    /// Whether its tickets and albums are out.
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::PartlyRefunded)
    }

    /// Its key in the catalog of words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "order-held",
            Self::PartPaid => "order-part_paid",
            Self::Paid => "order-paid-state",
            Self::PartlyRefunded => "order-partly_refunded",
            Self::Refunded => "order-refunded",
            Self::Expired => "order-expired",
            Self::Cancelled => "order-cancelled",
            Self::Unfulfillable => "order-unfulfillable",
        }
    }
}

/// An order.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Order {
    /// Its id.
    pub order_id: OrderId,
    /// Its state.
    pub status: OrderStatus,
    /// The address of the buyer.
    pub email: String,
    /// The name of the buyer, where they gave one.
    pub buyer_name: String,
    /// The language of the buyer.
    pub language: Language,
    /// The price to pay.
    pub total: Money,
    /// When it was placed.
    pub placed_at: DateTime<Utc>,
    /// Until when stock is held.
    pub held_until: DateTime<Utc>,
    /// When it was paid in full.
    pub paid_at: Option<DateTime<Utc>>,
    /// When it ended without tickets, or all money went back.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its lines.
    #[sqlx(skip)]
    pub lines: Vec<Line>,
    /// How often its link was revoked.
    #[oai(skip)]
    pub link_generation: i16,
}

impl Order {
    /// The number that pages and emails print: short, readable on a phone.
    #[must_use]
    pub fn number(&self) -> String {
        number(self.order_id)
    }
}

/// The number of an order as people read it out: the random bits of its id in Crockford's base32.
#[must_use]
pub fn number(order: OrderId) -> String {
    let b = order.0.as_bytes();
    let bits = u64::from_be_bytes([0, 0, 0, b[7], b[8] & 0x3f, b[9], b[10], b[11]]);
    let letters: String = (0..8).rev().map(|i| char::from(crate::secrets::LETTERS[usize::try_from((bits >> (i * 5)) & 31).unwrap_or(0)])).collect();
    format!("{}-{}", &letters[..4], &letters[4..])
}

/// One offer at one tier x quantity; price, shares and tax are frozen when it is placed.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Line {
    /// Its number in the order.
    pub line_no: i16,
    /// The offer.
    pub offer_id: OfferId,
    /// The tier.
    pub tier_no: i16,
    /// How many.
    pub quantity: i32,
    /// The price of one: what is paid.
    pub unit: Money,
    /// What a voucher took off the price of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Money>,
    /// The price of all.
    pub total: Money,
    /// What the price of one is made of.
    pub shares: Vec<Share>,
}

/// One wish of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
pub struct Wish {
    /// The offer.
    pub offer_id: OfferId,
    /// How many.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub quantity: i32,
}

/// Who orders, with an address typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buyer {
    /// The address as typed.
    pub email: String,
    /// The name, where they gave one.
    pub name: String,
    /// The language of emails and pages.
    pub language: Language,
}

/// What placing answers: only what is frozen then, so that a repeated request gets the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The order.
    pub order_id: OrderId,
    /// Its lines.
    pub lines: Vec<Line>,
    /// The price to pay.
    pub total: Money,
    /// Until when stock is held.
    pub held_until: DateTime<Utc>,
    /// How often its link was revoked.
    pub link_generation: i16,
    /// The units that it took; empty in a repeated answer.
    pub units: Vec<Taken>,
}

/// Why nothing was placed. Nothing is held then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// A place of the request and what is wrong with it.
    #[error("{1} ({0})")]
    Invalid(String, String),
    /// The key was used for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// The offer has a waiting room and it is not the turn of this fan.
    #[error("this offer has a waiting room")]
    WaitingRoom(OfferId, Box<Turn>),
    /// The place in the waiting room brought an order already.
    #[error("this place brought an order already")]
    PlaceUsed,
    /// Whoever waited gave their place up, or was invited.
    #[error("the place on the waiting list was given up, or its invitation is there")]
    NotWaiting,
    /// Too many open holds, or too many that ran out: the seconds to wait.
    #[error("too many open holds, or too many that ran out; wait {0} seconds")]
    Slower(u32),
    /// Payment providers do not answer: nobody could pay it.
    #[error("payments do not work just now")]
    PaymentsDown,
    /// The voucher does not help this basket.
    #[error("the voucher is {}", .0.name())]
    Voucher(NoVoucher),
    /// Not enough left; whether some may come back.
    #[error("not enough left")]
    SoldOut(OfferId, Availability),
    /// The sale opens later.
    #[error("not on sale before {1}")]
    NotYet(OfferId, DateTime<Utc>),
    /// The sale is over.
    #[error("the sale is over")]
    Over(OfferId),
    /// The sale is paused, with the promoter's sentence.
    #[error("the sale is paused")]
    Paused(OfferId, Text),
    /// More than one order may hold.
    #[error("at most {1} in one order")]
    OrderLimit(OfferId, i32),
    /// More than one fan may hold, with what they hold already.
    #[error("at most {max} a fan; this address holds {have}")]
    FanLimit {
        /// The offer.
        offer: OfferId,
        /// The limit.
        max: i32,
        /// What this address holds already.
        have: i32,
    },
    /// The offer needs one of others beside it.
    #[error("needs another offer beside it")]
    Requirement(OfferId, Vec<OfferId>),
    /// The total would be higher than expected.
    #[error("the price went up")]
    PriceChanged(Vec<Line>, Money),
    /// The lane cannot take it now.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// The festival of a basket: all of its offers name the same one.
fn festival_of(basket: &[Wish]) -> Result<FestivalId, PlaceError> {
    let first = basket.first().ok_or_else(|| PlaceError::Invalid("/lines".to_owned(), "the basket is empty".to_owned()))?;
    let festival = first.offer_id.festival();
    match basket.iter().position(|w| w.offer_id.festival() != festival) {
        None => Ok(festival),
        Some(i) => Err(PlaceError::Invalid(format!("/lines/{i}/offer_id"), "offers of two festivals are two orders".to_owned())),
    }
}
