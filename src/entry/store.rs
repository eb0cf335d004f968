//! The rows of scans and admissions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::{
    Asked, Checked, Reason, Scan, ScanKind, Verdict,
    decide::{Decision, Entered},
    overrides::Because,
};
use crate::{
    accounts::Device,
    id::{DeviceId, FestivalId, GateId, ScanId, TicketId, ZoneId},
    offers::Instruction,
    tickets::TicketKind,
};

/// A scan as it is recorded.
#[derive(Clone, Debug, FromRow)]
pub struct Recorded {
    #[sqlx(rename = "festival_id")]
    pub(super) scan_id_festival: FestivalId,
    pub(super) scan_id: ScanId,
    pub(super) kind: ScanKind,
    pub(super) gate_id: GateId,
    pub(super) device_id: DeviceId,
    pub(super) ticket_id: Option<TicketId>,
    pub(super) day_index: Option<i16>,
    pub(super) verdict: Verdict,
    pub(super) reason: Option<Reason>,
    pub(super) instruction: Option<Instruction>,
    pub(super) after_scan_id: Option<ScanId>,
    pub(super) checked: Option<Checked>,
    pub(super) scanned_at: DateTime<Utc>,
    pub(super) decided_at: DateTime<Utc>,
    pub(super) first_scan_id: Option<ScanId>,
}

impl Recorded {
    pub(super) fn refused(device: &Device, asked: &Asked, reason: Reason, now: DateTime<Utc>) -> Self {
        Self {
            scan_id_festival: device.festival_id,
            scan_id: asked.scan_id,
            kind: asked.kind,
            gate_id: device.gate_id,
            device_id: device.device_id,
            ticket_id: None,
            day_index: None,
            verdict: Verdict::Refused,
            reason: Some(reason),
            instruction: None,
            after_scan_id: asked.after,
            checked: asked.checked,
            scanned_at: asked.scanned_at,
            decided_at: now,
            first_scan_id: None,
        }
    }

    pub(super) fn decided(device: &Device, asked: &Asked, ticket: TicketId, decision: &Decision, now: DateTime<Utc>) -> Self {
        Self {
            ticket_id: Some(ticket),
            day_index: decision.day_index,
            verdict: decision.verdict,
            reason: decision.reason,
            instruction: decision.instruction,
            first_scan_id: decision.first,
            ..Self::refused(device, asked, Reason::Unknown, now)
        }
    }
}

pub(super) async fn by_ids(conn: &mut PgConnection, festival: FestivalId, scans: &[ScanId]) -> Result<HashMap<ScanId, Recorded>, sqlx::Error> {
    let rows: Vec<Recorded> =
        sqlx::query_as("select * from scans where festival_id = $1 and scan_id = any($2)").bind(festival).bind(scans).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|r| (r.scan_id, r)).collect())
}

/// When a device scanned a ticket first: the scan that another one answers for.
pub(super) async fn seen_at(
    conn: &mut PgConnection,
    festival: FestivalId,
    scan: ScanId,
    device: DeviceId,
    number: i64,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(
        "select s.decided_at from scans s join tickets t on t.festival_id = s.festival_id and t.ticket_id = s.ticket_id \
         where s.festival_id = $1 and s.scan_id = $2 and s.device_id = $3 and t.ticket_number = $4",
    )
    .bind(festival)
    .bind(scan)
    .bind(device)
    .bind(number)
    .fetch_optional(conn)
    .await
}

#[derive(FromRow)]
struct EntryRow {
    ticket_id: TicketId,
    day_index: i16,
    entry_no: i16,
    scan_id: ScanId,
    device_id: Option<DeviceId>,
    gate_id: GateId,
    zone_id: Option<ZoneId>,
    entered_at: DateTime<Utc>,
    left_at: Option<DateTime<Utc>>,
    undone_at: Option<DateTime<Utc>>,
    because: Option<Because>,
    is_again: bool,
}

