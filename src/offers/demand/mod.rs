//! What waiting lists ask for. So many units of what is free are promised to whoever waits: nobody else gets them, and pages show them as gone.
//!
//! **Invariant:** the demand of an offer is the sum of what its line waits for; it moves in the transaction that moves the line.

mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Availability, Offer, Shelf, Stock, Tier};
use crate::id::{FestivalId, OfferId, StockId};

pub use store::{add, closed, list, set_terms, wanted};

/// How long an invitation lasts where the promoter does not say, in hours.
const HOURS: i32 = 24;

/// The waiting list of an offer as a whole: its terms, and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct List {
    /// Whether people may join.
    pub is_open: bool,
    /// How long an invitation lasts, in hours.
    pub invitation_hours: i32,
    /// Units that are waited for.
    pub units: i32,
    /// Who waits.
    pub people: i32,
}

impl Default for List {
    fn default() -> Self {
        Self { is_open: true, invitation_hours: HOURS, units: 0, people: 0 }
    }
}

/// What is on sale of a festival and the stocks under it, as fans find it: what waiting lists are promised is not free.
///
/// # Errors
/// What the database said.
pub async fn on_shelf(pool: &PgPool, festival: FestivalId, at: DateTime<Utc>) -> Result<(Vec<Offer>, Vec<Stock>), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let offers = super::offers_in(&mut conn, festival).await?;
    let stocks = super::stocks(&mut conn, festival).await?;
    if !offers.iter().any(|offer| offer.somebody_waits) {
        return Ok((offers, stocks));
    }
    let demands = store::demands(&mut conn, festival).await?;
    let mut by: BTreeMap<StockId, Stock> = stocks.into_iter().map(|stock| (stock.stock_id, stock)).collect();
    promise(&mut by, &offers, &demands, at);
    Ok((offers, by.into_values().collect()))
}

/// Sets aside of a locked shelf what lists are promised, those of offers beside it that share a stock with it included. Where nobody waits nothing is read.
pub(super) async fn set_aside(conn: &mut PgConnection, festival: FestivalId, shelf: &mut Shelf, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if !shelf.offers.values().any(|offer| offer.somebody_waits) {
        return Ok(());
    }
    let demands = store::demands(&mut *conn, festival).await?;
    let mut offers: Vec<Offer> = shelf.offers.values().cloned().collect();
    let beside: Vec<OfferId> = demands.iter().map(|(offer, _)| *offer).filter(|offer| !shelf.offers.contains_key(offer)).collect();
    let mut stocks = shelf.stocks.clone();
    if !beside.is_empty() {
        offers.extend(super::store::offers_of(&mut *conn, festival, &beside).await?);
        // Read without a lock: how far the promise of another offer reaches is an estimate, whether this one is oversold is not.
        for stock in super::stocks(conn, festival).await? {
            stocks.entry(stock.stock_id).or_insert(stock);
        }
    }
    promise(&mut stocks, &offers, &demands, at);
    for (id, stock) in &mut shelf.stocks {
        stock.promised = stocks.get(id).map_or(0, |stock| stock.promised);
    }
    Ok(())
}

/// Promises units to lists: to each as many as could be had now, so that a list keeps nothing back that would not help it; pure.
fn promise(stocks: &mut BTreeMap<StockId, Stock>, offers: &[Offer], demands: &[(OfferId, i32)], at: DateTime<Utc>) {
    for (id, wanted) in demands {
        let Some(offer) = offers.iter().find(|offer| offer.offer_id == *id) else { continue };
        if offer.window(at) == Some(Availability::Over) {
            continue;
        }
        let tiers = offer.open_tiers(at);
        let mut rest = (*wanted).min(free_units(offer, &tiers, |id| stocks.get(&id)));
        for (stock, units) in offer.takes() {
            if let Some(stock) = stocks.get_mut(&stock) {
                stock.promised += units.saturating_mul(rest);
            }
        }
        for tier in tiers {
            let Some(stock) = tier.stock_id.and_then(|id| stocks.get_mut(&id)) else { break };
            let taken = rest.min(stock.left()).max(0);
            stock.promised += taken;
            rest -= taken;
        }
    }
}

/// How many units of an offer can be had, by what is left of its stocks and tiers; pure.
fn free_units<'a>(offer: &Offer, tiers: &[&Tier], stock: impl Fn(StockId) -> Option<&'a Stock>) -> i32 {
    let in_tiers = tiers.iter().map(|tier| tier.stock_id.and_then(&stock).map_or(i32::MAX, Stock::left)).fold(0_i32, i32::saturating_add);
    let in_stocks = offer.takes().filter_map(|(id, units)| stock(id).map(|stock| if stock.left() == i32::MAX { i32::MAX } else { stock.left() / units }));
    in_tiers.min(in_stocks.min().unwrap_or(i32::MAX)).max(0)
}

/// An offer that somebody waits for, and how many units of it are free for its list.
///
/// # Errors
/// What the database said.
pub async fn free_for_list(pool: &PgPool, offer: OfferId, at: DateTime<Utc>) -> Result<Option<(Offer, i32)>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let festival = offer.festival();
    let Some(found) = super::store::offers_of(&mut conn, festival, &[offer]).await?.pop() else { return Ok(None) };
    let stocks: BTreeMap<StockId, Stock> = super::stocks(&mut conn, festival).await?.into_iter().map(|stock| (stock.stock_id, stock)).collect();
    let free = free_units(&found, &found.open_tiers(at), |id| stocks.get(&id));
    Ok(Some((found, free)))
}
