//! Stripe: hosted Checkout by redirect, so that no card touches this house (PCI DSS SAQ A), under the key of the promoter's own account.
//!
//! A payment is one Checkout Session; what asks for it again asks under the payment's id and gets the same one. Shapes: <https://docs.stripe.com/api>.

mod client;
mod objects;
mod signature;
mod units;

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, TimeDelta};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    NotifyError, Payment, Refund, RefundOutcome,
    accounts::{self, Keyed, Method},
    provider::{Answer, Charged, Chronicle, News, Outcome, Provider, ProviderError, Returned, Span, Started, Told, Verified},
    refunds::{Dispute, RefundReason},
    store,
};
use crate::{
    app::App,
    batcher::Busy,
    festivals,
    id::{PaymentAccountId, PaymentId},
    orders,
    secrets::Purpose,
    words::Language,
};

use client::Client;
pub use client::Refusal;
use objects::{Account, Event, Identified, Intent, List, Session, StripeDispute, StripeRefund};

/// When a session ends by itself, after its payment was begun: Stripe wants at least 30 minutes from when it hears of it, and it may hear late.
const SESSION: TimeDelta = TimeDelta::minutes(60);

/// Stripe.
pub struct Stripe(Client);

fn silent(refusal: Refusal) -> ProviderError {
    match refusal {
        Refusal::Refused { .. } => ProviderError::Refused(format!("Stripe: {refusal}")),
        Refusal::Silence(_) => ProviderError::Silent(format!("Stripe: {refusal}")),
        // A key that is put right makes these calls work again: nothing is decided by its being wrong.
        other => ProviderError::Unable(format!("Stripe: {other}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn ours(error: sqlx::Error) -> ProviderError {
    ProviderError::Unable(error.to_string())
}

impl Stripe {
    /// Stripe at an address, `https://api.stripe.com` but in tests.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(base: &str) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self(Client::new(base)?)))
    }

    /// The account that a key is of; a restricted key has to be able to read all that is asked for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn account(&self, key: &str) -> Result<Account, Refusal> {
        for list in ["/v1/checkout/sessions", "/v1/payment_intents", "/v1/refunds", "/v1/disputes"] {
            self.0.get::<List<Value>>(key, &format!("{list}?limit=1")).await?;
        }
        self.0.get(key, "/v1/account").await
    }

    async fn keyed(app: &App, payment: &Payment) -> Result<Keyed, ProviderError> {
        let account = payment.account_id.ok_or_else(|| ProviderError::Unable("the payment names no account".to_owned()))?;
        accounts::keyed(app, account).await.map_err(ours)?.ok_or_else(|| ProviderError::Unable(format!("no account {account}")))
    }

    /// The session of a payment: made, or the same one again.
    async fn open(&self, app: &App, account: &Keyed, payment: &Payment) -> Result<Session, ProviderError> {
        let order = orders::order(&app.pools.web, payment.order_id).await.map_err(ours)?.ok_or_else(|| ProviderError::Refused("no such order".to_owned()))?;
        let festival = festivals::one(&app.pools.web, payment.payment_id.festival()).await.map_err(ours)?;
        let festival = festival.ok_or_else(|| ProviderError::Refused("no such festival".to_owned()))?;
        let code = payment.amount.currency.code();
        let units = units::units(payment.amount).ok_or_else(|| ProviderError::Refused(format!("Stripe cannot take {}", payment.amount.print())))?;
        let back = format!("{}/return/{}/{}", app.settings.public_url, payment.payment_id, app.secrets.link(Purpose::PaymentReturn, payment.payment_id.0, 0));
        let what = format!("{}, {}", festival.terms.name.read(order.language), order.number());
        let mut form = vec![
            ("mode", "payment".to_owned()),
            ("client_reference_id", payment.payment_id.to_string()),
            ("success_url", back.clone()),
            ("cancel_url", back),
            ("expires_at", (payment.created_at + SESSION).timestamp().to_string()),
            ("locale", if order.language == Language::Zh { "zh" } else { "en" }.to_owned()),
            ("line_items[0][quantity]", "1".to_owned()),
            ("line_items[0][price_data][currency]", code.to_ascii_lowercase()),
            ("line_items[0][price_data][unit_amount]", units.to_string()),
            ("line_items[0][price_data][product_data][name]", what.clone()),
            ("metadata[payment_id]", payment.payment_id.to_string()),
            ("payment_intent_data[description]", what),
            ("payment_intent_data[metadata][payment_id]", payment.payment_id.to_string()),
            ("payment_intent_data[metadata][order_id]", payment.order_id.to_string()),
            // What is charged is what was asked for, in its currency.
            ("adaptive_pricing[enabled]", "false".to_owned()),
        ];
        // Stripe takes plain addresses only; whoever has another one types one there.
        if order.email.is_ascii() {
            form.push(("customer_email", order.email.clone()));
        }
        // Stripe shows those of them that take this currency here and are activated.
        form.extend(account.methods.iter().map(|method| ("allowed_payment_method_types[]", method.name().to_owned())));
        if account.methods.contains(&Method::WechatPay) {
            form.push(("payment_method_options[wechat_pay][client]", "web".to_owned()));
        }
        self.0.post(&account.key, "/v1/checkout/sessions", Some(&payment.payment_id.to_string()), &form).await.map_err(silent)
    }

    async fn session(&self, account: &Keyed, session: &str) -> Result<Session, ProviderError> {
        self.0.get(&account.key, &format!("/v1/checkout/sessions/{session}")).await.map_err(silent)
    }

    /// The refund that we made for a round, if Stripe has it: a key that makes calls happen once is forgotten there after a day.
    async fn find(&self, account: &Keyed, intent: &str, refund: &Refund) -> Result<Option<StripeRefund>, ProviderError> {
        let made: List<StripeRefund> = self.0.get(&account.key, &format!("/v1/refunds?payment_intent={intent}&limit=100")).await.map_err(silent)?;
        let (id, round) = (refund.refund_id.to_string(), refund.round.to_string());
        Ok(made.data.into_iter().find(|r| r.metadata.refund_id.as_deref() == Some(&id) && r.metadata.round.as_deref() == Some(&round)))
    }

    /// Everything of a list that was made in a time, page by page (<https://docs.stripe.com/api/pagination>).
    async fn every<T: DeserializeOwned + Identified>(&self, account: &Keyed, path: &str, (from, until): Span) -> Result<Vec<T>, ProviderError> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let after = all.last().map(|last| format!("&starting_after={}", last.id())).unwrap_or_default();
            let query = format!("{path}?limit=100&created[gte]={}&created[lt]={}{after}", from.timestamp(), until.timestamp());
            let List { data, has_more } = self.0.get::<List<T>>(&account.key, &query).await.map_err(silent)?;
            let is_last = !has_more || data.is_empty();
            all.extend(data);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// The payment that a dispute is about: the dispute names the payment intent alone.
    async fn dispute(&self, app: &App, account: PaymentAccountId, object: Value) -> Result<News, NotifyError> {
        let found: StripeDispute = serde_json::from_value(object).map_err(|_| NotifyError::Malformed)?;
        let Some(account) = accounts::keyed(app, account).await? else { return Ok(News::Nothing) };
        let (Some(intent), Some(amount)) = (&found.payment_intent, units::money(found.amount, &found.currency)) else { return Ok(News::Nothing) };
        let intent: Intent = self.0.get(&account.key, &format!("/v1/payment_intents/{intent}")).await.map_err(|refusal| {
            tracing::warn!(%refusal, dispute = found.id, "Stripe did not say what a dispute is about; it tells again");
            NotifyError::Busy(Busy::jittered())
        })?;
        let is_inquiry = found.status.starts_with("warning_") || matches!(found.outcome(), RefundOutcome::Kept);
        let payment = intent.metadata.payment();
        let outcome = found.outcome();
        Ok(payment.map_or(News::Nothing, |payment| News::Dispute(payment, Dispute { provider_ref: found.id, amount, is_inquiry, outcome })))
    }

    async fn of_refund(&self, app: &App, refund: &Refund) -> Result<(Keyed, Payment), ProviderError> {
        let payment = store::payment(&app.pools.work, refund.payment_id).await.map_err(ours)?;
        let payment = payment.ok_or_else(|| ProviderError::Silent("the refund names no payment".to_owned()))?;
        Ok((Self::keyed(app, &payment).await?, payment))
    }
}

impl Provider for Arc<Stripe> {
    fn start<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Started> {
        Box::pin(async move {
            let account = Stripe::keyed(app, payment).await?;
            let session = self.open(app, &account, payment).await?;
            let url = session.url.ok_or_else(|| ProviderError::Refused("Stripe: the session is over".to_owned()))?;
            Ok(Started { url, provider_ref: Some(session.id) })
        })
    }

    fn ask<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(async move {
            let account = Stripe::keyed(app, payment).await?;
            if let Some(session) = &payment.provider_ref {
                return Ok(self.session(&account, session).await?.outcome());
            }
            // The answer to its beginning was lost, or it was never asked for: the same call again tells which page it is.
            match self.open(app, &account, payment).await {
                Ok(Session { id, url: Some(url), .. }) => {
                    let started = Started { url, provider_ref: Some(id) };
                    store::submitted(&app.pools.work, payment, super::PaymentStatus::Submitted, Some(&started)).await.map_err(ours)?;
                    Ok(Outcome::Pending)
                }
                Ok(session) => Ok(session.outcome()),
                // Nobody has the address of its page, so nobody can pay there.
                Err(ProviderError::Refused(why)) => Ok(Outcome::Failed(why)),
                Err(silent) => Err(silent),
            }
        })
    }

    fn cancel<'a>(&'a self, app: &'a App, payment: &'a Payment) -> Answer<'a, Outcome> {
        Box::pin(async move {
            let Some(session) = &payment.provider_ref else {
                return Ok(Outcome::Failed("the page of the bank never came about".to_owned()));
            };
            let account = Stripe::keyed(app, payment).await?;
            match self.0.post::<Session>(&account.key, &format!("/v1/checkout/sessions/{session}/expire"), None, &[]).await {
                Ok(session) => Ok(session.outcome()),
                // It is not open any more: it was paid or had ended.
                Err(Refusal::Refused { .. }) => Ok(self.session(&account, session).await?.outcome()),
                Err(other) => Err(silent(other)),
            }
        })
    }

    fn refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(async move {
            let (account, payment) = self.of_refund(app, refund).await?;
            let session = payment.provider_ref.ok_or_else(|| ProviderError::Silent("the payment names no session".to_owned()))?;
            let intent =
                self.session(&account, &session).await?.payment_intent.ok_or_else(|| ProviderError::Silent("the session names no payment".to_owned()))?;
            if refund.attempts > 1
                && let Some(made) = self.find(&account, &intent, refund).await?
            {
                return Ok(made.outcome());
            }
            let units = units::units(refund.amount).ok_or_else(|| ProviderError::Refused(format!("Stripe cannot give {} back", refund.amount.print())));
            let form = match units {
                Ok(units) => [
                    ("payment_intent", intent),
                    ("amount", units.to_string()),
                    ("metadata[refund_id]", refund.refund_id.to_string()),
                    ("metadata[round]", refund.round.to_string()),
                ],
                Err(error) => return Ok(RefundOutcome::Refused(error.to_string())),
            };
            // Stripe keeps what it answered first for a day, its own failures, too: a few tries later it is another call, once the list has none.
            let once = format!("{}-{}-{}", refund.refund_id, refund.round, refund.attempts / 6);
            match self.0.post::<StripeRefund>(&account.key, "/v1/refunds", Some(&once), &form).await {
                Ok(made) => Ok(made.outcome()),
                Err(Refusal::Refused { code, message }) if matches!(code.as_str(), "balance_insufficient" | "insufficient_funds") => {
                    Ok(RefundOutcome::NoFunds(message))
                }
                Err(refused @ Refusal::Refused { .. }) => Ok(RefundOutcome::Refused(format!("Stripe: {refused}"))),
                Err(other) => Err(silent(other)),
            }
        })
    }

    fn ask_refund<'a>(&'a self, app: &'a App, refund: &'a Refund) -> Answer<'a, RefundOutcome> {
        Box::pin(async move {
            let (account, _) = self.of_refund(app, refund).await?;
            let id = refund.provider_ref.as_deref().unwrap_or_default();
            if refund.reason == Some(RefundReason::Disputed) {
                let found: StripeDispute = self.0.get(&account.key, &format!("/v1/disputes/{id}")).await.map_err(silent)?;
                return Ok(found.outcome());
            }
            let found: StripeRefund = self.0.get(&account.key, &format!("/v1/refunds/{id}")).await.map_err(silent)?;
            Ok(found.outcome())
        })
    }

    fn chronicle<'a>(&'a self, app: &'a App, account: PaymentAccountId, payments: Span, refunds: Span) -> Answer<'a, Chronicle> {
        Box::pin(async move {
            let account = accounts::keyed(app, account).await.map_err(ours)?.ok_or_else(|| ProviderError::Unable(format!("no account {account}")))?;
            let sessions: Vec<Session> = self.every(&account, "/v1/checkout/sessions", payments).await?;
            let mut of_intent: HashMap<String, Option<PaymentId>> = HashMap::new();
            let mut chronicle = Chronicle::default();
            for session in sessions {
                let Some(payment_id) = session.metadata.payment() else { continue };
                if let Some(intent) = &session.payment_intent {
                    of_intent.insert(intent.clone(), Some(payment_id));
                }
                if let Outcome::Captured(Some(amount)) = session.outcome() {
                    let at = DateTime::from_timestamp(session.created, 0).unwrap_or_default();
                    chronicle.charged.push(Charged { payment_id, provider_ref: session.id, amount, at });
                }
            }
            let made: Vec<StripeRefund> = self.every(&account, "/v1/refunds", refunds).await?;
            for refund in made {
                let (Some(intent), Some(amount)) = (&refund.payment_intent, units::money(refund.amount, &refund.currency)) else { continue };
                let payment_id = match of_intent.get(intent) {
                    Some(known) => *known,
                    None => {
                        let found: Intent = self.0.get(&account.key, &format!("/v1/payment_intents/{intent}")).await.map_err(silent)?;
                        let known = found.metadata.payment();
                        of_intent.insert(intent.clone(), known);
                        known
                    }
                };
                // What was not sold here is nobody's business here.
                let Some(payment_id) = payment_id else { continue };
                chronicle.returned.push(Returned {
                    refund_id: refund.metadata.refund(),
                    payment_id,
                    amount,
                    at: DateTime::from_timestamp(refund.created, 0).unwrap_or_default(),
                    is_failed: matches!(refund.status.as_deref(), Some("failed" | "canceled")),
                    provider_ref: refund.id,
                });
            }
            Ok(chronicle)
        })
    }

    fn verify<'a>(&'a self, app: &'a App, account: Option<PaymentAccountId>, signature: Option<&'a str>, body: &'a [u8]) -> Verified<'a> {
        Box::pin(async move {
            let account = account.ok_or(NotifyError::NoProvider)?;
            let secrets = accounts::signers(app, account).await?;
            let header = signature.ok_or(NotifyError::BadSignature)?;
            if !signature::is_right(header, body, &secrets, app.clock.now().timestamp()) {
                return Err(NotifyError::BadSignature);
            }
            let event: Event = serde_json::from_slice(body).map_err(|_| NotifyError::Malformed)?;
            if event.id.is_empty() || event.id.len() > 255 {
                return Err(NotifyError::Malformed);
            }
            let news = if event.kind.starts_with("charge.dispute.") {
                self.dispute(app, account, event.data.object).await?
            } else {
                objects::news(&event.kind, event.data.object).ok_or(NotifyError::Malformed)?
            };
            Ok(Told { event_ref: event.id, news })
        })
    }
}
