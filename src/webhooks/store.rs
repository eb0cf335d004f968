//! The rows of webhook events.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::id::FestivalId;

pub(super) async fn insert(
    conn: &mut PgConnection,
    festival: FestivalId,
    kind: &str,
    things: &[Uuid],
    events: &[Uuid],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into webhook_events (festival_id, event_id, endpoint_id, kind, thing_id, happened_at, status, due_at, attempts) \
         select $1, t.event_id, e.endpoint_id, $2, t.thing_id, $5, 'queued', $5, 0 \
         from webhook_endpoints e cross join unnest($3::uuid[], $4::uuid[]) as t (thing_id, event_id) \
         where e.festival_id = $1 and e.disabled_at is null and $2 = any(e.kinds)",
    )
    .bind(festival)
    .bind(kind)
    .bind(things)
    .bind(events)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
