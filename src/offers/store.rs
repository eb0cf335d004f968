//! The rows of passes, add-ons, offers and stock.

use sqlx::{PgConnection, PgPool, types::Json};

use super::{AddOn, BookingFee, Issuable, Offer, Pass, Stock};
use crate::id::{AddOnId, FestivalId, OfferId, PassId, StockId};

pub(super) async fn lock_stocks_of(conn: &mut PgConnection, festival: FestivalId, offers: &[OfferId]) -> Result<Vec<Stock>, sqlx::Error> {
    sqlx::query_as(
        "select stock_id, name, capacity, held, sold from stocks where festival_id = $1 and stock_id in ( \
             select o.stock_id from offers o where o.festival_id = $1 and o.offer_id = any($2) \
             union select s.stock_id from offer_stocks s where s.festival_id = $1 and s.offer_id = any($2) \
             union select t.stock_id from tiers t where t.festival_id = $1 and t.offer_id = any($2)) \
         order by stock_id for no key update",
    )
    .bind(festival)
    .bind(offers)
    .fetch_all(conn)
    .await
}

/// The same without a lock: only the negative control of the race tests may use it.
pub(super) async fn stocks_of_offers(conn: &mut PgConnection, festival: FestivalId, offers: &[OfferId]) -> Result<Vec<Stock>, sqlx::Error> {
    sqlx::query_as(
        "select s.stock_id, s.name, s.capacity, s.held, s.sold from stocks s join offers o on o.festival_id = s.festival_id and o.stock_id = s.stock_id \
         where o.festival_id = $1 and o.offer_id = any($2)",
    )
    .bind(festival)
    .bind(offers)
    .fetch_all(conn)
    .await
}

pub(super) async fn lock_stocks(conn: &mut PgConnection, festival: FestivalId, stocks: &[StockId]) -> Result<(), sqlx::Error> {
    sqlx::query("select stock_id from stocks where festival_id = $1 and stock_id = any($2) order by stock_id for no key update")
        .bind(festival)
        .bind(stocks)
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds `held_factor` and `sold_factor` times the units to stocks that are locked.
pub(super) async fn add(
    conn: &mut PgConnection,
    festival: FestivalId,
    stocks: &[StockId],
    units: &[i32],
    held_factor: i32,
    sold_factor: i32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update stocks s set held = s.held + u.units * $4, sold = s.sold + u.units * $5 \
         from unnest($2::uuid[], $3::integer[]) as u (stock_id, units) where s.festival_id = $1 and s.stock_id = u.stock_id",
    )
    .bind(festival)
    .bind(stocks)
    .bind(units)
    .bind(held_factor)
    .bind(sold_factor)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(super) async fn offers_of(conn: &mut PgConnection, festival: FestivalId, offers: &[OfferId]) -> Result<Vec<Offer>, sqlx::Error> {
    let rows: Vec<(Json<Offer>,)> = sqlx::query_as(
        "select to_jsonb(o) || jsonb_build_object( \
             'currency', f.currency, 'published', f.published_at is not null, 'festival_paused', f.paused, \
             'fee', (select to_jsonb(b) from booking_fees b where b.festival_id = $1), \
             'somebody_waits', exists (select from waiting_lists w where w.festival_id = $1 and w.units > 0), \
             'tiers', (select coalesce(jsonb_agg(to_jsonb(t) order by t.tier_no), '[]') from tiers t where t.festival_id = $1 and t.offer_id = o.offer_id), \
             'components', (select coalesce(jsonb_agg(to_jsonb(c) order by c.component_no), '[]') from components c where c.festival_id = $1 and c.offer_id = o.offer_id), \
             'requirements', (select coalesce(jsonb_agg(to_jsonb(r) order by r.requirement_no), '[]') from requirements r where r.festival_id = $1 and r.offer_id = o.offer_id), \
             'stocks', (select coalesce(jsonb_agg(to_jsonb(s) order by s.stock_id), '[]') from offer_stocks s where s.festival_id = $1 and s.offer_id = o.offer_id)) \
         from offers o join festivals f on f.festival_id = o.festival_id where o.festival_id = $1 and o.offer_id = any($2)",
    )
    .bind(festival)
    .bind(offers)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(Json(offer),)| offer).collect())
}

/// The offers of a festival in the promoter's order.
///
/// # Errors
/// What the database said.
pub async fn offers(pool: &PgPool, festival: FestivalId) -> Result<Vec<Offer>, sqlx::Error> {
    offers_in(&mut *pool.acquire().await?, festival).await
}

