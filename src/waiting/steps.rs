//! The second hand of waiting rooms: what every server tells and reads once a second, and the step that one of them takes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{EXTENDED, Known, Rooms, Step, TURN, admit, store};
use crate::{
    app::App,
    breaker::Breaker,
    id::{FestivalId, OfferId},
    offers::{self, Availability},
};

/// How long the counts of servers take until they are whole.
pub(super) const SETTLE: TimeDelta = TimeDelta::seconds(2);
/// How long steps are remembered: longer than a turn with the pauses in it.
const REMEMBERED: TimeDelta = TimeDelta::hours(2);
/// How long people take to order who order.
const A_WHILE: TimeDelta = TimeDelta::minutes(3);
/// A room in which nobody waits and nobody has a turn takes no steps.
const QUIET: TimeDelta = EXTENDED;

/// Tells the others who came here, and reads what they know: once a second on every server. The only thing that visitors cost the database.
///
/// # Errors
/// What the database said.
pub async fn refresh(app: &App) -> Result<(), sqlx::Error> {
    let rooms = app.the::<Rooms>();
    let now = app.clock.now();
    let joins: HashMap<(OfferId, i64), i32> = std::mem::take(&mut *rooms.joins.lock().unwrap_or_else(PoisonError::into_inner));
    let mut by_festival: HashMap<FestivalId, Vec<(OfferId, DateTime<Utc>, i32)>> = HashMap::new();
    for ((offer, second), n) in &joins {
        by_festival.entry(offer.festival()).or_default().push((*offer, DateTime::from_timestamp(*second, 0).unwrap_or(now), *n));
    }
    for (festival, counted) in by_festival {
        let Err(error) = store::add_joins(&app.pools.work, festival, rooms.server(), &counted).await else { continue };
        tracing::warn!(festival = festival.0, %error, "who came to a waiting room could not be told");
        if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) {
            // The room is gone, with all who were in it.
            continue;
        }
        // They are told with the next second.
        let mut kept = rooms.joins.lock().unwrap_or_else(PoisonError::into_inner);
        for (offer, second, n) in counted {
            *kept.entry((offer, second.timestamp())).or_default() += n;
        }
    }
    let mut fresh = HashMap::new();
    for room in store::on(&app.pools.work, now).await? {
        let draws_at = room.draws_at();
        let mut steps = rooms.of(room.offer_id).map(|known| known.steps.clone()).unwrap_or_default();
        // Steps of another opening say nothing about this one.
        steps.retain(|step| step.draws_at == draws_at);
        steps.extend(store::steps_after(&app.pools.work, room.offer_id, draws_at, steps.last().map(|s| s.at), now - REMEMBERED).await?);
        // One step older than every turn stays: it tells that a turn is over.
        let old = steps.iter().take_while(|step| step.at < now - REMEMBERED).count();
        steps.drain(..old.saturating_sub(1));
        let from = steps.last().map_or(draws_at, |step| step.joined_before);
        let joins = store::joins(&app.pools.work, room.offer_id, from - TimeDelta::seconds(1)).await?;
        let joins = joins.into_iter().filter(|(second, _)| *second + TimeDelta::seconds(1) > from).collect();
        let came = if steps.is_empty() { store::all_joins(&app.pools.work, room.offer_id).await? } else { 0 };
        let paused = lost(&steps);
        fresh.insert(room.offer_id, Arc::new(Known { room, steps, paused, joins, came }));
    }
    *rooms.known.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    Ok(())
}

/// For each step, for how long nobody could order until then.
fn lost(steps: &[Step]) -> Vec<TimeDelta> {
    let mut sum = TimeDelta::zero();
    let mut before: Option<&Step> = None;
    let mut lost = Vec::with_capacity(steps.len());
    for step in steps {
        if let Some(before) = before.filter(|before| before.availability == Availability::Paused) {
            sum += (step.at - before.at).min(TimeDelta::seconds(5));
        }
        lost.push(sum);
        before = Some(step);
    }
    lost
}

/// A room that is to be moved.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The offer.
    pub offer: OfferId,
    /// The moment of the step.
    pub at: DateTime<Utc>,
    /// Orders are counted from here..
    pub from: DateTime<Utc>,
    /// .. to here.
    pub to: DateTime<Utc>,
}

