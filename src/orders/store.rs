//! The rows of orders, lines and allocations.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};

use super::{Line, OrderStatus, Placed, Request, allot::FanCounts};
use crate::{
    app::App,
    id::{FestivalId, OfferId, OrderId, StockId, VoucherId},
    money::{Currency, Money},
    offers::{Share, Taken, Uses},
    secrets::Purpose,
    words::Language,
};

/// An order that was decided and is to be written.
pub(super) struct NewOrder<'a> {
    pub(super) request: &'a Request,
    pub(super) lines: Vec<Line>,
    pub(super) total: Money,
    pub(super) units: Vec<Taken>,
    pub(super) voucher: Option<VoucherId>,
    pub(super) held_until: DateTime<Utc>,
}

/// Writes orders with their lines and allocations; returns how many orders were new.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, rows: &[NewOrder<'_>]) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "insert into orders (festival_id, order_id, status, email, email_key, buyer_name, language, currency, total_minor, key_hash, fingerprint, \
                             link_generation, payment_count, placed_at, held_until, voucher_id) \
         select $1, o.order_id, 'held', o.email, o.email_key, o.buyer_name, o.language, $2, o.total_minor, o.key_hash, o.fingerprint, 0, 0, o.placed_at, o.held_until, o.voucher_id \
         from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bytea[], $10::bytea[], $11::timestamptz[], $12::timestamptz[], $13::uuid[]) \
              as o (order_id, email, email_key, buyer_name, language, total_minor, key_hash, fingerprint, placed_at, held_until, voucher_id) \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(rows.first().map(|r| r.total.currency))
    .bind(rows.iter().map(|r| r.request.order_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.buyer.email.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.email_key.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.buyer.name.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| if r.request.buyer.language == Language::Zh { "zh" } else { "en" }).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.total.minor).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.key_hash.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.fingerprint.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.request.arrived_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.held_until).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.voucher).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() != rows.len() as u64 {
        return Ok(done.rows_affected());
    }
    let lines: Vec<(OrderId, &Line)> = rows.iter().flat_map(|r| r.lines.iter().map(|l| (r.request.order_id, l))).collect();
    sqlx::query(
        "insert into lines (festival_id, order_id, line_no, offer_id, tier_no, quantity, unit_minor, shares, discount_minor) \
         select $1, l.* from unnest($2::uuid[], $3::smallint[], $4::uuid[], $5::smallint[], $6::integer[], $7::bigint[], $8::jsonb[], $9::bigint[]) as l",
    )
    .bind(festival)
    .bind(lines.iter().map(|(o, _)| *o).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.line_no).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.offer_id).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.tier_no).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.quantity).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.unit.minor).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| Json(&l.shares)).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, l)| l.discount.map_or(0, |d| d.minor)).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    let units: Vec<(OrderId, &Taken)> = rows.iter().flat_map(|r| r.units.iter().map(|u| (r.request.order_id, u))).collect();
    sqlx::query("insert into allocations (festival_id, order_id, stock_id, quantity) select $1, a.* from unnest($2::uuid[], $3::uuid[], $4::integer[]) as a")
        .bind(festival)
        .bind(units.iter().map(|(o, _)| *o).collect::<Vec<_>>())
        .bind(units.iter().map(|(_, u)| u.stock_id).collect::<Vec<_>>())
        .bind(units.iter().map(|(_, u)| u.quantity).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// An order that a key was used for.
pub(super) struct Existing {
    pub(super) fingerprint: [u8; 16],
    pub(super) placed: Placed,
}

#[derive(FromRow)]
struct KeyRow {
    key_hash: Vec<u8>,
    fingerprint: Vec<u8>,
    order_id: OrderId,
    total_minor: i64,
    currency: Currency,
    held_until: DateTime<Utc>,
    placed_at: DateTime<Utc>,
    link_generation: i16,
}

pub(super) async fn by_keys(conn: &mut PgConnection, festival: FestivalId, keys: &[[u8; 16]]) -> Result<HashMap<[u8; 16], Existing>, sqlx::Error> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "select key_hash, fingerprint, order_id, total_minor, currency, held_until, placed_at, link_generation from orders \
         where festival_id = $1 and key_hash = any($2)",
    )
    .bind(festival)
    .bind(keys.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<OrderId> = rows.iter().map(|r| r.order_id).collect();
    let mut lines = lines_by_order(lines(conn, festival, &ids).await?);
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let placed = Placed {
                order_id: row.order_id,
                lines: lines.remove(&row.order_id).unwrap_or_default(),
                total: Money::new(row.total_minor, row.currency),
                // What was frozen then: a payment may have kept the hold longer since.
                held_until: row.held_until.min(row.placed_at + super::HOLD),
                link_generation: row.link_generation,
                units: Vec::new(),
            };
            Some((row.key_hash.try_into().ok()?, Existing { fingerprint: row.fingerprint.try_into().ok()?, placed }))
        })
        .collect())
}

