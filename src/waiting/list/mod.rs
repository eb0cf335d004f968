//! The waiting list of an offer: who wants what is sold out, in the order of coming, and is invited when it becomes free.
//!
//! ```text
//! waiting -> invited (an order is held for them) | left | dropped (the sale is over, or they may have no more of it)
//! ```
//!
//! Invited is who came first of those whose quantity is free. What a line waits for is promised to it ([`crate::offers::demand`]): nobody passes it by.
//! **Invariant:** an invitation holds stock, and there is one for each wait.

pub mod api;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use crate::{
    accounts::{Staff, email_key, is_address},
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::{FestivalId, OfferId, OrderId, WaitId},
    mail::{self, Draft, Lane},
    offers::{self, Availability, Offer, demand},
    secrets::Purpose,
    words::Language,
};

pub use store::{before, first_in_line, lock_waiting, wait};

/// The state of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum WaitStatus {
    /// Others are before it, or nothing is free.
    Waiting,
    /// An order is held for it.
    Invited,
    /// It was given up.
    Left,
    /// The sale is over, or its address may have no more.
    Dropped,
}

impl WaitStatus {
    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Invited => "invited",
            Self::Left => "left",
            Self::Dropped => "dropped",
        }
    }
}

/// Somebody on a waiting list: who, for what, how many.
#[derive(Clone, Debug, FromRow)]
pub struct Wait {
    /// Its id.
    pub wait_id: WaitId,
    /// What is waited for.
    pub offer_id: OfferId,
    /// How many.
    pub quantity: i32,
    /// Its state.
    pub status: WaitStatus,
    /// Who waits.
    pub email: String,
    /// The key of their address.
    pub email_key: String,
    /// Their name, where they gave one.
    pub name: String,
    /// Their language.
    pub language: Language,
    /// When they came.
    pub joined_at: DateTime<Utc>,
    /// The order that is held for them.
    pub order_id: Option<OrderId>,
}

impl Wait {
    /// The link of whoever waits.
    #[must_use]
    pub fn url(&self, app: &App) -> String {
        format!("{}/q/{}/{}", app.settings.public_url, self.wait_id, app.secrets.link(Purpose::WaitingListLink, self.wait_id.0, 0))
    }
}

/// Who wants to wait, and for how many.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Their address.
    pub email: String,
    /// Their name; may be empty.
    pub name: String,
    /// Their language.
    pub language: Language,
    /// How many.
    pub quantity: i32,
}

