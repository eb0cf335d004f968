//! The JSON face of holds and clearings.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{Clearing, GateHold, NewClearing, store};
use crate::{
    accounts::{
        Scope,
        guard::{AsStaff, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{Changing, Created, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{ClearingId, FestivalId, GateId, HoldId, ZoneId},
    page::Page,
};

/// A hold to begin.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewHold {
    /// The only gate that it holds.
    pub gate_id: Option<GateId>,
    /// The zone whose gates it holds. Without gate and zone it holds all.
    pub zone_id: Option<ZoneId>,
    /// Why, for the staff.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// Holds and clearings.
pub struct IncidentApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl IncidentApi {
    /// List the holds of gates
    ///
    /// Those that last, then the newest first, at most 500; one without an end lasts. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/gate-holds", method = "get", operation_id = "list_gate_holds")]
    async fn list_gate_holds(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<GateHold>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let items = store::holds(&mut *tx, *festival_id).await.map_err(Problem::from)?;
        Ok(Json(Page { items, next: None }))
    }

    /// Hold gates
    ///
    /// Nobody comes in by a gate, by the gates into a zone, or by any, from now on; whoever wants to leave leaves. Gates hear of it within seconds, those
    /// without network when they are back. Asking again begins another hold. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/gate-holds", method = "post", operation_id = "hold_gates")]
    async fn hold_gates(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewHold>,
    ) -> Result<Created<GateHold>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, *festival_id)?;
        let NewHold { gate_id, zone_id, note } = body.0;
        let hold = super::hold(&app, &staff, *festival_id, gate_id, zone_id, note).await?;
        Ok(Created { body: hold, location: format!("/v1/festivals/{}/gate-holds", festival_id.0.0) })
    }

    /// End a hold
    ///
    /// Its gates let in again within seconds. Doing it again changes nothing. Scope `gates:write`.
    #[oai(path = "/gate-holds/:hold_id", method = "delete", operation_id = "end_gate_hold")]
    async fn end_gate_hold(&self, AsStaff(staff): AsStaff, app: Data<&App>, hold_id: Path<HoldId>) -> Result<Json<GateHold>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, hold_id.festival())?;
        Ok(Json(super::end_hold(&app, &staff, *hold_id).await?))
    }

    /// List the clearings of a festival
    ///
    /// The latest first, at most 500: those that happened, and those that lie ahead. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/clearings", method = "get", operation_id = "list_clearings")]
    async fn list_clearings(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Clearing>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let items = store::clearings(&mut *tx, *festival_id).await.map_err(Problem::from)?;
        Ok(Json(Page { items, next: None }))
    }

    /// Clear the site or a zone
    ///
    /// At that moment nobody is in any more, without a scan: everybody out, in an incident or at an hour that is known before. Until `readmits_until`
    /// whoever was in may come back, whatever their pass says; that is no discrepancy. Asking again clears again. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/clearings", method = "post", operation_id = "clear_site")]
    async fn clear_site(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewClearing>,
    ) -> Result<Created<Clearing>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, *festival_id)?;
        let clearing = super::clear(&app, &staff, *festival_id, &body).await?;
        Ok(Created { body: clearing, location: format!("/v1/festivals/{}/clearings", festival_id.0.0) })
    }

    /// Call a clearing off
    ///
    /// One that lies ahead; what has happened stays: 409. Scope `gates:write`.
    #[oai(path = "/clearings/:clearing_id", method = "delete", operation_id = "call_clearing_off")]
    async fn call_clearing_off(&self, AsStaff(staff): AsStaff, app: Data<&App>, clearing_id: Path<ClearingId>) -> Result<Json<Clearing>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, clearing_id.festival())?;
        Ok(Json(super::call_off(&app, &staff, *clearing_id).await?))
    }
}
