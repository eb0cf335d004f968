//! The dispute file of an order: what a bank wants to see when a buyer disputes a payment. What was bought under which terms, and everything that happened, in
//! its order: payments, emails that left, tickets that were taken and passed on, scans at the gates, albums that were heard.

pub mod api;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection};

use crate::{
    id::OrderId,
    orders::{self, Order},
};

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "DisputeEvent")]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// What: `placed`, `payment_captured`, `email_sent`, `ticket_taken`, `scan`, `album_heard`, ..
    pub kind: String,
    /// Which: an amount, the kind of an email, a ticket's last digits, a gate, an album.
    pub what: String,
}

/// The terms that an order was placed under.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "DisputeTerms", skip_serializing_if_is_none)]
pub struct Terms {
    /// How many hours before the festival fans gave tickets back themselves; nothing where they did not.
    pub hours_before: Option<i32>,
    /// What was kept then, in parts per million.
    pub kept_ppm: Option<i32>,
    /// Since when that rule was shown.
    pub from_at: Option<DateTime<Utc>>,
}

/// Everything about an order that a bank may want to see.
#[derive(Clone, Debug, Object)]
pub struct DisputeFile {
    /// The order with its lines as they were placed.
    pub order: Order,
    /// The terms that it was placed under.
    pub terms: Terms,
    /// What happened, the oldest first; at most a thousand.
    pub events: Vec<Event>,
}

/// Gathers the file; joins a transaction of the promoter, who was seen to own the festival.
///
/// # Errors
/// What the database said.
pub async fn file(conn: &mut PgConnection, id: OrderId) -> Result<Option<DisputeFile>, sqlx::Error> {
    let Some(order) = orders::whole(&mut *conn, id.festival(), &[id]).await?.pop() else { return Ok(None) };
    let terms = store::terms(&mut *conn, id).await?;
    Ok(Some(DisputeFile { order, terms, events: store::events(conn, id).await? }))
}
