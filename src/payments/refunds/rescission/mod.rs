//! Who bought an album at a distance may withdraw from that contract for fourteen days, until they first hear it (Directive 2011/83/EU, Articles 9 and 16 m;
//! the button of Article 11a since Directive (EU) 2023/2673): in two steps, without signing in, confirmed by an email. A pass for a date cannot be withdrawn from
//! (Article 16 l). First playing or saving it is the consent that ends the right, and the page says so beside the button.

pub mod api;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection};

use super::{Asked, Asking, Part, Quote, Refund, RefundError, RefundReason};
use crate::{
    app::App,
    audit::Actor,
    id::{OrderId, ReleaseId},
    mail::{self, Draft, Lane},
    money::Money,
    orders::{self, Held, OrderStatus},
    postgres,
};

/// How long the right lasts from the day of the contract on.
pub const RIGHT: TimeDelta = TimeDelta::days(14);

/// An album of an order that nobody heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, FromRow)]
pub struct Unheard {
    /// Its line.
    pub line_no: i16,
    /// Its component.
    pub component_no: i16,
    /// The album.
    pub release_id: ReleaseId,
    /// Copies that nobody took.
    pub copies: i32,
}

/// What an order may still be withdrawn from.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct RescissionTerms {
    /// Until when.
    pub until: DateTime<Utc>,
    /// The albums.
    pub albums: Vec<Unheard>,
}

/// What an order may be withdrawn from now; nothing where it is too late or everything was heard.
///
/// # Errors
/// What the database said.
pub async fn terms(conn: &mut PgConnection, order: OrderId, now: DateTime<Utc>) -> Result<Option<RescissionTerms>, sqlx::Error> {
    let Some(paid_at) = store::paid_at(&mut *conn, order).await? else { return Ok(None) };
    let until = paid_at + RIGHT;
    if now > until {
        return Ok(None);
    }
    let left = super::plan::left(&mut *conn, order).await?;
    let mut albums = store::unheard(conn, order).await?;
    for album in &mut albums {
        // What is on its way back is not there any more; what cost nothing was no contract.
        let there = left.iter().find(|l| (l.line_no, l.component_no) == (album.line_no, album.component_no) && l.minor > 0);
        album.copies = album.copies.min(there.map_or(0, |l| l.units));
    }
    albums.retain(|album| album.copies > 0);
    Ok((!albums.is_empty()).then_some(RescissionTerms { until, albums }))
}

/// What withdrawing would bring, for whoever has the link of the order.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NotByRule`] when there is nothing to withdraw from.
pub async fn quote(app: &App, id: OrderId, secret: &str) -> Result<Quote, RefundError> {
    let mut tx = app.pools.web.begin().await?;
    let order = locked(app, &mut tx, id, secret).await?;
    let asked = asked(&mut tx, &order, app.clock.now()).await?;
    let (plan, _, amount) = super::planned(&mut tx, &order, &asked).await?;
    Ok(Quote { amount, items: plan.items, ticket_ids: plan.tickets, used: plan.used as u64 })
}

/// Withdraws from the contract about every album of an order that nobody heard, for whoever has its link: the money of them goes back, and an email confirms
/// when it was said. The same key gets the same refund again.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NotByRule`] when there is nothing to withdraw from.
pub async fn rescind(app: &App, id: OrderId, secret: &str, key: &str, expected: Option<Money>) -> Result<Refund, RefundError> {
    let (festival, now) = (id.festival(), app.clock.now());
    let key_hash = orders::short_hash(&[b"rescission", id.0.as_bytes(), key.as_bytes()]);
    let mut tx = app.pools.web.begin().await?;
    let order = locked(app, &mut tx, id, secret).await?;
    if let Some(same) = super::store::by_key(&mut tx, id, &key_hash).await? {
        return Ok(same);
    }
    let asked = asked(&mut tx, &order, now).await?;
    let asking = Asking { asked: &asked, payment: None, actor: Actor::Fan, key_hash, fingerprint: key_hash };
    let refund = super::ask(app, &mut tx, &order, &asking, |plan| {
        let amount = Money::new(plan.minor(), order.currency);
        match expected {
            Some(expected) if expected != amount => Err(RefundError::Amount(amount)),
            _ if plan.used > 0 => Err(RefundError::NotByRule),
            _ => Ok(()),
        }
    })
    .await?;
    // The law wants it confirmed at once: it does not wait for the house.
    let letter = Draft { thing: refund.refund_id.0, kind: "rescinded", lane: Lane::Claim, language: order.language, recipient: order.email.clone() };
    let due_at = crate::festivals::mail_due(&mut tx, festival, now).await?;
    mail::queue(&mut tx, festival, &[letter], now, due_at).await?;
    postgres::commit(tx).await?;
    Ok(refund)
}

async fn locked(app: &App, conn: &mut PgConnection, id: OrderId, secret: &str) -> Result<Held, RefundError> {
    let order = orders::lock(conn, id.festival(), &[id]).await?.pop();
    order.filter(|order| order.is_link(app, secret)).ok_or(RefundError::NotFound)
}

async fn asked<'a>(conn: &mut PgConnection, order: &Held, now: DateTime<Utc>) -> Result<Asked<'a>, RefundError> {
    if !matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded) {
        return Err(RefundError::NotPaid(order.status));
    }
    let terms = terms(conn, order.order_id, now).await?.ok_or(RefundError::NotByRule)?;
    let part = |album: &Unheard| Part { line_no: album.line_no, component_no: Some(album.component_no), units: Some(album.copies), ..Part::default() };
    let parts = terms.albums.iter().map(part).collect();
    Ok(Asked { order_id: order.order_id, parts, kept_minor: 0, keep_fees: None, currency: None, reason: RefundReason::Rescinded, note: "" })
}
