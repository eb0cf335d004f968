//! What a payment provider is to us. The simulated bank is one; Stripe stands beside it the same way.

use std::{collections::HashMap, future::Future, pin::Pin};

use super::{NotifyError, Payment, Refund, RefundOutcome};
use crate::{app::App, id::PaymentId, money::Money};

/// What a provider says about a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided.
    Pending,
    /// The money is ours: so much as the provider says, or what was asked for where it says nothing of it.
    Captured(Option<Money>),
    /// It did not come about, and why.
    Failed(String),
}

/// A notification that was verified.
#[derive(Clone, Debug)]
pub struct Told {
    /// The provider's id of the event: the same one again is the same event.
    pub event_ref: String,
    /// The payment.
    pub payment_id: PaymentId,
    /// What it says.
    pub outcome: Outcome,
}

/// A provider did not answer or not in words that we know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(pub String);

/// An answer that is waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// Who takes money for us. Every call carries the id of our payment, so that a repeated call has one effect.
pub trait Provider: Send + Sync {
    /// Tells of a payment; answers where the buyer pays.
    fn start<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, String>;
    /// Asks what became of a payment.
    fn ask<'a>(&'a self, app: &'a App, payment: PaymentId) -> Answer<'a, Outcome>;
    /// Gives a payment up; answers what became of it, because it may be too late.
    fn cancel<'a>(&'a self, app: &'a App, payment: PaymentId) -> Answer<'a, Outcome>;
    /// Gives money back. The provider knows the refund by its id and round.
    fn refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome>;
    /// Asks what became of a refund that was taken.
    fn ask_refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome>;
    /// Verifies a notification.
    ///
    /// # Errors
    /// [`NotifyError`].
    fn verify(&self, app: &App, signature: Option<&str>, body: &[u8]) -> Result<Told, NotifyError>;
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
