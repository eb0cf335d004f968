//! Invitations: what became free of an offer that people wait for is held for whoever is next, by the same batches as every order.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Buyer, PlaceError, Placing, Request, Source, Wish, short_hash};
use crate::{
    app::App,
    batcher::Busy,
    breaker::Breaker,
    festivals,
    id::{OfferId, OrderId},
    offers::{Availability, Offer, demand},
    waiting::list::{self, Wait},
};

/// How many waits of a line one step looks at.
const STEP: i64 = 50;
/// An invitation lasts at least so long, unless the sale is over before.
const SHORTEST: TimeDelta = TimeDelta::minutes(15);

/// Invites whoever is next on waiting lists whose offers have become free; returns how many. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn invite_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    // Nobody could pay: what is free waits with them.
    if app.the::<Breaker>().is_open(now) {
        return Ok(0);
    }
    let mut invited = 0;
    for offer in demand::wanted(&app.pools.work).await? {
        // A list that cannot be served does not keep the others.
        match step(app, offer, now).await {
            Ok(done) => invited += done,
            Err(error) => tracing::warn!(%offer, %error, "a waiting list could not be served; the next round tries again"),
        }
    }
    Ok(invited)
}

async fn step(app: &App, offer_id: OfferId, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let pool = &app.pools.work;
    let Some((offer, free)) = demand::free_for_list(pool, offer_id, now).await? else { return Ok(0) };
    match offer.window(now) {
        Some(Availability::Over) => return over(app, offer_id).await,
        // Paused, or its opening was delayed: they wait on.
        Some(_) => return Ok(0),
        None if free == 0 => return Ok(0),
        // Who still wants to come buys at the door.
        None if festivals::has_begun(pool, offer_id.festival(), now).await? => return over(app, offer_id).await,
        None => {}
    }
    let mut left = free;
    let mut done = 0;
    for wait in list::first_in_line(pool, offer_id, free, STEP).await? {
        if wait.quantity > left {
            continue;
        }
        match invite(app, &offer, &wait, now).await {
            Ok(()) => {
                left -= wait.quantity;
                done += 1;
            }
            // Somebody else was invited, or left.
            Err(PlaceError::NotWaiting | PlaceError::KeyReused) => {}
            Err(PlaceError::Busy(_) | PlaceError::SoldOut(..) | PlaceError::Paused(..) | PlaceError::NotYet(..)) => break,
            Err(error) => {
                tracing::info!(wait = %wait.wait_id, %error, "a place on a waiting list cannot be served");
                let reason = if matches!(error, PlaceError::FanLimit { .. } | PlaceError::OrderLimit(..)) { "limit" } else { "over" };
                list::drop_from_line(app, &[&wait], reason).await?;
                done += 1;
            }
        }
    }
    Ok(done)
}

/// The sale is over, or the festival has begun: nobody waits any more.
async fn over(app: &App, offer: OfferId) -> Result<usize, sqlx::Error> {
    let line = list::first_in_line(&app.pools.work, offer, i32::MAX, STEP).await?;
    list::drop_from_line(app, &line.iter().collect::<Vec<_>>(), "over").await?;
    Ok(line.len())
}

/// Holds an order for whoever is next. The wait is the key of the order: it is invited once, whichever server is first.
async fn invite(app: &App, offer: &Offer, wait: &Wait, now: DateTime<Utc>) -> Result<(), PlaceError> {
    let festival = wait.wait_id.festival();
    if !festivals::facts(app, festival).await.map_err(|_| Busy::jittered())?.published {
        return Err(Busy::jittered().into());
    }
    let mut conn = app.pools.work.acquire().await.map_err(|_| Busy::jittered())?;
    let hours = demand::list(&mut conn, offer.offer_id).await.map_err(|_| Busy::jittered())?.invitation_hours;
    let opens = festivals::first_opening(&mut conn, festival).await.map_err(|_| Busy::jittered())?.filter(|opens| now < *opens);
    drop(conn);
    // Not longer than the sale; and what was handed back for it opens a gate again when the festival begins.
    let end = offer.closes_at.into_iter().chain(opens).min();
    let until = now + TimeDelta::hours(i64::from(hours));
    let until = end.map_or(until, |end| until.min(end.max(now + SHORTEST)));
    let basket = vec![Wish { offer_id: offer.offer_id, quantity: wait.quantity }];
    let request = Request {
        order_id: OrderId::fresh(festival, now),
        buyer: Buyer { email: wait.email.clone(), name: wait.name.clone(), language: wait.language },
        email_key: wait.email_key.clone(),
        key_hash: short_hash(&[b"invitation", wait.wait_id.0.as_bytes()]),
        fingerprint: short_hash(&[b"invitation", wait.wait_id.0.as_bytes()]),
        basket,
        refusal: None,
        voucher: None,
        expected_minor: None,
        source: Source::List(wait.wait_id, until),
        arrived_at: now,
    };
    app.pass::<Placing>(festival, request).await??;
    Ok(())
}
