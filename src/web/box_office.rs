//! The box office: what a member sells or gives away at the door, the orders that wait for their money, and what was taken.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    layout::{PageResult, Reader, Shell, see_other, text},
    session::visitor,
    storefront::buy::{basket, field, fields},
    storefront::ticket,
};
use crate::{
    accounts::{Member, Scope, email_key},
    app::App,
    festivals::Festival,
    http::{
        cookies::same_origin,
        door::Arrival,
        problem::{NOT_FOUND, Problem},
    },
    id::{OfferId, OrderId},
    money::Money,
    offers::{self, Availability, OnSale},
    orders::{self, Buyer, Order, PlaceError, api::order_url},
    payments::{
        CollectionMethod,
        box_office::{self, BoxOffice, Sale, SellError, Takings, api::DoorMethod},
        offline::{self, Awaited, CollectError, Collecting},
    },
    tickets,
};

/// Which of the waiting orders are looked for.
#[derive(Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
}

/// What was typed and why it was not taken.
#[derive(Default)]
struct Typed {
    quantities: Vec<(OfferId, i32)>,
    email: String,
    name: String,
    reason: String,
    method: String,
    why: Option<String>,
}

fn shell<'a>(reader: &'a Reader, festival: &'a Festival, title: &str) -> Shell<'a> {
    let title = format!("{}: {}", title, festival.terms.name.read(reader.language));
    Shell { reader, title, festival: Some(festival), private: true, refresh: None, script_refreshes: false }
}

fn index(reader: &Reader, slug: &str) -> Markup {
    html! { nav class="index" aria-label=(reader.t("desk")) { a href=(format!("/desk/{slug}")) { (reader.t("desk")) } a href=(format!("/desk/{slug}/box-office")) aria-current="page" { (reader.t("box-office")) } a href=(format!("/f/{slug}")) { (reader.t("storefront")) } } }
}

/// The page.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>, Query(search): Query<Search>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::SalesWrite).await? else { return Ok(see_other("/sign-in")) };
    Ok(show(&reader, &app, &who, &festival, &search.q, &Typed::default()).await?)
}

/// Everything that the page prints.
struct Counter {
    office: Option<BoxOffice>,
    offers: Vec<OnSale>,
    awaited: Vec<Awaited>,
    takings: Vec<Takings>,
}

async fn read(app: &App, who: &Member, festival: &Festival, q: &str) -> Result<Counter, Problem> {
    let id = festival.festival_id;
    let now = app.clock.now();
    let (on_shelf, stocks) = offers::demand::on_shelf(&app.pools.web, id, now).await?;
    let offers = on_shelf.into_iter().map(|offer| offers::on_sale(offer, &stocks, now, None)).collect();
    let mut tx = app.for_promoter(who.staff.promoter).await?;
    let office = box_office::office(&mut tx, id).await?;
    let takings = box_office::takings(&mut tx, id, &festival.terms.time_zone).await?;
    let mut awaited = offline::awaited(&mut tx, id).await?;
    let (number, key) = (q.trim().to_uppercase(), email_key(q));
    if !number.is_empty() {
        let is_found = |a: &Awaited| {
            orders::number(a.order_id).contains(&number) || email_key(&a.email) == key || a.buyer_name.to_lowercase().contains(&q.trim().to_lowercase())
        };
        awaited.retain(is_found);
    }
    Ok(Counter { office, offers, awaited, takings })
}

async fn show(reader: &Reader, app: &App, who: &Member, festival: &Festival, q: &str, typed: &Typed) -> Result<Response, Problem> {
    let counter = read(app, who, festival, q).await?;
    let slug = &festival.terms.slug;
    let is_open = counter.office.as_ref().is_some_and(|office| office.is_open);
    Ok(shell(reader, festival, &reader.t("box-office")).page(&html! {
        main id="content" {
            div class="panel cover flood" { (index(reader, slug)) h1 { (reader.t("box-office")) } }
            div class="panel" {
                @if let Some(warning) = counter.office.as_ref().and_then(BoxOffice::warning) { p class="notice" role="note" { b { (reader.t("fiscal")) } (reader.t("gap")) (reader.t(&format!("fiscal-{warning}"))) } }
                @if let Some(why) = &typed.why { p class="notice bad" id="why" role="alert" { (why) } }
                @if is_open { (sale_form(reader, app, festival, &counter.offers, typed)) } @else { p class="notice" { (reader.t("box-office-closed")) } }
                @if who.staff.may(Scope::MoneyWrite).is_ok() { (office_form(reader, slug, counter.office.as_ref())) }
                (waiting_for_money(reader, app, festival, &counter.awaited, q))
                (taken(reader, &counter.takings))
            }
        }
    }))
}

