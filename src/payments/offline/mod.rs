//! Money without a provider: sent to the account of the promoter, or handed over at the door. An order waits for it until a deadline; a member who has the
//! money says so, and it is captured like every other.
//!
//! **Invariant:** nothing is paid but by a member who has the whole sum; cash has a receipt number, and numbers have no gaps.

pub mod api;
pub(super) mod store;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use super::{
    Attempt, Completing, Means, NotifyError, PayError, Payment, Refund, RefundOutcome, Settle, complete,
    provider::{Answer, Chronicle, Outcome, Provider, ProviderError, Span, Started, Verified},
};
use crate::{
    accounts::{Denied, Scope, Staff, email_key},
    app::App,
    audit::{self, Act, Actor},
    batcher::{Busy, patiently},
    fault::{Checks, Fault},
    festivals::{self, Day},
    fresh::Fresh,
    id::{FestivalId, OfferId, OrderId, PaymentAccountId, PaymentId, StockId},
    mail::{self, Draft, Lane},
    money::Money,
    offers,
    orders::{
        self, HOLD, OrderStatus,
        deadline::{self, Deadline, DeadlineKind},
    },
    secrets::Purpose,
    words::Text,
};

pub use store::{Awaited, awaited, collection, methods};

/// How many unpaid orders one address may let wait for money: they keep stock from others for days.
const MOST: i64 = 2;

/// One in so many units of an offer may wait for money.
const PARKED: i64 = 5;

/// How a fan pays without a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum OfflineMethod {
    /// To the bank account of the promoter.
    BankTransfer,
    /// At the door.
    OnSite,
}

impl OfflineMethod {
    /// Its name in JSON, addresses and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BankTransfer => "bank_transfer",
            Self::OnSite => "on_site",
        }
    }

    /// The email that says where its money goes.
    fn letter(self) -> &'static str {
        match self {
            Self::BankTransfer => "pay_transfer",
            Self::OnSite => "pay_on_site",
        }
    }

    fn kind(self) -> DeadlineKind {
        match self {
            Self::BankTransfer => DeadlineKind::BankTransfer,
            Self::OnSite => DeadlineKind::OnSite,
        }
    }
}

/// How a member took money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum CollectionMethod {
    /// It is on the bank account.
    BankTransfer,
    /// Cash.
    Cash,
    /// By a card terminal that is not ours.
    CardTerminal,
}

impl CollectionMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::BankTransfer, Self::Cash, Self::CardTerminal];

    /// Its name: who has the money, in payments and books.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BankTransfer => "bank_transfer",
            Self::Cash => "cash",
            Self::CardTerminal => "card_terminal",
        }
    }
}

/// Money that a member took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// How.
    pub method: CollectionMethod,
    /// A sentence for whoever asks later: a reference, the number of a slip.
    pub note: String,
    /// Who took it.
    pub actor: Actor,
}

/// What a promoter says of a method.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct MethodTerms {
    /// How many days an order waits for its money.
    #[oai(validator(minimum(value = "1"), maximum(value = "14")))]
    pub days: i32,
    /// How many hours before the festival first opens that ends: the money has to be there by then.
    #[oai(validator(minimum(value = "0"), maximum(value = "2160")))]
    pub hours_before: i32,
    /// Where the money goes: account, bank, opening hours. At most 1,000 letters a language.
    #[sqlx(json)]
    pub instructions: Text,
}

/// A method with what its promoter says of it.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
pub struct Offered {
    /// The method.
    pub method: OfflineMethod,
    /// How it goes.
    #[oai(flatten)]
    #[sqlx(flatten)]
    pub terms: MethodTerms,
}

/// The methods of festivals, at most a second old.
pub type KnownMethods = Fresh<FestivalId, Arc<Vec<Offered>>>;

/// Until when an order that is made to wait now waits; none where it would not be longer than a hold; pure.
fn due_at(terms: &MethodTerms, days: &[Day], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = now + TimeDelta::days(i64::from(terms.days));
    let first = days.iter().map(|day| day.opens_at).min();
    let due = first.map_or(latest, |opens| latest.min(opens - TimeDelta::hours(i64::from(terms.hours_before))));
    (due > now + HOLD).then_some(due)
}

