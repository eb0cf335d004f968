//! Payments that nobody told us about: the provider is asked, outside any transaction. Refunds that wait are submitted.

use chrono::TimeDelta;

use super::{Outcome, Providers, decided, store};
use crate::{
    app::App,
    books::{self, Account, Journal, JournalKind},
};

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
            Ok(outcome) => settled += usize::from(decided(app, payment.payment_id, outcome).await.is_ok()),
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
            Ok(outcome) => closed += usize::from(decided(app, payment.payment_id, outcome).await.is_ok()),
            Err(error) => tracing::warn!(%error, payment = %payment.payment_id, "a provider did not answer; the hold is kept"),
        }
    }
    Ok(closed)
}

/// Submits refunds that wait; the provider knows them by our payment, so a repeated call gives money back once.
///
/// # Errors
/// What the database said.
pub async fn refund_due(app: &App) -> Result<usize, sqlx::Error> {
    let mut done = 0;
    for refund in store::open_refunds(&app.pools.work, BATCH).await? {
        let Some(provider) = app.the::<Providers>().find(&refund.provider) else { continue };
        match provider.refund(app, refund.payment_id, refund.amount).await {
            Ok(()) => match note(app, &refund).await {
                Ok(()) => done += 1,
                Err(error) => tracing::warn!(%error, payment = %refund.payment_id, "a refund could not be noted; it is asked for again"),
            },
            Err(error) => tracing::warn!(%error, payment = %refund.payment_id, "a refund was not taken; it is tried again"),
        }
    }
    Ok(done)
}

/// Notes a refund that its provider took, in its row and in the books, once.
async fn note(app: &App, refund: &store::OpenRefund) -> Result<(), sqlx::Error> {
    let (festival, now) = (refund.festival_id, app.clock.now());
    let id = books::fresh(festival, now);
    let mut tx = app.pools.work.begin().await?;
    if store::refunded(&mut tx, refund, id, now).await? {
        let mut journal = Journal::default();
        journal.debit(Account::Owed, refund.amount);
        journal.credit(Account::Clearing(refund.provider.clone()), refund.amount);
        books::record(&mut tx, festival, id, JournalKind::Refund, &journal, now).await?;
    }
    tx.commit().await
}
