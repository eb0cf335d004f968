//! The page of an order by its secret link: held, undecided, paid, over. One address, from the hold to the ticket.

use chrono::TimeDelta;
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::HeaderValue,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    festival::duration,
    returns, ticket,
};
use crate::{
    app::App,
    festivals::{self, Festival},
    http::{
        cookies::same_origin,
        door::Arrival,
        problem::{NOT_FOUND, Problem},
    },
    id::{OrderId, PaymentId, TicketId},
    library::{self, Take, file_link},
    offers::{self, Offer},
    orders::{self, Order, OrderStatus, api::breakdown, api::order_url},
    payments::{
        self, PayError, Payment, Way,
        refunds::{self, RefundStatus, twins},
    },
    releases,
    secrets::Purpose,
    tickets::{self, TicketStatus},
    web::{
        art,
        layout::{Notice, PageResult, Reader, Shell, name, notice, see_other, text},
        money::refund_state,
    },
};

/// A ticket with its place in the order.
pub(super) type Numbered<'a> = (usize, &'a tickets::Ticket);

/// An order with what its page needs.
pub(super) struct Opened {
    pub(super) order: Order,
    pub(super) festival: Festival,
    offers: Vec<Offer>,
}

/// Opens an order by its secret; a wrong one and a missing one are the same.
pub(super) async fn open(app: &App, id: OrderId, secret: &str) -> Result<Opened, Problem> {
    let order = orders::order(&app.pools.web, id)
        .await?
        .filter(|o| app.secrets.is_link(Purpose::OrderLink, id.0, o.link_generation, secret))
        .ok_or_else(|| NOT_FOUND.problem())?;
    let festival = festivals::one(&app.pools.web, id.festival()).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let offers = offers::offers(&app.pools.web, id.festival()).await?;
    Ok(Opened { order, festival, offers })
}

/// The page of an order.
#[handler]
pub async fn page(reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let opened = open(&app, OrderId(id), &secret).await?;
    let payments = payments::by_order(&app.pools.web, OrderId(id)).await.map_err(Problem::from)?;
    let undecided = payments.iter().find(|p| p.status.is_open());
    match (opened.order.status, undecided) {
        (OrderStatus::Paid | OrderStatus::PartlyRefunded | OrderStatus::PartPaid, _) => paid(&reader, &app, &opened).await,
        (OrderStatus::Refunded, _) => returned(&reader, &app, &opened).await,
        (OrderStatus::Held, Some(payment)) => Ok(waiting(&reader, &app, &opened, payment)),
        (OrderStatus::Held, None) if app.clock.now() <= opened.order.held_until => to_pay(&reader, &app, &opened, payments.last(), None).await,
        (status, _) => Ok(ended(&reader, &opened, status)),
    }
}

pub(super) fn shell<'a>(reader: &'a Reader, opened: &'a Opened, title: &str, refresh: Option<u32>) -> Shell<'a> {
    Shell {
        script_refreshes: false,
        reader,
        title: format!("{title}: {}", opened.festival.terms.name.read(reader.language)),
        festival: Some(&opened.festival),
        private: true,
        refresh,
    }
}

/// The lines of an order as a basket.
fn basket(reader: &Reader, opened: &Opened) -> Markup {
    html! {
        ol class="tracks" {
            @for line in &opened.order.lines {
                @let offer = opened.offers.iter().find(|o| o.offer_id == line.offer_id);
                li {
                    span class="no" { (line.quantity) " ×" }
                    span {
                        b { @if let Some(offer) = offer { (text(&offer.name, reader.language)) } }
                        @if let Some(tier) = offer.filter(|o| o.tiers.len() > 1).and_then(|o| o.tiers.iter().find(|t| t.tier_no == line.tier_no)) { small { (text(&tier.name, reader.language)) } }
                        @if let Some(discount) = line.discount { small { (reader.f("discount", [("amount", discount.print())])) } }
                        @if line.quantity > 1 { small { (reader.f("each", [("price", line.unit.print())])) } }
                    }
                    span { (line.total.print()) }
                }
            }
        }
        @let inside = breakdown(&opened.order.lines, opened.order.total);
        table class="sum" {
            tbody {
                tr class="total" { th scope="row" { (reader.t("total")) } td { (opened.order.total.print()) } }
                @for tax in &inside.taxes { tr { th scope="row" { (reader.f("tax-inside", [("rate", rate(tax.rate_ppm))])) } td { (tax.amount.print()) } } }
            }
        }
    }
}

