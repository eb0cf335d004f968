//! The two commands that give units back: cancel and expire.

use chrono::{DateTime, Utc};

use super::{OrderStatus, store};
use crate::{
    app::App,
    batcher::Trouble,
    id::{FestivalId, OrderId},
    offers,
};

/// The most orders that one transaction of expiry ends.
const BATCH: i64 = 200;

/// Why an order was not cancelled.
#[derive(Debug, thiserror::Error)]
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
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another server was faster: ask again.
    #[error("changed meanwhile")]
    Again,
}

impl From<Trouble> for CancelError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Database(error) => Self::Database(error),
            Trouble::Again => Self::Again,
        }
    }
}

/// Gives an order up: its units go back to the shelf. Doing it again changes nothing.
///
/// # Errors
/// [`CancelError`].
pub async fn cancel(app: &App, order: OrderId) -> Result<(), CancelError> {
    let now = app.clock.now();
    let festival = order.festival();
    let mut tx = app.pools.web.begin().await?;
    let found = store::lock(&mut tx, festival, &[order]).await?.pop().ok_or(CancelError::NotFound)?;
    match found.status {
        OrderStatus::Cancelled => return Ok(()),
        OrderStatus::Held => {}
        other => return Err(CancelError::NotHeld(other)),
    }
    if !store::with_open_payment(&mut tx, festival, &[order]).await?.is_empty() {
        return Err(CancelError::PaymentOpen);
    }
    give_back(&mut tx, festival, &[order], OrderStatus::Cancelled, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn give_back(conn: &mut sqlx::PgConnection, festival: FestivalId, orders: &[OrderId], status: OrderStatus, now: DateTime<Utc>) -> Result<(), Trouble> {
    let ended = store::end(conn, festival, orders, status, now).await?;
    if ended != orders.len() as u64 {
        return Err(Trouble::Again);
    }
    let units = store::allocations(conn, festival, orders).await?;
    offers::release_held(conn, festival, &units.into_iter().map(|(_, taken)| taken).collect::<Vec<_>>()).await
}

/// Ends holds that are over, one bounded batch a festival; returns how many. Orders with an open payment are kept: they are
/// closed by payments, which ask the provider first. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn expire_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut ended = 0;
    for festival in store::due_festivals(&app.pools.work, now).await? {
        // A festival whose stock is hot just now does not keep the others from their turn.
        match expire_one(app, festival, now).await {
            Ok(done) => ended += done,
            Err(trouble) => tracing::warn!(festival = festival.0, error = %trouble, "holds could not be ended; the next round tries again"),
        }
    }
    metrics::counter!("gatefold_orders_expired_total").increment(ended as u64);
    Ok(ended)
}

async fn expire_one(app: &App, festival: FestivalId, now: DateTime<Utc>) -> Result<usize, Trouble> {
    let mut tx = app.pools.work.begin().await?;
    let mut due = store::claim_due(&mut tx, festival, now, BATCH).await?;
    // A payment that was opened between the look and the lock is seen now: nobody opens another while we hold the order.
    let paying = store::with_open_payment(&mut tx, festival, &due).await?;
    due.retain(|order| !paying.contains(order));
    give_back(&mut tx, festival, &due, OrderStatus::Expired, now).await?;
    tx.commit().await?;
    Ok(due.len())
}
