//! Tickets that are handed back to the pool at face value: whoever waits is invited to them, and the money goes back when they are paid.
//!
//! ```text
//! open -> offered (somebody is invited) -> sold
//!   |       `-> open again (the invitation passed)
//!   `-> withdrawn | over (used, passed on, or too late)
//! ```
//!
//! Open, a ticket is its holder's and valid. Offered, it is suspended and its unit is the pool's: the list is promised it and the invitation holds it, so it
//! is never had twice. Sold, it is returned by a refund like others, but for its stock, which went already. **Invariant:** a ticket is suspended without a
//! refund only while it is offered.

pub mod api;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use super::{Asked, Asking, Part, RefundError, RefundReason, rule};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act, Actor},
    batcher::Trouble,
    breaker::Breaker,
    fault::Fault,
    festivals,
    id::{FestivalId, HandBackId, OfferId, OrderId, RefundId, TicketId, WaitId},
    offers::{self, Taken, demand},
    orders::{self, Held, OrderStatus},
    postgres, sabotage,
    tickets::{self, Ticket, TicketStatus},
    waiting::list::{self, WaitStatus},
};

pub use store::of_order;
pub(super) use store::{already_free, end_of, first_offered};

/// How long a wait that was promised a ticket may wait for its invitation before the ticket is its holder's again.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// How many tickets and waits of an offer one step looks at.
const STEP: i64 = 100;

/// The state of a ticket that is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum HandBackStatus {
    /// It is its holder's and valid until somebody is invited.
    Open,
    /// Somebody is invited: it opens nothing until that is decided.
    Offered,
    /// Somebody has it, and its money goes back.
    Sold,
    /// Its buyer took it back.
    Withdrawn,
    /// It was used or passed on, or nobody wanted it in time.
    Over,
}

impl HandBackStatus {
    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Offered => "offered",
            Self::Sold => "sold",
            Self::Withdrawn => "withdrawn",
            Self::Over => "over",
        }
    }
}

/// A ticket that is handed back.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct HandBack {
    /// Its id.
    pub hand_back_id: HandBackId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The order.
    pub order_id: OrderId,
    /// Its state.
    pub status: HandBackStatus,
    /// Since when.
    pub asked_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The refund that brings its money back.
    pub refund_id: Option<RefundId>,
    #[oai(skip)]
    line_no: i16,
    #[oai(skip)]
    component_no: i16,
    #[oai(skip)]
    offer_id: OfferId,
    #[oai(skip)]
    tier_no: i16,
    #[oai(skip)]
    wait_id: Option<WaitId>,
    #[oai(skip)]
    offered_at: Option<DateTime<Utc>>,
}

/// The rule by which tickets are handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct HandBackRule {
    /// Whether tickets may be handed back at all.
    pub open: bool,
    /// How many hours before the festival first opens that ends.
    #[oai(validator(minimum(value = "0"), maximum(value = "8760")))]
    pub hours_before: i32,
}

impl Default for HandBackRule {
    fn default() -> Self {
        Self { open: true, hours_before: 24 }
    }
}

/// Until when tickets may be handed back; nothing where they may not.
async fn until(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let rule = store::rule(&mut *conn, festival).await?;
    let Some(opens) = festivals::first_opening(conn, festival).await? else { return Ok(None) };
    Ok(rule.open.then(|| opens - TimeDelta::hours(i64::from(rule.hours_before))))
}

/// The rule of a festival.
///
/// # Errors
/// What the database said.
pub async fn rule_of(conn: &mut PgConnection, festival: FestivalId) -> Result<HandBackRule, sqlx::Error> {
    store::rule(conn, festival).await
}

/// Sets the rule. What is in the pool stays there until the new one ends it.
///
/// # Errors
/// [`Fault`].
pub async fn set_rule(app: &App, staff: &Staff, festival: FestivalId, rule: HandBackRule) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::rule(&mut tx, festival).await?;
    if before == rule {
        return Ok(());
    }
    store::set_rule(&mut tx, festival, rule).await?;
    let said = |rule: HandBackRule| Some(serde_json::json!({ "open": rule.open, "hours_before": rule.hours_before }));
    let (action, object_kind, object_id) = ("hand_back_rule.set", "festival", festival.0.to_string());
    audit::record(&mut tx, Act { festival, actor: staff.actor, action, object_kind, object_id, before: said(before), after: said(rule) }, now).await?;
    tx.commit().await?;
    Ok(())
}

