//! The pages of a waiting list: where somebody joins it, and where they stand.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    festival::published,
};
use crate::{
    app::App,
    festivals::{self, Festival},
    http::{
        cookies::same_origin,
        limit::{Client, Limited, Limits},
        problem::{NOT_FOUND, Problem},
    },
    id::{OfferId, WaitId},
    offers::{self, Offer},
    orders::{self, OrderStatus, api::order_url},
    waiting::list::{self, JoinError, Joining, Wait, WaitStatus, api::linked},
    web::{
        art,
        layout::{Notice, PageResult, Reader, Shell, notice, see_other, text},
    },
};

fn shell<'a>(reader: &'a Reader, festival: &'a Festival, private: bool) -> Shell<'a> {
    let title = format!("{}: {}", reader.t("waits"), festival.terms.name.read(reader.language));
    Shell { reader, title, festival: Some(festival), private, refresh: None, script_refreshes: false }
}

async fn offer_of(app: &App, festival: &Festival, id: OfferId) -> Result<Offer, Problem> {
    let all = offers::offers(&app.pools.web, festival.festival_id).await?;
    all.into_iter().find(|offer| offer.offer_id == id && !offer.hidden).ok_or_else(|| NOT_FOUND.problem())
}

/// Where somebody joins a list.
#[handler]
pub async fn page(reader: Reader, app: Data<&App>, Path((slug, id)): Path<(String, OfferId)>) -> PageResult {
    let festival = published(&app, &slug).await?;
    let offer = offer_of(&app, &festival, id).await?;
    Ok(form(&reader, &festival, &offer, ("", "", 1), None))
}

/// The form, with what was typed and why it was not taken.
fn form(reader: &Reader, festival: &Festival, offer: &Offer, (email, name, quantity): (&str, &str, i32), why: Option<&str>) -> Response {
    let most = offer.max_per_fan.map_or(offer.max_per_order, |max| max.min(offer.max_per_order)).min(12);
    shell(reader, festival, why.is_some()).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" aria-labelledby="waits" {
                p class="faded" { (text(&festival.terms.name, reader.language)) }
                h1 id="waits" { (reader.t("waits")) }
                p class="lead" { (text(&offer.name, reader.language)) }
                div class="only-wide" { (art::poster(festival.terms.name.read(festival.terms.language))) }
            }
            div class="panel" {
                @if let Some(why) = why { p class="notice bad" id="why" role="alert" { (reader.t(why)) } }
                form method="post" action=(format!("/f/{}/waiting-lists/{}", festival.terms.slug, offer.offer_id)) data-once="" {
                    section class="stack" {
                        header class="head" { h2 { (reader.t("waits-how")) } p { (reader.t("waits-lead")) } }
                        div class="field" {
                            label for="quantity" { (reader.t("quantity")) }
                            select id="quantity" name="quantity" { @for n in 1..=most { option value=(n) selected[n == quantity] { (n) } } }
                            small { (reader.t("waits-quantity")) }
                        }
                        div class="field" { label for="email" { (reader.t("your-email")) } input id="email" name="email" type="email" value=(email) autocomplete="email" required maxlength="254" aria-invalid=[why.map(|_| "true")] aria-describedby=[why.map(|_| "why")]; small { (reader.t("waits-email")) } }
                        div class="field" { label for="name" { (reader.t("your-name")) } input id="name" name="name" value=(name) autocomplete="name" maxlength="120"; }
                        div { button class="button broad" { (reader.t("waits-join")) } }
                        p class="small faded" { (reader.t("waits-free")) }
                    }
                }
            }
        }
    })
}

/// Joins a list from its page.
#[handler]
pub async fn join(
    request: &Request,
    body: poem::Body,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    Path((slug, id)): Path<(String, OfferId)>,
) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::SignIn, &client)?;
    let festival = published(&app, &slug).await?;
    let offer = offer_of(&app, &festival, id).await?;
    let fields = fields(body).await?;
    let joining = Joining {
        email: field(&fields, "email").trim().to_owned(),
        name: field(&fields, "name").trim().chars().take(120).collect(),
        language: reader.language,
        quantity: field(&fields, "quantity").parse().unwrap_or(0),
    };
    let home = format!("/f/{slug}#offers");
    let (key, status) = match list::join(&app, id, &joining).await {
        Ok(()) => ("waits-joined", StatusCode::OK),
        Err(JoinError::NotFound) => return Err(NOT_FOUND.problem().into()),
        Err(JoinError::Invalid(at, _)) => {
            let why = if at == "/email" { "waits-bad-email" } else { "waits-bad-quantity" };
            let mut said = form(&reader, &festival, &offer, (&joining.email, &joining.name, joining.quantity), Some(why));
            said.set_status(StatusCode::UNPROCESSABLE_ENTITY);
            return Ok(said);
        }
        Err(JoinError::OnSale) => ("waits-on-sale", StatusCode::CONFLICT),
        Err(JoinError::Closed) => ("waits-closed", StatusCode::CONFLICT),
        Err(JoinError::Full) => ("waits-full", StatusCode::CONFLICT),
        Err(JoinError::Database(error)) => return Err(Problem::from(error).into()),
    };
    let title = reader.t(key).into_owned();
    let lead = reader.f(&format!("{key}-lead"), [("email", joining.email)]).into_owned();
    let ways = vec![(home, reader.t("transfer-festival").into_owned())];
    let mut said = notice(&shell(&reader, &festival, true), &Notice { title, lead, ways, small: String::new(), etched: String::new() });
    said.set_status(status);
    Ok(said)
}