fn sale_form(reader: &Reader, app: &App, festival: &Festival, all: &[OnSale], typed: &Typed) -> Markup {
    let currency = festival.terms.currency;
    let quantity = |id: OfferId| typed.quantities.iter().find(|(offer, _)| *offer == id).map_or(0, |(_, n)| *n);
    let chosen = |value: &str| if typed.method.is_empty() { value == "cash" } else { typed.method == value };
    html! {
        form method="post" action=(format!("/desk/{}/box-office/sales", festival.terms.slug)) aria-labelledby="sell" data-basket="" data-once="" {
            header class="head" { h2 id="sell" { (reader.t("sell")) } p { (reader.t("sell-lead")) } }
            input type="hidden" name="key" value=(crate::id::fresh(festival.festival_id, app.clock.now()));
            ol class="tracks" {
                @for on_sale in all {
                    @let o = &on_sale.offer;
                    @let price = on_sale.price.or_else(|| o.tiers.last().map(|tier| Money::new(tier.price_minor, o.currency)));
                    li {
                        span class="no" { @if let Some(price) = price { (price.print_short()) } }
                        span { b { (text(&o.name, reader.language)) } small { (reader.t(&format!("state-{}", on_sale.availability.name()))) @if o.hidden { (reader.t("comma")) (reader.t("sell-hidden")) } } }
                        span {
                            @if let Some(price) = price.filter(|_| !matches!(on_sale.availability, Availability::SoldOut | Availability::HeldOut | Availability::Paused)) {
                                label { span class="unseen" { (reader.t("quantity")) (reader.t("clause")) (text(&o.name, reader.language)) }
                                    select name=(format!("offer-{}", o.offer_id)) data-minor=(price.minor) { @for n in 0..=20 { option value=(n) selected[n == quantity(o.offer_id)] { (n) } } } }
                                input type="hidden" name=(format!("price-{}", o.offer_id)) value=(price.minor);
                            }
                        }
                    }
                }
            }
            @if all.is_empty() { p { (reader.t("no-offers")) } }
            section class="stack" {
                fieldset {
                    legend { (reader.t("sell-how")) }
                    @for (value, word) in [("cash", "sell-cash"), ("card_terminal", "sell-card"), ("comp", "sell-comp")] {
                        label class="choice" { input type="radio" name="method" value=(value) checked[chosen(value)]; span { b { (reader.t(word)) } } small class="faded" { (reader.t(&format!("{word}-lead"))) } }
                    }
                }
                div class="field" { label for="reason" { (reader.t("sell-reason")) } input id="reason" name="reason" value=(typed.reason) maxlength="500" autocomplete="off"; small { (reader.t("sell-reason-lead")) } }
                div class="field" { label for="email" { (reader.t("sell-email")) } input id="email" name="email" type="email" value=(typed.email) maxlength="254" autocomplete="off"; small { (reader.t("sell-email-lead")) } }
                div class="field" { label for="name" { (reader.t("your-name")) } input id="name" name="name" value=(typed.name) maxlength="120" autocomplete="off"; }
            }
            div class="basket" {
                p { b data-sum="" data-sign=(currency.sign()) data-exponent=(currency.exponent()) { (Money::new(0, currency).print()) } br; small { (reader.t("sell-sum")) } }
                button class="button" { (reader.t("sell-button")) }
            }
        }
    }
}

fn office_form(reader: &Reader, slug: &str, office: Option<&BoxOffice>) -> Markup {
    let is_open = office.is_some_and(|office| office.is_open);
    html! {
        form class="stack" method="post" action=(format!("/desk/{slug}/box-office")) {
            header class="head" { h2 { (reader.t("box-office-set")) } p { (reader.t("box-office-set-lead")) } }
            div class="field" { label for="country" { (reader.t("billing-country")) } input id="country" name="country" value=[office.map(|office| &office.country)] maxlength="2" pattern="[A-Za-z]{2}" required autocomplete="country"; }
            div class="actions" {
                button class="button plain" name="open" value="yes" { (reader.t(if is_open { "box-office-keep" } else { "box-office-open" })) }
                @if is_open { button class="button plain" name="open" value="no" { (reader.t("box-office-close")) } }
            }
        }
    }
}

