//! The rows of payment accounts and the secrets of their notifications.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Keyed, Method, PaymentAccount, WebhookSecret, opened};
use crate::{
    id::{FestivalId, PaymentAccountId, PromoterId},
    secrets::Secrets,
};

#[derive(FromRow)]
struct Sealed {
    account_id: PaymentAccountId,
    is_live: bool,
    methods: Vec<String>,
    key_sealed: Vec<u8>,
}

impl Sealed {
    fn open(self, secrets: &Secrets) -> Result<Keyed, sqlx::Error> {
        let key = opened(secrets, "payment_accounts", "key_sealed", &self.account_id.to_string(), &self.key_sealed)
            .ok_or_else(|| sqlx::Error::Protocol(format!("the key of the payment account {} is not under this master key", self.account_id)))?;
        Ok(Keyed { account_id: self.account_id, is_live: self.is_live, methods: read(&self.methods), key })
    }
}

fn read(names: &[String]) -> Vec<Method> {
    names.iter().filter_map(|name| Method::read(name)).collect()
}

/// The account that is connected for the promoter of a festival.
pub(super) async fn connected(pool: &PgPool, secrets: &Secrets, festival: FestivalId) -> Result<Option<Keyed>, sqlx::Error> {
    let found: Option<Sealed> = sqlx::query_as(
        "select a.account_id, a.is_live, a.methods, a.key_sealed from festivals f join payment_accounts a using (promoter_id) \
         where f.festival_id = $1 and a.provider = 'stripe' and a.disconnected_at is null",
    )
    .bind(festival)
    .fetch_optional(pool)
    .await?;
    found.map(|sealed| sealed.open(secrets)).transpose()
}

pub(super) async fn keyed(pool: &PgPool, secrets: &Secrets, account: PaymentAccountId) -> Result<Option<Keyed>, sqlx::Error> {
    let found: Option<Sealed> = sqlx::query_as("select account_id, is_live, methods, key_sealed from payment_accounts where account_id = $1")
        .bind(account)
        .fetch_optional(pool)
        .await?;
    found.map(|sealed| sealed.open(secrets)).transpose()
}

/// The secrets of an account that are in use.
pub(super) async fn signers(on: impl sqlx::PgExecutor<'_>, secrets: &Secrets, account: PaymentAccountId) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(i16, Vec<u8>)> =
        sqlx::query_as("select secret_no, secret_sealed from payment_account_secrets where account_id = $1 and removed_at is null order by secret_no")
            .bind(account)
            .fetch_all(on)
            .await?;
    Ok(rows.iter().filter_map(|(no, sealed)| opened(secrets, "payment_account_secrets", "secret_sealed", &format!("{account}/{no}"), sealed)).collect())
}

#[derive(FromRow)]
struct Shown {
    account_id: PaymentAccountId,
    provider: String,
    external_ref: String,
    is_live: bool,
    key_hint: String,
    methods: Vec<String>,
    connected_at: DateTime<Utc>,
    disconnected_at: Option<DateTime<Utc>>,
}

/// The accounts of a promoter: the connected one first, then the latest.
pub(super) async fn listed(conn: &mut PgConnection, public_url: &str, promoter: PromoterId) -> Result<Vec<PaymentAccount>, sqlx::Error> {
    let rows: Vec<Shown> = sqlx::query_as(
        "select account_id, provider, external_ref, is_live, key_hint, methods, connected_at, disconnected_at from payment_accounts where promoter_id = $1 \
         order by disconnected_at desc nulls first, connected_at desc",
    )
    .bind(promoter)
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<PaymentAccountId> = rows.iter().map(|row| row.account_id).collect();
    let secrets: Vec<(PaymentAccountId, i16, String, DateTime<Utc>)> = sqlx::query_as(
        "select account_id, secret_no, hint, added_at from payment_account_secrets where account_id = any($1) and removed_at is null order by account_id, secret_no",
    )
    .bind(&ids)
    .fetch_all(conn)
    .await?;
    let of = |id: PaymentAccountId| secrets.iter().filter(move |(account, ..)| *account == id);
    Ok(rows
        .into_iter()
        .map(|row| PaymentAccount {
            account_id: row.account_id,
            notification_url: format!("{public_url}/v1/payment-notifications/{}/{}", row.provider, row.account_id),
            provider: row.provider,
            external_ref: row.external_ref,
            is_live: row.is_live,
            key_hint: row.key_hint,
            methods: read(&row.methods),
            webhook_secrets: of(row.account_id)
                .map(|(_, secret_no, hint, added_at)| WebhookSecret { secret_no: *secret_no, hint: hint.clone(), added_at: *added_at })
                .collect(),
            connected_at: row.connected_at,
            disconnected_at: row.disconnected_at,
        })
        .collect())
}

