//! Payments, and what a paid order sets off: tickets, albums, the confirmation, the event, in one transaction.
//!
//! ```text
//! created -> submitted -> captured | failed | cancelled;  submitted -> unknown -> (asked again) -> any of these
//! ```
//!
//! Money back is in [`refunds`].
//!
//! **Invariant:** no network call while a transaction is open. `created` is committed before a provider is called; what a
//! provider says has one effect, however often it is said.

pub mod accounts;
pub mod api;
pub mod box_office;
pub mod comparison;
mod complete;
pub mod offline;
pub mod provider;
mod reconcile;
pub mod refunds;
pub mod simulated;
mod store;
pub mod stripe;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    app::App,
    batcher::{Busy, patiently},
    breaker::Breaker,
    festivals,
    id::{FestivalId, OrderId, PaymentAccountId, PaymentId},
    money::Money,
    orders::{self, Held, OpenHolds},
    sabotage,
    secrets::Purpose,
};

pub use complete::{Completing, Settle};
pub use offline::{Collected, CollectionMethod};
use provider::{News, ProviderError};
pub use provider::{Outcome, Provider, Providers};
pub use reconcile::{ask_now, ask_undecided, close_due, give_up};
pub use refunds::{Refund, RefundOutcome, refund_due};
pub use store::{Intent, by_order, open, payment};

/// How long a provider may take to decide; an open payment keeps its order as long.
pub const DECIDE: TimeDelta = TimeDelta::minutes(15);
/// An open payment keeps its order never longer than this after placing.
pub const CEILING: TimeDelta = TimeDelta::minutes(60);
/// How many payments of one order may be tried.
pub const ATTEMPTS: usize = 5;

/// The state of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Written down; the provider does not know it yet.
    Created,
    /// The provider knows it; the buyer is there.
    Submitted,
    /// We asked and got no answer.
    Unknown,
    /// The money is ours.
    Captured,
    /// It did not come about.
    Failed,
    /// It was given up.
    Cancelled,
}

impl PaymentStatus {
    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Submitted => "submitted",
            Self::Unknown => "unknown",
            Self::Captured => "captured",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is still to be decided.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Submitted | Self::Unknown)
    }
}

/// A payment.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Payment {
    /// Its id; the provider knows it by this.
    pub payment_id: PaymentId,
    /// The order it pays.
    pub order_id: OrderId,
    /// Who takes the money.
    pub provider: String,
    /// Its state.
    pub status: PaymentStatus,
    /// How much.
    pub amount: Money,
    /// Where the buyer pays.
    pub redirect_url: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it is decided at the latest.
    pub decide_by: DateTime<Utc>,
    /// When it was decided.
    pub ended_at: Option<DateTime<Utc>>,
    /// What the provider knows it by.
    #[oai(skip)]
    pub provider_ref: Option<String>,
    /// The account that takes the money.
    #[oai(skip)]
    pub account_id: Option<PaymentAccountId>,
    /// The key of its request.
    #[oai(skip)]
    pub key_hash: Vec<u8>,
}

/// How the buyer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum Way {
    /// The simulated bank decides within the request. For rehearsals and tests.
    SimulatedInstant,
    /// The simulated bank has a page where the buyer decides.
    Simulated,
    /// The page of Stripe, where the buyer picks a card, a wallet, Alipay, WeChat Pay or what else the promoter takes.
    Stripe,
    /// Nothing is owed: a total of zero.
    Free,
}

impl Way {
    /// Who takes the money.
    fn provider(self) -> &'static str {
        match self {
            Self::SimulatedInstant | Self::Simulated => "simulated",
            Self::Stripe => "stripe",
            Self::Free => "free",
        }
    }

    /// Whether a provider is asked; what is not is captured at once.
    fn asks(self) -> bool {
        matches!(self, Self::Simulated | Self::Stripe)
    }
}

