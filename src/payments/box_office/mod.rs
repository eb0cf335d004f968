//! The box office: members sell at the door for cash or by a card terminal, and give away with a reason. The same stock as everybody's, counted apart.

pub mod api;
mod store;

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::Object;
use sqlx::FromRow;

use super::{
    Attempt, Completing, Means, PayError, Payment, PaymentStatus, Settle, Way,
    offline::{self, CollectError, Collecting, CollectionMethod},
};
use crate::{
    accounts::{Denied, Scope, Staff, email_key, is_address},
    app::App,
    audit::{self, Act},
    batcher::{Busy, patiently},
    fault::Fault,
    festivals,
    id::{FestivalId, OrderId, PaymentId},
    money::Money,
    orders::{self, Buyer, DoorSale, LINES, PlaceError, Placed, Placing, Request, Source, Wish},
    secrets::Purpose,
};

pub use store::{is_sold_here, office, receipt, takings};

/// Where a festival sells at the door.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct BoxOffice {
    /// In which country: two letters of ISO 3166-1. Some want certified tills.
    #[oai(validator(pattern = "^[A-Z]{2}$"))]
    pub country: String,
    /// Whether it sells.
    #[oai(rename = "open")]
    pub is_open: bool,
}

impl BoxOffice {
    /// What the law of its country asks of whoever takes cash or sells tickets, by its name in the catalog of words; nothing where we know of nothing.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        fiscal(&self.country)
    }
}

/// Countries whose law asks for more than a numbered receipt, as of 2026: fiscal devices for cash (Germany KassenSichV, Austria RKSV, France NF525, Poland,
/// Hungary, Croatia, Slovenia, Slovakia, Portugal, Greece, Sweden, Norway, Romania, Bulgaria, Serbia, Belgium for catering alike), certified ticketing
/// (Italy SIAE), registered invoices (Spain Veri*factu, China fapiao). A warning, no advice; pure.
fn fiscal(country: &str) -> Option<&'static str> {
    match country {
        "IT" => Some("ticketing"),
        "DE" | "AT" | "FR" | "PL" | "HU" | "HR" | "SI" | "SK" | "PT" | "GR" | "SE" | "NO" | "RO" | "BG" | "RS" | "BE" | "CZ" | "AL" | "ME" | "MK" => {
            Some("device")
        }
        "ES" | "CN" | "TW" | "KR" | "BR" | "MX" | "TR" | "IN" => Some("invoice"),
        _ => None,
    }
}

/// Opens, closes or moves a box office.
///
/// # Errors
/// [`Fault`].
pub async fn set(app: &App, staff: &Staff, festival: FestivalId, office: &BoxOffice) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::office(&mut tx, festival).await?;
    if before.as_ref() == Some(office) {
        return Ok(());
    }
    store::set(&mut tx, festival, office).await?;
    let said = |office: &BoxOffice| serde_json::json!({ "country": office.country, "open": office.is_open });
    let (action, object_kind, object_id) = ("box_office.set", "festival", festival.0.to_string());
    let act = Act { festival, actor: staff.actor, action, object_kind, object_id, before: before.as_ref().map(said), after: Some(said(office)) };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(())
}

/// A sale at the door.
#[derive(Clone, Debug)]
pub struct Sale<'a> {
    /// What is sold.
    pub basket: Vec<Wish>,
    /// How the money was taken; nothing is to be paid without.
    pub method: Option<CollectionMethod>,
    /// Who buys; the address may be empty: then no email is written.
    pub buyer: Buyer,
    /// Why it is given away, or a note.
    pub reason: &'a str,
    /// The total that the member saw: if it would be higher, nothing is sold.
    pub expected_minor: Option<i64>,
}

/// What was sold at the door.
#[derive(Clone, Debug)]
pub struct SoldAtDoor {
    /// The order.
    pub placed: Placed,
    /// Its payment.
    pub payment: Payment,
    /// The number of the receipt, where it was cash.
    pub receipt_no: Option<i32>,
}

