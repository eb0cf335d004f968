//! The two commands that give units back: cancel and expire.

pub(super) mod store;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{HOLD, OpenHolds, OrderStatus, deadline, store as orders};
use crate::{
    app::App,
    batcher::{Busy, Kind, Trouble, patiently},
    breaker::Breaker,
    id::{self, FestivalId, OrderId},
    offers, sabotage,
};

/// The most orders that one transaction of expiry ends.
const BATCH: i64 = 200;

/// Why an order was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// No such order, or the secret of another.
    #[error("no such order")]
    NotFound,
    /// It is not held any more.
    #[error("the order is {0:?}")]
    NotHeld(OrderStatus),
    /// A payment is open: the provider may still take the money.
    #[error("a payment is open")]
    PaymentOpen,
    /// It cannot be decided now: ask again.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Gives an order up: its units go back to the shelf. Doing it again changes nothing.
///
/// # Errors
/// [`CancelError`].
pub async fn cancel(app: &App, order: OrderId) -> Result<(), CancelError> {
    patiently(async { app.pass::<Cancelling>(order.festival(), order).await? }).await?;
    app.the::<OpenHolds>().ended(order);
    Ok(())
}

/// Batches of giving up: a hundred fans who leave a rush take the lock of the hot stock once, not a hundred times (measured: 80 a second one by
/// one made placing five times slower).
pub struct Cancelling;

impl Kind for Cancelling {
    const NAME: &'static str = "cancel";
    const MOST: usize = 256;
    type Request = OrderId;
    type Answer = Result<(), CancelError>;

    fn pool(app: &App) -> &PgPool {
        &app.pools.complete
    }

    async fn run(app: &App, conn: &mut PgConnection, festival: FestivalId, batch: &[OrderId]) -> Result<Vec<Self::Answer>, Trouble> {
        let mut ids = batch.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let found: HashMap<OrderId, OrderStatus> = orders::lock(conn, festival, &ids).await?.into_iter().map(|o| (o.order_id, o.status)).collect();
        let held: Vec<OrderId> = ids.into_iter().filter(|id| found.get(id) == Some(&OrderStatus::Held)).collect();
        let paying = if held.is_empty() { Vec::new() } else { store::with_open_payment(conn, festival, &held).await? };
        let given_up: Vec<OrderId> = held.into_iter().filter(|id| !paying.contains(id)).collect();
        if !given_up.is_empty() {
            give_back(conn, festival, &given_up, OrderStatus::Cancelled, app.clock.now()).await?;
        }
        let answer = |order: &OrderId| match found.get(order) {
            None => Err(CancelError::NotFound),
            Some(OrderStatus::Held) if paying.contains(order) => Err(CancelError::PaymentOpen),
            Some(OrderStatus::Held | OrderStatus::Cancelled) => Ok(()),
            Some(other) => Err(CancelError::NotHeld(*other)),
        };
        Ok(batch.iter().map(answer).collect())
    }
}

/// Ends those of some orders that are held, over and have no open payment; how many, and which are held on.
pub(super) async fn expire_these(conn: &mut PgConnection, festival: FestivalId, ids: &[OrderId], now: DateTime<Utc>) -> Result<(usize, Vec<OrderId>), Trouble> {
    let found = orders::lock(conn, festival, ids).await?;
    let held: Vec<OrderId> = found.iter().filter(|order| order.status == OrderStatus::Held).map(|order| order.order_id).collect();
    let paying = if held.is_empty() { Vec::new() } else { store::with_open_payment(conn, festival, &held).await? };
    let over: Vec<OrderId> =
        found.iter().filter(|o| o.status == OrderStatus::Held && o.held_until < now && !paying.contains(&o.order_id)).map(|o| o.order_id).collect();
    if !over.is_empty() {
        give_back(conn, festival, &over, OrderStatus::Expired, now).await?;
    }
    // What is held for longer than it was, or just being paid, is looked at again.
    let later: Vec<OrderId> = held.into_iter().filter(|id| !over.contains(id)).collect();
    Ok((over.len(), later))
}

async fn give_back(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], status: OrderStatus, now: DateTime<Utc>) -> Result<(), Trouble> {
    let ended = store::end(conn, festival, orders, status, now).await?;
    if ended != orders.len() as u64 {
        return Err(Trouble::Again);
    }
    deadline::forget(conn, festival, orders).await?;
    let uses = orders::voucher_uses(conn, festival, orders).await?;
    offers::return_uses(conn, festival, &uses).await?;
    let units = orders::allocations(conn, festival, orders).await?;
    offers::release_held(conn, festival, &units.into_iter().map(|(_, taken)| taken).collect::<Vec<_>>()).await
}

/// How long an order may be held in all, with extensions and open payments.
pub const LONGEST: TimeDelta = TimeDelta::minutes(60);

