//! Money back for what an order brought: all of it, a line, a component, units, tickets, or money alone.
//!
//! ```text
//! requested -> submitted -> done | failed -> (again | by hand | withdrawn)
//! requested -> submitted -> waiting_for_funds -> submitted
//! ```
//!
//! From the request on its tickets are suspended and its money is owed to the buyer. Units, albums and stock come back when the money went, so that
//! a refund that fails can still be withdrawn: nobody is left without money and without a ticket.

pub mod api;
mod dispute;
pub mod hand_backs;
pub mod options;
mod plan;
pub mod rescission;
pub mod rule;
mod settle;
mod store;
pub mod twins;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use super::{PaymentStatus, store as payments};
use crate::{
    accounts::{Denied, Scope, Staff},
    app::App,
    audit::{self, Act, Actor},
    books::{self, Account, Journal, JournalKind},
    festivals,
    id::{OrderId, PaymentId, RefundId, TicketId},
    money::{Currency, Money},
    orders::{self, Held, OrderStatus},
    postgres,
    tickets::{self, TicketStatus},
};
use plan::{NoPlan, Plan};

pub use dispute::{Dispute, disputed};
pub use plan::{Left, left};
pub use settle::{Decision, RefundOutcome, decide, heard, look_again, refund_due, told};
pub use store::{Listed, attention, by_order, done_of_orders, of_letter, refund};

/// The state of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RefundStatus {
    /// It is owed; the provider does not know it yet.
    Requested,
    /// The provider was told and has not decided, or did not answer.
    Submitted,
    /// The account of the promoter has not enough for it now; the provider is asked again every hour.
    WaitingForFunds,
    /// The money went back.
    Done,
    /// The provider refused it: somebody decides.
    Failed,
    /// It was taken back; its tickets are valid again.
    Withdrawn,
}

impl RefundStatus {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Requested, Self::Submitted, Self::WaitingForFunds, Self::Done, Self::Failed, Self::Withdrawn];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Submitted => "submitted",
            Self::WaitingForFunds => "waiting_for_funds",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the provider is still to be asked.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Submitted | Self::WaitingForFunds)
    }
}

/// Why money goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RefundReason {
    /// It came for an order that could not be had any more, or twice. The house asks for it, nobody else.
    LateMoney,
    /// The bank of the buyer took it back. The provider says so, nobody else.
    Disputed,
    /// It was handed back to the pool and somebody else has it. The house asks for it, nobody else.
    HandedBack,
    /// Its fan withdrew from the contract about an album that nobody heard; nobody else can.
    Rescinded,
    /// The fan asked for it.
    Asked,
    /// The festival was called off, moved, or lost a day.
    FestivalChanged,
    /// Something was wrong: a price, a double order.
    Mistake,
    /// A courtesy.
    Goodwill,
    /// Somebody paid with what was not theirs.
    Fraud,
}

impl RefundReason {
    /// What members may give as a reason.
    pub const GIVEN: [Self; 5] = [Self::Asked, Self::FestivalChanged, Self::Mistake, Self::Goodwill, Self::Fraud];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LateMoney => "late_money",
            Self::Disputed => "disputed",
            Self::HandedBack => "handed_back",
            Self::Rescinded => "rescinded",
            Self::Asked => "asked",
            Self::FestivalChanged => "festival_changed",
            Self::Mistake => "mistake",
            Self::Goodwill => "goodwill",
            Self::Fraud => "fraud",
        }
    }
}

/// A refund.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Refund {
    /// Its id.
    pub refund_id: RefundId,
    /// The order.
    pub order_id: OrderId,
    /// The payment that it gives back.
    pub payment_id: PaymentId,
    /// Its state.
    pub status: RefundStatus,
    /// How much goes back.
    pub amount: Money,
    /// How much of what was returned the promoter keeps.
    pub kept: Money,
    /// Why; its fan does not see it.
    pub reason: Option<RefundReason>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When the money went, or it was withdrawn.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether the promoter paid it themselves, outside the provider.
    pub by_hand: bool,
    /// What is returned, by line and component.
    #[sqlx(skip)]
    pub items: Vec<Item>,
    /// The tickets that are returned.
    #[sqlx(skip)]
    pub ticket_ids: Vec<TicketId>,
    /// Who takes the money of its payment.
    #[oai(skip)]
    pub provider: String,
    /// Hash over the request.
    #[oai(skip)]
    pub fingerprint: Option<Vec<u8>>,
    /// What the provider knows it by, where it said so.
    #[oai(skip)]
    pub provider_ref: Option<String>,
    /// How often somebody decided to try it anew.
    #[oai(skip)]
    pub round: i16,
    /// How often the provider was asked in vain.
    #[oai(skip)]
    pub attempts: i16,
    /// When units, tickets and albums came back.
    #[oai(skip)]
    pub returned_at: Option<DateTime<Utc>>,
    /// What the provider said last.
    #[oai(skip)]
    pub last_error: Option<String>,
    /// The sentence of whoever asked for it or decided.
    #[oai(skip)]
    pub note: String,
    /// The email that tells of it last.
    #[oai(skip)]
    pub letter_id: Option<uuid::Uuid>,
}