/// `9`, `8.875`: a rate in per cent.
pub(super) fn rate(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A held order and how it can be paid.
async fn to_pay(reader: &Reader, app: &App, opened: &Opened, last: Option<&Payment>, hurt: Option<&str>) -> PageResult {
    let is_second = twins::is_bought_already(&app.pools.web, opened.order.order_id).await.map_err(Problem::from)?;
    let ways = payments::ways(app, opened.order.order_id.festival(), opened.order.total.minor).await.map_err(Problem::from)?;
    Ok(held(reader, app, opened, last, hurt, is_second, &ways))
}

/// The choice of a way to pay.
fn ways_of(reader: &Reader, ways: &[Way]) -> Markup {
    let words = |way: &Way| match way {
        Way::Stripe => ("stripe", "way-stripe", "way-stripe-lead"),
        Way::Simulated => ("simulated", "way-simulated", "way-next-page"),
        Way::SimulatedInstant | Way::Free => ("simulated_instant", "way-instant", "way-at-once"),
    };
    html! {
        @match ways {
            [] => { p class="notice bad" { (reader.t("no-way")) } }
            [Way::Free] => { input type="hidden" name="way" value="free"; p { (reader.t("free-order")) } }
            [only] => { @let (value, name, lead) = words(only); input type="hidden" name="way" value=(value); p { b { (reader.t(name)) } br; span class="small faded" { (reader.t(lead)) } } }
            several => {
                fieldset {
                    legend class="unseen" { (reader.t("how-you-pay")) }
                    @for (i, way) in several.iter().enumerate() {
                        @let (value, name, lead) = words(way);
                        label class="choice" { input type="radio" name="way" value=(value) checked[i == 0]; span { b { (reader.t(name)) } } small class="faded" { (reader.t(lead)) } }
                    }
                }
            }
        }
    }
}

fn held(reader: &Reader, app: &App, opened: &Opened, last: Option<&Payment>, hurt: Option<&str>, is_second: bool, ways: &[Way]) -> Response {
    let order = &opened.order;
    let now = app.clock.now();
    let left = (order.held_until - now).num_seconds().max(0);
    let until = reader.language.at(order.held_until, &opened.festival.terms.time_zone).second();
    let url = order_url(app, order.order_id, order.link_generation);
    let declined = last.is_some_and(|p| p.status == payments::PaymentStatus::Failed);
    shell(reader, opened, &reader.t("pay"), None).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" aria-labelledby="held" {
                p class="faded" { (reader.f("order-number", [("number", order.number())])) }
                h1 id="held" { (reader.t("held")) }
                div role="timer" data-until=(order.held_until.to_rfc3339()) data-now=(now.to_rfc3339()) {
                    p class="counter" { span { b { (format!("{}:{:02}", left / 60, left % 60)) } (reader.f("held-until", [("time", until)])) } }
                    progress class="groove" max="600" value=(left) { (reader.f("seconds-left", [("count", left.to_string())])) }
                }
                (basket(reader, opened))
                div class="only-wide" { (art::poster(opened.festival.terms.name.read(opened.festival.terms.language))) }
            }
            div class="panel" {
                @if is_second { p class="notice" role="status" { b { (reader.t("bought-already")) } (reader.t("gap")) (reader.t("bought-already-lead")) } }
                @if declined {
                    p class="notice bad" role="alert" { b { (reader.t("payment-failed")) } (reader.t("gap")) (reader.t("payment-failed-lead")) }
                }
                @if let Some(hurt) = hurt { p class="notice bad" id="terms-hurt" role="alert" { (hurt) } }
                form method="post" action=(format!("{url}/payments")) data-once="" {
                    section class="stack" {
                        header class="head" { h2 { (reader.t("how-you-pay")) } p { (reader.f("tickets-go-to", [("email", order.email.clone())])) } }
                        input type="hidden" name="key" value=(crate::id::fresh(order.order_id.festival(), now));
                        (ways_of(reader, ways))
                        label class="tick" { input type="checkbox" name="terms" value="yes" required aria-invalid=[hurt.map(|_| "true")] aria-describedby=[hurt.map(|_| "terms-hurt")]; span { (reader.t("terms")) } }
                        div { button class="button broad" disabled[ways.is_empty()] { (reader.f("pay-amount", [("amount", order.total.print())])) } }
                        p class="small faded" { (reader.t("never-neither")) }
                    }
                }
                form method="post" action=(format!("{url}/cancellations")) { p { button class="link" { (reader.t("give-up")) } (reader.t("gap")) span class="faded" { (reader.t("give-up-lead")) } } }
            }
        }
    })
}

