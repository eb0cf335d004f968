//! The rows of tickets that are handed back.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{HandBack, HandBackRule, HandBackStatus, Single};
use crate::id::{FestivalId, HandBackId, OfferId, OrderId, RefundId, TicketId, WaitId};

pub(super) async fn rule(conn: &mut PgConnection, festival: FestivalId) -> Result<HandBackRule, sqlx::Error> {
    let found = sqlx::query_as("select open, hours_before from hand_back_rules where festival_id = $1").bind(festival).fetch_optional(conn).await?;
    Ok(found.unwrap_or_default())
}

pub(super) async fn set_rule(conn: &mut PgConnection, festival: FestivalId, rule: HandBackRule) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hand_back_rules (festival_id, open, hours_before) values ($1, $2, $3) \
         on conflict (festival_id) do update set open = excluded.open, hours_before = excluded.hours_before",
    )
    .bind(festival)
    .bind(rule.open)
    .bind(rule.hours_before)
    .execute(conn)
    .await?;
    Ok(())
}

/// The tickets of an order whose unit has no other ticket, with what they are units of.
pub(super) async fn single_tickets(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Single>, sqlx::Error> {
    sqlx::query_as(
        "select t.ticket_id, t.line_no, t.component_no, l.offer_id, l.tier_no from tickets t \
         join lines l on l.festival_id = t.festival_id and l.order_id = t.order_id and l.line_no = t.line_no \
         where t.festival_id = $1 and t.order_id = $2 and l.unit_minor > 0 \
           and not exists (select from tickets o where o.festival_id = t.festival_id and o.order_id = t.order_id and o.line_no = t.line_no \
                           and o.unit_no = t.unit_no and o.ticket_id <> t.ticket_id)",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}

pub(super) async fn insert(conn: &mut PgConnection, order: OrderId, new: &[(HandBackId, Single)], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hand_backs (festival_id, hand_back_id, ticket_id, order_id, line_no, component_no, offer_id, tier_no, status, asked_at) \
         select $1, h.hand_back_id, h.ticket_id, $2, h.line_no, h.component_no, h.offer_id, h.tier_no, 'open', $3 \
         from unnest($4::uuid[], $5::uuid[], $6::smallint[], $7::smallint[], $8::uuid[], $9::smallint[]) \
              as h (hand_back_id, ticket_id, line_no, component_no, offer_id, tier_no)",
    )
    .bind(order.festival())
    .bind(order)
    .bind(now)
    .bind(new.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, s)| s.ticket_id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, s)| s.line_no).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, s)| s.component_no).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, s)| s.offer_id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, s)| s.tier_no).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What an order has in the pool.
pub(super) async fn in_pool(conn: &mut PgConnection, order: OrderId) -> Result<Vec<HandBack>, sqlx::Error> {
    let all: Vec<HandBack> = sqlx::query_as("select * from hand_backs where order_id = $2 and festival_id = $1 order by hand_back_id")
        .bind(order.festival())
        .bind(order)
        .fetch_all(conn)
        .await?;
    Ok(all.into_iter().filter(|h| matches!(h.status, HandBackStatus::Open | HandBackStatus::Offered)).collect())
}

/// What an order handed back, oldest first; at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn of_order(pool: &PgPool, order: OrderId) -> Result<Vec<HandBack>, sqlx::Error> {
    sqlx::query_as("select * from hand_backs where order_id = $2 and festival_id = $1 order by hand_back_id limit 200")
        .bind(order.festival())
        .bind(order)
        .fetch_all(pool)
        .await
}

/// Locks one.
pub(super) async fn lock(conn: &mut PgConnection, id: HandBackId) -> Result<Option<HandBack>, sqlx::Error> {
    sqlx::query_as("select * from hand_backs where festival_id = $1 and hand_back_id = $2 for no key update")
        .bind(id.festival())
        .bind(id)
        .fetch_optional(conn)
        .await
}

