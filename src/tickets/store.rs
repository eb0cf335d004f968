//! The rows of tickets.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Issue, Ticket, TicketKind, TicketStatus, code};
use crate::{
    id::{FestivalId, OrderId, TicketId},
    words::Language,
};

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    issues: &[Issue],
    key_id: i16,
    not_after: DateTime<Utc>,
    first_position: i64,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "insert into tickets (festival_id, ticket_id, order_id, line_no, component_no, unit_no, kind, status, ticket_number, generation, key_id, \
                              pass_number, day_mask, not_after, holder_name, link_generation, position) \
         select $1, t.ticket_id, t.order_id, t.line_no, t.component_no, t.unit_no, t.kind, 'valid', t.number, 0, $2, t.pass_number, t.day_mask, $3, t.holder_name, 0, \
                $4 + t.no - 1 \
         from unnest($5::uuid[], $6::uuid[], $7::smallint[], $8::smallint[], $9::integer[], $10::text[], $11::bigint[], $12::integer[], $13::integer[], $14::text[]) \
              with ordinality as t (ticket_id, order_id, line_no, component_no, unit_no, kind, number, pass_number, day_mask, holder_name, no) \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(key_id)
    .bind(not_after)
    .bind(first_position)
    .bind(issues.iter().map(|_| TicketId::fresh(festival, now)).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.order_id).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.line_no).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.component_no).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.unit_no).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| if i.kind == TicketKind::Pass { "pass" } else { "add_on" }).collect::<Vec<_>>())
    .bind(issues.iter().map(|_| code::fresh_number(now)).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.pass_number).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.day_mask).collect::<Vec<_>>())
    .bind(issues.iter().map(|i| i.holder_name.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A ticket as a scan sees it.
#[derive(Clone, Debug, FromRow)]
pub struct Scanned {
    /// Its id.
    pub ticket_id: TicketId,
    /// Its order.
    pub order_id: OrderId,
    /// Its number.
    pub ticket_number: i64,
    /// What it is for.
    pub kind: TicketKind,
    /// Its state.
    pub status: TicketStatus,
    /// The only generation that opens a gate.
    pub generation: i16,
    /// The number of its pass.
    pub pass_number: i32,
    /// The festival days it opens.
    pub day_mask: i32,
    /// What staff shall know when it comes to a gate.
    pub note: Option<String>,
    /// Since when there is a note.
    pub noted_at: Option<DateTime<Utc>>,
    /// Whom it is for.
    pub holder_name: String,
}

/// A ticket as the feed of gates lists it.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    /// What a scan sees of it.
    #[sqlx(flatten)]
    pub ticket: Scanned,
    /// Where it stands in the feed.
    pub position: i64,
}

/// What a ticket was until a moment.
#[derive(Clone, Debug, FromRow)]
pub struct Before {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Its generation until then.
    pub before_generation: i16,
    /// Its state until then.
    pub before_status: TicketStatus,
    /// Until when.
    pub changed_at: DateTime<Utc>,
}

/// What tickets were before they changed.
///
/// # Errors
/// What the database said.
pub async fn changes(conn: &mut PgConnection, festival: FestivalId, tickets: &[TicketId]) -> Result<Vec<Before>, sqlx::Error> {
    sqlx::query_as("select ticket_id, before_generation, before_status, changed_at from ticket_changes where festival_id = $1 and ticket_id = any($2)")
        .bind(festival)
        .bind(tickets)
        .fetch_all(conn)
        .await
}

/// Tickets behind a position of their feed, oldest first.
///
/// # Errors
/// What the database said.
pub async fn feed(conn: &mut PgConnection, festival: FestivalId, after: i64, most: i64) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select ticket_id, ticket_number, kind, status, generation, pass_number, day_mask, note, noted_at, holder_name, order_id, position from tickets \
         where festival_id::bigint = $1 and position > $2 order by position limit $3",
    )
    .bind(festival)
    .bind(after)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// A ticket with the name of its holder.