/// A payment that is not decided: on to the page of the bank, or another way.
fn waiting(reader: &Reader, app: &App, opened: &Opened, payment: &Payment) -> Response {
    let by = reader.language.at(payment.decide_by, &opened.festival.terms.time_zone).time();
    let url = order_url(app, opened.order.order_id, opened.order.link_generation);
    shell(reader, opened, &reader.t("undecided"), Some(5)).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" { (art::broken(opened.festival.terms.name.read(opened.festival.terms.language))) }
            div class="panel problem" {
                h1 { (reader.t("undecided")) }
                p class="lead" { (reader.f("undecided-lead", [("time", by)])) }
                @if let Some(bank) = &payment.redirect_url { div class="actions" { a class="button" href=(bank) { (reader.t("back-to-bank")) } } }
                form method="post" action=(format!("{url}/payments/gave-up")) data-once="" { p { button class="link" { (reader.t("pay-otherwise")) } (reader.t("gap")) span class="faded" { (reader.t("pay-otherwise-lead")) } } }
                p class="small faded" { (reader.f("order-number", [("number", opened.order.number())])) }
            }
        }
    })
}

fn ended(reader: &Reader, opened: &Opened, status: OrderStatus) -> Response {
    let key = match status {
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Unfulfillable => "unfulfillable",
        // A hold whose ten minutes are over is over for its fan, whenever the worker comes by.
        OrderStatus::Held | OrderStatus::Expired | OrderStatus::PartPaid | OrderStatus::Paid | OrderStatus::PartlyRefunded | OrderStatus::Refunded => "expired",
    };
    notice(
        &shell(reader, opened, &reader.t(&format!("ended-{key}")), None),
        &Notice {
            title: reader.t(&format!("ended-{key}")).into_owned(),
            lead: reader.t(&format!("ended-{key}-lead")).into_owned(),
            ways: vec![(format!("/f/{}#offers", opened.festival.terms.slug), reader.t("choose-again").into_owned())],
            small: reader.f("order-number", [("number", opened.order.number())]).into_owned(),
            etched: String::new(),
        },
    )
}

/// The money that went back or is on its way.
async fn money_back(reader: &Reader, app: &App, opened: &Opened) -> Result<Markup, Problem> {
    let mut conn = app.pools.web.acquire().await?;
    let refunds = refunds::by_order(&mut conn, opened.order.order_id).await?;
    let shown: Vec<_> = refunds.iter().filter(|r| r.status != RefundStatus::Withdrawn && r.amount.minor > 0).collect();
    Ok(html! {
        @if !shown.is_empty() {
            section aria-labelledby="money-back" {
                header class="head" { h2 id="money-back" { (reader.t("money-back")) } }
                ul class="ledger" { @for refund in shown { li { p { b { (refund.amount.print()) } br; (refund_state(reader, &opened.festival, refund)) @if refund.kept.minor > 0 { br; (reader.f("kept-of-it", [("amount", refund.kept.print())])) } } } } }
            }
        }
    })
}

