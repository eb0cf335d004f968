//! The page of a waiting room: where somebody stands, honestly. It costs the database nothing while it is asked again and again.

use std::sync::Arc;

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::header,
    web::{Data, Json, Path},
};
use serde_json::json;

use crate::{
    app::App,
    festivals::{self, Festival},
    fresh::Fresh,
    http::{
        cookies::{same_origin, secret, secret_cookie},
        door::Arrival,
        limit::{Client, Limited, Limits},
        problem::{NOT_FOUND, Problem},
    },
    id::OfferId,
    money::group,
    offers::{self, Availability, Offer},
    waiting::{self, Place, Standing, Turn},
    web::{
        art,
        layout::{PageResult, Reader, Shell, app as app_of, see_other, text},
    },
    words::Language,
};

/// How long a browser keeps a place, in seconds.
const KEPT: i64 = 86_400;

/// The halls of rooms: what their pages print, at most a second old.
pub type Halls = Fresh<OfferId, Option<Arc<Hall>>>;

/// What the page of a room prints beside where somebody stands.
pub struct Hall {
    festival: Festival,
    offer: Offer,
}

async fn hall(app: &App, offer: OfferId) -> Result<Arc<Hall>, Problem> {
    let read = async || {
        let id = offer.festival();
        let festival = festivals::one(&app.pools.web, id).await?.filter(|f| f.published_at.is_some() && f.rehearsal_of.is_none());
        let Some(festival) = festival else { return Ok(None) };
        let found = offers::offers(&app.pools.web, id).await?.into_iter().find(|o| o.offer_id == offer);
        Ok::<_, sqlx::Error>(found.map(|offer| Arc::new(Hall { festival, offer })))
    };
    app.the::<Halls>().get(offer, read).await?.ok_or_else(|| NOT_FOUND.problem())
}

/// How the names of cookies that keep a place begin.
const PLACE: &str = "gf_place_";

/// The name of the cookie that keeps a place.
fn cookie_name(offer: OfferId) -> String {
    format!("{PLACE}{}", offer.0.simple())
}

/// Whether a browser keeps a place in any room.
pub fn keeps_a_place(request: &Request) -> bool {
    request.headers().get_all(header::COOKIE).iter().any(|cookies| cookies.to_str().is_ok_and(|cookies| cookies.contains(PLACE)))
}

/// The place that a browser keeps in a room.
///
/// # Errors
/// Never in a house that was put together.
pub fn kept_place(request: &Request, offer: OfferId) -> Result<Option<Place>, Problem> {
    let text = secret(request, &cookie_name(offer))?;
    Ok(text.and_then(|text| Place::read(&app_of(request).ok()?.secrets, offer, &text)))
}

fn keep(app: &App, place: &Place, response: &mut Response) {
    let cookie = secret_cookie(app.settings.is_https(), &cookie_name(place.offer_id), &place.text(&app.secrets), KEPT);
    if let Ok(value) = cookie.parse() {
        response.headers_mut().append("set-cookie", value);
    }
}

/// Where somebody stands, in words: the title of the window, the large sentence, what there is to know, what is not certain.
struct Said {
    window: String,
    title: String,
    lead: String,
}

/// `1,208th`, as a reader of a language says it.
fn nth(language: Language, n: i64) -> String {
    let suffix = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    if language == Language::En { format!("{}{suffix}", group(n)) } else { group(n) }
}

