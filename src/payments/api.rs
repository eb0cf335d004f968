//! The JSON face of payments and of the notifications of providers.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::{Binary, Json},
};

use super::{NotifyError, PayError, Payment, Way, notified};
use crate::{
    accounts::guard::AsFan,
    app::App,
    http::{
        door::Arrival,
        problem::{
            ALREADY_PAID, BAD_SIGNATURE, Created, KEY_REUSED, MALFORMED, NOT_FOUND, NOT_HELD, Or, PAYMENT_OPEN, Problem, TOO_MANY_ATTEMPTS, Usual, Wrong,
        },
        tags::Chapter,
    },
    id::{OrderId, PaymentAccountId, PaymentId},
    orders::api::{of_fan, request_key},
    page::Page,
    refusals,
};

impl From<PayError> for Problem {
    fn from(error: PayError) -> Self {
        match error {
            PayError::NotHeld => NOT_HELD.problem(),
            PayError::AlreadyPaid => ALREADY_PAID.problem(),
            PayError::Open(payment) => PAYMENT_OPEN.problem().with("payment_id", serde_json::json!(payment)),
            PayError::TooMany => TOO_MANY_ATTEMPTS.problem(),
            PayError::NotOffered => Self::invalid(vec![Wrong::new("/way", "this way to pay is not offered for this order")]),
            PayError::KeyReused => KEY_REUSED.problem(),
            // Only what a provider tells ends so, and the provider is not told.
            PayError::NotFound | PayError::OtherAmount => NOT_FOUND.problem(),
            PayError::Busy(busy) => busy.into(),
        }
    }
}

impl From<NotifyError> for Problem {
    fn from(error: NotifyError) -> Self {
        match error {
            NotifyError::NoProvider => NOT_FOUND.problem(),
            NotifyError::BadSignature => BAD_SIGNATURE.problem(),
            NotifyError::Malformed => MALFORMED.because("the body is no notification of this provider"),
            NotifyError::Busy(busy) => busy.into(),
            NotifyError::Database(error) => error.into(),
        }
    }
}

refusals! {
    /// What paying refuses.
    Paying: KEY_MISSING, NOT_FOUND, NOT_HELD, ALREADY_PAID, PAYMENT_OPEN, TOO_MANY_ATTEMPTS, INVALID, KEY_REUSED;
    /// What taking in a notification refuses.
    Notifying: BAD_SIGNATURE, MALFORMED, NOT_FOUND;
}

/// How an order is to be paid.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewPayment {
    /// The way to pay.
    pub way: Way,
}

/// The ways to pay.
#[derive(Debug, Object)]
pub struct Ways {
    /// Each of them, the best first.
    pub ways: Vec<Way>,
}

/// A notification was taken in.
#[derive(Debug, Object)]
pub struct Taken {
    /// Always true; a repeated notification is taken in again without effect.
    pub taken: bool,
}

/// Payments.
pub struct PaymentsApi;

#[OpenApi(prefix_path = "/v1")]
impl PaymentsApi {
    /// Pay an order
    ///
    /// Answers the payment: captured, or with the address where the buyer pays, `unknown` while its provider does not answer (the address comes: list the
    /// payments), or `failed` where it refused. Needs `Idempotency-Key`: ask again with the same key after a lost
    /// answer or a 503 and you get the same payment; nobody is charged twice.
    #[oai(path = "/orders/:order_id/payments", method = "post", operation_id = "pay_order", tag = "Chapter::Buying")]
    async fn pay_order(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        arrival: Data<&Arrival>,
        order_id: Path<OrderId>,
        /// A fresh random key of this payment, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewPayment>,
    ) -> Result<Created<Payment>, Or<Paying>> {
        let key = request_key(key.as_deref())?;
        let payment = super::pay(&app, *order_id, &secret, key, body.way, arrival.0.0).await?;
        let location = format!("/v1/orders/{}/payments", *order_id);
        Ok(Created { body: payment, location })
    }

    /// List the payments of an order
    ///
    /// Oldest first; five at most.
    #[oai(path = "/orders/:order_id/payments", method = "get", operation_id = "list_payments", tag = "Chapter::Buying")]
    async fn list_payments(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<Payment>>, Or<Usual>> {
        of_fan(&app, &secret, *order_id).await?;
        Ok(Json(Page { items: super::by_order(&app.pools.web, *order_id).await?, next: None }))
    }

    /// List the ways to pay an order
    ///
    /// The best first; none where nobody takes money for its promoter yet.
    #[oai(path = "/orders/:order_id/payment-ways", method = "get", operation_id = "list_payment_ways", tag = "Chapter::Buying")]
    async fn list_payment_ways(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Ways>, Or<Usual>> {
        of_fan(&app, &secret, *order_id).await?;
        let order = crate::orders::order(&app.pools.web, *order_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(Ways { ways: super::ways(&app, order_id.festival(), order.total.minor).await? }))
    }

    /// Give a payment up
    ///
    /// So that the order can be paid otherwise; by the secret of its order. Answers the payment as it is then: it may turn out to be captured, and stays
    /// open while its provider does not answer. Giving it up again changes nothing.
    #[oai(path = "/payments/:payment_id/cancellations", method = "post", operation_id = "cancel_payment", tag = "Chapter::Buying")]
    async fn cancel_payment(&self, AsFan(secret): AsFan, app: Data<&App>, payment_id: Path<PaymentId>) -> Result<Json<Payment>, Or<Usual>> {
        let payment = super::payment(&app.pools.web, *payment_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        of_fan(&app, &secret, payment.order_id).await?;
        if payment.status.is_open() {
            super::give_up(&app, &payment).await;
        }
        let now = super::payment(&app.pools.web, *payment_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(now))
    }

    /// Take in a notification of a provider
    ///
    /// Signed by the provider. Telling again has no further effect; anything but 200 means: tell again.
    #[oai(path = "/payment-notifications/:provider", method = "post", operation_id = "notify_payment", tag = "Chapter::Payments")]
    async fn notify_payment(
        &self,
        app: Data<&App>,
        provider: Path<String>,
        /// `<unix seconds>.<hex HMAC-SHA256>` over seconds, a dot and the body.
        #[oai(name = "Gatefold-Signature")]
        signature: Header<Option<String>>,
        body: Binary<Vec<u8>>,
    ) -> Result<Json<Taken>, Or<Notifying>> {
        notified(&app, &provider, None, signature.as_deref(), &body).await?;
        Ok(Json(Taken { taken: true }))
    }

    /// Take in a notification for a payment account
    ///
    /// Signed by the provider with a secret of the account. Telling again has no further effect, and what is not about a payment of this account is passed
    /// by; anything but 200 means: tell again.
    #[oai(path = "/payment-notifications/:provider/:account_id", method = "post", operation_id = "notify_payment_account", tag = "Chapter::Payments")]
    async fn notify_payment_account(
        &self,
        app: Data<&App>,
        provider: Path<String>,
        account_id: Path<PaymentAccountId>,
        /// As Stripe makes it: `t=<unix seconds>,v1=<hex HMAC-SHA256>` over seconds, a dot and the body.
        #[oai(name = "Stripe-Signature")]
        signature: Header<Option<String>>,
        body: Binary<Vec<u8>>,
    ) -> Result<Json<Taken>, Or<Notifying>> {
        notified(&app, &provider, Some(*account_id), signature.as_deref(), &body).await?;
        Ok(Json(Taken { taken: true }))
    }
}