/// A place with what its page shows.
struct Opened {
    wait: Wait,
    festival: Festival,
    offer: Offer,
}

async fn open(app: &App, id: WaitId, secret: &str) -> Result<Opened, Problem> {
    let wait = linked(app, id, secret).await?;
    let festival = festivals::one(&app.pools.web, id.festival()).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let all = offers::offers(&app.pools.web, id.festival()).await?;
    let offer = all.into_iter().find(|offer| offer.offer_id == wait.offer_id).ok_or_else(|| NOT_FOUND.problem())?;
    Ok(Opened { wait, festival, offer })
}

/// Where somebody stands: how many are before them, or what became of it.
#[handler]
pub async fn place(reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let Opened { wait, festival, offer } = open(&app, WaitId(id), &secret).await?;
    let order = match wait.order_id {
        Some(order) => orders::order(&app.pools.web, order).await.map_err(Problem::from)?,
        None => None,
    };
    let zone = &festival.terms.time_zone;
    let (key, detail): (&str, Markup) = match (wait.status, &order) {
        (WaitStatus::Waiting, _) => {
            let before = list::before(&app.pools.web, &wait).await.map_err(Problem::from)?;
            ("waiting", html! { p class="counter" { b { (before) @if before >= 1000 { "+" } } (reader.f("waits-before", [("count", before.to_string())])) } })
        }
        (WaitStatus::Invited, Some(order)) => {
            let url = order_url(&app, order.order_id, order.link_generation);
            match order.status {
                OrderStatus::Held => {
                    let until = reader.language.at(order.held_until, zone).long();
                    (
                        "invited",
                        html! { p { (reader.f("waits-until", [("moment", until)])) } div class="actions" { a class="button" href=(url) { (reader.t("waits-to-order")) } } },
                    )
                }
                OrderStatus::Expired | OrderStatus::Cancelled | OrderStatus::Unfulfillable => ("missed", html! {}),
                OrderStatus::PartPaid | OrderStatus::Paid | OrderStatus::PartlyRefunded | OrderStatus::Refunded => {
                    ("bought", html! { div class="actions" { a class="button" href=(url) { (reader.t("waits-to-order")) } } })
                }
            }
        }
        (WaitStatus::Invited, None) => ("missed", html! {}),
        (WaitStatus::Left, _) => ("left", html! {}),
        (WaitStatus::Dropped, _) => ("dropped", html! {}),
    };
    let again = matches!(key, "missed" | "left").then(|| format!("/f/{}/waiting-lists/{}", festival.terms.slug, offer.offer_id));
    Ok(shell(&reader, &festival, true).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" { (art::broken(festival.terms.name.read(festival.terms.language))) }
            div class="panel problem" {
                h1 { (reader.t(&format!("waits-is-{key}"))) }
                p class="lead" { (wait.quantity) " × " (text(&offer.name, reader.language)) }
                p { (reader.t(&format!("waits-is-{key}-lead"))) }
                (detail)
                @if let Some(again) = again { div class="actions" { a class="button plain" href=(again) { (reader.t("waits-again")) } } }
                @if wait.status == WaitStatus::Waiting {
                    form method="post" action=(format!("{}/departures", wait.url(&app))) { p { button class="link" { (reader.t("waits-leave")) } (reader.t("gap")) span class="faded" { (reader.t("waits-leave-lead")) } } }
                }
                p class="small faded" { (reader.f("waits-since", [("moment", reader.language.at(wait.joined_at, zone).long())])) }
            }
        }
    }))
}

/// Gives a place up.
#[handler]
pub async fn leave(request: &Request, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let wait = linked(&app, WaitId(id), &secret).await?;
    list::leave(&app, &wait).await.map_err(Problem::from)?;
    Ok(see_other(&wait.url(&app)))
}