#[derive(Clone, Debug, FromRow)]
pub struct Named {
    /// Its id.
    pub ticket_id: TicketId,
    /// Its number.
    pub ticket_number: i64,
    /// Its state.
    pub status: TicketStatus,
    /// The number of its pass.
    pub pass_number: i32,
    /// Its order.
    pub order_id: OrderId,
    /// Whom it is for.
    pub holder_name: String,
    /// Whether it is bound to a phone.
    pub is_bound: bool,
    /// Where it stands in the feed.
    pub position: i64,
}

/// Tickets with their holders behind a position of their feed, oldest first.
///
/// # Errors
/// What the database said.
pub async fn named(conn: &mut PgConnection, festival: FestivalId, after: i64, most: i64) -> Result<Vec<Named>, sqlx::Error> {
    sqlx::query_as(
        "select ticket_id, ticket_number, status, pass_number, order_id, holder_name, live_key is not null as is_bound, position from tickets \
         where festival_id::bigint = $1 and position > $2 order by position limit $3",
    )
    .bind(festival)
    .bind(after)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// The tickets of orders with their holders.
///
/// # Errors
/// What the database said.
pub async fn named_of(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId]) -> Result<Vec<Named>, sqlx::Error> {
    sqlx::query_as(
        "select ticket_id, ticket_number, status, pass_number, order_id, holder_name, live_key is not null as is_bound, position from tickets \
         where festival_id = $1 and order_id = any($2) order by order_id, ticket_id",
    )
    .bind(festival)
    .bind(orders)
    .fetch_all(conn)
    .await
}

/// Locks tickets by their numbers, in the order of their ids.
///
/// # Errors
/// What the database said.
pub async fn lock(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<Vec<Scanned>, sqlx::Error> {
    sqlx::query_as(
        "select ticket_id, order_id, ticket_number, kind, status, generation, pass_number, day_mask, note, noted_at, holder_name from tickets \
         where festival_id = $1 and ticket_number = any($2) order by ticket_id for no key update",
    )
    .bind(festival)
    .bind(numbers)
    .fetch_all(conn)
    .await
}

/// The same without a lock: only the negative control of the race tests may use it.
///
/// # Errors
/// What the database said.
pub async fn by_numbers(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<Vec<Scanned>, sqlx::Error> {
    sqlx::query_as(
        "select ticket_id, order_id, ticket_number, kind, status, generation, pass_number, day_mask, note, noted_at, holder_name from tickets where festival_id = $1 and ticket_number = any($2)",
    )
    .bind(festival)
    .bind(numbers)
    .fetch_all(conn)
    .await
}

/// A ticket.
///
/// # Errors
/// What the database said.
pub async fn ticket(pool: &PgPool, id: TicketId) -> Result<Option<Ticket>, sqlx::Error> {
    let found: Option<Ticket> =
        sqlx::query_as("select * from tickets where festival_id = $1 and ticket_id = $2").bind(id.festival()).bind(id).fetch_optional(pool).await?;
    Ok(found.map(Ticket::numbered))
}

/// Locks a ticket.
///
/// # Errors
/// What the database said.
pub async fn lock_one(conn: &mut PgConnection, id: TicketId) -> Result<Option<Ticket>, sqlx::Error> {
    let found: Option<Ticket> = sqlx::query_as("select * from tickets where festival_id = $1 and ticket_id = $2 for no key update")
        .bind(id.festival())
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(found.map(Ticket::numbered))
}

/// Whether there is such a ticket.
///
/// # Errors
/// What the database said.
pub async fn is_there(conn: &mut PgConnection, id: TicketId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from tickets where festival_id = $1 and ticket_id = $2)").bind(id.festival()).bind(id).fetch_one(conn).await
}

/// Whether somebody came in on a ticket.
///
/// # Errors
/// What the database said.
pub async fn has_entered(conn: &mut PgConnection, id: TicketId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from admissions where festival_id = $1 and ticket_id = $2 and undone_at is null)")
        .bind(id.festival())
        .bind(id)
        .fetch_one(conn)
        .await
}

