//! The rows of passes, add-ons, offers and stock, as their promoter makes and changes them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{NewOffer, OfferTerms, TierTerms};
use crate::{
    id::{AddOnId, FestivalId, OfferId, PassId, PromoterId, StockId},
    offers::{AddOn, Offer, Pass, PassTerms, Stock, store},
    words::Text,
};

/// The next number of passes and add-ons: one space, never reused, serial under the lock of the festival's row.
pub(super) async fn next_number(conn: &mut PgConnection, promoter: PromoterId, festival: FestivalId) -> Result<Option<i32>, sqlx::Error> {
    let there: Option<i32> = sqlx::query_scalar("select 1 from festivals where festival_id = $1 and promoter_id = $2 for no key update")
        .bind(festival)
        .bind(promoter)
        .fetch_optional(&mut *conn)
        .await?;
    if there.is_none() {
        return Ok(None);
    }
    sqlx::query_scalar(
        "select greatest(coalesce((select max(pass_number) from passes where festival_id = $1), 0), \
                         coalesce((select max(add_on_number) from add_ons where festival_id = $1), 0)) + 1",
    )
    .bind(festival)
    .fetch_one(conn)
    .await
    .map(Some)
}

pub(super) async fn insert_pass(conn: &mut PgConnection, festival: FestivalId, pass: PassId, number: i32, terms: &PassTerms) -> Result<Pass, sqlx::Error> {
    sqlx::query_as(
        "insert into passes (festival_id, pass_id, pass_number, name, color, color_name, day_mask, zone_ids, reentry, check_instruction, \
                             entries_a_day, windows, companion_pass_ids, needs_live_code) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning *",
    )
    .bind(festival)
    .bind(pass)
    .bind(number)
    .bind(Json(&terms.name))
    .bind(&terms.color)
    .bind(Json(&terms.color_name))
    .bind(terms.day_mask)
    .bind(&terms.zone_ids)
    .bind(terms.reentry)
    .bind(terms.check_instruction)
    .bind(terms.entries_a_day)
    .bind(Json(&terms.windows))
    .bind(&terms.companion_pass_ids)
    .bind(terms.needs_live_code)
    .fetch_one(conn)
    .await
}

pub(super) async fn count_passes(conn: &mut PgConnection, festival: FestivalId, passes: &[PassId]) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from passes where festival_id = $1 and pass_id = any($2)").bind(festival).bind(passes).fetch_one(conn).await
}

pub(super) async fn lock_pass(conn: &mut PgConnection, promoter: PromoterId, pass: PassId) -> Result<Option<Pass>, sqlx::Error> {
    sqlx::query_as(
        "select p.* from passes p join festivals f on f.festival_id = p.festival_id and f.promoter_id = $3 \
         where p.festival_id = $1 and p.pass_id = $2 for no key update of p",
    )
    .bind(pass.festival())
    .bind(pass)
    .bind(promoter)
    .fetch_optional(conn)
    .await
}

pub(super) async fn update_pass(conn: &mut PgConnection, pass: PassId, terms: &PassTerms) -> Result<Pass, sqlx::Error> {
    sqlx::query_as(
        "update passes set name = $3, color = $4, color_name = $5, zone_ids = $6, reentry = $7, check_instruction = $8, entries_a_day = $9, windows = $10, \
                           companion_pass_ids = $11, needs_live_code = $12 \
         where festival_id = $1 and pass_id = $2 returning *",
    )
    .bind(pass.festival())
    .bind(pass)
    .bind(Json(&terms.name))
    .bind(&terms.color)
    .bind(Json(&terms.color_name))
    .bind(&terms.zone_ids)
    .bind(terms.reentry)
    .bind(terms.check_instruction)
    .bind(terms.entries_a_day)
    .bind(Json(&terms.windows))
    .bind(&terms.companion_pass_ids)
    .bind(terms.needs_live_code)
    .fetch_one(conn)
    .await
}

pub(super) async fn insert_add_on(conn: &mut PgConnection, festival: FestivalId, add_on: AddOnId, number: i32, name: &Text) -> Result<AddOn, sqlx::Error> {
    sqlx::query_as("insert into add_ons (festival_id, add_on_id, add_on_number, name) values ($1, $2, $3, $4) returning add_on_id, add_on_number, name")
        .bind(festival)
        .bind(add_on)
        .bind(number)
        .bind(Json(name))
        .fetch_one(conn)
        .await
}

