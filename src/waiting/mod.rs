//! The waiting room of an offer that opens at a moment: who waits, in which order, whose turn it is. The waiting list of one that is sold out is in [`list`].
//!
//! A *place* is signed and kept by its fan: offer, visitor (128 random bits of ours), the moment they came. Who gathers before the opening
//! is drawn: the rank is an HMAC of the visitor, random and the same on every server. Who comes later is served in the order of coming. Once a
//! second one server admits as many as the house can take ([`admit`], pure) and writes one row; every server reads it. A visitor costs the
//! database nothing. **Invariant:** while a room is on, an order needs a place whose turn it is, and the visitor is the key of that order, so
//! a place brings one order.

mod admit;
pub mod api;
pub mod list;
mod place;
mod steps;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::OfferId,
    offers::Availability,
};

pub use place::Place;
pub use steps::{Due, due, forget, refresh, step};

/// How long a turn lasts.
pub const TURN: TimeDelta = TimeDelta::minutes(15);
/// How long it lasts when it was extended.
pub const EXTENDED: TimeDelta = TimeDelta::minutes(30);

/// The waiting room of an offer.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Room {
    /// The offer.
    pub offer_id: OfferId,
    /// From when on people gather.
    pub gathers_at: DateTime<Utc>,
    /// When it ended; from then on everybody orders directly.
    pub ended_at: Option<DateTime<Utc>>,
    /// When the sale opens: who came before is drawn, who comes later is served in the order of coming.
    pub opens_at: Option<DateTime<Utc>>,
}

impl Room {
    /// Whether orders need a place at a moment.
    #[must_use]
    pub fn is_on(&self, at: DateTime<Utc>) -> bool {
        self.gathers_at <= at && self.ended_at.is_none_or(|ended| at < ended)
    }

    /// When the draw is: the opening, or the beginning of the room where the sale is open already.
    #[must_use]
    pub fn draws_at(&self) -> DateTime<Utc> {
        self.opens_at.map_or(self.gathers_at, |opens| opens.max(self.gathers_at))
    }
}

/// How far a room has been admitted at a moment.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Step {
    /// When.
    pub at: DateTime<Utc>,
    /// The opening that it belongs to.
    pub draws_at: DateTime<Utc>,
    /// How many had gathered before the opening.
    pub gathered: i64,
    /// The share of them that is admitted: every rank below it.
    pub drawn: f64,
    /// Of those who came later, everybody who came before this moment is admitted.
    pub joined_before: DateTime<Utc>,
    /// Everybody who was admitted so far.
    pub admitted: i64,
    /// Orders that were placed so far by them.
    pub placed: i64,
    /// How many wait.
    pub waiting: i64,
    /// How many a second are admitted when people wait.
    pub per_second: f64,
    /// Units that were free; nothing where there is no bound.
    pub free: Option<i64>,
    /// Whether the offer can be had.
    pub availability: Availability,
}

/// What the servers know of a room: the newest second of it.
#[derive(Clone, Debug)]
pub struct Known {
    room: Room,
    /// Steps since the draw, oldest first, as far as they are remembered.
    steps: Vec<Step>,
    /// For each step, for how long nobody could order until then.
    paused: Vec<TimeDelta>,
    /// How many came by second since everybody before was admitted, or since the draw.
    joins: Vec<(DateTime<Utc>, i64)>,
    /// How many came at all, as long as no step was taken.
    came: i64,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The sale has not opened; the order is drawn then.
    Gathering,
    /// Others are before them.
    Waiting,
    /// It is their turn: they may order.
    Turn,
    /// Their turn is over; they may queue up again.
    Over,
    /// There is no room: everybody orders directly.
    Open,
}

impl Standing {
    /// Its name in JSON and for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gathering => "gathering",
            Self::Waiting => "waiting",
            Self::Turn => "turn",
            Self::Over => "over",
            Self::Open => "open",
        }
    }
}

/// Where a place stands now.
#[derive(Clone, Debug, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Turn {
    /// Where they stand.
    pub standing: Standing,
    /// How many gather or wait in the room, as far as it is counted.
    pub people: i64,
    /// How many are before them; while people gather nobody knows.
    pub ahead: Option<i64>,
    /// The seconds until it is probably their turn; absent while nothing can be said honestly.
    pub about_seconds: Option<i64>,
    /// When the sale opens, where it has not.
    pub opens_at: Option<DateTime<Utc>>,
    /// Until when it is their turn.
    pub until: Option<DateTime<Utc>>,
    /// Whether the turn was extended: that goes once.
    pub extended: bool,
    /// Whether the offer can be had at all.
    pub availability: Availability,
    /// Whether more are before them than there is to sell: it may come back, or some leave.
    pub beyond: bool,
    /// The seconds after which it makes sense to ask again.
    pub again_in: u32,
}

