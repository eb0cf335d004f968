//! What becomes of a refund: providers are asked outside any transaction, one function applies what they say, members decide what providers refuse.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use poem_openapi::Enum;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Refund, RefundError, RefundReason, RefundStatus, given_up, hand_backs, plan, store};
use crate::{
    accounts::{Scope, Staff},
    app::App,
    audit::{self, Act},
    batcher::{Busy, Trouble},
    books::{self, Account, Journal, JournalKind},
    festivals,
    id::{self, FestivalId, PaymentAccountId, PaymentId, RefundId, TicketId},
    library,
    mail::{self, Draft, Lane},
    offers,
    orders::{self, Held},
    payments::{Heard, NotifyError, PATIENCE, Providers, store as payments},
    postgres, sabotage,
    tickets::{self, Becomes, Cause, GENERATIONS, Ticket, TicketStatus},
    webhooks,
};

/// What a provider says about a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundOutcome {
    /// Taken, not decided.
    Pending {
        /// What the provider knows it by.
        provider_ref: String,
    },
    /// The money went back.
    Done {
        /// What the provider knows it by.
        provider_ref: Option<String>,
    },
    /// The account has not enough for it now.
    NoFunds(String),
    /// It will not be, and why.
    Refused(String),
    /// The bank of the buyer asked for it and did not get it: the money stays.
    Kept,
}

/// How many refunds are asked about in one go.
const BATCH: i64 = 100;
/// How many of them at once.
const AT_ONCE: usize = 8;
/// How long a worker has a refund for itself: longer than its call can take.
const CLAIM: TimeDelta = TimeDelta::seconds(20);
/// How long a dispute rests before its provider is asked about it.
pub(super) const DISPUTE: TimeDelta = TimeDelta::hours(1);
/// How long a refund without funds waits before it is tried again.
const FUNDS: TimeDelta = TimeDelta::hours(1);

/// How long a provider that did not answer or decide is left alone: from ten seconds to an hour.
fn rest(attempts: i16) -> TimeDelta {
    let doublings = u32::try_from(attempts.clamp(1, 12) - 1).unwrap_or(0);
    TimeDelta::seconds((10 << doublings).min(3_600))
}

/// Asks providers for what is due. They know a refund by its id and round, so a repeated call gives money back once. Called by a worker.
///
/// # Errors
/// What the database said.
pub async fn refund_due(app: &App) -> Result<usize, sqlx::Error> {
    let now = app.clock.now();
    let mut asked = 0;
    // A server of the version before closes refunds without giving back what they return: that is done here.
    for id in store::unreturned(&app.pools.work, BATCH).await? {
        if let Err(trouble) = catch_up(app, id).await {
            tracing::warn!(error = %trouble, refund = %id, "what a refund returns could not come back; the next round tries again");
        }
    }
    // Several at once: each is a call or two over the network.
    let due = store::due(&app.pools.work, now, BATCH).await?;
    let mut rounds = stream::iter(due).map(|id| one_due(app, id, now)).buffer_unordered(AT_ONCE);
    while let Some(one) = rounds.next().await {
        asked += usize::from(one?);
    }
    Ok(asked)
}

/// Asks the provider of a refund that is due; whether this server did.
async fn one_due(app: &App, id: RefundId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    if !store::claim(&app.pools.work, id, now, now + CLAIM).await? {
        return Ok(false);
    }
    sabotage::die_at("refund-claimed");
    let Some(refund) = store::refund(&app.pools.work, id).await? else { return Ok(true) };
    let outcome = ask(app, &refund).await;
    sabotage::die_at("refund-asked");
    if let Err(trouble) = told(app, id, refund.round, outcome, None).await {
        tracing::warn!(error = %trouble, refund = %id, "what a provider said of a refund could not be noted; it is asked again");
    }
    Ok(true)
}