/// Everything of the order was returned.
async fn returned(reader: &Reader, app: &App, opened: &Opened) -> PageResult {
    let back = money_back(reader, app, opened).await?;
    Ok(shell(reader, opened, &reader.t("ended-refunded"), None).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" aria-labelledby="returned" {
                p class="faded" { (reader.f("order-number", [("number", opened.order.number())])) }
                h1 id="returned" { (reader.t("ended-refunded")) }
                p class="lead" { (reader.t("ended-refunded-lead")) }
            }
            div class="panel" { (back) section { header class="head" { h2 { (reader.t("what-you-paid")) } } (basket(reader, opened)) } }
        }
    }))
}

async fn paid(reader: &Reader, app: &App, opened: &Opened) -> PageResult {
    let order = &opened.order;
    let back = money_back(reader, app, opened).await?;
    let offered = returns::offered(app, order).await?;
    let issued = tickets::of_order(&app.pools.web, order.order_id).await.map_err(Problem::from)?;
    let ticket::Stubs { markup: stubs, is_live } = ticket::stubs(reader, app, &opened.festival, &issued, ticket::On::Order).await?;
    let albums = library::albums(&app.pools.web, order.order_id).await.map_err(Problem::from)?;
    let music = albums_of(reader, app, &albums).await?;
    // What was or is being returned is shown and can do nothing more; the others keep their numbers.
    let live: Vec<Numbered> = issued.iter().enumerate().filter(|(_, t)| matches!(t.status, TicketStatus::Valid | TicketStatus::Exchanged)).collect();
    let paid_at = order.paid_at.map(|at| reader.language.at(at, &opened.festival.terms.time_zone).long()).unwrap_or_default();
    let url = order_url(app, order.order_id, order.link_generation);
    Ok(shell(reader, opened, &reader.t("your-tickets"), None).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover board" aria-labelledby="tickets" {
                h1 class="unseen" id="tickets" { (reader.t("your-tickets")) }
                (stubs)
                @if issued.is_empty() { p class="lead" { (reader.t("no-tickets-in-order")) } }
            }
            div class="panel" {
                section class="stack" {
                    p class="faded" { (reader.f("order-paid", [("number", order.number()), ("moment", paid_at)])) }
                    h2 { @if live.is_empty() && !issued.is_empty() { (reader.t("all-returned")) } @else { (reader.f("you-are-in", [("count", live.len().to_string())])) } }
                    @if !live.is_empty() || issued.is_empty() { p { (reader.t(if is_live { "live-lead" } else { "you-are-in-lead" })) } }
                    @if live.len() > 1 { p { (reader.t("own-links")) } (links(reader, app, opened, &live)) }
                }
                (returns::forms(reader, opened, &url, &live, &offered))
                (back)
                (music)
                @if !live.is_empty() {
                    form class="stack" method="post" action=(format!("{url}/holders")) {
                        header class="head" { h2 { (reader.t("who-comes")) } p { (reader.t("who-comes-lead")) } }
                        @for (i, t) in &live {
                            div class="field" {
                                label for=(format!("holder-{i}")) { (reader.f("ticket-n", [("n", (i + 1).to_string())])) }
                                input id=(format!("holder-{i}")) name=(format!("holder-{}", t.ticket_id)) value=(t.holder_name) maxlength="120" autocomplete="off" disabled[t.claimed_at.is_some()];
                            }
                        }
                        div { button class="button plain" { (reader.t("save-names")) } }
                    }
                }
                section { header class="head" { h2 { (reader.t("what-you-paid")) } } (basket(reader, opened)) }
            }
        }
    }))
}

