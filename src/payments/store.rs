//! The rows of payments, provider events, refunds, and the books of the simulated bank.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Heard, Outcome, Payment, PaymentStatus, Refund, provider::Started};
use crate::{
    id::{FestivalId, OrderId, PaymentId, RefundId},
    money::Money,
};

pub(super) async fn orders_of(conn: &mut PgConnection, festival: FestivalId, payments: &[PaymentId]) -> Result<Vec<(PaymentId, OrderId)>, sqlx::Error> {
    sqlx::query_as("select payment_id, order_id from payments where festival_id = $1 and payment_id = any($2)")
        .bind(festival)
        .bind(payments)
        .fetch_all(conn)
        .await
}

pub(super) async fn of_orders(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<HashMap<OrderId, Vec<Payment>>, sqlx::Error> {
    let rows: Vec<Payment> = sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where festival_id = $1 and order_id = any($2) order by payment_id",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await?;
    let mut by: HashMap<OrderId, Vec<Payment>> = HashMap::new();
    for payment in rows {
        by.entry(payment.order_id).or_default().push(payment);
    }
    Ok(by)
}

/// Writes new payments; those that are captured name their journal.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, payments: &[Payment], journal: Uuid) -> Result<(), sqlx::Error> {
    if payments.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into payments (festival_id, payment_id, order_id, provider, status, currency, amount_minor, key_hash, created_at, decide_by, ended_at, account_id, journal_id) \
         select $1, p.*, case when p.status = 'captured' then $12::uuid end from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $13::uuid[]) \
              as p (payment_id, order_id, provider, status, currency, amount_minor, key_hash, created_at, decide_by, ended_at, account_id)",
    )
    .bind(festival)
    .bind(payments.iter().map(|p| p.payment_id).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.order_id).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.provider.as_str()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| if p.status == PaymentStatus::Captured { "captured" } else { "created" }).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.amount.currency.code()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.amount.minor).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.key_hash.as_slice()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.created_at).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.decide_by).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.ended_at).collect::<Vec<_>>())
    .bind(journal)
    .bind(payments.iter().map(|p| p.account_id).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what became of payments; those that are captured name their journal.
pub(super) async fn settle(conn: &mut PgConnection, festival: FestivalId, payments: &[Payment], journal: Uuid) -> Result<(), sqlx::Error> {
    if payments.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update payments p set status = u.status, reason = u.reason, ended_at = u.ended_at, currency = u.currency, amount_minor = u.amount_minor, \
                               journal_id = case when u.status = 'captured' then $6::uuid end \
         from unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $7::text[], $8::bigint[]) as u (payment_id, status, reason, ended_at, currency, amount_minor) \
         where p.festival_id = $1 and p.payment_id = u.payment_id",
    )
    .bind(festival)
    .bind(payments.iter().map(|p| p.payment_id).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.status.name()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.reason.as_deref()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.ended_at).collect::<Vec<_>>())
    .bind(journal)
    .bind(payments.iter().map(|p| p.amount.currency.code()).collect::<Vec<_>>())
    .bind(payments.iter().map(|p| p.amount.minor).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn submitted(pool: &PgPool, payment: &Payment, status: PaymentStatus, started: Option<&Started>) -> Result<(), sqlx::Error> {
    sqlx::query("update payments set status = $3, redirect_url = $4, provider_ref = $5 where festival_id = $1 and payment_id = $2 and status not in ('submitted', 'captured', 'failed', 'cancelled')")
        .bind(payment.payment_id.festival())
        .bind(payment.payment_id)
        .bind(status)
        .bind(started.map(|started| started.url.as_str()))
        .bind(started.and_then(|started| started.provider_ref.as_deref()))
        .execute(pool)
        .await?;
    Ok(())
}

/// A payment.
///
/// # Errors
/// What the database said.
pub async fn payment(pool: &PgPool, id: PaymentId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where festival_id = $1 and payment_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// The payments of an order, oldest first.
///
/// # Errors
/// What the database said.
pub async fn by_order(pool: &PgPool, order: OrderId) -> Result<Vec<Payment>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    Ok(of_orders(&mut conn, order.festival(), &[order]).await?.remove(&order).unwrap_or_default())
}

/// Writes down what providers told, in the transaction that acts on it; what was told before is there.
pub(super) async fn insert_events(
    conn: &mut PgConnection,
    festival: FestivalId,
    told: &[(&Heard, PaymentId, &Outcome)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if told.is_empty() {
        return Ok(());
    }
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Pending => "pending",
        Outcome::Captured(_) => "captured",
        Outcome::Failed(_) => "failed",
        Outcome::GivenUp => "given_up",
    };
    sqlx::query(
        "insert into provider_events (festival_id, provider, event_ref, payment_id, outcome, received_at) \
         select $1, e.*, $6 from unnest($2::text[], $3::text[], $4::uuid[], $5::text[]) as e on conflict do nothing",
    )
    .bind(festival)
    .bind(told.iter().map(|(heard, ..)| heard.provider.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|(heard, ..)| heard.event_ref.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, payment, _)| *payment).collect::<Vec<_>>())
    .bind(told.iter().map(|(.., said)| outcome(said)).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that a provider told of a refund, in the transaction that acts on it.
pub(super) async fn insert_refund_event(conn: &mut PgConnection, heard: &Heard, refund: &Refund, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into provider_events (festival_id, provider, event_ref, payment_id, outcome, received_at) values ($1, $2, $3, $4, 'refund', $5) on conflict do nothing",
    )
    .bind(refund.refund_id.festival())
    .bind(&heard.provider)
    .bind(&heard.event_ref)
    .bind(refund.payment_id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn undecided(pool: &PgPool, created_before: DateTime<Utc>, asked_before: DateTime<Utc>, most: i64) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where status in ('created', 'submitted', 'unknown') and created_at < $1 and (asked_at is null or asked_at < $2) order by created_at limit $3",
    )
    .bind(created_before)
    .bind(asked_before)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// The payments of a festival that are open, oldest first, at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn open(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where status in ('created', 'submitted', 'unknown') and festival_id = $1 order by created_at limit 200",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

pub(super) async fn over(pool: &PgPool, now: DateTime<Utc>, most: i64) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where status in ('created', 'submitted', 'unknown') and decide_by < $1 order by asked_at nulls first, created_at limit $2",
    )
    .bind(now)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// Payments that were given up without a word of their provider, and not asked about lately.
pub(super) async fn given_up(pool: &PgPool, created_after: DateTime<Utc>, asked_before: DateTime<Utc>, most: i64) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by, ended_at, provider_ref, account_id, key_hash \
         from payments where status = 'cancelled' and created_at > $1 and (asked_at is null or asked_at < $2) order by created_at limit $3",
    )
    .bind(created_after)
    .bind(asked_before)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// Whether a payment was not asked about since a moment.