/// The tickets of an order that may be handed back now, and until when: those of paid units with one ticket each, unused, not taken by a holder, not in the
/// pool yet.
///
/// # Errors
/// What the database said.
pub async fn offered(conn: &mut PgConnection, order: OrderId, now: DateTime<Utc>) -> Result<Option<(Vec<TicketId>, DateTime<Utc>)>, sqlx::Error> {
    let Some(until) = until(&mut *conn, order.festival()).await?.filter(|until| now < *until) else { return Ok(None) };
    let free = rule::free_tickets(&mut *conn, order).await?;
    let single = store::single_tickets(conn, order).await?;
    let tickets: Vec<TicketId> = free.into_iter().filter(|ticket| single.iter().any(|s| s.ticket_id == *ticket)).collect();
    Ok((!tickets.is_empty()).then_some((tickets, until)))
}

/// A ticket whose unit has no other, with what it is a unit of.
#[derive(Clone, Copy, Debug, FromRow)]
struct Single {
    ticket_id: TicketId,
    line_no: i16,
    component_no: i16,
    offer_id: OfferId,
    tier_no: i16,
}

/// Hands tickets of an order back to the pool, for whoever has its link. What is there already stays.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NotByRule`] when the rule or the state of a ticket does not allow it.
pub async fn hand_back(app: &App, id: OrderId, secret: &str, wanted: &[TicketId]) -> Result<Vec<HandBack>, RefundError> {
    let (festival, now) = (id.festival(), app.clock.now());
    let mut tx = app.pools.web.begin().await?;
    let order = locked(app, &mut tx, id, secret).await?;
    if !matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded) {
        return Err(RefundError::NotPaid(order.status));
    }
    if order.total_minor == 0 {
        return Err(RefundError::NotByRule);
    }
    let there = store::in_pool(&mut tx, id).await?;
    let (free, _) = offered(&mut tx, id, now).await?.unwrap_or_default();
    let single = store::single_tickets(&mut tx, id).await?;
    if wanted.is_empty() {
        return Err(RefundError::Wrong("/ticket_ids".to_owned(), "at least one ticket".to_owned()));
    }
    let mut new: Vec<(HandBackId, Single)> = Vec::new();
    for (i, ticket) in wanted.iter().enumerate() {
        if there.iter().any(|h| h.ticket_id == *ticket) || new.iter().any(|(_, s)| s.ticket_id == *ticket) {
            continue;
        }
        let one = single.iter().find(|one| one.ticket_id == *ticket && free.contains(ticket));
        let one = one.ok_or_else(|| RefundError::Wrong(format!("/ticket_ids/{i}"), "no ticket of this order that can be handed back".to_owned()))?;
        new.push((HandBackId::fresh(festival, now), *one));
    }
    tickets::lock_all(&mut tx, festival, wanted).await?;
    store::insert(&mut tx, id, &new, now).await?;
    let all = store::in_pool(&mut tx, id).await?;
    postgres::commit(tx).await?;
    Ok(all)
}

/// Takes a ticket out of the pool again, while nobody is invited to it. Doing it again changes nothing.
///
/// # Errors
/// [`RefundError`]; [`RefundError::NotByRule`] when somebody is invited or has it.
pub async fn withdraw(app: &App, id: OrderId, secret: &str, hand_back: HandBackId) -> Result<HandBack, RefundError> {
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    locked(app, &mut tx, id, secret).await?;
    let found = store::lock(&mut tx, hand_back).await?.filter(|h| h.order_id == id).ok_or(RefundError::NotFound)?;
    match found.status {
        HandBackStatus::Withdrawn => return Ok(found),
        HandBackStatus::Open => {}
        HandBackStatus::Offered | HandBackStatus::Sold | HandBackStatus::Over => return Err(RefundError::NotByRule),
    }
    store::end(&mut tx, hand_back, HandBackStatus::Withdrawn, None, now).await?;
    let ended = store::lock(&mut tx, hand_back).await?.ok_or(RefundError::NotFound)?;
    postgres::commit(tx).await?;
    Ok(ended)
}