/// The rooms whose sale has opened, with the moments between which orders have to be counted for the next step.
#[must_use]
pub fn due(app: &App) -> Vec<Due> {
    let now = app.clock.now();
    let rooms: Vec<Arc<Known>> = app.the::<Rooms>().known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    let until = now - COUNTED_AFTER;
    let due = |known: &Arc<Known>| {
        let opens = known.room.draws_at();
        let last = known.steps.last();
        let is_due = now >= opens + SETTLE && last.is_none_or(|step| now - step.at >= TimeDelta::milliseconds(900));
        // Who went straight through needs no further step.
        let quiet = last.is_some_and(|step| {
            let last_let_in = known.steps.get(known.steps.partition_point(|s| s.admitted < step.admitted)).map_or(step.at, |s| s.at);
            step.waiting == 0 && known.joins.is_empty() && now - last_let_in > QUIET && step.availability != Availability::Paused
        });
        // Orders of a time without steps were not placed by people who were let in.
        let from = last.map_or(opens, |step| (step.at - COUNTED_AFTER).max(until - TimeDelta::seconds(10)).max(opens));
        (is_due && !quiet).then(|| Due { offer: known.room.offer_id, at: now, from, to: until.max(from) })
    };
    rooms.iter().filter_map(due).collect()
}

/// Orders are counted when none of their second can be on its way any more.
const COUNTED_AFTER: TimeDelta = TimeDelta::seconds(5);

/// Admits the next people of a room, once a second, on the server that is first to take it: `placed` orders since the step before, and the
/// longest wait of an order in the meantime.
///
/// # Errors
/// What the database said.
pub async fn step(app: &App, due: Due, placed: i64, longest_wait: Duration) -> Result<(), sqlx::Error> {
    let Some(known) = app.the::<Rooms>().of(due.offer) else { return Ok(()) };
    let (festival, room, now) = (due.offer.festival(), &known.room, due.at);
    let mut tx = app.pools.work.begin().await?;
    if !store::try_lead(&mut tx, due.offer).await? || store::last_at(&mut tx, due.offer, room.draws_at()).await? != known.steps.last().map(|s| s.at) {
        // Another server is at it, or was.
        return Ok(());
    }
    let gathered = match known.steps.last() {
        Some(step) => step.gathered,
        None => store::gathered(&mut tx, due.offer, room.draws_at()).await?,
    };
    let (on_shelf, stocks) = offers::demand::on_shelf(&app.pools.work, festival, now).await?;
    let Some(of) = on_shelf.into_iter().find(|o| o.offer_id == due.offer) else { return Ok(()) };
    if of.opens_at != room.opens_at {
        // The opening moved meanwhile: the next look sees it.
        return Ok(());
    }
    let left =
        of.takes().filter_map(|(id, units)| stocks.iter().find(|s| s.stock_id == id).and_then(|s| s.capacity.map(|_| i64::from(s.left() / units)))).min();
    let mut availability = offers::on_sale(of, &stocks, now, None).availability;
    if app.the::<Breaker>().is_open(now) {
        availability = Availability::Paused;
    }
    let scene = admit::Scene {
        now,
        opens_at: room.draws_at(),
        last: known.steps.last(),
        turn_ago: known.steps.iter().take_while(|step| step.at <= now - TURN).last(),
        while_ago: known.steps.iter().take_while(|step| step.at <= now - A_WHILE).last(),
        gathered,
        joins: &known.joins,
        placed,
        left: if matches!(availability, Availability::OnSale | Availability::FewLeft) { left } else { Some(0) },
        longest_wait,
        availability,
    };
    store::insert_step(&mut tx, due.offer, &admit::admit(&scene)).await?;
    tx.commit().await?;
    Ok(())
}

/// Forgets the counts of rooms that ended more than a day ago, and old steps of those that go on; how many rows.
///
/// # Errors
/// What the database said.
pub async fn forget(app: &App) -> Result<u64, sqlx::Error> {
    let now = app.clock.now();
    store::forget(&app.pools.work, now - TimeDelta::days(1), now - REMEMBERED * 2).await
}
