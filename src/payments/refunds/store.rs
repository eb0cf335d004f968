//! The rows of refunds, and what is left of an order.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Asked, Item, Refund, RefundReason, RefundStatus};
use crate::{
    id::{FestivalId, OrderId, PaymentId, RefundId, TicketId},
    money::Money,
    tickets::{Ticket, TicketStatus},
};

/// A refund to be written.
pub(super) struct New<'a> {
    pub(super) refund_id: RefundId,
    pub(super) payment_id: PaymentId,
    pub(super) order_id: OrderId,
    pub(super) amount: Money,
    pub(super) asked: &'a Asked<'a>,
    pub(super) key_hash: [u8; 16],
    pub(super) fingerprint: [u8; 16],
    pub(super) journal_id: Option<Uuid>,
}

pub(super) async fn insert(conn: &mut PgConnection, new: &New<'_>, items: &[Item], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let festival = new.refund_id.festival();
    sqlx::query(
        "insert into refunds (festival_id, refund_id, payment_id, order_id, status, currency, amount_minor, kept_minor, reason, note, key_hash, fingerprint, \
                              owed_journal_id, requested_at, due_at) \
         values ($1, $2, $3, $4, 'requested', $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
    )
    .bind(festival)
    .bind(new.refund_id)
    .bind(new.payment_id)
    .bind(new.order_id)
    .bind(new.amount.currency)
    .bind(new.amount.minor)
    .bind(new.asked.kept_minor)
    .bind(new.asked.reason)
    .bind(new.asked.note)
    .bind(new.key_hash)
    .bind(new.fingerprint)
    .bind(new.journal_id)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into refund_items (festival_id, refund_id, line_no, component_no, units, minor, tax_minor) \
         select $1, $2, i.* from unnest($3::smallint[], $4::smallint[], $5::integer[], $6::bigint[], $7::bigint[]) as i",
    )
    .bind(festival)
    .bind(new.refund_id)
    .bind(items.iter().map(|i| i.line_no).collect::<Vec<_>>())
    .bind(items.iter().map(|i| i.component_no).collect::<Vec<_>>())
    .bind(items.iter().map(|i| i.units).collect::<Vec<_>>())
    .bind(items.iter().map(|i| i.minor).collect::<Vec<_>>())
    .bind(items.iter().map(|i| i.tax_minor).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes which tickets are returned, as they are.
pub(super) async fn insert_tickets(conn: &mut PgConnection, refund: RefundId, tickets: &[Ticket]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into refund_tickets (festival_id, refund_id, ticket_id, before_status) select $1, $2, t.* from unnest($3::uuid[], $4::text[]) as t")
        .bind(refund.festival())
        .bind(refund)
        .bind(tickets.iter().map(|t| t.ticket_id).collect::<Vec<_>>())
        .bind(tickets.iter().map(|t| t.status.name()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// How much of the payments of an order goes back already.
pub(super) async fn taken(conn: &mut PgConnection, order: OrderId) -> Result<HashMap<PaymentId, i64>, sqlx::Error> {
    let rows: Vec<(PaymentId, i64)> = sqlx::query_as(
        "select payment_id, sum(amount_minor)::bigint from refunds where festival_id = $1 and order_id = $2 and status <> 'withdrawn' group by payment_id",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn by_key(conn: &mut PgConnection, order: OrderId, key_hash: &[u8; 16]) -> Result<Option<Refund>, sqlx::Error> {
    let id: Option<RefundId> = sqlx::query_scalar("select refund_id from refunds where order_id = $1 and festival_id = $2 and key_hash = $3")
        .bind(order)
        .bind(order.festival())
        .bind(key_hash)
        .fetch_optional(&mut *conn)
        .await?;
    match id {
        Some(id) => locked(conn, id).await,
        None => Ok(None),
    }
}

/// The order of a refund.
pub(super) async fn order_of(conn: &mut PgConnection, id: RefundId) -> Result<Option<OrderId>, sqlx::Error> {
    sqlx::query_scalar("select order_id from refunds where festival_id = $1 and refund_id = $2").bind(id.festival()).bind(id).fetch_optional(conn).await
}

/// Locks a refund and reads it. Its order is locked.
pub(super) async fn locked(conn: &mut PgConnection, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query("select refund_id from refunds where festival_id = $1 and refund_id = $2 for no key update")
        .bind(id.festival())
        .bind(id)
        .execute(&mut *conn)
        .await?;
    Ok(of(conn, id.festival(), &[id]).await?.pop())
}

/// A refund.
///
/// # Errors
/// What the database said.
pub async fn refund(pool: &PgPool, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    Ok(of(&mut conn, id.festival(), &[id]).await?.pop())
}

/// The refunds of an order, oldest first, at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn by_order(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Refund>, sqlx::Error> {
    let ids: Vec<RefundId> = sqlx::query_scalar("select refund_id from refunds where festival_id = $1 and order_id = $2 order by refund_id limit 200")
        .bind(order.festival())
        .bind(order)
        .fetch_all(&mut *conn)
        .await?;
    of(conn, order.festival(), &ids).await
}

/// The refunds of orders whose money went, oldest first.
///
/// # Errors
/// What the database said.
pub async fn done_of_orders(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<Refund>, sqlx::Error> {
    let ids: Vec<RefundId> =
        sqlx::query_scalar("select refund_id from refunds where festival_id = $1 and order_id = any($2) and status = 'done' order by refund_id")
            .bind(festival)
            .bind(orders)
            .fetch_all(&mut *conn)
            .await?;
    of(conn, festival, &ids).await
}

/// Refunds of a festival with what they return, oldest first.
async fn of(conn: &mut PgConnection, festival: FestivalId, ids: &[RefundId]) -> Result<Vec<Refund>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<Refund> = sqlx::query_as(
        "select r.refund_id, r.order_id, r.payment_id, r.status, row(r.amount_minor, r.currency)::amount as amount, row(r.kept_minor, r.currency)::amount as kept, \
                r.reason, r.requested_at, r.ended_at, r.by_hand, r.fingerprint, r.provider_ref, r.round, r.attempts, r.returned_at, r.last_error, r.note, r.letter_id, p.provider \
         from refunds r join payments p on p.festival_id = r.festival_id and p.payment_id = r.payment_id where r.festival_id = $1 and r.refund_id = any($2)",
    )
    .bind(festival)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    // Sorted here: sorted by the database, it reads all of the festival in that order.
    found.sort_unstable_by_key(|refund| refund.refund_id);
    with_parts(conn, festival, found).await
}

/// Adds to refunds of a festival what they return.
async fn with_parts(conn: &mut PgConnection, festival: FestivalId, mut refunds: Vec<Refund>) -> Result<Vec<Refund>, sqlx::Error> {
    let ids: Vec<RefundId> = refunds.iter().map(|r| r.refund_id).collect();
    let mut items: Vec<(RefundId, i16, i16, i32, i64, i64)> =
        sqlx::query_as("select refund_id, line_no, component_no, units, minor, tax_minor from refund_items where festival_id = $1 and refund_id = any($2)")
            .bind(festival)
            .bind(&ids)
            .fetch_all(&mut *conn)
            .await?;
    let mut tickets: Vec<(RefundId, TicketId)> =
        sqlx::query_as("select refund_id, ticket_id from refund_tickets where festival_id = $1 and refund_id = any($2)")
            .bind(festival)
            .bind(&ids)
            .fetch_all(conn)
            .await?;
    items.sort_unstable_by_key(|(_, line_no, component_no, ..)| (*line_no, *component_no));
    tickets.sort_unstable();
    for refund in &mut refunds {
        let mine = items.iter().filter(|(id, ..)| *id == refund.refund_id);
        refund.items = mine
            .map(|(_, line_no, component_no, units, minor, tax_minor)| Item {
                line_no: *line_no,
                component_no: *component_no,
                units: *units,
                minor: *minor,
                tax_minor: *tax_minor,
            })
            .collect();
        refund.ticket_ids = tickets.iter().filter(|(id, _)| *id == refund.refund_id).map(|(_, ticket)| *ticket).collect();
    }
    Ok(refunds)
}

/// A refund that somebody has to look at.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(rename = "RefundCase", skip_serializing_if_is_none)]
pub struct Listed {
    /// The refund.
    pub refund_id: RefundId,
    /// The order.
    pub order_id: OrderId,
    /// Its state.
    pub status: RefundStatus,
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: Option<RefundReason>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// What the provider said last.
    pub last_error: Option<String>,
}

/// The refunds of a festival that somebody has to look at: refused by the provider, without funds, undecided for a day, or
/// withdrawn and paid all the same. Oldest first, at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn attention(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select refund_id, order_id, status, row(amount_minor, currency)::amount as amount, reason, requested_at, last_error from refunds \
         where status in ('failed', 'waiting_for_funds', 'withdrawn', 'submitted') and (status <> 'withdrawn' or last_error is not null) \
           and (status <> 'submitted' or requested_at < $2 or reason = 'disputed') and festival_id = $1 order by requested_at limit 200",
    )
    .bind(festival)
    .bind(now - chrono::TimeDelta::days(1))
    .fetch_all(conn)
    .await
}

// - asking the provider -

/// Writes a warning to the undecided refunds of a payment.
pub(super) async fn warn(conn: &mut PgConnection, order: OrderId, payment: PaymentId, warning: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update refunds set last_error = $4 where order_id = $1 and festival_id = $2 and payment_id = $3 and status not in ('done', 'withdrawn')")
        .bind(order)
        .bind(order.festival())
        .bind(payment)
        .bind(warning)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes that the account of a promoter has not enough for a refund: the provider is asked as for a new one, because it keeps what it answered.
pub(super) async fn without_funds(conn: &mut PgConnection, id: RefundId, error: &str, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds set status = 'waiting_for_funds', round = round + 1::smallint, last_error = $3, due_at = $4 where festival_id = $1 and refund_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(error)
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a provider has a refund already, and when it is asked about it.
pub(super) async fn at_provider(conn: &mut PgConnection, id: RefundId, provider_ref: &str, due_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update refunds set status = 'submitted', provider_ref = $3, due_at = $4 where festival_id = $1 and refund_id = $2")
        .bind(id.festival())
        .bind(id)
        .bind(provider_ref)
        .bind(due_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Refunds that are due, oldest first.
pub(super) async fn due(pool: &PgPool, now: DateTime<Utc>, most: i64) -> Result<Vec<RefundId>, sqlx::Error> {
    sqlx::query_scalar(
        "select refund_id from refunds where status in ('requested', 'submitted', 'waiting_for_funds') and due_at <= $1 order by due_at limit $2",
    )
    .bind(now)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// Refunds that are done and did not give back what they return.
pub(super) async fn unreturned(pool: &PgPool, most: i64) -> Result<Vec<RefundId>, sqlx::Error> {
    sqlx::query_scalar("select refund_id from refunds where status = 'done' and returned_at is null and reason <> 'late_money' limit $1")
        .bind(most)
        .fetch_all(pool)
        .await
}

/// Claims a refund for a call of its provider: it is submitted before it is called. Whether it was due still.
pub(super) async fn claim(pool: &PgPool, id: RefundId, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update refunds set status = 'submitted', attempts = attempts + 1, due_at = $4 \
         where festival_id = $1 and refund_id = $2 and status not in ('done', 'failed', 'withdrawn') and due_at <= $3",
    )
    .bind(id.festival())
    .bind(id)
    .bind(now)
    .bind(until)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a provider said of a locked refund that it has not decided.
pub(super) async fn note_open(
    conn: &mut PgConnection,
    id: RefundId,
    status: RefundStatus,
    provider_ref: Option<&str>,
    error: Option<&str>,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds set status = $3, provider_ref = coalesce($4, provider_ref), last_error = $5, due_at = $6 where festival_id = $1 and refund_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(status)
    .bind(provider_ref)
    .bind(error)
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// What became of a locked refund.
#[derive(Debug, Default)]
pub(super) struct Ending<'a> {
    pub(super) provider_ref: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) by_hand: bool,
    pub(super) journal_id: Option<Uuid>,
    pub(super) note: Option<&'a str>,
}

/// Writes what became of a locked refund.
pub(super) async fn end(
    conn: &mut PgConnection,
    id: RefundId,
    status: RefundStatus,
    ending: &Ending<'_>,
    ended_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds set status = $3, provider_ref = coalesce($4, provider_ref), last_error = $5, by_hand = $6, journal_id = $7, ended_at = $8, \
                            note = coalesce($9, note) where festival_id = $1 and refund_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(status)
    .bind(ending.provider_ref)
    .bind(ending.error)
    .bind(ending.by_hand)
    .bind(ending.journal_id)
    .bind(ended_at)
    .bind(ending.note)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes which email tells of a locked refund last.
pub(super) async fn set_letter(conn: &mut PgConnection, id: RefundId, letter: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update refunds set letter_id = $3 where festival_id = $1 and refund_id = $2").bind(id.festival()).bind(id).bind(letter).execute(conn).await?;
    Ok(())
}

/// The refund that an email tells of; none where a later one does.
///
/// # Errors
/// What the database said.
pub async fn of_letter(pool: &PgPool, festival: FestivalId, letter: Uuid) -> Result<Option<Refund>, sqlx::Error> {
    let id: Option<RefundId> =
        sqlx::query_scalar("select refund_id from refunds where letter_id = $1 and festival_id = $2").bind(letter).bind(festival).fetch_optional(pool).await?;
    match id {
        Some(id) => refund(pool, id).await,
        None => Ok(None),
    }
}

/// Lets a locked refund be tried again; anew, the provider takes it for another one.
pub(super) async fn again(conn: &mut PgConnection, id: RefundId, anew: bool, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds set status = 'requested', round = round + $4::integer::smallint, attempts = 0, provider_ref = null, journal_id = null, ended_at = null, due_at = $3 \
         where festival_id = $1 and refund_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(now)
    .bind(i32::from(anew))
    .execute(conn)
    .await?;
    Ok(())
}

// - what comes back -

/// Notes that what a locked refund returns came back.
pub(super) async fn mark_returned(conn: &mut PgConnection, id: RefundId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update refunds set returned_at = $3 where festival_id = $1 and refund_id = $2").bind(id.festival()).bind(id).bind(now).execute(conn).await?;
    Ok(())
}

/// What tickets of a refund were before it.
pub(super) async fn befores(conn: &mut PgConnection, id: RefundId) -> Result<HashMap<TicketId, TicketStatus>, sqlx::Error> {
    let rows: Vec<(TicketId, TicketStatus)> = sqlx::query_as("select ticket_id, before_status from refund_tickets where festival_id = $1 and refund_id = $2")
        .bind(id.festival())
        .bind(id)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}