fn say(reader: &Reader, hall: &Hall, turn: &Turn) -> Said {
    let zone = &hall.festival.terms.time_zone;
    let name = hall.festival.terms.name.read(reader.language);
    let moment = |at: chrono::DateTime<chrono::Utc>| reader.language.at(at, zone).time();
    let (title, lead) = match turn.standing {
        Standing::Gathering => (
            reader.t("waiting-gathering").into_owned(),
            turn.opens_at.map_or_else(String::new, |opens| reader.f("waiting-gathering-lead", [("time", moment(opens))]).into_owned()),
        ),
        Standing::Waiting => {
            let title = match turn.ahead {
                Some(ahead) => reader.f("waiting-nth", [("nth", nth(reader.language, ahead + 1))]).into_owned(),
                None => reader.t("waiting-drawing").into_owned(),
            };
            let lead = match (turn.availability, turn.about_seconds) {
                (Availability::SoldOut, _) => reader.t("waiting-sold-out").into_owned(),
                (Availability::HeldOut, _) => reader.t("waiting-held-out").into_owned(),
                (Availability::Paused, _) => reader.t("waiting-paused").into_owned(),
                _ if turn.beyond => reader.t("waiting-beyond").into_owned(),
                (_, Some(seconds)) if seconds < 100 => reader.f("waiting-about-seconds", [("count", seconds.to_string())]).into_owned(),
                (_, Some(seconds)) => reader.f("waiting-about-minutes", [("count", ((seconds + 30) / 60).to_string())]).into_owned(),
                (_, None) => reader.t("waiting-about-unknown").into_owned(),
            };
            (title, lead)
        }
        Standing::Turn => (
            reader.t("waiting-turn").into_owned(),
            turn.until.map_or_else(String::new, |until| reader.f("waiting-turn-lead", [("time", moment(until))]).into_owned()),
        ),
        Standing::Over => (reader.t("waiting-over").into_owned(), reader.t("waiting-over-lead").into_owned()),
        Standing::Open => (reader.t("waiting-open").into_owned(), String::new()),
    };
    Said { window: format!("{title}: {name}"), title, lead }
}

/// The room: whoever looks at it for the first time takes a place.
#[handler]
pub async fn page(
    request: &Request,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    arrival: Data<&Arrival>,
    Path(offer): Path<OfferId>,
) -> PageResult {
    let hall = hall(&app, offer).await?;
    let offers = format!("/f/{}#offers", hall.festival.terms.slug);
    let place = match kept_place(request, offer)? {
        Some(place) => waiting::count(&app, &place),
        None => {
            app.the::<Limits>().count(Limited::Place, &client)?;
            // It counts among the people once its cookie comes back: a machine that keeps none is nobody.
            match waiting::offer_place(&app, offer, arrival.0.0) {
                Some(place) => place,
                None => return Ok(see_other(&offers)),
            }
        }
    };
    let turn = waiting::turn(&app, &place, arrival.0.0);
    if turn.standing == Standing::Open {
        return Ok(see_other(&offers));
    }
    let mut response = show(&reader, &hall, &turn, &offers);
    // Every look keeps the place for another day.
    keep(&app, &place, &mut response);
    Ok(response)
}

fn show(reader: &Reader, hall: &Hall, turn: &Turn, offers: &str) -> Response {
    let said = say(reader, hall, turn);
    let room = format!("/w/{}", hall.offer.offer_id);
    let shell = Shell {
        reader,
        title: said.window.clone(),
        festival: Some(&hall.festival),
        private: true,
        refresh: Some(turn.again_in.max(3)),
        script_refreshes: true,
    };
    shell.page(&html! {
        main class="gatefold" id="content" data-wait=(format!("{room}/turn")) data-standing=(turn.standing.name()) data-again=(turn.again_in) {
            section class="panel cover flood" aria-labelledby="stand" {
                p class="faded" { (text(&hall.offer.name, reader.language)) }
                div class="stack" role="status" aria-live="polite" aria-atomic="true" {
                    h1 id="stand" data-title="" { (said.title) }
                    p class="lead" data-lead="" { (said.lead) }
                }
                (groove(reader, turn))
                div class="only-wide" { (art::poster(hall.festival.terms.name.read(hall.festival.terms.language))) }
            }
            div class="panel" { (beside(reader, turn, &room, offers)) }
        }
    })
}

