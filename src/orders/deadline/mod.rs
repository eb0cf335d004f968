//! Orders that are held for longer than ten minutes: who was invited from a waiting list, and what is paid without a provider. Expiry walks by the moment
//! of placing, and these would hold it up: they are ended by a walk of their own.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::end;
use crate::{app::App, batcher::Trouble, id::FestivalId, id::OrderId};

pub(super) use store::forget;
pub use store::{count_of, of_order, set, wait_until};

/// Why an order is held for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DeadlineKind {
    /// Its buyer waited for it and was invited.
    Invitation,
    /// Its money is sent to the bank account of the promoter.
    BankTransfer,
    /// It is paid at the door.
    OnSite,
}

/// Until when an order is held, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Deadline {
    /// The order.
    pub order_id: OrderId,
    /// Why.
    pub kind: DeadlineKind,
    /// Until when.
    pub due_at: DateTime<Utc>,
}

/// When an order that could not be ended is looked at again.
const AGAIN: TimeDelta = TimeDelta::seconds(30);

/// The most deadlines that one transaction looks at.
const BATCH: i64 = 200;

/// Ends orders whose deadline is over, one bounded batch a festival; what was paid or given up meanwhile is only forgotten. Returns how many were looked at.
///
/// # Errors
/// What the database said.
pub(super) async fn expire_due(app: &App, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let mut done = 0;
    for festival in store::due_festivals(&app.pools.work, now).await? {
        match expire_one(app, festival, now).await {
            Ok(ended) => done += ended,
            Err(trouble) => tracing::warn!(festival = festival.0, error = %trouble, "orders with a deadline could not be ended; the next round tries again"),
        }
    }
    Ok(done)
}

async fn expire_one(app: &App, festival: FestivalId, now: DateTime<Utc>) -> Result<usize, Trouble> {
    let mut tx = app.pools.work.begin().await?;
    let due = store::due(&mut tx, festival, now, BATCH).await?;
    // An order whose payment is open, or that was held for longer meanwhile, is looked at again.
    let (over, later) = end::expire_these(&mut tx, festival, &due, now).await?;
    let done: Vec<OrderId> = due.into_iter().filter(|id| !later.contains(id)).collect();
    store::forget(&mut tx, festival, &done).await?;
    store::postpone(&mut tx, festival, &later, now + AGAIN).await?;
    tx.commit().await?;
    Ok(over)
}
