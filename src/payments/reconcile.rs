//! Payments that nobody told us about: the provider is asked, outside any transaction, several at a time.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use super::{CEILING, Outcome, Payment, Providers, decided, provider::ProviderError, store};
use crate::{app::App, id};

/// How long a notification may take before the provider is asked.
const PATIENCE: TimeDelta = TimeDelta::seconds(45);
/// How long a payment that was given up is left alone between two questions.
const REST: TimeDelta = TimeDelta::minutes(10);
/// How long a payment that was given up is asked about: longer than any provider takes to decide.
const MEMORY: TimeDelta = TimeDelta::days(30);
/// How many payments are asked about in one go.
const BATCH: i64 = 100;
/// How many of them at once.
const AT_ONCE: usize = 8;

/// Asks about payments that are undecided for a while; returns how many were decided. A lost notification costs a minute.
///
/// # Errors
/// What the database said.
pub async fn ask_undecided(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let due = store::undecided(&app.pools.work, now - PATIENCE, now - PATIENCE, BATCH).await?;
    Ok(each(due, |payment| async move { ask(app, &payment, now).await }).await)
}

/// Asks about one payment now, unless that was just done; whether it was decided.
///
/// # Errors
/// What the database said.
pub async fn ask_now(app: &App, payment: &Payment) -> Result<bool, sqlx::Error> {
    let now = app.clock.now();
    if !payment.status.is_open() || !store::asked_before(&app.pools.web, payment.payment_id, now - TimeDelta::seconds(2)).await? {
        return Ok(false);
    }
    Ok(ask(app, payment, now).await)
}

/// Gives an open payment up because its buyer wants to pay otherwise; whether it was decided. It may turn out to be paid.
pub async fn give_up(app: &App, payment: &Payment) -> bool {
    let Some(provider) = app.the::<Providers>().find(&payment.provider) else { return false };
    apply(app, payment, provider.cancel(app, payment).await).await
}

async fn ask(app: &App, payment: &Payment, now: DateTime<Utc>) -> bool {
    if let Err(error) = store::asked(&app.pools.work, payment.payment_id, now).await {
        tracing::warn!(%error, payment = %payment.payment_id, "a payment could not be marked as asked about");
        return false;
    }
    let Some(provider) = app.the::<Providers>().find(&payment.provider) else { return false };
    apply(app, payment, provider.ask(app, payment).await).await
}

/// Gives up payments whose time to decide is over: the provider says what became of them, and expiry may take the order. When it says nothing until the
/// ceiling its order is let go all the same, and it is asked on: money that comes yet is late money.
///
/// # Errors
/// What the database said.
pub async fn close_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let due = store::over(&app.pools.work, now, BATCH).await?;
    let given_up = store::given_up(&app.pools.work, now - MEMORY, now - REST, BATCH).await?;
    Ok(each(due.into_iter().chain(given_up), |payment| async move {
        let Some(provider) = app.the::<Providers>().find(&payment.provider) else { return false };
        // Who was asked last comes last: what stays silent keeps nothing else back.
        if store::asked(&app.pools.work, payment.payment_id, now).await.is_err() {
            return false;
        }
        let said = provider.cancel(app, &payment).await;
        let is_silent = !matches!(said, Ok(Outcome::Captured(_) | Outcome::Failed(_)));
        if is_silent && payment.status.is_open() && now >= id::made_at(payment.order_id.0) + CEILING {
            tracing::error!(payment = %payment.payment_id, "a provider does not say what became of a payment; its order is let go");
            return apply(app, &payment, Ok(Outcome::GivenUp)).await;
        }
        apply(app, &payment, said).await
    })
    .await)
}

/// Applies what was said; whether that decided something.
async fn apply(app: &App, payment: &Payment, said: Result<Outcome, ProviderError>) -> bool {
    match said {
        Ok(Outcome::Pending) => false,
        Ok(outcome) => decided(app, payment.payment_id, outcome, None).await.is_ok(),
        Err(error) => {
            tracing::warn!(%error, payment = %payment.payment_id, "a provider did not answer; the payment stays as it is");
            false
        }
    }
}

/// Does something with each payment, several at once; counts the successes.
async fn each<F: Future<Output = bool>>(payments: impl IntoIterator<Item = Payment>, work: impl Fn(Payment) -> F) -> usize {
    stream::iter(payments).map(work).buffer_unordered(AT_ONCE).filter(|done| std::future::ready(*done)).count().await
}