pub(super) async fn insert_stock(
    conn: &mut PgConnection,
    festival: FestivalId,
    stock: StockId,
    name: &str,
    capacity: Option<i32>,
) -> Result<Stock, sqlx::Error> {
    sqlx::query_as(
        "insert into stocks (festival_id, stock_id, name, capacity, held, sold) values ($1, $2, $3, $4, 0, 0) returning stock_id, name, capacity, held, sold",
    )
    .bind(festival)
    .bind(stock)
    .bind(name)
    .bind(capacity)
    .fetch_one(conn)
    .await
}

pub(super) async fn lock_stock(conn: &mut PgConnection, promoter: PromoterId, stock: StockId) -> Result<Option<Stock>, sqlx::Error> {
    sqlx::query_as(
        "select s.stock_id, s.name, s.capacity, s.held, s.sold from stocks s \
         where s.festival_id = $1 and s.stock_id = $2 and exists (select from festivals f where f.festival_id = $1 and f.promoter_id = $3) for no key update",
    )
    .bind(stock.festival())
    .bind(stock)
    .bind(promoter)
    .fetch_optional(conn)
    .await
}

pub(super) async fn resize_stock(conn: &mut PgConnection, stock: StockId, capacity: Option<i32>) -> Result<Stock, sqlx::Error> {
    sqlx::query_as("update stocks set capacity = $3 where festival_id = $1 and stock_id = $2 returning stock_id, name, capacity, held, sold")
        .bind(stock.festival())
        .bind(stock)
        .bind(capacity)
        .fetch_one(conn)
        .await
}

