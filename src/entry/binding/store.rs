//! What binding asks the rows of entry.

use sqlx::PgConnection;

use crate::id::TicketId;

/// Whether somebody came in on a ticket.
pub(super) async fn has_entered(conn: &mut PgConnection, id: TicketId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from admissions where festival_id = $1 and ticket_id = $2 and undone_at is null)")
        .bind(id.festival())
        .bind(id)
        .fetch_one(conn)
        .await
}
