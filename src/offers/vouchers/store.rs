//! The rows of vouchers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Effect, Uses, Voucher, VoucherTerms, batch::VoucherBatch, commands::Made};
use crate::id::{FestivalId, VoucherBatchId, VoucherId};

/// Locks the vouchers of some keys; which they are.
pub(super) async fn lock(conn: &mut PgConnection, festival: FestivalId, keys: &[&[u8]]) -> Result<Vec<VoucherId>, sqlx::Error> {
    sqlx::query_scalar("select voucher_id from vouchers where festival_id = $1 and code_key = any($2) order by voucher_id for no key update")
        .bind(festival)
        .bind(keys)
        .fetch_all(conn)
        .await
}

/// Locks vouchers; how many there are.
pub(super) async fn lock_by_ids(conn: &mut PgConnection, festival: FestivalId, ids: &[VoucherId]) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("select voucher_id from vouchers where festival_id = $1 and voucher_id = any($2) order by voucher_id for no key update")
        .bind(festival)
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

pub(super) async fn by_ids(conn: &mut PgConnection, festival: FestivalId, ids: &[VoucherId]) -> Result<Vec<Voucher>, sqlx::Error> {
    sqlx::query_as(
        "select v.voucher_id, r.batch_id, v.label, v.percent_off, v.minor_off, r.price_minor, coalesce(r.opens, false) as opens, v.offer_ids, v.max_uses, \
                v.used, r.max_per_fan, r.budget_minor, coalesce(r.spent_minor, 0) as spent_minor, r.listed, v.opens_at, v.closes_at, v.code_key, v.sealed_code \
         from vouchers v left join voucher_rules r on r.festival_id = v.festival_id and r.voucher_id = v.voucher_id \
         where v.festival_id = $1 and v.voucher_id = any($2)",
    )
    .bind(festival)
    .bind(ids)
    .fetch_all(conn)
    .await
}

pub(super) async fn by_key(pool: &PgPool, festival: FestivalId, key: &[u8; 16]) -> Result<Option<Voucher>, sqlx::Error> {
    sqlx::query_as(
        "select v.voucher_id, r.batch_id, v.label, v.percent_off, v.minor_off, r.price_minor, coalesce(r.opens, false) as opens, v.offer_ids, v.max_uses, \
                v.used, r.max_per_fan, r.budget_minor, coalesce(r.spent_minor, 0) as spent_minor, r.listed, v.opens_at, v.closes_at, v.code_key, v.sealed_code \
         from vouchers v left join voucher_rules r on r.festival_id = v.festival_id and r.voucher_id = v.voucher_id \
         where v.festival_id = $1 and v.code_key = $2",
    )
    .bind(festival)
    .bind(key.as_slice())
    .fetch_optional(pool)
    .await
}

