//! The JSON face of refunds.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};

use serde_json::json;

use super::{
    Asked, Decision, Listed, Part, Quote, Refund, RefundError, RefundReason,
    rule::{self, RefundRule, ReturnTerms},
};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals::api::{of_staff, visible},
    http::{
        problem::{AMOUNT_CHANGED, CONFLICT, Changing, Created, KEY_REUSED, NOT_FOUND, NOTHING_LEFT, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{FestivalId, OrderId, RefundId, TicketId},
    money::Money,
    orders::api::{of_fan, readable, request_key},
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
            RefundError::Amount(amount) => AMOUNT_CHANGED.because(words).with("amount", json!(amount)),
            RefundError::KeyReused => KEY_REUSED.problem(),
            RefundError::NotPaid(status) => {
                CONFLICT.because(format!("the order is {}: only paid orders have something to return", json!(status).as_str().unwrap_or_default()))
            }
            RefundError::OnAWrist(_)
            | RefundError::InPool(_)
            | RefundError::State(_)
            | RefundError::Returned
            | RefundError::NoTwin
            | RefundError::NotByRule => CONFLICT.because(words),
            RefundError::Denied(denied) => denied.into(),
            RefundError::Database(error) => error.into(),
        }
    }
}

refusals! {
    /// What a refund refuses.
    Refunding: KEY_MISSING, FORBIDDEN, NOT_FOUND, NOTHING_LEFT, AMOUNT_CHANGED, CONFLICT, INVALID, KEY_REUSED;
    /// What handing back refuses.
    Returning: NOT_FOUND, CONFLICT, INVALID;
    /// What a quote refuses.
    Quoting: FORBIDDEN, NOT_FOUND, NOTHING_LEFT, AMOUNT_CHANGED, CONFLICT, INVALID;
    /// What a decision refuses.
    Deciding: FORBIDDEN, NOT_FOUND, CONFLICT, INVALID;
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
    /// Whether the booking fee stays; as the line says where you do not. One that the promoter bears always stays.
    pub keep_fees: Option<bool>,
    /// Why; `late_money` and `disputed` are the house's own.
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
        let mut currency = self.expected.map(|expected| expected.currency);
        let mut minor = |money: Option<Money>, at: String| {
            let money = money?;
            if money.minor < 0 || *currency.get_or_insert(money.currency) != money.currency {
                wrong.push(Wrong::new(at, "not negative, and in the currency of the order"));
            }
            Some(money.minor)
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
        if matches!(self.reason, RefundReason::LateMoney | RefundReason::Disputed | RefundReason::HandedBack | RefundReason::Rescinded) {
            wrong.push(Wrong::new("/reason", "the house gives that reason itself"));
        }
        if wrong.is_empty() {
            Ok(Asked { order_id, parts, kept_minor, keep_fees: self.keep_fees, currency, reason: self.reason, note: self.note.trim() })
        } else {
            Err(Problem::invalid(wrong))
        }
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

/// Tickets that a fan gives back by the rule of their order.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewReturn {
    /// The tickets.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub ticket_ids: Vec<TicketId>,
    /// The amount that was seen. If it is another one meanwhile, nothing happens: 409 `amount-changed`.
    pub expected: Option<Money>,
}

/// The refund rule of a festival, if it has one.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct RuleInForce {
    /// The rule that orders are placed under now.
    pub rule: Option<RefundRule>,
}

/// What can be given back of an order, if anything can.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ReturnTermsNow {
    /// Which tickets, until when, and what is kept.
    pub terms: Option<ReturnTerms>,
}

/// A rule ended.
#[derive(Debug, Object)]
pub struct Ended {
    /// Always true; ending it again changes nothing.
    pub ended: bool,
}

/// A refund as its fan sees it: why is between the promoter and their books, and so is a fee that costs the fan nothing.
pub(super) fn for_fan(mut refund: Refund) -> Refund {
    refund.reason = None;
    refund.items.retain(|item| item.component_no != crate::offers::FEE || item.minor > 0);
    refund
}

/// Refunds.
pub struct RefundsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl RefundsApi {
    /// List the refunds of an order
    ///
    /// Oldest first, at most 200. By the order's secret, or by its promoter with the scope `orders:read`, who sees why, too.
    #[oai(path = "/orders/:order_id/refunds", method = "get", operation_id = "list_refunds")]
    async fn list_refunds(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<Refund>>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        let mut conn = app.pools.web.acquire().await?;
        let mut items = super::by_order(&mut conn, *order_id).await?;
        if matches!(who, Reader::Fan(_)) {
            items = items.into_iter().map(for_fan).collect();
        }
        Ok(Json(Page { items, next: None }))
    }

