//! The JSON face of buying: place an order, look at it, give it up.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};
use serde_json::json;

use super::{Asking, Buyer, CancelError, Holder, Line, Order, OrderStatus, PlaceError, Placed, Wish};
use crate::{
    accounts::{
        self, Scope,
        guard::{AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals,
    http::{
        door::Arrival,
        limit::{Client, Limited, Limits},
        problem::{
            ALREADY_PAID, CONFLICT, Changing, Created, FAN_LIMIT, KEY_REUSED, NOT_FOUND, NOT_HELD, NOT_YET, ORDER_LIMIT, OVER, Or, PAUSED, PAYMENT_OPEN,
            PAYMENTS_DOWN, PLACE_USED, PRICE_CHANGED, Problem, REQUIREMENT, SOLD_OUT, TOO_MANY, Usual, Wrong,
        },
        tags::Chapter,
    },
    id::{FestivalId, OrderId},
    money::Money,
    offers::NoVoucher,
    refusals,
    secrets::Purpose,
    waiting,
    words::Language,
};

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        let words = error.to_string();
        match error {
            PlaceError::Invalid(pointer, reason) => Self::invalid(vec![Wrong { pointer, reason }]),
            PlaceError::KeyReused => KEY_REUSED.problem(),
            PlaceError::WaitingRoom(offer, turn) => waiting::api::needs_place(offer, &turn),
            PlaceError::Voucher(why) => why.into(),
            PlaceError::Slower(wait) => Self { retry_after: Some(wait), ..TOO_MANY.because(words) },
            PlaceError::PaymentsDown => Self { retry_after: Some(15), ..PAYMENTS_DOWN.problem() },
            PlaceError::PlaceUsed => PLACE_USED.problem(),
            PlaceError::NotWaiting => CONFLICT.because(words),
            PlaceError::SoldOut(offer, availability) => SOLD_OUT.because(words).with("offer_id", json!(offer)).with("availability", json!(availability)),
            PlaceError::NotYet(offer, opens_at) => NOT_YET.because(words).with("offer_id", json!(offer)).with("opens_at", json!(opens_at)),
            PlaceError::Over(offer) => OVER.because(words).with("offer_id", json!(offer)),
            PlaceError::Paused(offer, sentence) => PAUSED.because(sentence.read(Language::En)).with("offer_id", json!(offer)).with("sentence", json!(sentence)),
            PlaceError::OrderLimit(offer, max) => ORDER_LIMIT.because(words).with("offer_id", json!(offer)).with("max", json!(max)),
            PlaceError::FanLimit { offer, max, have } => {
                FAN_LIMIT.because(words).with("offer_id", json!(offer)).with("max", json!(max)).with("have", json!(have))
            }
            PlaceError::Requirement(offer, any_of) => REQUIREMENT.because(words).with("offer_id", json!(offer)).with("any_of", json!(any_of)),
            PlaceError::PriceChanged(lines, total) => PRICE_CHANGED.because(words).with("lines", json!(seen(lines))).with("total", json!(total)),
            PlaceError::Busy(busy) => busy.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound => NOT_FOUND.problem(),
            CancelError::NotHeld(OrderStatus::Paid) => ALREADY_PAID.problem(),
            CancelError::NotHeld(status) => NOT_HELD.because(format!("the order is {status:?}").to_lowercase()),
            CancelError::PaymentOpen => PAYMENT_OPEN.problem(),
            CancelError::Busy(busy) => busy.into(),
        }
    }
}

pub use crate::http::idempotency::request_key;

refusals! {
    /// What placing refuses.
    Placing: KEY_MISSING, WAITING_ROOM, PLACE_USED, PAYMENTS_DOWN, VOUCHER, SOLD_OUT, NOT_YET, OVER, PAUSED, FAN_LIMIT, PRICE_CHANGED, INVALID, KEY_REUSED, ORDER_LIMIT, REQUIREMENT;
    /// What giving up refuses.
    Cancelling: NOT_FOUND, NOT_HELD, ALREADY_PAID, PAYMENT_OPEN;
}