/// The order of a key, with the generation of its link.
pub(super) async fn by_key(pool: &PgPool, festival: FestivalId, key: &[u8; 16]) -> Result<Option<(OrderId, i16)>, sqlx::Error> {
    sqlx::query_as("select order_id, link_generation from orders where festival_id = $1 and key_hash = $2")
        .bind(festival)
        .bind(key.as_slice())
        .fetch_optional(pool)
        .await
}

fn lines_by_order(lines: Vec<(OrderId, Line)>) -> HashMap<OrderId, Vec<Line>> {
    let mut by: HashMap<OrderId, Vec<Line>> = HashMap::new();
    for (order, line) in lines {
        by.entry(order).or_default().push(line);
    }
    by
}

pub(super) async fn fan_counts(conn: &mut PgConnection, festival: FestivalId, addresses: &[&str], offers: &[OfferId]) -> Result<FanCounts, sqlx::Error> {
    let rows: Vec<(String, OfferId, i64)> = sqlx::query_as(
        "select o.email_key, l.offer_id, sum(l.quantity - l.returned) from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
         where o.festival_id = $1 and o.email_key = any($2) and l.offer_id = any($3) and o.status in ('held', 'part_paid', 'paid', 'partly_refunded') \
         group by o.email_key, l.offer_id",
    )
    .bind(festival)
    .bind(addresses)
    .bind(offers)
    .fetch_all(conn)
    .await?;
    let mut counts: FanCounts = addresses.iter().flat_map(|a| offers.iter().map(|o| (((*a).to_owned(), *o), 0))).collect();
    for (address, offer, count) in rows {
        counts.insert((address, offer), i32::try_from(count).unwrap_or(i32::MAX));
    }
    Ok(counts)
}

/// A locked order: what completing and ending decide on.
#[derive(Clone, Debug, FromRow)]
pub struct Held {
    /// The order.
    pub order_id: OrderId,
    /// Its state.
    pub status: OrderStatus,
    /// The address of the buyer.
    pub email: String,
    /// The name of the buyer.
    pub buyer_name: String,
    /// The language of the buyer.
    pub language: Language,
    /// The price to pay, in the smallest unit.
    pub total_minor: i64,
    /// Its currency.
    pub currency: Currency,
    /// When it was placed.
    pub placed_at: DateTime<Utc>,
    /// Until when stock is held.
    pub held_until: DateTime<Utc>,
    /// How often its link was revoked.
    pub link_generation: i16,
    /// How many payments were tried while it was held.
    pub payment_count: i16,
}

impl Held {
    /// Whether a text is the secret of its link.
    #[must_use]
    pub fn is_link(&self, app: &App, secret: &str) -> bool {
        app.secrets.is_link(Purpose::OrderLink, self.order_id.0, self.link_generation, secret)
    }
}

/// Locks orders in the order of their ids: the first locks of a transaction.
///
/// # Errors
/// What the database said.
pub async fn lock(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<Held>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, status, email, buyer_name, language, total_minor, currency, placed_at, held_until, link_generation, payment_count from orders \
         where festival_id = $1 and order_id = any($2) order by order_id for no key update",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await
}

/// An order as it stands, without a lock.
///
/// # Errors
/// What the database said.
pub async fn held(pool: &PgPool, order: OrderId) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, status, email, buyer_name, language, total_minor, currency, placed_at, held_until, link_generation, payment_count from orders \
         where festival_id = $1 and order_id = $2",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_optional(pool)
    .await
}

