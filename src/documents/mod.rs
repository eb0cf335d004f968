//! Documents: invoices of paid orders and credit notes of what went back, numbered without gaps per festival by a worker, frozen when they are numbered,
//! printed as PDF in English and Chinese.
//!
//! **Invariant:** the numbers of a series are 1, 2, 3, .. in one festival; an order has at most one invoice, a refund at most one credit note; what they
//! say is what was paid and what went back.
//!
//! In Chinese an invoice is called 账单 (statement): a 发票 is given out by the tax office alone.

pub mod api;
mod content;
pub mod paper;
mod sheet;
mod store;
mod vat;

use std::collections::{HashMap, HashSet, hash_map::Entry};

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    books,
    fault::{Checks, Fault},
    festivals::{self, Festival},
    id::{DocumentId, FestivalId, OrderId, RefundId},
    money::Money,
    offers,
    orders::{self, Order, OrderStatus},
    payments::refunds::{self, Refund, RefundReason},
    words::{Language, Text},
};
use content::{Around, Content};

pub use store::{document, of_order};

/// When documents that could not be written are tried again.
const AGAIN: TimeDelta = TimeDelta::minutes(5);

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DocumentKind {
    /// What was sold.
    Invoice,
    /// What went back of it.
    CreditNote,
}

/// A document.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Document {
    /// Its id.
    pub document_id: DocumentId,
    /// What it is.
    pub kind: DocumentKind,
    /// Its number as it is printed.
    pub full_number: String,
    /// The order.
    pub order_id: OrderId,
    /// The refund that a credit note is about.
    pub refund_id: Option<RefundId>,
    /// When it was numbered.
    pub issued_at: DateTime<Utc>,
    /// What was paid, or went back.
    pub total: Money,
}

/// When a festival writes invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, sqlx::Type)]
#[oai(rename = "InvoicingMode", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Mode {
    /// For every order that costs something, when it is paid.
    Always,
    /// For the orders whose buyers say who it is for.
    OnRequest,
    /// No more invoices; what goes back of an order that has one still gets its credit note.
    Off,
}

/// Who sells, as it stands on documents.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct Seller {
    /// The name of the company.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: String,
    /// Its address, line by line.
    #[oai(validator(min_length = 1, max_length = 500))]
    pub address: String,
    /// Its tax number as it is to be printed.
    #[oai(validator(max_length = 60))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_number: Option<String>,
    /// A sentence below: what the law of its country asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Text>,
}

/// How a festival writes invoices.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct Invoicing {
    /// When.
    pub mode: Mode,
    /// What the numbers begin with, up to 16 capital letters, digits and hyphens: `NF26`. No other festival of yours has it.
    #[oai(validator(pattern = "^[A-Z0-9][A-Z0-9-]{0,15}$"))]
    pub prefix: String,
    /// Who sells.
    #[sqlx(json)]
    pub seller: Seller,
}

/// Who an invoice is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct BillingDetails {
    /// The name of the person or company.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: String,
    /// The address, line by line.
    #[oai(default, validator(max_length = 500))]
    #[serde(default)]
    pub address: String,
    /// The country of ISO 3166-1, two letters.
    #[oai(validator(pattern = "^[A-Z]{2}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The VAT number of the company; its form is checked. It needs a country.
    #[oai(validator(max_length = 40))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_number: Option<String>,
}

