//! The rows of who is in: counts of zones, and the visits of orders.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    entry::{decide::Entered, overrides::Because},
    id::{DeviceId, FestivalId, GateId, OrderId, ScanId, TicketId, ZoneId},
    tickets::TicketKind,
};

/// How many are in a zone on a day.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ZoneCount {
    pub(super) zone_id: ZoneId,
    pub(super) day_index: i16,
    pub(super) inside: i32,
    /// Since when it is counted; `None` where nobody counted yet.
    pub(super) cleared_at: Option<DateTime<Utc>>,
    /// When it was counted last.
    pub(super) counted_at: Option<DateTime<Utc>>,
}

/// Locks the counts of zones.
pub(super) async fn lock_counts(conn: &mut PgConnection, festival: FestivalId, zones: &[ZoneId]) -> Result<Vec<ZoneCount>, sqlx::Error> {
    sqlx::query_as(
        "select zone_id, day_index, inside, cleared_at, counted_at from zone_counts where festival_id = $1 and zone_id = any($2) order by zone_id, day_index for no key update",
    )
    .bind(festival)
    .bind(zones)
    .fetch_all(conn)
    .await
}

/// The same without a lock: only the negative control of the race tests may use it.
pub(super) async fn counts(conn: &mut PgConnection, festival: FestivalId, zones: &[ZoneId]) -> Result<Vec<ZoneCount>, sqlx::Error> {
    sqlx::query_as("select zone_id, day_index, inside, cleared_at, counted_at from zone_counts where festival_id = $1 and zone_id = any($2)")
        .bind(festival)
        .bind(zones)
        .fetch_all(conn)
        .await
}

/// Makes counts, to be counted by whoever locks them first.
pub(super) async fn insert_counts(conn: &mut PgConnection, festival: FestivalId, counts: &[(ZoneId, i16)]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into zone_counts (festival_id, zone_id, day_index, inside) select $1, c.*, 0 from unnest($2::uuid[], $3::smallint[]) as c on conflict do nothing",
    )
    .bind(festival)
    .bind(counts.iter().map(|(zone, _)| *zone).collect::<Vec<_>>())
    .bind(counts.iter().map(|(_, day)| *day).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts who is in a zone on a day since it was cleared, under the lock of its row: in the statement after the one that locked it.
pub(super) async fn count_again(
    conn: &mut PgConnection,
    festival: FestivalId,
    zone: ZoneId,
    day: i16,
    cleared_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<ZoneCount, sqlx::Error> {
    sqlx::query_as(
        "update zone_counts set cleared_at = $4, counted_at = $5, inside = \
                (select count(*) from admissions a join gates g on g.festival_id = a.festival_id and g.gate_id = a.gate_id and g.zone_id = $2 \
                 join tickets t on t.festival_id = a.festival_id and t.ticket_id = a.ticket_id and t.kind = 'pass' \
                 where a.festival_id = $1 and a.day_index = $3 and a.left_at is null and a.undone_at is null and a.entered_at >= $4) \
              + (select coalesce(sum(case when h.kind = 'entry' then h.people else -h.people end), 0) from head_counts h join gates g on g.festival_id = h.festival_id and g.gate_id = h.gate_id and g.zone_id = $2 \
                 where h.festival_id = $1 and h.day_index = $3 and h.counted_at >= $4) \
         where festival_id = $1 and zone_id = $2 and day_index = $3 returning zone_id, day_index, inside, cleared_at, counted_at",
    )
    .bind(festival)
    .bind(zone)
    .bind(day)
    .bind(cleared_at)
    .bind(now)
    .fetch_one(conn)
    .await
}

/// Writes counts that are locked.
pub(super) async fn write_counts(conn: &mut PgConnection, festival: FestivalId, counts: &[&ZoneCount]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update zone_counts z set inside = c.inside from unnest($2::uuid[], $3::smallint[], $4::integer[]) as c (zone_id, day_index, inside) \
         where z.festival_id = $1 and z.zone_id = c.zone_id and z.day_index = c.day_index",
    )
    .bind(festival)
    .bind(counts.iter().map(|c| c.zone_id).collect::<Vec<_>>())
    .bind(counts.iter().map(|c| c.day_index).collect::<Vec<_>>())
    .bind(counts.iter().map(|c| c.inside).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A ticket with one of its entries, or with none.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Visit {
    pub(super) ticket_id: TicketId,
    pub(super) order_id: OrderId,
    pub(super) kind: TicketKind,
    /// Whether it opens a gate, by its code or as a wristband, or is to be collected.
    pub(super) is_valid: bool,
    pub(super) pass_number: i32,
    pub(super) day_mask: i32,
    day_index: Option<i16>,
    entry_no: Option<i16>,
    scan_id: Option<ScanId>,
    device_id: Option<DeviceId>,
    gate_id: Option<GateId>,
    zone_id: Option<ZoneId>,
    entered_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
    undone_at: Option<DateTime<Utc>>,
    because: Option<Because>,
    is_again: Option<bool>,
}

impl Visit {
    /// The entry, where there is one.
    pub(super) fn entered(&self) -> Option<Entered> {
        Some(Entered {
            day_index: self.day_index?,
            entry_no: self.entry_no?,
            scan_id: self.scan_id?,
            device_id: self.device_id,
            gate_id: self.gate_id?,
            zone_id: self.zone_id,
            entered_at: self.entered_at?,
            left_at: self.left_at,
            undone_at: self.undone_at,
            because: self.because,
            is_again: self.is_again.unwrap_or_default(),
        })
    }
}

/// The tickets of orders with their entries, in the order of happening: those that are scanned, and what came with them and is valid.
///
/// What `offset 0` fences is looked up row by row, so the plan has one shape whatever the tables hold yet: orders, their tickets, their entries, each
/// by its key.
pub(super) async fn visits(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], scanned: &[TicketId]) -> Result<Vec<Visit>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_id, o.order_id, t.kind, t.status in ('valid', 'exchanged') as is_valid, t.pass_number, t.day_mask, \
                e.day_index, e.entry_no, e.scan_id, e.device_id, e.gate_id, e.zone_id, e.entered_at, e.left_at, e.undone_at, e.because, e.is_again \
         from unnest($2::uuid[]) as o (order_id) \
         cross join lateral (select ticket_id, kind, status, pass_number, day_mask from tickets \
              where festival_id = $1 and order_id = o.order_id and (status in ('valid', 'exchanged') or ticket_id = any($3)) offset 0) t \
         left join lateral (select a.*, s.device_id, g.zone_id from admissions a \
              left join lateral (select device_id from scans where festival_id = $1 and scan_id = a.scan_id offset 0) s on true \
              left join lateral (select zone_id from gates where festival_id = $1 and gate_id = a.gate_id offset 0) g on true \
              where a.festival_id = $1 and a.ticket_id = t.ticket_id offset 0) e on true \
         order by t.ticket_id, e.entered_at, e.scan_id",
    )
    .bind(festival)
    .bind(orders)
    .bind(scanned)
    .fetch_all(conn)
    .await
}