/// How far the queue has come for this place, drawn.
fn groove(reader: &Reader, turn: &Turn) -> Markup {
    let (max, value) = (turn.people.max(1), turn.ahead.map_or(0, |ahead| (turn.people - ahead).max(0)));
    html! {
        @if turn.standing == Standing::Waiting && turn.ahead.is_some() {
            progress class="groove" data-groove="" max=(max) value=(value) { (reader.f("waiting-people", [("count", group(turn.people))])) }
        }
        @if matches!(turn.standing, Standing::Waiting | Standing::Gathering) {
            p data-people="" { (reader.f("waiting-people", [("count", group(turn.people))])) }
        }
    }
}

/// What to do and what to know.
fn beside(reader: &Reader, turn: &Turn, room: &str, offers: &str) -> Markup {
    html! {
        @match turn.standing {
            Standing::Turn => section class="stack" {
                h2 { (reader.t("waiting-go-on")) }
                p { (reader.t("waiting-one-order")) }
                p { a class="button broad" href=(offers) { (reader.t("waiting-choose")) } }
                @if !turn.extended {
                    form method="post" action=(format!("{room}/extensions")) { p { button class="link" { (reader.t("waiting-extend")) } (reader.t("gap")) span class="faded" { (reader.t("waiting-extend-lead")) } } }
                }
                form method="post" action=(format!("{room}/places")) { p { button class="link" { (reader.t("waiting-another")) } (reader.t("gap")) span class="faded" { (reader.t("waiting-another-lead")) } } }
            },
            Standing::Over => section class="stack" {
                h2 { (reader.t("waiting-again")) }
                form method="post" action=(format!("{room}/places")) { button class="button broad" { (reader.t("waiting-queue-up")) } }
            },
            _ => {
                section class="stack" {
                    h2 { (reader.t("waiting-keeps")) }
                    p { (reader.t("waiting-keeps-lead")) }
                }
                section class="stack" {
                    h2 { (reader.t("waiting-fair")) }
                    p { (reader.t("waiting-fair-lead")) }
                }
            }
        }
    }
}

/// Where a place stands, for the script of the page.
#[handler]
pub async fn look(request: &Request, reader: Reader, app: Data<&App>, arrival: Data<&Arrival>, Path(offer): Path<OfferId>) -> PageResult {
    let hall = hall(&app, offer).await?;
    let place = kept_place(request, offer)?.ok_or_else(|| NOT_FOUND.problem())?;
    let was_counted = place.counted;
    let place = waiting::count(&app, &place);
    let turn = waiting::turn(&app, &place, arrival.0.0);
    let said = say(&reader, &hall, &turn);
    let answer = json!({
        "standing": turn.standing, "window": said.window, "title": said.title, "lead": said.lead, "again_in": turn.again_in,
        "people": turn.people, "passed": turn.ahead.map(|ahead| (turn.people - ahead).max(0)),
        "people_words": reader.f("waiting-people", [("count", group(turn.people))]),
    });
    let mut response = poem::IntoResponse::into_response(Json(answer));
    response.headers_mut().insert("cache-control", poem::http::HeaderValue::from_static("no-store"));
    if !was_counted {
        keep(&app, &place, &mut response);
    }
    Ok(response)
}

/// Extends a turn, once.
#[handler]
pub async fn extend(request: &Request, app: Data<&App>, arrival: Data<&Arrival>, Path(offer): Path<OfferId>) -> PageResult {
    same_origin(request)?;
    let place = kept_place(request, offer)?.ok_or_else(|| NOT_FOUND.problem())?;
    let mut response = see_other(&format!("/w/{offer}"));
    if let Some(place) = waiting::extend(&app, &place, arrival.0.0) {
        keep(&app, &place, &mut response);
    }
    Ok(response)
}

/// Takes a new place: the turn of the one before is over, or it brought its order.
#[handler]
pub async fn again(request: &Request, app: Data<&App>, client: Data<&Client>, arrival: Data<&Arrival>, Path(offer): Path<OfferId>) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::Place, &client)?;
    let mut response = see_other(&format!("/w/{offer}"));
    if let Some(place) = waiting::join(&app, offer, arrival.0.0) {
        keep(&app, &place, &mut response);
    }
    Ok(response)
}
