//! What a payment provider is to us. The simulated bank is one; Stripe stands beside it the same way.

use std::{collections::HashMap, future::Future, pin::Pin};

use chrono::{DateTime, Utc};

use super::{NotifyError, Payment, Refund, RefundOutcome, refunds::Dispute};
use crate::{
    app::App,
    id::{PaymentAccountId, PaymentId, RefundId},
    money::Money,
};

/// What a provider says about a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided.
    Pending,
    /// The money is ours: so much as the provider says, or what was asked for where it says nothing of it.
    Captured(Option<Money>),
    /// It did not come about, and why.
    Failed(String),
    /// Nobody says, and our patience is over: its order is let go. Providers never say so.
    GivenUp,
}

/// A notification that was verified.
#[derive(Clone, Debug)]
pub struct Told {
    /// The provider's id of the event: the same one again is the same event.
    pub event_ref: String,
    /// What it says.
    pub news: News,
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What became of a payment.
    Payment(PaymentId, Outcome),
    /// Something became of a round of a refund: it is asked what, because these messages overtake each other.
    Refund(RefundId, i16),
    /// The bank of a buyer takes the money of a payment back.
    Dispute(PaymentId, Dispute),
    /// Nothing that is ours to know.
    Nothing,
}

/// A payment that its provider knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where the buyer pays.
    pub url: String,
    /// What the provider knows it by, where that is not our id.
    pub provider_ref: Option<String>,
}

/// Why a provider said nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It did not answer, or not in words that we know: it may have happened.
    #[error("{0}")]
    Silent(String),
    /// It could not be asked, which is no fault of it: a key that is wrong, too many calls, our own database.
    #[error("{0}")]
    Unable(String),
    /// It refused: it did not happen.
    #[error("{0}")]
    Refused(String),
}

/// A payment as a provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Our payment.
    pub payment_id: PaymentId,
    /// What the provider knows it by.
    pub provider_ref: String,
    /// How much it captured.
    pub amount: Money,
    /// When it was begun there.
    pub at: DateTime<Utc>,
}

/// A refund as a provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Our refund; none where somebody made it in the pages of the provider.
    pub refund_id: Option<RefundId>,
    /// The payment that it gives back.
    pub payment_id: PaymentId,
    /// What the provider knows it by.
    pub provider_ref: String,
    /// How much.
    pub amount: Money,
    /// When it was made there.
    pub at: DateTime<Utc>,
    /// Whether it did not arrive.
    pub is_failed: bool,
}

/// What a provider says of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chronicle {
    /// The payments that it captured.
    pub charged: Vec<Charged>,
    /// The refunds.
    pub returned: Vec<Returned>,
}

/// From when until when.
pub type Span = (DateTime<Utc>, DateTime<Utc>);

/// An answer that is waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;
/// A notification that is being verified.
pub type Verified<'a> = Pin<Box<dyn Future<Output = Result<Told, NotifyError>> + Send + 'a>>;

/// Who takes money for us. Every call carries the id of our payment, so that a repeated call has one effect.
pub trait Provider: Send + Sync {
    /// Tells of a payment; answers where the buyer pays.
    fn start<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Started>;
    /// Asks what became of a payment.
    fn ask<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome>;
    /// Gives a payment up; answers what became of it, because it may be too late.
    fn cancel<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome>;
    /// Gives money back. The provider knows the refund by its id and round.
    fn refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome>;
    /// Asks what became of a refund that was taken.
    fn ask_refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome>;
    /// What it has of an account: payments that were begun in one time, refunds that were made in another. Only providers with accounts are asked.
    fn chronicle<'a>(&'a self, app: &'a App, account: PaymentAccountId, payments: Span, refunds: Span) -> Answer<'a, Chronicle>;
    /// Verifies a notification, told at the door of an account where the provider has accounts.
    ///
    /// # Errors
    /// [`NotifyError`].
    fn verify<'a>(&'a self, app: &'a App, account: Option<PaymentAccountId>, signature: Option<&'a str>, body: &'a [u8]) -> Verified<'a>;
}

/// The providers by name; `server.rs` registers them.
#[derive(Default)]
pub struct Providers(HashMap<&'static str, Box<dyn Provider>>);

impl Providers {
    /// Adds a provider.
    #[must_use]
    pub fn with(mut self, name: &'static str, provider: impl Provider + 'static) -> Self {
        self.0.insert(name, Box::new(provider));
        self
    }

    /// The provider of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&dyn Provider> {
        self.0.get(name).map(AsRef::as_ref)
    }
}