/// How an attempt is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// By the buyer.
    Way(Way),
    /// A member has the money.
    Hand(Collected),
}

impl Means {
    /// Who takes the money.
    fn provider(&self) -> &'static str {
        match self {
            Self::Way(way) => way.provider(),
            Self::Hand(collected) => collected.method.name(),
        }
    }

    /// Whether a provider is asked; what is not is captured at once.
    fn asks(&self) -> bool {
        matches!(self, Self::Way(way) if way.asks())
    }

    /// Whether nothing is owed.
    fn is_free(&self) -> bool {
        matches!(self, Self::Way(Way::Free))
    }
}

/// Why an order was not paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// It is not held any more.
    #[error("the order is not held any more")]
    NotHeld,
    /// It is paid.
    #[error("the order is paid")]
    AlreadyPaid,
    /// Another payment of it is open.
    #[error("another payment is open")]
    Open(PaymentId),
    /// Too many were tried.
    #[error("five payments were tried")]
    TooMany,
    /// This way is not offered.
    #[error("this way to pay is not offered")]
    NotOffered,
    /// The key was used for another way.
    #[error("the key was used for another payment")]
    KeyReused,
    /// No such order.
    #[error("no such order")]
    NotFound,
    /// The provider captured another amount than was asked for.
    #[error("another amount was captured")]
    OtherAmount,
    /// It cannot be decided now: ask again with the same key.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// A payment that is asked for, with everything it needs to be decided again.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The id that the payment will have.
    pub payment_id: PaymentId,
    /// The order to be paid.
    pub order_id: OrderId,
    /// The secret of the order's link: looked at again once the order is locked, because a link may be revoked.
    pub secret: String,
    /// Hash over order, way and key: what makes a repeated request harmless.
    pub key_hash: [u8; 16],
    /// How it is paid.
    pub means: Means,
    /// The account that takes the money.
    pub account_id: Option<PaymentAccountId>,
    /// When it arrived at the door.
    pub arrived_at: DateTime<Utc>,
}

impl Attempt {
    /// The payment that it makes of a locked order.
    fn of(&self, order: &Held) -> Payment {
        Payment {
            payment_id: self.payment_id,
            order_id: self.order_id,
            provider: self.means.provider().to_owned(),
            status: if self.means.asks() { PaymentStatus::Created } else { PaymentStatus::Captured },
            amount: Money::new(order.total_minor, order.currency),
            redirect_url: None,
            reason: None,
            created_at: self.arrived_at,
            decide_by: (self.arrived_at + DECIDE).min(ceiling(order)),
            ended_at: (!self.means.asks()).then_some(self.arrived_at),
            provider_ref: None,
            account_id: self.account_id,
            key_hash: self.key_hash.to_vec(),
        }
    }
}

/// Until when an open payment keeps an order: an hour after placing, or, where it was held for longer anyway, as long as a provider may take.
fn ceiling(order: &Held) -> DateTime<Utc> {
    let usual = order.placed_at + CEILING;
    if order.held_until > usual { order.held_until + DECIDE } else { usual }
}

