//! The shelf: the offers and locked stocks that a batch decides on. The only code that moves stock.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Offer, Stock, demand, store};
use crate::{
    batcher::Trouble,
    id::{FestivalId, OfferId, StockId},
    sabotage,
};

/// Offers and their locked stocks, read in one batch.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// The offers.
    pub offers: HashMap<OfferId, Offer>,
    /// The stocks, locked in the order of their ids.
    pub stocks: BTreeMap<StockId, Stock>,
}

/// What a batch takes from a stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The stock.
    pub stock_id: StockId,
    /// Units.
    pub quantity: i32,
}

impl Shelf {
    /// Takes units of several stocks, all or nothing. Whoever is invited from a waiting list takes what is promised.
    pub fn take(&mut self, wanted: &BTreeMap<StockId, i32>, is_invited: bool) -> bool {
        let free = if is_invited { Stock::free } else { Stock::left };
        let fits = wanted.iter().all(|(id, units)| self.stocks.get(id).is_some_and(|stock| free(stock) >= *units));
        if fits {
            for (id, units) in wanted {
                if let Some(stock) = self.stocks.get_mut(id) {
                    stock.held += units;
                    if is_invited {
                        stock.promised = (stock.promised - units).max(0);
                    }
                }
            }
        }
        fits
    }
}

/// Locks the stocks of offers in the order of their ids and reads the offers: prices, windows and pauses of a batch come
/// from the database, never from a cache. What waiting lists are promised is set aside.
///
/// # Errors
/// What the database said.
pub async fn shelf(conn: &mut PgConnection, festival: FestivalId, offers: &[OfferId], now: DateTime<Utc>) -> Result<Shelf, Trouble> {
    let stocks =
        if sabotage::no_lock() { store::stocks_of_offers(conn, festival, offers).await? } else { store::lock_stocks_of(conn, festival, offers).await? };
    let offers = store::offers_of(conn, festival, offers).await?;
    let mut shelf = Shelf { offers: offers.into_iter().map(|o| (o.offer_id, o)).collect(), stocks: stocks.into_iter().map(|s| (s.stock_id, s)).collect() };
    demand::set_aside(conn, festival, &mut shelf, now).await?;
    Ok(shelf)
}

/// Sums units per stock: a key that is repeated in an `unnest` counts once, silently.
fn summed(units: &[Taken]) -> (Vec<StockId>, Vec<i32>) {
    let mut sums: BTreeMap<StockId, i32> = BTreeMap::new();
    for taken in units {
        *sums.entry(taken.stock_id).or_default() += taken.quantity;
    }
    sums.into_iter().unzip()
}

/// Holds what a batch took. The check of the database is the floor.
///
/// # Errors
/// What the database said.
pub async fn take(conn: &mut PgConnection, festival: FestivalId, units: &[Taken]) -> Result<(), Trouble> {
    let (ids, sums) = summed(units);
    same_count(store::add(conn, festival, &ids, &sums, 1, 0).await?, ids.len())
}

/// Sells what was held: locks the stocks in the order of their ids, last of all rows but the feed.
///
/// # Errors
/// What the database said.
pub async fn move_to_sold(conn: &mut PgConnection, festival: FestivalId, units: &[Taken]) -> Result<(), Trouble> {
    let (ids, sums) = summed(units);
    store::lock_stocks(conn, festival, &ids).await?;
    same_count(store::add(conn, festival, &ids, &sums, -1, 1).await?, ids.len())
}

/// Frees what was held: called by cancel and expire alone.
///
/// # Errors
/// What the database said.
pub async fn release_held(conn: &mut PgConnection, festival: FestivalId, units: &[Taken]) -> Result<(), Trouble> {
    let (ids, sums) = summed(units);
    store::lock_stocks(conn, festival, &ids).await?;
    same_count(store::add(conn, festival, &ids, &sums, -1, 0).await?, ids.len())
}

/// Frees what was sold: called by refunds alone.
///
/// # Errors
/// What the database said.
pub async fn release_sold(conn: &mut PgConnection, festival: FestivalId, units: &[Taken]) -> Result<(), Trouble> {
    let (ids, sums) = summed(units);
    if ids.is_empty() {
        return Ok(());
    }
    store::lock_stocks(conn, festival, &ids).await?;
    same_count(store::add(conn, festival, &ids, &sums, 0, -1).await?, ids.len())
}

/// What units of offers at their tiers take of stocks.
///
/// # Errors
/// What the database said.
pub async fn units_of(conn: &mut PgConnection, festival: FestivalId, units: &[(OfferId, i16, i32)]) -> Result<Vec<Taken>, sqlx::Error> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<OfferId> = units.iter().map(|(offer, ..)| *offer).collect();
    let offers = store::offers_of(conn, festival, &ids).await?;
    let mut taken = Vec::new();
    for (offer_id, tier_no, quantity) in units {
        let Some(offer) = offers.iter().find(|o| o.offer_id == *offer_id) else { continue };
        let tier = offer.tiers.iter().find(|t| t.tier_no == *tier_no).and_then(|t| t.stock_id).map(|stock_id| (stock_id, 1));
        taken.extend(offer.takes().chain(tier).map(|(stock_id, units)| Taken { stock_id, quantity: units * quantity }));
    }
    Ok(taken)
}

fn same_count(changed: u64, wanted: usize) -> Result<(), Trouble> {
    if changed == wanted as u64 { Ok(()) } else { Err(Trouble::Again) }
}

/// Holds units again where all of them are free: for late money. The orders are locked; the stocks are locked here.
///
/// # Errors
/// What the database said.
pub async fn take_if_free(conn: &mut PgConnection, festival: FestivalId, units: &[Taken]) -> Result<bool, Trouble> {
    let (ids, sums) = summed(units);
    let stocks = store::locked(conn, festival, &ids).await?;
    let free = ids.iter().zip(&sums).all(|(id, units)| stocks.iter().any(|s| s.stock_id == *id && s.left() >= *units));
    if free {
        same_count(store::add(conn, festival, &ids, &sums, 1, 0).await?, ids.len())?;
    }
    Ok(free)
}
