//! The JSON face of withdrawing from a contract.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};

use super::RescissionTerms;
use crate::{
    accounts::guard::AsFan,
    app::App,
    http::{
        idempotency::request_key,
        problem::{Created, Or, Usual},
        tags::Chapter,
    },
    id::OrderId,
    money::Money,
    orders::api::of_fan,
    payments::refunds::{Refund, api::for_fan},
    refusals,
};

refusals! {
    /// What withdrawing refuses.
    Rescinding: KEY_MISSING, NOT_FOUND, AMOUNT_CHANGED, CONFLICT, INVALID;
}

/// What an order may be withdrawn from.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Rescindable {
    /// The terms; nothing where it is too late or everything was heard.
    pub terms: Option<RescissionTerms>,
}

/// A withdrawal.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewRescission {
    /// The amount that you saw: another one is refused with 409.
    pub expected: Option<Money>,
}

/// Withdrawals from contracts.
pub struct RescissionApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl RescissionApi {
    /// Look at what an order may be withdrawn from
    ///
    /// Albums that nobody heard, for fourteen days; by the secret of the order.
    #[oai(path = "/orders/:order_id/rescission-terms", method = "get", operation_id = "show_rescission_terms")]
    async fn show_rescission_terms(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Rescindable>, Or<Usual>> {
        of_fan(&app, &secret, *order_id).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(Rescindable { terms: super::terms(&mut conn, *order_id, app.clock.now()).await? }))
    }

    /// Withdraw from the contract about albums
    ///
    /// About every album of the order that nobody heard, by its secret: their money goes back, and an email confirms when it was said. Needs
    /// `Idempotency-Key`: the same key gets the same refund again.
    #[oai(path = "/orders/:order_id/rescissions", method = "post", operation_id = "rescind_order")]
    async fn rescind_order(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        /// A fresh random key of this withdrawal, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewRescission>,
    ) -> Result<Created<Refund>, Or<Rescinding>> {
        of_fan(&app, &secret, *order_id).await?;
        let key = request_key(key.as_deref())?;
        let refund = super::rescind(&app, *order_id, &secret, key, body.expected).await?;
        Ok(Created { body: for_fan(refund), location: format!("/v1/orders/{}/refunds", *order_id) })
    }
}
