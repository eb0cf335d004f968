//! What staff shall know of a ticket when it comes to a gate: a wheelchair, a guest of the house. A ticket with a note is checked before it is let in.

use serde_json::json;
use sqlx::PgConnection;

use super::{TicketKind, store};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::{FestivalId, OrderId, TicketId},
    offers,
};

/// Writes the note of a ticket, or removes it; what is written already changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn set_note(app: &App, staff: &Staff, id: TicketId, note: Option<&str>) -> Result<(), Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    let mut tx = app.pools.web.begin().await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(Fault::NotFound);
    }
    let ticket = store::lock_one(&mut tx, id).await?.ok_or(Fault::NotFound)?;
    if ticket.note.as_deref() == note {
        return Ok(());
    }
    store::set_note(&mut tx, id, note, now).await?;
    // Whom it is about, and what it says, nobody needs to read here.
    let (action, object_id) = (if note.is_some() { "ticket.noted" } else { "ticket.note_removed" }, id.to_string());
    let act = Act { festival, actor: staff.actor, action, object_kind: "ticket", object_id, before: None, after: Some(json!({})) };
    audit::record(&mut tx, act, now).await?;
    tell_gates(&mut tx, festival, &[id]).await?;
    tx.commit().await?;
    Ok(())
}

/// Names the holders of an order's tickets; a blank name stays as it was, and so does that of a ticket that somebody took. Gates that compare names hear
/// of it.
///
/// # Errors
/// What the database said.
pub async fn name_holders(app: &App, order: OrderId, names: &[(TicketId, String)]) -> Result<(), sqlx::Error> {
    let festival = order.festival();
    let passes = offers::passes(&app.pools.web, festival).await?;
    let mut tx = app.pools.web.begin().await?;
    let named = store::name_holders(&mut tx, order, names).await?;
    let compared = offers::identified(&passes);
    let is_compared = |(_, kind, pass): &&(TicketId, TicketKind, i32)| *kind == TicketKind::Pass && compared.contains(pass);
    tell_gates(&mut tx, festival, &named.iter().filter(is_compared).map(|(id, ..)| *id).collect::<Vec<_>>()).await?;
    tx.commit().await
}

/// Moves locked tickets to the end of their feed: gates read them again.
///
/// # Errors
/// What the database said.
pub async fn tell_gates(conn: &mut PgConnection, festival: FestivalId, ids: &[TicketId]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let first = festivals::take_positions(&mut *conn, festival, "tickets", i64::try_from(ids.len()).unwrap_or(i64::MAX)).await?;
    store::move_up(conn, festival, ids, first).await
}
