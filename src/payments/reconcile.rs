//! Payments that nobody told us about: the provider is asked, outside any transaction.

use chrono::TimeDelta;

use super::{Outcome, Providers, decided, store};
use crate::app::App;

/// How long a notification may take before the provider is asked.
const PATIENCE: TimeDelta = TimeDelta::seconds(45);
/// How many payments are asked about in one go.
const BATCH: i64 = 100;

/// Asks about payments that are undecided for a while; returns how many were decided. A lost notification costs a minute.
///
/// # Errors
/// What the database said.
pub async fn ask_undecided(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut settled = 0;
    for payment in store::undecided(&app.pools.work, now - PATIENCE, now - PATIENCE, BATCH).await? {
        store::asked(&app.pools.work, payment.payment_id, now).await?;
        let Some(provider) = app.the::<Providers>().find(&payment.provider) else { continue };
        match provider.ask(app, payment.payment_id).await {
            Ok(Outcome::Pending) => {}
            Ok(outcome) => settled += usize::from(decided(app, payment.payment_id, outcome, None).await.is_ok()),
            Err(error) => tracing::warn!(%error, payment = %payment.payment_id, "a provider did not answer"),
        }
    }
    Ok(settled)
}

/// Gives up payments whose time to decide is over: the provider says what became of them, and expiry may take the order.
///
/// # Errors
/// What the database said.
pub async fn close_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut closed = 0;
    for payment in store::over(&app.pools.work, now, BATCH).await? {
        let Some(provider) = app.the::<Providers>().find(&payment.provider) else { continue };
        match provider.cancel(app, payment.payment_id).await {
            Ok(Outcome::Pending) => {}
            Ok(outcome) => closed += usize::from(decided(app, payment.payment_id, outcome, None).await.is_ok()),
            Err(error) => tracing::warn!(%error, payment = %payment.payment_id, "a provider did not answer; the hold is kept"),
        }
    }
    Ok(closed)
}
