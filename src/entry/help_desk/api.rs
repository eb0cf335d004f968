//! The JSON face of the help desk.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{CaseOutcome, HelpDeskCase};
use crate::{
    accounts::{
        Scope,
        guard::{AsStaff, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, TicketId},
    page::Page,
};

/// What became of somebody at the help desk.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct HelpDeskDecision {
    /// What.
    pub outcome: CaseOutcome,
    /// A sentence for whoever asks later.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// The help desk.
pub struct HelpDeskApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl HelpDeskApi {
    /// List the cases of the help desk
    ///
    /// Whom gates sent there in the last 24 hours, or left without an answer for two minutes, and who did not come in since: newest first, at most 200. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/help-desk-cases", method = "get", operation_id = "list_help_desk_cases")]
    async fn list_help_desk_cases(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
    ) -> Result<Json<Page<HelpDeskCase>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let items = super::cases(&mut tx, *festival_id, app.clock.now()).await.map_err(Problem::from)?;
        Ok(Json(Page { items, next: None }))
    }

    /// Decide a case of the help desk
    ///
    /// By name, and audited; the ticket stays as it is. Whatever a gate says of it from then on is another case. A
    /// repeat is written down once more, and so is what is said of a ticket without a case. Scope `gates:write`.
    #[oai(path = "/tickets/:ticket_id/help-desk-decisions", method = "post", operation_id = "decide_help_desk_case")]
    async fn decide_help_desk_case(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<HelpDeskDecision>,
    ) -> Result<Json<HelpDeskDecision>, Or<Usual>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, ticket_id.festival())?;
        super::decide(&app, &staff, *ticket_id, body.outcome, &body.note).await?;
        Ok(body)
    }
}
