//! What a fan may give back without asking anybody: tickets that nobody used or took, until some hours before the first festival day, less a share that is
//! kept. An order is under the rule that was in force when it was placed.

mod store;

pub(super) use store::{free_tickets, goes_along};

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection};

use super::{Asked, Part, Quote, Refund, RefundError, RefundReason};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act, Actor},
    fault::Fault,
    festivals,
    id::{FestivalId, OrderId, TicketId},
    money::Money,
    orders::{self, Held, OrderStatus},
    postgres,
    tickets::{Ticket, TicketStatus},
};

/// The rule by which fans give tickets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct RefundRule {
    /// How many hours before the first festival day opens it ends.
    #[oai(validator(minimum(value = "0"), maximum(value = "8760")))]
    pub hours_before: i32,
    /// What is kept of the price, in parts per million: 10 % is 100000.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000")))]
    #[sqlx(try_from = "i32")]
    pub kept_ppm: u32,
}

/// What a fan may give back now.
#[derive(Clone, Debug, Object)]
pub struct ReturnTerms {
    /// Until when.
    pub until: DateTime<Utc>,
    /// What is kept of the price, in parts per million.
    pub kept_ppm: u32,
    /// The tickets: valid, never scanned in, and not taken by their holders.
    pub ticket_ids: Vec<TicketId>,
}

/// The rule of a festival that orders are placed under now.
///
/// # Errors
/// What the database said.
pub async fn rule(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Option<RefundRule>, sqlx::Error> {
    store::in_force(conn, festival, now).await
}

/// Sets the rule for orders that are placed from now on; `None` ends it. Orders of before stay under theirs.
///
/// # Errors
/// [`Fault`].
pub async fn set_rule(app: &App, staff: &Staff, festival: FestivalId, rule: Option<RefundRule>) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::in_force(&mut tx, festival, now).await?;
    if before == rule {
        return Ok(());
    }
    store::insert(&mut tx, festival, rule, now).await?;
    let said = |rule: RefundRule| serde_json::json!({ "hours_before": rule.hours_before, "kept_ppm": rule.kept_ppm });
    let (action, object_kind, object_id) = ("refund_rule.set", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: before.map(said), after: rule.map(said) }, now).await?;
    tx.commit().await?;
    Ok(())
}

/// What a fan may give back of an order now; `None` where nothing can be given back.
///
/// # Errors
/// What the database said.
pub async fn terms(conn: &mut PgConnection, order: OrderId, now: DateTime<Utc>) -> Result<Option<ReturnTerms>, sqlx::Error> {
    let festival = order.festival();
    let Some(rule) = store::of_order(&mut *conn, order).await? else { return Ok(None) };
    let Some(opens_at) = festivals::first_opening(&mut *conn, festival).await? else { return Ok(None) };
    let until = opens_at - TimeDelta::hours(i64::from(rule.hours_before));
    if now > until {
        return Ok(None);
    }
    let ticket_ids = store::free_tickets(conn, order).await?;
    Ok(if ticket_ids.is_empty() { None } else { Some(ReturnTerms { until, kept_ppm: rule.kept_ppm, ticket_ids }) })
}

/// What giving tickets back would bring, for whoever has the link of their order.
///
/// # Errors
/// [`RefundError`].
pub async fn quote(app: &App, id: OrderId, secret: &str, tickets: &[TicketId]) -> Result<Quote, RefundError> {
    let mut tx = app.pools.web.begin().await?;
    let order = locked(app, &mut tx, id, secret).await?;
    let asked = asked(app, &mut tx, &order, tickets).await?;
    let (plan, _, amount) = super::planned(&mut tx, &order, &asked).await?;
    Ok(Quote { amount, items: plan.items, ticket_ids: plan.tickets, used: plan.used as u64 })
}

