//! From the basket to the hold, and what is said when that does not work: each refusal has its page with a way out.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{festival::published, waiting::kept_place};
use crate::{
    app::App,
    festivals::Festival,
    http::{
        cookies::{same_origin, secret, secret_cookie},
        door::Arrival,
        limit::{Client, Limited, Limits},
        problem::{MALFORMED, Problem},
    },
    id::OfferId,
    offers::{Availability, NoVoucher},
    orders::{
        self, Asking, Buyer, PlaceError, Wish,
        api::{holder, order_url},
    },
    secrets,
    web::layout::{Notice, PageResult, Reader, Shell, notice, see_other},
};

/// The fields of a form, in their order, at most 200.
///
/// # Errors
/// A problem `malformed`.
pub async fn fields(body: poem::Body) -> Result<Vec<(String, String)>, Problem> {
    let bytes = body.into_bytes().await.map_err(|_| MALFORMED.problem())?;
    // NUL is no character that a person types, and none that Postgres keeps.
    Ok(url::form_urlencoded::parse(&bytes).map(|(name, value)| (name.into_owned(), value.replace('\0', ""))).take(1_000).collect())
}

/// A field of a form.
#[must_use]
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
}

/// What was chosen in a form of offers, and the sum that its reader saw, in the smallest unit.
#[must_use]
pub fn basket(fields: &[(String, String)]) -> (Vec<Wish>, i64) {
    let mut wishes = Vec::new();
    let mut expected = 0_i64;
    for (name, value) in fields {
        let Some(offer) = name.strip_prefix("offer-").and_then(|id| id.parse::<OfferId>().ok()) else { continue };
        let quantity: i32 = value.parse().unwrap_or(0);
        if quantity > 0 {
            let price: i64 = field(fields, &format!("price-{offer}")).parse().unwrap_or(0);
            expected = expected.saturating_add(price.saturating_mul(i64::from(quantity)));
            wishes.push(Wish { offer_id: offer, quantity });
        }
    }
    (wishes, expected)
}

/// Places the order of a basket and sends the fan to its page.
#[handler]
pub async fn place(
    request: &Request,
    body: poem::Body,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    arrival: Data<&Arrival>,
    Path(slug): Path<String>,
) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::Order, &client)?;
    let festival = published(&app, &slug).await?;
    let fields = fields(body).await?;
    let (wishes, expected) = basket(&fields);
    if wishes.is_empty() {
        return Ok(refusal(&reader, &festival, "empty", "", StatusCode::UNPROCESSABLE_ENTITY, None));
    }
    let buyer =
        Buyer { email: field(&fields, "email").trim().to_owned(), name: field(&fields, "name").trim().chars().take(120).collect(), language: reader.language };
    // A browser that keeps no cookie gets no key: its second tap is another order.
    let key = basket_key(&kept_basket(request)?.unwrap_or_else(fresh_basket), &wishes, field(&fields, "voucher"));
    let mut kept = Vec::new();
    for wish in &wishes {
        kept.extend(kept_place(request, wish.offer_id)?);
    }
    let places: Vec<String> = kept.iter().map(|place| place.text(&app.secrets)).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let voucher = Some(field(&fields, "voucher")).filter(|code| code.chars().count() <= 60);
    if voucher.is_some_and(|code| !code.is_empty()) {
        app.the::<Limits>().may_guess(&client)?;
    }
    let holder = Some(holder(**client, &buyer.email));
    let asking = Asking { buyer, key: &key, basket: wishes, expected_minor: Some(expected), voucher, places: &places, holder };
    let outcome = orders::place(&app, asking, arrival.0.0).await;
    if matches!(outcome, Err(PlaceError::Voucher(NoVoucher::Unknown))) {
        app.the::<Limits>().count(Limited::Guess, &client)?;
    }
    match outcome {
        Ok(placed) => {
            let mut response = see_other(&order_url(&app, placed.order_id, placed.link_generation));
            keep_basket(&app, &mut response);
            Ok(response)
        }
        Err(PlaceError::PlaceUsed) => {
            // Whoever keeps the place may see the order that it brought.
            for place in &kept {
                if let Some((order, generation)) = orders::order_of_place(&app, place).await.map_err(Problem::from)? {
                    return Ok(see_other(&order_url(&app, order, generation)));
                }
            }
            Ok(refused(&reader, &app, &festival, PlaceError::PlaceUsed, false))
        }
        Err(error) => Ok(refused(&reader, &app, &festival, error, voucher.is_some_and(|code| !code.is_empty()))),
    }
}

/// The cookie of a basket: 128 random bits of this browser until its order is placed, then new ones. A second tap carries the old ones and is the
/// same order, so the page itself need not differ from fan to fan.
const BASKET: &str = "gf_basket";

