//! Completing: a kind of batch. An order becomes paid in full and is fulfilled, in one transaction: captures, tickets,
//! entitlements, the confirmation, the event. Orders are locked first, stock last, just before the feed.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{ATTEMPTS, Attempt, Collected, Heard, Means, Outcome, PayError, Payment, PaymentStatus, offline, store};
use crate::{
    app::App,
    batcher::{Busy, Kind, Trouble},
    books::{self, Account, Journal, JournalKind},
    festivals,
    id::{FestivalId, OrderId, PaymentId},
    library::{self, Entitle},
    mail::{self, Draft, Lane},
    money::Money,
    offers::{self, Issuable, Taken},
    orders::{self, Held, Line, OrderStatus},
    postgres,
    tickets::{self, Issue, TicketKind},
    webhooks,
};

/// What is to be settled.
#[derive(Clone, Debug)]
pub enum Settle {
    /// A new payment: captured at once, or created for a provider.
    New(Attempt),
    /// What a provider said about a payment.
    Told {
        /// The payment.
        payment_id: PaymentId,
        /// What it said.
        outcome: Outcome,
        /// When we heard it.
        at: DateTime<Utc>,
        /// The notification that said so; none where the provider was asked.
        heard: Option<Heard>,
    },
}

/// Batches of completing. `NotHeld` about something a provider captured means late money.
pub struct Completing;

impl Kind for Completing {
    const NAME: &'static str = "complete";
    const MOST: usize = 256;
    type Request = Settle;
    type Answer = Result<Payment, PayError>;

    fn pool(app: &App) -> &PgPool {
        &app.pools.complete
    }

    async fn run(app: &App, conn: &mut PgConnection, festival: FestivalId, batch: &[Settle]) -> Result<Vec<Self::Answer>, Trouble> {
        let told: Vec<PaymentId> = batch.iter().filter_map(|s| if let Settle::Told { payment_id, .. } = s { Some(*payment_id) } else { None }).collect();
        let of_told: HashMap<PaymentId, OrderId> =
            if told.is_empty() { HashMap::new() } else { store::orders_of(conn, festival, &told).await?.into_iter().collect() };
        let mut ids: Vec<OrderId> = batch
            .iter()
            .filter_map(|s| match s {
                Settle::New(attempt) => Some(attempt.order_id),
                Settle::Told { payment_id, .. } => of_told.get(payment_id).copied(),
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let orders: BTreeMap<OrderId, Held> = orders::lock(conn, festival, &ids).await?.into_iter().map(|o| (o.order_id, o)).collect();
        let tried: Vec<OrderId> = orders.values().filter(|o| o.payment_count > 0 || o.status != OrderStatus::Held).map(|o| o.order_id).collect();
        let payments = if tried.is_empty() { HashMap::new() } else { store::of_orders(conn, festival, &tried).await? };
        let mut desk = Desk { orders, payments, new: Vec::new(), settled: Vec::new(), paid: Vec::new() };
        let answers: Vec<Self::Answer> = batch
            .iter()
            .map(|settle| match settle {
                Settle::New(attempt) => desk.begin(app, attempt),
                Settle::Told { payment_id, outcome, at, .. } => match of_told.get(payment_id) {
                    Some(order) => desk.told(*order, *payment_id, outcome, *at),
                    None => Err(PayError::NotFound),
                },
            })
            .collect();
        let now = app.clock.now();
        let journal = books::fresh(festival, now);
        store::insert(conn, festival, &desk.new, journal).await?;
        offline::write_down(conn, festival, &by_hand(batch, &desk.new), now).await?;
        let created: Vec<OrderId> = desk.new.iter().filter(|p| p.status.is_open()).map(|p| p.order_id).collect();
        if !created.is_empty() {
            orders::count_payments(conn, festival, &created).await?;
        }
        store::settle(conn, festival, &desk.settled, journal).await?;
        let acted_on = batch.iter().zip(&answers).filter_map(|(settle, answer)| match (settle, answer) {
            (Settle::Told { payment_id, outcome, heard: Some(heard), .. }, Ok(_)) => Some((heard, *payment_id, outcome)),
            _ => None,
        });
        store::insert_events(conn, festival, &acted_on.collect::<Vec<_>>(), now).await?;
        let captured: Vec<&Payment> = desk.new.iter().chain(&desk.settled).filter(|p| p.status == PaymentStatus::Captured).collect();
        let paid: Vec<&Held> = desk.paid.iter().filter_map(|id| desk.orders.get(id)).collect();
        fulfil(app, conn, festival, &paid, &captured, journal, now).await?;
        Ok(answers)
    }
}

/// Those of new payments that a member took, with how; pure.
fn by_hand<'a>(batch: &'a [Settle], new: &'a [Payment]) -> Vec<(&'a Payment, &'a Collected)> {
    let collected = |settle: &'a Settle| match settle {
        Settle::New(Attempt { payment_id, means: Means::Hand(collected), .. }) => Some((*payment_id, collected)),
        Settle::New(_) | Settle::Told { .. } => None,
    };
    batch.iter().filter_map(collected).filter_map(|(id, collected)| Some((new.iter().find(|payment| payment.payment_id == id)?, collected))).collect()
}

