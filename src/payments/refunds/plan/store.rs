//! What is left of an order, and what came back of it.

use sqlx::{FromRow, PgConnection};

use super::{Left, Returnable};
use crate::{
    id::{OfferId, OrderId, TicketId},
    tickets::TicketStatus,
};

/// What is left of every component of an order: what was paid for, without what went back or is on its way. A fee that was kept of a unit that went
/// back is not left.
///
/// # Errors
/// What the database said.
pub async fn left(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Left>, sqlx::Error> {
    sqlx::query_as(
        "select l.line_no, (s ->> 'component_no')::smallint as component_no, s ? 'pass_id' or s ? 'add_on_id' as has_tickets, \
                (s ->> 'release_id')::uuid as release_id, s ? 'fee' as is_fee, coalesce((s -> 'fee' ->> 'is_kept')::boolean, false) as is_kept, \
                (s ->> 'tax_ppm')::integer as tax_ppm, l.quantity - coalesce(i.units, 0)::integer as units, \
                least((s ->> 'minor')::bigint * l.quantity - coalesce(i.minor, 0)::bigint, \
                      case when s ? 'fee' then (s ->> 'minor')::bigint * (l.quantity - coalesce(i.units, 0)::bigint) end) as minor, \
                least((s ->> 'tax_minor')::bigint * l.quantity - coalesce(i.tax_minor, 0)::bigint, \
                      case when s ? 'fee' then (s ->> 'tax_minor')::bigint * (l.quantity - coalesce(i.units, 0)::bigint) end) as tax_minor \
         from lines l cross join lateral jsonb_array_elements(l.shares) s \
         left join lateral (select sum(i.units) as units, sum(i.minor) as minor, sum(i.tax_minor) as tax_minor from refunds r \
                            join refund_items i on i.festival_id = r.festival_id and i.refund_id = r.refund_id \
                            where r.festival_id = l.festival_id and r.order_id = l.order_id and r.status <> 'withdrawn' \
                              and i.line_no = l.line_no and i.component_no = (s ->> 'component_no')::smallint) i on true \
         where l.festival_id = $1 and l.order_id = $2 order by 1, 2",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}

/// Locks the tickets of an order and tells which of them can be returned: those that no refund has. Who came in is not known any more of a festival that was
/// archived: its tickets are taken for used.
pub(in crate::payments::refunds) async fn returnable(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Returnable>, sqlx::Error> {
    sqlx::query("select ticket_id from tickets where festival_id = $1 and order_id = $2 order by ticket_id for no key update")
        .bind(order.festival())
        .bind(order)
        .execute(&mut *conn)
        .await?;
    let rows: Vec<(TicketId, i16, i16, i32, TicketStatus, bool)> = sqlx::query_as(
        "select t.ticket_id, t.line_no, t.component_no, t.unit_no, t.status, \
                exists (select from admissions a where a.festival_id = t.festival_id and a.ticket_id = t.ticket_id and a.undone_at is null) \
                or exists (select from festivals f where f.festival_id = t.festival_id and f.archived_at is not null) \
         from tickets t where t.festival_id = $1 and t.order_id = $2 \
           and not exists (select from refund_tickets x join refunds r on r.festival_id = x.festival_id and r.refund_id = x.refund_id and r.status <> 'withdrawn' \
                           where x.festival_id = t.festival_id and x.ticket_id = t.ticket_id) \
         order by t.line_no, t.unit_no, t.component_no",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await?;
    let one = |(ticket_id, line_no, component_no, unit_no, status, is_used)| Returnable { ticket_id, line_no, component_no, unit_no, status, is_used };
    Ok(rows.into_iter().map(one).collect())
}

/// The albums of an order that somebody heard or took home, by line and component.
pub(in crate::payments::refunds) async fn heard(conn: &mut PgConnection, order: OrderId) -> Result<Vec<(i16, i16)>, sqlx::Error> {
    sqlx::query_as("select line_no, component_no from entitlements where festival_id = $1 and order_id = $2 and first_taken_at is not null")
        .bind(order.festival())
        .bind(order)
        .fetch_all(conn)
        .await
}

/// A line with how many of its units came back, by what came back of its components: a unit is back when the last of its tickets is, and where it has
/// none, when its album is. A fee that its buyer paid is a part like others; what costs them nothing does not matter.
#[derive(Debug, FromRow)]
pub(in crate::payments::refunds) struct Back {
    pub(in crate::payments::refunds) line_no: i16,
    pub(in crate::payments::refunds) offer_id: OfferId,
    pub(in crate::payments::refunds) tier_no: i16,
    pub(in crate::payments::refunds) returned: i32,
    pub(in crate::payments::refunds) now_returned: i32,
    pub(in crate::payments::refunds) is_whole: bool,
}

/// What is back of the lines of a locked order.
pub(in crate::payments::refunds) async fn back(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Back>, sqlx::Error> {
    sqlx::query_as(
        "select l.line_no, l.offer_id, l.tier_no, l.returned, \
                coalesce(min(b.units) filter (where s ? 'pass_id' or s ? 'add_on_id'), min(b.units) filter (where not s ? 'fee'))::integer as now_returned, \
                bool_and(b.units = l.quantity or (s ? 'fee' and (s ->> 'minor')::bigint = 0)) as is_whole \
         from lines l cross join lateral jsonb_array_elements(l.shares) s \
         cross join lateral (select coalesce(sum(i.units), 0) as units from refunds r join refund_items i on i.festival_id = r.festival_id and i.refund_id = r.refund_id \
                             where r.festival_id = l.festival_id and r.order_id = l.order_id and r.returned_at is not null \
                               and i.line_no = l.line_no and i.component_no = (s ->> 'component_no')::smallint) b \
         where l.festival_id = $1 and l.order_id = $2 group by l.line_no, l.offer_id, l.tier_no, l.returned order by l.line_no",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}