/// Gives back what a refund returns that is done.
async fn catch_up(app: &App, id: RefundId) -> Result<(), Trouble> {
    let mut tx = app.pools.work.begin().await?;
    let Some((order, refund)) = locked(&mut tx, id).await? else { return Ok(()) };
    if refund.status == RefundStatus::Done && refund.returned_at.is_none() {
        let now = app.clock.now();
        letter(&mut tx, &order, &refund, "refund_done", now).await?;
        give_back(&mut tx, &order, &refund, now).await?;
    }
    postgres::commit(tx).await?;
    Ok(())
}

/// Asks the provider of a refund; `Err` is what kept it from answering.
async fn ask(app: &App, refund: &Refund) -> Result<RefundOutcome, String> {
    if refund.amount.minor == 0 {
        return Ok(RefundOutcome::Done { provider_ref: None });
    }
    let provider = app.the::<Providers>().find(&refund.provider).ok_or_else(|| format!("no provider {}", refund.provider))?;
    let call = if refund.provider_ref.is_some() { provider.ask_refund(app, refund) } else { provider.refund(app, refund) };
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
    }
}

/// Applies what a provider says about a refund, or that it said nothing: the only way its state moves but for decisions of members. Saying it again, late or
/// in another order ends in the same state.
///
/// # Errors
/// [`Trouble`].
pub async fn told(app: &App, refund_id: RefundId, round: i16, outcome: Result<RefundOutcome, String>, heard: Option<&Heard>) -> Result<(), Trouble> {
    let (festival, now) = (refund_id.festival(), app.clock.now());
    let mut tx = app.pools.work.begin().await?;
    let Some((order, refund)) = locked(&mut tx, refund_id).await? else { return Ok(()) };
    if refund.round != round {
        tracing::warn!(refund = %refund_id, round, ?outcome, "a provider answered about a try that was given up");
        return Ok(());
    }
    match outcome {
        Err(error) if refund.status.is_open() => {
            tracing::warn!(%error, refund = %refund_id, "a provider did not answer about a refund; it is asked again");
            store::note_open(&mut tx, refund_id, RefundStatus::Submitted, None, Some(&error), now + rest(refund.attempts)).await?;
        }
        Ok(RefundOutcome::Pending { provider_ref }) if refund.status.is_open() => {
            store::note_open(&mut tx, refund_id, RefundStatus::Submitted, Some(&provider_ref), None, now + rest(refund.attempts)).await?;
        }
        Ok(RefundOutcome::NoFunds(error)) if refund.status.is_open() => {
            tracing::warn!(%error, refund = %refund_id, "a refund waits for funds");
            store::without_funds(&mut tx, refund_id, &error, now + FUNDS).await?;
        }
        Ok(RefundOutcome::Done { provider_ref }) if refund.status.is_open() || refund.status == RefundStatus::Failed => {
            let ending = store::Ending { provider_ref: provider_ref.as_deref(), ..store::Ending::default() };
            done(&mut tx, &order, &refund, ending, now).await?;
        }
        Ok(RefundOutcome::Done { .. }) if refund.status == RefundStatus::Withdrawn => {
            tracing::error!(refund = %refund_id, "a provider gave money back for a refund that was withdrawn");
            let error = "the provider gave the money back all the same";
            let ending = store::Ending { error: Some(error), ..store::Ending::default() };
            store::end(&mut tx, refund_id, RefundStatus::Withdrawn, &ending, refund.ended_at).await?;
        }
        Ok(RefundOutcome::Kept) if refund.status.is_open() && refund.reason == Some(RefundReason::Disputed) => {
            tracing::info!(refund = %refund_id, "a dispute was won");
            match withdraw(&mut tx, &order, &refund, "", now).await {
                Ok(()) => {}
                Err(RefundError::Database(error)) => return Err(error.into()),
                Err(error) => return Err(sqlx::Error::Protocol(error.to_string()).into()),
            }
        }
        Ok(RefundOutcome::Refused(error)) if refund.status.is_open() || (refund.status == RefundStatus::Done && !refund.by_hand) => {
            if refund.status == RefundStatus::Done {
                // The bank of the fan sent it back: the provider has it again, and it is owed again.
                let mut journal = Journal::default();
                journal.debit(Account::Clearing(refund.provider.clone()), refund.amount);
                journal.credit(Account::Owed, refund.amount);
                books::record(&mut tx, festival, books::fresh(festival, now), JournalKind::Refund, &journal, &[], now).await?;
            }
            tracing::error!(%error, refund = %refund_id, "a provider refused a refund; somebody has to decide");
            let ending = store::Ending { error: Some(&error), ..store::Ending::default() };
            store::end(&mut tx, refund_id, RefundStatus::Failed, &ending, None).await?;
            letter(&mut tx, &order, &refund, "refund_failed", now).await?;
        }
        _ => return Ok(()),
    }
    if let Some(heard) = heard {
        payments::insert_refund_event(&mut tx, heard, &refund, now).await?;
    }
    postgres::commit(tx).await?;
    // Whoever waits for what came back sees it at once.
    app.the::<offers::api::Shelves>().forget();
    Ok(())
}