/// What is returned of a component of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Object, FromRow)]
#[oai(rename = "RefundItem")]
pub struct Item {
    /// The line.
    pub line_no: i16,
    /// The component.
    pub component_no: i16,
    /// Units; zero where only money goes back.
    pub units: i32,
    /// Their money, in the smallest unit.
    pub minor: i64,
    /// The tax inside it.
    pub tax_minor: i64,
}

/// A part of an order that is to be returned: of a line everything that is left, or so many units, or the units of some tickets, or money alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The line.
    pub line_no: i16,
    /// A component of it; all without one.
    pub component_no: Option<i16>,
    /// So many units: those first that nobody used.
    pub units: Option<i32>,
    /// The units of these tickets.
    pub ticket_ids: Vec<TicketId>,
    /// So much money, in the smallest unit, and nothing is returned.
    pub amount_minor: Option<i64>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The order.
    pub order_id: OrderId,
    /// Its parts; everything that is left where none is named.
    pub parts: Vec<Part>,
    /// What the promoter keeps, in the smallest unit.
    pub kept_minor: i64,
    /// Whether the booking fee stays; as its line says where nobody decides.
    pub keep_fees: Option<bool>,
    /// The currency of the amounts that are named; it has to be that of the order.
    pub currency: Option<Currency>,
    /// Why.
    pub reason: RefundReason,
    /// A sentence for whoever asks later.
    pub note: &'a str,
}

/// What a refund would be.
#[derive(Clone, Debug, Object)]
#[oai(rename = "RefundQuote")]
pub struct Quote {
    /// How much would go back.
    pub amount: Money,
    /// What would be returned.
    pub items: Vec<Item>,
    /// The tickets that would be returned.
    pub ticket_ids: Vec<TicketId>,
    /// How many of them somebody came in on, and how many albums of it somebody heard.
    pub used: u64,
}

/// Why nothing goes back.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// No such order or refund, or not yours.
    #[error("no such order")]
    NotFound,
    /// A place of the request and what is wrong with it.
    #[error("{1} ({0})")]
    Wrong(String, String),
    /// Only paid orders have something to return.
    #[error("the order is {0:?}")]
    NotPaid(OrderStatus),
    /// Everything went back, or is on its way.
    #[error("nothing is left to be returned")]
    Nothing,
    /// A ticket is a wristband: it is taken off first.
    #[error("the ticket {0} is a wristband: end the band first")]
    OnAWrist(TicketId),
    /// Somebody from the waiting list is invited to a ticket of it.
    #[error("somebody from the waiting list is invited to the ticket {0}: it can be returned when that is decided")]
    InPool(TicketId),
    /// It would be another amount than the caller saw.
    #[error("it would be {}", .0.print())]
    Amount(Money),
    /// The key was used for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// It is no order that was bought twice, or not one that can be handed back any more.
    #[error("it is not the second of two orders alike, or something of it was used, or a day is over")]
    NoTwin,
    /// The rule that the order was placed under does not allow it, or not any more.
    #[error("the refund rule of this order does not allow it, or not any more")]
    NotByRule,
    /// The refund is in another state.
    #[error("the refund is {}", .0.name())]
    State(RefundStatus),
    /// What was returned cannot be given again.
    #[error("its tickets were given back: it is paid again or by hand")]
    Returned,
    /// Somebody came in on a ticket, or money moves by hand: that takes the scope `money:write`.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<NoPlan> for RefundError {
    fn from(no: NoPlan) -> Self {
        match no {
            NoPlan::Wrong(at, why) => Self::Wrong(at, why),
            NoPlan::Nothing => Self::Nothing,
            NoPlan::OnAWrist(ticket) => Self::OnAWrist(ticket),
        }
    }
}

/// What a refund would be, without asking for it.
///
/// # Errors
/// [`RefundError`].
pub async fn quote(app: &App, staff: &Staff, asked: &Asked<'_>) -> Result<Quote, RefundError> {
    let mut tx = app.pools.web.begin().await?;
    let order = locked(&mut tx, staff, asked.order_id).await?;
    let (plan, _, amount) = planned(&mut tx, &order, asked).await?;
    Ok(Quote { amount, items: plan.items, ticket_ids: plan.tickets, used: plan.used as u64 })
}