#[derive(FromRow)]
struct LineRow {
    order_id: OrderId,
    line_no: i16,
    offer_id: OfferId,
    tier_no: i16,
    quantity: i32,
    unit_minor: i64,
    currency: Currency,
    shares: Json<Vec<Share>>,
    discount_minor: i64,
}

/// The lines of orders, in their order.
pub(super) async fn lines(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<(OrderId, Line)>, sqlx::Error> {
    let rows: Vec<LineRow> = sqlx::query_as(
        "select l.order_id, l.line_no, l.offer_id, l.tier_no, l.quantity, l.unit_minor, o.currency, l.shares, l.discount_minor \
         from lines l join orders o on o.festival_id = l.festival_id and o.order_id = l.order_id \
         where l.festival_id = $1 and l.order_id = any($2) order by l.order_id, l.line_no",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let line = Line {
                line_no: r.line_no,
                offer_id: r.offer_id,
                tier_no: r.tier_no,
                quantity: r.quantity,
                unit: Money::new(r.unit_minor, r.currency),
                discount: (r.discount_minor > 0).then(|| Money::new(r.discount_minor, r.currency)),
                total: Money::new(r.unit_minor * i64::from(r.quantity), r.currency),
                shares: r.shares.0,
            };
            (r.order_id, line)
        })
        .collect())
}

/// The stock that orders take.
///
/// # Errors
/// What the database said.
pub async fn allocations(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<(OrderId, Taken)>, sqlx::Error> {
    let rows: Vec<(OrderId, StockId, i32)> =
        sqlx::query_as("select order_id, stock_id, quantity from allocations where festival_id = $1 and order_id = any($2)")
            .bind(festival)
            .bind(orders)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(order, stock_id, quantity)| (order, Taken { stock_id, quantity })).collect())
}