/// Something became of a refund, its provider says at the door of an account: it is asked what. What we do not know it by yet is being asked already.
///
/// # Errors
/// [`NotifyError`].
pub async fn heard(app: &App, provider: &str, account: Option<PaymentAccountId>, id: RefundId, round: i16, heard: &Heard) -> Result<(), NotifyError> {
    let Some(refund) = store::refund(&app.pools.work, id).await? else { return Ok(()) };
    if refund.round != round || refund.provider_ref.is_none() || !super::super::took(app, provider, account, refund.payment_id).await? {
        return Ok(());
    }
    ask_again(app, &refund, heard).await
}

/// Asks about a refund that its provider says did not arrive, where we have it as done.
pub async fn look_again(app: &App, id: RefundId, payment: PaymentId) {
    let refund = match store::refund(&app.pools.work, id).await {
        Ok(Some(refund)) if refund.payment_id == payment && refund.status == RefundStatus::Done && !refund.by_hand && refund.provider_ref.is_some() => refund,
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, refund = %id, "a refund could not be read; the next comparison looks again"),
    };
    let outcome = ask(app, &refund).await;
    if let Err(trouble) = told(app, id, refund.round, outcome, None).await {
        tracing::warn!(error = %trouble, refund = %id, "what a provider said of a refund could not be noted; the next comparison looks again");
    }
}

/// Asks about a refund whose provider told that something became of it.
async fn ask_again(app: &App, refund: &Refund, heard: &Heard) -> Result<(), NotifyError> {
    let (id, round) = (refund.refund_id, refund.round);
    match ask(app, refund).await {
        Ok(outcome) => told(app, id, round, Ok(outcome), Some(heard)).await.map_err(|trouble| {
            tracing::warn!(error = %trouble, refund = %id, "what a provider told of a refund could not be noted; it tells again");
            NotifyError::Busy(Busy::jittered())
        }),
        Err(error) => {
            tracing::warn!(%error, refund = %id, "a provider told of a refund and did not say what; it tells again");
            Err(NotifyError::Busy(Busy::jittered()))
        }
    }
}

/// Locks the order of a refund and the refund.
async fn locked(conn: &mut PgConnection, id: RefundId) -> Result<Option<(Held, Refund)>, sqlx::Error> {
    let Some(order_id) = store::order_of(&mut *conn, id).await? else { return Ok(None) };
    let Some(order) = orders::lock(&mut *conn, id.festival(), &[order_id]).await?.pop() else { return Ok(None) };
    Ok(store::locked(conn, id).await?.map(|refund| (order, refund)))
}