async fn locked(app: &App, conn: &mut PgConnection, id: OrderId, secret: &str) -> Result<Held, RefundError> {
    let order = orders::lock(conn, id.festival(), &[id]).await?.pop();
    order.filter(|order| order.is_link(app, secret)).ok_or(RefundError::NotFound)
}

/// Moves the pool on: what was paid is given back, what was passed by is its holder's again, and whoever waits is offered what is there. Returns how many
/// tickets moved. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn move_on(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut moved = 0;
    for offer in store::offers_with_pool(&app.pools.work).await? {
        // A pool that cannot be moved does not keep the others.
        match step(app, offer, now).await {
            Ok(done) => moved += done,
            Err(error) => tracing::warn!(%offer, %error, "a pool of tickets could not be moved; the next round tries again"),
        }
    }
    Ok(moved)
}

async fn step(app: &App, offer: OfferId, now: DateTime<Utc>) -> Result<usize, RefundError> {
    let mut moved = 0;
    let mut after = HandBackId(uuid::Uuid::nil());
    loop {
        let page = store::pool(&app.pools.work, offer, HandBackStatus::Offered, after, STEP).await?;
        for one in &page {
            match settle(app, one, now).await {
                Ok(done) => moved += usize::from(done),
                // One that cannot be moved just now, because a bank takes its money back, does not keep the others.
                Err(error) => tracing::warn!(hand_back = %one.hand_back_id, %error, "a ticket in the pool could not be moved; the next round tries again"),
            }
        }
        match page.last() {
            Some(last) if page.len() >= usize::try_from(STEP).unwrap_or(usize::MAX) => after = last.hand_back_id,
            _ => break,
        }
    }
    let pool = store::pool(&app.pools.work, offer, HandBackStatus::Open, HandBackId(uuid::Uuid::nil()), STEP).await?;
    let mut conn = app.pools.work.acquire().await?;
    let until = until(&mut conn, offer.festival()).await?;
    drop(conn);
    let open: Vec<&HandBack> = pool.iter().collect();
    if until.is_none_or(|until| now >= until) {
        for one in &open {
            moved += usize::from(end(app, one, HandBackStatus::Over, now).await?);
        }
        return Ok(moved);
    }
    Ok(moved + offer_next(app, offer, &open, now).await?)
}

/// Offers what is in the pool to whoever waits and could not be served otherwise.
async fn offer_next(app: &App, offer_id: OfferId, open: &[&HandBack], now: DateTime<Utc>) -> Result<usize, RefundError> {
    if open.is_empty() || app.the::<Breaker>().is_open(now) {
        return Ok(0);
    }
    let Some((offer, mut free)) = demand::free_for_list(&app.pools.work, offer_id, now).await? else { return Ok(0) };
    if offer.window(now).is_some() {
        return Ok(0);
    }
    let mut rest = open.iter();
    let mut moved = 0;
    for wait in list::first_in_line(&app.pools.work, offer_id, i32::MAX, STEP).await? {
        if wait.quantity <= free {
            free -= wait.quantity;
            continue;
        }
        let needed = usize::try_from(wait.quantity - free).unwrap_or(usize::MAX);
        if rest.len() < needed {
            continue;
        }
        let these: Vec<HandBackId> = rest.by_ref().take(needed).map(|h| h.hand_back_id).collect();
        moved += release(app, offer_id.festival(), &these, wait.wait_id, now).await?;
        // What was free is promised to this wait, too; the next round looks anew.
        free = 0;
    }
    Ok(moved)
}

