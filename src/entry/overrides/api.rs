//! The JSON face of overrides, supervisors' cards, and who supervises on a device.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};

use super::{
    card::{self, NewCard, SupervisorCard},
    store::{self, Made},
};
use crate::{
    accounts::{
        Scope,
        guard::{AsDevice, AsStaff, reach},
        shift::{self, ShiftError, Supervising},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        limit::{Client, Limited, Limits},
        listing::{before, fifty},
        problem::{Changing, Created, FORBIDDEN, Or, Problem, TOO_MANY, Usual},
        tags::Chapter,
    },
    id::FestivalId,
    page::Page,
};

impl From<ShiftError> for Problem {
    fn from(error: ShiftError) -> Self {
        match error {
            ShiftError::Wrong => FORBIDDEN.because(error.to_string()),
            ShiftError::TooOften => Problem { retry_after: Some(3_600), ..TOO_MANY.because(error.to_string()) },
            ShiftError::Database(error) => error.into(),
        }
    }
}

/// The digits of a shift.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ShiftCode {
    /// Six digits.
    #[oai(validator(min_length = 6, max_length = 12))]
    pub shift_code: String,
}

/// Supervisors.
pub struct OverridesApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl OverridesApi {
    /// Sign a supervisor in on a device
    ///
    /// By the six digits of their shift, which they begin in the dashboard. Until it ends their overrides and look-ups on this device carry their name.
    /// Ten wrong codes, and the device takes no more for an hour.
    #[oai(path = "/device-shifts", method = "post", operation_id = "sign_in_on_device")]
    async fn sign_in_on_device(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        client: Data<&Client>,
        body: Json<ShiftCode>,
    ) -> Result<Json<Supervising>, Or<Usual>> {
        app.the::<Limits>().count(Limited::Guess, &client)?;
        Ok(Json(shift::sign_in(&app, &device, &body.shift_code).await.map_err(Problem::from)?))
    }

    /// Sign the supervisor out on a device
    ///
    /// Doing it again changes nothing.
    #[oai(path = "/device-shifts/ends", method = "post", operation_id = "sign_out_on_device")]
    async fn sign_out_on_device(&self, AsDevice(device): AsDevice, app: Data<&App>) -> Result<Json<crate::accounts::Device>, Or<Usual>> {
        shift::sign_out(&app, &device).await.map_err(Problem::from)?;
        Ok(Json(crate::accounts::Device { supervisor_id: None, supervisor: None, supervisor_until: None, ..device }))
    }

    /// List overrides
    ///
    /// The newest scans first: whom supervisors let in although the rules refused, and why. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/overrides", method = "get", operation_id = "list_overrides")]
    async fn list_overrides(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Made>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let items = store::page(&mut *tx, *festival_id, before, *limit + 1).await.map_err(Problem::from)?;
        Ok(Json(Page::cut(items, *limit, |made| made.scan_id.0)))
    }

    /// List the supervisors' cards
    ///
    /// The newest first, each with its code: whoever holds that may override. A festival has 500 at most. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/supervisor-cards", method = "get", operation_id = "list_supervisor_cards")]
    async fn list_supervisor_cards(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
    ) -> Result<Json<Page<SupervisorCard>>, Or<Usual>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(Page { items: card::cards(&app, &staff, *festival_id).await?, next: None }))
    }

    /// Issue a supervisor's card
    ///
    /// A signed code for a person and a festival day, to be printed or kept as a picture. Shown to a gate after a refusal it lets in, by that name, also
    /// where the gate has no network. Asking again issues another one. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/supervisor-cards", method = "post", operation_id = "issue_supervisor_card")]
    async fn issue_supervisor_card(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewCard>,
    ) -> Result<Created<SupervisorCard>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, *festival_id)?;
        let card = card::issue(&app, &staff, *festival_id, &body.0).await?;
        Ok(Created { body: card, location: format!("/v1/festivals/{}/supervisor-cards", (*festival_id).0) })
    }

    /// Revoke a supervisor's card
    ///
    /// Gates refuse it within seconds, those without network when they are back. Doing it again changes nothing. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/supervisor-cards/:card_number/revocations", method = "post", operation_id = "revoke_supervisor_card")]
    async fn revoke_supervisor_card(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Its number.
        #[oai(validator(max_length = 16))]
        card_number: Path<String>,
    ) -> Result<Json<SupervisorCard>, Or<Changing>> {
        staff.may(Scope::GatesWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(card::revoke(&app, &staff, *festival_id, &card_number).await?))
    }
}
