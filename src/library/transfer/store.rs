//! The rows of transfers, and the ticket that changes hands.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Transfer, TransferRule, TransferStatus};
use crate::{
    id::{FestivalId, OrderId, TicketId, TransferId},
    tickets::Ticket,
};

pub(super) async fn insert(conn: &mut PgConnection, transfer: &Transfer) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into transfers (festival_id, transfer_id, ticket_id, status, from_name, from_link_generation, to_name, to_email, language, sent_at) \
         values ($1, $2, $3, 'sent', $4, $5, $6, $7, $8, $9)",
    )
    .bind(transfer.transfer_id.festival())
    .bind(transfer.transfer_id)
    .bind(transfer.ticket_id)
    .bind(&transfer.from_name)
    .bind(transfer.from_link_generation)
    .bind(&transfer.to_name)
    .bind(&transfer.to_email)
    .bind(transfer.language)
    .bind(transfer.sent_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// The transfer of a ticket that is on its way.
pub(super) async fn open_of(conn: &mut PgConnection, ticket: TicketId) -> Result<Option<Transfer>, sqlx::Error> {
    sqlx::query_as("select * from transfers where ticket_id = $2 and festival_id = $1 and status = 'sent'")
        .bind(ticket.festival())
        .bind(ticket)
        .fetch_optional(conn)
        .await
}

/// How often a ticket was sent.
pub(super) async fn count(conn: &mut PgConnection, ticket: TicketId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from transfers where ticket_id = $2 and festival_id = $1").bind(ticket.festival()).bind(ticket).fetch_one(conn).await
}

/// The transfers of a ticket, the latest first.
///
/// # Errors
/// What the database said.
pub async fn of_ticket(pool: &PgPool, ticket: TicketId) -> Result<Vec<Transfer>, sqlx::Error> {
    sqlx::query_as("select * from transfers where ticket_id = $2 and festival_id = $1 order by sent_at desc, transfer_id desc")
        .bind(ticket.festival())
        .bind(ticket)
        .fetch_all(pool)
        .await
}

/// The transfers of the tickets of an order, the latest first.
///
/// # Errors
/// What the database said.
pub async fn of_order(pool: &PgPool, order: OrderId) -> Result<Vec<Transfer>, sqlx::Error> {
    sqlx::query_as(
        "select x.* from tickets t join transfers x on x.ticket_id = t.ticket_id and x.festival_id = t.festival_id \
         where t.festival_id = $1 and t.order_id = $2 order by x.sent_at desc, x.transfer_id desc",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(pool)
    .await
}

/// A transfer.
///
/// # Errors
/// What the database said.
pub async fn transfer(pool: &PgPool, id: TransferId) -> Result<Option<Transfer>, sqlx::Error> {
    sqlx::query_as("select * from transfers where festival_id = $1 and transfer_id = $2").bind(id.festival()).bind(id).fetch_optional(pool).await
}

pub(super) async fn locked(conn: &mut PgConnection, id: TransferId) -> Result<Option<Transfer>, sqlx::Error> {
    sqlx::query_as("select * from transfers where festival_id = $1 and transfer_id = $2 for no key update")
        .bind(id.festival())
        .bind(id)
        .fetch_optional(conn)
        .await
}

/// Ends a locked transfer; whoever took it is named.
pub(super) async fn end(
    conn: &mut PgConnection,
    id: TransferId,
    status: TransferStatus,
    name: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Transfer, sqlx::Error> {
    sqlx::query_as("update transfers set status = $3, to_name = coalesce($4, to_name), ended_at = $5 where festival_id = $1 and transfer_id = $2 returning *")
        .bind(id.festival())
        .bind(id)
        .bind(status)
        .bind(name)
        .bind(now)
        .fetch_one(conn)
        .await
}

/// Who sent a ticket: its holder, where they left an address, else whoever ordered it.
pub(super) async fn sender(conn: &mut PgConnection, ticket: &Ticket, buyer: &str) -> Result<String, sqlx::Error> {
    let holder: Option<String> = sqlx::query_scalar("select holder_email from tickets where festival_id = $1 and ticket_id = $2")
        .bind(ticket.ticket_id.festival())
        .bind(ticket.ticket_id)
        .fetch_one(conn)
        .await?;
    Ok(holder.unwrap_or_else(|| buyer.to_owned()))
}

/// Gives a locked ticket to another holder: the links of before open nothing.
pub(super) async fn pass_on(conn: &mut PgConnection, transfer: &Transfer, name: &str, now: DateTime<Utc>) -> Result<Ticket, sqlx::Error> {
    let passed: Ticket = sqlx::query_as(
        "update tickets set holder_name = $3, holder_email = $4, claimed_at = $5, link_generation = link_generation + 1 \
         where festival_id = $1 and ticket_id = $2 returning *",
    )
    .bind(transfer.ticket_id.festival())
    .bind(transfer.ticket_id)
    .bind(name)
    .bind(&transfer.to_email)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(passed.numbered())
}

/// The rule of a festival.
pub(super) async fn rule(conn: &mut PgConnection, festival: FestivalId) -> Result<TransferRule, sqlx::Error> {
    let found = sqlx::query_as("select open, hours_before from transfer_rules where festival_id = $1").bind(festival).fetch_optional(conn).await?;
    Ok(found.unwrap_or(TransferRule { open: true, hours_before: None }))
}

pub(super) async fn set_rule(conn: &mut PgConnection, festival: FestivalId, rule: TransferRule) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into transfer_rules (festival_id, open, hours_before) values ($1, $2, $3) \
         on conflict (festival_id) do update set open = excluded.open, hours_before = excluded.hours_before",
    )
    .bind(festival)
    .bind(rule.open)
    .bind(rule.hours_before)
    .execute(conn)
    .await?;
    Ok(())
}
