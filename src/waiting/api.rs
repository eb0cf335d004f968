//! The JSON face of waiting rooms.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};
use serde_json::json;

use super::{Place, Room, Standing, Turn};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsStaff, reach},
    },
    app::App,
    festivals::api::visible,
    http::{
        door::Arrival,
        limit::{Client, Limited, Limits},
        problem::{CONFLICT, Changing, Created, NOT_FOUND, Or, Problem, Usual, WAITING_ROOM},
        tags::Chapter,
    },
    id::OfferId,
    refusals,
};

refusals! {
    /// What joining a room refuses.
    Joining: NOT_FOUND, CONFLICT;
}

/// A waiting room to be opened.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewRoom {
    /// From when on people gather; before the sale of the offer opens.
    pub gathers_at: DateTime<Utc>,
}

/// A waiting room and how it goes.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct WaitingRoom {
    /// The offer.
    pub offer_id: OfferId,
    /// From when on people gather.
    pub gathers_at: DateTime<Utc>,
    /// When the draw is: the opening of the sale.
    pub draws_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether orders need a place now.
    pub on: bool,
    /// How many gather or wait.
    pub waiting: i64,
    /// How many were admitted.
    pub admitted: i64,
    /// How many of them ordered.
    pub placed: i64,
    /// How many a second are admitted while people wait.
    pub per_second: f64,
}

/// A place that was taken: the text is a secret of its fan.
#[derive(Debug, Object)]
pub struct TakenPlace {
    /// Send it as `Waiting-Place` with the order, and to ask for the turn.
    pub place: String,
    /// Where it stands.
    pub turn: Turn,
}

fn shown(app: &App, room: &Room) -> WaitingRoom {
    let known = app.the::<super::Rooms>().of(room.offer_id);
    let last = known.as_ref().and_then(|known| known.steps.last());
    let gathering = known.as_ref().map_or(0, |known| known.came);
    WaitingRoom {
        offer_id: room.offer_id,
        gathers_at: room.gathers_at,
        draws_at: room.draws_at(),
        ended_at: room.ended_at,
        on: room.is_on(app.clock.now()),
        waiting: last.map_or(gathering, |step| step.waiting),
        admitted: last.map_or(0, |step| step.admitted),
        placed: last.map_or(0, |step| step.placed),
        per_second: last.map_or(0.0, |step| step.per_second),
    }
}

/// Reads the place of a request.
fn place_of(app: &App, offer: OfferId, text: Option<&str>) -> Result<Place, Problem> {
    text.and_then(|text| Place::read(&app.secrets, offer, text)).ok_or_else(|| NOT_FOUND.because("no place of this room: send it in the header Waiting-Place"))
}

/// The refusal of an order without a turn, with the way to one.
#[must_use]
pub fn needs_place(offer: OfferId, turn: &Turn) -> Problem {
    let why = match turn.standing {
        Standing::Gathering => "the sale has not opened; people gather in the waiting room",
        Standing::Over => "the turn of this place is over; queue up again",
        _ => "orders of this offer need a place in its waiting room whose turn it is",
    };
    WAITING_ROOM.because(why).with("offer_id", json!(offer)).with("waiting_room", json!(format!("/w/{offer}"))).with("standing", json!(turn.standing))
}

/// Waiting rooms.
pub struct WaitingApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Buying")]
impl WaitingApi {
    /// Open the waiting room of an offer
    ///
    /// Or move its beginning; a room that ended goes on. From then on orders of the offer need a place. Doing it again changes nothing. Scope
    /// `offers:write`.
    #[oai(path = "/offers/:offer_id/waiting-room", method = "put", operation_id = "open_waiting_room")]
    async fn open_waiting_room(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        offer_id: Path<OfferId>,
        body: Json<NewRoom>,
    ) -> Result<Json<WaitingRoom>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, offer_id.festival())?;
        let room = super::open(&app, &staff, *offer_id, body.gathers_at).await?;
        Ok(Json(shown(&app, &room)))
    }

    /// End the waiting room of an offer
    ///
    /// Everybody orders directly from now on. Doing it again changes nothing. Scope `offers:write`.
    #[oai(path = "/offers/:offer_id/waiting-room", method = "delete", operation_id = "end_waiting_room")]
    async fn end_waiting_room(&self, AsStaff(staff): AsStaff, app: Data<&App>, offer_id: Path<OfferId>) -> Result<Json<WaitingRoom>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, offer_id.festival())?;
        let room = super::end(&app, &staff, *offer_id).await?;
        Ok(Json(shown(&app, &room)))
    }

    /// Look at the waiting room of an offer
    ///
    /// How many wait, how many were admitted, how fast it goes: at most a second old.
    #[oai(path = "/offers/:offer_id/waiting-room", method = "get", operation_id = "show_waiting_room")]
    async fn show_waiting_room(&self, who: Anyone, app: Data<&App>, offer_id: Path<OfferId>) -> Result<Json<WaitingRoom>, Or<Usual>> {
        visible(&app, offer_id.festival(), who.0.as_ref()).await?;
        let room = super::room(&app, *offer_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(shown(&app, &room)))
    }

    /// Take a place in the waiting room of an offer
    ///
    /// Who comes before the opening is drawn then; who comes later is served in the order of coming. Keep the place: it is good for one order.
    #[oai(path = "/offers/:offer_id/places", method = "post", operation_id = "take_place")]
    async fn take_place(
        &self,
        app: Data<&App>,
        client: Data<&Client>,
        arrival: Data<&Arrival>,
        offer_id: Path<OfferId>,
    ) -> Result<Created<TakenPlace>, Or<Joining>> {
        app.the::<Limits>().count(Limited::Place, &client)?;
        let place = super::join(&app, *offer_id, arrival.0.0).ok_or_else(|| NOT_FOUND.because("this offer has no waiting room now"))?;
        let turn = super::turn(&app, &place, arrival.0.0);
        Ok(Created { body: TakenPlace { place: place.text(&app.secrets), turn }, location: format!("/v1/offers/{}/turn", *offer_id) })
    }

    /// Ask where a place stands
    ///
    /// Costs the house nothing; `again_in` says when it makes sense to ask again.
    #[oai(path = "/offers/:offer_id/turn", method = "get", operation_id = "show_turn")]
    async fn show_turn(
        &self,
        app: Data<&App>,
        arrival: Data<&Arrival>,
        offer_id: Path<OfferId>,
        /// The place.
        #[oai(name = "Waiting-Place")]
        place: Header<Option<String>>,
    ) -> Result<Json<Turn>, Or<Usual>> {
        let place = place_of(&app, *offer_id, place.as_deref())?;
        Ok(Json(super::turn(&app, &place, arrival.0.0)))
    }

    /// Extend a turn
    ///
    /// From fifteen minutes to thirty, once. The answer has the place to use from now on.
    #[oai(path = "/offers/:offer_id/turn-extensions", method = "post", operation_id = "extend_turn")]
    async fn extend_turn(
        &self,
        app: Data<&App>,
        arrival: Data<&Arrival>,
        offer_id: Path<OfferId>,
        /// The place.
        #[oai(name = "Waiting-Place")]
        place: Header<Option<String>>,
    ) -> Result<Json<TakenPlace>, Or<Joining>> {
        let place = place_of(&app, *offer_id, place.as_deref())?;
        let place = super::extend(&app, &place, arrival.0.0).ok_or_else(|| CONFLICT.because("it is not the turn of this place"))?;
        let turn = super::turn(&app, &place, arrival.0.0);
        Ok(Json(TakenPlace { place: place.text(&app.secrets), turn }))
    }
}
