//! Invoices on the page of an order: who they are for, and the documents that are written.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    order::{Opened, open, shell},
};
use crate::{
    app::App,
    documents::{self, BillingDetails, DocumentKind, Mode, api::printed},
    fault::Fault,
    http::{cookies::same_origin, problem::Problem},
    id::{DocumentId, OrderId},
    orders::api::order_url,
    web::layout::{PageResult, Reader, see_other},
};

/// What was typed and why it does not go on: the place, and its words.
struct Hurt {
    typed: BillingDetails,
    place: &'static str,
    words: &'static str,
}

/// The documents of an order and the form that says who its invoice is for; nothing where its festival writes none.
///
/// # Errors
/// What the database said.
pub(super) async fn section(reader: &Reader, app: &App, opened: &Opened) -> Result<Markup, Problem> {
    parts(reader, app, opened, None).await
}

async fn parts(reader: &Reader, app: &App, opened: &Opened, hurt: Option<&Hurt>) -> Result<Markup, Problem> {
    let order = &opened.order;
    if order.total.minor == 0 {
        return Ok(html! {});
    }
    let mut conn = app.pools.web.acquire().await?;
    let invoicing = documents::invoicing(&mut conn, order.order_id.festival()).await?;
    let said = documents::billing(&mut conn, order.order_id).await?;
    drop(conn);
    let written = documents::of_order(&app.pools.web, order.order_id).await?;
    let Some(invoicing) = invoicing.filter(|invoicing| invoicing.mode != Mode::Off || !written.is_empty()) else { return Ok(html! {}) };
    let is_asked = invoicing.mode == Mode::Always || (invoicing.mode == Mode::OnRequest && said.is_some());
    let has_invoice = written.iter().any(|document| document.kind == DocumentKind::Invoice);
    let is_due = order.paid_at.is_some() && is_asked && !has_invoice;
    let url = order_url(app, order.order_id, order.link_generation);
    let details =
        hurt.map(|hurt| hurt.typed.clone()).or(said.clone()).unwrap_or_else(|| BillingDetails { name: order.buyer_name.clone(), ..BillingDetails::default() });
    let lead = if invoicing.mode == Mode::Always { "documents-lead-always" } else { "documents-lead-request" };
    let wrong = |place: &str| hurt.filter(|hurt| hurt.place == place).map(|hurt| reader.t(hurt.words));
    let input = |name: &'static str, value: &str, most: &'static str, complete: &'static str, lead: Option<&'static str>| {
        let id = format!("billing-{name}");
        let why = wrong(name);
        html! {
            div class="field" {
                label for=(id) { (reader.t(&id)) }
                input id=(id) name=(name) value=(value) maxlength=(most) autocomplete=(complete) aria-invalid=[why.as_ref().map(|_| "true")] aria-describedby=(format!("{id}-lead {id}-hurt")) required[name == "name"];
                @if let Some(lead) = lead { small id=(format!("{id}-lead")) { (reader.t(lead)) } }
                @if let Some(why) = why { p class="hurt" id=(format!("{id}-hurt")) role="alert" { (why) } }
            }
        }
    };
    Ok(html! {
        section class="stack" id="documents" aria-labelledby="documents-head" {
            header class="head" { h2 id="documents-head" { (reader.t("documents-head")) } @if !has_invoice { p { (reader.t(lead)) } } }
            @if !written.is_empty() {
                ul class="ledger" {
                    @for document in &written {
                        @let word = if document.kind == DocumentKind::Invoice { "documents-invoice" } else { "documents-credit-note" };
                        li { p { a href=(format!("{url}/documents/{}/document.pdf?lang={}", document.document_id, reader.language.tag())) { (reader.f(word, [("number", document.full_number.clone())])) } " " span class="faded" { "PDF · " (document.total.print()) } } }
                    }
                }
            }
            @if let Some(hurt) = hurt.filter(|hurt| hurt.place.is_empty()) { p class="notice bad" role="alert" { (reader.t(hurt.words)) } }
            @if is_due && hurt.is_none() { p role="status" { (reader.t("documents-soon")) } }
            @if !has_invoice && invoicing.mode != Mode::Off {
                @if let (Some(said), None) = (&said, hurt) { p { (reader.f("billing-for", [("name", said.name.clone())])) } }
                details open[hurt.is_some()] {
                    summary { (reader.t("billing-open")) }
                    form class="stack" method="post" action=(format!("{url}/billing#documents")) {
                        (input("name", &details.name, "200", "organization", None))
                        div class="field" {
                            label for="billing-address" { (reader.t("billing-address")) }
                            textarea id="billing-address" name="address" rows="3" maxlength="500" autocomplete="street-address" aria-invalid=[wrong("address").map(|_| "true")] aria-describedby="billing-address-hurt" { (details.address) }
                            @if let Some(why) = wrong("address") { p class="hurt" id="billing-address-hurt" role="alert" { (why) } }
                        }
                        (input("country", details.country.as_deref().unwrap_or_default(), "2", "country", Some("billing-country-lead")))
                        (input("vat", details.vat_number.as_deref().unwrap_or_default(), "40", "off", Some("billing-vat-lead")))
                        div { button class="button plain" { (reader.t("billing-save")) } }
                    }
                }
            }
        }
    })
}