/// Whether a ticket was passed on: whoever ordered it has no part in it any more.
///
/// # Errors
/// What the database said.
pub async fn is_passed_on(pool: &PgPool, id: TicketId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from transfers where ticket_id = $2 and festival_id = $1 and status = 'accepted')")
        .bind(id.festival())
        .bind(id)
        .fetch_one(pool)
        .await
}

/// The tickets of an order that were passed on, and when that was last.
///
/// # Errors
/// What the database said.
pub async fn passed_on(pool: &PgPool, order: OrderId) -> Result<HashMap<TicketId, DateTime<Utc>>, sqlx::Error> {
    let rows: Vec<(TicketId, DateTime<Utc>)> = sqlx::query_as(
        "select t.ticket_id, max(x.ended_at) from tickets t join transfers x on x.ticket_id = t.ticket_id and x.festival_id = t.festival_id and x.status = 'accepted' \
         where t.festival_id = $1 and t.order_id = $2 group by t.ticket_id",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().collect())
}

/// How often the holder of a ticket bound it, since somebody else had a hand in it.
///
/// # Errors
/// What the database said.
pub async fn count_bindings(conn: &mut PgConnection, id: TicketId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from ticket_changes c where c.festival_id = $1 and c.ticket_id = $2 and c.why = 'bound' \
         and c.change_no > coalesce((select max(change_no) from ticket_changes where festival_id = $1 and ticket_id = $2 and why <> 'bound'), 0)",
    )
    .bind(id.festival())
    .bind(id)
    .fetch_one(conn)
    .await
}

/// Locks a ticket by its number.
///
/// # Errors
/// What the database said.
pub async fn lock_numbered(conn: &mut PgConnection, festival: FestivalId, number: i64) -> Result<Option<Ticket>, sqlx::Error> {
    let found: Option<Ticket> = sqlx::query_as("select * from tickets where festival_id = $1 and ticket_number = $2 for no key update")
        .bind(festival)
        .bind(number)
        .fetch_optional(conn)
        .await?;
    Ok(found.map(Ticket::numbered))
}

/// Locks tickets by their ids, in their order.
///
/// # Errors
/// What the database said.
pub async fn lock_all(conn: &mut PgConnection, festival: FestivalId, ids: &[TicketId]) -> Result<Vec<Ticket>, sqlx::Error> {
    let found: Vec<Ticket> = sqlx::query_as("select * from tickets where festival_id = $1 and ticket_id = any($2) order by ticket_id for no key update")
        .bind(festival)
        .bind(ids)
        .fetch_all(conn)
        .await?;
    Ok(found.into_iter().map(Ticket::numbered).collect())
}

/// The holders of tickets who left an address of their own, with their language.
///
/// # Errors
/// What the database said.
pub async fn holders(conn: &mut PgConnection, festival: FestivalId, ids: &[TicketId]) -> Result<Vec<(TicketId, String, Language)>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_id, t.holder_email, o.language from tickets t join orders o on o.festival_id = t.festival_id and o.order_id = t.order_id \
         where t.festival_id = $1 and t.ticket_id = any($2) and t.holder_email is not null",
    )
    .bind(festival)
    .bind(ids)
    .fetch_all(conn)
    .await
}

/// Writes down who took a ticket; `None` when somebody did already.
///
/// # Errors
/// What the database said.
pub async fn mark_claimed(conn: &mut PgConnection, id: TicketId, name: &str, email: Option<&str>, now: DateTime<Utc>) -> Result<Option<Ticket>, sqlx::Error> {
    let claimed: Option<Ticket> = sqlx::query_as(
        "update tickets set holder_name = $3, holder_email = $4, claimed_at = $5 \
         where festival_id = $1 and ticket_id = $2 and claimed_at is null and status = 'valid' returning *",
    )
    .bind(id.festival())
    .bind(id)
    .bind(name)
    .bind(email)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(claimed.map(Ticket::numbered))
}