/// The same; joins a transaction.
///
/// # Errors
/// What the database said.
pub async fn offers_in(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Offer>, sqlx::Error> {
    let ids: Vec<OfferId> = sqlx::query_scalar("select offer_id from offers where festival_id = $1 limit 500").bind(festival).fetch_all(&mut *conn).await?;
    let mut offers = offers_of(conn, festival, &ids).await?;
    offers.sort_by_key(|o| (o.sort, o.offer_id));
    Ok(offers)
}

/// The stocks of a festival.
///
/// # Errors
/// What the database said.
pub async fn stocks_of(pool: &PgPool, festival: FestivalId) -> Result<Vec<Stock>, sqlx::Error> {
    sqlx::query_as("select stock_id, name, capacity, held, sold from stocks where festival_id = $1 order by stock_id").bind(festival).fetch_all(pool).await
}

/// The stocks of a festival, for its promoter.
///
/// # Errors
/// What the database said.
pub async fn stocks(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Stock>, sqlx::Error> {
    sqlx::query_as("select stock_id, name, capacity, held, sold from stocks where festival_id = $1 order by stock_id").bind(festival).fetch_all(conn).await
}

/// The passes of a festival by number.
///
/// # Errors
/// What the database said.
pub async fn passes(pool: &PgPool, festival: FestivalId) -> Result<Vec<Pass>, sqlx::Error> {
    sqlx::query_as("select * from passes where festival_id = $1 order by pass_number").bind(festival).fetch_all(pool).await
}

/// The add-ons of a festival by number.
///
/// # Errors
/// What the database said.
pub async fn add_ons(pool: &PgPool, festival: FestivalId) -> Result<Vec<AddOn>, sqlx::Error> {
    sqlx::query_as("select add_on_id, add_on_number, name from add_ons where festival_id = $1 order by add_on_number").bind(festival).fetch_all(pool).await
}

pub(super) async fn issuable(conn: &mut PgConnection, festival: FestivalId, passes: &[PassId], add_ons: &[AddOnId]) -> Result<Issuable, sqlx::Error> {
    let passes = sqlx::query_as("select pass_id, pass_number, day_mask from passes where festival_id = $1 and pass_id = any($2)")
        .bind(festival)
        .bind(passes)
        .fetch_all(&mut *conn)
        .await?;
    let add_ons = if add_ons.is_empty() {
        Vec::new()
    } else {
        sqlx::query_as("select add_on_id, add_on_number from add_ons where festival_id = $1 and add_on_id = any($2)")
            .bind(festival)
            .bind(add_ons)
            .fetch_all(conn)
            .await?
    };
    Ok(Issuable { passes, add_ons })
}

pub(super) async fn locked(conn: &mut PgConnection, festival: FestivalId, stocks: &[StockId]) -> Result<Vec<Stock>, sqlx::Error> {
    sqlx::query_as("select stock_id, name, capacity, held, sold from stocks where festival_id = $1 and stock_id = any($2) order by stock_id for no key update")
        .bind(festival)
        .bind(stocks)
        .fetch_all(conn)
        .await
}

// - booking fees -

/// The booking fee of a festival.
///
/// # Errors
/// What the database said.
pub async fn fee(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<BookingFee>, sqlx::Error> {
    sqlx::query_as("select fixed_minor, ppm, borne_by, tax_ppm, is_kept from booking_fees where festival_id = $1").bind(festival).fetch_optional(conn).await
}

pub(super) async fn set_fee(conn: &mut PgConnection, festival: FestivalId, fee: Option<&BookingFee>) -> Result<(), sqlx::Error> {
    let Some(fee) = fee else {
        sqlx::query("delete from booking_fees where festival_id = $1").bind(festival).execute(conn).await?;
        return Ok(());
    };
    sqlx::query(
        "insert into booking_fees (festival_id, fixed_minor, ppm, borne_by, tax_ppm, is_kept) values ($1, $2, $3, $4, $5, $6) \
         on conflict (festival_id) do update set fixed_minor = excluded.fixed_minor, ppm = excluded.ppm, borne_by = excluded.borne_by, \
             tax_ppm = excluded.tax_ppm, is_kept = excluded.is_kept",
    )
    .bind(festival)
    .bind(fee.fixed_minor)
    .bind(i32::try_from(fee.ppm).unwrap_or(i32::MAX))
    .bind(fee.borne_by)
    .bind(i32::try_from(fee.tax_ppm).unwrap_or(i32::MAX))
    .bind(fee.is_kept)
    .execute(conn)
    .await?;
    Ok(())
}