/// How a festival writes invoices; `None` where it does not.
///
/// # Errors
/// What the database said.
pub async fn invoicing(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<Invoicing>, sqlx::Error> {
    store::invoicing(conn, festival).await
}

/// Says how a festival writes invoices. Documents that are numbered stay as they are.
///
/// # Errors
/// [`Fault`].
pub async fn set_invoicing(app: &App, staff: &Staff, festival: FestivalId, new: &Invoicing) -> Result<(), Fault> {
    Checks::default()
        .claim(!new.seller.name.trim().is_empty(), "/seller/name", "documents say who sells")
        .claim(!new.seller.address.trim().is_empty(), "/seller/address", "documents say where the seller is")
        .done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::invoicing(&mut tx, festival).await?;
    if before.as_ref() == Some(new) {
        return Ok(());
    }
    if !store::take_prefix(&mut tx, festival, staff.promoter, &new.prefix).await? {
        return Err(Fault::Conflict("another festival of yours has this prefix".to_owned()));
    }
    store::set_invoicing(&mut tx, festival, new).await?;
    let said = |one: &Invoicing| serde_json::json!({ "mode": one.mode, "prefix": one.prefix });
    let (action, object_kind, object_id) = ("invoicing.set", "festival", festival.0.to_string());
    let act = Act { festival, actor: staff.actor, action, object_kind, object_id, before: before.as_ref().map(said), after: Some(said(new)) };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Who the invoice of an order is for, as its buyer said.
///
/// # Errors
/// What the database said.
pub async fn billing(conn: &mut PgConnection, order: OrderId) -> Result<Option<BillingDetails>, sqlx::Error> {
    Ok(store::billing(conn, order.festival(), &[order]).await?.remove(&order))
}

/// Says who the invoice of an order is for, until it is numbered. Where the order is paid already, it is numbered soon.
///
/// # Errors
/// [`Fault`]: also when the festival writes none, or the order costs nothing or is over, or it is numbered.
pub async fn bill(app: &App, id: OrderId, details: BillingDetails) -> Result<BillingDetails, Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    let details = checked(details)?;
    let mut tx = app.pools.web.begin().await?;
    let order = orders::lock(&mut tx, festival, &[id]).await?.pop().ok_or(Fault::NotFound)?;
    if store::invoicing(&mut tx, festival).await?.is_none_or(|invoicing| invoicing.mode == Mode::Off) {
        return Err(Fault::Conflict("this festival writes no invoices: ask its promoter".to_owned()));
    }
    if matches!(order.status, OrderStatus::Expired | OrderStatus::Cancelled | OrderStatus::Unfulfillable) {
        return Err(Fault::Conflict("the order was not paid and is over".to_owned()));
    }
    if order.total_minor == 0 {
        return Err(Fault::Conflict("the order costs nothing".to_owned()));
    }
    if store::documents(&mut tx, festival, &[id]).await?.iter().any(|document| document.kind == DocumentKind::Invoice) {
        return Err(Fault::Conflict("the invoice is written; its promoter can help".to_owned()));
    }
    if store::billing(&mut tx, festival, &[id]).await?.remove(&id).as_ref() == Some(&details) {
        return Ok(details);
    }
    store::set_billing(&mut tx, id, &details, now).await?;
    // What is not paid yet is looked at when it is.
    if matches!(order.status, OrderStatus::Paid | OrderStatus::PartlyRefunded | OrderStatus::Refunded) {
        books::look_at(&mut tx, id, now).await?;
    }
    tx.commit().await?;
    Ok(details)
}

fn checked(details: BillingDetails) -> Result<BillingDetails, Fault> {
    let plain = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let mut details = BillingDetails { name: details.name.trim().to_owned(), address: plain(&details.address), ..details };
    let mut checks = Checks::default();
    checks.claim(!details.name.is_empty(), "/name", "whose it is").claim(!details.name.contains(['\n', '\r']), "/name", "one line");
    let is_country = |letters: &String| letters.len() == 2 && letters.bytes().all(|b| b.is_ascii_uppercase());
    checks.claim(details.country.as_ref().is_none_or(is_country), "/country", "two capital letters");
    checks.claim(details.address.lines().count() <= 8, "/address", "at most eight lines");
    if let Some(number) = details.vat_number.take().filter(|number| !number.trim().is_empty()) {
        match details.country.as_deref() {
            None => {
                checks.claim(false, "/country", "a VAT number is of a country");
            }
            Some(country) => {
                details.vat_number = vat::read(&number, country);
                checks.claim(details.vat_number.is_some(), "/vat_number", "it has not the form of its country");
            }
        }
    }
    checks.done()?;
    Ok(details)
}

/// Writes the documents that are due; how many. Called by a worker. What cannot be written stands in nobody's way: it is put off.
///
/// # Errors
/// What the database said.
pub async fn issue_due(app: &App) -> Result<usize, sqlx::Error> {
    let mut issued = 0;
    for festival in books::due_festivals(&app.pools.work, app.clock.now()).await? {
        issued += issue_all(app, festival).await?;
    }
    Ok(issued)
}

/// Writes the documents that are due in a festival.
async fn issue_all(app: &App, festival: FestivalId) -> Result<usize, sqlx::Error> {
    let mut issued = 0;
    loop {
        let mut tx = app.pools.work.begin().await?;
        let Some(due) = books::take_due(&mut tx, festival, app.clock.now()).await? else { return Ok(issued) };
        match issue(app, &mut tx, festival, &due.order_ids).await {
            Ok(some) => {
                tx.commit().await?;
                issued += some;
            }
            // Somebody holds an order or the series just now: the next round comes by.
            Err(error) if is_waiting(&error) => {
                tx.rollback().await?;
                return Ok(issued);
            }
            Err(error) => {
                tx.rollback().await?;
                tracing::error!(%error, festival = festival.0, "documents could not be written; they are tried again");
                books::put_off(&app.pools.work, &due, app.clock.now() + AGAIN).await?;
            }
        }
    }
}

/// Time-outs of locks and statements, deadlocks and lost races: nothing is wrong with what was to be written.
fn is_waiting(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "55P03" || code.starts_with("57") || code.starts_with("40"))
}

