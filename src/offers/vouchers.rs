//! Vouchers: a code with a number of uses and a fixed effect on the price. A use is stock: held with its order, given back with it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use unicode_normalization::UnicodeNormalization;

use super::store;
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    batcher::Trouble,
    fault::{Checks, Fault},
    festivals,
    id::{FestivalId, OfferId, VoucherId},
    secrets::{Place, Purpose, Secrets},
};

/// A voucher.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Voucher {
    /// Its id.
    pub voucher_id: VoucherId,
    /// A name for the promoter.
    pub label: String,
    /// What it takes off the price of a unit, in percent; rounded in favor of the promoter.
    pub percent_off: Option<i32>,
    /// What it takes off the price of a unit, in the smallest unit of the currency; never below zero.
    pub minor_off: Option<i64>,
    /// The offers that it lowers; empty for all.
    pub offer_ids: Vec<OfferId>,
    /// How many orders it may lower; without one there is no bound.
    pub max_uses: Option<i32>,
    /// How many orders it lowers, held and paid.
    pub used: i32,
    /// From when on it is good.
    pub opens_at: Option<DateTime<Utc>>,
    /// Until when it is good.
    pub closes_at: Option<DateTime<Utc>>,
    /// Its code.
    #[sqlx(skip)]
    pub code: String,
    #[oai(skip)]
    pub(super) code_key: Vec<u8>,
    #[oai(skip)]
    pub(super) sealed_code: Vec<u8>,
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
    /// What it takes off the price of a unit, in percent.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub percent_off: Option<i32>,
    /// What it takes off the price of a unit, in the smallest unit of the currency.
    #[oai(validator(minimum(value = "1")))]
    pub minor_off: Option<i64>,
}

/// What may change about a voucher.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct VoucherTerms {
    /// A name for the promoter.
    #[oai(default, validator(max_length = 120))]
    pub label: String,
    /// The offers that it lowers; empty for all.
    #[oai(default, validator(max_items = 100))]
    pub offer_ids: Vec<OfferId>,
    /// How many orders it may lower; without one there is no bound.
    #[oai(validator(minimum(value = "1")))]
    pub max_uses: Option<i32>,
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
    /// It was used as often as it may be.
    UsedUp,
    /// It is not good yet, or not any more.
    NotNow,
    /// It lowers nothing of the basket.
    NotForThese,
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
        }
    }
}

/// The locked vouchers of a batch, by the key of their code.
pub type Vouchers = HashMap<[u8; 16], Voucher>;

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

impl Voucher {
    /// Whether it helps an order that arrived at a moment.
    ///
    /// # Errors
    /// Why it does not.
    pub fn helps(&self, at: DateTime<Utc>, offers: impl Iterator<Item = OfferId>) -> Result<(), NoVoucher> {
        if self.opens_at.is_some_and(|opens| at < opens) || self.closes_at.is_some_and(|closes| at > closes) {
            return Err(NoVoucher::NotNow);
        }
        if self.max_uses.is_some_and(|most| self.used >= most) {
            return Err(NoVoucher::UsedUp);
        }
        let mut offers = offers;
        if offers.any(|offer| self.is_for(offer)) { Ok(()) } else { Err(NoVoucher::NotForThese) }
    }

    /// Whether it lowers an offer.
    #[must_use]
    pub fn is_for(&self, offer: OfferId) -> bool {
        self.offer_ids.is_empty() || self.offer_ids.contains(&offer)
    }

    /// What it takes off the price of a unit of an offer.
    #[must_use]
    pub fn takes_off(&self, offer: OfferId, price_minor: i64) -> i64 {
        if !self.is_for(offer) {
            return 0;
        }
        let percent = self.percent_off.map(|percent| i128::from(price_minor) * i128::from(percent) / 100);
        percent.map_or(self.minor_off.unwrap_or(0), |off| i64::try_from(off).unwrap_or(0)).clamp(0, price_minor.max(0))
    }

    fn opened(mut self, secrets: &Secrets) -> Self {
        let key = self.voucher_id.to_string();
        let place = Place { table: "vouchers", column: "sealed_code", festival: self.voucher_id.festival(), key: &key };
        self.code = secrets.open(place, &self.sealed_code).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        self
    }
}

/// Locks the vouchers of some keys in the order of their ids.
///
/// # Errors
/// What the database said.
pub async fn lock_vouchers(conn: &mut PgConnection, festival: FestivalId, keys: &[[u8; 16]]) -> Result<Vouchers, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vouchers::new());
    }
    let found = store::lock_vouchers(conn, festival, keys).await?;
    Ok(found.into_iter().filter_map(|voucher| Some((voucher.code_key.clone().try_into().ok()?, voucher))).collect())
}

