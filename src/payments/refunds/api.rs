//! The JSON face of refunds.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};

use super::{Asked, Decision, Listed, Part, Quote, Refund, RefundError, RefundReason, RefundStatus};
use crate::{
    accounts::{
        Scope,
        guard::{AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{AMOUNT_CHANGED, CONFLICT, Created, KEY_REUSED, NOT_FOUND, NOTHING_LEFT, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{FestivalId, OrderId, RefundId, TicketId},
    money::Money,
    orders::api::{readable, request_key},
    page::Page,
    refusals,
};

impl From<RefundError> for Problem {
    fn from(error: RefundError) -> Self {
        let words = error.to_string();
        match error {
            RefundError::NotFound => NOT_FOUND.problem(),
            RefundError::Wrong(pointer, reason) => Self::invalid(vec![Wrong { pointer, reason }]),
            RefundError::Nothing => NOTHING_LEFT.problem(),
            RefundError::Amount(amount) => AMOUNT_CHANGED.because(words).with("amount", serde_json::json!(amount)),
            RefundError::KeyReused => KEY_REUSED.problem(),
            RefundError::NotPaid(status) => CONFLICT.because(format!("the order is {status:?}: only paid orders have something to return").to_lowercase()),
            RefundError::OnAWrist(_) | RefundError::State(_) | RefundError::Returned | RefundError::NoTwin => CONFLICT.because(words),
            RefundError::Denied(denied) => denied.into(),
            RefundError::Database(error) => error.into(),
        }
    }
}

refusals! {
    /// What a refund refuses.
    Refunding: KEY_MISSING, FORBIDDEN, NOT_FOUND, NOTHING_LEFT, AMOUNT_CHANGED, CONFLICT, INVALID, KEY_REUSED;
    /// What handing back refuses.
    Returning: NOT_FOUND, NOTHING_LEFT, CONFLICT;
    /// What a quote and a decision refuse.
    Deciding: FORBIDDEN, NOT_FOUND, NOTHING_LEFT, CONFLICT, INVALID;
}

/// A part of an order that is to be returned: of its line everything that is left, or so many units, or the units of some tickets, or money alone.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct RefundPart {
    /// The line.
    pub line_no: i16,
    /// A component of it; all without one.
    pub component_no: Option<i16>,
    /// So many units: those first that nobody came in on.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub units: Option<i32>,
    /// The units of these tickets.
    #[oai(default, validator(max_items = 100))]
    pub ticket_ids: Vec<TicketId>,
    /// So much money, and nothing is returned.
    pub amount: Option<Money>,
}

/// What is to go back.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewRefund {
    /// Its parts; everything that is left of the order without any.
    #[oai(default, validator(max_items = 60))]
    pub parts: Vec<RefundPart>,
    /// What you keep of it.
    pub kept: Option<Money>,
    /// Why; `late_money` is the house's own.
    pub reason: RefundReason,
    /// A sentence for whoever asks later. It is needed where somebody came in on a ticket.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
    /// The amount that you saw in a quote. If it is another one meanwhile, nothing happens: 409 `amount-changed`.
    pub expected: Option<Money>,
}

impl NewRefund {
    fn asked(&self, order_id: OrderId) -> Result<Asked<'_>, Problem> {
        let mut wrong = Vec::new();
        let mut minor = |money: Option<Money>, at: String| {
            if money.is_some_and(|money| money.minor < 0 || self.expected.is_some_and(|expected| expected.currency != money.currency)) {
                wrong.push(Wrong::new(at, "not negative, and in the currency of the order"));
            }
            money.map(|money| money.minor)
        };
        let kept_minor = minor(self.kept, "/kept".to_owned()).unwrap_or(0);
        let parts: Vec<Part> = self
            .parts
            .iter()
            .enumerate()
            .map(|(i, part)| Part {
                line_no: part.line_no,
                component_no: part.component_no,
                units: part.units,
                ticket_ids: part.ticket_ids.clone(),
                amount_minor: minor(part.amount, format!("/parts/{i}/amount")),
            })
            .collect();
        if self.reason == RefundReason::LateMoney {
            wrong.push(Wrong::new("/reason", "the house gives that reason itself"));
        }
        if wrong.is_empty() { Ok(Asked { order_id, parts, kept_minor, reason: self.reason, note: self.note.trim() }) } else { Err(Problem::invalid(wrong)) }
    }
}