/// Pays an order for whoever has its link. The same key gets the same payment back.
///
/// # Errors
/// [`PayError`].
pub async fn pay(app: &App, order_id: OrderId, secret: &str, key: &str, way: Way, arrived_at: DateTime<Utc>) -> Result<Payment, PayError> {
    let festival = order_id.festival();
    let key_hash = orders::short_hash(&[b"payment", order_id.0.as_bytes(), format!("{way:?}").as_bytes(), key.as_bytes()]);
    let payment_id = PaymentId::fresh(festival, arrived_at);
    let payment = patiently(async {
        let account_id = account_for(app, festival, way).await?;
        let attempt = Attempt { payment_id, order_id, secret: secret.to_owned(), key_hash, means: Means::Way(way), account_id, arrived_at };
        // Most links were never revoked, so in the rush nothing is read before the batch. A made-up order opens no lane.
        if !app.secrets.is_link(Purpose::OrderLink, order_id.0, 0, secret) {
            let held = Box::pin(orders::held(&app.pools.web, order_id)).await.map_err(|_| Busy::jittered())?.ok_or(PayError::NotFound)?;
            if !held.is_link(app, secret) {
                return Err(PayError::NotFound);
            }
        }
        app.pass::<Completing>(festival, Settle::New(attempt)).await?
    })
    .await?;
    if payment.status == PaymentStatus::Captured {
        app.the::<OpenHolds>().ended(order_id);
    }
    // Whoever asks again while the provider is being asked gets the payment as it is; what nobody asked for in the end is asked for once more.
    let is_open = matches!(payment.status, PaymentStatus::Created | PaymentStatus::Unknown);
    let is_mine = payment.payment_id == payment_id || app.clock.now() > payment.created_at + UNASKED;
    if is_open && is_mine { Box::pin(submit(app, payment)).await } else { Ok(payment) }
}

/// The ways to pay an order of a festival, the best first.
///
/// # Errors
/// What the database said.
pub async fn ways(app: &App, festival: FestivalId, total_minor: i64) -> Result<Vec<Way>, sqlx::Error> {
    if total_minor == 0 {
        return Ok(vec![Way::Free]);
    }
    let mut ways = Vec::new();
    if accounts::of_festival(app, festival).await?.is_some() {
        ways.push(Way::Stripe);
    }
    if app.settings.simulated_payments || festivals::facts(app, festival).await?.rehearsal {
        ways.extend([Way::Simulated, Way::SimulatedInstant]);
    }
    Ok(ways)
}

/// The account that a way to pay goes to; none for ways without accounts.
async fn account_for(app: &App, festival: FestivalId, way: Way) -> Result<Option<PaymentAccountId>, PayError> {
    match way {
        Way::Free => Ok(None),
        Way::SimulatedInstant | Way::Simulated => {
            let plays = app.settings.simulated_payments || festivals::facts(app, festival).await.map_err(|_| Busy::jittered())?.rehearsal;
            if plays { Ok(None) } else { Err(PayError::NotOffered) }
        }
        Way::Stripe => {
            let found = accounts::of_festival(app, festival).await.map_err(|_| Busy::jittered())?;
            found.map(|account| Some(account.account_id)).ok_or(PayError::NotOffered)
        }
    }
}

/// How long after it was made a payment that its provider does not know is asked for by a repeated request.
const UNASKED: TimeDelta = TimeDelta::seconds(10);
/// How long a buyer waits for a provider before the payment is unknown.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);

/// Tells the provider of a payment that was committed as created. A provider that does not answer leaves it unknown: it is
/// asked later, under the same id, so nobody is charged twice.
async fn submit(app: &App, payment: Payment) -> Result<Payment, PayError> {
    let provider = app.the::<Providers>().find(&payment.provider).ok_or(PayError::NotOffered)?;
    let started = tokio::time::timeout(PATIENCE, provider.start(app, &payment)).await;
    let started = started.unwrap_or_else(|_| Err(ProviderError::Silent(format!("no answer within {} seconds", PATIENCE.as_secs()))));
    sabotage::die_at("provider-called");
    // A provider that refuses one payment works; a key of one promoter that does not says nothing of it.
    if !matches!(started, Err(ProviderError::Unable(_))) {
        app.the::<Breaker>().note(!matches!(started, Err(ProviderError::Silent(_))), app.clock.now());
    }
    let (status, started) = match started {
        Ok(started) => (PaymentStatus::Submitted, Some(started)),
        Err(ProviderError::Refused(error)) => {
            tracing::error!(%error, payment = %payment.payment_id, "a provider refused to begin a payment");
            decided(app, payment.payment_id, Outcome::Failed(error), None).await?;
            (PaymentStatus::Failed, None)
        }
        Err(ProviderError::Silent(error) | ProviderError::Unable(error)) => {
            tracing::warn!(%error, payment = %payment.payment_id, "a provider did not answer; the payment is unknown");
            (PaymentStatus::Unknown, None)
        }
    };
    if status != PaymentStatus::Failed {
        store::submitted(&app.pools.web, &payment, status, started.as_ref()).await.map_err(|error| {
            tracing::warn!(%error, payment = %payment.payment_id, "what the provider said could not be noted; it will be asked");
            PayError::Busy(Busy::jittered())
        })?;
    }
    let found = store::payment(&app.pools.web, payment.payment_id).await.ok().flatten();
    Ok(found.unwrap_or(Payment { status, redirect_url: started.map(|started| started.url), ..payment }))
}