/// The vouchers of a festival, newest first.
pub(super) async fn of_festival(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Voucher>, sqlx::Error> {
    sqlx::query_as(
        "select v.voucher_id, r.batch_id, v.label, v.percent_off, v.minor_off, r.price_minor, coalesce(r.opens, false) as opens, v.offer_ids, v.max_uses, \
                v.used, r.max_per_fan, r.budget_minor, coalesce(r.spent_minor, 0) as spent_minor, r.listed, v.opens_at, v.closes_at, v.code_key, v.sealed_code \
         from vouchers v left join voucher_rules r on r.festival_id = v.festival_id and r.voucher_id = v.voucher_id \
         where v.festival_id = $1 and ($2::uuid is null or v.voucher_id < $2) order by v.voucher_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}

/// The vouchers of a batch, in the order in which they were made.
pub(super) async fn of_batch(conn: &mut PgConnection, batch: VoucherBatchId) -> Result<Vec<Voucher>, sqlx::Error> {
    sqlx::query_as(
        "select v.voucher_id, r.batch_id, v.label, v.percent_off, v.minor_off, r.price_minor, r.opens, v.offer_ids, v.max_uses, \
                v.used, r.max_per_fan, r.budget_minor, r.spent_minor, r.listed, v.opens_at, v.closes_at, v.code_key, v.sealed_code \
         from voucher_rules r join vouchers v on v.festival_id = r.festival_id and v.voucher_id = r.voucher_id \
         where r.festival_id = $1 and r.batch_id = $2 order by v.voucher_id",
    )
    .bind(batch.festival())
    .bind(batch)
    .fetch_all(conn)
    .await
}

pub(super) async fn listed(
    conn: &mut PgConnection,
    festival: FestivalId,
    wanted: impl Iterator<Item = &(VoucherId, [u8; 16])>,
) -> Result<Vec<(VoucherId, Vec<u8>)>, sqlx::Error> {
    let (vouchers, addresses): (Vec<VoucherId>, Vec<&[u8]>) = wanted.map(|(voucher, address)| (*voucher, address.as_slice())).unzip();
    sqlx::query_as(
        "select a.voucher_id, a.address_key from unnest($2::uuid[], $3::bytea[]) as w (voucher_id, address_key) \
         join voucher_addresses a on a.voucher_id = w.voucher_id and a.address_key = w.address_key and a.festival_id = $1",
    )
    .bind(festival)
    .bind(vouchers)
    .bind(addresses)
    .fetch_all(conn)
    .await
}

pub(super) async fn count_uses(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, Uses>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update vouchers v set used = v.used + u.uses from unnest($2::uuid[], $3::integer[]) as u (voucher_id, uses) \
         where v.festival_id = $1 and v.voucher_id = u.voucher_id",
    )
    .bind(festival)
    .bind(uses.keys().copied().collect::<Vec<_>>())
    .bind(uses.values().map(|u| u.orders).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Counts what locked vouchers take off, where they have a budget. What a server of before sold was not counted: giving it back leaves nothing, not less.
pub(super) async fn spend(conn: &mut PgConnection, festival: FestivalId, uses: &BTreeMap<VoucherId, Uses>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update voucher_rules r set spent_minor = greatest(r.spent_minor + u.minor, 0) from unnest($2::uuid[], $3::bigint[]) as u (voucher_id, minor) \
         where r.festival_id = $1 and r.voucher_id = u.voucher_id and r.budget_minor is not null",
    )
    .bind(festival)
    .bind(uses.keys().copied().collect::<Vec<_>>())
    .bind(uses.values().map(|u| u.minor).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    made: &[Made],
    batch: Option<VoucherBatchId>,
    effect: Effect,
    terms: &VoucherTerms,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<VoucherId> = made.iter().map(|m| m.id).collect();
    sqlx::query(
        "insert into vouchers (festival_id, voucher_id, code_key, sealed_code, label, percent_off, minor_off, offer_ids, max_uses, used, opens_at, closes_at, created_at) \
         select $1, m.voucher_id, m.code_key, m.sealed_code, $5, $6, $7, $8, $9, 0, $10, $11, $12 \
         from unnest($2::uuid[], $3::bytea[], $4::bytea[]) as m (voucher_id, code_key, sealed_code)",
    )
    .bind(festival)
    .bind(&ids)
    .bind(made.iter().map(|m| m.key.as_slice()).collect::<Vec<_>>())
    .bind(made.iter().map(|m| m.sealed.as_slice()).collect::<Vec<_>>())
    .bind(&terms.label)
    .bind(effect.percent_off)
    .bind(effect.minor_off)
    .bind(&terms.offer_ids)
    .bind(terms.max_uses)
    .bind(terms.opens_at)
    .bind(terms.closes_at)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into voucher_rules (festival_id, voucher_id, price_minor, max_per_fan, budget_minor, spent_minor, opens, batch_id) \
         select $1, m.voucher_id, $3, $4, $5, 0, $6, $7 from unnest($2::uuid[]) as m (voucher_id)",
    )
    .bind(festival)
    .bind(&ids)
    .bind(effect.price_minor)
    .bind(terms.max_per_fan)
    .bind(terms.budget_minor)
    .bind(effect.opens)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives locked vouchers new terms. One that an earlier server made gets its row beside it.
pub(super) async fn update(conn: &mut PgConnection, festival: FestivalId, ids: &[VoucherId], terms: &VoucherTerms) -> Result<(), sqlx::Error> {
    sqlx::query("update vouchers set label = $3, offer_ids = $4, max_uses = $5, opens_at = $6, closes_at = $7 where festival_id = $1 and voucher_id = any($2)")
        .bind(festival)
        .bind(ids)
        .bind(&terms.label)
        .bind(&terms.offer_ids)
        .bind(terms.max_uses)
        .bind(terms.opens_at)
        .bind(terms.closes_at)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into voucher_rules (festival_id, voucher_id, max_per_fan, budget_minor, spent_minor, opens) \
         select $1, m.voucher_id, $3, $4, 0, false from unnest($2::uuid[]) as m (voucher_id) \
         on conflict (festival_id, voucher_id) do update set max_per_fan = excluded.max_per_fan, budget_minor = excluded.budget_minor",
    )
    .bind(festival)
    .bind(ids)
    .bind(terms.max_per_fan)
    .bind(terms.budget_minor)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes addresses to the list of a voucher that need not be locked; those that are on it stay.
pub(super) async fn add_addresses(conn: &mut PgConnection, voucher: VoucherId, keys: &[[u8; 16]]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into voucher_addresses (festival_id, voucher_id, address_key) select $1, $2, k from unnest($3::bytea[]) as k on conflict do nothing")
        .bind(voucher.festival())
        .bind(voucher)
        .bind(keys.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// Leaves on the list of a locked voucher only these addresses, which are on it; without a list it is for everybody.
pub(super) async fn replace_list(conn: &mut PgConnection, voucher: VoucherId, keys: Option<&Vec<[u8; 16]>>) -> Result<(), sqlx::Error> {
    let festival = voucher.festival();
    sqlx::query(
        "delete from voucher_addresses a where a.voucher_id = $2 and a.festival_id = $1 \
         and not exists (select from unnest($3::bytea[]) as k where k = a.address_key)",
    )
    .bind(festival)
    .bind(voucher)
    .bind(keys.map_or(Vec::new(), |keys| keys.iter().map(<[u8; 16]>::as_slice).collect()))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into voucher_rules (festival_id, voucher_id, spent_minor, opens, listed) values ($1, $2, 0, false, $3) \
         on conflict (festival_id, voucher_id) do update set listed = excluded.listed",
    )
    .bind(festival)
    .bind(voucher)
    .bind(keys.map(|keys| i32::try_from(keys.len()).unwrap_or(i32::MAX)))
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a batch; not where its key was used.
pub(super) async fn insert_batch(conn: &mut PgConnection, batch: &VoucherBatch, key: &[u8; 16], fingerprint: &[u8; 16]) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into voucher_batches (festival_id, batch_id, label, size, created_at, key_hash, fingerprint) values ($1, $2, $3, $4, $5, $6, $7) \
         on conflict on constraint voucher_batches_key do nothing",
    )
    .bind(batch.batch_id.festival())
    .bind(batch.batch_id)
    .bind(&batch.label)
    .bind(batch.size)
    .bind(batch.created_at)
    .bind(key.as_slice())
    .bind(fingerprint.as_slice())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The batch that a key made, and what was asked for.
pub(super) async fn batch_by_key(conn: &mut PgConnection, festival: FestivalId, key: &[u8; 16]) -> Result<Option<(VoucherBatchId, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as("select batch_id, fingerprint from voucher_batches where festival_id = $1 and key_hash = $2")
        .bind(festival)
        .bind(key.as_slice())
        .fetch_optional(conn)
        .await
}

/// The batches of a festival, newest first.
pub(super) async fn batches(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<VoucherBatch>, sqlx::Error> {
    sqlx::query_as(
        "select batch_id, label, size, created_at from voucher_batches where festival_id = $1 and ($2::uuid is null or batch_id < $2) \
         order by batch_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}

pub(super) async fn relabel_batch(conn: &mut PgConnection, batch: VoucherBatchId, label: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update voucher_batches set label = $3 where festival_id = $1 and batch_id = $2")
        .bind(batch.festival())
        .bind(batch)
        .bind(label)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn batch(conn: &mut PgConnection, batch: VoucherBatchId) -> Result<Option<VoucherBatch>, sqlx::Error> {
    sqlx::query_as("select batch_id, label, size, created_at from voucher_batches where festival_id = $1 and batch_id = $2")
        .bind(batch.festival())
        .bind(batch)
        .fetch_optional(conn)
        .await
}
