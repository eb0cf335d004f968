//! The JSON face of wristbands.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{BandEnd, BandError, BandStock, Exchanged, NewExchange};
use crate::{
    accounts::{
        Scope,
        guard::{AsDevice, AsStaff},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{AtGate, CONFLICT, Changing, FORBIDDEN, INVALID, NOT_FOUND, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{FestivalId, TicketId},
    page::Page,
    tickets::Ticket,
};

impl From<BandError> for Problem {
    fn from(error: BandError) -> Self {
        match error {
            BandError::NotFound => NOT_FOUND.problem(),
            BandError::NotAllowed => FORBIDDEN.because(error.to_string()),
            BandError::Unreadable => Self { errors: vec![Wrong::new("/band/code", error.to_string())], ..INVALID.problem() },
            BandError::Taken | BandError::Ended => CONFLICT.because(error.to_string()),
            BandError::Database(error) => error.into(),
        }
    }
}

/// Why a band ends.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewBandEnd {
    /// Why.
    pub why: BandEnd,
}

/// How many bands of a color were delivered.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Delivery {
    /// How many; absent takes back what was said.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000")))]
    pub delivered: Option<i32>,
}

/// Wristbands.
pub struct BandsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl BandsApi {
    /// Exchange a ticket for a wristband
    ///
    /// First without a band: may one be given, and of which color? Then with what it carries, or plain. From then on the picture of the ticket opens
    /// nothing, and what the band carries is scanned as a code is. On devices of exchange desks, and where a supervisor is.
    #[oai(path = "/exchanges", method = "post", operation_id = "exchange_ticket")]
    async fn exchange_ticket(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<NewExchange>) -> Result<Json<Exchanged>, Or<AtGate>> {
        Ok(Json(super::exchange(&app, &device, &body).await?))
    }

    /// End the wristband of a ticket
    ///
    /// A lost one never opens a gate again, and its ticket is valid by a new code; one that came back may go onto another wrist. The ticket can become another
    /// band. Where a member is signed in; the device that gave a band takes it back itself within fifteen minutes. Audited.
    #[oai(path = "/tickets/:ticket_id/band-ends", method = "post", operation_id = "end_band")]
    async fn end_band(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<NewBandEnd>,
    ) -> Result<Json<Ticket>, Or<Changing>> {
        Ok(Json(super::end(&app, &device, *ticket_id, body.why).await?))
    }

    /// List the stocks of wristbands
    ///
    /// By color: how many were delivered, given and lost. Scope `scans:read`.
    #[oai(path = "/festivals/:festival_id/band-stocks", method = "get", operation_id = "list_band_stocks")]
    async fn list_band_stocks(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<BandStock>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::ScansRead).await?;
        let items = super::stocks(&mut tx, *festival_id).await.map_err(Problem::from)?;
        Ok(Json(Page { items, next: None }))
    }

    /// Say how many wristbands there are
    ///
    /// Desks say how many are left of a color; nothing stops them where more are given than there should be. Scope `gates:write`.
    #[oai(path = "/festivals/:festival_id/band-stocks/:color", method = "put", operation_id = "set_band_stock")]
    async fn set_band_stock(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// The color of a pass, without its number sign: `ffd21f`.
        #[oai(validator(pattern = "^[0-9a-f]{6}$"))]
        color: Path<String>,
        body: Json<Delivery>,
    ) -> Result<Json<BandStock>, Or<Changing>> {
        let tx = of_staff(&app, &staff, *festival_id, Scope::GatesWrite).await?;
        let stock = super::deliver(&app, tx, &staff, *festival_id, &format!("#{}", color.as_str()), body.delivered).await.map_err(Problem::from)?;
        Ok(Json(stock))
    }
}
