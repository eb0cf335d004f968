//! Placing: a kind of batch. It starts at the stock, because it decides on it and touches no existing order.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{
    Buyer, HOLD, Holder, LINES, OpenHolds, PlaceError, Placed, Recent, Wish,
    allot::allot,
    box_office::{self, DoorSale},
    deadline::{self, DeadlineKind},
    doors::{self, Door},
    festival_of, store,
};
use crate::{
    accounts::{email_key, is_address},
    app::App,
    batcher::{Busy, Kind, Trouble, patiently},
    breaker::Breaker,
    festivals,
    id::{FestivalId, OfferId, OrderId, VoucherId, WaitId},
    offers::{self, Taken, Uses},
    sabotage,
    secrets::short_hash,
    waiting::list::{self, Wait},
};

/// A request to place an order, understood and with everything it needs to be decided again.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id that the order will have.
    pub order_id: OrderId,
    /// Who orders.
    pub buyer: Buyer,
    /// The key of their address.
    pub email_key: String,
    /// Hash over caller and key: what makes a repeated request harmless.
    pub key_hash: [u8; 16],
    /// Hash over what is asked.
    pub fingerprint: [u8; 16],
    /// What is asked for.
    pub basket: Vec<Wish>,
    /// What the door says about it: a new order is refused, one that was placed with this key is answered again.
    pub refusal: Option<PlaceError>,
    /// The key of the voucher that is to lower its price.
    pub voucher: Option<[u8; 16]>,
    /// The total that the buyer saw.
    pub expected_minor: Option<i64>,
    /// On whose word it is placed.
    pub source: Source,
    /// When it arrived at the door.
    pub arrived_at: DateTime<Utc>,
}

/// On whose word an order is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its buyer, by a page or the API.
    Public,
    /// A waiting list invites whoever waits, until a moment.
    List(WaitId, DateTime<Utc>),
    /// A member sells it at the door, or gives it away: whatever its window says, and to nobody in particular.
    BoxOffice(DoorSale),
}

impl Source {
    /// Until when an order is held.
    fn held_until(&self, arrived_at: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Public | Self::BoxOffice(_) => arrived_at + HOLD,
            Self::List(_, until) => *until,
        }
    }
}

/// What a buyer asks for.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// Who orders.
    pub buyer: Buyer,
    /// The key of the request.
    pub key: &'a str,
    /// What is asked for.
    pub basket: Vec<Wish>,
    /// The total that the buyer saw: if it would be higher, nothing is held.
    pub expected_minor: Option<i64>,
    /// The code of a voucher.
    pub voucher: Option<&'a str>,
    /// Places in waiting rooms.
    pub places: &'a [&'a str],
    /// Who holds, where they come from: what they hold is bounded. The house itself is not.
    pub holder: Option<Holder>,
}