/// The units of tickets become the pool's, promised to the list: their tickets are suspended. What cannot be had any more is over. In the one order of locks.
async fn release(app: &App, festival: FestivalId, ids: &[HandBackId], wait: WaitId, now: DateTime<Utc>) -> Result<usize, RefundError> {
    let mut tx = app.pools.work.begin().await?;
    let named = store::named(&mut tx, festival, ids).await?;
    let mut order_ids: Vec<OrderId> = named.iter().map(|h| h.order_id).collect();
    order_ids.sort_unstable();
    order_ids.dedup();
    let held = orders::lock(&mut tx, festival, &order_ids).await?;
    let ticket_ids: Vec<TicketId> = named.iter().map(|h| h.ticket_id).collect();
    let own = tickets::lock_all(&mut tx, festival, &ticket_ids).await?;
    let mut released: Vec<HandBack> = Vec::new();
    for one in store::lock_open(&mut tx, festival, ids).await? {
        let is_paid = held.iter().any(|o| o.order_id == one.order_id && matches!(o.status, OrderStatus::Paid | OrderStatus::PartlyRefunded));
        let free = rule::free_tickets(&mut tx, one.order_id).await?;
        if is_paid && free.contains(&one.ticket_id) {
            released.push(one);
        } else {
            store::end(&mut tx, one.hand_back_id, HandBackStatus::Over, None, now).await?;
        }
    }
    store::offer(&mut tx, festival, &released.iter().map(|h| h.hand_back_id).collect::<Vec<_>>(), wait, now).await?;
    sabotage::die_at("hand-back-half-written");
    move_units(&mut tx, festival, &released, Direction::ToPool).await.map_err(super::settle::database)?;
    let suspended: Vec<(&Ticket, TicketStatus)> =
        own.iter().filter(|t| released.iter().any(|h| h.ticket_id == t.ticket_id)).map(|t| (t, TicketStatus::Suspended)).collect();
    tickets::alter_all(&mut tx, festival, &suspended, "suspended", &[], now).await?;
    postgres::commit(tx).await?;
    app.the::<offers::api::Shelves>().forget();
    Ok(ids.len())
}

/// Where units go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToPool,
    Back,
}

/// Moves the units of tickets between their orders and the shelf; whether they could be moved: what is to go back may be gone.
async fn move_units(conn: &mut PgConnection, festival: FestivalId, all: &[HandBack], direction: Direction) -> Result<bool, Trouble> {
    let mut sum: Vec<Taken> = Vec::new();
    let mut by_order: Vec<(OrderId, Vec<Taken>)> = Vec::new();
    for one in all {
        let units = offers::units_of(conn, festival, &[(one.offer_id, one.tier_no, 1)]).await?;
        sum.extend(&units);
        by_order.push((one.order_id, units));
    }
    match direction {
        Direction::ToPool => {
            for (order, units) in by_order {
                orders::lower(conn, order, &units).await?;
            }
            offers::release_sold(conn, festival, &sum).await?;
            Ok(true)
        }
        Direction::Back => {
            if !offers::take_if_free(conn, festival, &sum).await? {
                return Ok(false);
            }
            for (order, units) in by_order {
                orders::raise(conn, order, &units).await?;
            }
            offers::move_to_sold(conn, festival, &sum).await?;
            Ok(true)
        }
    }
}

/// Looks what became of a ticket that was offered; whether it moved.
async fn settle(app: &App, one: &HandBack, now: DateTime<Utc>) -> Result<bool, RefundError> {
    let pool = &app.pools.work;
    let wait = match one.wait_id {
        Some(wait) => list::wait(pool, wait).await?,
        None => None,
    };
    let order = match wait.as_ref().and_then(|wait| wait.order_id) {
        Some(order) => orders::held(pool, order).await?,
        None => None,
    };
    match (wait.map(|wait| wait.status), order.map(|order| order.status)) {
        (Some(WaitStatus::Invited), Some(OrderStatus::Held | OrderStatus::PartPaid)) => Ok(false),
        (Some(WaitStatus::Invited), Some(OrderStatus::Paid | OrderStatus::PartlyRefunded | OrderStatus::Refunded)) => sell(app, one.hand_back_id, now).await,
        // Its invitation is on the way, unless something keeps it for long.
        (Some(WaitStatus::Waiting), _) if one.offered_at.is_some_and(|at| now < at + PATIENCE) => Ok(false),
        // Whoever was invited next may have it.
        _ => {
            if let Some(next) = store::taker(pool, one).await? {
                return Ok(store::pass_to(pool, one.hand_back_id, next).await?);
            }
            let mut conn = pool.acquire().await?;
            let somebody_waits = demand::list(&mut conn, one.offer_id).await?.units > 0;
            drop(conn);
            let late = one.offered_at.is_some_and(|at| now >= at + PATIENCE);
            if somebody_waits && !late { Ok(false) } else { restore(app, one.hand_back_id, now).await }
        }
    }
}

