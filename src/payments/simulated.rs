//! The simulated bank: a provider that behaves like a real one and takes no money. It has a page where the buyer decides,
//! books of its own, and signed notifications that come at once, later, or never.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{
    NotifyError, Payment, Refund, RefundOutcome,
    provider::{Answer, Chronicle, News, Outcome, Provider, ProviderError, Span, Started, Told, Verified},
    store,
};
use crate::{
    app::App,
    id::{PaymentAccountId, PaymentId},
    money::Money,
    secrets::{Purpose, same},
};

/// How old a signature may be.
const FRESH: TimeDelta = TimeDelta::seconds(300);

/// The simulated bank.
pub struct SimulatedBank;

/// How the simulated bank answers: while it fails, every call to it does.
#[derive(Default)]
pub struct Mood {
    fails: AtomicBool,
    refunds: Mutex<Refunding>,
}

/// What the simulated bank does with new refunds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refunding {
    /// The money goes back at once.
    #[default]
    AtOnce,
    /// They are taken and decided when the bank is in another mood.
    Later,
    /// The account has not enough.
    NoFunds,
    /// They are refused.
    Refused,
}

impl Mood {
    /// Lets the bank fail, or answer again.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    /// Lets the bank take refunds otherwise.
    pub fn refund(&self, refunds: Refunding) {
        *self.refunds.lock().unwrap_or_else(PoisonError::into_inner) = refunds;
    }

    fn look(app: &App) -> Result<Refunding, ProviderError> {
        let mood = app.the::<Self>();
        if mood.fails.load(Ordering::Relaxed) {
            return Err(ProviderError::Silent("the bank does not answer".to_owned()));
        }
        Ok(*mood.refunds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the bank tells, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Id of the event.
    pub event_id: String,
    /// The payment.
    pub payment_id: PaymentId,
    /// `succeeded` or `declined`.
    pub status: String,
    /// How much was captured; what was asked for where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// What a buyer does on the page of the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Pay; the bank tells at once.
    Pay,
    /// Decline; the bank tells at once.
    Decline,
    /// Pay; the bank never tells: it has to be asked.
    PaySilently,
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: sqlx::Error) -> ProviderError {
    ProviderError::Silent(error.to_string())
}

fn outcome(status: &str, amount: Option<Money>) -> Outcome {
    match status {
        "succeeded" => Outcome::Captured(amount),
        "declined" => Outcome::Failed("declined by the bank".to_owned()),
        "cancelled" => Outcome::Failed("given up".to_owned()),
        _ => Outcome::Pending,
    }
}

/// What the books of the bank say about a refund.
async fn simulated_refund(app: &App, refund: &Refund, provider_ref: String) -> Result<RefundOutcome, ProviderError> {
    let status = store::simulated_refund(&app.pools.work, &provider_ref, refund.refund_id.festival()).await.map_err(failed)?;
    Ok(match status.as_deref() {
        Some("succeeded") => RefundOutcome::Done { provider_ref: Some(provider_ref) },
        Some("pending") => RefundOutcome::Pending { provider_ref },
        Some(_) => RefundOutcome::Refused("the bank of the buyer refused it".to_owned()),
        None => RefundOutcome::Refused("more than was paid".to_owned()),
    })
}

impl Provider for SimulatedBank {
    fn start<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Started> {
        Box::pin(async move {
            Mood::look(app)?;
            store::insert_intent(&app.pools.web, payment).await.map_err(failed)?;
            Ok(Started { url: format!("{}/simulated-bank/{}", app.settings.public_url, payment.payment_id), provider_ref: None })
        })
    }

    fn ask<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(async move {
            Mood::look(app)?;
            let intent = store::intent(&app.pools.work, payment.payment_id).await.map_err(failed)?;
            // A payment that never reached the bank did not come about.
            Ok(intent.map_or(Outcome::Failed("unknown to the bank".to_owned()), |intent| outcome(&intent.status, Some(intent.amount))))
        })
    }

    fn cancel<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(async move {
            store::decide_intent(&app.pools.work, payment.payment_id, "cancelled").await.map_err(failed)?;
            self.ask(app, payment).await
        })
    }

