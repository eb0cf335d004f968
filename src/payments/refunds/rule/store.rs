//! The rows of refund rules, and what of an order a rule lets go.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::RefundRule;
use crate::id::{FestivalId, OrderId, TicketId};

/// The rule that is in force at a moment.
pub(super) async fn in_force(conn: &mut PgConnection, festival: FestivalId, at: DateTime<Utc>) -> Result<Option<RefundRule>, sqlx::Error> {
    sqlx::query_as(
        "select hours_before, kept_ppm from (select hours_before, kept_ppm from refund_rules where festival_id = $1 and from_at <= $2 order by rule_no desc limit 1) r \
         where hours_before is not null",
    )
    .bind(festival)
    .bind(at)
    .fetch_optional(conn)
    .await
}

/// The rule that was in force when an order was placed.
pub(super) async fn of_order(conn: &mut PgConnection, order: OrderId) -> Result<Option<RefundRule>, sqlx::Error> {
    sqlx::query_as(
        "select r.hours_before, r.kept_ppm from orders o cross join lateral ( \
             select hours_before, kept_ppm from refund_rules where festival_id = o.festival_id and from_at <= o.placed_at order by rule_no desc limit 1) r \
         where o.festival_id = $1 and o.order_id = $2 and r.hours_before is not null",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_optional(conn)
    .await
}

/// Adds the rule that is in force from now on.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, rule: Option<RefundRule>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into refund_rules (festival_id, rule_no, from_at, hours_before, kept_ppm) \
         select $1, coalesce(max(rule_no), 0) + 1, $2, $3, $4 from refund_rules where festival_id = $1",
    )
    .bind(festival)
    .bind(now)
    .bind(rule.map(|rule| rule.hours_before))
    .bind(rule.map_or(0, |rule| i32::try_from(rule.kept_ppm).unwrap_or(1_000_000)))
    .execute(conn)
    .await?;
    Ok(())
}

/// The tickets of an order that are valid, that nobody came in on and that no holder took.
pub(in crate::payments::refunds) async fn free_tickets(conn: &mut PgConnection, order: OrderId) -> Result<Vec<TicketId>, sqlx::Error> {
    sqlx::query_scalar(
        "select t.ticket_id from tickets t where t.festival_id = $1 and t.order_id = $2 and t.status = 'valid' and t.claimed_at is null \
           and not exists (select from admissions a where a.festival_id = t.festival_id and a.ticket_id = t.ticket_id and a.undone_at is null) \
         order by t.line_no, t.unit_no, t.component_no",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}

/// What comes back with tickets whose units are given back whole, by line and component: as many albums where nobody heard them and copies are unclaimed,
/// and as many fees.
pub(in crate::payments::refunds) async fn goes_along(
    conn: &mut PgConnection,
    order: OrderId,
    tickets: &[TicketId],
) -> Result<Vec<(i16, i16, i32)>, sqlx::Error> {
    sqlx::query_as(
        "with u as ( \
             select t.line_no, count(distinct t.unit_no)::integer as units from tickets t where t.festival_id = $1 and t.order_id = $2 and t.ticket_id = any($3) \
               and not exists (select from tickets rest where rest.festival_id = t.festival_id and rest.order_id = t.order_id and rest.line_no = t.line_no \
                               and rest.unit_no = t.unit_no and rest.status in ('valid', 'exchanged') and rest.ticket_id <> all($3)) \
             group by t.line_no) \
         select e.line_no, e.component_no, least(u.units, e.copies - e.claimed)::integer from entitlements e join u on u.line_no = e.line_no \
         where e.festival_id = $1 and e.order_id = $2 and e.first_taken_at is null and e.copies > e.claimed \
         union all \
         select l.line_no, 0::smallint, u.units from lines l join u on u.line_no = l.line_no \
         where l.festival_id = $1 and l.order_id = $2 and l.shares @> '[{\"component_no\": 0}]' order by 1, 2",
    )
    .bind(order.festival())
    .bind(order)
    .bind(tickets)
    .fetch_all(conn)
    .await
}
