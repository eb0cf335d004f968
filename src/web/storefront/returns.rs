//! What a fan gives back of an order from its page: one that was bought twice, or tickets by the rule of their order. Each asks once more before it is done.

use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    order::{Numbered, Opened, keeps_fee, open, shell},
};
use crate::{
    app::App,
    http::{cookies::same_origin, problem::Problem},
    id::{HandBackId, OrderId, TicketId},
    money::{Money, percent},
    orders::{Order, OrderStatus, api::order_url},
    payments::refunds::{
        RefundError,
        hand_backs::{self, HandBack, HandBackStatus},
        rescission,
        rule::{self, ReturnTerms},
        twins,
    },
    releases,
    web::layout::{Notice, PageResult, Reader, name, notice, see_other},
};

/// Hands back an order that was bought twice: asked once more before it is done.
#[handler]
pub async fn return_twin(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    if field(&fields(body).await?, "sure") != "yes" {
        if twins::twin_of(&app.pools.web, OrderId(id), app.clock.now()).await.map_err(Problem::from)?.is_none() {
            return Ok(see_other(&url));
        }
        return Ok(shell(&reader, &opened, &reader.t("bought-twice"), None).page(&html! {
            main class="panel problem" id="content" {
                h1 { (reader.f("give-back-sure", [("amount", opened.order.total.print())])) }
                p class="lead" { (reader.t("bought-twice-sure")) }
                form class="actions" method="post" action=(format!("{url}/twin-returns")) data-once="" {
                    button class="button" name="sure" value="yes" { (reader.t("bought-twice-back")) }
                    a class="button plain" href=(url) { (reader.t("back")) }
                }
            }
        }));
    }
    match twins::give_back(&app, OrderId(id), &secret).await {
        // Whatever it is, the page of the order says it.
        Ok(_) | Err(RefundError::NoTwin | RefundError::Nothing) => Ok(see_other(&url)),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// What a fan may give back of an order now, and how.
pub(super) struct Offered {
    is_twin: bool,
    terms: Option<ReturnTerms>,
}

/// Reads what a fan may give back of an order now.
pub(super) async fn offered(app: &App, order: &Order) -> Result<Offered, Problem> {
    let now = app.clock.now();
    let is_twin = order.status == OrderStatus::Paid && twins::twin_of(&app.pools.web, order.order_id, now).await?.is_some();
    let mut conn = app.pools.web.acquire().await?;
    Ok(Offered { is_twin, terms: rule::terms(&mut conn, order.order_id, now).await? })
}

/// The forms by which a fan gives an order that was bought twice back, or tickets by the rule of their order.
pub(super) fn forms(reader: &Reader, opened: &Opened, url: &str, live: &[Numbered], offered: &Offered) -> Markup {
    html! {
        @if offered.is_twin {
            form class="stack" method="post" action=(format!("{url}/twin-returns")) {
                header class="head" { h2 { (reader.t("bought-twice")) } p { (reader.f("bought-twice-lead", [("amount", opened.order.total.print())])) } }
                div { button class="button plain" { (reader.t("bought-twice-back")) } }
            }
        }
        @if let Some(terms) = &offered.terms { (returning(reader, opened, url, live, terms)) }
    }
}

/// What an order may be withdrawn from, with the button that the law asks for; nothing where there is no such right.
pub(super) async fn rescindable(reader: &Reader, app: &App, opened: &Opened, url: &str) -> Result<Markup, Problem> {
    let mut conn = app.pools.web.acquire().await?;
    let terms = rescission::terms(&mut conn, opened.order.order_id, app.clock.now()).await?;
    drop(conn);
    Ok(html! {
        @if let Some(terms) = &terms {
            form class="stack" id="rescission" method="post" action=(format!("{url}/rescissions")) {
                header class="head" { h2 { (reader.t("rescind-head")) } p { (reader.f("rescind-lead", [("moment", reader.language.at(terms.until, &opened.festival.terms.time_zone).long())])) } }
                div { button class="button plain" { (reader.t("rescind")) } }
            }
        }
    })
}

/// Withdraws from the contract about albums that nobody heard: confirmed once more before it is done.
#[handler]
pub async fn rescind(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let fields = fields(body).await?;
    let sure = field(&fields, "sure").parse().ok().map(|minor| Money::new(minor, opened.order.total.currency));
    let outcome = match sure {
        None => rescission::quote(&app, OrderId(id), &secret).await.map(Some),
        Some(seen) => rescission::rescind(&app, OrderId(id), &secret, field(&fields, "key"), Some(seen)).await.map(|_| None),
    };
    match outcome {
        Ok(None) => Ok(see_other(&format!("{url}#money-back"))),
        Ok(Some(quote)) => {
            let key = crate::id::fresh(OrderId(id).festival(), app.clock.now());
            let mut conn = app.pools.web.acquire().await.map_err(Problem::from)?;
            let terms = rescission::terms(&mut conn, OrderId(id), app.clock.now()).await.map_err(Problem::from)?;
            let ids: Vec<_> = terms.iter().flat_map(|terms| terms.albums.iter().map(|album| album.release_id)).collect();
            let titles = releases::titles_and_artists(&mut conn, &ids).await.map_err(Problem::from)?;
            drop(conn);
            Ok(shell(&reader, &opened, &reader.t("rescind"), None).page(&html! {
                main class="panel problem" id="content" {
                    h1 { (reader.f("give-back-sure", [("amount", quote.amount.print())])) }
                    p class="lead" { (reader.t("rescind-sure")) }
                    ul class="ledger" { @for (_, title, artist) in &titles { li { p { b { (name(title)) } br; (name(artist)) } } } }
                    p { (reader.f("order-number", [("number", opened.order.number())])) br; (opened.order.buyer_name) @if !opened.order.buyer_name.is_empty() { br; } (opened.order.email) }
                    form class="stack" method="post" action=(format!("{url}/rescissions")) data-once="" {
                        input type="hidden" name="key" value=(key);
                        div class="actions" { button class="button" name="sure" value=(quote.amount.minor) { (reader.t("rescind-confirm")) } a class="button plain" href=(url) { (reader.t("back")) } }
                    }
                }
            }))
        }
        Err(RefundError::Database(error)) => Err(Problem::from(error).into()),
        Err(RefundError::NotFound) => Err(Problem::from(RefundError::NotFound).into()),
        Err(_) => {
            let (title, lead) = (reader.t("rescind-none").into_owned(), reader.t("rescind-none-lead").into_owned());
            let words = Notice { title, lead, ways: vec![(url, reader.t("back").into_owned())], ..Notice::default() };
            Ok(notice(&shell(&reader, &opened, &reader.t("rescind"), None), &words))
        }
    }
}

/// What of an order is in the pool, and the form that hands more back.
pub(super) struct Pool {
    pub(super) markup: Markup,
    /// Somebody is invited to a ticket of it.
    pub(super) is_offered: bool,
}

/// Reads it.
pub(super) async fn pool(reader: &Reader, app: &App, opened: &Opened, url: &str, live: &[Numbered<'_>]) -> Result<Pool, Problem> {
    let id = opened.order.order_id;
    let all = hand_backs::of_order(&app.pools.web, id).await?;
    let offered = if opened.order.total.minor > 0 && !live.is_empty() {
        let mut conn = app.pools.web.acquire().await?;
        hand_backs::offered(&mut conn, id, app.clock.now()).await?
    } else {
        None
    };
    let in_pool: Vec<&HandBack> = all.iter().filter(|h| matches!(h.status, HandBackStatus::Open | HandBackStatus::Offered)).collect();
    let free = |ticket: TicketId| !in_pool.iter().any(|h| h.ticket_id == ticket);
    let (tickets, until) = offered.map_or((Vec::new(), None), |(tickets, until)| (tickets, Some(until)));
    let left: Vec<&Numbered> = live.iter().filter(|(_, t)| tickets.contains(&t.ticket_id) && free(t.ticket_id)).collect();
    let number = |ticket: TicketId| live.iter().find(|(_, t)| t.ticket_id == ticket).map(|(i, _)| i + 1);
    let is_offered = in_pool.iter().any(|h| h.status == HandBackStatus::Offered);
    let markup = html! {
        @if !in_pool.is_empty() {
            section id="pool" aria-labelledby="pool-head" {
                header class="head" { h2 id="pool-head" { (reader.t("pool-head")) } p { (reader.t("pool-head-lead")) } }
                ul class="ledger" {
                    @for h in &in_pool {
                        li {
                            p { b { @if let Some(n) = number(h.ticket_id) { (reader.f("ticket-n", [("n", n.to_string())])) } @else { (reader.t("pool-ticket")) } } br; (reader.t(&format!("pool-{}", h.status.name()))) }
                            @if h.status == HandBackStatus::Open { form method="post" action=(format!("{url}/hand-backs/{}/withdrawals", h.hand_back_id)) { button class="link" { (reader.t("pool-withdraw")) } } }
                        }
                    }
                }
            }
        }
        @if let (false, Some(until)) = (left.is_empty(), until) {
            details { summary { h2 { (reader.t("pool-hand-back")) } }
                form class="stack" method="post" action=(format!("{url}/hand-backs")) data-once="" {
                    p { (reader.f("pool-lead", [("moment", reader.language.at(until, &opened.festival.terms.time_zone).long())])) @if keeps_fee(&opened.order) { (reader.t("gap")) (reader.t("fee-remains")) } }
                    fieldset class="stack" {
                        legend class="unseen" { (reader.t("return-which")) }
                        @for (i, t) in &left { label class="tick" { input type="checkbox" name="ticket" value=(t.ticket_id); span { (reader.f("ticket-n", [("n", (i + 1).to_string())])) @if !t.holder_name.is_empty() { " · " (t.holder_name) } } } }
                    }
                    div { button class="button plain" { (reader.t("pool-do")) } }
                }
            }
        }
    };
    Ok(Pool { markup, is_offered })
}

/// Hands tickets back to the pool from the page of their order.
#[handler]
pub async fn hand_back(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let chosen: Vec<TicketId> = fields(body).await?.iter().filter(|(name, _)| name == "ticket").filter_map(|(_, id)| id.parse().ok()).collect();
    match hand_backs::hand_back(&app, OrderId(id), &secret, &chosen).await {
        Ok(_) => Ok(see_other(&format!("{url}#pool"))),
        Err(RefundError::Database(error)) => Err(Problem::from(error).into()),
        Err(_) => {
            let (title, lead) = (reader.t("return-none").into_owned(), reader.t("return-none-lead").into_owned());
            let words = Notice { title, lead, ways: vec![(url, reader.t("back").into_owned())], ..Notice::default() };
            Ok(notice(&shell(&reader, &opened, &reader.t("pool-hand-back"), None), &words))
        }
    }
}

/// Takes a ticket out of the pool.
#[handler]
pub async fn withdraw(request: &Request, app: Data<&App>, Path((id, secret, which)): Path<(uuid::Uuid, String, HandBackId)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    match hand_backs::withdraw(&app, OrderId(id), &secret, which).await {
        // Where somebody was invited in the same moment, the page says so.
        Ok(_) | Err(RefundError::NotByRule) => Ok(see_other(&format!("{}#pool", order_url(&app, opened.order.order_id, opened.order.link_generation)))),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// The form by which a fan gives tickets back.
fn returning(reader: &Reader, opened: &Opened, url: &str, live: &[Numbered], terms: &ReturnTerms) -> Markup {
    let until = reader.language.at(terms.until, &opened.festival.terms.time_zone).long();
    let lead = if terms.kept_ppm == 0 {
        reader.f("return-lead-whole", [("moment", until)])
    } else {
        reader.f("return-lead", [("moment", until), ("kept", percent(terms.kept_ppm))])
    };
    html! {
        details { summary { h2 { (reader.t("return-tickets")) } }
            form class="stack" method="post" action=(format!("{url}/returns")) {
                p { (lead) @if keeps_fee(&opened.order) { (reader.t("gap")) (reader.t("fee-remains")) } }
                fieldset class="stack" {
                    legend class="unseen" { (reader.t("return-which")) }
                    @for (i, t) in live.iter().filter(|(_, t)| terms.ticket_ids.contains(&t.ticket_id)) {
                        label class="tick" { input type="checkbox" name="ticket" value=(t.ticket_id); span { (reader.f("ticket-n", [("n", (i + 1).to_string())])) @if !t.holder_name.is_empty() { " · " (t.holder_name) } } }
                    }
                }
                div { button class="button plain" { (reader.t("give-back-look")) } }
            }
        }
    }
}

/// Gives tickets back by the rule of the order: what it brings is shown before it is done.
#[handler]
pub async fn give_back(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let fields = fields(body).await?;
    let chosen: Vec<TicketId> = fields.iter().filter(|(name, _)| name == "ticket").filter_map(|(_, id)| id.parse().ok()).collect();
    let sure = field(&fields, "sure").parse().ok().map(|minor| Money::new(minor, opened.order.total.currency));
    let outcome = match sure {
        None => rule::quote(&app, OrderId(id), &secret, &chosen).await.map(Some),
        Some(seen) => rule::give_back(&app, OrderId(id), &secret, &chosen, field(&fields, "key"), Some(seen)).await.map(|_| None),
    };
    match outcome {
        Ok(None) => Ok(see_other(&format!("{url}#money-back"))),
        Ok(Some(quote)) => {
            let key = crate::id::fresh(OrderId(id).festival(), app.clock.now());
            Ok(shell(&reader, &opened, &reader.t("return-tickets"), None).page(&html! {
                main class="panel problem" id="content" {
                    h1 { (reader.f("give-back-sure", [("amount", quote.amount.print())])) }
                    p class="lead" { (reader.f("give-back-tickets", [("count", quote.ticket_ids.len().to_string())])) }
                    form class="stack" method="post" action=(format!("{url}/returns")) data-once="" {
                        @for ticket in &chosen { input type="hidden" name="ticket" value=(ticket); }
                        input type="hidden" name="key" value=(key);
                        div class="actions" { button class="button" name="sure" value=(quote.amount.minor) { (reader.t("return-do")) } a class="button plain" href=(url) { (reader.t("back")) } }
                    }
                }
            }))
        }
        Err(RefundError::Wrong(..) | RefundError::NotByRule | RefundError::Nothing | RefundError::NotPaid(_) | RefundError::Amount(_)) => {
            let words = Notice {
                title: reader.t("return-none").into_owned(),
                lead: reader.t("return-none-lead").into_owned(),
                ways: vec![(url, reader.t("back").into_owned())],
                ..Notice::default()
            };
            Ok(notice(&shell(&reader, &opened, &reader.t("return-tickets"), None), &words))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}
