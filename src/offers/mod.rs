//! What is on sale: passes, add-ons, offers with tiers, components and requirements, and the stock under them.
//!
//! Stock moves `free -> held -> sold` and back. **Invariant:** `held + sold <= capacity`, by a check of the database; the
//! allocations of orders are the truth and the counters equal them.

pub mod api;
mod catalog;
pub mod demand;
pub mod fees;
mod on_sale;
mod shelf;
mod store;
pub mod vouchers;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    id::{AddOnId, FestivalId, GateId, OfferId, PassId, ReleaseId, StockId, ZoneId},
    money::Currency,
    words::Text,
};

pub use catalog::{
    NewComponent, NewOffer, NewTier, OfferTerms, TierTerms, add_add_on, add_offer, add_pass, add_stock, change_offer, change_pass, change_tier, delay, resize,
};
pub use fees::{Bearer, BookingFee, FEE, FeeShare};
pub use on_sale::{Availability, OnSale, on_sale};
pub use shelf::{Shelf, Taken, move_to_sold, release_held, release_sold, shelf, take, take_if_free, units_of};
pub use store::{add_ons, fee, offers, offers_in, passes, stocks, stocks_of};
pub use vouchers::{NoVoucher, Uses, Voucher, Vouchers, lock_vouchers, opened_by, return_uses, use_if_free, use_vouchers, voucher_key};

/// A right of entry: days x zones x re-entry rule.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Pass {
    /// Its id.
    pub pass_id: PassId,
    /// Its number in ticket codes.
    pub pass_number: i32,
    /// What it says.
    #[oai(flatten)]
    #[sqlx(flatten)]
    pub terms: PassTerms,
}

/// What a pass says.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(rename = "NewPass", deny_unknown_fields)]
pub struct PassTerms {
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
    /// Its color at the gate, `#ffd21f`.
    #[oai(validator(pattern = "^#[0-9a-f]{6}$"))]
    pub color: String,
    /// That color in words: `yellow band`.
    #[sqlx(json)]
    pub color_name: Text,
    /// The festival days it opens, bit i for day i. They stand in ticket codes, so they stay.
    #[oai(validator(minimum(value = "0"), maximum(value = "65535")))]
    pub day_mask: i32,
    /// The zones it opens; empty for all.
    #[oai(default, validator(max_items = 100))]
    pub zone_ids: Vec<ZoneId>,
    /// Whether its holder may come back.
    pub reentry: Reentry,
    /// How often its holder comes in on a day: with `times_a_day` and only then.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "2"), maximum(value = "50")))]
    pub entries_a_day: Option<i16>,
    /// When its holder may come in. On a day without a window of its own: from its opening to its end, at every gate.
    #[oai(default, validator(max_items = 100))]
    #[sqlx(json)]
    pub windows: Vec<EntryWindow>,
    /// Passes of which one of the same order is in before its holder comes in: a child needs its adult. Empty for none.
    #[oai(default, validator(max_items = 20))]
    pub companion_pass_ids: Vec<PassId>,
    /// What the staff look at before they let its holder in.
    #[oai(skip_serializing_if_is_none)]
    pub check_instruction: Option<Instruction>,
    /// Whether its holder shows a live code: the phone that the ticket is bound to makes it anew every fifteen seconds, so a picture of it opens nothing.
    #[oai(default)]
    pub needs_live_code: bool,
}

/// When the holders of a pass may come in on a festival day. It may begin before the day opens: an early lane.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
pub struct EntryWindow {
    /// The festival day.
    #[oai(validator(minimum(value = "0"), maximum(value = "15")))]
    pub day_index: i16,
    /// From when.
    pub from_at: DateTime<Utc>,
    /// Until when: the first moment that is too late.
    pub until_at: DateTime<Utc>,
    /// At which gates; empty for all.
    #[oai(default, validator(max_items = 100))]
    #[serde(default)]
    pub gate_ids: Vec<GateId>,
}

/// Whether the holder of a pass may come back on the same day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Reentry {
    /// One entry a festival day.
    Never,
    /// After an exit that was scanned.
    AfterExit,
    /// So many entries a day; exits need not be scanned.
    TimesADay,
}