/// Why nothing was sold.
#[derive(Debug, thiserror::Error)]
pub enum SellError {
    /// No such festival, or not yours.
    #[error("no such festival")]
    NotFound,
    /// The box office is closed, or there is none.
    #[error("the box office is closed")]
    Closed,
    /// The order was not placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The money was not taken in; the order is held for ten minutes.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// It takes the scope `sales:write`.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

fn checked(festival: FestivalId, sale: &Sale<'_>) -> Result<(), PlaceError> {
    let wrong = |at: &str, why: &str| Err(PlaceError::Invalid(at.to_owned(), why.to_owned()));
    if sale.basket.is_empty() || sale.basket.len() > LINES {
        return wrong("/lines", "between 1 and 20 lines");
    }
    if let Some(i) = sale.basket.iter().position(|wish| wish.offer_id.festival() != festival) {
        return wrong(&format!("/lines/{i}/offer_id"), "there is no such offer");
    }
    if let Some(i) = sale.basket.iter().position(|wish| !(1..=100).contains(&wish.quantity)) {
        return wrong(&format!("/lines/{i}/quantity"), "between 1 and 100");
    }
    if !sale.buyer.email.is_empty() && !is_address(&sale.buyer.email) {
        return wrong("/email", "not an email address");
    }
    if sale.method.is_none() && sale.reason.is_empty() {
        return wrong("/reason", "say why it is given away");
    }
    Ok(())
}

/// Sells at the door, or gives away: the order is placed, paid and fulfilled. The same key of the same member gets the same sale again.
///
/// # Errors
/// [`SellError`].
pub async fn sell(app: &App, staff: &Staff, festival: FestivalId, sale: Sale<'_>, key: &str, arrived_at: DateTime<Utc>) -> Result<SoldAtDoor, SellError> {
    staff.may(Scope::SalesWrite)?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(SellError::NotFound);
    }
    store::office(&mut tx, festival).await?.filter(|office| office.is_open).ok_or(SellError::Closed)?;
    tx.rollback().await?;
    checked(festival, &sale)?;
    let Sale { basket, method, buyer, reason, expected_minor } = sale;
    let email_key = if buyer.email.is_empty() { String::new() } else { email_key(&buyer.email) };
    let seller = staff.actor.id();
    let asked = serde_json::to_vec(&(&email_key, &buyer.name, &basket, expected_minor, method.map(CollectionMethod::name), reason)).unwrap_or_default();
    let request = Request {
        order_id: OrderId::fresh(festival, arrived_at),
        key_hash: orders::short_hash(&[b"box-office", seller.unwrap_or_default().as_bytes(), key.as_bytes()]),
        fingerprint: orders::short_hash(&[&asked]),
        email_key,
        buyer,
        basket,
        refusal: None,
        voucher: None,
        expected_minor,
        source: Source::BoxOffice(DoorSale { is_comp: method.is_none(), reason: reason.to_owned(), sold_by: seller }),
        arrived_at,
    };
    let placed = patiently(async { app.pass::<Placing>(festival, request).await? }).await?;
    let payment = match method {
        Some(method) if placed.total.minor > 0 => {
            let collecting = Collecting { order_id: placed.order_id, method, amount: placed.total, note: reason };
            offline::collect(app, staff, &collecting, key, arrived_at).await?
        }
        _ => free(app, &placed, key, arrived_at).await?,
    };
    let receipt_no = offline::collection(&app.pools.web, payment.payment_id).await?.and_then(|(_, receipt)| receipt);
    Ok(SoldAtDoor { placed, payment, receipt_no })
}

/// Completes an order that costs nothing.
async fn free(app: &App, placed: &Placed, key: &str, arrived_at: DateTime<Utc>) -> Result<Payment, SellError> {
    let (order_id, festival) = (placed.order_id, placed.order_id.festival());
    let attempt = Attempt {
        payment_id: PaymentId::fresh(festival, arrived_at),
        order_id,
        secret: app.secrets.link(Purpose::OrderLink, order_id.0, placed.link_generation),
        key_hash: orders::short_hash(&[b"given-away", order_id.0.as_bytes(), key.as_bytes()]),
        means: Means::Way(Way::Free),
        account_id: None,
        arrived_at,
    };
    let paid = patiently(async { app.pass::<Completing>(festival, Settle::New(attempt)).await? }).await;
    match paid {
        Ok(payment) if payment.status == PaymentStatus::Captured => Ok(payment),
        Err(PayError::Busy(busy)) => Err(CollectError::Busy(busy).into()),
        // It was placed long ago with this key, and ran out before it was completed.
        Ok(_) | Err(_) => Err(CollectError::Gone.into()),
    }
}

/// What was taken at the door on a day, by how it was taken; what was given away costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
pub struct Takings {
    /// The day, in the zone of the festival.
    pub day: NaiveDate,
    /// How: a method, or `comp`.
    pub method: String,
    /// How many orders.
    pub orders: i64,
    /// How much.
    pub amount: Money,
}

impl From<Busy> for SellError {
    fn from(busy: Busy) -> Self {
        Self::Place(busy.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_that_wants_more_than_a_receipt_is_warned_of() {
        assert_eq!((fiscal("DE"), fiscal("IT"), fiscal("NL"), fiscal("CN")), (Some("device"), Some("ticketing"), None, Some("invoice")));
    }
}
