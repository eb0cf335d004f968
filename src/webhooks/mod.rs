//! Events for the programs of promoters. Rows are written only where an endpoint of the festival subscribes to the kind.

mod store;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::id::FestivalId;

/// Writes an event about each thing for every endpoint that subscribes; joins the transaction that it speaks of.
///
/// # Errors
/// What the database said.
pub async fn record(conn: &mut PgConnection, festival: FestivalId, kind: &'static str, things: &[Uuid], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if things.is_empty() {
        return Ok(());
    }
    let events: Vec<Uuid> = things.iter().map(|_| crate::id::fresh(festival, now)).collect();
    store::insert(conn, festival, kind, things, &events, now).await
}