/// The basket that a browser keeps.
///
/// # Errors
/// Never in a house that was put together.
pub fn kept_basket(request: &Request) -> Result<Option<String>, Problem> {
    Ok(secret(request, BASKET)?.filter(|basket| basket.len() == 26))
}

/// Gives a browser a new basket.
pub fn keep_basket(app: &App, response: &mut Response) {
    if let Ok(value) = secret_cookie(app.settings.is_https(), BASKET, &fresh_basket(), 86_400).parse() {
        response.headers_mut().append("set-cookie", value);
    }
}

fn fresh_basket() -> String {
    let mut noise = [0_u8; 16];
    secrets::fill(&mut noise);
    BASE32_NOPAD.encode(&noise).to_lowercase()
}

/// The key of an order from a page: what this browser keeps, and what is in the basket.
fn basket_key(basket: &str, wishes: &[Wish], voucher: &str) -> String {
    let wished = wishes.iter().map(|wish| format!("{}x{}", wish.offer_id, wish.quantity)).collect::<Vec<_>>().join(" ");
    HEXLOWER.encode(&orders::short_hash(&[basket.as_bytes(), wished.as_bytes(), voucher.as_bytes()]))
}

/// The page of a refusal.
fn refused(reader: &Reader, app: &App, festival: &Festival, error: PlaceError, with_code: bool) -> Response {
    let zone = &festival.terms.time_zone;
    let (key, detail) = match &error {
        PlaceError::SoldOut(_, Availability::HeldOut) => {
            ("held-out", reader.f("look-again", [("time", reader.language.at(app.clock.now() + orders::HOLD, zone).time())]).into_owned())
        }
        PlaceError::SoldOut(..) => ("sold-out", String::new()),
        PlaceError::NotYet(_, opens) => ("not-yet", reader.f("opens-at", [("moment", reader.language.at(*opens, zone).long())]).into_owned()),
        PlaceError::Over(_) => ("over", String::new()),
        PlaceError::Paused(_, sentence) => ("paused", sentence.read(reader.language).to_owned()),
        PlaceError::OrderLimit(_, max) => ("order-limit", reader.f("limit-is", [("max", max.to_string())]).into_owned()),
        PlaceError::FanLimit { max, have, .. } => ("fan-limit", reader.f("fan-limit-is", [("max", max.to_string()), ("have", have.to_string())]).into_owned()),
        PlaceError::Requirement(..) => ("requirement", String::new()),
        PlaceError::PriceChanged(_, total) => ("price-changed", reader.f("new-total", [("total", total.print())]).into_owned()),
        PlaceError::Invalid(pointer, _) if pointer == "/email" => ("bad-email", String::new()),
        PlaceError::Invalid(_, reason) => ("empty", reason.clone()),
        PlaceError::KeyReused => ("key-reused", String::new()),
        PlaceError::WaitingRoom(..) => ("waiting-room", String::new()),
        PlaceError::Voucher(reason) => ("voucher", reader.t(&format!("reason-voucher-{}", reason.name())).into_owned()),
        PlaceError::Slower(wait) => ("slower", reader.f("wait-seconds", [("count", wait.to_string())]).into_owned()),
        PlaceError::PaymentsDown => ("payments-down", String::new()),
        PlaceError::PlaceUsed | PlaceError::NotWaiting => ("place-used", String::new()),
        PlaceError::Busy(_) => ("busy", String::new()),
    };
    let way = match &error {
        PlaceError::WaitingRoom(offer, _) => Some((format!("/w/{offer}"), reader.t("waiting-enter").into_owned())),
        // With the code typed again the offers are there that it opens.
        _ => with_code.then(|| (format!("/f/{}#code", festival.terms.slug), reader.t("choose-again").into_owned())),
    };
    let problem = Problem::from(error);
    let status = StatusCode::from_u16(problem.kind.status).unwrap_or(StatusCode::CONFLICT);
    let mut response = refusal(reader, festival, key, &detail, status, way);
    if let Some(seconds) = problem.retry_after
        && let Ok(value) = seconds.to_string().parse()
    {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

fn refusal(reader: &Reader, festival: &Festival, key: &str, detail: &str, status: StatusCode, way: Option<(String, String)>) -> Response {
    let title = reader.t(&format!("refusal-{key}")).into_owned();
    let shell = Shell { reader, title: title.clone(), festival: Some(festival), private: true, refresh: None, script_refreshes: false };
    let lead = format!("{}{}{detail}", reader.t(&format!("refusal-{key}-lead")), if detail.is_empty() { "".into() } else { reader.t("gap") });
    let mut response = notice(
        &shell,
        &Notice {
            title,
            lead,
            ways: vec![way.unwrap_or_else(|| (format!("/f/{}#offers", festival.terms.slug), reader.t("choose-again").into_owned()))],
            small: reader.t("nothing-held").into_owned(),
            etched: String::new(),
        },
    );
    response.set_status(status);
    response
}
