//! What Stripe says, as much of it as we need (<https://docs.stripe.com/api>), and what that means to us; pure.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::units;
use crate::{
    id::{PaymentId, RefundId},
    payments::{
        RefundOutcome,
        provider::{News, Outcome},
    },
};

/// An account at Stripe.
#[derive(Debug, Deserialize)]
pub struct Account {
    /// `acct_..`.
    pub id: String,
    /// Whether it may take payments.
    #[serde(default)]
    pub charges_enabled: bool,
}

/// A Checkout Session, as much of it as we need.
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    #[serde(default)]
    pub(super) created: i64,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) payment_status: String,
    #[serde(default)]
    pub(super) amount_total: Option<i64>,
    #[serde(default)]
    pub(super) currency: Option<String>,
    #[serde(default)]
    pub(super) payment_intent: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) metadata: Metadata,
}

/// A payment intent, as much of it as we need.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) amount_received: Option<i64>,
    #[serde(default)]
    pub(super) currency: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) metadata: Metadata,
}

/// A refund at Stripe, as much of it as we need.
#[derive(Debug, Deserialize)]
pub(super) struct StripeRefund {
    pub(super) id: String,
    #[serde(default)]
    pub(super) created: i64,
    #[serde(default)]
    pub(super) amount: i64,
    #[serde(default)]
    pub(super) currency: String,
    #[serde(default)]
    pub(super) payment_intent: Option<String>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) failure_reason: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) metadata: Metadata,
}

/// What we wrote on things at Stripe.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) payment_id: Option<String>,
    #[serde(default)]
    pub(super) refund_id: Option<String>,
    #[serde(default)]
    pub(super) round: Option<String>,
}

impl Metadata {
    /// The payment that it names, where it is one of ours.
    pub(super) fn payment(&self) -> Option<PaymentId> {
        self.payment_id.as_deref().and_then(|text| text.parse().ok())
    }

    /// The refund.
    pub(super) fn refund(&self) -> Option<RefundId> {
        self.refund_id.as_deref().and_then(|text| text.parse().ok())
    }
}

/// A dispute, as much of it as we need.
#[derive(Debug, Deserialize)]
pub(super) struct StripeDispute {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) amount: i64,
    #[serde(default)]
    pub(super) currency: String,
    #[serde(default)]
    pub(super) payment_intent: Option<String>,
}

impl StripeDispute {
    pub(super) fn outcome(&self) -> RefundOutcome {
        match self.status.as_str() {
            // Prevented: the money was given back before the bank asked for it.
            "lost" | "prevented" => RefundOutcome::Done { provider_ref: Some(self.id.clone()) },
            "won" | "warning_closed" => RefundOutcome::Kept,
            _ => RefundOutcome::Pending { provider_ref: self.id.clone() },
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// What a list goes on after.
pub(super) trait Identified {
    fn id(&self) -> &str;
}

impl Identified for Session {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for StripeRefund {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What may be null where it is nothing.
fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) data: EventData,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventData {
    pub(super) object: Value,
}

impl Session {
    pub(super) fn outcome(&self) -> Outcome {
        match (self.status.as_deref(), self.payment_status.as_str()) {
            (_, "paid") => captured(self.amount_total, self.currency.as_deref()),
            (Some("expired"), _) => Outcome::Failed("the page of the bank was left or its time was up".to_owned()),
            // Complete and unpaid: the bank is still thinking.
            _ => Outcome::Pending,
        }
    }
}

/// An amount that was captured. One that we cannot count is never what was asked for: somebody has to look.
pub(super) fn captured(amount: Option<i64>, currency: Option<&str>) -> Outcome {
    match (amount, currency) {
        (Some(amount), Some(currency)) => units::money(amount, currency).map_or_else(
            || {
                tracing::error!(amount, currency, "Stripe captured an amount that cannot be counted");
                Outcome::Pending
            },
            |money| Outcome::Captured(Some(money)),
        ),
        _ => Outcome::Captured(None),
    }
}

impl StripeRefund {
    pub(super) fn outcome(self) -> RefundOutcome {
        match self.status.as_deref() {
            Some("succeeded") => RefundOutcome::Done { provider_ref: Some(self.id) },
            Some("failed" | "canceled") => RefundOutcome::Refused(format!("Stripe: {}", self.failure_reason.as_deref().unwrap_or("the refund failed"))),
            _ => RefundOutcome::Pending { provider_ref: self.id },
        }
    }
}

/// What an event means to us; `None` when what it should hold is not there. An account tells of everything that happens in it, also by other programs.
pub(super) fn news(kind: &str, object: Value) -> Option<News> {
    Some(match kind {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" | "checkout.session.expired" => {
            let session: Session = serde_json::from_value(object).ok()?;
            let outcome = session.outcome();
            session.metadata.payment().map_or(News::Nothing, |payment| News::Payment(payment, outcome))
        }
        "checkout.session.async_payment_failed" => {
            let session: Session = serde_json::from_value(object).ok()?;
            session.metadata.payment().map_or(News::Nothing, |payment| News::Payment(payment, Outcome::Failed("declined by the bank".to_owned())))
        }
        "payment_intent.succeeded" => {
            let intent: Intent = serde_json::from_value(object).ok()?;
            let outcome = if intent.status == "succeeded" { captured(intent.amount_received, intent.currency.as_deref()) } else { Outcome::Pending };
            intent.metadata.payment().map_or(News::Nothing, |payment| News::Payment(payment, outcome))
        }
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            let refund: StripeRefund = serde_json::from_value(object).ok()?;
            let round = refund.metadata.round.as_deref().and_then(|text| text.parse().ok());
            refund.metadata.refund().zip(round).map_or(News::Nothing, |(id, round)| News::Refund(id, round))
        }
        // A declined card is no end of a session: its buyer may take another one. The rest is not ours to know.
        _ => News::Nothing,
    })
}