/// The locked orders of a batch and what is decided about them; pure.
struct Desk {
    orders: BTreeMap<OrderId, Held>,
    payments: HashMap<OrderId, Vec<Payment>>,
    new: Vec<Payment>,
    settled: Vec<Payment>,
    paid: Vec<OrderId>,
}

impl Desk {
    /// A new payment of an order.
    fn begin(&mut self, app: &App, attempt: &Attempt) -> Result<Payment, PayError> {
        let order = self.orders.get_mut(&attempt.order_id).filter(|order| order.is_link(app, &attempt.secret)).ok_or(PayError::NotFound)?;
        let others = self.payments.entry(attempt.order_id).or_default();
        if let Some(same) = others.iter().find(|p| p.key_hash == attempt.key_hash) {
            return Ok(same.clone());
        }
        if attempt.means.is_free() != (order.total_minor == 0) {
            return Err(PayError::NotOffered);
        }
        match order.status {
            OrderStatus::Held if attempt.arrived_at <= order.held_until => {}
            OrderStatus::Paid | OrderStatus::PartlyRefunded => return Err(PayError::AlreadyPaid),
            _ => return Err(PayError::NotHeld),
        }
        if let Some(open) = others.iter().find(|p| p.status.is_open()) {
            return Err(PayError::Open(open.payment_id));
        }
        // Money that a member has is no attempt: it is there.
        if others.len() >= ATTEMPTS && matches!(attempt.means, Means::Way(_)) {
            return Err(PayError::TooMany);
        }
        let payment = attempt.of(order);
        others.push(payment.clone());
        self.new.push(payment.clone());
        if payment.status == PaymentStatus::Captured {
            order.status = OrderStatus::Paid;
            self.paid.push(payment.order_id);
        }
        Ok(payment)
    }

    /// What a provider said about a payment.
    fn told(&mut self, order: OrderId, payment: PaymentId, outcome: &Outcome, at: DateTime<Utc>) -> Result<Payment, PayError> {
        let order = self.orders.get_mut(&order).ok_or(PayError::NotFound)?;
        let payment = self.payments.get_mut(&order.order_id).and_then(|all| all.iter_mut().find(|p| p.payment_id == payment)).ok_or(PayError::NotFound)?;
        match (outcome, payment.status) {
            // What was given up may still turn out to have failed; what failed stays so.
            (_, PaymentStatus::Captured) | (Outcome::Pending, _) | (Outcome::Failed(_), PaymentStatus::Failed) => return Ok(payment.clone()),
            (Outcome::Captured(amount), status) => {
                if amount.is_some_and(|amount| amount != payment.amount) {
                    return Err(PayError::OtherAmount);
                }
                if order.status != OrderStatus::Held || !status.is_open() {
                    return Err(PayError::NotHeld);
                }
                payment.status = PaymentStatus::Captured;
                payment.reason = None;
                order.status = OrderStatus::Paid;
                self.paid.push(order.order_id);
            }
            (Outcome::GivenUp, status) if !status.is_open() => return Ok(payment.clone()),
            (Outcome::GivenUp, _) => {
                payment.status = PaymentStatus::Cancelled;
                payment.reason = Some("the provider did not say in time".to_owned());
            }
            (Outcome::Failed(why), _) => {
                payment.status = PaymentStatus::Failed;
                payment.reason = Some(why.clone());
            }
        }
        payment.ended_at = Some(at);
        self.settled.push(payment.clone());
        Ok(payment.clone())
    }
}

