//! The JSON face of orders, tickets and scans for the promoter.

use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    payload::Json,
};

use crate::{
    accounts::{Scope, guard::AsStaff},
    app::App,
    entry::{self, Scan},
    festivals::api::of_staff,
    http::{
        listing::{before, fifty},
        problem::{Or, Usual},
        tags::Chapter,
    },
    id::FestivalId,
    orders::{self, Order},
    page::{MOST, Page},
    tickets::{self, Ticket},
};

/// Orders, tickets and scans of a festival.
pub struct ReportsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Reports")]
impl ReportsApi {
    /// List the orders of a festival
    ///
    /// Newest first, by pages; lines are at the order itself. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/orders", method = "get", operation_id = "list_orders")]
    async fn list_orders(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Order>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let limit = limit.min(MOST);
        Ok(Json(Page::cut(orders::orders_of(&mut tx, *festival_id, before, limit + 1).await?, limit, |o| o.order_id.0)))
    }

    /// List the tickets of a festival
    ///
    /// Newest first, by pages, without codes. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/tickets", method = "get", operation_id = "list_tickets")]
    async fn list_tickets(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Ticket>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let limit = limit.min(MOST);
        Ok(Json(Page::cut(tickets::of_festival(&mut tx, *festival_id, before, limit + 1).await?, limit, |t| t.ticket_id.0)))
    }

    /// List the scans of a festival
    ///
    /// By their ids, newest first, by pages. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/scans", method = "get", operation_id = "list_scans")]
    async fn list_scans(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Scan>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let limit = limit.min(MOST);
        Ok(Json(Page::cut(entry::of_festival(&mut tx, *festival_id, before, limit + 1).await?, limit, |s| s.scan_id.0)))
    }
}
