//! Emails of orders once more.

mod store;

use super::store as orders;
use crate::{
    accounts::email_key,
    app::App,
    festivals,
    id::{FestivalId, OrderId},
    mail::{self, Draft, Lane},
};

/// How many orders of an address are told of again.
const LATEST: i64 = 5;

/// Sends the confirmations of paid orders of one festival once more, to the addresses that they were ordered with, three times an hour at most.
///
/// # Errors
/// What the database said.
pub async fn send_again(app: &App, ids: &[OrderId]) -> Result<(), sqlx::Error> {
    let Some(festival) = ids.first().map(|id| id.festival()) else { return Ok(()) };
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    let paid = orders::lock(&mut tx, festival, ids).await?;
    let drafts: Vec<Draft> = paid
        .into_iter()
        .filter(|order| order.status.is_paid())
        .map(|order| Draft { thing: order.order_id.0, kind: "confirmation", lane: Lane::Claim, language: order.language, recipient: order.email })
        .collect();
    let due_at = festivals::mail_due(&mut tx, festival, now).await?;
    mail::again(&mut tx, festival, &drafts, now, due_at).await?;
    tx.commit().await
}

/// Sends the confirmations of the latest paid orders of an address once more. Whoever asks learns nothing from it.
///
/// # Errors
/// What the database said.
pub async fn send_lost(app: &App, festival: FestivalId, email: &str) -> Result<(), sqlx::Error> {
    let latest = store::latest_paid(&app.pools.web, festival, &email_key(email), LATEST).await?;
    // An address without orders costs as much as one with some.
    let nobody = OrderId::fresh(festival, app.clock.now());
    send_again(app, if latest.is_empty() { std::slice::from_ref(&nobody) } else { &latest }).await
}
