//! Orders and waiting rooms: whose turn it is, and how many orders each second brought.

use chrono::{DateTime, Utc};

use super::{PlaceError, Placing, Wish, short_hash, store};
use crate::{
    app::App,
    batcher::Lanes,
    id::{OfferId, OrderId},
    waiting::{self, Place, Standing},
};

/// What the door says about a basket: the visitor whose place it uses, and whether it may come in. Whatever the door says, an order that was
/// placed with the same key is answered again.
pub(super) struct Door {
    pub(super) visitor: Option<[u8; 16]>,
    pub(super) refusal: Option<PlaceError>,
}

/// Looks at the places of a basket. A basket uses one place, so it may have one offer whose room is on.
pub(super) fn look(app: &App, basket: &[Wish], places: &[&str], at: DateTime<Utc>) -> Door {
    let mut door = Door { visitor: None, refusal: None };
    let mut rooms: Vec<OfferId> = basket.iter().map(|wish| wish.offer_id).filter(|offer| waiting::is_on(app, *offer, at)).collect();
    rooms.dedup();
    if let [_, second, ..] = rooms[..] {
        let i = basket.iter().position(|wish| wish.offer_id == second).unwrap_or(0);
        door.refusal = Some(PlaceError::Invalid(format!("/lines/{i}/offer_id"), "offers with a waiting room are ordered one by one".to_owned()));
        return door;
    }
    let Some(offer) = rooms.first().copied() else { return door };
    let place = places.iter().find_map(|text| Place::read(&app.secrets, offer, text));
    // Nobody in particular, who comes just now, to say where a stranger stands.
    let stranger = || Place { offer_id: offer, visitor: [0; 16], joined_at: at, extended: false, counted: true };
    let turn = waiting::turn(app, &place.clone().unwrap_or_else(stranger), at);
    if place.is_none() || !matches!(turn.standing, Standing::Turn | Standing::Open) {
        door.refusal = Some(PlaceError::WaitingRoom(offer, Box::new(turn)));
    }
    door.visitor = place.map(|place| place.visitor);
    door
}

/// The order that a place brought, for whoever keeps the place.
///
/// # Errors
/// What the database said.
pub async fn order_of_place(app: &App, place: &Place) -> Result<Option<(OrderId, i16)>, sqlx::Error> {
    store::by_key(&app.pools.web, place.offer_id.festival(), &short_hash(&[b"place", &place.visitor])).await
}

/// Keeps what this server knows of waiting rooms fresh, and lets the next people in. Called by a worker once a second.
///
/// # Errors
/// What the database said.
pub async fn admit_waiting(app: &App) -> Result<usize, sqlx::Error> {
    waiting::refresh(app).await?;
    for due in waiting::due(app) {
        let step = async {
            let placed = store::placed_between(&app.pools.work, due.offer, due.from, due.to).await?;
            let longest = app.the::<Lanes<Placing>>().longest_wait(due.offer.festival());
            waiting::step(app, due, placed, longest).await
        };
        // A room that cannot be moved does not keep the others.
        if let Err(error) = step.await {
            tracing::warn!(offer = %due.offer, %error, "a waiting room could not be moved; the next second tries again");
        }
    }
    Ok(0)
}