/// Some of them, as they are: which orders to lock.
pub(super) async fn named(conn: &mut PgConnection, festival: FestivalId, ids: &[HandBackId]) -> Result<Vec<HandBack>, sqlx::Error> {
    sqlx::query_as("select * from hand_backs where festival_id = $1 and hand_back_id = any($2) order by hand_back_id")
        .bind(festival)
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// Locks those of some that are open.
pub(super) async fn lock_open(conn: &mut PgConnection, festival: FestivalId, ids: &[HandBackId]) -> Result<Vec<HandBack>, sqlx::Error> {
    // The pool has an index of its own that knows no ids: the state is looked at here.
    let all: Vec<HandBack> =
        sqlx::query_as("select * from hand_backs where festival_id = $1 and hand_back_id = any($2) order by hand_back_id for no key update")
            .bind(festival)
            .bind(ids)
            .fetch_all(conn)
            .await?;
    Ok(all.into_iter().filter(|h| h.status == HandBackStatus::Open).collect())
}

/// The offers that have something in their pool, in every festival.
pub(super) async fn offers_with_pool(pool: &PgPool) -> Result<Vec<OfferId>, sqlx::Error> {
    sqlx::query_scalar("select distinct offer_id from hand_backs where status in ('open', 'offered') order by offer_id").fetch_all(pool).await
}

/// What the pool of an offer has in a state, in the order of coming, after one.
pub(super) async fn pool(pool: &PgPool, offer: OfferId, status: HandBackStatus, after: HandBackId, most: i64) -> Result<Vec<HandBack>, sqlx::Error> {
    sqlx::query_as(
        "select * from hand_backs where offer_id = $2 and festival_id = $1 and hand_back_id > $4 and status in ('open', 'offered') and status = $3 \
         order by hand_back_id limit $5",
    )
    .bind(offer.festival())
    .bind(offer)
    .bind(status)
    .bind(after)
    .bind(most)
    .fetch_all(pool)
    .await
}

/// Offers locked ones to a wait.
pub(super) async fn offer(conn: &mut PgConnection, festival: FestivalId, ids: &[HandBackId], wait: WaitId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update hand_backs set status = 'offered', wait_id = $3, offered_at = $4 where festival_id = $1 and hand_back_id = any($2)")
        .bind(festival)
        .bind(ids)
        .bind(wait)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whoever was invited to the same offer since and has no ticket of the pool for each of their units yet, the earliest first.
pub(super) async fn taker(pool: &PgPool, one: &HandBack) -> Result<Option<WaitId>, sqlx::Error> {
    sqlx::query_scalar(
        "select e.wait_id from waits e join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id \
         where e.festival_id = $1 and e.offer_id = $2 and e.order_id is not null and e.ended_at >= $3 and o.status in ('held', 'paid', 'partly_refunded') \
           and e.quantity > (select count(*) from hand_backs h where h.festival_id = e.festival_id and h.wait_id = e.wait_id and h.status in ('offered', 'sold')) \
         order by e.wait_id limit 1",
    )
    .bind(one.hand_back_id.festival())
    .bind(one.offer_id)
    .bind(one.offered_at)
    .fetch_optional(pool)
    .await
}

/// Passes what is offered to another wait; whether it was still offered.
pub(super) async fn pass_to(pool: &PgPool, id: HandBackId, wait: WaitId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update hand_backs set wait_id = $3 where festival_id = $1 and hand_back_id = $2 and status = 'offered'")
        .bind(id.festival())
        .bind(id)
        .bind(wait)
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a locked one open again.
pub(super) async fn reopen(conn: &mut PgConnection, id: HandBackId) -> Result<(), sqlx::Error> {
    sqlx::query("update hand_backs set status = 'open', wait_id = null, offered_at = null where festival_id = $1 and hand_back_id = $2")
        .bind(id.festival())
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a locked one.
pub(super) async fn end(
    conn: &mut PgConnection,
    id: HandBackId,
    status: HandBackStatus,
    refund: Option<RefundId>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("update hand_backs set status = $3, refund_id = $4, ended_at = $5 where festival_id = $1 and hand_back_id = $2")
        .bind(id.festival())
        .bind(id)
        .bind(status)
        .bind(refund)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Units of tickets whose stock went to the pool already, by offer and tier: it does not come back once more.
///
/// # Errors
/// What the database said.
pub(in crate::payments::refunds) async fn already_free(
    conn: &mut PgConnection,
    festival: FestivalId,
    tickets: &[TicketId],
) -> Result<Vec<(OfferId, i16, i32)>, sqlx::Error> {
    sqlx::query_as(
        "select offer_id, tier_no, count(*)::integer from hand_backs where festival_id = $1 and ticket_id = any($2) and \
         (status = 'offered' or status = 'sold' or (status = 'over' and offered_at is not null)) group by offer_id, tier_no",
    )
    .bind(festival)
    .bind(tickets)
    .fetch_all(conn)
    .await
}

/// What is in the pool of tickets that are returned otherwise is over; what was offered stays the pool's.
///
/// # Errors
/// What the database said.
pub(in crate::payments::refunds) async fn end_of(
    conn: &mut PgConnection,
    festival: FestivalId,
    tickets: &[TicketId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("update hand_backs set status = 'over', ended_at = $3 where festival_id = $1 and ticket_id = any($2) and ended_at is null")
        .bind(festival)
        .bind(tickets)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// A ticket of some that is offered to somebody just now.
///
/// # Errors
/// What the database said.
pub(in crate::payments::refunds) async fn first_offered(
    conn: &mut PgConnection,
    festival: FestivalId,
    tickets: &[TicketId],
) -> Result<Option<TicketId>, sqlx::Error> {
    sqlx::query_scalar("select ticket_id from hand_backs where ticket_id = any($2) and festival_id = $1 and status = 'offered' limit 1")
        .bind(festival)
        .bind(tickets)
        .fetch_optional(conn)
        .await
}

/// Whether a refund that was not taken back returns the ticket.
pub(super) async fn is_returned(conn: &mut PgConnection, one: &HandBack) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from refunds r join refund_tickets x on x.festival_id = r.festival_id and x.refund_id = r.refund_id \
                        where r.festival_id = $1 and r.order_id = $2 and x.ticket_id = $3 and r.status <> 'withdrawn')",
    )
    .bind(one.hand_back_id.festival())
    .bind(one.order_id)
    .bind(one.ticket_id)
    .fetch_one(conn)
    .await
}
