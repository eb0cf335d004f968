//! A signing key leaked: every ticket that it signed gets another code, by the key of now. A worker walks through the tickets of the festival; it begins
//! where it stopped, and any number of servers may run it.

mod store;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use sqlx::FromRow;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    festivals,
    id::{self, FestivalId, TicketId},
    keys,
    mail::{self, Draft, Lane},
};

/// Tickets that are looked at in one transaction.
const PAGE: i64 = 500;
/// How long tickets may still be issued by the key of before: servers know of another one within seconds.
const LATE: TimeDelta = TimeDelta::minutes(1);

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

/// Why nothing is re-issued.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// No such festival or key.
    #[error("no such key")]
    NotFound,
    /// The key signs new tickets.
    #[error("this key signs new tickets: rotate first")]
    Active,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Asks for every ticket that a key signed to be re-issued. Asking again while it goes on changes nothing; afterwards it begins anew.
///
/// # Errors
/// [`WalkError`].
pub async fn reissue_all(app: &App, staff: &Staff, festival: FestivalId, key_id: u8) -> Result<KeyReissue, WalkError> {
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(WalkError::NotFound);
    }
    let listed = keys::listed(&mut tx, festival).await?;
    let key = listed.iter().find(|key| key.key_id == i16::from(key_id)).ok_or(WalkError::NotFound)?;
    if key.is_active() {
        return Err(WalkError::Active);
    }
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
/// [`WalkError`].
pub async fn progress(app: &App, staff: &Staff, festival: FestivalId, key_id: u8) -> Result<KeyReissue, WalkError> {
    let mut tx = app.pools.web.begin().await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(WalkError::NotFound);
    }
    let key_id = i16::from(key_id);
    if !keys::listed(&mut tx, festival).await?.iter().any(|key| key.key_id == key_id) {
        return Err(WalkError::NotFound);
    }
    Ok(store::walk(&mut tx, festival, key_id).await?.unwrap_or(KeyReissue { key_id, asked_at: None, done: 0, ended_at: None }))
}

/// Re-issues the next tickets of every walk; called by a worker. Whoever holds one is told by email, an order once.
///
/// # Errors
/// What the database said.
pub async fn walk(app: &App) -> Result<usize, sqlx::Error> {
    let mut looked = 0;
    for festival in festivals::every(&app.pools.work).await? {
        looked += walk_on(app, festival.festival_id).await?;
    }
    Ok(looked)
}

async fn walk_on(app: &App, festival: FestivalId) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut tx = app.pools.work.begin().await?;
    let Some((key_id, asked_at, after)) = store::next_walk(&mut tx, festival).await? else { return Ok(0) };
    let page: Vec<TicketId> = store::ids_after(&mut tx, festival, after, PAGE).await?;
    let Some(last) = page.last() else {
        // Tickets that were paid while the key was rotated come behind.
        if now - asked_at > LATE {
            store::end_walk(&mut tx, festival, key_id, now).await?;
            tx.commit().await?;
            return Ok(1);
        }
        return Ok(0);
    };
    let signed = store::lock_signed(&mut tx, festival, key_id, &page).await?;
    if let (Some(active), false) = (keys::active(&mut tx, festival).await?, signed.is_empty()) {
        let mut told = HashSet::new();
        let mut letters = Vec::with_capacity(signed.len());
        let mut drafts = Vec::new();
        for ticket in &signed {
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
        let ids: Vec<TicketId> = signed.iter().map(|ticket| ticket.ticket_id).collect();
        store::insert_reissues(&mut tx, festival, &ids, &letters, now).await?;
        let first = festivals::take_positions(&mut tx, festival, "tickets", i64::try_from(ids.len()).unwrap_or(i64::MAX)).await?;
        store::reissue_many(&mut tx, festival, &ids, active, first).await?;
        mail::queue(&mut tx, festival, &drafts, now, now).await?;
    }
    store::advance_walk(&mut tx, festival, key_id, *last, i32::try_from(signed.len()).unwrap_or(i32::MAX)).await?;
    tx.commit().await?;
    Ok(page.len())
}