/// What orders use of vouchers.
///
/// # Errors
/// What the database said.
pub async fn voucher_uses(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<BTreeMap<VoucherId, Uses>, sqlx::Error> {
    let used: Vec<(VoucherId, i64)> = sqlx::query_as(
        "select o.voucher_id, sum(l.discount_minor * l.quantity)::bigint from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
         where o.festival_id = $1 and o.order_id = any($2) and o.voucher_id is not null group by o.order_id, o.voucher_id",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await?;
    let mut uses: BTreeMap<VoucherId, Uses> = BTreeMap::new();
    for (voucher, minor) in used {
        *uses.entry(voucher).or_default() += Uses { orders: 1, minor };
    }
    Ok(uses)
}

/// How many held and paid orders of addresses use vouchers.
pub(super) async fn voucher_counts(
    conn: &mut PgConnection,
    festival: FestivalId,
    addresses: &[&str],
    vouchers: &[VoucherId],
) -> Result<Vec<(String, VoucherId, i32)>, sqlx::Error> {
    sqlx::query_as(
        "select email_key, voucher_id, count(*)::integer from orders \
         where festival_id = $1 and email_key = any($2) and voucher_id = any($3) and status in ('held', 'part_paid', 'paid', 'partly_refunded') \
         group by email_key, voucher_id",
    )
    .bind(festival)
    .bind(addresses)
    .bind(vouchers)
    .fetch_all(conn)
    .await
}

/// Counts a payment of each of some locked orders that stay held.
///
/// # Errors
/// What the database said.
pub async fn count_payments(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set payment_count = payment_count + 1 where festival_id = $1 and order_id = any($2)")
        .bind(festival)
        .bind(orders)
        .execute(conn)
        .await?;
    Ok(())
}

/// Marks locked orders as paid; returns how many were held.
///
/// # Errors
/// What the database said.
pub async fn finish(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("update orders set status = 'paid', paid_at = $3 where festival_id = $1 and order_id = any($2) and status = 'held'")
        .bind(festival)
        .bind(orders)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Makes an ended order held again, because late money found its stock free.
///
/// # Errors
/// What the database said.
pub async fn reopen(conn: &mut PgConnection, festival: FestivalId, order: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set status = 'held', ended_at = null where festival_id = $1 and order_id = $2 and status in ('expired', 'cancelled')")
        .bind(festival)
        .bind(order)
        .execute(conn)
        .await?;
    Ok(())
}

/// Marks an ended order as unfulfillable: late money found nothing.
///
/// # Errors
/// What the database said.
pub async fn unfulfillable(conn: &mut PgConnection, festival: FestivalId, order: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set status = 'unfulfillable' where festival_id = $1 and order_id = $2 and status in ('expired', 'cancelled')")
        .bind(festival)
        .bind(order)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes how many units of the lines of a locked order came back.
///
/// # Errors
/// What the database said.
pub async fn mark_returned(conn: &mut PgConnection, order: OrderId, lines: &[(i16, i32)]) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update lines l set returned = b.returned from unnest($3::smallint[], $4::integer[]) as b (line_no, returned) \
         where l.festival_id = $1 and l.order_id = $2 and l.line_no = b.line_no",
    )
    .bind(order.festival())
    .bind(order)
    .bind(lines.iter().map(|(line_no, _)| *line_no).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, returned)| *returned).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A locked order was refunded, whole or in part: it takes so many units less.
///
/// # Errors
/// What the database said.
pub async fn refunded(conn: &mut PgConnection, order: OrderId, is_whole: bool, units: &[Taken], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set status = $3, ended_at = $4 where festival_id = $1 and order_id = $2 and status in ('paid', 'partly_refunded')")
        .bind(order.festival())
        .bind(order)
        .bind(if is_whole { "refunded" } else { "partly_refunded" })
        .bind(is_whole.then_some(now))
        .execute(&mut *conn)
        .await?;
    shift(conn, order, units, -1).await
}

/// A locked paid order takes so many units less, because somebody else is offered them.
///
/// # Errors
/// What the database said.
pub async fn lower(conn: &mut PgConnection, order: OrderId, units: &[Taken]) -> Result<(), sqlx::Error> {
    shift(conn, order, units, -1).await
}

/// A locked paid order takes so many units again that nobody else wanted.
///
/// # Errors
/// What the database said.
pub async fn raise(conn: &mut PgConnection, order: OrderId, units: &[Taken]) -> Result<(), sqlx::Error> {
    shift(conn, order, units, 1).await
}

async fn shift(conn: &mut PgConnection, order: OrderId, units: &[Taken], factor: i32) -> Result<(), sqlx::Error> {
    let mut sums: BTreeMap<StockId, i32> = BTreeMap::new();
    for taken in units {
        *sums.entry(taken.stock_id).or_default() += taken.quantity;
    }
    let (stocks, sums): (Vec<StockId>, Vec<i32>) = sums.into_iter().unzip();
    let shifted = sqlx::query(
        "update allocations a set quantity = a.quantity + u.units * $5 from unnest($3::uuid[], $4::integer[]) as u (stock_id, units) \
         where a.festival_id = $1 and a.order_id = $2 and a.stock_id = u.stock_id",
    )
    .bind(order.festival())
    .bind(order)
    .bind(&stocks)
    .bind(sums)
    .bind(factor)
    .execute(conn)
    .await?;
    if shifted.rows_affected() == stocks.len() as u64 {
        Ok(())
    } else {
        Err(sqlx::Error::Protocol("an order takes nothing of a stock that it gives away".to_owned()))
    }
}

/// How many orders of an offer were placed from one moment to another.
pub(super) async fn placed_between(pool: &PgPool, offer: OfferId, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(distinct order_id) from lines where festival_id = $1 and order_id >= $2 and order_id < $3 and offer_id = $4")
        .bind(offer.festival())
        .bind(crate::id::first_at(from))
        .bind(crate::id::first_at(to))
        .bind(offer)
        .fetch_one(pool)
        .await
}

/// Deletes the carts of a step; how many.
pub(super) async fn forget_carts(pool: &PgPool, festival: FestivalId, after: OrderId, upto: OrderId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select gatefold_forget_carts($1, $2, $3)").bind(festival).bind(after).bind(upto).fetch_one(pool).await
}