/// Writes what is missing of the documents of some orders: the one order of locks is orders first, then the series.
async fn issue(app: &App, conn: &mut PgConnection, festival: FestivalId, ids: &[OrderId]) -> Result<usize, sqlx::Error> {
    orders::lock(&mut *conn, festival, ids).await?;
    let mut returned: HashMap<OrderId, Vec<Refund>> = HashMap::new();
    for refund in refunds::done_of_orders(&mut *conn, festival, ids).await? {
        returned.entry(refund.order_id).or_default().push(refund);
    }
    let Some((invoicing, mut last)) = store::lock_series(&mut *conn, festival).await? else { return Ok(0) };
    let Some(of) = festivals::one(&mut *conn, festival).await? else { return Ok(0) };
    let paid: Vec<Order> = orders::whole(&mut *conn, festival, ids).await?.into_iter().filter(|o| o.paid_at.is_some() && o.total.minor > 0).collect();
    let billing = store::billing(&mut *conn, festival, ids).await?;
    let there = store::documents(&mut *conn, festival, ids).await?;
    let mut invoices: HashMap<OrderId, String> =
        there.iter().filter(|d| d.kind == DocumentKind::Invoice).map(|d| (d.order_id, d.full_number.clone())).collect();
    let noted: HashSet<RefundId> = there.iter().filter_map(|d| d.refund_id).collect();
    let offers = offers::offers_in(&mut *conn, festival).await?;
    let now = app.clock.now();
    let mut new: Vec<store::New> = Vec::new();
    let mut write = |kind: DocumentKind, order: &Order, refund: Option<&Refund>, content: Content| {
        let number = last.next(kind);
        let full_number = content::full_number(kind, &invoicing.prefix, number);
        let document_id = DocumentId::fresh(festival, now);
        new.push(store::New {
            document_id,
            kind,
            number,
            full_number: full_number.clone(),
            order_id: order.order_id,
            refund_id: refund.map(|r| r.refund_id),
            content,
        });
        full_number
    };
    for order in &paid {
        let asked = billing.get(&order.order_id);
        let invoice = match invoices.entry(order.order_id) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(_) if invoicing.mode == Mode::Off || (invoicing.mode == Mode::OnRequest && asked.is_none()) => continue,
            Entry::Vacant(missing) => {
                missing.insert(write(DocumentKind::Invoice, order, None, content::invoice(order, around(&invoicing, order, asked, &of, &offers))))
            }
        };
        for refund in returned.remove(&order.order_id).unwrap_or_default() {
            let is_due = refund.reason != Some(RefundReason::LateMoney) && refund.amount.minor > 0;
            if is_due && !noted.contains(&refund.refund_id) {
                write(
                    DocumentKind::CreditNote,
                    order,
                    Some(&refund),
                    content::credit_note(order, &refund, invoice, around(&invoicing, order, asked, &of, &offers)),
                );
            }
        }
    }
    if !new.is_empty() {
        store::insert(&mut *conn, festival, &new, now).await?;
        store::set_series(conn, festival, last).await?;
    }
    Ok(new.len())
}

fn around<'a>(invoicing: &'a Invoicing, order: &Order, asked: Option<&BillingDetails>, of: &'a Festival, offers: &'a [offers::Offer]) -> Around<'a> {
    // Who said nothing is named as they ordered: a name, or nothing but the order.
    let buyer = asked.cloned().unwrap_or_else(|| BillingDetails { name: order.buyer_name.clone(), ..BillingDetails::default() });
    Around { seller: &invoicing.seller, buyer, time_zone: &of.terms.time_zone, festival: &of.terms.name, offers }
}

/// A document as PDF in a language.
///
/// # Errors
/// What the database said; `None` within where it cannot be printed.
pub async fn pdf(app: &App, document: &Document, language: Language) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let Some(content) = store::content(&app.pools.web, document.document_id).await? else { return Ok(None) };
    let sheet = sheet::sheet(document, &content, language);
    // Shaping and packing take milliseconds of a processor: not on a thread that others wait for.
    let printed = tokio::task::spawn_blocking(move || paper::print(&sheet)).await;
    match printed {
        Ok(Ok(pdf)) => Ok(Some(pdf)),
        Ok(Err(error)) => {
            tracing::error!(%error, document = %document.document_id, "a document cannot be printed");
            Ok(None)
        }
        Err(error) => {
            tracing::error!(%error, document = %document.document_id, "a document cannot be printed");
            Ok(None)
        }
    }
}