    fn refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(async move {
            let provider_ref = format!("{}-{}", refund.refund_id, refund.round);
            let status = match Mood::look(app)? {
                Refunding::AtOnce => "succeeded",
                Refunding::Later => "pending",
                Refunding::Refused => "failed",
                Refunding::NoFunds => return Ok(RefundOutcome::NoFunds("the account has not enough".to_owned())),
            };
            store::insert_instant_intent(&app.pools.work, refund.payment_id).await.map_err(failed)?;
            store::insert_simulated_refund(&app.pools.work, &provider_ref, refund, status).await.map_err(failed)?;
            simulated_refund(app, refund, provider_ref).await
        })
    }

    fn ask_refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(async move {
            let provider_ref = refund.provider_ref.clone().unwrap_or_default();
            let status = match Mood::look(app)? {
                Refunding::Later => "pending",
                Refunding::Refused => "failed",
                Refunding::AtOnce | Refunding::NoFunds => "succeeded",
            };
            store::decide_simulated_refund(&app.pools.work, &provider_ref, refund.refund_id.festival(), status).await.map_err(failed)?;
            simulated_refund(app, refund, provider_ref).await
        })
    }

    fn chronicle<'a>(&'a self, _app: &'a App, _account: PaymentAccountId, _payments: Span, _refunds: Span) -> Answer<'a, Chronicle> {
        Box::pin(async { Ok(Chronicle::default()) })
    }

    fn verify<'a>(&'a self, app: &'a App, _account: Option<PaymentAccountId>, signature: Option<&'a str>, body: &'a [u8]) -> Verified<'a> {
        Box::pin(async move { verify(app, signature, body) })
    }
}

fn verify(app: &App, signature: Option<&str>, body: &[u8]) -> Result<Told, NotifyError> {
    let (at, mac) = signature.and_then(|s| s.split_once('.')).ok_or(NotifyError::BadSignature)?;
    let sent: i64 = at.parse().map_err(|_| NotifyError::BadSignature)?;
    let right = app.secrets.mac(Purpose::SimulatedBank, &[at.as_bytes(), b".", body]);
    if !same(HEXLOWER.encode(&right).as_bytes(), mac.as_bytes()) || (app.clock.now().timestamp() - sent).abs() > FRESH.num_seconds() {
        return Err(NotifyError::BadSignature);
    }
    let told: Notification = serde_json::from_slice(body).map_err(|_| NotifyError::Malformed)?;
    if told.event_id.is_empty() || told.event_id.len() > 100 {
        return Err(NotifyError::Malformed);
    }
    Ok(Told { event_ref: told.event_id, news: News::Payment(told.payment_id, outcome(&told.status, told.amount)) })
}

/// Signs a notification as the bank does: `<unix seconds>.<hex HMAC-SHA256 of "seconds.body">`.
#[must_use]
pub fn sign(app: &App, body: &[u8]) -> String {
    let at = app.clock.now().timestamp().to_string();
    let mac = app.secrets.mac(Purpose::SimulatedBank, &[at.as_bytes(), b".", body]);
    format!("{at}.{}", HEXLOWER.encode(&mac))
}

/// What the buyer decided on the page of the bank; the bank notifies us through the same door as a real one would.
///
/// # Errors
/// [`NotifyError`].
pub async fn decide(app: &App, payment: PaymentId, decision: Decision) -> Result<(), NotifyError> {
    let status = if decision == Decision::Decline { "declined" } else { "succeeded" };
    store::decide_intent(&app.pools.web, payment, status).await?;
    if decision == Decision::PaySilently {
        return Ok(());
    }
    let Some(intent) = store::intent(&app.pools.web, payment).await? else { return Err(NotifyError::Malformed) };
    let told = Notification { event_id: format!("evt_{payment}"), payment_id: payment, status: intent.status, amount: Some(intent.amount) };
    let body = serde_json::to_vec(&told).map_err(|_| NotifyError::Malformed)?;
    let signature = sign(app, &body);
    super::notified(app, "simulated", None, Some(&signature), &body).await
}

/// A payment in the books of the bank.
///
/// # Errors
/// What the database said.
pub async fn intent(app: &App, payment: PaymentId) -> Result<Option<store::Intent>, sqlx::Error> {
    store::intent(&app.pools.web, payment).await
}