/// Fulfils orders that are paid in full: everything that follows from it is written here, one statement a table.
async fn fulfil(
    app: &App,
    conn: &mut PgConnection,
    festival: FestivalId,
    paid: &[&Held],
    captured: &[&Payment],
    journal: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Trouble> {
    if paid.is_empty() {
        return Ok(());
    }
    let ids: Vec<OrderId> = paid.iter().map(|o| o.order_id).collect();
    // Read before stock is locked: another pool may have to be waited for.
    let stamp = tickets::stamp(app, conn, festival, now).await?;
    if orders::finish(conn, festival, &ids, now).await? != ids.len() as u64 {
        return Err(Trouble::Again);
    }
    let (lines, units) = orders::what_they_take(app, conn, festival, &ids).await?;
    let (mut passes, mut add_ons): (Vec<_>, Vec<_>) = lines.iter().flat_map(|(_, l)| &l.shares).map(|s| (s.pass_id, s.add_on_id)).unzip();
    passes.retain(Option::is_some);
    add_ons.retain(Option::is_some);
    passes.sort_unstable();
    passes.dedup();
    add_ons.sort_unstable();
    add_ons.dedup();
    let passes: Vec<_> = passes.into_iter().flatten().collect();
    let add_ons: Vec<_> = add_ons.into_iter().flatten().collect();
    let numbers = offers::issuable(conn, festival, &passes, &add_ons).await?;
    let names: HashMap<OrderId, &str> = paid.iter().map(|o| (o.order_id, o.buyer_name.as_str())).collect();
    let (issues, grants) = brings(&lines, &numbers, &names);
    library::entitle(conn, festival, &grants, now).await?;
    let letters: Vec<Draft> = paid
        .iter()
        .map(|o| Draft { thing: o.order_id.0, kind: "confirmation", lane: Lane::Confirmation, language: o.language, recipient: o.email.clone() })
        .collect();
    let due_at = festivals::mail_due(conn, festival, now).await?;
    mail::queue(conn, festival, &letters, now, due_at).await?;
    books::record(conn, festival, journal, JournalKind::Sale, &booked(captured, &lines), &ids, now).await?;
    webhooks::record(conn, festival, "order.paid", &ids.iter().map(|id| id.0).collect::<Vec<_>>(), now).await?;
    offers::move_to_sold(conn, festival, &units).await?;
    tickets::issue(conn, festival, &issues, stamp, now).await
}

/// What a batch of sales is in the books: what the providers have, and whose it is; pure.
fn booked(captured: &[&Payment], lines: &[(OrderId, Line)]) -> Journal {
    let mut journal = Journal::default();
    for payment in captured {
        journal.debit(Account::Clearing(payment.provider.clone()), payment.amount);
    }
    for (_, line) in lines {
        for share in &line.shares {
            let times = |minor: i64| Money::new(minor * i64::from(line.quantity), line.unit.currency);
            journal.credit(Account::Tax(share.tax_ppm), times(share.tax_minor));
            let payee = if share.fee.is_some() { Account::Fee } else { share.release_id.map_or(Account::Promoter, Account::Rights) };
            journal.credit(payee, times(share.minor - share.tax_minor));
            if let Some(fee) = share.fee {
                journal.debit(Account::Promoter, times(fee.borne_minor));
                journal.credit(Account::Fee, times(fee.borne_minor));
            }
        }
    }
    journal
}

/// What lines bring: tickets and entitlements; pure.
fn brings(lines: &[(OrderId, Line)], numbers: &Issuable, names: &HashMap<OrderId, &str>) -> (Vec<Issue>, Vec<Entitle>) {
    let (mut issues, mut grants) = (Vec::new(), Vec::new());
    for (order_id, line) in lines {
        for share in &line.shares {
            let pass = share.pass_id.and_then(|id| numbers.passes.iter().find(|(p, ..)| *p == id));
            let add_on = share.add_on_id.and_then(|id| numbers.add_ons.iter().find(|(a, _)| *a == id));
            if let Some(release_id) = share.release_id {
                grants.push(Entitle { order_id: *order_id, line_no: line.line_no, component_no: share.component_no, release_id, copies: line.quantity });
            }
            let (kind, pass_number, day_mask) = match (pass, add_on) {
                (Some((_, number, mask)), _) => (TicketKind::Pass, *number, *mask),
                (None, Some((_, number))) => (TicketKind::AddOn, *number, 0),
                (None, None) => continue,
            };
            issues.extend((1..=line.quantity).map(|unit_no| Issue {
                order_id: *order_id,
                line_no: line.line_no,
                component_no: share.component_no,
                unit_no,
                kind,
                pass_number,
                day_mask,
                holder_name: names.get(order_id).copied().unwrap_or_default().to_owned(),
            }));
        }
    }
    (issues, grants)
}

/// Money that came for an order that had ended: its stock is taken again if it is there, else the money goes back. So does money that is not what was asked
/// for, whatever its order is. Alone in its transaction, in the one order of locks.
pub(super) async fn late(app: &App, payment: PaymentId, outcome: &Outcome, heard: Option<&Heard>) -> Result<(), Busy> {
    match try_late(app, payment, outcome, heard).await {
        Ok(()) => Ok(()),
        Err(trouble) => {
            tracing::warn!(error = %trouble, %payment, "late money could not be decided; the provider tells again");
            Err(Busy::jittered())
        }
    }
}

/// Money that a member has for an order whose hold is over: its stock is taken again if it is there. Nothing is captured otherwise: the member has the
/// money and gives it back.
pub(super) async fn collect_late(app: &App, attempt: &Attempt) -> Result<Payment, PayError> {
    match try_collect_late(app, attempt).await {
        Ok(answer) => answer,
        Err(trouble) => {
            tracing::warn!(error = %trouble, order = %attempt.order_id, "late money could not be taken in; its member asks again");
            Err(Busy::jittered().into())
        }
    }
}

async fn try_collect_late(app: &App, attempt: &Attempt) -> Result<Result<Payment, PayError>, Trouble> {
    let (festival, now, order_id) = (attempt.order_id.festival(), app.clock.now(), attempt.order_id);
    let mut tx = app.pools.complete.begin().await?;
    let Some(order) = orders::lock(&mut tx, festival, &[order_id]).await?.pop() else { return Ok(Err(PayError::NotFound)) };
    let payments = store::of_orders(&mut tx, festival, &[order_id]).await?.remove(&order_id).unwrap_or_default();
    if let Some(same) = payments.iter().find(|payment| payment.key_hash == attempt.key_hash) {
        return Ok(Ok(same.clone()));
    }
    if let Some(open) = payments.iter().find(|payment| payment.status.is_open()) {
        return Ok(Err(PayError::Open(open.payment_id)));
    }
    if !matches!(order.status, OrderStatus::Held | OrderStatus::Expired | OrderStatus::Cancelled) {
        return Ok(Err(PayError::NotHeld));
    }
    let payment = attempt.of(&order);
    let journal = books::fresh(festival, now);
    // The one order of locks: the till before vouchers and stock. Where those are gone nothing of it is kept.
    store::insert(&mut tx, festival, std::slice::from_ref(&payment), journal).await?;
    let settle = [Settle::New(attempt.clone())];
    offline::write_down(&mut tx, festival, &by_hand(&settle, std::slice::from_ref(&payment)), now).await?;
    if order.status != OrderStatus::Held {
        let units: Vec<Taken> = orders::allocations(&mut tx, festival, &[order_id]).await?.into_iter().map(|(_, taken)| taken).collect();
        if !take_again(&mut tx, festival, order_id, &units).await? {
            tx.rollback().await?;
            return Ok(Err(PayError::NotHeld));
        }
        orders::reopen(&mut tx, festival, order_id).await?;
    }
    fulfil(app, &mut tx, festival, &[&order], &[&payment], journal, now).await?;
    postgres::commit(tx).await?;
    Ok(Ok(payment))
}

/// Takes what an ended order had once more: the use of its voucher and its stock, both or nothing.
async fn take_again(conn: &mut PgConnection, festival: FestivalId, order: OrderId, units: &[Taken]) -> Result<bool, Trouble> {
    let uses = orders::voucher_uses(conn, festival, &[order]).await?;
    for (voucher, uses) in &uses {
        if !offers::use_if_free(conn, festival, *voucher, *uses).await? {
            return Ok(false);
        }
    }
    let free = offers::take_if_free(conn, festival, units).await?;
    if !free {
        offers::return_uses(conn, festival, &uses).await?;
    }
    Ok(free)
}

async fn try_late(app: &App, id: PaymentId, outcome: &Outcome, heard: Option<&Heard>) -> Result<(), Trouble> {
    let (festival, now) = (id.festival(), app.clock.now());
    let mut tx = app.pools.complete.begin().await?;
    let Some((_, order_id)) = store::orders_of(&mut tx, festival, &[id]).await?.pop() else { return Ok(()) };
    let Some(order) = orders::lock(&mut tx, festival, &[order_id]).await?.pop() else { return Ok(()) };
    let mut payments = store::of_orders(&mut tx, festival, &[order_id]).await?.remove(&order_id).unwrap_or_default();
    let Some(payment) = payments.iter_mut().find(|p| p.payment_id == id).filter(|p| p.status != PaymentStatus::Captured) else { return Ok(()) };
    let wrong = match outcome {
        Outcome::Captured(Some(amount)) => Some(*amount).filter(|amount| *amount != payment.amount),
        _ => None,
    };
    payment.reason = None;
    if let Some(amount) = wrong {
        tracing::error!(payment = %id, asked = payment.amount.minor, captured = amount.minor, "a provider captured another amount than was asked for");
        payment.reason = Some(format!("{} was captured instead of {}", amount.print(), payment.amount.print()));
        payment.amount = amount;
    }
    payment.status = PaymentStatus::Captured;
    payment.ended_at = Some(now);
    let journal = books::fresh(festival, now);
    if let Some(heard) = heard {
        store::insert_events(&mut tx, festival, &[(heard, id, outcome)], now).await?;
    }
    store::settle(&mut tx, festival, std::slice::from_ref(payment), journal).await?;
    let payment = payment.clone();
    let ended = matches!(order.status, OrderStatus::Expired | OrderStatus::Cancelled);
    let units: Vec<Taken> = orders::allocations(&mut tx, festival, &[order_id]).await?.into_iter().map(|(_, taken)| taken).collect();
    if wrong.is_none() && order.status == OrderStatus::Held {
        fulfil(app, &mut tx, festival, &[&order], &[&payment], journal, now).await?;
    } else if wrong.is_none() && ended && take_again(&mut tx, festival, order_id, &units).await? {
        orders::reopen(&mut tx, festival, order_id).await?;
        fulfil(app, &mut tx, festival, &[&order], &[&payment], journal, now).await?;
    } else {
        // Nothing left, paid by another payment, or not what was asked for: the money goes back, and the buyer hears of it.
        if ended {
            orders::unfulfillable(&mut tx, festival, order_id).await?;
        }
        let mut owed = Journal::default();
        owed.debit(Account::Clearing(payment.provider.clone()), payment.amount);
        owed.credit(Account::Owed, payment.amount);
        books::record(&mut tx, festival, journal, JournalKind::Late, &owed, &[], now).await?;
        store::request_refund(&mut tx, festival, &payment, "late_money", now).await?;
        let letter = Draft { thing: id.0, kind: "money_back", lane: Lane::Change, language: order.language, recipient: order.email.clone() };
        let due_at = festivals::mail_due(&mut tx, festival, now).await?;
        mail::queue(&mut tx, festival, &[letter], now, due_at).await?;
    }
    postgres::commit(tx).await?;
    Ok(())
}