/// Why a notification was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// No provider of that name.
    #[error("no such provider")]
    NoProvider,
    /// The signature is wrong, missing or old.
    #[error("the signature is wrong, missing or old")]
    BadSignature,
    /// The body cannot be read.
    #[error("the body cannot be read")]
    Malformed,
    /// It cannot be decided now: the provider tells again.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes in a notification of a provider. Telling again has no further effect.
///
/// # Errors
/// [`NotifyError`].
pub async fn notified(app: &App, provider: &str, account: Option<PaymentAccountId>, signature: Option<&str>, body: &[u8]) -> Result<(), NotifyError> {
    let found = app.the::<Providers>().find(provider).ok_or(NotifyError::NoProvider)?;
    let told = found.verify(app, account, signature, body).await?;
    sabotage::die_at("notification-heard");
    let heard = Heard { provider: provider.to_owned(), event_ref: told.event_ref };
    match told.news {
        News::Payment(id, outcome) if took(app, provider, account, id).await? => decided(app, id, outcome, Some(heard)).await?,
        News::Refund(id, round) => refunds::heard(app, provider, account, id, round, &heard).await?,
        News::Dispute(id, dispute) if took(app, provider, account, id).await? => refunds::disputed(app, id, &dispute, &heard).await?,
        News::Payment(..) | News::Dispute(..) | News::Nothing => {}
    }
    sabotage::die_at("notification-applied");
    Ok(())
}

/// Whether an account took a payment: nobody else's word counts. Where a provider has no accounts its own does.
async fn took(app: &App, provider: &str, account: Option<PaymentAccountId>, payment: PaymentId) -> Result<bool, sqlx::Error> {
    if account.is_none() {
        return Ok(true);
    }
    let payment = store::payment(&app.pools.web, payment).await?;
    Ok(payment.is_some_and(|payment| payment.provider == provider && payment.account_id == account))
}

/// A notification that was heard: it is written down in the transaction that acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who told.
    pub provider: String,
    /// The provider's id of the event.
    pub event_ref: String,
}

/// Acts on what a provider says about a payment, told or asked: the only way its state moves after it was submitted. Saying it again, late or in another
/// order ends in the same state.
///
/// # Errors
/// [`Busy`] when it cannot be decided now; everything else was decided before and stays.
pub async fn decided(app: &App, payment_id: PaymentId, outcome: Outcome, heard: Option<Heard>) -> Result<(), Busy> {
    let at = app.clock.now();
    if outcome == Outcome::Pending && heard.is_none() {
        return Ok(());
    }
    let settle = Settle::Told { payment_id, outcome: outcome.clone(), at, heard: heard.clone() };
    match app.pass::<Completing>(payment_id.festival(), settle).await? {
        // Money that finds no held order, or that is not what was asked for, is taken out of its batch and run alone.
        Err(PayError::NotHeld | PayError::OtherAmount) => complete::late(app, payment_id, &outcome, heard.as_ref()).await,
        Ok(payment) if payment.status == PaymentStatus::Captured => {
            app.the::<OpenHolds>().ended(payment.order_id);
            Ok(())
        }
        _ => Ok(()),
    }
}
