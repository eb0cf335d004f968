//! The page of an order by its secret link: held, undecided, paid, over. One address, from the hold to the ticket.

use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    documents,
    festival::duration,
    options,
    pay::{to_pay, waiting},
    post, returns, ticket,
};
use crate::{
    app::App,
    festivals::{self, Festival},
    http::{
        cookies::same_origin,
        problem::{NOT_FOUND, Problem},
    },
    id::{OrderId, TicketId},
    library::{self, Take, file_link},
    money::percent,
    offers::{self, Offer},
    orders::{self, Order, OrderStatus, api::breakdown, api::order_url},
    payments::{
        self,
        refunds::{self, RefundReason, RefundStatus},
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
pub(super) fn basket(reader: &Reader, opened: &Opened) -> Markup {
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
                @if inside.fee.minor > 0 { tr { th scope="row" { (reader.t("fee-inside")) @if keeps_fee(&opened.order) { br; small { (reader.t("fee-remains")) } } } td { (inside.fee.print()) } } }
                @for tax in &inside.taxes { tr { th scope="row" { (reader.f("tax-inside", [("rate", percent(tax.rate_ppm))])) } td { (tax.amount.print()) } } }
            }
        }
    }
}

/// Whether a fee of an order stays when its tickets are given back.
pub(super) fn keeps_fee(order: &Order) -> bool {
    order.lines.iter().flat_map(|line| &line.shares).any(|share| share.minor > 0 && share.fee.is_some_and(|fee| fee.is_kept))
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
    let shown: Vec<_> =
        refunds.iter().filter(|r| r.status != RefundStatus::Withdrawn && r.amount.minor > 0 && r.reason != Some(RefundReason::Disputed)).collect();
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
    let documents = documents::section(reader, app, opened).await?;
    Ok(shell(reader, opened, &reader.t("ended-refunded"), None).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" aria-labelledby="returned" {
                p class="faded" { (reader.f("order-number", [("number", opened.order.number())])) }
                h1 id="returned" { (reader.t("ended-refunded")) }
                p class="lead" { (reader.t("ended-refunded-lead")) }
            }
            div class="panel" { (back) section { header class="head" { h2 { (reader.t("what-you-paid")) } } (basket(reader, opened)) } (documents) }
        }
    }))
}

async fn paid(reader: &Reader, app: &App, opened: &Opened) -> PageResult {
    let order = &opened.order;
    let back = money_back(reader, app, opened).await?;
    let offered = returns::offered(app, order).await?;
    let issued = tickets::of_order(&app.pools.web, order.order_id).await.map_err(Problem::from)?;
    // What was passed on is somebody else's: no code and no link of it is here.
    let moments = tickets::passed_on(&app.pools.web, order.order_id).await.map_err(Problem::from)?;
    let (issued, passed_on): (Vec<_>, Vec<_>) = issued.into_iter().partition(|t| !moments.contains_key(&t.ticket_id));
    let ticket::Stubs { markup: stubs, is_live } = ticket::stubs(reader, app, &opened.festival, &issued, ticket::On::Order).await?;
    let albums = library::albums(&app.pools.web, order.order_id).await.map_err(Problem::from)?;
    let music = albums_of(reader, app, &albums).await?;
    // What was or is being returned is shown and can do nothing more; the others keep their numbers.
    let live: Vec<Numbered> = issued.iter().enumerate().filter(|(_, t)| matches!(t.status, TicketStatus::Valid | TicketStatus::Exchanged)).collect();
    let paid_at = order.paid_at.map(|at| reader.language.at(at, &opened.festival.terms.time_zone).long()).unwrap_or_default();
    let url = order_url(app, order.order_id, order.link_generation);
    let choosing = options::choosing(reader, app, opened, &url).await?;
    let rescindable = if albums.is_empty() {
        html! {}
    } else {
        returns::rescindable(reader, app, opened, &url).await?
    };
    let again = post::again(reader, &url);
    let returns::Pool { markup: pool, is_offered } = returns::pool(reader, app, opened, &url, &live).await?;
    let documents = documents::section(reader, app, opened).await?;
    Ok(shell(reader, opened, &reader.t("your-tickets"), None).page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover board" aria-labelledby="tickets" {
                h1 class="unseen" id="tickets" { (reader.t("your-tickets")) }
                (stubs)
                @if issued.is_empty() { p class="lead" { (reader.t(if passed_on.is_empty() { "no-tickets-in-order" } else { "all-passed-on" })) } }
            }
            div class="panel" {
                section class="stack" {
                    p class="faded" { (reader.f("order-paid", [("number", order.number()), ("moment", paid_at)])) }
                    h2 { @if is_offered && live.is_empty() { (reader.t("pool-head")) } @else if live.is_empty() && !passed_on.is_empty() { (reader.t("all-passed-on")) } @else if live.is_empty() && !issued.is_empty() { (reader.t("all-returned")) } @else { (reader.f("you-are-in", [("count", live.len().to_string())])) } }
                    @if !live.is_empty() || (issued.is_empty() && passed_on.is_empty()) { p { (reader.t(if is_live { "live-lead" } else { "you-are-in-lead" })) } }
                    @if !live.is_empty() { p { (reader.t(if live.len() > 1 { "own-links" } else { "own-link" })) } (links(reader, app, opened, &live)) }
                    @if !passed_on.is_empty() {
                        ul class="ledger" { @for t in &passed_on { li { p { (reader.f("passed-on-to", [("name", t.holder_name.clone())])) @if let Some(at) = moments.get(&t.ticket_id).copied() { br; span class="faded" { (reader.language.at(at, &opened.festival.terms.time_zone).long()) } } } } } }
                    }
                }
                (choosing)
                (returns::forms(reader, opened, &url, &live, &offered))
                (pool)
                (back)
                (music)
                (rescindable)
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
                (documents)
                (again)
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