/// Places an order and holds its stock for [`HOLD`].
///
/// The same key gets the same order back, so a phone that lost its signal may ask again. The key belongs to the address:
/// two buyers who chose the same one do not meet.
///
/// # Errors
/// [`PlaceError`]; nothing is held then.
pub async fn place(app: &App, asking: Asking<'_>, arrived_at: DateTime<Utc>) -> Result<Placed, PlaceError> {
    let Asking { buyer, key, basket, expected_minor, voucher, places, holder } = asking;
    let festival = festival_of(&basket)?;
    if basket.len() > LINES {
        return Err(PlaceError::Invalid("/lines".to_owned(), format!("at most {LINES} lines")));
    }
    if let Some(i) = basket.iter().position(|w| !(1..=100).contains(&w.quantity)) {
        return Err(PlaceError::Invalid(format!("/lines/{i}/quantity"), "between 1 and 100".to_owned()));
    }
    if !is_address(&buyer.email) {
        return Err(PlaceError::Invalid("/email".to_owned(), "not an email address".to_owned()));
    }
    // While a waiting room is on, its visitor is the key of the order: a place brings one order, whoever asks how often.
    let Door { visitor, mut refusal } = doors::look(app, &basket, places, arrived_at);
    if refusal.is_none() && !app.the::<Breaker>().lets_in(arrived_at) {
        refusal = Some(PlaceError::PaymentsDown);
    }
    let holds = app.the::<OpenHolds>();
    if refusal.is_none()
        && let Some(Err(wait)) = holder.as_ref().map(|holder| holds.may_hold(holder, arrived_at))
    {
        refusal = Some(PlaceError::Slower(wait));
    }
    let email_key = email_key(&buyer.email);
    let voucher = voucher.filter(|code| !code.trim().is_empty()).map(|code| offers::voucher_key(&app.secrets, festival, code));
    let asked = match &voucher {
        None => serde_json::to_vec(&(&email_key, &buyer.name, &basket, expected_minor)).unwrap_or_default(),
        Some(voucher) => serde_json::to_vec(&(&email_key, &buyer.name, &basket, expected_minor, voucher)).unwrap_or_default(),
    };
    let request = Request {
        order_id: OrderId::fresh(festival, arrived_at),
        key_hash: match &visitor {
            Some(visitor) => short_hash(&[b"place", visitor]),
            None => short_hash(&[b"order", email_key.as_bytes(), key.as_bytes()]),
        },
        fingerprint: short_hash(&[&asked]),
        email_key,
        buyer,
        basket,
        refusal,
        voucher,
        expected_minor,
        source: Source::Public,
        arrived_at,
    };
    let placed = patiently(async {
        // Ids are not signed: a made-up festival number must not open a lane.
        if !festivals::facts(app, festival).await.map_err(|_| Busy::jittered())?.published {
            return Err(PlaceError::Invalid("/lines/0/offer_id".to_owned(), "there is no such offer".to_owned()));
        }
        app.pass::<Placing>(festival, request).await?
    })
    .await
    .map_err(|error| match error {
        PlaceError::KeyReused if visitor.is_some() => PlaceError::PlaceUsed,
        other => other,
    })?;
    app.the::<Recent>().keep(&placed);
    if let Some(holder) = holder.filter(|_| !placed.units.is_empty()) {
        holds.held(placed.order_id, holder, arrived_at);
    }
    Ok(placed)
}

/// Batches of placing.
pub struct Placing;

impl Kind for Placing {
    const NAME: &'static str = "place";
    const MOST: usize = 256;
    type Request = Request;
    type Answer = Result<Placed, PlaceError>;

    fn pool(app: &App) -> &PgPool {
        &app.pools.place
    }

