//! The JSON face of acts, sets and imports.

use poem::web::Data;
use poem_openapi::{
    ApiRequest, OpenApi,
    param::Path,
    payload::{Json, PlainText},
};

use super::{ActTerms, ImportLine, ImportReport, PerformingAct, Set, SetTerms};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsStaff, reach},
    },
    app::App,
    festivals::{self, api::visible},
    http::{
        problem::{Changing, Created, NOT_FOUND, Or, Usual},
        tags::Chapter,
    },
    id::FestivalId,
    page::Page,
};

/// A running order: a table with the columns act, stage, day, start, end, or the same as JSON.
#[derive(ApiRequest)]
pub enum RunningOrder {
    /// A table; the first line names the columns.
    #[oai(content_type = "text/csv")]
    Table(PlainText<String>),
    /// The lines as JSON.
    Lines(Json<Vec<ImportLine>>),
}

/// Acts, sets and imports.
pub struct LineupApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::LineUp")]
impl LineupApi {
    /// List the acts of a festival
    ///
    /// By their row on the poster, at most 5,000.
    #[oai(path = "/festivals/:festival_id/acts", method = "get", operation_id = "list_acts")]
    async fn list_acts(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<PerformingAct>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::acts(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Add an act
    ///
    /// A name is one act: a repeated request answers 409. Scope `lineup:write`.
    #[oai(path = "/festivals/:festival_id/acts", method = "post", operation_id = "create_act")]
    async fn create_act(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<ActTerms>,
    ) -> Result<Created<PerformingAct>, Or<Changing>> {
        staff.may(Scope::LineupWrite)?;
        reach(&staff, *festival_id)?;
        let act = super::add_act(&app, &staff, *festival_id, &body).await?;
        Ok(Created { body: act, location: format!("/v1/festivals/{}/acts", festival_id.0.0) })
    }

    /// List the sets of a festival
    ///
    /// By time, at most 5,000; sets without a time come last.
    #[oai(path = "/festivals/:festival_id/sets", method = "get", operation_id = "list_sets")]
    async fn list_sets(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Set>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::sets(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Add a set
    ///
    /// Asking again adds another one. Scope `lineup:write`.
    #[oai(path = "/festivals/:festival_id/sets", method = "post", operation_id = "create_set")]
    async fn create_set(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<SetTerms>,
    ) -> Result<Created<Set>, Or<Changing>> {
        staff.may(Scope::LineupWrite)?;
        reach(&staff, *festival_id)?;
        let set = super::add_set(&app, &staff, *festival_id, &body).await?;
        Ok(Created { body: set, location: format!("/v1/festivals/{}/sets", festival_id.0.0) })
    }

    /// Import a running order
    ///
    /// Good lines go in, wrong lines are named in the report. Times are local to the festival; a set that ends before it starts ends after midnight.
    /// The same file twice changes nothing. Scope `lineup:write`.
    #[oai(path = "/festivals/:festival_id/lineup-imports", method = "post", operation_id = "import_lineup")]
    async fn import_lineup(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: RunningOrder,
    ) -> Result<Created<ImportReport>, Or<Changing>> {
        staff.may(Scope::LineupWrite)?;
        reach(&staff, *festival_id)?;
        let lines = match body {
            RunningOrder::Table(text) => super::read_csv(&text)?,
            RunningOrder::Lines(lines) => lines.0,
        };
        let report = super::import(&app, &staff, *festival_id, &lines).await?;
        Ok(Created { body: report, location: format!("/v1/festivals/{}/lineup-imports", festival_id.0.0) })
    }

    /// List the latest imports
    ///
    /// With their reports, the latest 20. Scope `catalog:read`.
    #[oai(path = "/festivals/:festival_id/lineup-imports", method = "get", operation_id = "list_lineup_imports")]
    async fn list_lineup_imports(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
    ) -> Result<Json<Page<ImportReport>>, Or<Usual>> {
        staff.may(Scope::CatalogRead)?;
        reach(&staff, *festival_id)?;
        let mut tx = app.for_promoter(staff.promoter).await?;
        festivals::owned(&mut tx, staff.promoter, *festival_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(Page { items: super::imports(&mut tx, *festival_id).await?, next: None }))
    }
}