pub(super) async fn letter(conn: &mut PgConnection, order: &Held, refund: &Refund, kind: &'static str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let festival = order.order_id.festival();
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    let letter = id::fresh(festival, now);
    store::set_letter(&mut *conn, refund.refund_id, letter).await?;
    let draft = Draft { thing: letter, kind, lane: Lane::Change, language: order.language, recipient: order.email.clone() };
    mail::queue(conn, festival, &[draft], now, due_at).await
}

/// The money of a locked refund went back: its books are closed, and what it returns comes back.
async fn done(conn: &mut PgConnection, order: &Held, refund: &Refund, ending: store::Ending<'_>, now: DateTime<Utc>) -> Result<(), Trouble> {
    let (festival, id) = (refund.refund_id.festival(), refund.refund_id);
    let journal_id = if refund.amount.minor == 0 { None } else { Some(books::fresh(festival, now)) };
    let by_hand = ending.by_hand;
    store::end(conn, id, RefundStatus::Done, &store::Ending { journal_id, ..ending }, Some(now)).await?;
    if let Some(journal_id) = journal_id {
        let mut journal = Journal::default();
        journal.debit(Account::Owed, refund.amount);
        journal.credit(if by_hand { Account::Hand } else { Account::Clearing(refund.provider.clone()) }, refund.amount);
        books::record(conn, festival, journal_id, JournalKind::Refund, &journal, &[order.order_id], now).await?;
    }
    // Whose money came too late was told so when it came; it is news again where somebody had to help. Whose bank took it back knows.
    let is_news = match refund.reason {
        Some(RefundReason::LateMoney) => by_hand || refund.letter_id.is_some(),
        Some(RefundReason::Disputed) => false,
        _ => true,
    };
    if is_news {
        letter(conn, order, refund, "refund_done", now).await?;
    }
    webhooks::record(conn, festival, "refund.done", &[id.0], now).await?;
    if refund.returned_at.is_none() && refund.reason != Some(RefundReason::LateMoney) {
        give_back(conn, order, refund, now).await?;
    }
    Ok(())
}

/// What a refund returns comes back, once: albums, the use of a voucher, stock, tickets, in the one order of locks.
async fn give_back(conn: &mut PgConnection, order: &Held, refund: &Refund, now: DateTime<Utc>) -> Result<(), Trouble> {
    let (festival, order_id) = (refund.refund_id.festival(), order.order_id);
    let returned = tickets::lock_all(conn, festival, &refund.ticket_ids).await?;
    store::mark_returned(conn, refund.refund_id, now).await?;
    let copies: Vec<(i16, i16, i32)> = refund.items.iter().filter(|item| item.units > 0).map(|item| (item.line_no, item.component_no, item.units)).collect();
    library::give_back(conn, order_id, &copies, &refund.ticket_ids, now).await?;
    let back = plan::back(conn, order_id).await?;
    let lines: Vec<(i16, i32)> = back.iter().filter(|b| b.now_returned != b.returned).map(|b| (b.line_no, b.now_returned)).collect();
    let freed: Vec<_> = back.iter().map(|b| (b.offer_id, b.tier_no, b.now_returned - b.returned)).filter(|(.., units)| *units > 0).collect();
    let is_whole = back.iter().all(|b| b.is_whole);
    orders::mark_returned(conn, order_id, &lines).await?;
    // What was handed back to the pool came back when somebody was invited to it.
    let mut freed = freed;
    for (offer, tier, units) in hand_backs::already_free(conn, festival, &refund.ticket_ids).await? {
        if let Some(same) = freed.iter_mut().find(|(o, t, _)| (*o, *t) == (offer, tier)) {
            same.2 = (same.2 - units).max(0);
        }
    }
    freed.retain(|(.., units)| *units > 0);
    hand_backs::end_of(conn, festival, &refund.ticket_ids, now).await?;
    let units = if is_whole {
        let uses = orders::voucher_uses(conn, festival, &[order_id]).await?;
        offers::return_uses(conn, festival, &uses).await?;
        orders::allocations(conn, festival, &[order_id]).await?.into_iter().map(|(_, taken)| taken).collect()
    } else {
        offers::units_of(conn, festival, &freed).await?
    };
    orders::refunded(conn, order_id, is_whole, &units, now).await?;
    sabotage::die_at("refund-half-written");
    offers::release_sold(conn, festival, &units).await?;
    let becomes: Vec<(&Ticket, TicketStatus)> = returned.iter().map(|ticket| (ticket, TicketStatus::Void)).collect();
    tickets::alter_all(conn, festival, &becomes, "refunded", &[], now).await?;
    Ok(())
}