    /// Quote a refund
    ///
    /// What would go back and which tickets would be returned; nothing changes. Scope `refunds:write`.
    #[oai(path = "/orders/:order_id/refund-quotes", method = "post", operation_id = "quote_refund")]
    async fn quote_refund(&self, AsStaff(staff): AsStaff, app: Data<&App>, order_id: Path<OrderId>, body: Json<NewRefund>) -> Result<Json<Quote>, Or<Quoting>> {
        staff.may(Scope::RefundsWrite)?;
        reach(&staff, order_id.festival())?;
        let quote = super::quote(&app, &staff, &body.asked(*order_id)?).await?;
        match body.expected {
            Some(expected) if expected != quote.amount => Err(RefundError::Amount(quote.amount).into()),
            _ => Ok(Json(quote)),
        }
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
        Ok(Json(for_fan(super::twins::give_back(&app, *order_id, &secret).await?)))
    }

    /// Look at the refund rule of a festival
    ///
    /// The rule that orders are placed under now; none where fans give nothing back without asking.
    #[oai(path = "/festivals/:festival_id/refund-rule", method = "get", operation_id = "show_refund_rule")]
    async fn show_refund_rule(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<RuleInForce>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(RuleInForce { rule: rule::rule(&mut conn, *festival_id, app.clock.now()).await? }))
    }

    /// Set the refund rule of a festival
    ///
    /// For orders that are placed from now on; those of before stay under theirs. Setting it again changes nothing. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/refund-rule", method = "put", operation_id = "set_refund_rule")]
    async fn set_refund_rule(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<RefundRule>,
    ) -> Result<Json<RefundRule>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        rule::set_rule(&app, &staff, *festival_id, Some(*body)).await?;
        Ok(body)
    }

    /// End the refund rule of a festival
    ///
    /// Whoever orders from now on gives nothing back without asking; orders of before stay under their rule. Ending it again changes nothing. Scope
    /// `offers:write`.
    #[oai(path = "/festivals/:festival_id/refund-rule/ends", method = "post", operation_id = "end_refund_rule")]
    async fn end_refund_rule(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Ended>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        rule::set_rule(&app, &staff, *festival_id, None).await?;
        Ok(Json(Ended { ended: true }))
    }

    /// Look at what can be given back
    ///
    /// Which tickets of an order its fan may give back now, until when, and what is kept; no terms where there is nothing.
    #[oai(path = "/orders/:order_id/return-terms", method = "get", operation_id = "show_return_terms")]
    async fn show_return_terms(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<ReturnTermsNow>, Or<Usual>> {
        of_fan(&app, &secret, *order_id).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(ReturnTermsNow { terms: rule::terms(&mut conn, *order_id, app.clock.now()).await? }))
    }

    /// Give tickets back
    ///
    /// By the rule that the order was placed under: their money goes back less what is kept, and they open nothing any more. An album that nobody heard
    /// goes with its ticket. Needs `Idempotency-Key`: the same key gets the same refund again.
    #[oai(path = "/orders/:order_id/returns", method = "post", operation_id = "return_tickets")]
    async fn return_tickets(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        /// A fresh random key of this return, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewReturn>,
    ) -> Result<Created<Refund>, Or<Refunding>> {
        of_fan(&app, &secret, *order_id).await?;
        let key = request_key(key.as_deref())?;
        let refund = rule::give_back(&app, *order_id, &secret, &body.ticket_ids, key, body.expected).await?;
        Ok(Created { body: for_fan(refund), location: format!("/v1/orders/{}/refunds", *order_id) })
    }

    /// Decide a refund
    ///
    /// One that its provider refused: it is asked once more, or you paid it by hand, or it is withdrawn and its tickets are valid again. One that waits for
    /// funds can be tried again at once. Deciding the same again changes nothing and gets the same refund. Scope `money:write`.
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
    /// Those that a provider refused, that wait for funds, or that are undecided for a day: oldest first, at most 200. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/refund-cases", method = "get", operation_id = "list_refund_cases")]
    async fn list_refund_cases(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Listed>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let items = super::attention(&mut tx, *festival_id, app.clock.now()).await?;
        Ok(Json(Page { items, next: None }))
    }
}
