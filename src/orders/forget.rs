//! Carts are forgotten after a week: orders that expired or were given up without a payment. Their keys are free again then.
//!
//! A walk over the primary key, in steps; each process remembers how far it came and goes on from there every hour. What was still held when the
//! walk passed it (the house was closed for a week) is found by the walk after the next start.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{end, store};
use crate::{
    app::App,
    festivals,
    id::{self, FestivalId, OrderId},
};

/// How long an order without a payment is remembered after its end: longer than anybody repeats a request.
pub const REMEMBERED: TimeDelta = TimeDelta::days(7);
/// Orders looked at in one step.
const STEP: i64 = 5_000;

/// How far the walk came, by festival.
#[derive(Default)]
pub struct Walked(Mutex<HashMap<FestivalId, OrderId>>);

/// Takes one step in every festival; how many steps were taken.
///
/// # Errors
/// What the database said.
pub async fn forget_carts(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut steps = 0;
    for festival in festivals::every(&app.pools.work).await? {
        match step(app, festival.festival_id, now).await {
            Ok(looked) => steps += usize::from(looked),
            // A festival whose carts cannot be forgotten does not keep the others.
            Err(error) => tracing::error!(festival = festival.festival_id.0, %error, "carts could not be forgotten"),
        }
    }
    Ok(steps)
}

/// One step; whether there was anything to look at.
async fn step(app: &App, festival: FestivalId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let walked = &app.the::<Walked>().0;
    let after = walked.lock().unwrap_or_else(PoisonError::into_inner).get(&festival).copied().unwrap_or(OrderId(Uuid::nil()));
    // No hold and no open payment lasts two hours: what was placed before has ended, unless it is paid or has a deadline. The few of those stay.
    let before = OrderId(id::first_at(now - REMEMBERED - TimeDelta::hours(2)));
    let pool = &app.pools.work;
    let step = end::store::walk(pool, festival, after, before, STEP).await?;
    let Some(upto) = step.last.filter(|last| *last > after) else { return Ok(false) };
    let forgotten = store::forget_carts(pool, festival, after, upto).await?;
    metrics::counter!("gatefold_carts_forgotten_total").increment(forgotten.unsigned_abs());
    walked.lock().unwrap_or_else(PoisonError::into_inner).insert(festival, upto);
    Ok(true)
}
