//! The JSON face of the ledger of discrepancies.

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::{Json, PlainText},
};

use super::{Discrepancy, DiscrepancyDecision, DiscrepancyKind, GateReport, Which, store};
use crate::{
    accounts::{
        Scope,
        guard::{AsStaff, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        listing::{before, fifty},
        problem::{Or, Problem, Usual},
        tags::Chapter,
    },
    id::{DiscrepancyId, FestivalId, GateId},
    page::{MOST, Page},
};

/// What somebody makes of a discrepancy.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewDecision {
    /// What it was; `open` opens it again.
    pub decision: DiscrepancyDecision,
    /// A sentence for whoever reads the ledger later.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// The ledger as a table.
#[derive(ApiResponse)]
pub enum Exported {
    /// A line an entry, with a head; times are UTC (RFC 3339), lines RFC 4180.
    #[oai(status = 200, content_type = "text/csv")]
    Table(PlainText<String>, #[oai(header = "Content-Disposition")] String),
}

/// The ledger of discrepancies.
pub struct LedgerApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl LedgerApi {
    /// List the discrepancies of a festival
    ///
    /// Who came in beyond what the tickets allow, and verdicts of devices without network that the server would have given otherwise. Newest first, by
    /// pages. With `since` it is what changed behind that position instead, oldest first: found, decided on, or explained by later facts
    /// (`withdrawn_at`). Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/discrepancies", method = "get", operation_id = "list_discrepancies")]
    #[expect(clippy::too_many_arguments, reason = "one for each filter")]
    async fn list_discrepancies(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Only those that nobody decided and nothing explained.
        #[oai(default)]
        open: Query<bool>,
        /// Only of this gate.
        gate_id: Query<Option<GateId>>,
        /// Only of this kind.
        kind: Query<Option<DiscrepancyKind>>,
        /// What changed behind this position.
        #[oai(validator(minimum(value = "0")))]
        since: Query<Option<i64>>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Discrepancy>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let limit = limit.min(MOST);
        if let Some(position) = *since {
            let items = store::since(&mut tx, *festival_id, position, limit.into()).await.map_err(Problem::from)?;
            return Ok(Json(Page { items, next: None }));
        }
        let which = Which { open: *open, gate_id: *gate_id, kind: *kind };
        let found = store::page(&mut tx, *festival_id, which, before, limit + 1).await.map_err(Problem::from)?;
        Ok(Json(Page::cut(found, limit, |d| d.discrepancy_id.0)))
    }

    /// Decide a discrepancy
    ///
    /// By name: the ledger keeps who decided what, and every decision before. Scope `gates:write`.
    #[oai(path = "/discrepancies/:discrepancy_id/decisions", method = "post", operation_id = "decide_discrepancy")]
    async fn decide_discrepancy(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        discrepancy_id: Path<DiscrepancyId>,
        body: Json<NewDecision>,
    ) -> Result<Json<Discrepancy>, Or<Usual>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, discrepancy_id.festival())?;
        Ok(Json(super::decide(&app, &staff, *discrepancy_id, body.decision, &body.note).await?))
    }

    /// Report what happened at each gate
    ///
    /// Entries, refusals, and what the ledger has, by gate. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/gate-reports", method = "get", operation_id = "list_gate_reports")]
    async fn list_gate_reports(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<GateReport>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        Ok(Json(Page { items: super::by_gate(&mut tx, *festival_id).await?, next: None }))
    }

    /// Export the discrepancies of a festival
    ///
    /// The whole ledger as CSV, newest first, without personal data. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/discrepancy-export", method = "get", operation_id = "export_discrepancies")]
    async fn export_discrepancies(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Exported, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let name = format!("attachment; filename=\"discrepancies-{}.csv\"", festival_id.0.0);
        Ok(Exported::Table(PlainText(super::export(&mut tx, *festival_id).await.map_err(Problem::from)?), name))
    }
}