impl Known {
    /// Whether a step admits a place.
    fn admits(&self, step: &Step, place: &Place, rank: f64) -> bool {
        if place.joined_at < self.room.draws_at() { rank < step.drawn } else { step.drawn >= 1.0 && place.joined_at < step.joined_before }
    }

    /// Where a place stands at a moment; `rank` is what the draw gave it.
    #[must_use]
    pub fn turn(&self, place: &Place, rank: f64, at: DateTime<Utc>) -> Turn {
        let draws_at = self.room.draws_at();
        let last = self.steps.last();
        let people = last.map_or(self.came, |step| step.waiting);
        let mut turn = Turn {
            standing: Standing::Waiting,
            people,
            ahead: None,
            about_seconds: None,
            opens_at: (at < draws_at).then_some(draws_at),
            until: None,
            extended: place.extended,
            availability: last.map_or(Availability::OnSale, |step| step.availability),
            beyond: false,
            again_in: 3,
        };
        if !self.room.is_on(at) {
            return Turn { standing: Standing::Open, ..turn };
        }
        let Some(last) = last else {
            // Nobody is drawn before the opening, and for two seconds after it the servers count together.
            let left = (draws_at - at).num_seconds();
            turn.standing = if at < draws_at { Standing::Gathering } else { Standing::Waiting };
            turn.again_in = u32::try_from((left / 4).clamp(2, 30)).unwrap_or(3);
            return turn;
        };
        // Whom a step admits every later one does.
        let first = self.steps.partition_point(|step| !self.admits(step, place, rank));
        if let Some(step) = self.steps.get(first) {
            // A turn does not pass while nobody can order.
            let lost = self.paused.last().copied().unwrap_or_default() - self.paused.get(first).copied().unwrap_or_default();
            let until = step.at + lost + if place.extended { EXTENDED } else { TURN };
            turn.until = Some(until);
            turn.standing = if at < until { Standing::Turn } else { Standing::Over };
            turn.again_in = 10;
            return turn;
        }
        let ahead = if place.joined_at < draws_at {
            share_of(last.gathered, rank - last.drawn)
        } else {
            share_of(last.gathered, 1.0 - last.drawn) + self.joins.iter().filter(|(second, _)| *second < place.joined_at).map(|(_, n)| n).sum::<i64>()
        };
        turn.ahead = Some(ahead.max(0));
        // Who came within the last second is not counted yet, and stands here all the same.
        turn.people = people.max(ahead + 1);
        turn.beyond = last.free.is_some_and(|free| ahead >= free);
        turn.about_seconds = if turn.beyond { None } else { self.about(ahead) };
        turn.again_in = turn.about_seconds.map_or(5, |about| u32::try_from((about / 10).clamp(2, 30)).unwrap_or(5));
        turn
    }

    /// The seconds that so many people take at the pace of the last minute; nothing while nobody moves.
    fn about(&self, ahead: i64) -> Option<i64> {
        let last = self.steps.last()?;
        let first = self.steps.iter().find(|step| step.at > last.at - TimeDelta::seconds(60))?;
        let (moved, seconds) = (last.admitted - first.admitted, (last.at - first.at).num_seconds());
        (moved > 0 && seconds > 0 && last.availability != Availability::SoldOut).then(|| (ahead + 1).saturating_mul(seconds) / moved + 1)
    }
}

/// A share of a count.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of people are far below 2^52")]
fn share_of(count: i64, share: f64) -> i64 {
    (count as f64 * share.max(0.0)).round() as i64
}

/// The rooms as this server knows them, and who came here since it last told the others.
#[derive(Default)]
pub struct Rooms {
    known: Mutex<HashMap<OfferId, Arc<Known>>>,
    joins: Mutex<HashMap<(OfferId, i64), i32>>,
    server: std::sync::OnceLock<Uuid>,
}

impl Rooms {
    /// What is known of the room of an offer.
    #[must_use]
    pub fn of(&self, offer: OfferId) -> Option<Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&offer).cloned()
    }

    fn server(&self) -> Uuid {
        *self.server.get_or_init(|| {
            let mut noise = [0_u8; 16];
            crate::secrets::fill(&mut noise);
            uuid::Builder::from_random_bytes(noise).into_uuid()
        })
    }
}

