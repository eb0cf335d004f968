//! Vouchers: a code that changes a price or opens an offer, as often as it may. A use is stock: held with its order, given back with it; so is what
//! it takes of a budget.

pub mod api;
mod batch;
mod commands;
mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use unicode_normalization::UnicodeNormalization;

use crate::{
    app::App,
    batcher::Trouble,
    id::{FestivalId, OfferId, VoucherBatchId, VoucherId},
    secrets::{Place, Purpose, Secrets},
};

/// A voucher.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Voucher {
    /// Its id.
    pub voucher_id: VoucherId,
    /// The batch that it was made with.
    pub batch_id: Option<VoucherBatchId>,
    /// A name for the promoter.
    pub label: String,
    /// What it takes off the price of a unit, in percent; rounded in favor of the promoter.
    pub percent_off: Option<i32>,
    /// What it takes off the price of a unit, in the smallest unit of the currency; never below zero.
    pub minor_off: Option<i64>,
    /// The price that a unit has with it, in the smallest unit of the currency; never more than without it.
    pub price_minor: Option<i64>,
    /// Whether it opens its offers: they can be had with it although they are hidden or their sale has not opened.
    pub opens: bool,
    /// The offers that it is for; empty for all.
    pub offer_ids: Vec<OfferId>,
    /// How many orders may use it; without one there is no bound.
    pub max_uses: Option<i32>,
    /// How many orders use it, held and paid.
    pub used: i32,
    /// How many orders of one address may use it.
    pub max_per_fan: Option<i32>,
    /// What it may take off in all, in the smallest unit of the currency.
    pub budget_minor: Option<i64>,
    /// What it takes off orders that are held and paid, in the smallest unit of the currency; counted where it has a budget.
    pub spent_minor: i64,
    /// How many addresses its list has; without a list it is for everybody.
    pub listed: Option<i32>,
    /// From when on it is good.
    pub opens_at: Option<DateTime<Utc>>,
    /// Until when it is good.
    pub closes_at: Option<DateTime<Utc>>,
    /// Its code.
    #[sqlx(skip)]
    pub code: String,
    #[oai(skip)]
    code_key: Vec<u8>,
    #[oai(skip)]
    sealed_code: Vec<u8>,
}

/// What a voucher does, for good: at most one of three to the price of a unit, and whether it opens offers.
#[derive(Clone, Copy, Debug)]
struct Effect {
    percent_off: Option<i32>,
    minor_off: Option<i64>,
    price_minor: Option<i64>,
    opens: bool,
}

/// A voucher to be made.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewVoucher {
    /// Its code: letters and digits, 4 to 40; case, blanks and hyphens do not count.
    #[oai(validator(max_length = 60))]
    pub code: String,
    /// How often, when and for what it is good.
    pub terms: VoucherTerms,
    /// Whether it opens its offers, which have to be named: they can be had with it although they are hidden or their sale has not opened.
    /// A waiting room that is on stands for whoever has a code, too.
    #[oai(default)]
    pub opens: bool,
    /// What it takes off the price of a unit, in percent. One of the three, or none where it only opens offers.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub percent_off: Option<i32>,
    /// What it takes off the price of a unit, in the smallest unit of the currency.
    #[oai(validator(minimum(value = "1")))]
    pub minor_off: Option<i64>,
    /// The price that a unit has with it, in the smallest unit of the currency; 0 is a gift.
    #[oai(validator(minimum(value = "0")))]
    pub price_minor: Option<i64>,
}

/// What may change about a voucher.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct VoucherTerms {
    /// A name for the promoter.
    #[oai(default, validator(max_length = 120))]
    pub label: String,
    /// The offers that it is for; empty for all.
    #[oai(default, validator(max_items = 100))]
    pub offer_ids: Vec<OfferId>,
    /// How many orders may use it; without one there is no bound.
    #[oai(validator(minimum(value = "1")))]
    pub max_uses: Option<i32>,
    /// How many orders of one address may use it. Money that comes late for an order that had ended may bring one more.
    #[oai(validator(minimum(value = "1")))]
    pub max_per_fan: Option<i32>,
    /// What it may take off in all, in the smallest unit of the currency: an order that would take more is refused. Made with the voucher; it
    /// changes later, but neither comes nor goes.
    #[oai(validator(minimum(value = "1")))]
    pub budget_minor: Option<i64>,
    /// From when on it is good.
    pub opens_at: Option<DateTime<Utc>>,
    /// Until when it is good.
    pub closes_at: Option<DateTime<Utc>>,
}

/// Why a voucher does not help a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum NoVoucher {
    /// There is no such code.
    Unknown,
    /// It was used as often as it may be, or its budget does not suffice for this basket.
    UsedUp,
    /// It is not good yet, or not any more.
    NotNow,
    /// It is for nothing of the basket.
    NotForThese,
    /// It has a list, and this address is not on it.
    NotListed,
    /// This address used it as often as one may.
    FanLimit,
}

impl NoVoucher {
    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::UsedUp => "used_up",
            Self::NotNow => "not_now",
            Self::NotForThese => "not_for_these",
            Self::NotListed => "not_listed",
            Self::FanLimit => "fan_limit",
        }
    }
}