/// Asks for a refund: its tickets are suspended from now on, and its money is owed. The same key gets the same refund again. `expected` is what the caller
/// saw: another amount is not paid.
///
/// # Errors
/// [`RefundError`].
pub async fn request(app: &App, staff: &Staff, asked: &Asked<'_>, key: &str, expected: Option<Money>) -> Result<Refund, RefundError> {
    staff.may(Scope::RefundsWrite)?;
    let key_hash = orders::short_hash(&[b"refund", asked.order_id.0.as_bytes(), key.as_bytes()]);
    // A request without the later words has the fingerprint that it always had.
    let fees = asked.keep_fees.map_or(String::new(), |keep| format!("{keep}"));
    let fingerprint = orders::short_hash(&[format!("{:?}{fees}", (&asked.parts, asked.kept_minor, asked.reason, asked.note)).as_bytes()]);
    let mut tx = app.pools.web.begin().await?;
    let order = locked(&mut tx, staff, asked.order_id).await?;
    if let Some(same) = store::by_key(&mut tx, asked.order_id, &key_hash).await? {
        return if same.fingerprint.as_deref() == Some(&fingerprint[..]) { Ok(same) } else { Err(RefundError::KeyReused) };
    }
    let asking = Asking { asked, payment: None, actor: staff.actor, key_hash, fingerprint };
    let refund = ask(app, &mut tx, &order, &asking, |plan| {
        let amount = Money::new(plan.minor() - asked.kept_minor, order.currency);
        if expected.is_some_and(|expected| expected != amount) {
            return Err(RefundError::Amount(amount));
        }
        // Money alone leaves the ticket as it is, used or not.
        if plan.used == 0 && asked.parts.iter().all(|part| part.amount_minor.is_none()) {
            return Ok(());
        }
        staff.may(Scope::MoneyWrite)?;
        if asked.note.is_empty() {
            Err(RefundError::Wrong("/note".to_owned(), "somebody came in on a ticket of it or heard its album, or money alone goes back: say why".to_owned()))
        } else {
            Ok(())
        }
    })
    .await?;
    postgres::commit(tx).await?;
    Ok(refund)
}

/// What is asked for, by whom, and what makes asking again harmless.
struct Asking<'a> {
    asked: &'a Asked<'a>,
    /// The payment that it gives back, where it is about that one.
    payment: Option<PaymentId>,
    actor: Actor,
    key_hash: [u8; 16],
    fingerprint: [u8; 16],
}

/// Asks for a refund of a locked order, where `may` lets its plan pass; joins the transaction. Tickets are suspended last, because of the feed.
async fn ask(
    app: &App,
    conn: &mut PgConnection,
    order: &Held,
    Asking { asked, payment, actor, key_hash, fingerprint }: &Asking<'_>,
    may: impl FnOnce(&Plan) -> Result<(), RefundError>,
) -> Result<Refund, RefundError> {
    let (festival, now) = (asked.order_id.festival(), app.clock.now());
    let (plan, left, amount) = planned(conn, order, asked).await?;
    may(&plan)?;
    match asked.reason {
        // What somebody is invited to stays theirs to pay while a bank decides; it is sold or its holder's again when that is known.
        RefundReason::HandedBack | RefundReason::Disputed => {}
        _ => {
            if let Some(ticket) = hand_backs::first_offered(conn, festival, &plan.tickets).await? {
                return Err(RefundError::InPool(ticket));
            }
        }
    }
    let payment_id = source(conn, asked.order_id, *payment, amount).await?;
    let refund_id = RefundId::fresh(festival, now);
    let journal = owed(&plan, &left, asked.kept_minor, amount);
    let journal_id = if journal.is_empty() { None } else { Some(books::fresh(festival, now)) };
    let new = store::New { refund_id, payment_id, order_id: asked.order_id, amount, asked, key_hash: *key_hash, fingerprint: *fingerprint, journal_id };
    store::insert(conn, &new, &plan.items, now).await?;
    if let Some(id) = journal_id {
        books::record(conn, festival, id, JournalKind::Returned, &journal, &[], now).await?;
    }
    let returned = tickets::lock_all(conn, festival, &plan.tickets).await?;
    store::insert_tickets(conn, refund_id, &returned).await?;
    let said = serde_json::json!({ "amount": amount, "reason": asked.reason.name(), "tickets": plan.tickets, "used": plan.used });
    let act =
        Act { festival, actor: *actor, action: "refund.requested", object_kind: "refund", object_id: refund_id.to_string(), before: None, after: Some(said) };
    audit::record(conn, act, now).await?;
    let letters = settle::tell_holders(conn, festival, &plan.tickets, now).await?;
    let becomes: Vec<(&tickets::Ticket, TicketStatus)> = returned.iter().map(|ticket| (ticket, TicketStatus::Suspended)).collect();
    tickets::alter_all(conn, festival, &becomes, "suspended", &letters, now).await?;
    let refund = store::locked(conn, refund_id).await?.ok_or(RefundError::NotFound)?;
    // A fan who asked for it knows, and so does whose bank did.
    if !matches!(actor, Actor::Fan | Actor::Provider) {
        settle::letter(conn, order, &refund, "refund_requested", now).await?;
    }
    Ok(refund)
}

