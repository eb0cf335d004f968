//! The rows of the help desk.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CaseOutcome, HelpDeskCase};
use crate::id::{FestivalId, TicketId};

/// The most cases that are shown.
const MOST: i64 = 200;

/// The last check of each ticket since a moment that was sent to the help desk, or not answered until another moment; where nobody came in or decided since.
pub(super) async fn cases(
    conn: &mut PgConnection,
    festival: FestivalId,
    since: DateTime<Utc>,
    unanswered: DateTime<Utc>,
) -> Result<Vec<HelpDeskCase>, sqlx::Error> {
    sqlx::query_as(
        "select * from (select distinct on (s.ticket_id) s.scan_id, s.ticket_id, upper(right(lpad(to_hex(t.ticket_number), 16, '0'), 4)) as ticket_end, \
                s.gate_id, s.device_id, s.instruction, m.sent_at, s.checked is not distinct from 'help_desk' as was_sent \
         from scans s join tickets t on t.festival_id = s.festival_id and t.ticket_id = s.ticket_id \
         left join scan_reports r on r.festival_id = s.festival_id and r.scan_id = s.scan_id \
         cross join lateral (select coalesce(r.happened_at, s.decided_at) as sent_at) m \
         where s.festival_id::bigint = $1 and s.verdict = 'check' and s.decided_at >= $2 and s.kind = 'entry' and (s.checked = 'help_desk' or m.sent_at <= $3) \
               and not exists (select from admissions a where a.festival_id = s.festival_id and a.ticket_id = s.ticket_id and a.entered_at >= m.sent_at and a.undone_at is null) \
               and not exists (select from help_desk_decisions d where d.festival_id = s.festival_id and d.ticket_id = s.ticket_id and d.decided_at >= m.sent_at) \
         order by s.ticket_id, m.sent_at desc, was_sent desc) c order by c.sent_at desc, c.scan_id desc limit $4",
    )
    .bind(festival)
    .bind(since)
    .bind(unanswered)
    .bind(MOST)
    .fetch_all(conn)
    .await
}

/// Writes down what became of a case.
pub(super) async fn insert(
    conn: &mut PgConnection,
    ticket: TicketId,
    outcome: CaseOutcome,
    note: &str,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into help_desk_decisions (festival_id, ticket_id, decided_at, outcome, note, decided_by) values ($1, $2, $3, $4, $5, $6)")
        .bind(ticket.festival())
        .bind(ticket)
        .bind(now)
        .bind(outcome.name())
        .bind(note)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}