/// The locked vouchers of a batch of orders, and what is known about those who ask for them.
#[derive(Debug, Default)]
pub struct Vouchers {
    by_key: HashMap<[u8; 16], Voucher>,
    /// Who of those who ask is on the list of a voucher that has one, by the keys of their addresses.
    listed: HashSet<(VoucherId, String)>,
    /// How many orders of an address use a voucher, where that is bounded.
    by_fan: HashMap<(VoucherId, String), i32>,
}

/// What orders use of a voucher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Orders.
    pub orders: i32,
    /// What it takes off them, in the smallest unit of the currency.
    pub minor: i64,
}

impl std::ops::AddAssign for Uses {
    fn add_assign(&mut self, more: Self) {
        self.orders += more.orders;
        self.minor += more.minor;
    }
}

/// The letters of a code that count: compatibility forms folded (NFKC), upper case, no blanks, no hyphens.
fn letters(code: &str) -> String {
    code.nfkc().flat_map(char::to_uppercase).filter(|c| c.is_alphanumeric()).collect()
}

/// The key by which a code of a festival is found: the first 16 bytes of an HMAC, so that nobody guesses codes from a copy of the database.
#[must_use]
pub fn voucher_key(secrets: &Secrets, festival: FestivalId, code: &str) -> [u8; 16] {
    let mac = secrets.mac(Purpose::VoucherCode, &[&festival.number().to_be_bytes(), letters(code).as_bytes()]);
    std::array::from_fn(|i| mac[i])
}

/// The key of an address on the lists of a festival.
fn address_key(secrets: &Secrets, festival: FestivalId, email_key: &str) -> [u8; 16] {
    let mac = secrets.mac(Purpose::VoucherAddress, &[&festival.number().to_be_bytes(), email_key.as_bytes()]);
    std::array::from_fn(|i| mac[i])
}

impl Vouchers {
    /// The voucher of a key, where it helps an order of an address that arrived at a moment.
    ///
    /// # Errors
    /// Why it does not.
    pub fn help(&self, key: &[u8; 16], at: DateTime<Utc>, email_key: &str, mut offers: impl Iterator<Item = OfferId>) -> Result<&Voucher, NoVoucher> {
        let voucher = self.by_key.get(key).ok_or(NoVoucher::Unknown)?;
        voucher.is_good(at)?;
        if !offers.any(|offer| voucher.is_for(offer)) {
            return Err(NoVoucher::NotForThese);
        }
        let fan = (voucher.voucher_id, email_key.to_owned());
        if voucher.listed.is_some() && !self.listed.contains(&fan) {
            return Err(NoVoucher::NotListed);
        }
        if voucher.max_per_fan.is_some_and(|most| self.by_fan.get(&fan).copied().unwrap_or(0) >= most) {
            return Err(NoVoucher::FanLimit);
        }
        Ok(voucher)
    }

    /// Counts an order that uses the voucher of a key.
    pub fn count(&mut self, key: &[u8; 16], email_key: &str, minor: i64) {
        if let Some(voucher) = self.by_key.get_mut(key) {
            voucher.used += 1;
            voucher.spent_minor += minor;
            *self.by_fan.entry((voucher.voucher_id, email_key.to_owned())).or_default() += 1;
        }
    }

    /// The vouchers that bound how many orders of one address use them.
    #[must_use]
    pub fn bounded(&self) -> Vec<VoucherId> {
        self.by_key.values().filter(|v| v.max_per_fan.is_some()).map(|v| v.voucher_id).collect()
    }

    /// Takes in how many orders of addresses use the bounded ones.
    pub fn know(&mut self, uses: Vec<(String, VoucherId, i32)>) {
        self.by_fan.extend(uses.into_iter().map(|(email_key, voucher, orders)| ((voucher, email_key), orders)));
    }
}

impl Voucher {
    /// Whether it is good at a moment and has a use left.
    ///
    /// # Errors
    /// Why it is not.
    fn is_good(&self, at: DateTime<Utc>) -> Result<(), NoVoucher> {
        if self.opens_at.is_some_and(|opens| at < opens) || self.closes_at.is_some_and(|closes| at > closes) {
            return Err(NoVoucher::NotNow);
        }
        if self.max_uses.is_some_and(|most| self.used >= most) || !self.affords(1) && self.lowers() {
            return Err(NoVoucher::UsedUp);
        }
        Ok(())
    }

    /// Whether its budget allows so much more.
    #[must_use]
    pub fn affords(&self, minor: i64) -> bool {
        self.budget_minor.is_none_or(|budget| self.spent_minor.checked_add(minor).is_some_and(|spent| spent <= budget))
    }

    fn lowers(&self) -> bool {
        self.percent_off.is_some() || self.minor_off.is_some() || self.price_minor.is_some()
    }

    /// Whether it is for an offer.
    #[must_use]
    pub fn is_for(&self, offer: OfferId) -> bool {
        self.offer_ids.is_empty() || self.offer_ids.contains(&offer)
    }

    /// Whether it opens an offer.
    #[must_use]
    pub fn does_open(&self, offer: OfferId) -> bool {
        self.opens && self.is_for(offer)
    }