    async fn run(app: &App, conn: &mut PgConnection, festival: FestivalId, batch: &[Request]) -> Result<Vec<Self::Answer>, Trouble> {
        // Twins in this process share one answer: the first of a key decides.
        let mut firsts: HashMap<[u8; 16], usize> = HashMap::with_capacity(batch.len());
        for (i, request) in batch.iter().enumerate() {
            firsts.entry(request.key_hash).or_insert(i);
        }
        let mut wanted: Vec<OfferId> = batch.iter().flat_map(|r| r.basket.iter().map(|w| w.offer_id)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let asked: Vec<([u8; 16], &str)> = batch.iter().filter_map(|r| Some((r.voucher?, r.email_key.as_str()))).collect();
        // The one order of locks: vouchers before stock.
        let mut vouchers = offers::lock_vouchers(conn, &app.secrets, festival, &asked).await?;
        let mut shelf = offers::shelf(conn, festival, &wanted, app.clock.now()).await?;
        // Whoever waited is invited once: their waits are locked after the stock, as by nobody before it.
        let waits: Vec<WaitId> = batch.iter().filter_map(|r| if let Source::List(wait, _) = r.source { Some(wait) } else { None }).collect();
        let waiting = if waits.is_empty() { Vec::new() } else { list::lock_waiting(conn, festival, &waits).await? };
        let still_waits = |request: &&Request| match request.source {
            Source::List(wait, _) => waiting.iter().any(|waits| waits.wait_id == wait),
            Source::Public | Source::BoxOffice(_) => true,
        };
        let keys: Vec<[u8; 16]> = firsts.keys().copied().collect();
        let existing = store::by_keys(conn, festival, &keys).await?;
        let limited: Vec<OfferId> = shelf.offers.values().filter(|o| o.max_per_fan.is_some()).map(|o| o.offer_id).collect();
        let fresh = batch.iter().enumerate().filter(|(i, r)| firsts.get(&r.key_hash) == Some(i) && !existing.contains_key(&r.key_hash)).map(|(_, r)| r);
        let (fresh, gone): (Vec<&Request>, Vec<&Request>) = fresh.partition(still_waits);
        let mut fans = if limited.is_empty() {
            HashMap::new()
        } else {
            let mut addresses: Vec<&str> = fresh.iter().map(|r| r.email_key.as_str()).filter(|key| !key.is_empty()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            store::fan_counts(conn, festival, &addresses, &limited).await?
        };
        let bounded = vouchers.bounded();
        if !bounded.is_empty() {
            let mut addresses: Vec<&str> = asked.iter().map(|(_, email_key)| *email_key).collect();
            addresses.sort_unstable();
            addresses.dedup();
            vouchers.know(store::voucher_counts(conn, festival, &addresses, &bounded).await?);
        }
        sabotage::pause().await;
        let decided = allot(&mut shelf, &mut fans, &mut vouchers, &fresh);
        let mut uses: BTreeMap<VoucherId, Uses> = BTreeMap::new();
        let mut rows: Vec<store::NewOrder<'_>> = Vec::with_capacity(fresh.len());
        let mut units: Vec<Taken> = Vec::new();
        let mut answers: HashMap<[u8; 16], Result<Placed, PlaceError>> = HashMap::with_capacity(batch.len());
        answers.extend(gone.iter().map(|request| (request.key_hash, Err(PlaceError::NotWaiting))));
        for (request, outcome) in fresh.iter().zip(decided) {
            let outcome = outcome.map(|allotted| {
                units.extend(&allotted.units);
                if let Some((voucher, more)) = allotted.voucher {
                    *uses.entry(voucher).or_default() += more;
                }
                let held_until = request.source.held_until(request.arrived_at);
                let placed = Placed {
                    order_id: request.order_id,
                    lines: allotted.lines.clone(),
                    total: allotted.total,
                    held_until,
                    link_generation: 0,
                    units: allotted.units.clone(),
                };
                rows.push(store::NewOrder {
                    request,
                    lines: allotted.lines,
                    total: allotted.total,
                    units: allotted.units,
                    voucher: allotted.voucher.map(|(id, _)| id),
                    held_until,
                });
                placed
            });
            answers.insert(request.key_hash, outcome);
        }
        if !rows.is_empty() {
            rows.sort_by_key(|row| row.request.key_hash);
            let inserted = store::insert(conn, festival, &rows).await?;
            if inserted != rows.len() as u64 {
                // Another server took one of the keys between our look and our insert.
                return Err(Trouble::Again);
            }
            offers::use_vouchers(conn, festival, &uses).await?;
            offers::take(conn, festival, &units).await?;
            box_office::note(conn, festival, &rows).await?;
            invite(conn, festival, &rows, &waiting, app.clock.now()).await?;
        }
        for (key, found) in existing {
            let twin = firsts.get(&key).and_then(|i| batch.get(*i));
            let same = twin.is_some_and(|request| request.fingerprint == found.fingerprint);
            answers.insert(key, if same { Ok(found.placed) } else { Err(PlaceError::KeyReused) });
        }
        Ok(batch
            .iter()
            .map(|request| {
                let first = firsts.get(&request.key_hash).and_then(|i| batch.get(*i));
                if first.is_some_and(|first| first.fingerprint != request.fingerprint) {
                    return Err(PlaceError::KeyReused);
                }
                answers.get(&request.key_hash).cloned().unwrap_or(Err(PlaceError::KeyReused))
            })
            .collect())
    }
}

/// Tells whoever waited of the orders that are held for them now, until when.
async fn invite(conn: &mut PgConnection, festival: FestivalId, rows: &[store::NewOrder<'_>], waiting: &[Wait], now: DateTime<Utc>) -> Result<(), Trouble> {
    let wait_of = |row: &store::NewOrder<'_>| match row.request.source {
        Source::List(wait, _) => waiting.iter().find(|waits| waits.wait_id == wait).map(|waits| (waits.clone(), row.request.order_id)),
        Source::Public | Source::BoxOffice(_) => None,
    };
    let invitations: Vec<(Wait, OrderId)> = rows.iter().filter_map(wait_of).collect();
    if invitations.is_empty() {
        return Ok(());
    }
    let due: Vec<(OrderId, DateTime<Utc>)> =
        rows.iter().filter(|row| matches!(row.request.source, Source::List(..))).map(|row| (row.request.order_id, row.held_until)).collect();
    deadline::set(conn, festival, DeadlineKind::Invitation, &due).await?;
    list::invited(conn, festival, &invitations, now).await?;
    Ok(())
}