/// The methods that an order may be paid by now, and until when it would wait.
///
/// # Errors
/// What the database said.
pub async fn offered(app: &App, festival: FestivalId, total_minor: i64) -> Result<Vec<(Offered, DateTime<Utc>)>, sqlx::Error> {
    if total_minor == 0 {
        return Ok(Vec::new());
    }
    // Every page of a held order asks, and most festivals have none.
    let methods = app.the::<KnownMethods>().get(festival, async || store::methods(&app.pools.web, festival).await.map(Arc::new)).await?;
    if methods.is_empty() {
        return Ok(Vec::new());
    }
    let (days, now) = (festivals::days(&app.pools.web, festival).await?, app.clock.now());
    Ok(methods.iter().filter_map(|offered| due_at(&offered.terms, &days, now).map(|due| (offered.clone(), due))).collect())
}

/// Says how fans may pay without a provider, or that they may not. What was agreed before holds.
///
/// # Errors
/// [`Fault`].
pub async fn set_method(app: &App, staff: &Staff, festival: FestivalId, method: OfflineMethod, terms: Option<&MethodTerms>) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut checks = Checks::default();
    if let Some(terms) = terms {
        let is_short = |text: &str| text.chars().count() <= 1_000;
        let languages = [crate::words::Language::En, crate::words::Language::Zh];
        let said = languages.iter().filter_map(|language| terms.instructions.exactly(*language));
        checks.claim(said.clone().all(is_short), "/instructions", "at most 1,000 letters a language");
        checks.claim(said.clone().any(|text| !text.trim().is_empty()), "/instructions", "where the money goes");
    }
    checks.done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::methods_in(&mut tx, festival).await?.into_iter().find(|offered| offered.method == method).map(|offered| offered.terms);
    if before.as_ref() == terms {
        return Ok(());
    }
    store::set_method(&mut tx, festival, method, terms).await?;
    let said = |terms: Option<&MethodTerms>| terms.map(|t| serde_json::json!({ "method": method.name(), "days": t.days, "hours_before": t.hours_before }));
    let (action, object_kind, object_id) = ("offline_method.set", "festival", festival.0.to_string());
    let act = Act { festival, actor: staff.actor, action, object_kind, object_id, before: said(before.as_ref()), after: said(terms) };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    app.the::<KnownMethods>().forget();
    Ok(())
}

