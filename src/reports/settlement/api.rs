//! The JSON face of the settlement.

use chrono::NaiveDate;
use poem::web::Data;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
    payload::{Binary, Json, PlainText},
};

use super::{Period, Sheet};
use crate::{
    accounts::{Scope, Staff, guard::AsStaff},
    app::App,
    festivals::{self, api::of_staff},
    http::{
        problem::{Changing, NOT_FOUND, Or, Problem},
        tags::Chapter,
    },
    id::FestivalId,
    page::Page,
};

/// The settlement as a table.
#[derive(ApiResponse)]
pub enum Exported {
    /// A line a day and account, with a head; lines as RFC 4180 has them.
    #[oai(status = 200, content_type = "text/csv")]
    Table(PlainText<String>, #[oai(header = "Content-Disposition")] String),
}

/// The settlement as a workbook.
#[derive(ApiResponse)]
pub enum ExportedBook {
    /// Two worksheets a currency: the sums, and the days.
    #[oai(status = 200, content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")]
    Book(Binary<Vec<u8>>, #[oai(header = "Content-Disposition")] String),
}

async fn sheets(app: &App, staff: &Staff, festival: FestivalId, period: Period) -> Result<Vec<Sheet>, Problem> {
    let mut tx = of_staff(app, staff, festival, Scope::OrdersRead).await?;
    let zone = festivals::one(&mut *tx, festival).await?.ok_or_else(|| NOT_FOUND.problem())?.terms.time_zone;
    Ok(super::settlement(&mut tx, festival, &zone, period).await?)
}

/// Settlements.
pub struct SettlementApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Reports")]
impl SettlementApi {
    /// Look at the settlement of a festival
    ///
    /// What came in and whose it is, from the books: a sheet a currency, by account and day in the festival's zone. On every sheet the sum of where the
    /// money is equals the sum of whose it is. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/settlement", method = "get", operation_id = "show_settlement")]
    async fn show_settlement(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The first day; from the beginning without one.
        from: Query<Option<NaiveDate>>,
        /// The last day; to this moment without one.
        until: Query<Option<NaiveDate>>,
    ) -> Result<Json<Page<Sheet>>, Or<Changing>> {
        Ok(Json(Page { items: sheets(&app, &staff, *festival_id, Period { from: *from, until: *until }).await?, next: None }))
    }

    /// Take the settlement of a festival as a table
    ///
    /// The same as CSV, a line a day and account. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/settlement.csv", method = "get", operation_id = "export_settlement")]
    async fn export_settlement(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The first day; from the beginning without one.
        from: Query<Option<NaiveDate>>,
        /// The last day; to this moment without one.
        until: Query<Option<NaiveDate>>,
    ) -> Result<Exported, Or<Changing>> {
        let sheets = sheets(&app, &staff, *festival_id, Period { from: *from, until: *until }).await?;
        let table = super::csv(&sheets).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Exported::Table(PlainText(table), format!("attachment; filename=\"settlement-{}.csv\"", festival_id.0.0)))
    }

    /// Take the settlement of a festival as a workbook
    ///
    /// The same as XLSX. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/settlement.xlsx", method = "get", operation_id = "export_settlement_book")]
    async fn export_settlement_book(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The first day; from the beginning without one.
        from: Query<Option<NaiveDate>>,
        /// The last day; to this moment without one.
        until: Query<Option<NaiveDate>>,
    ) -> Result<ExportedBook, Or<Changing>> {
        let sheets = sheets(&app, &staff, *festival_id, Period { from: *from, until: *until }).await?;
        let book = super::xlsx(&sheets).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(ExportedBook::Book(Binary(book), format!("attachment; filename=\"settlement-{}.xlsx\"", festival_id.0.0)))
    }
}