/// Says who the invoice of an order is for.
#[handler]
pub async fn bill(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let fields = fields(body).await?;
    let some = |name: &str, most: usize| Some(field(&fields, name).trim().chars().take(most).collect::<String>()).filter(|text| !text.is_empty());
    let typed = BillingDetails {
        name: some("name", 200).unwrap_or_default(),
        address: some("address", 500).unwrap_or_default(),
        country: some("country", 2).map(|letters| letters.to_uppercase()),
        vat_number: some("vat", 40),
    };
    let hurt = |place, words| Hurt { typed: typed.clone(), place, words };
    let hurt = match documents::bill(&app, OrderId(id), typed.clone()).await {
        Ok(_) => return Ok(see_other(&format!("{}#documents", order_url(&app, opened.order.order_id, opened.order.link_generation)))),
        Err(Fault::Conflict(_)) => {
            let written = documents::of_order(&app.pools.web, OrderId(id)).await.map_err(Problem::from)?;
            hurt("", if written.is_empty() { "billing-not-here" } else { "billing-late" })
        }
        Err(Fault::Invalid(places)) => match places.first().map_or("", |(place, _)| place.as_str()) {
            "/country" => hurt("country", "billing-wrong-country"),
            "/vat_number" => hurt("vat", "billing-wrong-vat"),
            "/address" => hurt("address", "billing-wrong-address"),
            _ => hurt("name", "billing-wrong-name"),
        },
        Err(error) => return Err(Problem::from(error).into()),
    };
    let form = parts(&reader, &app, &opened, Some(&hurt)).await?;
    let title = reader.t("documents-head").into_owned();
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let mut response = shell(&reader, &opened, &title, None).page(&html! {
        main class="panel" id="content" { h1 class="unseen" { (title) } (form) p { a href=(url) { (reader.t("back-to-order")) } } }
    });
    response.set_status(if hurt.place.is_empty() { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY });
    Ok(response)
}

/// Whoever comes back without the form: the language of the page was changed, or its address kept.
#[handler]
pub async fn over(request: &Request, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let language = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    Ok(see_other(&format!("/o/{id}/{secret}{language}#documents")))
}

/// A document of an order, for whoever has its link.
#[handler]
pub async fn print(reader: Reader, app: Data<&App>, Path((id, secret, document)): Path<(uuid::Uuid, String, uuid::Uuid)>) -> PageResult {
    let opened = open(&app, OrderId(id), &secret).await?;
    let (name, pdf) = printed(&app, opened.order.order_id, DocumentId(document), reader.language).await?;
    let response = Response::builder().content_type("application/pdf").header("content-disposition", name).header("cache-control", "no-store");
    Ok(response.body(pdf))
}