/// One instruction for the staff, from a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Instruction {
    /// Look at the age.
    Age,
    /// Look at the student card.
    StudentCard,
    /// Compare the name with a document.
    Identity,
    /// Is the companion there.
    Companion,
    /// Read the note of the ticket; no pass asks for it.
    Note,
}

impl Instruction {
    /// Every instruction.
    pub const ALL: [Self; 5] = [Self::Age, Self::StudentCard, Self::Identity, Self::Companion, Self::Note];

    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::StudentCard => "student_card",
            Self::Identity => "identity",
            Self::Companion => "companion",
            Self::Note => "note",
        }
    }
}

/// The numbers of the passes whose holders are compared with a document.
#[must_use]
pub fn identified(passes: &[Pass]) -> Vec<i32> {
    passes.iter().filter(|pass| pass.terms.check_instruction == Some(Instruction::Identity)).map(|pass| pass.pass_number).collect()
}

/// Anything else handed over: camping, parking, a shirt.
#[derive(Clone, Debug, Object, FromRow)]
pub struct AddOn {
    /// Its id.
    pub add_on_id: AddOnId,
    /// Its number in ticket codes, from the same space as passes.
    pub add_on_number: i32,
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
}

/// Something scarce and counted.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Stock {
    /// Its id.
    pub stock_id: StockId,
    /// A name for the promoter.
    pub name: String,
    /// How many there are; without one it only counts.
    pub capacity: Option<i32>,
    /// Set aside for orders that are not paid yet.
    pub held: i32,
    /// Paid.
    pub sold: i32,
    /// Free, and promised to waiting lists.
    #[oai(skip)]
    #[sqlx(default)]
    pub promised: i32,
}

impl Stock {
    /// How many are free for everybody; everything when there is no capacity.
    #[must_use]
    pub fn left(&self) -> i32 {
        self.capacity.map_or(i32::MAX, |capacity| capacity - self.held - self.sold - self.promised)
    }

    /// How many are free for whoever is invited from a waiting list.
    #[must_use]
    pub fn free(&self) -> i32 {
        self.capacity.map_or(i32::MAX, |capacity| capacity - self.held - self.sold)
    }
}

/// What is on sale.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Offer {
    /// Its id.
    pub offer_id: OfferId,
    /// Its own stock.
    pub stock_id: StockId,
    /// Its place in lists; pages print it as 01, 02.
    pub sort: i16,
    /// Its name.
    pub name: Text,
    /// A sentence about it.
    pub about: Text,
    /// When its sale opens; without one it is open.
    pub opens_at: Option<DateTime<Utc>>,
    /// When its sale closes; without one it stays open.
    pub closes_at: Option<DateTime<Utc>>,
    /// While it is paused: the sentence that fans read.
    pub paused: Option<Text>,
    /// The most of one order.
    pub max_per_order: i32,
    /// The most of one fan, over all orders.
    pub max_per_fan: Option<i32>,
    /// Whether pages and lists leave it out: only a voucher opens it.
    #[serde(default)]
    pub hidden: bool,
    /// Its price steps.
    pub tiers: Vec<Tier>,
    /// What it is made of.
    pub components: Vec<Component>,
    /// What it needs beside it.
    pub requirements: Vec<Requirement>,
    /// Other stocks that a unit of it takes.
    pub stocks: Vec<OfferStock>,
    /// Rises with every change.
    pub version: i32,
    /// The currency of its prices.
    pub currency: Currency,
    /// While its festival is paused as a whole: the sentence that fans read.
    #[oai(skip)]
    #[serde(default)]
    pub festival_paused: Option<Text>,
    /// What the house takes of a unit.
    #[oai(skip)]
    #[serde(default)]
    pub fee: Option<BookingFee>,
    /// Whether a waiting list of its festival asks for anything: then what is promised is read, too.
    #[oai(skip)]
    #[serde(default)]
    pub somebody_waits: bool,
    /// Whether fans see its festival: a draft sells nothing.
    #[oai(skip)]
    #[serde(default)]
    pub published: bool,
}

/// A price step of an offer, by time or by count.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Tier {
    /// Its number.
    pub tier_no: i16,
    /// Its name: `Early`.
    pub name: Text,
    /// The price to pay, in the smallest unit of the currency.
    pub price_minor: i64,
    /// Until when it is open.
    pub until_at: Option<DateTime<Utc>>,
    /// The stock that counts it.
    pub stock_id: Option<StockId>,
}

