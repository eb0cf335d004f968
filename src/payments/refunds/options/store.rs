//! The rows of option rounds.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use super::{Answer, Choice, Round, RoundStatus, RoundTerms, Sums};
use crate::{
    id::{FestivalId, OrderId, RefundId, first_at},
    words::Language,
};

/// Opens a round; its number.
pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, terms: &RoundTerms, now: DateTime<Utc>) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar(
        "insert into option_rounds (festival_id, round_no, kind, message, may_refund, share_ppm, default_choice, status, opened_at, deadline_at, told_upto, decided_upto, looked_at) \
         select $1, coalesce(max(round_no), 0) + 1, $2, $3, $4, $5, $6, 'open', $7, $8, $9, $9, $7 from option_rounds where festival_id = $1 returning round_no",
    )
    .bind(festival)
    .bind(terms.kind)
    .bind(Json(&terms.message))
    .bind(terms.may_refund)
    .bind(terms.share_ppm)
    .bind(terms.default_choice)
    .bind(now)
    .bind(terms.deadline_at)
    .bind(Uuid::nil())
    .fetch_one(conn)
    .await
}

/// A round.
pub(super) async fn round_in(conn: &mut PgConnection, festival: FestivalId, no: i32) -> Result<Option<Round>, sqlx::Error> {
    sqlx::query_as("select * from option_rounds where festival_id = $1 and round_no = $2").bind(festival).bind(no).fetch_optional(conn).await
}