/// What becomes of a refund that its provider refused.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct RefundDecision {
    /// What.
    pub decision: Decision,
    /// A sentence for whoever asks later; by hand it says how it was paid.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// A refund that somebody has to look at.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct RefundCase {
    /// The refund.
    pub refund_id: RefundId,
    /// The order.
    pub order_id: OrderId,
    /// Its state.
    pub status: RefundStatus,
    /// How much.
    pub amount: Money,
    /// When it was asked for.
    pub requested_at: chrono::DateTime<chrono::Utc>,
    /// What the provider said last.
    pub last_error: Option<String>,
}

impl From<Listed> for RefundCase {
    fn from(Listed { refund_id, order_id, status, amount, requested_at, last_error }: Listed) -> Self {
        Self { refund_id, order_id, status, amount, requested_at, last_error }
    }
}

/// Refunds.
pub struct RefundsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl RefundsApi {
    /// List the refunds of an order
    ///
    /// Oldest first. By the order's secret, or by its promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id/refunds", method = "get", operation_id = "list_refunds")]
    async fn list_refunds(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<Refund>>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(Page { items: super::by_order(&mut conn, *order_id).await?, next: None }))
    }

    /// Quote a refund
    ///
    /// What would go back and which tickets would be returned; nothing changes. Scope `refunds:write`.
    #[oai(path = "/orders/:order_id/refund-quotes", method = "post", operation_id = "quote_refund")]
    async fn quote_refund(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        order_id: Path<OrderId>,
        body: Json<NewRefund>,
    ) -> Result<Json<Quote>, Or<Deciding>> {
        staff.may(Scope::RefundsWrite)?;
        reach(&staff, order_id.festival())?;
        Ok(Json(super::quote(&app, &staff, &body.asked(*order_id)?).await?))
    }

    /// Refund an order
    ///
    /// All of it, lines, components, units, tickets, or money alone. The tickets are suspended from now on; when the money went they are void, and stock and
    /// albums come back. Needs `Idempotency-Key`: the same key gets the same refund again, and money goes back once. Scope `refunds:write`; where somebody
    /// came in on a ticket, `money:write` and a note.
    #[oai(path = "/orders/:order_id/refunds", method = "post", operation_id = "refund_order")]
    async fn refund_order(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        order_id: Path<OrderId>,
        /// A fresh random key of this refund, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewRefund>,
    ) -> Result<Created<Refund>, Or<Refunding>> {
        staff.may(Scope::RefundsWrite)?;
        reach(&staff, order_id.festival())?;
        let key = request_key(key.as_deref())?;
        let refund = super::request(&app, &staff, &body.asked(*order_id)?, key, body.expected).await?;
        Ok(Created { body: refund, location: format!("/v1/orders/{}/refunds", *order_id) })
    }

    /// Hand back an order that was bought twice
    ///
    /// The second of two paid orders of one address with the same offers and units, within half an hour: for a day, while nothing of it was used, taken or
    /// heard. All of its money goes back. Asking again gets the same refund.
    #[oai(path = "/orders/:order_id/twin-returns", method = "post", operation_id = "return_twin")]
    async fn return_twin(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Refund>, Or<Returning>> {
        Ok(Json(super::twins::give_back(&app, *order_id, &secret).await?))
    }

    /// Decide a refund
    ///
    /// One that its provider refused: it is asked once more, or you paid it by hand, or it is withdrawn and its tickets are valid again. One that waits for
    /// funds can be tried again at once. Scope `money:write`.
    #[oai(path = "/refunds/:refund_id/decisions", method = "post", operation_id = "decide_refund")]
    async fn decide_refund(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        refund_id: Path<RefundId>,
        body: Json<RefundDecision>,
    ) -> Result<Json<Refund>, Or<Deciding>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, refund_id.festival())?;
        Ok(Json(super::decide(&app, &staff, *refund_id, body.decision, body.note.trim()).await?))
    }

    /// List the refunds that need somebody
    ///
    /// Those that a provider refused and those that wait for funds: oldest first, at most 200. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/refund-cases", method = "get", operation_id = "list_refund_cases")]
    async fn list_refund_cases(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<RefundCase>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let items = super::attention(&mut tx, *festival_id).await?.into_iter().map(RefundCase::from).collect();
        Ok(Json(Page { items, next: None }))
    }
}