/// Locks the order of a promoter.
async fn locked(conn: &mut PgConnection, staff: &Staff, id: OrderId) -> Result<Held, RefundError> {
    if !staff.reaches(id.festival()) || festivals::owned(&mut *conn, staff.promoter, id.festival()).await?.is_none() {
        return Err(RefundError::NotFound);
    }
    orders::lock(conn, id.festival(), &[id]).await?.pop().ok_or(RefundError::NotFound)
}

/// Decides what goes back of a locked order.
async fn planned(conn: &mut PgConnection, order: &Held, asked: &Asked<'_>) -> Result<(Plan, Vec<Left>, Money), RefundError> {
    match order.status {
        OrderStatus::Paid | OrderStatus::PartlyRefunded => {}
        OrderStatus::Refunded => return Err(RefundError::Nothing),
        other => return Err(RefundError::NotPaid(other)),
    }
    if asked.currency.is_some_and(|currency| currency != order.currency) {
        return Err(RefundError::Wrong("/parts".to_owned(), format!("the currency of the order is {}", order.currency)));
    }
    let mut left = plan::left(&mut *conn, order.order_id).await?;
    for fee in left.iter_mut().filter(|l| l.is_fee && asked.keep_fees.unwrap_or(l.is_kept)) {
        fee.keep();
    }
    let tickets = plan::returnable(&mut *conn, order.order_id).await?;
    let mut plan = plan::plan(&left, &tickets, &asked.parts)?;
    let heard = plan::heard(conn, order.order_id).await?;
    plan.used += plan.items.iter().filter(|item| item.units > 0 && heard.contains(&(item.line_no, item.component_no))).count();
    let minor = plan.minor();
    if asked.kept_minor < 0 || asked.kept_minor > minor {
        return Err(RefundError::Wrong("/kept/minor".to_owned(), format!("at most the {minor} that would go back")));
    }
    Ok((plan, left, Money::new(minor - asked.kept_minor, order.currency)))
}

/// The payment that has enough left to give the amount back, the newest first.
async fn source(conn: &mut PgConnection, order: OrderId, named: Option<PaymentId>, amount: Money) -> Result<PaymentId, RefundError> {
    let all = payments::of_orders(&mut *conn, order.festival(), &[order]).await?.remove(&order).unwrap_or_default();
    let taken = store::taken(conn, order).await?;
    let has = |payment: &super::Payment| payment.amount.minor - taken.get(&payment.payment_id).copied().unwrap_or(0) >= amount.minor;
    let is_it = |payment: &super::Payment| named.is_none_or(|named| payment.payment_id == named);
    let found = all
        .iter()
        .rev()
        .find(|payment| is_it(payment) && payment.status == PaymentStatus::Captured && payment.amount.currency == amount.currency && has(payment));
    found.map(|payment| payment.payment_id).ok_or_else(|| RefundError::Wrong("/parts".to_owned(), "no single payment of the order covers that".to_owned()))
}

/// What a refund that is asked for is in the books: what tax office, rights holders and promoter give up is owed to the buyer; pure.
fn owed(plan: &Plan, left: &[Left], kept_minor: i64, amount: Money) -> Journal {
    let mut journal = given_up(plan.items.iter(), left, amount.currency);
    journal.credit(Account::Owed, amount);
    journal.credit(Account::Kept, Money::new(kept_minor, amount.currency));
    journal
}

fn given_up<'a>(items: impl Iterator<Item = &'a Item>, left: &[Left], currency: Currency) -> Journal {
    let mut journal = Journal::default();
    for item in items {
        let Some(of) = left.iter().find(|l| (l.line_no, l.component_no) == (item.line_no, item.component_no)) else { continue };
        journal.debit(Account::Tax(of.tax_ppm), Money::new(item.tax_minor, currency));
        journal.debit(of.payee(), Money::new(item.minor - item.tax_minor, currency));
    }
    journal
}