/// Why an order does not wait for money.
#[derive(Debug, thiserror::Error)]
pub enum AgreeError {
    /// No such order, or the secret of another.
    #[error("no such order")]
    NotFound,
    /// It is not held any more.
    #[error("the order is not held any more")]
    NotHeld,
    /// Its promoter does not offer it, or it is too late for it.
    #[error("this way to pay is not offered, or it is too late for it")]
    NotOffered,
    /// A payment of it is open.
    #[error("another payment is open")]
    Open(PaymentId),
    /// Other orders of this address wait for money.
    #[error("other orders of this address wait for their money")]
    TooMany,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// An order waits for its money until a deadline; an email says where the money goes. Agreeing again changes nothing; another method takes its place.
///
/// # Errors
/// [`AgreeError`].
pub async fn agree(app: &App, order_id: OrderId, secret: &str, method: OfflineMethod) -> Result<Deadline, AgreeError> {
    let (festival, now) = (order_id.festival(), app.clock.now());
    // Read before the transaction: nobody waits for a second connection while they hold one.
    let methods = offered(app, festival, 1).await?;
    let (on_shelf, stocks) = offers::demand::on_shelf(&app.pools.web, festival, now).await?;
    let capacity = |offer: &offers::Offer| {
        let of = |(id, units): (StockId, i32)| stocks.iter().find(|s| s.stock_id == id).and_then(|s| s.capacity).map(|capacity| capacity / units);
        offer.takes().filter_map(of).min().map(|capacity| (offer.offer_id, capacity))
    };
    let capacities: Vec<(OfferId, i32)> = on_shelf.iter().filter_map(capacity).collect();
    let mut tx = app.pools.web.begin().await?;
    let order = orders::lock(&mut tx, festival, &[order_id]).await?.pop().filter(|order| order.is_link(app, secret)).ok_or(AgreeError::NotFound)?;
    let before = deadline::of_order(&mut *tx, order_id).await?;
    if order.status != OrderStatus::Held || now > order.held_until {
        return Err(AgreeError::NotHeld);
    }
    if let Some(same) = before.filter(|deadline| deadline.kind == method.kind()) {
        return Ok(same);
    }
    let payments = super::store::of_orders(&mut tx, festival, &[order_id]).await?.remove(&order_id).unwrap_or_default();
    if let Some(open) = payments.iter().find(|payment| payment.status.is_open()) {
        return Err(AgreeError::Open(open.payment_id));
    }
    let (_, due_at) = methods.into_iter().find(|(offered, _)| offered.method == method && order.total_minor > 0).ok_or(AgreeError::NotOffered)?;
    let waits_already = before.filter(|deadline| deadline.kind != DeadlineKind::Invitation);
    // Another method prolongs nothing.
    let due_at = waits_already.map_or(due_at, |deadline| deadline.due_at.min(due_at));
    if waits_already.is_none() && !has_room(&mut tx, order_id, &capacities).await? {
        return Err(AgreeError::NotOffered);
    }
    if waits_already.is_none() && deadline::count_of(&mut tx, festival, &email_key(&order.email)).await? >= MOST {
        return Err(AgreeError::TooMany);
    }
    deadline::wait_until(&mut tx, order_id, method.kind(), due_at).await?;
    let letter = Draft { thing: order_id.0, kind: method.letter(), lane: Lane::Confirmation, language: order.language, recipient: order.email.clone() };
    let mail_at = festivals::mail_due(&mut tx, festival, now).await?;
    mail::queue(&mut tx, festival, &[letter], now, mail_at).await?;
    tx.commit().await?;
    Ok(Deadline { order_id, kind: method.kind(), due_at })
}

/// Whether what an order has may wait for its money, too: a fifth of an offer at most does, and ten units at least, so that nobody parks a festival without
/// paying anything.
async fn has_room(conn: &mut PgConnection, order: OrderId, capacities: &[(OfferId, i32)]) -> Result<bool, sqlx::Error> {
    let waiting = store::waiting_units(conn, order).await?;
    Ok(waiting.iter().all(|(offer, units)| {
        let capacity = capacities.iter().find(|(id, _)| id == offer).map(|(_, capacity)| i64::from(*capacity));
        capacity.is_none_or(|capacity| *units <= (capacity / PARKED).max(10))
    }))
}

/// Why money was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// No such order, or not yours.
    #[error("no such order")]
    NotFound,
    /// It costs something else: the whole sum is taken, or nothing.
    #[error("the order costs {}", .0.print())]
    Amount(Money),
    /// Cash is numbered by the box office, and there is none.
    #[error("cash needs a box office: say in which country it is")]
    NoBoxOffice,
    /// It is paid.
    #[error("the order is paid: give the money back, or refund the other payment")]
    Paid,
    /// It was given up or ran out, and what it held is somebody else's.
    #[error("the order is over and its places are gone: give the money back")]
    Gone,
    /// A payment of it is open.
    #[error("another payment of it is open: it has to be given up first")]
    Open,
    /// It takes the scope `sales:write`.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It cannot be decided now: ask again with the same key.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Money that a member has for an order.
#[derive(Clone, Debug)]
pub struct Collecting<'a> {
    /// The order.
    pub order_id: OrderId,
    /// How it was taken.
    pub method: CollectionMethod,
    /// How much: what the order costs.
    pub amount: Money,
    /// A sentence for whoever asks later.
    pub note: &'a str,
}

/// Takes in money that a member has for an order: it is paid, and its tickets are out. Money for an order that is over takes its stock again where that is
/// there. The same key gets the same payment again.
///
/// # Errors
/// [`CollectError`].
pub async fn collect(app: &App, staff: &Staff, collecting: &Collecting<'_>, key: &str, arrived_at: DateTime<Utc>) -> Result<Payment, CollectError> {
    staff.may(Scope::SalesWrite)?;
    let (order_id, festival) = (collecting.order_id, collecting.order_id.festival());
    let mut tx = app.for_promoter(staff.promoter).await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(CollectError::NotFound);
    }
    if collecting.method == CollectionMethod::Cash && super::box_office::office(&mut tx, festival).await?.is_none() {
        return Err(CollectError::NoBoxOffice);
    }
    tx.rollback().await?;
    let order = orders::held(&app.pools.web, order_id).await?.ok_or(CollectError::NotFound)?;
    let total = Money::new(order.total_minor, order.currency);
    if collecting.amount != total || order.total_minor == 0 {
        return Err(CollectError::Amount(total));
    }
    let attempt = Attempt {
        payment_id: PaymentId::fresh(festival, arrived_at),
        order_id,
        secret: app.secrets.link(Purpose::OrderLink, order_id.0, order.link_generation),
        key_hash: orders::short_hash(&[b"collection", order_id.0.as_bytes(), collecting.method.name().as_bytes(), key.as_bytes()]),
        means: Means::Hand(Collected { method: collecting.method, note: collecting.note.to_owned(), actor: staff.actor }),
        account_id: None,
        arrived_at,
    };
    let paid = patiently(async { app.pass::<Completing>(festival, Settle::New(attempt.clone())).await? }).await;
    let paid = match paid {
        // The money is there all the same: what the order had is taken again where it can be.
        Err(PayError::NotHeld) => complete::collect_late(app, &attempt).await,
        other => other,
    };
    let payment = paid.map_err(|error| match error {
        PayError::AlreadyPaid => CollectError::Paid,
        PayError::Open(_) => CollectError::Open,
        PayError::NotHeld | PayError::TooMany => CollectError::Gone,
        PayError::NotFound | PayError::NotOffered | PayError::KeyReused | PayError::OtherAmount => CollectError::NotFound,
        PayError::Busy(busy) => CollectError::Busy(busy),
    })?;
    app.the::<orders::OpenHolds>().ended(order_id);
    Ok(payment)
}