pub(super) async fn insert_offer(
    conn: &mut PgConnection,
    promoter: PromoterId,
    festival: FestivalId,
    offer: OfferId,
    stock: StockId,
    tier_stocks: &[Option<StockId>],
    new: &NewOffer,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let terms = &new.terms;
    sqlx::query(
        "insert into offers (festival_id, offer_id, stock_id, sort, name, about, opens_at, closes_at, paused, max_per_order, max_per_fan, created_at, version, hidden) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13)",
    )
    .bind(festival)
    .bind(offer)
    .bind(stock)
    .bind(terms.sort)
    .bind(Json(&terms.name))
    .bind(Json(&terms.about))
    .bind(terms.opens_at)
    .bind(terms.closes_at)
    .bind(terms.paused.as_ref().map(Json))
    .bind(terms.max_per_order)
    .bind(terms.max_per_fan)
    .bind(now)
    .bind(terms.hidden)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into tiers (festival_id, offer_id, tier_no, name, price_minor, until_at, stock_id) \
         select $1, $2, t.no, t.name, t.price_minor, t.until_at, t.stock_id \
         from unnest($3::jsonb[], $4::bigint[], $5::timestamptz[], $6::uuid[]) with ordinality as t (name, price_minor, until_at, stock_id, no)",
    )
    .bind(festival)
    .bind(offer)
    .bind(new.tiers.iter().map(|t| Json(&t.name)).collect::<Vec<_>>())
    .bind(new.tiers.iter().map(|t| t.price.minor).collect::<Vec<_>>())
    .bind(new.tiers.iter().map(|t| t.until_at).collect::<Vec<_>>())
    .bind(tier_stocks)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into components (festival_id, offer_id, component_no, pass_id, release_id, add_on_id, promoter_id, weight, inclusion, tax_kind, tax_ppm) \
         select $1, $2, c.no, c.pass_id, c.release_id, c.add_on_id, $3, c.weight, 'included', c.tax_kind, c.tax_ppm \
         from unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::integer[], $8::text[], $9::integer[]) with ordinality \
              as c (pass_id, release_id, add_on_id, weight, tax_kind, tax_ppm, no)",
    )
    .bind(festival)
    .bind(offer)
    .bind(promoter)
    .bind(new.components.iter().map(|c| c.pass_id).collect::<Vec<_>>())
    .bind(new.components.iter().map(|c| c.release_id).collect::<Vec<_>>())
    .bind(new.components.iter().map(|c| c.add_on_id).collect::<Vec<_>>())
    .bind(new.components.iter().map(|c| i32::try_from(c.weight).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(new.components.iter().map(|c| if c.tax_kind == super::TaxKind::Fixed { "fixed" } else { "electronic_service" }).collect::<Vec<_>>())
    .bind(new.components.iter().map(|c| i32::try_from(c.tax_ppm).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    for (i, requirement) in new.requirements.iter().enumerate() {
        sqlx::query("insert into requirements (festival_id, offer_id, requirement_no, any_of, per_one) values ($1, $2, $3, $4, $5)")
            .bind(festival)
            .bind(offer)
            .bind(i16::try_from(i + 1).unwrap_or(i16::MAX))
            .bind(&requirement.any_of)
            .bind(requirement.per_one)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("insert into offer_stocks (festival_id, offer_id, stock_id, units) select $1, $2, s.stock_id, s.units from unnest($3::uuid[], $4::integer[]) as s (stock_id, units)")
        .bind(festival)
        .bind(offer)
        .bind(new.stocks.iter().map(|s| s.stock_id).collect::<Vec<_>>())
        .bind(new.stocks.iter().map(|s| s.units).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

pub(super) async fn lock_offer(conn: &mut PgConnection, promoter: PromoterId, offer: OfferId) -> Result<Option<Offer>, sqlx::Error> {
    let there: Option<OfferId> = sqlx::query_scalar(
        "select o.offer_id from offers o where o.festival_id = $1 and o.offer_id = $2 \
         and exists (select from festivals f where f.festival_id = $1 and f.promoter_id = $3) for no key update",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(promoter)
    .fetch_optional(&mut *conn)
    .await?;
    match there {
        Some(offer) => Ok(store::offers_of(conn, offer.festival(), &[offer]).await?.pop()),
        None => Ok(None),
    }
}

pub(super) async fn update_offer(conn: &mut PgConnection, offer: OfferId, terms: &OfferTerms) -> Result<Option<Offer>, sqlx::Error> {
    sqlx::query(
        "update offers set sort = $3, name = $4, about = $5, opens_at = $6, closes_at = $7, paused = $8, max_per_order = $9, max_per_fan = $10, hidden = $11, version = version + 1 \
         where festival_id = $1 and offer_id = $2",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(terms.sort)
    .bind(Json(&terms.name))
    .bind(Json(&terms.about))
    .bind(terms.opens_at)
    .bind(terms.closes_at)
    .bind(terms.paused.as_ref().map(Json))
    .bind(terms.max_per_order)
    .bind(terms.max_per_fan)
    .bind(terms.hidden)
    .execute(&mut *conn)
    .await?;
    Ok(store::offers_of(conn, offer.festival(), &[offer]).await?.pop())
}

pub(super) async fn update_tier(conn: &mut PgConnection, offer: OfferId, tier_no: i16, terms: &TierTerms) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update tiers set name = $4, price_minor = $5, until_at = $6 where festival_id = $1 and offer_id = $2 and tier_no = $3")
        .bind(offer.festival())
        .bind(offer)
        .bind(tier_no)
        .bind(Json(&terms.name))
        .bind(terms.price.minor)
        .bind(terms.until_at)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether an order of an offer was placed before a moment. Its stock is locked first, so that no batch that has read the offer is still on its
/// way.
pub(super) async fn is_taken_before(conn: &mut PgConnection, offer: OfferId, moment: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "select stock_id from stocks where festival_id = $1 and stock_id = (select o.stock_id from offers o where o.festival_id = $1 and o.offer_id = $2) \
         for no key update",
    )
    .bind(offer.festival())
    .bind(offer)
    .execute(&mut *conn)
    .await?;
    // Whoever came in by a voucher that opens it did so before it opened anyway.
    sqlx::query_scalar(
        "select exists (select from lines l join orders o on o.festival_id = l.festival_id and o.order_id = l.order_id \
                        where l.festival_id = $1 and l.order_id < $3 and l.offer_id = $2 \
                          and not exists (select from voucher_rules r join vouchers v on v.festival_id = r.festival_id and v.voucher_id = r.voucher_id \
                                            where r.festival_id = o.festival_id and r.voucher_id = o.voucher_id and r.opens and l.offer_id = any(v.offer_ids)) \
                          and not exists (select from box_office_sales b where b.festival_id = o.festival_id and b.order_id = o.order_id))",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(crate::id::first_at(moment))
    .fetch_one(conn)
    .await
}

/// Moves the ends of tiers that lie behind an opening with it.
pub(super) async fn delay_tiers(
    conn: &mut PgConnection,
    festival: FestivalId,
    offers: &[OfferId],
    from: DateTime<Utc>,
    minutes: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("update tiers set until_at = until_at + $4 where festival_id = $1 and offer_id = any($2) and until_at > $3")
        .bind(festival)
        .bind(offers)
        .bind(from)
        .bind(chrono::TimeDelta::minutes(minutes))
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves the opening of all offers that open at one moment; which they are.
pub(super) async fn delay(conn: &mut PgConnection, festival: FestivalId, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<OfferId>, sqlx::Error> {
    sqlx::query_scalar("update offers set opens_at = $3, version = version + 1 where festival_id = $1 and opens_at = $2 returning offer_id")
        .bind(festival)
        .bind(from)
        .bind(to)
        .fetch_all(conn)
        .await
}