pub(super) async fn asked_before(pool: &PgPool, id: PaymentId, moment: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select asked_at is null or asked_at < $3 from payments where festival_id = $1 and payment_id = $2")
        .bind(id.festival())
        .bind(id)
        .bind(moment)
        .fetch_one(pool)
        .await
}

pub(super) async fn asked(pool: &PgPool, id: PaymentId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update payments set asked_at = $3 where festival_id = $1 and payment_id = $2").bind(id.festival()).bind(id).bind(now).execute(pool).await?;
    Ok(())
}

// - refunds -

pub(super) async fn request_refund(
    conn: &mut PgConnection,
    festival: FestivalId,
    payment: &Payment,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into refunds (festival_id, refund_id, payment_id, order_id, status, currency, amount_minor, reason, requested_at, due_at) \
         values ($1, $2, $3, $4, 'requested', $5, $6, $7, $8, $8)",
    )
    .bind(festival)
    .bind(RefundId::fresh(festival, now))
    .bind(payment.payment_id)
    .bind(payment.order_id)
    .bind(payment.amount.currency)
    .bind(payment.amount.minor)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

// - the books of the simulated bank -

/// A payment in the books of the simulated bank.
#[derive(Debug, FromRow)]
pub struct Intent {
    /// How much.
    pub amount: Money,
    /// pending, succeeded, declined or cancelled.
    pub status: String,
}