/// The orders that wait for their money, each with the button that takes it in.
fn waiting_for_money(reader: &Reader, app: &App, festival: &Festival, awaited: &[Awaited], q: &str) -> Markup {
    let slug = &festival.terms.slug;
    let now = app.clock.now();
    html! {
        section aria-labelledby="awaited" {
            header class="head" { h2 id="awaited" { (reader.t("awaited")) } p { (reader.t("awaited-lead")) } }
            form method="get" action=(format!("/desk/{slug}/box-office#awaited")) { div class="field" { label for="q" { (reader.t("awaited-search")) } input id="q" name="q" value=(q) maxlength="120" autocomplete="off"; } div { button class="button plain" { (reader.t("search")) } } }
            @if awaited.is_empty() { p class="faded" { (reader.t("awaited-none")) } }
            ul class="ledger" {
                @for a in awaited.iter().take(100) {
                    li {
                        p { b { (orders::number(a.order_id)) (reader.t("clause")) (a.total.print()) } br; (a.buyer_name) @if !a.buyer_name.is_empty() { (reader.t("comma")) } (a.email) br; span class="faded" { (reader.f("held-until-moment", [("moment", reader.language.at(a.due_at, &festival.terms.time_zone).long())])) } }
                        form method="post" action=(format!("/desk/{slug}/box-office/collections")) data-once="" {
                            input type="hidden" name="key" value=(crate::id::fresh(festival.festival_id, now));
                            input type="hidden" name="order" value=(a.order_id);
                            input type="hidden" name="minor" value=(a.total.minor);
                            div class="field" { label for=(format!("note-{}", a.order_id)) { (reader.t("collect-note")) } input id=(format!("note-{}", a.order_id)) name="note" maxlength="500" autocomplete="off"; }
                            div class="actions" {
                                @for method in CollectionMethod::ALL { button class="button plain" name="method" value=(method.name()) { (reader.t(&format!("collect-{}", method.name()))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn taken(reader: &Reader, takings: &[Takings]) -> Markup {
    html! {
        section aria-labelledby="takings" {
            header class="head" { h2 id="takings" { (reader.t("takings")) } p { (reader.t("takings-lead")) } }
            @if takings.is_empty() { p class="faded" { (reader.t("takings-none")) } } @else {
                div class="scroll" role="region" tabindex="0" aria-labelledby="takings" {
                    table class="log" {
                        thead { tr { th scope="col" { (reader.t("settlement-day")) } th scope="col" { (reader.t("sell-how")) } th scope="col" class="n" { (reader.t("takings-orders")) } th scope="col" class="n" { (reader.t("money")) } } }
                        tbody { @for t in takings.iter().take(200) { tr { td { (t.day.format("%Y-%m-%d").to_string()) } td { (reader.t(&format!("taken-{}", t.method))) } td class="n" { (t.orders) } td class="n" { (t.amount.print()) } } } }
                    }
                }
            }
        }
    }
}

/// Opens or closes the box office.
#[handler]
pub async fn set(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::SalesWrite).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::MoneyWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    let country = field(&fields, "country").trim().to_uppercase();
    if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
        let typed = Typed { why: Some(reader.t("billing-wrong-country").into_owned()), ..Typed::default() };
        let mut said = show(&reader, &app, &who, &festival, "", &typed).await?;
        said.set_status(StatusCode::UNPROCESSABLE_ENTITY);
        return Ok(said);
    }
    let office = BoxOffice { country, is_open: field(&fields, "open") == "yes" };
    box_office::set(&app, &who.staff, festival.festival_id, &office).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/box-office")))
}

/// Sells what was chosen.
#[handler]
pub async fn sell(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, arrival: Data<&Arrival>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::SalesWrite).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let (wishes, expected) = basket(&fields);
    let text = |name: &str| field(&fields, name).trim().to_owned();
    let method = match field(&fields, "method") {
        "card_terminal" => DoorMethod::CardTerminal,
        "comp" => DoorMethod::Comp,
        _ => DoorMethod::Cash,
    };
    let mut typed = Typed {
        quantities: wishes.iter().map(|wish| (wish.offer_id, wish.quantity)).collect(),
        email: text("email"),
        name: text("name"),
        reason: text("reason"),
        method: text("method"),
        why: None,
    };
    let buyer = Buyer { email: typed.email.clone(), name: typed.name.chars().take(120).collect(), language: reader.language };
    let reason: String = typed.reason.chars().take(500).collect();
    let sale = Sale { basket: wishes, method: method.collected(), buyer, reason: &reason, expected_minor: Some(expected) };
    let (why, status) = match box_office::sell(&app, &who.staff, festival.festival_id, sale, field(&fields, "key"), arrival.0.0).await {
        Ok(done) => return Ok(see_other(&format!("/desk/{slug}/box-office/sales/{}", done.placed.order_id))),
        Err(SellError::Closed) => ("box-office-closed", StatusCode::CONFLICT),
        Err(SellError::Place(PlaceError::Invalid(at, _))) if at == "/reason" => ("sell-no-reason", StatusCode::UNPROCESSABLE_ENTITY),
        Err(SellError::Place(PlaceError::Invalid(at, _))) if at == "/email" => ("waits-bad-email", StatusCode::UNPROCESSABLE_ENTITY),
        Err(SellError::Place(PlaceError::Invalid(..))) => ("refusal-empty-lead", StatusCode::UNPROCESSABLE_ENTITY),
        Err(SellError::Place(PlaceError::SoldOut(..))) => ("sell-too-few", StatusCode::CONFLICT),
        Err(SellError::Place(PlaceError::PriceChanged(..))) => ("sell-price", StatusCode::CONFLICT),
        Err(SellError::Place(PlaceError::Requirement(..))) => ("refusal-requirement-lead", StatusCode::CONFLICT),
        Err(SellError::Place(PlaceError::Paused(..))) => ("state-paused", StatusCode::CONFLICT),
        Err(SellError::Collect(CollectError::Gone)) => ("sell-gone", StatusCode::CONFLICT),
        Err(error) => return Err(Problem::from(error).into()),
    };
    typed.why = Some(reader.t(why).into_owned());
    let mut said = show(&reader, &app, &who, &festival, "", &typed).await?;
    said.set_status(status);
    Ok(said)
}

/// What was sold: the tickets to be shown or printed, the number of the receipt, and on to the next one.
#[handler]
pub async fn sold(request: &Request, reader: Reader, app: Data<&App>, Path((slug, order)): Path<(String, OrderId)>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::SalesWrite).await? else { return Ok(see_other("/sign-in")) };
    // Only what was sold at the door is shown at the door: tickets of other orders are their fans'.
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let is_own = order.festival() == festival.festival_id && box_office::is_sold_here(&mut tx, order).await.map_err(Problem::from)?;
    drop(tx);
    let found: Option<Order> = if is_own { orders::order(&app.pools.web, order).await.map_err(Problem::from)? } else { None };
    let found = found.ok_or_else(|| NOT_FOUND.problem())?;
    let receipt = box_office::receipt(&app.pools.web, order).await.map_err(Problem::from)?;
    let issued = tickets::of_order(&app.pools.web, order).await.map_err(Problem::from)?;
    let ticket::Stubs { markup: stubs, .. } = ticket::stubs(&reader, &app, &festival, &issued, ticket::On::Order).await?;
    let url = order_url(&app, order, found.link_generation);
    Ok(shell(&reader, &festival, &reader.t("sell-sold")).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover board" aria-labelledby="sold" { h1 class="unseen" id="sold" { (reader.t("sell-sold")) } (stubs) @if issued.is_empty() { p class="lead" { (reader.t("no-tickets-in-order")) } } }
            div class="panel" {
                (index(&reader, &slug))
                section class="stack" {
                    p class="faded" { (reader.f("order-number", [("number", found.number())])) }
                    h2 { (reader.t("sell-sold")) }
                    p class="counter" { b { (found.total.print()) } @if let Some(no) = receipt { (reader.f("sell-receipt", [("number", no.to_string())])) } }
                    p { @if found.email.is_empty() { (reader.t("sell-no-email")) } @else { (reader.f("tickets-go-to", [("email", found.email.clone())])) } }
                    div class="actions" { a class="button" href=(format!("/desk/{slug}/box-office")) { (reader.t("sell-next")) } a class="button plain" href=(url) { (reader.t("mail-open-order")) } }
                }
            }
        }
    }))
}

/// Takes money in for an order that waits for it.
#[handler]
pub async fn collect(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, arrival: Data<&Arrival>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::SalesWrite).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let order: OrderId = field(&fields, "order").parse().map_err(|_| NOT_FOUND.problem())?;
    let method = CollectionMethod::ALL.into_iter().find(|method| method.name() == field(&fields, "method")).ok_or_else(|| NOT_FOUND.problem())?;
    let amount = Money::new(field(&fields, "minor").parse().unwrap_or(0), festival.terms.currency);
    let note: String = field(&fields, "note").trim().chars().take(500).collect();
    if order.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    let collecting = Collecting { order_id: order, method, amount, note: &note };
    let why = match offline::collect(&app, &who.staff, &collecting, field(&fields, "key"), arrival.0.0).await {
        Ok(_) => return Ok(see_other(&format!("/desk/{slug}/box-office#awaited"))),
        Err(CollectError::NoBoxOffice) => "collect-no-office",
        Err(CollectError::Paid) => "collect-paid",
        Err(CollectError::Gone) => "collect-gone",
        Err(CollectError::Open) => "collect-open-payment",
        Err(error) => return Err(Problem::from(error).into()),
    };
    let mut said = show(&reader, &app, &who, &festival, "", &Typed { why: Some(reader.t(why).into_owned()), ..Typed::default() }).await?;
    said.set_status(StatusCode::CONFLICT);
    Ok(said)
}
