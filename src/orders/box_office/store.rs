//! The rows of sales at the door.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::DoorSale;
use crate::{
    id::{FestivalId, OrderId},
    orders::{Source, store::NewOrder},
};

/// Writes down which of new orders were sold or given away at the door.
pub(in crate::orders) async fn note(conn: &mut PgConnection, festival: FestivalId, rows: &[NewOrder<'_>]) -> Result<(), sqlx::Error> {
    let at_the_door = |row: &NewOrder<'_>| match &row.request.source {
        Source::BoxOffice(sale) => Some((row.request.order_id, sale.clone(), row.request.arrived_at)),
        Source::Public | Source::List(..) => None,
    };
    let sales: Vec<(OrderId, DoorSale, DateTime<Utc>)> = rows.iter().filter_map(at_the_door).collect();
    if sales.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into box_office_sales (festival_id, order_id, is_comp, reason, sold_by, sold_at) \
         select $1, s.* from unnest($2::uuid[], $3::boolean[], $4::text[], $5::uuid[], $6::timestamptz[]) as s",
    )
    .bind(festival)
    .bind(sales.iter().map(|(order, ..)| *order).collect::<Vec<_>>())
    .bind(sales.iter().map(|(_, sale, _)| sale.is_comp).collect::<Vec<_>>())
    .bind(sales.iter().map(|(_, sale, _)| sale.reason.as_str()).collect::<Vec<_>>())
    .bind(sales.iter().map(|(_, sale, _)| sale.sold_by).collect::<Vec<_>>())
    .bind(sales.iter().map(|(.., at)| *at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
