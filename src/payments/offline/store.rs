//! The rows of offline methods and collections.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};

use super::{Collected, CollectionMethod, MethodTerms, Offered, OfflineMethod};
use crate::{
    id::{FestivalId, OfferId, OrderId, PaymentId},
    money::Money,
    orders::deadline::DeadlineKind,
    payments::Payment,
};

/// The methods that a festival offers.
///
/// # Errors
/// What the database said.
pub async fn methods(pool: &PgPool, festival: FestivalId) -> Result<Vec<Offered>, sqlx::Error> {
    methods_in(&mut *pool.acquire().await?, festival).await
}

/// The same; joins a transaction.
pub(super) async fn methods_in(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Offered>, sqlx::Error> {
    sqlx::query_as("select method, days, hours_before, instructions from offline_methods where festival_id = $1 order by method")
        .bind(festival)
        .fetch_all(conn)
        .await
}

pub(super) async fn set_method(conn: &mut PgConnection, festival: FestivalId, method: OfflineMethod, terms: Option<&MethodTerms>) -> Result<(), sqlx::Error> {
    let Some(terms) = terms else {
        sqlx::query("delete from offline_methods where festival_id = $1 and method = $2").bind(festival).bind(method).execute(conn).await?;
        return Ok(());
    };
    sqlx::query(
        "insert into offline_methods (festival_id, method, days, hours_before, instructions) values ($1, $2, $3, $4, $5) \
         on conflict (festival_id, method) do update set days = excluded.days, hours_before = excluded.hours_before, instructions = excluded.instructions",
    )
    .bind(festival)
    .bind(method)
    .bind(terms.days)
    .bind(terms.hours_before)
    .bind(Json(&terms.instructions))
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down who took money; cash gets the next receipt numbers of its box office, whose row is locked from here on.
pub(super) async fn insert_collections(
    conn: &mut PgConnection,
    festival: FestivalId,
    taken: &[(&Payment, &Collected)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let cash = i32::try_from(taken.iter().filter(|(_, collected)| collected.method == CollectionMethod::Cash).count()).unwrap_or(i32::MAX);
    let mut next = 0;
    if cash > 0 {
        let last: i32 = sqlx::query_scalar("update box_offices set last_receipt = last_receipt + $2 where festival_id = $1 returning last_receipt")
            .bind(festival)
            .bind(cash)
            .fetch_one(&mut *conn)
            .await?;
        next = last - cash;
    }
    let mut numbers: Vec<Option<i32>> = Vec::with_capacity(taken.len());
    for (_, collected) in taken {
        numbers.push((collected.method == CollectionMethod::Cash).then(|| {
            next += 1;
            next
        }));
    }
    sqlx::query(
        "insert into collections (festival_id, payment_id, order_id, method, receipt_no, note, collected_by, collected_at) \
         select $1, c.*, $8 from unnest($2::uuid[], $3::uuid[], $4::text[], $5::integer[], $6::text[], $7::uuid[]) as c",
    )
    .bind(festival)
    .bind(taken.iter().map(|(payment, _)| payment.payment_id).collect::<Vec<_>>())
    .bind(taken.iter().map(|(payment, _)| payment.order_id).collect::<Vec<_>>())
    .bind(taken.iter().map(|(_, collected)| collected.method.name()).collect::<Vec<_>>())
    .bind(numbers)
    .bind(taken.iter().map(|(_, collected)| collected.note.as_str()).collect::<Vec<_>>())
    .bind(taken.iter().map(|(_, collected)| collected.actor.id()).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// How the money of a payment was taken, and the number of its receipt.
///
/// # Errors
/// What the database said.
pub async fn collection(pool: &PgPool, payment: PaymentId) -> Result<Option<(CollectionMethod, Option<i32>)>, sqlx::Error> {
    sqlx::query_as("select method, receipt_no from collections where festival_id = $1 and payment_id = $2")
        .bind(payment.festival())
        .bind(payment)
        .fetch_optional(pool)
        .await
}

/// An order that waits for its money.
#[derive(Clone, Debug, FromRow)]
pub struct Awaited {
    /// The order.
    pub order_id: OrderId,
    /// How it is to be paid.
    pub kind: DeadlineKind,
    /// Until when it waits.
    pub due_at: DateTime<Utc>,
    /// How much.
    pub total: Money,
    /// The address of its buyer.
    pub email: String,
    /// The name of its buyer.
    pub buyer_name: String,
}

/// The orders of a festival that wait for their money, those that are due first; at most a thousand.
///
/// # Errors
/// What the database said.
pub async fn awaited(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<Awaited>, sqlx::Error> {
    sqlx::query_as(
        "select o.order_id, d.kind, d.due_at, row(o.total_minor, o.currency)::amount as total, o.email, o.buyer_name \
         from deadlines d join orders o on o.festival_id = d.festival_id and o.order_id = d.order_id \
         where d.festival_id = $1 and d.kind <> 'invitation' and o.status = 'held' order by d.due_at, o.order_id limit 1000",
    )
    .bind(festival)
    .fetch_all(conn)
    .await
}

/// How many units of the offers of an order wait for their money, its own included.
pub(super) async fn waiting_units(conn: &mut PgConnection, order: OrderId) -> Result<Vec<(OfferId, i64)>, sqlx::Error> {
    sqlx::query_as(
        "with own as materialized (select offer_id, sum(quantity) as units from lines where festival_id = $1 and order_id = $2 group by offer_id), \
              waiting as materialized (select d.order_id from deadlines d join orders o on o.festival_id = d.festival_id and o.order_id = d.order_id \
                                       where d.festival_id = $1 and d.kind <> 'invitation' and d.order_id <> $2 and o.status = 'held') \
         select own.offer_id, (own.units + coalesce((select sum(l.quantity) from waiting w join lines l on l.festival_id = $1 and l.order_id = w.order_id \
                                                     where l.offer_id = own.offer_id), 0))::bigint from own",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(conn)
    .await
}
