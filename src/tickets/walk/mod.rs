//! A signing key leaked: every ticket that it signed gets another code, by the key of now. A worker walks through the tickets of the festival; it begins
//! where it stopped, and any number of servers may run it.

mod store;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::{self, FestivalId, OrderId, TicketId},
    keys,
    mail::{self, Draft, Lane},
};

/// Tickets that are looked at in one transaction.
const PAGE: i64 = 500;
/// How long tickets may still be issued by the key of before: servers know of another one within seconds.
const LATE: TimeDelta = TimeDelta::minutes(1);
/// How old a ticket is before it is looked at: longer than any transaction lives, so none appears behind the last one.
const SETTLED: TimeDelta = TimeDelta::seconds(10);

/// How far the re-issuing of what a key signed has come.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct KeyReissue {
    /// The key.
    pub key_id: i16,
    /// When it was asked for; absent while nobody did.
    pub asked_at: Option<DateTime<Utc>>,
    /// How many tickets got another code so far.
    pub done: i32,
    /// When the last one had it; absent while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Asks for every ticket that a key signed to be re-issued. Asking again while it goes on changes nothing; afterwards it begins anew. `tx` speaks for the
/// promoter.
///
/// # Errors
/// [`Fault`]; a conflict for the key that signs now, and for a festival in the archive.
pub async fn reissue_all(app: &App, mut tx: Transaction<'_, Postgres>, staff: &Staff, festival: FestivalId, key_id: u8) -> Result<KeyReissue, Fault> {
    let now = app.clock.now();
    if festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?.archived_at.is_some() {
        return Err(Fault::Conflict("the festival is in the archive".to_owned()));
    }
    festivals::is_rotated(&mut tx, festival, key_id).await?;
    let walk = store::begin_walk(&mut tx, festival, i16::from(key_id), now).await?;
    let act = Act {
        festival,
        actor: staff.actor,
        action: "key.reissued",
        object_kind: "signing_key",
        object_id: key_id.to_string(),
        before: None,
        after: Some(serde_json::json!({ "asked_at": walk.asked_at })),
    };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(walk)
}

/// How far it has come.
///
/// # Errors
/// [`Fault`].
pub async fn progress(conn: &mut PgConnection, festival: FestivalId, key_id: u8) -> Result<KeyReissue, Fault> {
    let key = keys::one(&mut *conn, festival, key_id).await?.ok_or(Fault::NotFound)?;
    let walk = store::walk(conn, festival, key.key_id).await?;
    Ok(walk.unwrap_or(KeyReissue { key_id: key.key_id, asked_at: None, done: 0, ended_at: None }))
}

/// Whether what a key signed is re-issued, or was: it may have leaked.
///
/// # Errors
/// What the database said.
pub async fn is_suspect(conn: &mut PgConnection, festival: FestivalId, key_id: i16) -> Result<bool, sqlx::Error> {
    Ok(store::walk(conn, festival, key_id).await?.is_some())
}

/// Re-issues the next tickets of every walk; called by a worker. Whoever holds one is told by email, an order once. What one festival's walk meets keeps
/// no other one back.
///
/// # Errors
/// What the database said.
pub async fn walk(app: &App) -> Result<usize, sqlx::Error> {
    let mut looked = 0;
    for festival in store::walking(&app.pools.work).await? {
        match walk_on(app, festival).await {
            Ok(tickets) => looked += tickets,
            Err(error) => tracing::warn!(%error, festival = festival.0, "re-issuing met an error; it goes on"),
        }
    }
    Ok(looked)
}

async fn walk_on(app: &App, festival: FestivalId) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut tx = app.pools.work.begin().await?;
    let Some((key_id, asked_at, after)) = store::next_walk(&mut tx, festival).await? else { return Ok(0) };
    // What was made just now may have neighbours that are not committed yet.
    let page: Vec<TicketId> = store::ids_between(&mut tx, festival, after, TicketId(id::first_at(now - SETTLED)), PAGE).await?;
    let Some(last) = page.last() else {
        // Tickets that were paid while the key was rotated come behind.
        if now - asked_at <= LATE {
            return Ok(0);
        }
        store::end_walk(&mut tx, festival, key_id, now).await?;
        tx.commit().await?;
        return Ok(1);
    };
    let signed = store::lock_signed(&mut tx, festival, key_id, &page).await?;
    store::advance_walk(&mut tx, festival, key_id, *last, i32::try_from(signed.len()).unwrap_or(i32::MAX)).await?;
    if let (Some(active), false) = (keys::active(&mut tx, festival).await?, signed.is_empty()) {
        let letters = tell(&mut tx, festival, &signed, asked_at, now).await?;
        let ids: Vec<TicketId> = signed.iter().map(|ticket| ticket.ticket_id).collect();
        store::insert_reissues(&mut tx, festival, &ids, &letters, now).await?;
        let first = festivals::take_positions(&mut tx, festival, "tickets", i64::try_from(ids.len()).unwrap_or(i64::MAX)).await?;
        store::reissue_many(&mut tx, festival, &ids, active, first).await?;
    }
    tx.commit().await?;
    Ok(page.len())
}

/// Writes the emails that tell of tickets: to a holder who left an address, else to the order, which is told once. The email that each ticket is told by.
async fn tell(
    conn: &mut PgConnection,
    festival: FestivalId,
    signed: &[store::Signed],
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Option<Uuid>>, sqlx::Error> {
    let orders: HashSet<OrderId> = signed.iter().map(|ticket| ticket.order_id).collect();
    let mut told: HashSet<OrderId> = store::told(&mut *conn, festival, &orders.into_iter().collect::<Vec<_>>(), asked_at).await?.into_iter().collect();
    let (mut letters, mut drafts) = (Vec::with_capacity(signed.len()), Vec::new());
    for ticket in signed {
        let letter = match &ticket.holder_email {
            Some(holder) => Some((holder, "ticket_changed")),
            None => told.insert(ticket.order_id).then_some((&ticket.email, "codes_changed")),
        };
        letters.push(letter.map(|(recipient, kind)| {
            let thing = id::fresh(festival, now);
            drafts.push(Draft { thing, kind, lane: Lane::Bulk, language: ticket.language, recipient: recipient.clone() });
            thing
        }));
    }
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    mail::queue(conn, festival, &drafts, now, due_at).await?;
    Ok(letters)
}