/// Lets one member at a time change the accounts of a promoter.
pub(super) async fn lock(conn: &mut PgConnection, promoter: PromoterId) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('payment_accounts/' || $1, 0))").bind(promoter.to_string()).execute(conn).await?;
    Ok(())
}

pub(super) async fn find(conn: &mut PgConnection, promoter: PromoterId, external_ref: &str, is_live: bool) -> Result<Option<PaymentAccountId>, sqlx::Error> {
    sqlx::query_scalar("select account_id from payment_accounts where promoter_id = $1 and provider = 'stripe' and external_ref = $2 and is_live = $3")
        .bind(promoter)
        .bind(external_ref)
        .bind(is_live)
        .fetch_optional(conn)
        .await
}

pub(super) async fn disconnect_others(
    conn: &mut PgConnection,
    promoter: PromoterId,
    account: PaymentAccountId,
    now: DateTime<Utc>,
) -> Result<Vec<PaymentAccountId>, sqlx::Error> {
    sqlx::query_scalar(
        "update payment_accounts set disconnected_at = $3, changed_at = $3 where promoter_id = $1 and provider = 'stripe' and account_id <> $2 and disconnected_at is null \
         returning account_id",
    )
    .bind(promoter)
    .bind(account)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// An account as it is written.
pub(super) struct Row<'a> {
    pub(super) account_id: PaymentAccountId,
    pub(super) external_ref: &'a str,
    pub(super) is_live: bool,
    pub(super) key_sealed: &'a [u8],
    pub(super) key_hint: &'a str,
    pub(super) methods: &'a [Method],
}

pub(super) async fn put(conn: &mut PgConnection, promoter: PromoterId, row: &Row<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into payment_accounts (promoter_id, account_id, provider, external_ref, is_live, key_sealed, key_hint, methods, created_at, connected_at, changed_at) \
         values ($1, $2, 'stripe', $3, $4, $5, $6, $7, $8, $8, $8) \
         on conflict (account_id) do update set key_sealed = excluded.key_sealed, key_hint = excluded.key_hint, methods = excluded.methods, changed_at = excluded.changed_at, \
             connected_at = case when payment_accounts.disconnected_at is null then payment_accounts.connected_at else excluded.connected_at end, disconnected_at = null",
    )
    .bind(promoter)
    .bind(row.account_id)
    .bind(row.external_ref)
    .bind(row.is_live)
    .bind(row.key_sealed)
    .bind(row.key_hint)
    .bind(row.methods.iter().map(|method| method.name()).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn disconnect(conn: &mut PgConnection, promoter: PromoterId, account: PaymentAccountId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("update payment_accounts set disconnected_at = $3, changed_at = $3 where promoter_id = $1 and account_id = $2 and disconnected_at is null")
            .bind(promoter)
            .bind(account)
            .bind(now)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn next_secret(conn: &mut PgConnection, account: PaymentAccountId) -> Result<i16, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(secret_no), 0::smallint) + 1::smallint from payment_account_secrets where account_id = $1")
        .bind(account)
        .fetch_one(conn)
        .await
}

pub(super) async fn add_secret(
    conn: &mut PgConnection,
    account: PaymentAccountId,
    secret_no: i16,
    sealed: &[u8],
    hint: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into payment_account_secrets (account_id, secret_no, secret_sealed, hint, added_at) values ($1, $2, $3, $4, $5)")
        .bind(account)
        .bind(secret_no)
        .bind(sealed)
        .bind(hint)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn remove_secret(conn: &mut PgConnection, account: PaymentAccountId, secret_no: i16, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update payment_account_secrets set removed_at = $3 where account_id = $1 and secret_no = $2 and removed_at is null")
        .bind(account)
        .bind(secret_no)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}
