//! The rows of box offices.

use sqlx::{PgConnection, PgPool};

use super::{BoxOffice, Takings};
use crate::id::{FestivalId, OrderId};

/// The box office of a festival.
///
/// # Errors
/// What the database said.
pub async fn office(conn: &mut PgConnection, festival: FestivalId) -> Result<Option<BoxOffice>, sqlx::Error> {
    sqlx::query_as("select country, is_open from box_offices where festival_id = $1").bind(festival).fetch_optional(conn).await
}

pub(super) async fn set(conn: &mut PgConnection, festival: FestivalId, office: &BoxOffice) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into box_offices (festival_id, country, is_open, last_receipt) values ($1, $2, $3, 0) \
         on conflict (festival_id) do update set country = excluded.country, is_open = excluded.is_open",
    )
    .bind(festival)
    .bind(&office.country)
    .bind(office.is_open)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was taken by hand, by day and method; at most a thousand rows, the latest days first.
///
/// # Errors
/// What the database said.
pub async fn takings(conn: &mut PgConnection, festival: FestivalId, zone: &str) -> Result<Vec<Takings>, sqlx::Error> {
    sqlx::query_as(
        "select taken.day, taken.method, count(*) as orders, row(sum(taken.minor)::bigint, taken.currency)::amount as amount from ( \
             select (c.collected_at at time zone $2)::date as day, c.method, p.amount_minor as minor, p.currency from collections c \
             join payments p on p.festival_id = c.festival_id and p.payment_id = c.payment_id where c.festival_id = $1 \
             union all \
             select (s.sold_at at time zone $2)::date, 'comp', 0, o.currency from box_office_sales s \
             join orders o on o.festival_id = s.festival_id and o.order_id = s.order_id where s.festival_id = $1 and s.is_comp and o.paid_at is not null) taken \
         group by taken.day, taken.method, taken.currency order by taken.day desc, taken.method limit 1000",
    )
    .bind(festival)
    .bind(zone)
    .fetch_all(conn)
    .await
}

/// Whether an order was sold or given away at the door.
///
/// # Errors
/// What the database said.
pub async fn is_sold_here(conn: &mut PgConnection, order: OrderId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from box_office_sales where festival_id = $1 and order_id = $2)")
        .bind(order.festival())
        .bind(order)
        .fetch_one(conn)
        .await
}

/// The number of the receipt of an order that was paid in cash.
///
/// # Errors
/// What the database said.
pub async fn receipt(pool: &PgPool, order: OrderId) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar("select receipt_no from collections where order_id = $2 and festival_id = $1 and receipt_no is not null")
        .bind(order.festival())
        .bind(order)
        .fetch_optional(pool)
        .await
}