/// How tax is taken out of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum TaxKind {
    /// A fixed rate: admission, where the festival is.
    Fixed,
    /// A download: taken out of the same gross by the buyer's country at capture; the rate here is the festival's own.
    ElectronicService,
}

/// One pass, release or add-on inside an offer.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Component {
    /// Its number.
    pub component_no: i16,
    /// The pass, if it is one.
    pub pass_id: Option<PassId>,
    /// The release, if it is one.
    pub release_id: Option<ReleaseId>,
    /// The add-on, if it is one.
    pub add_on_id: Option<AddOnId>,
    /// Its share of the price, as an integer weight.
    pub weight: u32,
    /// How its tax is taken out.
    pub tax_kind: TaxKind,
    /// The tax rate in parts per million: 9 % is 90000.
    pub tax_ppm: u32,
}

/// What an offer needs beside it: any of a list, at most `per_one` for each of them.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
pub struct Requirement {
    /// The offers, any of which will do.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub any_of: Vec<OfferId>,
    /// How many of this offer one of them allows.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub per_one: i32,
}

/// Another stock that a unit of an offer takes.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
pub struct OfferStock {
    /// The stock.
    pub stock_id: StockId,
    /// Units of it that one unit of the offer takes.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub units: i32,
}

/// A share of a unit of an offer, frozen in the line: what it costs and the tax inside it.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Share {
    /// The component.
    pub component_no: i16,
    /// The pass, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pass_id: Option<PassId>,
    /// The release, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release_id: Option<ReleaseId>,
    /// The add-on, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub add_on_id: Option<AddOnId>,
    /// What it is where it is the booking fee.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fee: Option<FeeShare>,
    /// The share of one unit, in the smallest unit of the currency.
    pub minor: i64,
    /// The tax inside it.
    pub tax_minor: i64,
    /// How the tax is taken out.
    pub tax_kind: TaxKind,
    /// The tax rate in parts per million.
    pub tax_ppm: u32,
}

impl Offer {
    /// The moment's state of the sale, before stock is looked at.
    #[must_use]
    pub fn window(&self, at: DateTime<Utc>) -> Option<Availability> {
        if self.closes_at.is_some_and(|closes| at > closes) {
            Some(Availability::Over)
        } else if self.pause().is_some() {
            Some(Availability::Paused)
        } else if self.opens_at.is_some_and(|opens| at < opens) {
            Some(Availability::NotYet)
        } else {
            None
        }
    }

    /// The sentence of a pause: of its festival, or its own.
    #[must_use]
    pub fn pause(&self) -> Option<&Text> {
        self.festival_paused.as_ref().or(self.paused.as_ref())
    }

    /// The stocks that a unit takes beside that of its tier: its own and the shared ones.
    pub fn takes(&self) -> impl Iterator<Item = (StockId, i32)> + '_ {
        std::iter::once((self.stock_id, 1)).chain(self.stocks.iter().map(|s| (s.stock_id, s.units)))
    }

    /// The tiers that are open at a moment, cheapest first.
    #[must_use]
    pub fn open_tiers(&self, at: DateTime<Utc>) -> Vec<&Tier> {
        let mut open: Vec<&Tier> = self.tiers.iter().filter(|t| t.until_at.is_none_or(|until| at < until)).collect();
        open.sort_by_key(|t| (t.price_minor, t.tier_no));
        open
    }

    /// How a price splits over the components and the booking fee, exact to the smallest unit, with the tax inside each share.
    #[must_use]
    pub fn shares(&self, unit_minor: i64) -> Vec<Share> {
        fees::shares(self, unit_minor)
    }
}

/// The day mask and numbers of what an order brings tickets for, read when tickets are issued.
#[derive(Clone, Debug)]
pub struct Issuable {
    /// Passes by id: number and day mask.
    pub passes: Vec<(PassId, i32, i32)>,
    /// Add-ons by id: number.
    pub add_ons: Vec<(AddOnId, i32)>,
}

/// Reads the numbers of passes and add-ons; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn issuable(conn: &mut sqlx::PgConnection, festival: FestivalId, passes: &[PassId], add_ons: &[AddOnId]) -> Result<Issuable, sqlx::Error> {
    store::issuable(conn, festival, passes, add_ons).await
}
