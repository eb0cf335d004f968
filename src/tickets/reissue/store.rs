//! The statements that change tickets, write down what they were, and find who is told.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Becomes, Cause, Ticket, TicketStatus, tickets};
use crate::{
    id::{FestivalId, TicketId},
    words::Language,
};

/// Why a ticket changed last.
pub(super) async fn last_change(conn: &mut PgConnection, id: TicketId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select why from ticket_changes where festival_id = $1 and ticket_id = $2 order by change_no desc limit 1")
        .bind(id.festival())
        .bind(id)
        .fetch_optional(conn)
        .await
}

/// Who is told of a ticket: its holder, where they left an address, else whoever ordered it; and in which language.
pub(super) async fn reader_of(conn: &mut PgConnection, id: TicketId) -> Result<(String, Language), sqlx::Error> {
    sqlx::query_as(
        "select coalesce(t.holder_email, o.email), o.language from tickets t join orders o on o.festival_id = t.festival_id and o.order_id = t.order_id \
         where t.festival_id = $1 and t.ticket_id = $2",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_one(conn)
    .await
}

/// The ticket that an email tells of, whether it goes to a holder who took it, why it was written, and who reads of the ticket now.
///
/// # Errors
/// What the database said.
pub async fn of_letter(pool: &PgPool, festival: FestivalId, letter: Uuid) -> Result<Option<(Ticket, bool, String, String)>, sqlx::Error> {
    let id: Option<(TicketId, bool, String, String)> = sqlx::query_as(
        "select t.ticket_id, t.holder_email is not null, c.why, coalesce(t.holder_email, o.email) \
         from ticket_changes c join tickets t on t.festival_id = c.festival_id and t.ticket_id = c.ticket_id \
         join orders o on o.festival_id = t.festival_id and o.order_id = t.order_id \
         where c.festival_id = $1 and c.letter_id = $2",
    )
    .bind(festival)
    .bind(letter)
    .fetch_optional(pool)
    .await?;
    match id {
        Some((id, is_holder, why, reader)) => Ok(tickets::ticket(pool, id).await?.map(|ticket| (ticket, is_holder, why, reader))),
        None => Ok(None),
    }
}

/// Writes down what a locked ticket is until now.
pub(super) async fn insert_change(conn: &mut PgConnection, ticket: &Ticket, cause: Cause<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into ticket_changes (festival_id, ticket_id, change_no, before_generation, before_status, why, note, changed_at, letter_id) \
         select $1, $2, coalesce(max(change_no), 0) + 1, $3, $4, $5, $6, $7, $8 from ticket_changes where festival_id = $1 and ticket_id = $2",
    )
    .bind(ticket.ticket_id.festival())
    .bind(ticket.ticket_id)
    .bind(ticket.generation)
    .bind(ticket.status)
    .bind(cause.why)
    .bind(cause.note)
    .bind(now)
    .bind(cause.letter)
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes the state and code of a locked ticket.
pub(super) async fn change(conn: &mut PgConnection, id: TicketId, becomes: &Becomes<'_>, key_id: i16, position: i64) -> Result<Ticket, sqlx::Error> {
    let changed: Ticket = sqlx::query_as(
        "update tickets set status = $3, generation = $4, live_key = $5, released_key = $6, key_id = $7, position = $8 where festival_id = $1 and ticket_id = $2 returning *",
    )
    .bind(id.festival())
    .bind(id)
    .bind(becomes.status)
    .bind(becomes.generation)
    .bind(becomes.live_key)
    .bind(becomes.released_key)
    .bind(key_id)
    .bind(position)
    .fetch_one(conn)
    .await?;
    Ok(changed.numbered())
}

/// Writes down what locked tickets are until now.
pub(super) async fn insert_changes(
    conn: &mut PgConnection,
    festival: FestivalId,
    becomes: &[(&Ticket, TicketStatus)],
    why: &str,
    letters: &[(TicketId, Uuid)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let letter = |ticket: &Ticket| letters.iter().find(|(id, _)| *id == ticket.ticket_id).map(|(_, letter)| *letter);
    sqlx::query(
        "insert into ticket_changes (festival_id, ticket_id, change_no, before_generation, before_status, why, note, changed_at, letter_id) \
         select $1, t.ticket_id, 1 + coalesce((select max(c.change_no) from ticket_changes c where c.festival_id = $1 and c.ticket_id = t.ticket_id), 0), \
                t.generation, t.status, $4, '', $5, n.letter_id \
         from unnest($2::uuid[], $3::uuid[]) as n (ticket_id, letter_id) join tickets t on t.festival_id = $1 and t.ticket_id = n.ticket_id",
    )
    .bind(festival)
    .bind(becomes.iter().map(|(ticket, _)| ticket.ticket_id).collect::<Vec<_>>())
    .bind(becomes.iter().map(|(ticket, _)| letter(ticket)).collect::<Vec<_>>())
    .bind(why)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes the state of locked tickets; their codes stay.
pub(super) async fn change_all(
    conn: &mut PgConnection,
    festival: FestivalId,
    becomes: &[(&Ticket, TicketStatus)],
    first_position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update tickets t set status = n.status, position = $2 + n.no - 1 \
         from unnest($3::uuid[], $4::text[]) with ordinality as n (ticket_id, status, no) where t.festival_id = $1 and t.ticket_id = n.ticket_id",
    )
    .bind(festival)
    .bind(first_position)
    .bind(becomes.iter().map(|(ticket, _)| ticket.ticket_id).collect::<Vec<_>>())
    .bind(becomes.iter().map(|(_, status)| status.name()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