    /// What it takes off the price of a unit of an offer.
    #[must_use]
    pub fn takes_off(&self, offer: OfferId, price_minor: i64) -> i64 {
        if !self.is_for(offer) {
            return 0;
        }
        let off = match (self.percent_off, self.minor_off, self.price_minor) {
            (Some(percent), ..) => i64::try_from(i128::from(price_minor) * i128::from(percent) / 100).unwrap_or(0),
            (_, Some(off), _) => off,
            (.., Some(price)) => price_minor.saturating_sub(price),
            _ => 0,
        };
        off.clamp(0, price_minor.max(0))
    }

    fn opened(mut self, secrets: &Secrets) -> Self {
        let key = self.voucher_id.to_string();
        let place = Place { table: "vouchers", column: "sealed_code", festival: self.voucher_id.festival(), key: &key };
        self.code = secrets.open(place, &self.sealed_code).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        self
    }
}

/// Locks the vouchers that orders ask for, in the order of their ids, and looks who of those who ask is on their lists.
///
/// # Errors
/// What the database said.
pub async fn lock_vouchers(conn: &mut PgConnection, secrets: &Secrets, festival: FestivalId, asked: &[([u8; 16], &str)]) -> Result<Vouchers, sqlx::Error> {
    if asked.is_empty() {
        return Ok(Vouchers::default());
    }
    let mut keys: Vec<&[u8]> = asked.iter().map(|(key, _)| key.as_slice()).collect();
    keys.sort_unstable();
    keys.dedup();
    let ids = store::lock(conn, festival, &keys).await?;
    // Read behind the lock: what a joined row said before the wait would be of yesterday.
    let found = if ids.is_empty() { Vec::new() } else { store::by_ids(conn, festival, &ids).await? };
    let by_key: HashMap<[u8; 16], Voucher> = found.into_iter().filter_map(|voucher| Some((voucher.code_key.clone().try_into().ok()?, voucher))).collect();
    let on_lists = asked.iter().filter_map(|(key, fan)| by_key.get(key).filter(|v| v.listed.is_some()).map(|v| (v.voucher_id, *fan)));
    let wanted: HashMap<(VoucherId, [u8; 16]), &str> = on_lists.map(|(id, fan)| ((id, address_key(secrets, festival, fan)), fan)).collect();
    let mut listed = HashSet::new();
    if !wanted.is_empty() {
        for (id, address) in store::listed(conn, festival, wanted.keys()).await? {
            let fan = <[u8; 16]>::try_from(address).ok().and_then(|address| wanted.get(&(id, address)));
            listed.extend(fan.map(|fan| (id, (*fan).to_owned())));
        }
    }
    Ok(Vouchers { by_key, listed, by_fan: HashMap::new() })
}

/// Counts uses of locked vouchers, up or down. The checks of the database are the floor.
///
/// # Errors
/// What the database said.
pub async fn use_vouchers(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, Uses>) -> Result<(), Trouble> {
    if uses.is_empty() {
        return Ok(());
    }
    if store::count_uses(conn, festival, uses).await? != uses.len() as u64 {
        return Err(Trouble::Again);
    }
    if uses.values().any(|uses| uses.minor != 0) {
        store::spend(conn, festival, uses).await?;
    }
    Ok(())
}

/// Gives uses back with the orders that end; locks the vouchers in the order of their ids, before stock.
///
/// # Errors
/// What the database said.
pub async fn return_uses(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, Uses>) -> Result<(), Trouble> {
    if uses.is_empty() {
        return Ok(());
    }
    store::lock_by_ids(conn, festival, &uses.keys().copied().collect::<Vec<_>>()).await?;
    use_vouchers(conn, festival, &uses.iter().map(|(id, n)| (*id, Uses { orders: -n.orders, minor: -n.minor })).collect()).await
}

/// Takes a use again where there is one and the budget suffices: for late money.
///
/// # Errors
/// What the database said.
pub async fn use_if_free(conn: &mut PgConnection, festival: FestivalId, id: VoucherId, uses: Uses) -> Result<bool, Trouble> {
    store::lock_by_ids(conn, festival, &[id]).await?;
    let found = store::by_ids(conn, festival, &[id]).await?;
    if !found.iter().any(|v| v.max_uses.is_none_or(|most| v.used + uses.orders <= most) && v.affords(uses.minor)) {
        return Ok(false);
    }
    use_vouchers(conn, festival, &BTreeMap::from([(id, uses)])).await?;
    Ok(true)
}

/// What a code does at a moment, for whoever looks before ordering. It never decides: placing does.
///
/// # Errors
/// Why it does not help; what the database said.
pub async fn opened_by(app: &App, festival: FestivalId, code: &str, now: DateTime<Utc>) -> Result<Result<Voucher, NoVoucher>, sqlx::Error> {
    let key = voucher_key(&app.secrets, festival, code);
    let found = store::by_key(&app.pools.web, festival, &key).await?;
    Ok(found.ok_or(NoVoucher::Unknown).and_then(|voucher| voucher.is_good(now).map(|()| voucher)))
}
