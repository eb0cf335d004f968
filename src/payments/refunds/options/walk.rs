//! The walks of option rounds: who is told, what is done of what was chosen, and the default of whoever said nothing.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Choice, Round, RoundStatus, round_in, shares, store};
use crate::{
    app::App,
    audit::Actor,
    festivals,
    id::{FestivalId, OrderId},
    mail::{self, Draft, Lane},
    orders,
    payments::refunds::{self, Asked, Asking, RefundError, RefundReason, plan},
    postgres, sabotage,
};

/// How often orders are looked for that were paid since.
const LOOK: TimeDelta = TimeDelta::hours(1);
/// When an answer is tried again that something was in the way of.
const AGAIN: TimeDelta = TimeDelta::hours(1);
/// Orders looked at in one step.
const STEP: i64 = 200;
/// Answers carried out in one step.
const BATCH: i64 = 50;

/// Tells of rounds, does what was answered, and gives silent orders the default: one bounded step each; how many orders moved. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn step(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut moved = 0;
    for (festival, no) in store::every_open(&app.pools.work).await? {
        moved += match walk(app, festival, no, now).await {
            Ok(done) => done,
            // A festival whose orders are locked just now does not keep the others.
            Err(error) => {
                tracing::warn!(festival = festival.0, round = no, %error, "an option round could not go on; the next round tries again");
                0
            }
        };
    }
    for (festival, no, order) in store::due(&app.pools.work, now, BATCH).await? {
        match apply(app, festival, no, order, now).await {
            Ok(()) => moved += 1,
            Err(error) => tracing::warn!(%order, round = no, %error, "what an order chose could not be done now; the next round tries again"),
        }
    }
    Ok(moved)
}

/// One step of telling, or after the deadline one of deciding.
async fn walk(app: &App, festival: FestivalId, no: i32, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let mut tx = app.pools.work.begin().await?;
    // One server walks at a time: the row of the round is theirs.
    let Some(round) = store::lock_open(&mut tx, festival, no).await? else { return Ok(0) };
    if round.told_upto < round.last() {
        let asked = store::asked_after(&mut tx, festival, round.told_upto, round.last(), STEP).await?;
        tell(&mut tx, festival, &round, &asked, now).await?;
        let upto = if asked.len() < usize::try_from(STEP).unwrap_or(0) { round.last() } else { asked.last().map_or(round.last(), |a| a.order_id) };
        store::told(&mut tx, festival, no, upto).await?;
        tx.commit().await?;
        return Ok(asked.len().max(1));
    }
    if now < round.terms.deadline_at {
        // What was held when it was opened may be paid since: it is told, too.
        if now < round.looked_at + LOOK {
            return Ok(0);
        }
        let since = store::paid_since(&mut tx, festival, &round, round.letter()).await?;
        tell(&mut tx, festival, &round, &since, now).await?;
        store::looked(&mut tx, festival, no, now).await?;
        tx.commit().await?;
        return Ok(since.len());
    }
    let asked = store::asked_after(&mut tx, festival, round.decided_upto, round.last(), STEP).await?;
    let silent: Vec<OrderId> = asked.iter().filter(|a| a.is_asked).map(|a| a.order_id).collect();
    // Who was not told of it keeps what they have: tickets of a stranger to the question do not vanish.
    let silent = store::told_of(&mut tx, festival, &silent, round.letter()).await?;
    store::default_for(&mut tx, festival, no, &silent, round.terms.default_choice, now).await?;
    sabotage::die_at("options-half-decided");
    if asked.len() < usize::try_from(STEP).unwrap_or(0) {
        store::end(&mut tx, festival, no, RoundStatus::Done, now).await?;
    } else if let Some(last) = asked.last() {
        store::decided(&mut tx, festival, no, last.order_id).await?;
    }
    tx.commit().await?;
    Ok(asked.len().max(1))
}

/// Writes to orders that are asked; who was told is not told again.
async fn tell(conn: &mut PgConnection, festival: FestivalId, round: &Round, asked: &[store::Looked], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let kind = round.letter();
    let drafts: Vec<Draft> = asked
        .iter()
        .filter(|a| a.is_asked)
        .map(|a| Draft { thing: a.order_id.0, kind, lane: Lane::Bulk, language: a.language, recipient: a.email.clone() })
        .collect();
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    mail::queue(conn, festival, &drafts, now, due_at).await
}

/// Does what an order chose, once: the answer is locked with its order.
async fn apply(app: &App, festival: FestivalId, no: i32, id: OrderId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let mut tx = app.pools.work.begin().await?;
    let Some(order) = orders::lock(&mut tx, festival, &[id]).await?.pop() else { return Ok(()) };
    let Some(answer) = store::answer_in(&mut tx, id, no).await?.filter(|answer| answer.applied_at.is_none()) else { return Ok(()) };
    let Some(round) = round_in(&mut tx, festival, no).await? else { return Ok(()) };
    let parts = match answer.choice {
        Choice::Keep => None,
        Choice::Refund => Some(Vec::new()),
        Choice::Share => Some(shares(&plan::left(&mut tx, id).await?, round.terms.share_ppm.unwrap_or(0))),
    };
    let outcome = match parts {
        None => Ok(None),
        Some(parts) if parts.is_empty() && answer.choice == Choice::Share => Err(RefundError::Nothing),
        Some(parts) => {
            let note = format!("option round {no}");
            let asked = Asked { order_id: id, parts, kept_minor: 0, keep_fees: None, currency: None, reason: RefundReason::FestivalChanged, note: &note };
            let key_hash = orders::short_hash(&[b"options", &no.to_be_bytes(), id.0.as_bytes()]);
            let asking = Asking { asked: &asked, payment: None, actor: Actor::House, key_hash, fingerprint: key_hash };
            refunds::ask(app, &mut tx, &order, &asking, |_| Ok(())).await.map(|refund| Some(refund.refund_id))
        }
    };
    match outcome {
        Ok(refund) => {
            store::applied(&mut tx, id, no, refund, None, now).await?;
            postgres::commit(tx).await
        }
        Err(RefundError::Database(error)) => Err(error),
        // Somebody is invited to a ticket of it, or its money is on its way for another reason: that is decided first.
        Err(RefundError::InPool(_)) => later(app, tx, id, no, now + AGAIN).await,
        Err(RefundError::Nothing | RefundError::NotPaid(_)) if store::has_undecided(&mut tx, id).await? => later(app, tx, id, no, now + AGAIN).await,
        // Everything went back already.
        Err(RefundError::Nothing | RefundError::NotPaid(_)) => note(app, tx, id, no, None, now).await,
        // Its promoter sees why, and decides.
        Err(error) => note(app, tx, id, no, Some(error.to_string()), now).await,
    }
}

/// Tries an answer again at a moment, in a transaction of its own.
async fn later(app: &App, tx: sqlx::Transaction<'_, sqlx::Postgres>, id: OrderId, no: i32, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    tx.rollback().await?;
    let mut tx = app.pools.work.begin().await?;
    store::later(&mut tx, id, no, at).await?;
    tx.commit().await
}

/// Notes that nothing was to be done, or why it could not be, in a transaction of its own: the one before wrote half of it.
async fn note(
    app: &App,
    tx: sqlx::Transaction<'_, sqlx::Postgres>,
    id: OrderId,
    no: i32,
    problem: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    tx.rollback().await?;
    let mut tx = app.pools.work.begin().await?;
    orders::lock(&mut tx, id.festival(), &[id]).await?;
    store::applied(&mut tx, id, no, None, problem.as_deref(), now).await?;
    tx.commit().await
}