/// Tells the holders of tickets who left an address of their own that something changes; the letters, by ticket.
pub(super) async fn tell_holders(
    conn: &mut PgConnection,
    festival: FestivalId,
    ids: &[TicketId],
    now: DateTime<Utc>,
) -> Result<Vec<(TicketId, Uuid)>, sqlx::Error> {
    let holders = tickets::holders(&mut *conn, festival, ids).await?;
    let letters: Vec<(TicketId, Uuid)> = holders.iter().map(|(ticket, ..)| (*ticket, id::fresh(festival, now))).collect();
    let due_at = festivals::mail_due(&mut *conn, festival, now).await?;
    let drafts: Vec<Draft> = holders
        .into_iter()
        .zip(&letters)
        .map(|((_, recipient, language), (_, thing))| Draft { thing: *thing, kind: "ticket_changed", lane: Lane::Change, language, recipient })
        .collect();
    mail::queue(conn, festival, &drafts, now, due_at).await?;
    Ok(letters)
}

/// What a member decides about a refund that its provider refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "RefundFate", rename_all = "snake_case")]
pub enum Decision {
    /// The provider is asked once more, as for a new one.
    Again,
    /// The promoter paid it themselves, outside the provider; the note says how.
    ByHand,
    /// It is taken back: its tickets are valid again.
    Withdrawn,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 3] = [Self::Again, Self::ByHand, Self::Withdrawn];

    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::ByHand => "by_hand",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Decides a refund that its provider refused, or has no funds for.
///
/// # Errors
/// [`RefundError`].
pub async fn decide(app: &App, staff: &Staff, refund_id: RefundId, decision: Decision, note: &str) -> Result<Refund, RefundError> {
    staff.may(Scope::MoneyWrite)?;
    let (festival, now) = (refund_id.festival(), app.clock.now());
    let mut tx = app.pools.web.begin().await?;
    if !staff.reaches(festival) || festivals::owned(&mut tx, staff.promoter, festival).await?.is_none() {
        return Err(RefundError::NotFound);
    }
    let (order, refund) = locked(&mut tx, refund_id).await?.ok_or(RefundError::NotFound)?;
    let is_decided = match decision {
        Decision::Again => refund.round > 0 && matches!(refund.status, RefundStatus::Requested | RefundStatus::Submitted),
        Decision::ByHand => refund.by_hand && refund.status == RefundStatus::Done,
        Decision::Withdrawn => refund.status == RefundStatus::Withdrawn,
    };
    if is_decided {
        return Ok(refund);
    }
    let may = match decision {
        // While the provider may still pay it (it is submitted while it is asked), nobody else does.
        // A dispute whose provider cannot be asked any more is taken back by whoever read there that it was won.
        Decision::Withdrawn if refund.reason == Some(RefundReason::Disputed) => refund.status.is_open(),
        Decision::ByHand | Decision::Withdrawn | Decision::Again => matches!(refund.status, RefundStatus::Failed | RefundStatus::WaitingForFunds),
    };
    if !may {
        return Err(RefundError::State(refund.status));
    }
    match decision {
        Decision::Again => store::again(&mut tx, refund_id, refund.status == RefundStatus::Failed, now).await?,
        Decision::ByHand if note.trim().is_empty() => return Err(RefundError::Wrong("/note".to_owned(), "say how it was paid".to_owned())),
        Decision::ByHand => {
            let ending = store::Ending { by_hand: true, note: Some(note), ..store::Ending::default() };
            done(&mut tx, &order, &refund, ending, now).await.map_err(database)?;
        }
        Decision::Withdrawn if refund.returned_at.is_some() || matches!(refund.reason, Some(RefundReason::LateMoney | RefundReason::HandedBack)) => {
            return Err(RefundError::Returned);
        }
        Decision::Withdrawn => withdraw(&mut tx, &order, &refund, note, now).await?,
    }
    let said = serde_json::json!({ "decision": decision.name() });
    let (actor, object_id) = (staff.actor, refund_id.to_string());
    audit::record(&mut tx, Act { festival, actor, action: "refund.decided", object_kind: "refund", object_id, before: None, after: Some(said) }, now).await?;
    let refund = store::locked(&mut tx, refund_id).await?.ok_or(RefundError::NotFound)?;
    postgres::commit(tx).await?;
    app.the::<offers::api::Shelves>().forget();
    Ok(refund)
}