/// Why somebody cannot wait.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No such offer, or none that fans see.
    #[error("no such offer")]
    NotFound,
    /// A place of the request and what is wrong with it.
    #[error("{1} ({0})")]
    Invalid(&'static str, String),
    /// It can be had: nobody needs to wait.
    #[error("it is on sale")]
    OnSale,
    /// Its sale is over or has not opened, or its list is closed.
    #[error("nobody waits for it")]
    Closed,
    /// The list is full.
    #[error("the list is full")]
    Full,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Whether people may wait for an offer now; pure.
#[must_use]
pub fn takes(offer: &Offer, availability: Availability) -> bool {
    // What needs another offer beside it cannot be held for somebody alone.
    offer.published && !offer.hidden && offer.requirements.is_empty() && matches!(availability, Availability::SoldOut | Availability::HeldOut)
}

/// Takes somebody onto the list of an offer; an email says so and leads to their wait. An address has one wait in a line: joining again changes nothing,
/// and nobody learns from the answer who waits.
///
/// # Errors
/// [`JoinError`].
pub async fn join(app: &App, offer_id: OfferId, joining: &Joining) -> Result<(), JoinError> {
    let (festival, now) = (offer_id.festival(), app.clock.now());
    if !is_address(&joining.email) {
        return Err(JoinError::Invalid("/email", "not an email address".to_owned()));
    }
    let has_begun = festivals::has_begun(&app.pools.web, festival, now).await?;
    let (on_shelf, stocks) = demand::on_shelf(&app.pools.web, festival, now).await?;
    let offer = on_shelf.into_iter().find(|offer| offer.offer_id == offer_id && offer.published && !offer.hidden).ok_or(JoinError::NotFound)?;
    let most = offer.max_per_fan.map_or(offer.max_per_order, |max| max.min(offer.max_per_order));
    if !(1..=most).contains(&joining.quantity) {
        return Err(JoinError::Invalid("/quantity", format!("between 1 and {most}")));
    }
    let on_sale = offers::on_sale(offer, &stocks, now, None);
    if has_begun || !takes(&on_sale.offer, on_sale.availability) {
        let can_be_had = matches!(on_sale.availability, Availability::OnSale | Availability::FewLeft);
        return Err(if can_be_had && !has_begun { JoinError::OnSale } else { JoinError::Closed });
    }
    let mut tx = app.pools.web.begin().await?;
    if !demand::list(&mut tx, offer_id).await?.is_open {
        return Err(JoinError::Closed);
    }
    let wait_id = WaitId::fresh(festival, now);
    if store::insert(&mut tx, wait_id, offer_id, joining, &email_key(&joining.email), now).await? {
        demand::add(&mut tx, offer_id, joining.quantity, 1).await.map_err(full)?;
        let draft = Draft { thing: wait_id.0, kind: "waiting_joined", lane: Lane::Claim, language: joining.language, recipient: joining.email.clone() };
        let due_at = festivals::mail_due(&mut tx, festival, now).await?;
        mail::queue(&mut tx, festival, &[draft], now, due_at).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn full(error: sqlx::Error) -> JoinError {
    match &error {
        sqlx::Error::Database(e) if e.constraint() == Some("waiting_lists_people") => JoinError::Full,
        _ => JoinError::Database(error),
    }
}

/// Gives a wait up. Doing it again changes nothing; who was invited gives the order up instead.
///
/// # Errors
/// What the database said.
pub async fn leave(app: &App, wait: &Wait) -> Result<(), sqlx::Error> {
    let mut tx = app.pools.web.begin().await?;
    end(&mut tx, wait.wait_id.festival(), &[wait], WaitStatus::Left, None, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends open waits: what they asked for is asked for no more. Joins the transaction; what does not wait any more stays as it is.
async fn end(
    conn: &mut PgConnection,
    festival: FestivalId,
    waits: &[&Wait],
    status: WaitStatus,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<WaitId> = waits.iter().map(|wait| wait.wait_id).collect();
    let ended = store::end(conn, festival, &ids, status, reason, now).await?;
    for (offer, units, people) in ended {
        demand::add(conn, offer, -units, -people).await?;
    }
    Ok(())
}

/// Drops waits whose address may have no more of it, or whose sale is over.
///
/// # Errors
/// What the database said.
pub async fn drop_from_line(app: &App, waits: &[&Wait], reason: &str) -> Result<(), sqlx::Error> {
    let Some(first) = waits.first() else { return Ok(()) };
    let mut tx = app.pools.work.begin().await?;
    end(&mut tx, first.wait_id.festival(), waits, WaitStatus::Dropped, Some(reason), app.clock.now()).await?;
    tx.commit().await
}

/// Locked waits become invited by the orders that are held for them, and an email says so. Joins the transaction that holds the stock.
///
/// # Errors
/// What the database said.
pub async fn invited(conn: &mut PgConnection, festival: FestivalId, invitations: &[(Wait, OrderId)], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    for (offer, units, people) in store::invite(&mut *conn, festival, invitations, now).await? {
        demand::add(conn, offer, -units, -people).await?;
    }
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    let drafts: Vec<Draft> = invitations
        .iter()
        .map(|(wait, _)| Draft { thing: wait.wait_id.0, kind: "waiting_invited", lane: Lane::Claim, language: wait.language, recipient: wait.email.clone() })
        .collect();
    mail::queue(conn, festival, &drafts, now, due_at).await
}

/// How long an address is remembered after its wait ended.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// Forgets the addresses of waits that ended a month ago; how many. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn forget(app: &App) -> Result<u64, sqlx::Error> {
    store::forget(&app.pools.work, app.clock.now() - REMEMBERED).await
}

/// A waiting list as its promoter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object)]
#[oai(rename = "WaitingList")]
pub struct Listing {
    /// Whether people may join.
    pub open: bool,
    /// How long an invitation lasts, in hours.
    pub invitation_hours: i32,
    /// Units that are waited for.
    pub units: i32,
    /// Who waits.
    pub people: i32,
    /// Who was invited and has not paid yet.
    pub invited: i64,
    /// Who was invited and paid.
    pub bought: i64,
}

/// The waiting list of an offer.
///
/// # Errors
/// [`Fault::NotFound`] where the offer is not yours.
pub async fn listing(app: &App, staff: &Staff, offer: OfferId) -> Result<Listing, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    owned(&mut tx, staff, offer).await?;
    let list = demand::list(&mut tx, offer).await?;
    let (invited, bought) = store::outcomes(&mut tx, offer).await?;
    Ok(Listing { open: list.is_open, invitation_hours: list.invitation_hours, units: list.units, people: list.people, invited, bought })
}

async fn owned(conn: &mut PgConnection, staff: &Staff, offer: OfferId) -> Result<(), Fault> {
    festivals::owned(&mut *conn, staff.promoter, offer.festival()).await?.ok_or(Fault::NotFound)?;
    let there = offers::offers_in(conn, offer.festival()).await?.iter().any(|o| o.offer_id == offer);
    if there { Ok(()) } else { Err(Fault::NotFound) }
}

/// Says whether people may join a list, and how long an invitation lasts. Who waits stays, and what was said to whoever is invited holds.
///
/// # Errors
/// [`Fault`].
pub async fn set(app: &App, staff: &Staff, offer: OfferId, is_open: bool, invitation_hours: i32) -> Result<(), Fault> {
    let (festival, now) = (offer.festival(), app.clock.now());
    let mut tx = app.for_promoter(staff.promoter).await?;
    owned(&mut tx, staff, offer).await?;
    let before = demand::list(&mut tx, offer).await?;
    if (before.is_open, before.invitation_hours) == (is_open, invitation_hours) {
        return Ok(());
    }
    demand::set_terms(&mut tx, offer, is_open, invitation_hours).await?;
    let said = |open: bool, hours: i32| Some(serde_json::json!({ "open": open, "invitation_hours": hours }));
    let (action, object_kind, object_id) = ("waiting_list.set", "offer", offer.to_string());
    let (before, after) = (said(before.is_open, before.invitation_hours), said(is_open, invitation_hours));
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before, after }, now).await?;
    tx.commit().await?;
    Ok(())
}