/// Writes or removes the note of a locked ticket.
pub(super) async fn set_note(conn: &mut PgConnection, id: TicketId, note: Option<&str>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update tickets set note = $3, noted_at = case when $3::text is null then null else coalesce(noted_at, $4) end where festival_id = $1 and ticket_id = $2")
        .bind(id.festival())
        .bind(id)
        .bind(note)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves locked tickets to the end of their feed, one behind the other.
pub(super) async fn move_up(conn: &mut PgConnection, festival: FestivalId, ids: &[TicketId], first: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update tickets t set position = $2 + n.no - 1 from unnest($3::uuid[]) with ordinality as n (ticket_id, no) where t.festival_id = $1 and t.ticket_id = n.ticket_id",
    )
    .bind(festival)
    .bind(first)
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Valid tickets between two positions of their feed, oldest first, that say something to staff: those with a note, and those of some passes by their names.
///
/// # Errors
/// What the database said.
pub async fn telling(conn: &mut PgConnection, festival: FestivalId, after: i64, until: i64, named: &[i32], most: i64) -> Result<Vec<Ticket>, sqlx::Error> {
    let found: Vec<Ticket> = sqlx::query_as(
        "select * from tickets where festival_id::bigint = $1 and position > $2 and position <= $3 and status = 'valid' \
             and (note is not null or (kind = 'pass' and pass_number = any($4))) order by position limit $5",
    )
    .bind(festival)
    .bind(after)
    .bind(until)
    .bind(named)
    .bind(most)
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(Ticket::numbered).collect())
}

/// Gives a ticket that nobody took another link; `None` when somebody took it.
///
/// # Errors
/// What the database said.
pub async fn renew_link(conn: &mut PgConnection, id: TicketId) -> Result<Option<Ticket>, sqlx::Error> {
    let renewed: Option<Ticket> =
        sqlx::query_as("update tickets set link_generation = link_generation + 1 where festival_id = $1 and ticket_id = $2 and claimed_at is null returning *")
            .bind(id.festival())
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(renewed.map(Ticket::numbered))
}

/// The tickets of an order.
///
/// # Errors
/// What the database said.
pub async fn of_order(pool: &PgPool, order: OrderId) -> Result<Vec<Ticket>, sqlx::Error> {
    let found: Vec<Ticket> = sqlx::query_as("select * from tickets where festival_id = $1 and order_id = $2 order by line_no, unit_no, component_no")
        .bind(order.festival())
        .bind(order)
        .fetch_all(pool)
        .await?;
    Ok(found.into_iter().map(Ticket::numbered).collect())
}

/// A page of the tickets of a festival, newest first.
///
/// # Errors
/// What the database said.
pub async fn of_festival(conn: &mut PgConnection, festival: FestivalId, before: Option<uuid::Uuid>, limit: u32) -> Result<Vec<Ticket>, sqlx::Error> {
    let found: Vec<Ticket> =
        sqlx::query_as("select * from tickets where festival_id = $1 and ($2::uuid is null or ticket_id < $2) order by ticket_id desc limit $3")
            .bind(festival)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
    Ok(found.into_iter().map(Ticket::numbered).collect())
}

/// Names the holders of an order's tickets that nobody took; a blank name stays as it was. The tickets whose names changed, with what they are for.
pub(super) async fn name_holders(
    conn: &mut PgConnection,
    order: OrderId,
    names: &[(TicketId, String)],
) -> Result<Vec<(TicketId, TicketKind, i32)>, sqlx::Error> {
    // In the order of their ids, as everybody locks tickets.
    sqlx::query("select ticket_id from tickets where festival_id = $1 and order_id = $2 order by ticket_id for no key update")
        .bind(order.festival())
        .bind(order)
        .execute(&mut *conn)
        .await?;
    sqlx::query_as(
        "update tickets t set holder_name = n.name from unnest($3::uuid[], $4::text[]) as n (ticket_id, name) \
         where t.festival_id = $1 and t.order_id = $2 and t.ticket_id = n.ticket_id and n.name <> '' and n.name <> t.holder_name and t.claimed_at is null returning t.ticket_id, t.kind, t.pass_number",
    )
    .bind(order.festival())
    .bind(order)
    .bind(names.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
}