/// Gives tickets back by the rule of their order, for whoever has its link. The same key gets the same refund again.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NotByRule`] when the rule does not allow it.
pub async fn give_back(app: &App, id: OrderId, secret: &str, tickets: &[TicketId], key: &str, expected: Option<Money>) -> Result<Refund, RefundError> {
    let key_hash = orders::short_hash(&[b"return", id.0.as_bytes(), key.as_bytes()]);
    let fingerprint = orders::short_hash(&[format!("{tickets:?}").as_bytes()]);
    let mut tx = app.pools.web.begin().await?;
    let order = locked(app, &mut tx, id, secret).await?;
    if let Some(same) = super::store::by_key(&mut tx, id, &key_hash).await? {
        return if same.fingerprint.as_deref() == Some(&fingerprint[..]) { Ok(same) } else { Err(RefundError::KeyReused) };
    }
    let asked = asked(app, &mut tx, &order, tickets).await?;
    let asking = super::Asking { asked: &asked, payment: None, actor: Actor::Fan, key_hash, fingerprint };
    let refund = super::ask(app, &mut tx, &order, &asking, |plan| {
        let amount = Money::new(plan.minor() - asked.kept_minor, order.currency);
        match expected {
            Some(expected) if expected != amount => Err(RefundError::Amount(amount)),
            _ if plan.used > 0 => Err(RefundError::NotByRule),
            _ => Ok(()),
        }
    })
    .await?;
    postgres::commit(tx).await?;
    Ok(refund)
}

async fn locked(app: &App, conn: &mut PgConnection, id: OrderId, secret: &str) -> Result<Held, RefundError> {
    let order = orders::lock(conn, id.festival(), &[id]).await?.pop();
    order.filter(|order| order.is_link(app, secret)).ok_or(RefundError::NotFound)
}

/// What the rule makes of tickets of a locked order: an album that was heard is not returned with its ticket, the fee goes with a whole unit by its own
/// rule, and the share that is kept is rounded down.
async fn asked<'a>(app: &App, conn: &mut PgConnection, order: &Held, tickets: &[TicketId]) -> Result<Asked<'a>, RefundError> {
    let id = order.order_id;
    if !matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded) {
        return Err(RefundError::NotPaid(order.status));
    }
    let terms = terms(&mut *conn, id, app.clock.now()).await?.ok_or(RefundError::NotByRule)?;
    if tickets.is_empty() {
        return Err(RefundError::Wrong("/ticket_ids".to_owned(), "at least one ticket".to_owned()));
    }
    if let Some(i) = tickets.iter().position(|ticket| !terms.ticket_ids.contains(ticket)) {
        return Err(RefundError::Wrong(format!("/ticket_ids/{i}"), "no ticket of this order that can be given back".to_owned()));
    }
    let own: Vec<Ticket> = crate::tickets::lock_all(conn, id.festival(), tickets).await?.into_iter().filter(|t| t.status == TicketStatus::Valid).collect();
    // One that changed since it was looked at is none that the rule lets go.
    let mut named = tickets.to_vec();
    named.sort_unstable();
    named.dedup();
    if own.len() != named.len() {
        return Err(RefundError::NotByRule);
    }
    let mut parts: Vec<Part> = Vec::new();
    for ticket in own {
        let same = |part: &&mut Part| (part.line_no, part.component_no) == (ticket.line_no, Some(ticket.component_no));
        match parts.iter_mut().find(same) {
            Some(part) => part.ticket_ids.push(ticket.ticket_id),
            None => {
                parts.push(Part { line_no: ticket.line_no, component_no: Some(ticket.component_no), ticket_ids: vec![ticket.ticket_id], ..Part::default() });
            }
        }
    }
    let left = super::plan::left(&mut *conn, id).await?;
    for (line_no, component_no, units) in store::goes_along(&mut *conn, id, tickets).await? {
        // What is on its way back is not there any more.
        let there = left.iter().find(|l| (l.line_no, l.component_no) == (line_no, component_no)).map_or(0, |l| l.units);
        let units = units.min(there);
        if units == 0 {
            continue;
        }
        parts.push(Part { line_no, component_no: Some(component_no), units: Some(units), ..Part::default() });
    }
    let mut asked = Asked { order_id: id, parts, kept_minor: 0, keep_fees: None, currency: None, reason: RefundReason::Asked, note: "" };
    let (plan, ..) = super::planned(conn, order, &asked).await?;
    asked.kept_minor = i64::try_from(i128::from(plan.minor()) * i128::from(terms.kept_ppm) / 1_000_000).unwrap_or(0);
    Ok(asked)
}