/// Writes down who took the money of new payments, in the transaction that captures it: cash is numbered.
///
/// # Errors
/// What the database said.
pub(super) async fn write_down(conn: &mut PgConnection, festival: FestivalId, taken: &[(&Payment, &Collected)], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if taken.is_empty() {
        return Ok(());
    }
    store::insert_collections(&mut *conn, festival, taken, now).await?;
    for (payment, collected) in taken {
        let after = serde_json::json!({ "order": payment.order_id, "method": collected.method.name(), "amount": payment.amount });
        let (action, object_kind, object_id) = ("payment.collected", "payment", payment.payment_id.to_string());
        audit::record(&mut *conn, Act { festival, actor: collected.actor, action, object_kind, object_id, before: None, after: Some(after) }, now).await?;
    }
    Ok(())
}

/// Who has money that no provider took: the promoter, in a till or on an account. It goes back as it came, by hand.
pub struct ByHand;

const BY_HAND: &str = "it was paid by hand, and goes back by hand";

impl Provider for ByHand {
    fn start<'a>(&'a self, _: &'a App, _: &'a Payment) -> Answer<'a, Started> {
        Box::pin(std::future::ready(Err(ProviderError::Refused(BY_HAND.to_owned()))))
    }

    fn ask<'a>(&'a self, _: &'a App, _: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(std::future::ready(Ok(Outcome::Pending)))
    }

    fn cancel<'a>(&'a self, _: &'a App, _: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(std::future::ready(Ok(Outcome::Pending)))
    }

    fn refund<'a>(&'a self, _: &'a App, _: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(std::future::ready(Ok(RefundOutcome::Refused(BY_HAND.to_owned()))))
    }

    fn ask_refund<'a>(&'a self, _: &'a App, _: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(std::future::ready(Ok(RefundOutcome::Refused(BY_HAND.to_owned()))))
    }

    fn chronicle<'a>(&'a self, _: &'a App, _: PaymentAccountId, _: Span, _: Span) -> Answer<'a, Chronicle> {
        Box::pin(std::future::ready(Ok(Chronicle::default())))
    }

    fn verify<'a>(&'a self, _: &'a App, _: Option<PaymentAccountId>, _: Option<&'a str>, _: &'a [u8]) -> Verified<'a> {
        Box::pin(std::future::ready(Err(NotifyError::NoProvider)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_waited_for_no_longer_than_it_helps() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let terms = |days, hours_before| MethodTerms { days, hours_before, instructions: Text::en("x") };
        let days = [Day { day_index: 0, name: Text::default(), opens_at: at("2026-06-19T12:00:00Z"), closes_at: at("2026-06-20T03:00:00Z") }];
        let now = at("2026-06-10T12:00:00Z");
        assert_eq!(due_at(&terms(7, 0), &days, now), Some(at("2026-06-17T12:00:00Z")));
        assert_eq!(due_at(&terms(7, 96), &days, now), Some(at("2026-06-15T12:00:00Z")));
        assert_eq!(due_at(&terms(7, 216), &days, now), None, "it is too late");
        assert_eq!(due_at(&terms(7, 216), &[], now), Some(at("2026-06-17T12:00:00Z")), "a shop has no days");
    }
}
