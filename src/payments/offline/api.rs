//! The JSON face of paying without a provider.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};

use super::{AgreeError, CollectError, Collecting, CollectionMethod, MethodTerms, Offered, OfflineMethod};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsFan, AsStaff, reach},
    },
    app::App,
    festivals::api::visible,
    http::{
        door::Arrival,
        idempotency::request_key,
        problem::{ALREADY_PAID, CONFLICT, Changing, Created, NOT_FOUND, NOT_HELD, Or, PAYMENT_OPEN, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, OrderId},
    money::Money,
    orders,
    page::Page,
    payments::Payment,
    refusals,
    words::Text,
};

refusals! {
    /// What letting an order wait for its money refuses.
    Agreeing: NOT_FOUND, NOT_HELD, PAYMENT_OPEN, CONFLICT, INVALID;
    /// What taking money in refuses.
    TakingIn: KEY_MISSING, NOT_FOUND, ALREADY_PAID, PAYMENT_OPEN, CONFLICT, INVALID;
}

impl From<AgreeError> for Problem {
    fn from(error: AgreeError) -> Self {
        let words = error.to_string();
        match error {
            AgreeError::NotFound => NOT_FOUND.problem(),
            AgreeError::NotHeld => NOT_HELD.because(words),
            AgreeError::NotOffered | AgreeError::TooMany => CONFLICT.because(words),
            AgreeError::Open(payment) => PAYMENT_OPEN.because(words).with("payment_id", serde_json::json!(payment)),
            AgreeError::Database(error) => error.into(),
        }
    }
}

impl From<CollectError> for Problem {
    fn from(error: CollectError) -> Self {
        let words = error.to_string();
        match error {
            CollectError::NotFound => NOT_FOUND.problem(),
            CollectError::Amount(total) => CONFLICT.because(words).with("total", serde_json::json!(total)),
            CollectError::NoBoxOffice | CollectError::Gone => CONFLICT.because(words),
            CollectError::Paid => ALREADY_PAID.because(words),
            CollectError::Open => PAYMENT_OPEN.because(words),
            CollectError::Denied(denied) => denied.into(),
            CollectError::Busy(busy) => busy.into(),
            CollectError::Database(error) => error.into(),
        }
    }
}

/// How an order is to be paid without a provider.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewAgreement {
    /// The method.
    pub method: OfflineMethod,
}

/// An order that waits for its money.
#[derive(Debug, Object)]
pub struct Agreement {
    /// How it is to be paid.
    pub method: OfflineMethod,
    /// Until when it waits.
    pub due_at: DateTime<Utc>,
    /// How much: to the last cent.
    pub amount: Money,
    /// What the transfer has to name, so that it is found: the number of the order.
    pub reference: String,
    /// Where the money goes.
    pub instructions: Text,
}

/// Money that a member has for an order.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewCollection {
    /// How it was taken.
    pub method: CollectionMethod,
    /// How much: what the order costs, to the last cent.
    pub amount: Money,
    /// A sentence for whoever asks later: a reference, the number of a slip.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// Money that was taken in.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Collection {
    /// The payment.
    #[oai(flatten)]
    pub payment: Payment,
    /// The number of the receipt, where it was cash.
    pub receipt_no: Option<i32>,
}

/// Paying without a provider.
pub struct OfflineApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl OfflineApi {
    /// List the offline methods of a festival
    ///
    /// How fans may pay without a provider; none where they may not.
    #[oai(path = "/festivals/:festival_id/offline-methods", method = "get", operation_id = "list_offline_methods")]
    async fn list_offline_methods(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Offered>>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        Ok(Json(Page { items: super::methods(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Offer an offline method
    ///
    /// Orders that wait already keep their deadline. Setting it again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/offline-methods/:method", method = "put", operation_id = "set_offline_method")]
    async fn set_offline_method(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        method: Path<OfflineMethod>,
        body: Json<MethodTerms>,
    ) -> Result<Json<MethodTerms>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::set_method(&app, &staff, *festival_id, *method, Some(&body)).await?;
        Ok(body)
    }

    /// Offer an offline method no more
    ///
    /// Orders that wait already keep their deadline. Doing it again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/offline-methods/:method", method = "delete", operation_id = "remove_offline_method")]
    async fn remove_offline_method(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        method: Path<OfflineMethod>,
    ) -> Result<Json<Page<Offered>>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::set_method(&app, &staff, *festival_id, *method, None).await?;
        Ok(Json(Page { items: super::methods(&app.pools.web, *festival_id).await?, next: None }))
    }

    /// Let an order wait for its money
    ///
    /// By the secret of the order, while it is held and no payment of it is open. An email says where the money goes. Agreeing again changes nothing; it can
    /// still be paid otherwise.
    #[oai(path = "/orders/:order_id/payment-agreements", method = "post", operation_id = "agree_to_pay")]
    async fn agree_to_pay(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        body: Json<NewAgreement>,
    ) -> Result<Json<Agreement>, Or<Agreeing>> {
        let deadline = super::agree(&app, *order_id, &secret, body.method).await?;
        let order = orders::held(&app.pools.web, *order_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        let methods = super::methods(&app.pools.web, order_id.festival()).await?;
        let instructions = methods.into_iter().find(|offered| offered.method == body.method).map(|offered| offered.terms.instructions).unwrap_or_default();
        let amount = Money::new(order.total_minor, order.currency);
        Ok(Json(Agreement { method: body.method, due_at: deadline.due_at, amount, reference: orders::number(*order_id), instructions }))
    }

    /// Take in money for an order
    ///
    /// Money that a member has: on the account, in the till, by a terminal. The whole sum; its tickets are out. Where the order is over its places are taken
    /// again if they are there (409 otherwise: give the money back). Needs `Idempotency-Key`: the same key gets the same payment again. Scope `sales:write`.
    #[oai(path = "/orders/:order_id/collections", method = "post", operation_id = "collect_payment")]
    async fn collect_payment(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        arrival: Data<&Arrival>,
        order_id: Path<OrderId>,
        /// A fresh random key of this payment, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewCollection>,
    ) -> Result<Created<Collection>, Or<TakingIn>> {
        staff.may(Scope::SalesWrite)?;
        reach(&staff, order_id.festival())?;
        let key = request_key(key.as_deref())?;
        let collecting = Collecting { order_id: *order_id, method: body.method, amount: body.amount, note: body.note.trim() };
        let payment = super::collect(&app, &staff, &collecting, key, arrival.0.0).await?;
        let receipt_no = super::collection(&app.pools.web, payment.payment_id).await?.and_then(|(_, receipt)| receipt);
        Ok(Created { location: format!("/v1/orders/{}/payments", *order_id), body: Collection { payment, receipt_no } })
    }
}
