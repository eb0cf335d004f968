//! What fans see of an offer: whether it can be had, in coarse words, and what it costs now. It never decides: placing does.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use super::{Offer, Stock, Tier, Voucher};
use crate::{id::StockId, money::Money};

/// Whether an offer can be had, in coarse words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Availability {
    /// It can be had.
    OnSale,
    /// It can be had, not for long.
    FewLeft,
    /// All are held; some may come back.
    HeldOut,
    /// All are sold.
    SoldOut,
    /// Its sale has not opened.
    NotYet,
    /// Its sale is paused.
    Paused,
    /// Its sale is over.
    Over,
}

impl Availability {
    /// Its name in JSON, CSS and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnSale => "on_sale",
            Self::FewLeft => "few_left",
            Self::HeldOut => "held_out",
            Self::SoldOut => "sold_out",
            Self::NotYet => "not_yet",
            Self::Paused => "paused",
            Self::Over => "over",
        }
    }
}

/// An offer as fans see it: with its price of the moment and whether it can be had.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct OnSale {
    /// The offer.
    #[oai(flatten)]
    pub offer: Offer,
    /// Whether it can be had, in coarse words. It never decides: placing does.
    pub availability: Availability,
    /// The tier of the moment.
    pub tier_no: Option<i16>,
    /// The price of the moment: what the buyer pays.
    pub price: Option<Money>,
}

/// What fans see of an offer, by the counters of its stocks; with a voucher, what that makes of it.
#[must_use]
pub fn on_sale(offer: Offer, stocks: &[Stock], at: DateTime<Utc>, voucher: Option<&Voucher>) -> OnSale {
    let find = |id: StockId| stocks.iter().find(|s| s.stock_id == id);
    let tiers = offer.open_tiers(at);
    let of_tier = |tier: &Tier, count: fn(&Stock) -> i32| tier.stock_id.and_then(find).map_or(i32::MAX, count);
    let tier = tiers.iter().find(|t| of_tier(t, Stock::left) > 0).or(tiers.last()).copied();
    // What may come back: what is free and what is held.
    let in_tiers = |count: fn(&Stock) -> i32| tiers.iter().map(|t| of_tier(t, count)).fold(0_i32, i32::saturating_add);
    let in_stocks = |count: fn(&Stock) -> i32| {
        offer.takes().filter_map(|(id, units)| find(id).map(|s| if count(s) == i32::MAX { i32::MAX } else { count(s) / units })).min().unwrap_or(i32::MAX)
    };
    let unsold: fn(&Stock) -> i32 = |s| s.capacity.map_or(i32::MAX, |c| c - s.sold);
    let left = in_tiers(Stock::left).min(in_stocks(Stock::left));
    let capacity: fn(&Stock) -> i32 = |s| s.capacity.unwrap_or(i32::MAX);
    let whole = in_stocks(capacity).min(in_tiers(capacity));
    let opened = voucher.is_some_and(|v| v.does_open(offer.offer_id));
    let availability = match offer.window(at).filter(|state| !(opened && *state == Availability::NotYet)) {
        Some(state) => state,
        None if tiers.is_empty() => Availability::Over,
        None if left > (whole / 20).clamp(3, 50) => Availability::OnSale,
        None if left > 0 => Availability::FewLeft,
        None if in_tiers(unsold).min(in_stocks(unsold)) > 0 => Availability::HeldOut,
        None => Availability::SoldOut,
    };
    let (tier_no, price) = match tier {
        Some(tier) => {
            let off = voucher.map_or(0, |v| v.takes_off(offer.offer_id, tier.price_minor));
            (Some(tier.tier_no), Some(Money::new(tier.price_minor - off, offer.currency)))
        }
        None => (None, None),
    };
    OnSale { tier_no, price, availability, offer }
}
