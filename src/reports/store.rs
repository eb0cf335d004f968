//! Reading across rooms: sums for the dashboard.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{
    entry::{Reason, crowd::Crowd},
    fresh::Fresh,
    id::{FestivalId, GateId, OfferId},
    words::Text,
};

/// Sales of one offer.
#[derive(Clone, Debug, FromRow)]
pub struct OfferSales {
    /// The offer.
    pub offer_id: OfferId,
    /// Its place in lists.
    pub sort: i16,
    /// Its name.
    pub name: Json<Text>,
    /// Its capacity.
    pub capacity: Option<i32>,
    /// Held units.
    pub held: i32,
    /// Sold units.
    pub sold: i32,
    /// Money of paid orders, without what was returned, in the smallest unit.
    pub minor: i64,
}

/// Units sold on one day, in the festival's zone.
#[derive(Clone, Debug, FromRow)]
pub struct Day {
    /// Midnight of the day in the festival's zone.
    pub day: DateTime<Utc>,
    /// Units of paid orders that did not come back.
    pub units: i64,
}

/// What was sold.
#[derive(Clone, Debug)]
pub struct Sales {
    /// By offer.
    pub offers: Vec<OfferSales>,
    /// By day.
    pub days: Vec<Day>,
    /// Captured money, in the smallest unit.
    pub captured_minor: i64,
    /// Money that went back or is to, in the smallest unit.
    pub refunded_minor: i64,
}

/// What was sold of festivals, read once for everybody who looks: it is a sum over all orders, a second old, or older where it takes long.
pub type KnownSales = Fresh<FestivalId, Sales>;

/// What was sold of a festival.
///
/// # Errors
/// What the database said.
pub async fn sales(conn: &mut PgConnection, festival: FestivalId, time_zone: &str) -> Result<Sales, sqlx::Error> {
    let offers = sqlx::query_as(
        "select o.offer_id, o.sort, o.name, s.capacity, s.held, s.sold, \
                coalesce((select sum(l.unit_minor * l.quantity) from lines l join orders p on p.festival_id = l.festival_id and p.order_id = l.order_id \
                          where l.festival_id = o.festival_id and l.offer_id = o.offer_id and p.paid_at is not null), 0)::bigint \
              - coalesce((select sum(i.minor) from refunds r join refund_items i on i.festival_id = r.festival_id and i.refund_id = r.refund_id \
                          join lines l on l.festival_id = r.festival_id and l.order_id = r.order_id and l.line_no = i.line_no \
                          where r.festival_id = o.festival_id and r.status <> 'withdrawn' and l.offer_id = o.offer_id), 0)::bigint as minor \
         from offers o join stocks s on s.festival_id = o.festival_id and s.stock_id = o.stock_id where o.festival_id = $1 order by o.sort, o.offer_id",
    )
    .bind(festival)
    .fetch_all(&mut *conn)
    .await?;
    let days = sqlx::query_as(
        "select date_trunc('day', o.paid_at, $2) as day, sum(l.quantity - l.returned)::bigint as units \
         from orders o join lines l on l.festival_id = o.festival_id and l.order_id = o.order_id \
         where o.festival_id = $1 and o.paid_at is not null group by 1 order by 1",
    )
    .bind(festival)
    .bind(time_zone)
    .fetch_all(&mut *conn)
    .await?;
    let captured_minor = sqlx::query_scalar("select coalesce(sum(amount_minor), 0)::bigint from payments where festival_id = $1 and status = 'captured'")
        .bind(festival)
        .fetch_one(&mut *conn)
        .await?;
    let refunded_minor = sqlx::query_scalar("select coalesce(sum(amount_minor), 0)::bigint from refunds where festival_id = $1 and status <> 'withdrawn'")
        .bind(festival)
        .fetch_one(conn)
        .await?;
    Ok(Sales { offers, days, captured_minor, refunded_minor })
}

/// What happened at a gate in a minute.
#[derive(Clone, Debug, FromRow)]
pub struct GateMinute {
    /// The gate.
    pub gate_id: GateId,
    /// The minute.
    pub minute: DateTime<Utc>,
    /// Entries that were let in.
    pub admitted: i64,
    /// Presentations that were refused.
    pub refused: i64,
    /// Refused ones that were forged.
    pub forged: i64,
}

/// How often a reason was said.
#[derive(Clone, Debug, FromRow)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Reason,
    /// How often.
    pub times: i64,
}

/// What happens at the gates of a festival.
#[derive(Clone, Debug)]
pub struct AtGates {
    /// By gate and minute; what was decided without network counts when it happened.
    pub minutes: Vec<GateMinute>,
    /// Refusals by reason, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// How many are in.
    pub crowd: Crowd,
}

/// What happens at the gates of festivals, read once for everybody who looks.
pub type KnownAtGates = Fresh<FestivalId, AtGates>;

/// What happens at the gates of a festival since a moment, and who is in on a day.
///
/// # Errors
/// What the database said.
pub async fn at_gates(
    conn: &mut PgConnection,
    festival: FestivalId,
    since: DateTime<Utc>,
    day: Option<i16>,
    now: DateTime<Utc>,
) -> Result<AtGates, sqlx::Error> {
    let minutes = sqlx::query_as(
        "select s.gate_id, date_trunc('minute', coalesce(r.happened_at, s.decided_at)) as minute, \
                count(*) filter (where coalesce(r.verdict, s.verdict) = 'admitted' and s.kind = 'entry') as admitted, \
                count(*) filter (where coalesce(r.verdict, s.verdict) = 'refused') as refused, count(*) filter (where s.reason = 'forged') as forged \
         from scans s left join scan_reports r on r.festival_id = s.festival_id and r.scan_id = s.scan_id \
         where s.festival_id::bigint = $1 and s.decided_at >= $2 and coalesce(r.happened_at, s.decided_at) >= $2 and s.kind in ('entry', 'exit') group by 1, 2 order by 2, 1",
    )
    .bind(festival)
    .bind(since)
    .fetch_all(&mut *conn)
    .await?;
    let reasons = sqlx::query_as(
        "select reason, count(*) as times from scans where festival_id::bigint = $1 and decided_at >= $2 and verdict = 'refused' group by reason order by 2 desc, 1",
    )
    .bind(festival)
    .bind(since)
    .fetch_all(&mut *conn)
    .await?;
    let crowd = Crowd::read(conn, festival, day, now).await?;
    Ok(AtGates { minutes, reasons, crowd })
}

/// An address as support sees it: `m…@l….example`.
#[must_use]
pub fn masked(address: &str) -> String {
    let part = |text: &str| text.chars().next().map_or_else(String::new, |first| format!("{first}…"));
    match address.rsplit_once('@') {
        Some((name, domain)) => match domain.rsplit_once('.') {
            Some((host, end)) => format!("{}@{}.{end}", part(name), part(host)),
            None => format!("{}@{}", part(name), part(domain)),
        },
        None => part(address),
    }
}

/// Runs a query that counts, with the moment as its only parameter.
pub(super) async fn count(conn: &mut PgConnection, query: &'static str, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(query).bind(now).fetch_one(conn).await
}
