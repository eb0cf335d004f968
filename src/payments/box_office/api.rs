//! The JSON face of the box office.

use poem::web::Data;
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};

use super::{BoxOffice, Sale, SellError, Takings};
use crate::{
    accounts::{
        Scope,
        guard::{AsStaff, reach},
    },
    app::App,
    festivals,
    http::{
        door::Arrival,
        idempotency::request_key,
        problem::{CONFLICT, Changing, Created, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, OrderId},
    money::Money,
    orders::{Buyer, Line, Wish, api::order_url},
    page::Page,
    payments::CollectionMethod,
    refusals,
    secrets::Purpose,
    words::Language,
};

refusals! {
    /// What selling at the door refuses.
    Selling: KEY_MISSING, NOT_FOUND, CONFLICT, ALREADY_PAID, SOLD_OUT, PAUSED, REQUIREMENT, PRICE_CHANGED, KEY_REUSED, INVALID;
}

impl From<SellError> for Problem {
    fn from(error: SellError) -> Self {
        match error {
            SellError::NotFound => NOT_FOUND.problem(),
            SellError::Closed => CONFLICT.because(error.to_string()),
            SellError::Place(error) => error.into(),
            SellError::Collect(error) => error.into(),
            SellError::Denied(denied) => denied.into(),
            SellError::Database(error) => error.into(),
        }
    }
}

/// How a sale at the door is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum DoorMethod {
    /// Cash; its receipt is numbered.
    Cash,
    /// By a card terminal that is not ours.
    CardTerminal,
    /// It is given away; the reason says why.
    Comp,
}

impl DoorMethod {
    /// How the money was taken; nothing for what is given away.
    #[must_use]
    pub fn collected(self) -> Option<CollectionMethod> {
        match self {
            Self::Cash => Some(CollectionMethod::Cash),
            Self::CardTerminal => Some(CollectionMethod::CardTerminal),
            Self::Comp => None,
        }
    }
}

/// A sale at the door.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewSale {
    /// What is sold; hidden offers, too, and whatever their window says.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub lines: Vec<Wish>,
    /// How it is paid.
    pub method: DoorMethod,
    /// Where the tickets go; without an address they are shown or printed here.
    #[oai(validator(max_length = 254))]
    pub email: Option<String>,
    /// The name of the buyer, where they gave one.
    #[oai(default, validator(max_length = 120))]
    pub name: String,
    /// The language of emails and pages; English where it is not said.
    #[oai(default)]
    pub language: Language,
    /// Why it is given away, or a note.
    #[oai(default, validator(max_length = 500))]
    pub reason: String,
    /// The total that you saw. If it would be higher, nothing is sold: 409 `price-changed`.
    pub expected_total: Option<Money>,
}

/// What was sold at the door.
#[derive(Debug, Object)]
#[oai(rename = "SoldAtTheDoor", skip_serializing_if_is_none)]
pub struct Sold {
    /// The order.
    pub order_id: OrderId,
    /// The secret of the order.
    pub secret: String,
    /// The page of the order with its tickets.
    pub url: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What was paid.
    pub total: Money,
    /// The number of the receipt, where it was cash.
    pub receipt_no: Option<i32>,
}

/// The box office of a festival.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ShownOffice {
    /// Where it is and whether it sells; nothing as long as there is none.
    pub box_office: Option<BoxOffice>,
    /// What the law of its country asks for beside a numbered receipt: `device` (a certified till), `ticketing` (certified tickets) or `invoice` (registered
    /// invoices). Ask somebody who knows it.
    pub warning: Option<String>,
}

/// Sales at the door.
pub struct BoxOfficeApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl BoxOfficeApi {
    /// Look at the box office of a festival
    ///
    /// Scope `sales:write`.
    #[oai(path = "/festivals/:festival_id/box-office", method = "get", operation_id = "show_box_office")]
    async fn show_box_office(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<ShownOffice>, Or<Usual>> {
        staff.may(Scope::SalesWrite)?;
        reach(&staff, *festival_id)?;
        let mut tx = app.for_promoter(staff.promoter).await?;
        festivals::owned(&mut tx, staff.promoter, *festival_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        let box_office = super::office(&mut tx, *festival_id).await?;
        let warning = box_office.as_ref().and_then(BoxOffice::warning).map(str::to_owned);
        Ok(Json(ShownOffice { box_office, warning }))
    }

    /// Open or close the box office of a festival
    ///
    /// Setting it again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/box-office", method = "put", operation_id = "set_box_office")]
    async fn set_box_office(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<BoxOffice>,
    ) -> Result<Json<ShownOffice>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::set(&app, &staff, *festival_id, &body).await?;
        let warning = body.warning().map(str::to_owned);
        Ok(Json(ShownOffice { box_office: Some(body.0), warning }))
    }

    /// Sell at the door
    ///
    /// Cash, a card terminal, or given away with a reason: the order is placed, paid and its tickets are out. The same stock as everybody's. Needs
    /// `Idempotency-Key`: the same key of the same member or token gets the same sale again. Scope `sales:write`.
    #[oai(path = "/festivals/:festival_id/box-office-sales", method = "post", operation_id = "sell_at_door")]
    async fn sell_at_door(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        arrival: Data<&Arrival>,
        festival_id: Path<FestivalId>,
        /// A fresh random key of this sale, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewSale>,
    ) -> Result<Created<Sold>, Or<Selling>> {
        staff.may(Scope::SalesWrite)?;
        reach(&staff, *festival_id)?;
        let key = request_key(key.as_deref())?;
        let NewSale { lines, method, email, name, language, reason, expected_total } = body.0;
        let buyer = Buyer { email: email.unwrap_or_default().trim().to_owned(), name: name.trim().to_owned(), language };
        let expected_minor = expected_total.map(|total| total.minor);
        let sale = Sale { basket: lines, method: method.collected(), buyer, reason: reason.trim(), expected_minor };
        let sold = super::sell(&app, &staff, *festival_id, sale, key, arrival.0.0).await?;
        let (order_id, generation) = (sold.placed.order_id, sold.placed.link_generation);
        let body = Sold {
            order_id,
            secret: app.secrets.link(Purpose::OrderLink, order_id.0, generation),
            url: order_url(&app, order_id, generation),
            lines: sold.placed.lines,
            total: sold.placed.total,
            receipt_no: sold.receipt_no,
        };
        Ok(Created { body, location: format!("/v1/orders/{order_id}") })
    }

    /// Look at what was taken by hand
    ///
    /// By day and method: bank transfers, cash, card terminals, and what was given away (`comp`). The latest days first. Scope `sales:write`.
    #[oai(path = "/festivals/:festival_id/takings", method = "get", operation_id = "list_takings")]
    async fn list_takings(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Takings>>, Or<Usual>> {
        staff.may(Scope::SalesWrite)?;
        reach(&staff, *festival_id)?;
        let mut tx = app.for_promoter(staff.promoter).await?;
        festivals::owned(&mut tx, staff.promoter, *festival_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        let festival = festivals::one(&mut *tx, *festival_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(Page { items: super::takings(&mut tx, *festival_id, &festival.terms.time_zone).await?, next: None }))
    }
}