/// Gives a ticket that nobody took to its holder again, and it is in the pool as before; whether that could be. What is not free was had by somebody
/// without an invitation: then it is sold all the same.
async fn restore(app: &App, id: HandBackId, now: DateTime<Utc>) -> Result<bool, RefundError> {
    let festival = id.festival();
    let mut tx = app.pools.work.begin().await?;
    let Some(one) = store::named(&mut tx, festival, &[id]).await?.pop() else { return Ok(false) };
    orders::lock(&mut tx, festival, &[one.order_id]).await?;
    let own = tickets::lock_all(&mut tx, festival, &[one.ticket_id]).await?;
    let Some(one) = store::lock(&mut tx, id).await?.filter(|h| h.status == HandBackStatus::Offered) else { return Ok(false) };
    // A bank takes its money back just now: what becomes of it is known when that is decided.
    if store::is_returned(&mut tx, &one).await? {
        return Ok(false);
    }
    if !move_units(&mut tx, festival, std::slice::from_ref(&one), Direction::Back).await.map_err(super::settle::database)? {
        tx.rollback().await?;
        return sell(app, id, now).await;
    }
    store::reopen(&mut tx, id).await?;
    let valid: Vec<(&Ticket, TicketStatus)> = own.iter().filter(|t| t.status == TicketStatus::Suspended).map(|t| (t, TicketStatus::Valid)).collect();
    tickets::alter_all(&mut tx, festival, &valid, "reinstated", &[], now).await?;
    postgres::commit(tx).await?;
    app.the::<offers::api::Shelves>().forget();
    Ok(true)
}

/// Ends what is open.
async fn end(app: &App, one: &HandBack, status: HandBackStatus, now: DateTime<Utc>) -> Result<bool, RefundError> {
    let mut tx = app.pools.work.begin().await?;
    orders::lock(&mut tx, one.order_id.festival(), &[one.order_id]).await?;
    let is_open = store::lock(&mut tx, one.hand_back_id).await?.is_some_and(|h| h.status == HandBackStatus::Open);
    if is_open {
        store::end(&mut tx, one.hand_back_id, status, None, now).await?;
    }
    tx.commit().await?;
    Ok(is_open)
}

/// Somebody has it: its money goes back, its album with it where nobody heard it, and its fee by its own rule.
async fn sell(app: &App, id: HandBackId, now: DateTime<Utc>) -> Result<bool, RefundError> {
    let festival = id.festival();
    let mut tx = app.pools.work.begin().await?;
    let Some(seen) = store::named(&mut tx, festival, &[id]).await?.pop() else { return Ok(false) };
    let Some(order) = orders::lock(&mut tx, festival, &[seen.order_id]).await?.pop() else { return Ok(false) };
    let Some(one) = store::lock(&mut tx, id).await?.filter(|h| h.status == HandBackStatus::Offered) else { return Ok(false) };
    // A bank takes its money back just now: it goes back once, whoever gives it.
    if store::is_returned(&mut tx, &one).await? {
        return Ok(false);
    }
    let mut parts = vec![Part { line_no: one.line_no, component_no: Some(one.component_no), ticket_ids: vec![one.ticket_id], ..Part::default() }];
    let left = super::plan::left(&mut tx, one.order_id).await?;
    for (line_no, component_no, units) in rule::goes_along(&mut tx, one.order_id, &[one.ticket_id]).await? {
        let there = left.iter().find(|l| (l.line_no, l.component_no) == (line_no, component_no)).map_or(0, |l| l.units);
        let units = units.min(there);
        if units > 0 {
            parts.push(Part { line_no, component_no: Some(component_no), units: Some(units), ..Part::default() });
        }
    }
    let asked = Asked { order_id: one.order_id, parts, kept_minor: 0, keep_fees: None, currency: None, reason: RefundReason::HandedBack, note: "" };
    let key_hash = orders::short_hash(&[b"hand-back", id.0.as_bytes()]);
    let asking = Asking { asked: &asked, payment: None, actor: Actor::House, key_hash, fingerprint: key_hash };
    let refund = super::ask(app, &mut tx, &order, &asking, |_| Ok(())).await?;
    store::end(&mut tx, id, HandBackStatus::Sold, Some(refund.refund_id), now).await?;
    postgres::commit(tx).await?;
    Ok(true)
}
