//! The rows of the ledger.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Change, Discrepancy, DiscrepancyDecision, DiscrepancyKind, First, Found, GateReport, Row, Which};
use crate::{
    entry::Reason,
    id::{DeviceId, DiscrepancyId, FestivalId, GateId, PromoterId, ScanId, TicketId},
};

#[derive(FromRow)]
struct KnownRow {
    discrepancy_id: DiscrepancyId,
    scan_id: ScanId,
    kind: DiscrepancyKind,
    ticket_id: Option<TicketId>,
    gate_id: GateId,
    device_id: DeviceId,
    happened_at: DateTime<Utc>,
    reason: Option<Reason>,
    first_scan_id: Option<ScanId>,
    first_gate_id: Option<GateId>,
    first_device_id: Option<DeviceId>,
    first_at: Option<DateTime<Utc>>,
    is_withdrawn: bool,
}

/// What the ledger has of tickets, and of scans without a ticket.
pub(in crate::entry) async fn known(conn: &mut PgConnection, festival: FestivalId, tickets: &[TicketId], scans: &[ScanId]) -> Result<Vec<Row>, sqlx::Error> {
    let rows: Vec<KnownRow> = sqlx::query_as(
        "select discrepancy_id, scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, first_scan_id, first_gate_id, first_device_id, first_at, \
                withdrawn_at is not null as is_withdrawn \
         from discrepancies where festival_id = $1 and ticket_id = any($2) \
         union all \
         select discrepancy_id, scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, first_scan_id, first_gate_id, first_device_id, first_at, \
                withdrawn_at is not null \
         from discrepancies where festival_id = $1 and scan_id = any($3) and ticket_id is null",
    )
    .bind(festival)
    .bind(tickets)
    .bind(scans)
    .fetch_all(conn)
    .await?;
    let row = |r: KnownRow| {
        let first = match (r.first_scan_id, r.first_gate_id, r.first_at) {
            (Some(scan_id), Some(gate_id), Some(at)) => Some(First { scan_id, gate_id, device_id: r.first_device_id, at }),
            _ => None,
        };
        let KnownRow { discrepancy_id, scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, is_withdrawn, .. } = r;
        Row { discrepancy_id, found: Found { scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, first }, is_withdrawn }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Writes what changed, each with a position of its own in the feed.
pub(in crate::entry) async fn write(
    conn: &mut PgConnection,
    festival: FestivalId,
    changes: &[Change],
    now: DateTime<Utc>,
    first: i64,
) -> Result<(), sqlx::Error> {
    let numbered = || (first..).zip(changes);
    let found: Vec<(i64, DiscrepancyId, &Found)> = numbered()
        .filter_map(|(position, change)| match change {
            Change::New(found) => Some((position, DiscrepancyId::fresh(festival, now), found)),
            Change::Otherwise(id, found) => Some((position, *id, found)),
            Change::Withdrawn(_) => None,
        })
        .collect();
    if !found.is_empty() {
        upsert(conn, festival, &found, now).await?;
    }
    let withdrawn: Vec<(i64, DiscrepancyId)> =
        numbered().filter_map(|(position, change)| if let Change::Withdrawn(id) = change { Some((position, *id)) } else { None }).collect();
    if !withdrawn.is_empty() {
        sqlx::query(
            "update discrepancies d set withdrawn_at = $2, position = w.position from unnest($3::uuid[], $4::bigint[]) as w (discrepancy_id, position) \
             where d.festival_id = $1 and d.discrepancy_id = w.discrepancy_id",
        )
        .bind(festival)
        .bind(now)
        .bind(withdrawn.iter().map(|(_, id)| *id).collect::<Vec<_>>())
        .bind(withdrawn.iter().map(|(position, _)| *position).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    }
    Ok(())
}

async fn upsert(conn: &mut PgConnection, festival: FestivalId, found: &[(i64, DiscrepancyId, &Found)], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into discrepancies (festival_id, discrepancy_id, scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, first_scan_id, first_gate_id, \
                                    first_device_id, first_at, found_at, position) \
         select $1, f.discrepancy_id, f.scan_id, f.kind, f.ticket_id, f.gate_id, f.device_id, f.happened_at, f.reason, f.first_scan_id, f.first_gate_id, \
                f.first_device_id, f.first_at, $2, f.position \
         from unnest($3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[], $9::timestamptz[], $10::text[], $11::uuid[], $12::uuid[], $13::uuid[], \
                     $14::timestamptz[], $15::bigint[]) \
              as f (discrepancy_id, scan_id, kind, ticket_id, gate_id, device_id, happened_at, reason, first_scan_id, first_gate_id, first_device_id, first_at, position) \
         on conflict (festival_id, scan_id, kind) do update set ticket_id = excluded.ticket_id, gate_id = excluded.gate_id, device_id = excluded.device_id, \
                happened_at = excluded.happened_at, reason = excluded.reason, first_scan_id = excluded.first_scan_id, first_gate_id = excluded.first_gate_id, \
                first_device_id = excluded.first_device_id, first_at = excluded.first_at, withdrawn_at = null, position = excluded.position",
    )
    .bind(festival)
    .bind(now)
    .bind(found.iter().map(|(_, id, _)| *id).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.scan_id).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.kind.name()).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.ticket_id).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.gate_id).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.device_id).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.happened_at).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.reason.map(Reason::name)).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.first.as_ref().map(|o| o.scan_id)).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.first.as_ref().map(|o| o.gate_id)).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.first.as_ref().and_then(|o| o.device_id)).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, _, f)| f.first.as_ref().map(|o| o.at)).collect::<Vec<_>>())
    .bind(found.iter().map(|(position, ..)| *position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of the ledger of a festival, what changed last first.
///
/// # Errors
/// What the database said.
pub async fn page(conn: &mut PgConnection, festival: FestivalId, which: Which, before: Option<Uuid>, limit: u32) -> Result<Vec<Discrepancy>, sqlx::Error> {
    sqlx::query_as(
        "select d.*, coalesce(x.decision, 'open') as decision, x.note, x.decided_by, coalesce(m.name, t.name) as decided_by_name, x.decided_at from discrepancies d left join lateral ( \
             select decision, note, decided_by, decided_at from discrepancy_decisions x \
             where x.festival_id = d.festival_id and x.discrepancy_id = d.discrepancy_id order by decision_no desc limit 1) x on true \
         left join members m on m.member_id = x.decided_by left join tokens t on t.token_id = x.decided_by \
         where d.festival_id = $1 and ($2::uuid is null or d.discrepancy_id < $2) and ($3::uuid is null or d.gate_id = $3) and ($4::text is null or d.kind = $4) \
           and (not $5 or (d.withdrawn_at is null and coalesce(x.decision, 'open') = 'open')) \
         order by d.discrepancy_id desc limit $6",
    )
    .bind(festival)
    .bind(before)
    .bind(which.gate_id)
    .bind(which.kind.map(DiscrepancyKind::name))
    .bind(which.open)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}

/// What changed in the ledger behind a position, oldest first.
///
/// # Errors
/// What the database said.
pub async fn since(conn: &mut PgConnection, festival: FestivalId, position: i64, limit: i64) -> Result<Vec<Discrepancy>, sqlx::Error> {
    sqlx::query_as(
        "select d.*, coalesce(x.decision, 'open') as decision, x.note, x.decided_by, coalesce(m.name, t.name) as decided_by_name, x.decided_at from discrepancies d left join lateral ( \
             select decision, note, decided_by, decided_at from discrepancy_decisions x \
             where x.festival_id = d.festival_id and x.discrepancy_id = d.discrepancy_id order by decision_no desc limit 1) x on true \
         left join members m on m.member_id = x.decided_by left join tokens t on t.token_id = x.decided_by \
         where d.festival_id::bigint = $1 and d.position > $2 order by d.position limit $3",
    )
    .bind(festival)
    .bind(position)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// An entry of the ledger of a promoter's festival.
pub(super) async fn one(conn: &mut PgConnection, promoter: PromoterId, id: DiscrepancyId) -> Result<Option<Discrepancy>, sqlx::Error> {
    sqlx::query_as(
        "select d.*, coalesce(x.decision, 'open') as decision, x.note, x.decided_by, coalesce(m.name, t.name) as decided_by_name, x.decided_at from discrepancies d \
         join festivals f on f.festival_id = d.festival_id and f.promoter_id = $3 left join lateral ( \
             select decision, note, decided_by, decided_at from discrepancy_decisions x \
             where x.festival_id = d.festival_id and x.discrepancy_id = d.discrepancy_id order by decision_no desc limit 1) x on true \
         left join members m on m.member_id = x.decided_by left join tokens t on t.token_id = x.decided_by \
         where d.festival_id = $1 and d.discrepancy_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(promoter)
    .fetch_optional(conn)
    .await
}

/// Writes a decision down, under the lock of the feed.
pub(super) async fn insert_decision(
    conn: &mut PgConnection,
    id: DiscrepancyId,
    decision: DiscrepancyDecision,
    note: &str,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into discrepancy_decisions (festival_id, discrepancy_id, decision_no, decision, note, decided_by, decided_at) \
         select $1, $2, coalesce(max(decision_no), 0) + 1, $3, $4, $5, $6 from discrepancy_decisions where festival_id = $1 and discrepancy_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .bind(decision.name())
    .bind(note)
    .bind(by)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an entry of the ledger another position in the feed.
pub(super) async fn place(conn: &mut PgConnection, id: DiscrepancyId, position: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update discrepancies set position = $3 where festival_id = $1 and discrepancy_id = $2")
        .bind(id.festival())
        .bind(id)
        .bind(position)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn by_gate(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<GateReport>, sqlx::Error> {
    sqlx::query_as(
        "select g.gate_id, coalesce(a.n, 0) as admissions, coalesce(a.offline, 0) as offline_admissions, coalesce(s.n, 0) as refusals, \
                coalesce(d.surplus, 0) as surplus_admissions, coalesce(d.others, 0) as other_discrepancies, coalesce(d.open, 0) as open_discrepancies \
         from gates g \
         left join (select a.gate_id, count(*) as n, count(r.scan_id) as offline from admissions a \
                    left join scan_reports r on r.festival_id = a.festival_id and r.scan_id = a.scan_id \
                    where a.festival_id = $1 and a.undone_at is null group by a.gate_id) a on a.gate_id = g.gate_id \
         left join (select gate_id, count(*) as n from scans where festival_id = $1 and verdict = 'refused' and kind = 'entry' group by gate_id) s on s.gate_id = g.gate_id \
         left join (select d.gate_id, count(*) filter (where d.kind = 'surplus_admission') as surplus, count(*) filter (where d.kind <> 'surplus_admission') as others, \
                           count(*) filter (where coalesce(x.decision, 'open') = 'open') as open \
                    from discrepancies d left join lateral (select decision from discrepancy_decisions x \
                        where x.festival_id = d.festival_id and x.discrepancy_id = d.discrepancy_id order by decision_no desc limit 1) x on true \
                    where d.festival_id = $1 and d.withdrawn_at is null group by d.gate_id) d on d.gate_id = g.gate_id \
         where g.festival_id = $1 order by g.gate_id",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}