/// An order to be placed.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewOrder {
    /// The address of the buyer; the tickets go there.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// The name of the buyer, printed on the tickets until their holders are named.
    #[oai(default, validator(max_length = 120))]
    pub name: String,
    /// The language of emails and pages.
    #[oai(default)]
    pub language: Language,
    /// What is asked for; offers of one festival. All or nothing.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub lines: Vec<Wish>,
    /// The code of a voucher.
    #[oai(validator(max_length = 60))]
    pub voucher: Option<String>,
    /// The total that the buyer saw. If it would be higher, nothing is held: 409 `price-changed`.
    pub expected_total: Option<Money>,
}

/// An order that was placed: what is frozen then. The current state is at its address.
#[derive(Debug, Object)]
pub struct PlacedOrder {
    /// The order.
    pub order_id: OrderId,
    /// The secret of the order: `Authorization: Bearer gf_order_<secret>` opens it and nothing else.
    pub secret: String,
    /// The page of the order for its buyer.
    pub url: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// The price to pay.
    pub total: Money,
    /// Net, tax and fee inside the total.
    pub breakdown: Breakdown,
    /// Until when stock is held.
    pub held_until: chrono::DateTime<chrono::Utc>,
}

/// What is inside a price.
#[derive(Debug, Object)]
pub struct Breakdown {
    /// Without tax.
    pub net: Money,
    /// Taxes by rate.
    pub taxes: Vec<Tax>,
    /// Booking fees with their tax; inside the total like everything else.
    pub fee: Money,
}

/// A tax inside a price.
#[derive(Debug, Object)]
pub struct Tax {
    /// The rate in parts per million: 9 % is 90000.
    pub rate_ppm: u32,
    /// How much.
    pub amount: Money,
}

/// Net, taxes by rate and fee of lines.
#[must_use]
pub fn breakdown(lines: &[Line], total: Money) -> Breakdown {
    let mut taxes: std::collections::BTreeMap<u32, i64> = std::collections::BTreeMap::new();
    let mut fee = 0;
    for line in lines {
        for share in &line.shares {
            if share.fee.is_some() {
                fee += share.minor * i64::from(line.quantity);
            }
            *taxes.entry(share.tax_ppm).or_default() += share.tax_minor * i64::from(line.quantity);
        }
    }
    let sum: i64 = taxes.values().sum();
    Breakdown {
        net: Money::new(total.minor - sum, total.currency),
        taxes: taxes
            .into_iter()
            .filter(|(_, minor)| *minor != 0)
            .map(|(rate_ppm, minor)| Tax { rate_ppm, amount: Money::new(minor, total.currency) })
            .collect(),
        fee: Money::new(fee, total.currency),
    }
}

/// Who holds something: a fan by their address, where they come from.
#[must_use]
pub fn holder(client: Client, email: &str) -> Holder {
    Holder { fan: super::short_hash(&[b"fan", accounts::email_key(email).as_bytes()]), address: client.key(), network: client.network() }
}

/// The link of an order's page.
#[must_use]
pub fn order_url(app: &App, order: OrderId, generation: i16) -> String {
    format!("{}/o/{order}/{}", app.settings.public_url, app.secrets.link(Purpose::OrderLink, order.0, generation))
}

/// Lines as their buyer sees them: without a fee that the promoter bears.
#[must_use]
pub fn seen(mut lines: Vec<Line>) -> Vec<Line> {
    for line in &mut lines {
        line.shares.retain(|share| share.fee.is_none() || share.minor > 0);
    }
    lines
}

fn placed(app: &App, order: Placed) -> Created<PlacedOrder> {
    let location = format!("/v1/orders/{}", order.order_id);
    let body = PlacedOrder {
        order_id: order.order_id,
        secret: app.secrets.link(Purpose::OrderLink, order.order_id.0, order.link_generation),
        url: order_url(app, order.order_id, order.link_generation),
        breakdown: breakdown(&order.lines, order.total),
        lines: seen(order.lines),
        total: order.total,
        held_until: order.held_until,
    };
    Created { body, location }
}

/// An order that a reader may see: its fan by the secret, or its promoter. Everything else does not exist.
///
/// # Errors
/// A problem `not-found`.
pub async fn readable(app: &App, who: &Reader, id: OrderId) -> Result<Order, Problem> {
    if let Reader::Staff(staff) = who {
        staff.may(Scope::OrdersRead)?;
    }
    let mut order = super::order(&app.pools.web, id).await?;
    if let (Some(order), Reader::Fan(_)) = (&mut order, who) {
        order.lines = seen(std::mem::take(&mut order.lines));
    }
    let allowed = match (&order, who) {
        (Some(order), Reader::Fan(secret)) => app.secrets.is_link(Purpose::OrderLink, id.0, order.link_generation, secret),
        (Some(_), Reader::Staff(staff)) => {
            let festival = festivals::one(&app.pools.web, id.festival()).await?;
            festival.is_some_and(|f| f.promoter_id == staff.promoter) && staff.reaches(id.festival())
        }
        (None, _) => false,
    };
    order.filter(|_| allowed).ok_or_else(|| NOT_FOUND.problem())
}

