//! The rows of head counts.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::HeadCount;
use crate::id::{CountId, DeviceId, FestivalId, GateId, ZoneId};

/// A count as it is recorded.
pub(super) struct Row {
    pub(super) count: HeadCount,
    pub(super) counted_at: DateTime<Utc>,
    pub(super) gate_id: GateId,
    pub(super) day_index: i16,
}

/// Records counts; those that were not known.
pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    device: DeviceId,
    rows: &[Row],
    now: DateTime<Utc>,
) -> Result<HashSet<CountId>, sqlx::Error> {
    let fresh: Vec<CountId> = sqlx::query_scalar(
        "insert into head_counts (festival_id, count_id, device_id, gate_id, day_index, kind, people, counted_at, received_at) \
         select $1, c.count_id, $2, c.gate_id, c.day_index, c.kind, c.people, c.counted_at, $3 \
         from unnest($4::uuid[], $5::uuid[], $6::smallint[], $7::text[], $8::smallint[], $9::timestamptz[]) as c (count_id, gate_id, day_index, kind, people, counted_at) \
         order by c.count_id on conflict do nothing returning count_id",
    )
    .bind(festival)
    .bind(device)
    .bind(now)
    .bind(rows.iter().map(|row| row.count.count_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.gate_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.day_index).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.count.kind.name()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.count.people).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.counted_at).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    Ok(fresh.into_iter().collect())
}

/// What was counted by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByHand {
    /// People who came in.
    pub entries: i64,
    /// People who left.
    pub exits: i64,
    /// People who left for a hospital.
    pub medical_exits: i64,
}

impl ByHand {
    /// How many more are in by it.
    #[must_use]
    pub fn inside(&self) -> i64 {
        self.entries - self.exits - self.medical_exits
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { entries: self.entries + other.entries, exits: self.exits + other.exits, medical_exits: self.medical_exits + other.medical_exits }
    }
}

/// What was counted by hand on a day since the zone was cleared last, by the zone of the gates; none for those to the whole site.
pub(in crate::entry) async fn sums(
    conn: &mut PgConnection,
    festival: FestivalId,
    day: i16,
    now: DateTime<Utc>,
) -> Result<Vec<(Option<ZoneId>, ByHand)>, sqlx::Error> {
    let sums: Vec<(Option<ZoneId>, i64, i64, i64)> = sqlx::query_as(
        "select g.zone_id, coalesce(sum(h.people) filter (where h.kind = 'entry'), 0)::bigint as entries, \
                coalesce(sum(h.people) filter (where h.kind = 'exit'), 0)::bigint as exits, \
                coalesce(sum(h.people) filter (where h.kind = 'medical_exit'), 0)::bigint as medical_exits \
         from head_counts h join gates g on g.festival_id = h.festival_id and g.gate_id = h.gate_id \
         where h.festival_id = $1 and h.day_index = $2 \
               and not exists (select from clearings c where c.festival_id = h.festival_id and (c.zone_id is null or c.zone_id = g.zone_id) \
                               and c.clears_at > h.counted_at and c.clears_at <= $3) \
         group by g.zone_id",
    )
    .bind(festival)
    .bind(day)
    .bind(now)
    .fetch_all(conn)
    .await?;
    Ok(sums.into_iter().map(|(zone, entries, exits, medical_exits)| (zone, ByHand { entries, exits, medical_exits })).collect())
}