/// Whether an offer has a room that is on, as far as this server knows: at most a second old.
#[must_use]
pub fn is_on(app: &App, offer: OfferId, at: DateTime<Utc>) -> bool {
    app.the::<Rooms>().of(offer).is_some_and(|known| known.room.is_on(at))
}

/// The offers whose room is on, as far as this server knows.
#[must_use]
pub fn on(app: &App, at: DateTime<Utc>) -> Vec<OfferId> {
    let known = app.the::<Rooms>().known.lock().unwrap_or_else(PoisonError::into_inner);
    known.values().filter(|known| known.room.is_on(at)).map(|known| known.room.offer_id).collect()
}

/// Takes a place in a room; `None` where there is no room that is on.
#[must_use]
pub fn join(app: &App, offer: OfferId, at: DateTime<Utc>) -> Option<Place> {
    let rooms = app.the::<Rooms>();
    rooms.of(offer).filter(|known| known.room.is_on(at))?;
    let place = Place::fresh(offer, at);
    Some(count(app, &place))
}

/// A place for somebody who may be a machine that keeps no cookie: it counts among the people once it comes back ([`count`]).
#[must_use]
pub fn offer_place(app: &App, offer: OfferId, at: DateTime<Utc>) -> Option<Place> {
    app.the::<Rooms>().of(offer).filter(|known| known.room.is_on(at))?;
    Some(Place::fresh(offer, at))
}

/// Counts a place among the people of its room, once.
#[must_use]
pub fn count(app: &App, place: &Place) -> Place {
    if !place.counted {
        let second = place.joined_at.timestamp();
        *app.the::<Rooms>().joins.lock().unwrap_or_else(PoisonError::into_inner).entry((place.offer_id, second)).or_default() += 1;
    }
    Place { counted: true, ..place.clone() }
}

/// Where a place stands.
#[must_use]
pub fn turn(app: &App, place: &Place, at: DateTime<Utc>) -> Turn {
    match app.the::<Rooms>().of(place.offer_id) {
        Some(known) => known.turn(place, place.rank(&app.secrets), at),
        None => Turn {
            standing: Standing::Open,
            people: 0,
            ahead: None,
            about_seconds: None,
            opens_at: None,
            until: None,
            extended: place.extended,
            availability: Availability::OnSale,
            beyond: false,
            again_in: 5,
        },
    }
}

/// Extends the turn of a place, once; `None` when it is not its turn.
#[must_use]
pub fn extend(app: &App, place: &Place, at: DateTime<Utc>) -> Option<Place> {
    let known = app.the::<Rooms>().of(place.offer_id)?;
    let is_turn = known.turn(place, place.rank(&app.secrets), at).standing == Standing::Turn;
    is_turn.then(|| Place { extended: true, ..place.clone() })
}

/// Opens the waiting room of an offer, or moves its beginning as long as nobody can be in it; a room that ended goes on.
///
/// # Errors
/// [`Fault`].
pub async fn open(app: &App, staff: &Staff, offer: OfferId, gathers_at: DateTime<Utc>) -> Result<Room, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, offer.festival()).await?.ok_or(Fault::NotFound)?;
    let room = store::upsert(&mut tx, offer, gathers_at, now).await?.ok_or(Fault::NotFound)?;
    Checks::default().claim(room.opens_at.is_none_or(|opens| room.gathers_at < opens), "/gathers_at", "people gather before the sale opens").done()?;
    note(&mut tx, staff, offer, "waiting_room.opened", now).await?;
    tx.commit().await?;
    refresh(app).await?;
    Ok(room)
}

/// Ends the waiting room of an offer: everybody orders directly. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn end(app: &App, staff: &Staff, offer: OfferId) -> Result<Room, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, offer.festival()).await?.ok_or(Fault::NotFound)?;
    let room = store::end(&mut tx, offer, now).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, offer, "waiting_room.ended", now).await?;
    tx.commit().await?;
    refresh(app).await?;
    Ok(room)
}

async fn note(conn: &mut sqlx::PgConnection, staff: &Staff, offer: OfferId, action: &'static str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let act = Act { festival: offer.festival(), actor: staff.actor, action, object_kind: "offer", object_id: offer.to_string(), before: None, after: None };
    audit::record(conn, act, now).await
}

/// The room of an offer as the database has it.
///
/// # Errors
/// What the database said.
pub async fn room(app: &App, offer: OfferId) -> Result<Option<Room>, sqlx::Error> {
    store::one(&app.pools.web, offer).await
}
