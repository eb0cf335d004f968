//! The rows of documents.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, types::Json};

use super::{BillingDetails, Document, DocumentKind, Invoicing, content::Content};
use crate::id::{DocumentId, FestivalId, OrderId, PromoterId, RefundId};

pub(super) async fn invoicing(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<Invoicing>, sqlx::Error> {
    sqlx::query_as("select mode, prefix, seller from invoicing where festival_id = $1").bind(festival).fetch_optional(conn).await
}

/// Takes a prefix for a festival; not where another one of the same promoter has it.
pub(super) async fn take_prefix(conn: &mut PgConnection, festival: FestivalId, promoter: PromoterId, prefix: &str) -> Result<bool, sqlx::Error> {
    sqlx::query("insert into invoice_prefixes (promoter_id, prefix, taken_by) values ($1, $2, $3) on conflict (promoter_id, prefix) do nothing")
        .bind(promoter)
        .bind(prefix)
        .bind(festival)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar("select taken_by = $3 from invoice_prefixes where promoter_id = $1 and prefix = $2")
        .bind(promoter)
        .bind(prefix)
        .bind(festival)
        .fetch_one(conn)
        .await
}

pub(super) async fn set_invoicing(conn: &mut PgConnection, festival: FestivalId, new: &Invoicing) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into invoicing (festival_id, mode, prefix, seller, last_invoice, last_credit_note) values ($1, $2, $3, $4, 0, 0) \
         on conflict (festival_id) do update set mode = excluded.mode, prefix = excluded.prefix, seller = excluded.seller",
    )
    .bind(festival)
    .bind(new.mode)
    .bind(&new.prefix)
    .bind(Json(&new.seller))
    .execute(conn)
    .await?;
    Ok(())
}

/// The last numbers of the two series of a festival.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    invoice: i64,
    credit_note: i64,
}

impl Last {
    /// The next number of a series.
    pub(super) fn next(&mut self, kind: DocumentKind) -> i64 {
        let last = match kind {
            DocumentKind::Invoice => &mut self.invoice,
            DocumentKind::CreditNote => &mut self.credit_note,
        };
        *last += 1;
        *last
    }
}

/// Locks the series of a festival: whoever numbers waits for whoever does.
pub(super) async fn lock_series(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<(Invoicing, Last)>, sqlx::Error> {
    let row: Option<(i64, i64)> = sqlx::query_as("select last_invoice, last_credit_note from invoicing where festival_id = $1 for no key update")
        .bind(festival)
        .fetch_optional(&mut *conn)
        .await?;
    let Some((invoice, credit_note)) = row else { return Ok(None) };
    Ok(invoicing(conn, festival).await?.map(|invoicing| (invoicing, Last { invoice, credit_note })))
}

pub(super) async fn set_series(conn: &mut PgConnection, festival: FestivalId, last: Last) -> Result<(), sqlx::Error> {
    sqlx::query("update invoicing set last_invoice = $2, last_credit_note = $3 where festival_id = $1")
        .bind(festival)
        .bind(last.invoice)
        .bind(last.credit_note)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn billing(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<HashMap<OrderId, BillingDetails>, sqlx::Error> {
    let rows: Vec<(OrderId, Json<BillingDetails>)> = sqlx::query_as("select order_id, details from billing where festival_id = $1 and order_id = any($2)")
        .bind(festival)
        .bind(orders)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|(order, Json(details))| (order, details)).collect())
}

pub(super) async fn set_billing(conn: &mut PgConnection, order: OrderId, details: &BillingDetails, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into billing (festival_id, order_id, details, changed_at) values ($1, $2, $3, $4) \
         on conflict (festival_id, order_id) do update set details = excluded.details, changed_at = excluded.changed_at",
    )
    .bind(order.festival())
    .bind(order)
    .bind(Json(details))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A document to be written.
pub(super) struct New {
    pub(super) document_id: DocumentId,
    pub(super) kind: DocumentKind,
    pub(super) number: i64,
    pub(super) full_number: String,
    pub(super) order_id: OrderId,
    pub(super) refund_id: Option<RefundId>,
    pub(super) content: Content,
}

pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, new: &[New], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into documents (festival_id, document_id, kind, number, full_number, order_id, refund_id, issued_at, currency, total_minor, content) \
         select $1, d.document_id, d.kind, d.number, d.full_number, d.order_id, d.refund_id, $2, d.currency, d.total_minor, d.content \
         from unnest($3::uuid[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::uuid[], $9::text[], $10::bigint[], $11::jsonb[]) \
              as d (document_id, kind, number, full_number, order_id, refund_id, currency, total_minor, content)",
    )
    .bind(festival)
    .bind(now)
    .bind(new.iter().map(|d| d.document_id).collect::<Vec<_>>())
    .bind(new.iter().map(|d| if d.kind == DocumentKind::Invoice { "invoice" } else { "credit_note" }).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.number).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.full_number.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.order_id).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.refund_id).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.content.currency.code()).collect::<Vec<_>>())
    .bind(new.iter().map(|d| d.content.total_minor).collect::<Vec<_>>())
    .bind(new.iter().map(|d| Json(&d.content)).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The documents of some orders.
pub(super) async fn documents(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<Document>, sqlx::Error> {
    sqlx::query_as(
        "select document_id, kind, full_number, order_id, refund_id, issued_at, row(total_minor, currency)::amount as total from documents \
         where order_id = any($2) and festival_id = $1",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await
}

/// The documents of an order, oldest first.
///
/// # Errors
/// What the database said.
pub async fn of_order(pool: &PgPool, order: OrderId) -> Result<Vec<Document>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let mut found = documents(&mut conn, order.festival(), &[order]).await?;
    found.sort_by_key(|document| (document.issued_at, document.kind == DocumentKind::CreditNote, document.full_number.clone()));
    Ok(found)
}

/// A document.
///
/// # Errors
/// What the database said.
pub async fn document(pool: &PgPool, id: DocumentId) -> Result<Option<Document>, sqlx::Error> {
    sqlx::query_as(
        "select document_id, kind, full_number, order_id, refund_id, issued_at, row(total_minor, currency)::amount as total from documents \
         where festival_id = $1 and document_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// What a document says.
pub(super) async fn content(pool: &PgPool, id: DocumentId) -> Result<Option<Content>, sqlx::Error> {
    let row: Option<Json<Content>> = sqlx::query_scalar("select content from documents where festival_id = $1 and document_id = $2")
        .bind(id.festival())
        .bind(id)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|Json(content)| content))
}

/// A page of the documents of a festival, newest first.
pub(super) async fn of_festival(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Document>, sqlx::Error> {
    sqlx::query_as(
        "select document_id, kind, full_number, order_id, refund_id, issued_at, row(total_minor, currency)::amount as total from documents \
         where festival_id = $1 and ($2::uuid is null or document_id < $2) order by document_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}