pub(super) fn database(trouble: Trouble) -> RefundError {
    match trouble {
        Trouble::Database(error) => error.into(),
        Trouble::Again => sqlx::Error::Protocol("rows changed under a lock".to_owned()).into(),
    }
}

/// Takes a locked refund back: nothing is owed any more, and its tickets are what they were.
async fn withdraw(conn: &mut PgConnection, order: &Held, refund: &Refund, note: &str, now: DateTime<Utc>) -> Result<(), RefundError> {
    let festival = refund.refund_id.festival();
    let left = plan::left(&mut *conn, refund.order_id).await?;
    let mut journal = given_up(refund.items.iter(), &left, refund.amount.currency).reversed();
    journal.debit(Account::Owed, refund.amount);
    journal.debit(Account::Kept, refund.kept);
    if !journal.is_empty() {
        books::record(conn, festival, books::fresh(festival, now), JournalKind::Withdrawn, &journal, &[], now).await?;
    }
    let ending = store::Ending { note: Some(note).filter(|note| !note.trim().is_empty()), ..store::Ending::default() };
    store::end(conn, refund.refund_id, RefundStatus::Withdrawn, &ending, Some(now)).await?;
    if refund.reason != Some(RefundReason::Disputed) {
        letter(conn, order, refund, "refund_withdrawn", now).await?;
    }
    let befores = store::befores(conn, refund.refund_id).await?;
    let returned = tickets::lock_all(conn, festival, &refund.ticket_ids).await?;
    let letters = tell_holders(conn, festival, &refund.ticket_ids, now).await?;
    let was = |ticket: &Ticket| befores.get(&ticket.ticket_id).copied().unwrap_or(TicketStatus::Valid);
    // What its promoter had voided is void for that reason again, and can be re-issued as before.
    for (status, why) in [(TicketStatus::Void, "voided"), (TicketStatus::Valid, "reinstated")] {
        let becomes: Vec<(&Ticket, TicketStatus)> = returned.iter().filter(|ticket| was(ticket) == status).map(|ticket| (ticket, status)).collect();
        tickets::alter_all(conn, festival, &becomes, why, &letters, now).await?;
    }
    // What a leaked key signed was re-issued meanwhile, but not what was being returned.
    for ticket in tickets::lock_all(conn, festival, &refund.ticket_ids).await? {
        if ticket.generation < GENERATIONS && tickets::is_suspect(conn, festival, ticket.key_id).await? {
            let becomes = Becomes { generation: ticket.generation + 1, live_key: None, ..Becomes::of(&ticket) };
            let status = ticket.status;
            tickets::alter(conn, &ticket, &Becomes { status, ..becomes }, Cause::of("reissued"), now).await?;
        }
    }
    Ok(())
}