pub(super) async fn insert_intent(pool: &PgPool, payment: &Payment) -> Result<(), sqlx::Error> {
    sqlx::query("insert into simulated_intents (festival_id, payment_id, currency, amount_minor, status, refunded_minor) values ($1, $2, $3, $4, 'pending', 0) on conflict do nothing")
        .bind(payment.payment_id.festival())
        .bind(payment.payment_id)
        .bind(payment.amount.currency)
        .bind(payment.amount.minor)
        .execute(pool)
        .await?;
    Ok(())
}

/// What was paid at once left no row in the books of the bank, because a rush pays that way: it is written when it is needed. The bank takes our word for
/// what it captured.
pub(super) async fn insert_instant_intent(pool: &PgPool, payment: PaymentId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into simulated_intents (festival_id, payment_id, currency, amount_minor, status, refunded_minor) \
         select festival_id, payment_id, currency, amount_minor, 'succeeded', 0 from payments where festival_id = $1 and payment_id = $2 and status = 'captured' \
         on conflict (festival_id, payment_id) do update set status = 'succeeded', currency = excluded.currency, amount_minor = excluded.amount_minor \
             where (simulated_intents.status, simulated_intents.currency, simulated_intents.amount_minor) <> ('succeeded', excluded.currency, excluded.amount_minor)",
    )
    .bind(payment.festival())
    .bind(payment)
    .execute(pool)
    .await?;
    Ok(())
}

/// A payment in the books of the simulated bank.
///
/// # Errors
/// What the database said.
pub async fn intent(pool: &PgPool, payment: PaymentId) -> Result<Option<Intent>, sqlx::Error> {
    sqlx::query_as("select row(amount_minor, currency)::amount as amount, status from simulated_intents where festival_id = $1 and payment_id = $2")
        .bind(payment.festival())
        .bind(payment)
        .fetch_optional(pool)
        .await
}

pub(super) async fn decide_intent(pool: &PgPool, payment: PaymentId, status: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update simulated_intents set status = $3 where festival_id = $1 and payment_id = $2 and status = 'pending'")
        .bind(payment.festival())
        .bind(payment)
        .bind(status)
        .execute(pool)
        .await?;
    Ok(())
}

/// Writes a refund into the books of the bank, where the payment has room for it; the same reference again is the same refund.
pub(super) async fn insert_simulated_refund(pool: &PgPool, refund_ref: &str, refund: &Refund, status: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with taken as ( \
             update simulated_intents set refunded_minor = refunded_minor + case when $5 = 'failed' then 0 else $4 end \
             where festival_id = $1 and payment_id = $3 and status = 'succeeded' and refunded_minor + $4 <= amount_minor \
               and not exists (select from simulated_refunds where festival_id = $1 and refund_ref = $2) returning 1) \
         insert into simulated_refunds (festival_id, refund_ref, payment_id, amount_minor, status) select $1, $2, $3, $4, $5 from taken on conflict do nothing",
    )
    .bind(refund.refund_id.festival())
    .bind(refund_ref)
    .bind(refund.payment_id)
    .bind(refund.amount.minor)
    .bind(status)
    .execute(pool)
    .await?;
    Ok(())
}

/// Decides a refund of the bank that is pending.
pub(super) async fn decide_simulated_refund(pool: &PgPool, refund_ref: &str, festival: FestivalId, status: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with decided as ( \
             update simulated_refunds set status = $3 where festival_id = $1 and refund_ref = $2 and status = 'pending' and $3 <> 'pending' \
             returning payment_id, amount_minor) \
         update simulated_intents i set refunded_minor = i.refunded_minor - d.amount_minor from decided d \
         where $3 = 'failed' and i.festival_id = $1 and i.payment_id = d.payment_id",
    )
    .bind(festival)
    .bind(refund_ref)
    .bind(status)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn simulated_refund(pool: &PgPool, refund_ref: &str, festival: FestivalId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select status from simulated_refunds where festival_id = $1 and refund_ref = $2")
        .bind(festival)
        .bind(refund_ref)
        .fetch_optional(pool)
        .await
}
