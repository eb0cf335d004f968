//! The rows of the help desk.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CaseOutcome, HelpDeskCase};
use crate::id::{FestivalId, TicketId};

/// The last check of each ticket since a moment that was sent to the help desk, or not answered until another moment; where nobody came in or decided since.
pub(super) async fn cases(
    conn: &mut PgConnection,
    festival: FestivalId,
    since: DateTime<Utc>,
    unanswered: DateTime<Utc>,
) -> Result<Vec<HelpDeskCase>, sqlx::Error> {
    sqlx::query_as(
        "select distinct on (s.ticket_id) s.scan_id, s.ticket_id, s.gate_id, s.device_id, s.instruction, s.decided_at as sent_at, \
                s.checked is not distinct from 'help_desk' as was_sent, t.ticket_number \
         from scans s join tickets t on t.festival_id = s.festival_id and t.ticket_id = s.ticket_id \
         where s.festival_id::bigint = $1 and s.verdict = 'check' and s.decided_at >= $2 and s.kind = 'entry' and (s.checked = 'help_desk' or s.decided_at <= $3) \
               and not exists (select from admissions a where a.festival_id = s.festival_id and a.ticket_id = s.ticket_id and a.entered_at >= s.decided_at and a.undone_at is null) \
               and not exists (select from help_desk_decisions d where d.festival_id = s.festival_id and d.ticket_id = s.ticket_id and d.decided_at >= s.decided_at) \
         order by s.ticket_id, s.decided_at desc",
    )
    .bind(festival)
    .bind(since)
    .bind(unanswered)
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
    sqlx::query(
        "insert into help_desk_decisions (festival_id, ticket_id, decided_at, outcome, note, decided_by) values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
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