/// The links of the tickets: who took theirs, and the others to be sent or taken back.
fn links(reader: &Reader, app: &App, opened: &Opened, issued: &[Numbered]) -> Markup {
    let url = order_url(app, opened.order.order_id, opened.order.link_generation);
    html! {
        ol class="tracks" {
            @for (i, t) in issued {
                li {
                    span class="no" { (i + 1) }
                    a href=(t.url(app)) { (reader.f("link-of", [("name", if t.holder_name.is_empty() { t.number[12..].to_uppercase() } else { t.holder_name.clone() })])) span class="unseen" { (reader.t("clause")) (reader.f("ticket-n", [("n", (i + 1).to_string())])) } }
                    @if let Some(at) = t.claimed_at {
                        span class="faded" { (reader.f("claimed", [("moment", reader.language.at(at, &opened.festival.terms.time_zone).long())])) }
                    } @else {
                        form method="post" action=(format!("{url}/recalls")) { button class="link" name="ticket" value=(t.ticket_id) { (reader.t("recall")) } }
                    }
                }
            }
        }
    }
}

/// The albums with their players: links good for ten minutes, made anew with every look at the page.
///
/// # Errors
/// What the database said.
pub async fn albums_of(reader: &Reader, app: &App, albums: &[library::Album]) -> Result<Markup, Problem> {
    let ids: Vec<_> = albums.iter().map(|a| a.release_id).collect();
    let tracks = releases::tracks(&app.pools.web, &ids).await?;
    let now = app.clock.now();
    Ok(html! {
        @for (i, album) in albums.iter().enumerate() {
            section aria-labelledby=(format!("album-{i}")) data-album=(i) {
                header class="head" { h2 id=(format!("album-{i}")) { (name(&album.title)) } p { (name(&album.artist)) @if let Some(number) = &album.catalog_number { (reader.t("clause")) (number) } @if album.copies > 1 { (reader.t("clause")) (reader.f("copies", [("count", album.copies.to_string())])) } } }
                div class="player" data-player="" data-album=(i) {
                    div class="sleeve" {
                        @if album.cover_hash.is_some() { img src=(format!("/pictures/releases/{}", album.release_id)) alt=(album.title) width="600" height="600"; }
                        @else { (art::cover(&album.title, &album.title)) }
                    }
                    p { b data-title="" { (reader.t("press-play")) } }
                    audio controls preload="none" aria-label=(album.title) {}
                }
                ol class="tracks" {
                    @for track in tracks.iter().filter(|t| t.release_id == album.release_id) {
                        @let stream = file_link(app, album.entitlement_id, track.track_no, Take::Stream, now);
                        li data-track=(stream) data-name=(track.title) {
                            a class="play" role="button" aria-pressed="false" href=(stream) aria-label=(reader.f("play-track", [("title", track.title.clone())])) {}
                            span { (name(&track.title)) small { (name(&track.artist)) } }
                            span { (duration(track.duration_ms)) " " a class="take-home" href=(file_link(app, album.entitlement_id, track.track_no, Take::Download, now)) download="" aria-label=(reader.f("save-track", [("title", track.title.clone())])) { (reader.t("save")) } }
                        }
                    }
                }
                p class="small faded" { (reader.t("no-drm")) }
            }
        }
    })
}