/// Counts uses of locked vouchers, up or down. The check of the database is the floor.
///
/// # Errors
/// What the database said.
pub async fn use_vouchers(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, i32>) -> Result<(), Trouble> {
    if uses.is_empty() {
        return Ok(());
    }
    let changed = store::use_vouchers(conn, festival, uses).await?;
    if changed == uses.len() as u64 { Ok(()) } else { Err(Trouble::Again) }
}

/// Gives uses back with the orders that end; locks the vouchers in the order of their ids, before stock.
///
/// # Errors
/// What the database said.
pub async fn return_uses(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, i32>) -> Result<(), Trouble> {
    if uses.is_empty() {
        return Ok(());
    }
    store::lock_vouchers_by_id(conn, festival, uses.keys().copied().collect()).await?;
    use_vouchers(conn, festival, &uses.iter().map(|(id, n)| (*id, -n)).collect()).await
}

/// Takes a use again where there is one: for late money.
///
/// # Errors
/// What the database said.
pub async fn use_if_free(conn: &mut PgConnection, festival: FestivalId, voucher: VoucherId) -> Result<bool, Trouble> {
    let locked = store::lock_vouchers_by_id(conn, festival, vec![voucher]).await?;
    if !locked.iter().any(|v| v.max_uses.is_none_or(|most| v.used < most)) {
        return Ok(false);
    }
    use_vouchers(conn, festival, &BTreeMap::from([(voucher, 1)])).await?;
    Ok(true)
}

/// Makes a voucher.
///
/// # Errors
/// [`Fault`].
pub async fn add_voucher(app: &App, staff: &Staff, festival: FestivalId, new: &NewVoucher) -> Result<Voucher, Fault> {
    let length = letters(&new.code).chars().count();
    let mut checks = Checks::default();
    checks.claim((4..=40).contains(&length), "/code", "4 to 40 letters and digits").claim(
        new.percent_off.is_some() != new.minor_off.is_some(),
        "/percent_off",
        "either percent_off or minor_off",
    );
    check(&mut checks, festival, &new.terms);
    checks.done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let id = VoucherId::fresh(festival, now);
    let sealed = app.secrets.seal(Place { table: "vouchers", column: "sealed_code", festival, key: &id.to_string() }, new.code.trim().as_bytes());
    let key = voucher_key(&app.secrets, festival, &new.code);
    let made = store::insert_voucher(&mut tx, id, &key, &sealed, new, now).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(why) if why.contains("vouchers_code") => Fault::Conflict("there is a voucher with this code".to_owned()),
        other => other,
    })?;
    note(&mut tx, staff, id, "voucher.added", now).await?;
    tx.commit().await?;
    Ok(made.opened(&app.secrets))
}

/// Changes a voucher: its effect and code stay, because orders were placed with them.
///
/// # Errors
/// [`Fault`]: also when it was used more often than it may be.
pub async fn change_voucher(app: &App, staff: &Staff, id: VoucherId, terms: &VoucherTerms) -> Result<Voucher, Fault> {
    let mut checks = Checks::default();
    check(&mut checks, id.festival(), terms);
    checks.done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, id.festival()).await?.ok_or(Fault::NotFound)?;
    let changed = store::update_voucher(&mut tx, id, terms).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(why) if why.contains("vouchers_never_overused") => Fault::Conflict("it was used more often than that".to_owned()),
        other => other,
    })?;
    let changed = changed.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, id, "voucher.changed", now).await?;
    tx.commit().await?;
    Ok(changed.opened(&app.secrets))
}

/// The vouchers of a festival, for its promoter, newest first, at most 500.
///
/// # Errors
/// [`Fault`].
pub async fn vouchers(app: &App, staff: &Staff, festival: FestivalId) -> Result<Vec<Voucher>, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    Ok(store::vouchers(&mut tx, festival).await?.into_iter().map(|voucher| voucher.opened(&app.secrets)).collect())
}

fn check(checks: &mut Checks, festival: FestivalId, terms: &VoucherTerms) {
    let window = terms.opens_at.is_none() || terms.closes_at.is_none() || terms.opens_at < terms.closes_at;
    checks.claim(terms.offer_ids.iter().all(|offer| offer.festival() == festival), "/offer_ids", "not offers of this festival").claim(
        window,
        "/closes_at",
        "it ends after it begins",
    );
}

async fn note(conn: &mut PgConnection, staff: &Staff, id: VoucherId, action: &'static str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let act = Act { festival: id.festival(), actor: staff.actor, action, object_kind: "voucher", object_id: id.to_string(), before: None, after: None };
    audit::record(conn, act, now).await
}
