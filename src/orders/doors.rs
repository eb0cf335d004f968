//! Orders and waiting rooms: whose turn it is, and how many orders each second brought.

use chrono::{DateTime, Utc};

use super::{PlaceError, Placing, Wish, store};
use crate::{
    app::App,
    batcher::Lanes,
    waiting::{self, Place, Standing},
};

/// The visitor whose place lets a basket in; `None` where no offer of it has a room that is on.
pub(super) fn visitor(app: &App, basket: &[Wish], places: &[&str], at: DateTime<Utc>) -> Result<Option<[u8; 16]>, PlaceError> {
    let mut visitor = None;
    for offer in basket.iter().map(|wish| wish.offer_id).filter(|offer| waiting::is_on(app, *offer, at)) {
        let place = places.iter().find_map(|text| Place::read(&app.secrets, offer, text));
        // Nobody in particular, who comes just now, to say where a stranger stands.
        let stranger = || Place { offer_id: offer, visitor: [0; 16], joined_at: at, extended: false };
        let turn = waiting::turn(app, &place.clone().unwrap_or_else(stranger), at);
        match place {
            Some(place) if matches!(turn.standing, Standing::Turn | Standing::Open) => visitor = visitor.or(Some(place.visitor)),
            _ => return Err(PlaceError::WaitingRoom(offer, Box::new(turn))),
        }
    }
    Ok(visitor)
}

/// Keeps what this server knows of waiting rooms fresh, and lets the next people in. Called by a worker once a second.
///
/// # Errors
/// What the database said.
pub async fn admit_waiting(app: &App) -> Result<usize, sqlx::Error> {
    waiting::refresh(app).await?;
    for (offer, from, to) in waiting::due(app) {
        let placed = store::placed_between(&app.pools.work, offer, from, to).await?;
        let longest = app.the::<Lanes<Placing>>().longest_wait(offer.festival());
        waiting::step(app, offer, placed, longest).await?;
    }
    Ok(0)
}
