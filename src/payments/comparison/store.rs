//! The rows of comparisons and of what differs.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Comparison, Difference, Found, Ours, fresh};
use crate::{
    id::{DifferenceId, FestivalId, PaymentAccountId, PaymentId},
    money::Money,
};

/// The accounts that may have taken something, and since when.
pub(super) async fn accounts(pool: &PgPool) -> Result<Vec<(PaymentAccountId, DateTime<Utc>)>, sqlx::Error> {
    sqlx::query_as("select account_id, created_at from payment_accounts order by account_id").fetch_all(pool).await
}

/// Takes the comparison of a day, unless it is done or another server is at it.
pub(super) async fn claim(pool: &PgPool, account: PaymentAccountId, day: NaiveDate, now: DateTime<Utc>, abandoned: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query(
        "insert into comparisons (account_id, day, begun_at) values ($1, $2, $3) \
         on conflict (account_id, day) do update set begun_at = excluded.begun_at where comparisons.done_at is null and comparisons.begun_at < $4",
    )
    .bind(account)
    .bind(day)
    .bind(now)
    .bind(abandoned)
    .execute(pool)
    .await?;
    Ok(claimed.rows_affected() > 0)
}

pub(super) async fn done(pool: &PgPool, account: PaymentAccountId, day: NaiveDate, payments: i64, refunds: i64, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update comparisons set done_at = $3, payments = $4, refunds = $5 where account_id = $1 and day = $2")
        .bind(account)
        .bind(day)
        .bind(now)
        .bind(payments)
        .bind(refunds)
        .execute(pool)
        .await?;
    Ok(())
}

/// Payments as we have them, of those that an account took: what it says of others' is nothing to us.
pub(super) async fn known(pool: &PgPool, account: PaymentAccountId, ids: &[PaymentId]) -> Result<HashMap<PaymentId, Ours>, sqlx::Error> {
    let rows: Vec<(PaymentId, bool, Money, bool)> = sqlx::query_as(
        "select p.payment_id, p.status = 'captured', row(p.amount_minor, p.currency)::amount, coalesce(p.account_id = $3 and p.provider = 'stripe', false) \
         from unnest($1::integer[], $2::uuid[]) as k (festival_id, payment_id) join payments p on p.festival_id = k.festival_id and p.payment_id = k.payment_id",
    )
    .bind(ids.iter().map(|id| id.festival()).collect::<Vec<FestivalId>>())
    .bind(ids)
    .bind(account)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter(|(.., is_its)| *is_its).map(|(id, is_captured, amount, _)| (id, Ours { is_captured, amount })).collect())
}

/// What an account captured of payments that were begun in a time, as we have it.
pub(super) async fn captured(
    pool: &PgPool,
    account: PaymentAccountId,
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Vec<(PaymentId, String, Money)>, sqlx::Error> {
    sqlx::query_as(
        "select payment_id, coalesce(provider_ref, ''), row(amount_minor, currency)::amount from payments \
         where account_id = $1 and created_at >= $2 and created_at < $3 and status = 'captured'",
    )
    .bind(account)
    .bind(begin)
    .bind(end)
    .fetch_all(pool)
    .await
}

/// Writes down what differs; what was found before is there.
pub(super) async fn insert(pool: &PgPool, account: PaymentAccountId, day: NaiveDate, found: &[Found], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if found.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into differences (festival_id, difference_id, account_id, day, kind, provider_ref, payment_id, currency, ours_minor, theirs_minor, found_at) \
         select d.festival_id, d.difference_id, $1, $2, d.kind, d.provider_ref, d.payment_id, d.currency, d.ours, d.theirs, $3 \
         from unnest($4::integer[], $5::uuid[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::bigint[], $11::bigint[]) \
              as d (festival_id, difference_id, kind, provider_ref, payment_id, currency, ours, theirs) on conflict do nothing",
    )
    .bind(account)
    .bind(day)
    .bind(now)
    .bind(found.iter().map(|f| f.payment_id.festival()).collect::<Vec<_>>())
    .bind(found.iter().map(|f| fresh(f, now)).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.kind.name()).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.provider_ref.as_str()).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.payment_id).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.theirs.currency.code()).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.ours.minor).collect::<Vec<_>>())
    .bind(found.iter().map(|f| f.theirs.minor).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// The differences of a festival that nobody looked at, oldest first, at most two hundred.
pub(super) async fn open(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Difference>, sqlx::Error> {
    sqlx::query_as(
        "select d.difference_id, d.day, d.kind, d.provider_ref, d.payment_id, p.order_id, row(d.ours_minor, d.currency)::amount as ours, \
                row(d.theirs_minor, d.currency)::amount as theirs, d.found_at \
         from differences d left join payments p on p.festival_id = d.festival_id and p.payment_id = d.payment_id \
         where d.cleared_at is null and d.festival_id = $1 order by d.found_at limit 200",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

/// The latest comparison that is done of the accounts of a festival's promoter.
pub(super) async fn latest(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<Comparison>, sqlx::Error> {
    sqlx::query_as(
        "select c.day, c.done_at, c.payments, c.refunds from festivals f join payment_accounts a using (promoter_id) join comparisons c using (account_id) \
         where f.festival_id = $1 and c.done_at is not null order by c.day desc, c.done_at desc limit 1",
    )
    .bind(festival)
    .fetch_optional(conn)
    .await
}

pub(super) async fn clear(conn: &mut PgConnection, id: DifferenceId, note: &str, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update differences set cleared_at = $3, note = $4 where festival_id = $1 and difference_id = $2 and cleared_at is null")
        .bind(id.festival())
        .bind(id)
        .bind(now)
        .bind(note)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn is_there(conn: &mut PgConnection, id: DifferenceId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from differences where festival_id = $1 and difference_id = $2)")
        .bind(id.festival())
        .bind(id)
        .fetch_one(conn)
        .await
}