/// The rounds of a festival, the latest first.
///
/// # Errors
/// What the database said.
pub async fn rounds(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Round>, sqlx::Error> {
    sqlx::query_as("select * from option_rounds where festival_id = $1 order by round_no desc").bind(festival).fetch_all(conn).await
}

pub(super) async fn open_in(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<Round>, sqlx::Error> {
    sqlx::query_as("select * from option_rounds where festival_id = $1 and status = 'open'").bind(festival).fetch_optional(conn).await
}

/// The round of a festival that is open.
///
/// # Errors
/// What the database said.
pub async fn open_round(pool: &PgPool, festival: FestivalId) -> Result<Option<Round>, sqlx::Error> {
    open_in(&mut *pool.acquire().await?, festival).await
}

/// Locks a round that is open, unless another server walks it.
pub(super) async fn lock_open(conn: &mut PgConnection, festival: FestivalId, no: i32) -> Result<Option<Round>, sqlx::Error> {
    sqlx::query_as("select * from option_rounds where festival_id = $1 and round_no = $2 and status = 'open' for no key update skip locked")
        .bind(festival)
        .bind(no)
        .fetch_optional(conn)
        .await
}

/// The rounds that are open, in every festival.
pub(super) async fn every_open(pool: &PgPool) -> Result<Vec<(FestivalId, i32)>, sqlx::Error> {
    sqlx::query_as("select festival_id, round_no from option_rounds where status = 'open'").fetch_all(pool).await
}

/// Ends a round; whether it was open.
pub(super) async fn end(conn: &mut PgConnection, festival: FestivalId, no: i32, status: RoundStatus, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update option_rounds set status = $3, ended_at = $4 where festival_id = $1 and round_no = $2 and status = 'open'")
        .bind(festival)
        .bind(no)
        .bind(status)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn told(conn: &mut PgConnection, festival: FestivalId, no: i32, upto: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query("update option_rounds set told_upto = $3 where festival_id = $1 and round_no = $2").bind(festival).bind(no).bind(upto).execute(conn).await?;
    Ok(())
}

pub(super) async fn decided(conn: &mut PgConnection, festival: FestivalId, no: i32, upto: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query("update option_rounds set decided_upto = $3 where festival_id = $1 and round_no = $2").bind(festival).bind(no).bind(upto).execute(conn).await?;
    Ok(())
}

/// What nobody said and is not done yet of a round that is called off is kept.
pub(super) async fn keep_defaults(conn: &mut PgConnection, festival: FestivalId, no: i32, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update option_answers set choice = 'keep', applied_at = $3 where festival_id = $1 and round_no = $2 and is_default and applied_at is null")
        .bind(festival)
        .bind(no)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Orders that were placed before a round and paid since, and are not told of it yet; at most a thousand.
pub(super) async fn paid_since(conn: &mut PgConnection, festival: FestivalId, round: &Round, kind: &str) -> Result<Vec<Looked>, sqlx::Error> {
    sqlx::query_as(
        "select o.order_id, o.email, o.language, true as is_asked from orders o where o.festival_id = $1 and o.order_id < $2 and o.paid_at >= $3 \
           and o.status in ('paid', 'partly_refunded') and o.total_minor > 0 \
           and not exists (select from emails e where e.festival_id = o.festival_id and e.thing_id = o.order_id and e.kind = $4) limit 1000",
    )
    .bind(festival)
    .bind(first_at(round.opened_at))
    .bind(round.opened_at)
    .bind(kind)
    .fetch_all(conn)
    .await
}

pub(super) async fn looked(conn: &mut PgConnection, festival: FestivalId, no: i32, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update option_rounds set looked_at = $3 where festival_id = $1 and round_no = $2").bind(festival).bind(no).bind(at).execute(conn).await?;
    Ok(())
}

/// Those of some orders that were told of a round.
pub(super) async fn told_of(conn: &mut PgConnection, festival: FestivalId, orders: &[OrderId], kind: &str) -> Result<Vec<OrderId>, sqlx::Error> {
    sqlx::query_scalar("select thing_id from emails where festival_id = $1 and thing_id = any($2) and kind = $3")
        .bind(festival)
        .bind(orders)
        .bind(kind)
        .fetch_all(conn)
        .await
}

/// Whether a refund of an order is not decided yet.
pub(super) async fn has_undecided(conn: &mut PgConnection, order: OrderId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from refunds where festival_id = $1 and order_id = $2 and status not in ('done', 'withdrawn'))")
        .bind(order.festival())
        .bind(order)
        .fetch_one(conn)
        .await
}

/// Tries an answer again at a moment.
pub(super) async fn later(conn: &mut PgConnection, order: OrderId, no: i32, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query("update option_answers set due_at = $4 where festival_id = $1 and round_no = $2 and order_id = $3")
        .bind(order.festival())
        .bind(no)
        .bind(order)
        .bind(at)
        .execute(conn)
        .await?;
    Ok(())
}

/// An order that a walk looks at.
#[derive(Debug, FromRow)]
pub(super) struct Looked {
    pub(super) order_id: OrderId,
    pub(super) email: String,
    pub(super) language: Language,
    /// It is paid, and costs something.
    pub(super) is_asked: bool,
}

/// The next orders of a walk, by their ids.
pub(super) async fn asked_after(conn: &mut PgConnection, festival: FestivalId, after: OrderId, last: OrderId, most: i64) -> Result<Vec<Looked>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, email, language, status in ('paid', 'partly_refunded') and total_minor > 0 as is_asked from orders \
         where festival_id = $1 and order_id > $2 and order_id < $3 order by order_id limit $4",
    )
    .bind(festival)
    .bind(after)
    .bind(last)
    .bind(most)
    .fetch_all(conn)
    .await
}

/// Gives orders that said nothing the default.
pub(super) async fn default_for(
    conn: &mut PgConnection,
    festival: FestivalId,
    no: i32,
    orders: &[OrderId],
    choice: Choice,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into option_answers (festival_id, round_no, order_id, choice, is_default, answered_at, due_at) select $1, $2, o, $4, true, $5, $5 from unnest($3::uuid[]) as o \
         on conflict do nothing",
    )
    .bind(festival)
    .bind(no)
    .bind(orders)
    .bind(choice)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn answer_in(conn: &mut PgConnection, order: OrderId, no: i32) -> Result<Option<Answer>, sqlx::Error> {
    sqlx::query_as("select * from option_answers where festival_id = $1 and round_no = $2 and order_id = $3")
        .bind(order.festival())
        .bind(no)
        .bind(order)
        .fetch_optional(conn)
        .await
}

/// What an order answered in a round.
///
/// # Errors
/// What the database said.
pub async fn answer_of(pool: &PgPool, order: OrderId, no: i32) -> Result<Option<Answer>, sqlx::Error> {
    answer_in(&mut *pool.acquire().await?, order, no).await
}

/// Writes what a locked order chose; what was kept may become something else.
pub(super) async fn put_answer(conn: &mut PgConnection, order: OrderId, no: i32, choice: Choice, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into option_answers (festival_id, round_no, order_id, choice, is_default, answered_at, due_at) values ($1, $2, $3, $4, false, $5, $5) \
         on conflict (festival_id, round_no, order_id) do update set choice = excluded.choice, answered_at = excluded.answered_at, due_at = excluded.due_at, applied_at = null \
             where option_answers.choice = 'keep'",
    )
    .bind(order.festival())
    .bind(no)
    .bind(order)
    .bind(choice)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The answers that are still to be done, the oldest first.
pub(super) async fn due(pool: &PgPool, now: DateTime<Utc>, most: i64) -> Result<Vec<(FestivalId, i32, OrderId)>, sqlx::Error> {
    sqlx::query_as("select festival_id, round_no, order_id from option_answers where applied_at is null and due_at <= $1 order by due_at limit $2")
        .bind(now)
        .bind(most)
        .fetch_all(pool)
        .await
}

/// Notes what was done of an answer, or why nothing could be.
pub(super) async fn applied(
    conn: &mut PgConnection,
    order: OrderId,
    no: i32,
    refund: Option<RefundId>,
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("update option_answers set applied_at = $4, refund_id = $5, problem = $6 where festival_id = $1 and round_no = $2 and order_id = $3")
        .bind(order.festival())
        .bind(no)
        .bind(order)
        .bind(now)
        .bind(refund)
        .bind(problem)
        .execute(conn)
        .await?;
    Ok(())
}

/// How a round goes; sums over a festival, asked for by hand.
///
/// # Errors
/// What the database said.
pub async fn sums(conn: &mut PgConnection, festival: FestivalId, round: &Round) -> Result<Sums, sqlx::Error> {
    sqlx::query_as(
        "select count(*) as orders, count(*) filter (where a.choice = 'keep') as keep, count(*) filter (where a.choice = 'refund') as refund, \
                count(*) filter (where a.choice = 'share') as share, count(*) filter (where a.choice is null) as silent, \
                count(*) filter (where a.choice is not null and a.applied_at is null) as due, count(*) filter (where a.problem is not null) as problems, \
                coalesce(sum(o.total_minor - back.other_minor), 0)::bigint as most_minor, coalesce(sum(back.own_minor), 0)::bigint as back_minor \
         from orders o left join option_answers a on a.festival_id = o.festival_id and a.round_no = $2 and a.order_id = o.order_id \
         cross join lateral (select coalesce(sum(r.amount_minor + r.kept_minor) filter (where r.refund_id is distinct from a.refund_id), 0) as other_minor, \
                                    coalesce(sum(r.amount_minor) filter (where r.refund_id = a.refund_id), 0) as own_minor \
                             from refunds r where r.festival_id = o.festival_id and r.order_id = o.order_id and r.status <> 'withdrawn' \
                               and r.reason is distinct from 'late_money') back \
         where o.festival_id = $1 and o.order_id < $3 and o.total_minor > 0 \
           and (o.status in ('paid', 'partly_refunded') or (o.status = 'refunded' and a.choice is not null))",
    )
    .bind(festival)
    .bind(round.round_no)
    .bind(first_at(round.opened_at))
    .fetch_one(conn)
    .await
}

/// The answers of a round that could not be done, oldest first; at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn problems(conn: &mut PgConnection, festival: FestivalId, no: i32) -> Result<Vec<Answer>, sqlx::Error> {
    sqlx::query_as("select * from option_answers where festival_id = $1 and round_no = $2 and problem is not null order by order_id limit 200")
        .bind(festival)
        .bind(no)
        .fetch_all(conn)
        .await
}