pub(super) async fn entries(conn: &mut PgConnection, festival: FestivalId, tickets: &[TicketId]) -> Result<HashMap<TicketId, Vec<Entered>>, sqlx::Error> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "select a.ticket_id, a.day_index, a.entry_no, a.scan_id, s.device_id, a.gate_id, g.zone_id, a.entered_at, a.left_at, a.undone_at, a.because, a.is_again \
         from admissions a left join scans s on s.festival_id = a.festival_id and s.scan_id = a.scan_id \
         left join gates g on g.festival_id = a.festival_id and g.gate_id = a.gate_id \
         where a.festival_id = $1 and a.ticket_id = any($2) order by a.ticket_id, a.entered_at, a.scan_id",
    )
    .bind(festival)
    .bind(tickets)
    .fetch_all(conn)
    .await?;
    let mut by: HashMap<TicketId, Vec<Entered>> = HashMap::new();
    for r in rows {
        by.entry(r.ticket_id).or_default().push(Entered {
            day_index: r.day_index,
            entry_no: r.entry_no,
            scan_id: r.scan_id,
            device_id: r.device_id,
            gate_id: r.gate_id,
            zone_id: r.zone_id,
            entered_at: r.entered_at,
            left_at: r.left_at,
            undone_at: r.undone_at,
            because: r.because,
            is_again: r.is_again,
        });
    }
    Ok(by)
}

pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, scans: &[Recorded]) -> Result<u64, sqlx::Error> {
    if scans.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(
        "insert into scans (festival_id, scan_id, kind, gate_id, device_id, ticket_id, day_index, verdict, reason, instruction, after_scan_id, checked, \
                            scanned_at, decided_at, first_scan_id) \
         select $1, s.* from unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::smallint[], $8::text[], $9::text[], $10::text[], $11::uuid[], \
                                    $12::text[], $13::timestamptz[], $14::timestamptz[], $15::uuid[]) as s \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(scans.iter().map(|s| s.scan_id).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| kind_name(s.kind)).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.gate_id).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.device_id).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.ticket_id).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.day_index).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.verdict.name()).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.reason.map(Reason::name)).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.instruction.map(Instruction::name)).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.after_scan_id).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.checked.map(|c| if c == Checked::Yes { "yes" } else { "help_desk" })).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.scanned_at).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.decided_at).collect::<Vec<_>>())
    .bind(scans.iter().map(|s| s.first_scan_id).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn kind_name(kind: ScanKind) -> &'static str {
    match kind {
        ScanKind::Entry => "entry",
        ScanKind::Exit => "exit",
        ScanKind::Look => "look",
        ScanKind::Undo => "undo",
    }
}

/// Writes how entries of before stand now, each with a position of its own in the feed; how many there were.
pub(super) async fn update_admissions(
    conn: &mut PgConnection,
    festival: FestivalId,
    old: &[(TicketId, Entered)],
    first_position: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update admissions a set left_at = e.left_at, undone_at = e.undone_at, position = $2 + e.no - 1 \
         from unnest($3::uuid[], $4::smallint[], $5::smallint[], $6::timestamptz[], $7::timestamptz[]) with ordinality \
              as e (ticket_id, day_index, entry_no, left_at, undone_at, no) \
         where a.festival_id = $1 and a.ticket_id = e.ticket_id and a.day_index = e.day_index and a.entry_no = e.entry_no",
    )
    .bind(festival)
    .bind(first_position)
    .bind(old.iter().map(|(t, _)| *t).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, e)| e.day_index).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, e)| e.entry_no).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, e)| e.left_at).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, e)| e.undone_at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(super) async fn insert_admissions(
    conn: &mut PgConnection,
    festival: FestivalId,
    entered: &[(TicketId, Entered)],
    first_position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into admissions (festival_id, ticket_id, day_index, entry_no, scan_id, gate_id, entered_at, left_at, undone_at, because, is_again, position) \
         select $1, e.ticket_id, e.day_index, e.entry_no, e.scan_id, e.gate_id, e.entered_at, e.left_at, e.undone_at, e.because, e.is_again, $2 + e.no - 1 \
         from unnest($3::uuid[], $4::smallint[], $5::smallint[], $6::uuid[], $7::uuid[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::boolean[]) \
              with ordinality as e (ticket_id, day_index, entry_no, scan_id, gate_id, entered_at, left_at, undone_at, because, is_again, no)",
    )
    .bind(festival)
    .bind(first_position)
    .bind(entered.iter().map(|(t, _)| *t).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.day_index).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.entry_no).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.scan_id).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.gate_id).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.entered_at).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.left_at).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.undone_at).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.because.map(Because::name)).collect::<Vec<_>>())
    .bind(entered.iter().map(|(_, e)| e.is_again).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What a device showed of a scan, as it reported it, with what the rules said of that moment apart from who was in.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Report {
    pub(super) scan_id: ScanId,
    pub(super) device_id: DeviceId,
    pub(super) gate_id: GateId,
    pub(super) kind: ScanKind,
    pub(super) ticket_id: Option<TicketId>,
    pub(super) day_index: Option<i16>,
    pub(super) verdict: Verdict,
    pub(super) reason: Option<Reason>,
    pub(super) ruled: Verdict,
    pub(super) ruled_reason: Option<Reason>,
    pub(super) happened_at: DateTime<Utc>,
    pub(super) scanned_at: DateTime<Utc>,
    pub(super) offset_ms: i64,
    pub(super) is_doubtful: bool,
    pub(super) received_at: DateTime<Utc>,
}

/// The reports of scans.
pub(super) async fn reports(conn: &mut PgConnection, festival: FestivalId, scans: &[ScanId]) -> Result<Vec<Report>, sqlx::Error> {
    sqlx::query_as("select * from scan_reports where festival_id = $1 and scan_id = any($2)").bind(festival).bind(scans).fetch_all(conn).await
}

/// The reports of tickets.
pub(super) async fn reports_of(conn: &mut PgConnection, festival: FestivalId, tickets: &[TicketId]) -> Result<Vec<Report>, sqlx::Error> {
    sqlx::query_as("select * from scan_reports where festival_id = $1 and ticket_id = any($2)").bind(festival).bind(tickets).fetch_all(conn).await
}

/// Writes reports; how many were new.
pub(super) async fn insert_reports(conn: &mut PgConnection, festival: FestivalId, reports: &[Report]) -> Result<u64, sqlx::Error> {
    if reports.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(
        "insert into scan_reports (festival_id, scan_id, device_id, gate_id, kind, ticket_id, day_index, verdict, reason, ruled, ruled_reason, happened_at, scanned_at, \
                                   offset_ms, is_doubtful, received_at) \
         select $1, r.* from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::smallint[], $8::text[], $9::text[], $10::text[], $11::text[], \
                                    $12::timestamptz[], $13::timestamptz[], $14::bigint[], $15::boolean[], $16::timestamptz[]) as r \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(reports.iter().map(|r| r.scan_id).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.device_id).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.gate_id).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| kind_name(r.kind)).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.ticket_id).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.day_index).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.verdict.name()).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.reason.map(Reason::name)).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.ruled.name()).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.ruled_reason.map(Reason::name)).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.happened_at).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.scanned_at).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.offset_ms).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.is_doubtful).collect::<Vec<_>>())
    .bind(reports.iter().map(|r| r.received_at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An exit or an undo that happened.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Move {
    pub(super) ticket_id: TicketId,
    pub(super) scan_id: ScanId,
    pub(super) kind: ScanKind,
    pub(super) device_id: DeviceId,
    /// The zone that the gate leads to.
    pub(super) zone_id: Option<ZoneId>,
    pub(super) at: DateTime<Utc>,
}

/// The exits and undos of tickets that the server or the device admitted.
pub(super) async fn moves(conn: &mut PgConnection, festival: FestivalId, tickets: &[TicketId]) -> Result<Vec<Move>, sqlx::Error> {
    sqlx::query_as(
        "select s.ticket_id, s.scan_id, s.kind, s.device_id, g.zone_id, coalesce(r.happened_at, s.decided_at) as at \
         from scans s left join scan_reports r on r.festival_id = s.festival_id and r.scan_id = s.scan_id \
         left join gates g on g.festival_id = s.festival_id and g.gate_id = s.gate_id \
         where s.festival_id = $1 and s.ticket_id = any($2) and s.kind in ('exit', 'undo') and (s.verdict = 'admitted' or r.verdict = 'admitted')",
    )
    .bind(festival)
    .bind(tickets)
    .fetch_all(conn)
    .await
}

/// An admission as the feed of gates lists it.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Admitted {
    pub(super) ticket_number: i64,
    pub(super) day_index: i16,
    pub(super) entry_no: i16,
    pub(super) has_left: bool,
    pub(super) is_undone: bool,
    /// Whether it ended because everybody was put out.
    pub(super) was_cleared: bool,
    /// By an add-on that was handed over nobody is in.
    pub(super) kind: TicketKind,
    pub(super) gate_id: GateId,
    pub(super) entered_at: DateTime<Utc>,
    pub(super) position: i64,
}

/// Admissions behind a position of their feed, oldest first.
pub(super) async fn feed(conn: &mut PgConnection, festival: FestivalId, after: i64, most: i64) -> Result<Vec<Admitted>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_number, a.day_index, a.entry_no, a.left_at is not null as has_left, a.undone_at is not null as is_undone, \
                exists (select from clearings c where c.festival_id = a.festival_id and c.clears_at = a.left_at) as was_cleared, t.kind, a.gate_id, a.entered_at, \
                a.position \
         from admissions a join tickets t on t.festival_id = a.festival_id and t.ticket_id = a.ticket_id \
         where a.festival_id::bigint = $1 and a.position > $2 order by a.position limit $3",
    )
    .bind(festival)
    .bind(after)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// A page of the scans of a festival, newest first.
///
/// # Errors
/// What the database said.
pub async fn of_festival(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Scan>, sqlx::Error> {
    sqlx::query_as(
        "select scan_id, kind, gate_id, ticket_id, day_index, verdict, reason, instruction, scanned_at, decided_at, first_scan_id from scans \
         where festival_id = $1 and ($2::uuid is null or scan_id < $2) order by scan_id desc limit $3",
    )
    .bind(festival)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await
}

/// A scan as the dashboard lists it.
#[derive(Clone, Debug, FromRow)]
pub struct Latest {
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Where.
    pub gate_id: GateId,
    /// The number of the pass, where the code was one of ours.
    pub pass_number: Option<i32>,
    /// What the gate showed.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
}

/// The latest scans of a festival.
///
/// # Errors
/// What the database said.
pub async fn latest(conn: &mut PgConnection, festival: FestivalId, most: i64) -> Result<Vec<Latest>, sqlx::Error> {
    sqlx::query_as(
        "select s.decided_at, s.gate_id, t.pass_number, s.verdict, s.reason \
         from scans s left join tickets t on t.festival_id = s.festival_id and t.ticket_id = s.ticket_id \
         where s.festival_id::bigint = $1 order by s.decided_at desc limit $2",
    )
    .bind(festival)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// How many are in by scans on a day, by the zone of the gate they came through: whom a clearing put out is out.
pub(super) async fn inside(conn: &mut PgConnection, festival: FestivalId, day: i16, now: DateTime<Utc>) -> Result<Vec<(Option<ZoneId>, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select g.zone_id, count(*) from admissions a join gates g on g.festival_id = a.festival_id and g.gate_id = a.gate_id \
         join tickets t on t.festival_id = a.festival_id and t.ticket_id = a.ticket_id and t.kind = 'pass' \
         where a.festival_id = $1 and a.day_index = $2 and a.left_at is null and a.undone_at is null \
               and not exists (select from clearings c where c.festival_id = a.festival_id and (c.zone_id is null or c.zone_id = g.zone_id) \
                               and c.clears_at > a.entered_at and c.clears_at <= $3) \
         group by g.zone_id",
    )
    .bind(festival)
    .bind(day)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Arrivals and refusals a minute since a moment.
///
/// # Errors
/// What the database said.
pub async fn arrivals(conn: &mut PgConnection, festival: FestivalId, since: DateTime<Utc>) -> Result<Vec<(DateTime<Utc>, i64, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select date_trunc('minute', decided_at), count(*) filter (where verdict = 'admitted' and kind = 'entry'), count(*) filter (where verdict = 'refused') \
         from scans where festival_id::bigint = $1 and decided_at >= $2 group by 1 order by 1",
    )
    .bind(festival)
    .bind(since)
    .fetch_all(conn)
    .await
}