/// Pays an order from its page.
#[handler]
pub async fn pay(
    request: &Request,
    body: poem::Body,
    reader: Reader,
    app: Data<&App>,
    arrival: Data<&Arrival>,
    Path((id, secret)): Path<(uuid::Uuid, String)>,
) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let fields = fields(body).await?;
    let way = match field(&fields, "way") {
        "free" => Way::Free,
        "simulated_instant" => Way::SimulatedInstant,
        "simulated" => Way::Simulated,
        _ => Way::Stripe,
    };
    if field(&fields, "terms") != "yes" {
        return to_pay(&reader, &app, &opened, None, Some(&reader.t("terms-missing"))).await;
    }
    match payments::pay(&app, OrderId(id), &secret, field(&fields, "key"), way, arrival.0.0).await {
        Ok(Payment { redirect_url: Some(_), status, .. }) if status.is_open() => Ok(see_other(&format!("{url}/bank"))),
        // Whatever else it is, the page of the order says it.
        Ok(_) | Err(PayError::AlreadyPaid | PayError::NotHeld | PayError::Open(_)) => Ok(see_other(&url)),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// On to the page of the bank. A form of ours may lead nowhere else (the CSP's `form-action` is asked about redirects, too), so a page of ours stands between
/// and goes on by itself.
#[handler]
pub async fn to_bank(reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let opened = open(&app, OrderId(id), &secret).await?;
    let payments = payments::by_order(&app.pools.web, OrderId(id)).await.map_err(Problem::from)?;
    let Some(bank) = payments.into_iter().find(|payment| payment.status.is_open()).and_then(|payment| payment.redirect_url) else {
        return Ok(see_other(&order_url(&app, opened.order.order_id, opened.order.link_generation)));
    };
    let goes_on = HeaderValue::from_str(&format!("0; url={bank}")).map_err(|_| Problem::internal("the address of the bank is none"))?;
    let mut response = notice(
        &shell(&reader, &opened, &reader.t("to-bank"), None),
        &Notice {
            title: reader.t("to-bank").into_owned(),
            lead: reader.t("to-bank-lead").into_owned(),
            ways: vec![(bank, reader.t("to-bank-button").into_owned())],
            small: reader.f("order-number", [("number", opened.order.number())]).into_owned(),
            etched: String::new(),
        },
    );
    response.headers_mut().insert("refresh", goes_on);
    Ok(response)
}

/// Where a payment provider sends the buyer back to: it is asked what became of the payment, and the page of the order says it. The address is at the
/// provider, so it is no link of the order and good for a day only.
#[handler]
pub async fn come_back(app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let payment = payments::payment(&app.pools.web, PaymentId(id)).await.map_err(Problem::from)?;
    let payment = payment
        .filter(|payment| app.secrets.is_link(Purpose::PaymentReturn, id, 0, &secret) && app.clock.now() < payment.created_at + TimeDelta::days(1))
        .ok_or_else(|| NOT_FOUND.problem())?;
    payments::ask_now(&app, &payment).await.map_err(Problem::from)?;
    let order = orders::held(&app.pools.web, payment.order_id).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?;
    Ok(see_other(&order_url(&app, order.order_id, order.link_generation)))
}

/// Gives an open payment up from its page, so that another one can be tried.
#[handler]
pub async fn give_up_payment(request: &Request, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let payments = payments::by_order(&app.pools.web, OrderId(id)).await.map_err(Problem::from)?;
    if let Some(payment) = payments.iter().find(|payment| payment.status.is_open()) {
        payments::give_up(&app, payment).await;
    }
    Ok(see_other(&order_url(&app, opened.order.order_id, opened.order.link_generation)))
}

/// Gives an order up from its page.
#[handler]
pub async fn cancel(request: &Request, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    match orders::cancel(&app, OrderId(id)).await {
        Ok(()) | Err(orders::CancelError::NotHeld(_) | orders::CancelError::PaymentOpen) => Ok(see_other(&url)),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Takes back the link of a ticket that nobody took.
#[handler]
pub async fn recall(request: &Request, body: poem::Body, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let wanted = field(&fields(body).await?, "ticket").parse().ok();
    let own = tickets::of_order(&app.pools.web, opened.order.order_id).await.map_err(Problem::from)?;
    let ticket = own.iter().map(|t| t.ticket_id).find(|t| Some(*t) == wanted).ok_or_else(|| NOT_FOUND.problem())?;
    library::recall(&app, ticket).await.map_err(Problem::from)?;
    Ok(see_other(&order_url(&app, opened.order.order_id, opened.order.link_generation)))
}

/// Names the holders of the tickets of an order.
#[handler]
pub async fn holders(request: &Request, body: poem::Body, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let names: Vec<(TicketId, String)> = fields(body)
        .await?
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("holder-")?.parse().ok()?, value.trim().chars().take(120).collect())))
        .collect();
    tickets::name_holders(&app, opened.order.order_id, &names).await.map_err(Problem::from)?;
    Ok(see_other(&order_url(&app, opened.order.order_id, opened.order.link_generation)))
}