/// Extends what is held in a festival: every hold lasts at least so many minutes from now, and none longer than [`LONGEST`] after it was placed.
/// Returns how many holds are longer now. Bounded steps; doing it again changes nothing but by the time that passed.
///
/// # Errors
/// What the database said.
pub async fn extend_holds(app: &App, festival: FestivalId, minutes: i64) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut from = OrderId(id::first_at(now - LONGEST));
    let mut extended = 0;
    loop {
        let mut tx = app.pools.work.begin().await?;
        let held = store::lock_held_after(&mut tx, festival, from, BATCH).await?;
        let Some(last) = held.last() else { break };
        from = *last;
        extended += store::extend(&mut tx, festival, &held, now + TimeDelta::minutes(minutes), LONGEST, now).await?;
        tx.commit().await?;
    }
    Ok(usize::try_from(extended).unwrap_or(usize::MAX))
}

/// While payment providers fail, keeps every hold for ten minutes more: nobody loses what they cannot pay. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn keep_holds(app: &App) -> Result<usize, sqlx::Error> {
    if app.the::<Breaker>().is_open(app.clock.now()) {
        for festival in store::holding_festivals(&app.pools.work).await? {
            // A festival whose stock is hot just now does not keep the others from theirs.
            if let Err(error) = extend_holds(app, festival, HOLD.num_minutes()).await {
                tracing::warn!(festival = festival.0, %error, "holds could not be kept; the next round tries again");
            }
        }
    }
    Ok(0)
}

/// How many orders one step of the walk looks at.
const STEP: i64 = 20_000;

/// How far expiry has come in each festival: no order before this one is held any more. An order never becomes held again for longer
/// than a transaction, so this only moves forward.
#[derive(Default)]
pub struct Swept(Mutex<HashMap<FestivalId, OrderId>>);

/// Ends holds that are over, one bounded batch a festival; returns how many, and one more while there is more to look at. Orders with
/// an open payment are kept: they are closed by payments, which ask the provider first. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn expire_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut ended = 0;
    for festival in store::holding_festivals(&app.pools.work).await? {
        // A festival whose stock is hot just now does not keep the others from their turn.
        match expire_one(app, festival, now).await {
            Ok(done) => ended += done,
            Err(trouble) => tracing::warn!(festival = festival.0, error = %trouble, "holds could not be ended; the next round tries again"),
        }
    }
    ended += deadline::expire_due(app, now).await?;
    metrics::counter!("gatefold_orders_expired_total").increment(ended as u64);
    Ok(ended)
}

async fn expire_one(app: &App, festival: FestivalId, now: DateTime<Utc>) -> Result<usize, Trouble> {
    let swept = &app.the::<Swept>().0;
    let from = swept.lock().unwrap_or_else(PoisonError::into_inner).get(&festival).copied().unwrap_or(OrderId(Uuid::nil()));
    // Ids begin with the moment of placing, and no hold is shorter than ten minutes.
    let to = OrderId(id::first_at(now - HOLD));
    let walked = store::walk(&app.pools.work, festival, from, to, STEP).await?;
    let Some(first) = walked.held else {
        if let Some(last) = walked.last.filter(|last| *last > from) {
            swept.lock().unwrap_or_else(PoisonError::into_inner).insert(festival, last);
            return Ok(1);
        }
        return Ok(0);
    };
    swept.lock().unwrap_or_else(PoisonError::into_inner).insert(festival, first);
    match expire_batch(app, festival, (first, to), now, BATCH).await {
        // One of them cannot be ended, and keeps nobody else: each is tried alone.
        Err(Trouble::Database(error)) if is_poison(&error) => {
            let mut tx = app.pools.work.begin().await?;
            let due = store::claim_due(&mut tx, festival, first, to, now, BATCH).await?;
            tx.rollback().await?;
            let mut ended = 0;
            for order in due {
                ended += alone(app, festival, order, now).await;
            }
            Ok(ended)
        }
        other => other,
    }
}

/// Classes 22 and 23: what is written breaks a rule of the database.
fn is_poison(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Ends one order; how many were ended.
async fn alone(app: &App, festival: FestivalId, order: OrderId, now: DateTime<Utc>) -> usize {
    let end = async {
        let mut tx = app.pools.work.begin().await?;
        let (ended, _) = expire_these(&mut tx, festival, &[order], now).await?;
        tx.commit().await?;
        Ok::<_, Trouble>(ended)
    };
    end.await.unwrap_or_else(|error| {
        tracing::error!(%error, %order, "a hold cannot be ended; the others are");
        0
    })
}

async fn expire_batch(app: &App, festival: FestivalId, (first, to): (OrderId, OrderId), now: DateTime<Utc>, most: i64) -> Result<usize, Trouble> {
    let mut tx = app.pools.work.begin().await?;
    let mut due = store::claim_due(&mut tx, festival, first, to, now, most).await?;
    // A payment that was opened between the look and the lock is seen now: nobody opens another while we hold the order.
    let paying = store::with_open_payment(&mut tx, festival, &due).await?;
    due.retain(|order| !paying.contains(order));
    give_back(&mut tx, festival, &due, OrderStatus::Expired, now).await?;
    sabotage::die_at("expire-written");
    tx.commit().await?;
    Ok(due.len())
}