/// Checks the secret of an order without reading its lines.
///
/// # Errors
/// A problem `not-found`.
pub async fn of_fan(app: &App, secret: &str, id: OrderId) -> Result<(), Problem> {
    let held = super::held(&app.pools.web, id).await?;
    if held.is_some_and(|order| order.is_link(app, secret)) { Ok(()) } else { Err(NOT_FOUND.problem()) }
}

/// How long what is held lasts at least.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Extension {
    /// Minutes from now.
    #[oai(validator(minimum(value = "1"), maximum(value = "60")))]
    pub minutes: i64,
}

/// What an extension did.
#[derive(Debug, Object)]
pub struct Extended {
    /// How many holds last longer now.
    pub extended: u64,
}

/// Buying.
pub struct OrdersApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Buying")]
impl OrdersApi {
    /// Place an order
    ///
    /// Holds its stock for ten minutes, all or nothing. Needs `Idempotency-Key`: ask again with the same key after a lost answer or a 503 and you get the
    /// same order; another request with the same key is refused (422 `key-reused`).
    #[oai(path = "/orders", method = "post", operation_id = "place_order")]
    async fn place_order(
        &self,
        app: Data<&App>,
        client: Data<&Client>,
        arrival: Data<&Arrival>,
        /// A fresh random key of this order, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        /// The place in the waiting room of the offer, where it has one; several with commas between them.
        #[oai(name = "Waiting-Place")]
        place: Header<Option<String>>,
        body: Json<NewOrder>,
    ) -> Result<Created<PlacedOrder>, Or<Placing>> {
        let key = request_key(key.as_deref())?;
        app.the::<Limits>().count(Limited::Order, &client)?;
        let NewOrder { email, name, language, lines, voucher, expected_total } = body.0;
        let buyer = Buyer { email, name: name.trim().to_owned(), language };
        let places: Vec<&str> = place.as_deref().unwrap_or_default().split(',').map(str::trim).collect();
        let holder = Some(holder(**client, &buyer.email));
        let expected_minor = expected_total.map(|m| m.minor);
        if voucher.is_some() {
            app.the::<Limits>().may_guess(&client)?;
        }
        let asking = Asking { buyer, key, basket: lines, expected_minor, voucher: voucher.as_deref(), places: &places, holder };
        let order = super::place(&app, asking, arrival.0.0).await;
        if matches!(order, Err(PlaceError::Voucher(NoVoucher::Unknown))) {
            app.the::<Limits>().count(Limited::Guess, &client)?;
        }
        let order = order?;
        Ok(placed(&app, order))
    }

    /// Look at an order
    ///
    /// By its secret, or by its promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "show_order")]
    async fn show_order(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Order>, Or<Usual>> {
        Ok(Json(readable(&app, &who, *order_id).await?))
    }

    /// Extend all holds of a festival
    ///
    /// Every hold lasts at least so many minutes from now, none longer than an hour after it was placed. Doing it again changes nothing but by the time
    /// that passed. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/hold-extensions", method = "post", operation_id = "extend_holds")]
    async fn extend_holds(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<Extension>,
    ) -> Result<Json<Extended>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        festivals::note_extension(&app, &staff, *festival_id, body.minutes).await?;
        let extended = super::extend_holds(&app, *festival_id, body.minutes).await?;
        Ok(Json(Extended { extended: extended as u64 }))
    }

    /// Give an order up
    ///
    /// Its units go back to the shelf. Doing it again changes nothing. Refused while a payment is open or after it was paid.
    #[oai(path = "/orders/:order_id/cancellations", method = "post", operation_id = "cancel_order")]
    async fn cancel_order(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Order>, Or<Cancelling>> {
        of_fan(&app, &secret, *order_id).await?;
        super::cancel(&app, *order_id).await?;
        let order = super::order(&app.pools.web, *order_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(Order { lines: seen(order.lines), ..order }))
    }
}
