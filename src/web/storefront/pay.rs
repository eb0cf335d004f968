//! Paying an order from its page: the ways there are, on to the page of the bank and back, and giving a payment up.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::HeaderValue,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    documents,
    order::{Opened, basket, open, shell},
};
use crate::{
    app::App,
    http::{
        cookies::same_origin,
        door::Arrival,
        problem::{NOT_FOUND, Problem},
    },
    id::{OrderId, PaymentId},
    orders::{
        self,
        api::order_url,
        deadline::{self, Deadline, DeadlineKind},
    },
    payments::{
        self, PayError, Payment, Way,
        offline::{self, AgreeError, Offered, OfflineMethod},
        refunds::twins,
    },
    secrets::Purpose,
    web::{
        art,
        layout::{Notice, PageResult, Reader, notice, see_other, text},
    },
};

/// A held order and how it can be paid.
pub(super) async fn to_pay(reader: &Reader, app: &App, opened: &Opened, last: Option<&Payment>, hurt: Option<&str>) -> PageResult {
    let is_second = twins::is_bought_already(&app.pools.web, opened.order.order_id).await.map_err(Problem::from)?;
    let ways = payments::ways(app, opened.order.order_id.festival(), opened.order.total.minor).await.map_err(Problem::from)?;
    let order = &opened.order;
    // In a rush every hold is as long as every other: nobody looks for a deadline.
    let is_longer = order.held_until > order.placed_at + orders::HOLD;
    let deadline = if is_longer { deadline::of_order(&app.pools.web, order.order_id).await.map_err(Problem::from)? } else { None };
    let offered = offline::offered(app, order.order_id.festival(), order.total.minor).await.map_err(Problem::from)?;
    let (waits, offline) = agreements(reader, app, opened, deadline, &offered).await?;
    let documents = documents::section(reader, app, opened).await?;
    Ok(held(reader, app, opened, last, hurt, (is_second, &ways, &waits, &html! { (offline) (documents) })))
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

/// What the order waits for, and where the money goes; and the methods without a provider that it may still wait for.
async fn agreements(
    reader: &Reader,
    app: &App,
    opened: &Opened,
    deadline: Option<Deadline>,
    offered: &[(Offered, DateTime<Utc>)],
) -> Result<(Markup, Markup), Problem> {
    let order = &opened.order;
    let url = order_url(app, order.order_id, order.link_generation);
    let at = |at: DateTime<Utc>| reader.language.at(at, &opened.festival.terms.time_zone).long();
    let agreed = match deadline.map(|deadline| deadline.kind) {
        Some(DeadlineKind::BankTransfer) => Some(OfflineMethod::BankTransfer),
        Some(DeadlineKind::OnSite) => Some(OfflineMethod::OnSite),
        Some(DeadlineKind::Invitation) | None => None,
    };
    // Where the money goes is said as it is now, even where no more orders are let wait for it.
    let all = if agreed.is_some() { offline::methods(&app.pools.web, order.order_id.festival()).await? } else { Vec::new() };
    let waits = html! {
        @if let (Some(method), Some(deadline)) = (agreed, deadline) {
            section class="stack" id="agreed" aria-labelledby="agreed-head" {
                header class="head" { h2 id="agreed-head" { (reader.t(&format!("offline-{}", method.name()))) } p { (reader.f("offline-until", [("moment", at(deadline.due_at))])) } }
                table class="sum" { tbody {
                    tr class="total" { th scope="row" { (reader.t("total")) } td { (order.total.print()) } }
                    tr { th scope="row" { (reader.t("offline-reference")) } td { (order.number()) } }
                } }
                @if let Some(offered) = all.iter().find(|offered| offered.method == method) { p class="notice pre" { (text(&offered.terms.instructions, reader.language)) } }
                p class="small faded" { (reader.t(&format!("offline-{}-lead", method.name()))) }
            }
        }
    };
    Ok((
        waits,
        html! {
        @for (offered, due) in offered.iter().filter(|(offered, _)| Some(offered.method) != agreed) {
            form method="post" action=(format!("{url}/agreements")) data-once="" {
                section class="stack" {
                    header class="head" { h2 { (reader.t(&format!("offline-{}", offered.method.name()))) } p { (reader.f("offline-would-wait", [("moment", at(*due))])) } }
                    input type="hidden" name="method" value=(offered.method.name());
                    label class="tick" { input type="checkbox" name="terms" value="yes" required; span { (reader.t("terms")) } }
                    div { button class="button plain broad" { (reader.t(&format!("offline-{}-choose", offered.method.name()))) } }
                }
            }
        }
        },
    ))
}

/// Lets an order wait for its money.
#[handler]
pub async fn agree(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let fields = fields(body).await?;
    if field(&fields, "terms") != "yes" {
        return to_pay(&reader, &app, &opened, None, Some(&reader.t("terms-missing"))).await;
    }
    let method = if field(&fields, "method") == "on_site" { OfflineMethod::OnSite } else { OfflineMethod::BankTransfer };
    match offline::agree(&app, OrderId(id), &secret, method).await {
        Ok(_) => Ok(see_other(&format!("{url}#agreed"))),
        Err(AgreeError::NotHeld | AgreeError::Open(_)) => Ok(see_other(&url)),
        Err(AgreeError::NotOffered) => to_pay(&reader, &app, &opened, None, Some(&reader.t("offline-not-offered"))).await,
        Err(AgreeError::TooMany) => to_pay(&reader, &app, &opened, None, Some(&reader.t("offline-too-many"))).await,
        Err(error) => Err(Problem::from(error).into()),
    }
}

fn held(
    reader: &Reader,
    app: &App,
    opened: &Opened,
    last: Option<&Payment>,
    hurt: Option<&str>,
    (is_second, ways, waits, below): (bool, &[Way], &Markup, &Markup),
) -> Response {
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
                @if left > 3600 {
                    p class="lead" { (reader.f("held-until-moment", [("moment", reader.language.at(order.held_until, &opened.festival.terms.time_zone).long())])) }
                } @else {
                    div role="timer" data-until=(order.held_until.to_rfc3339()) data-now=(now.to_rfc3339()) {
                        p class="counter" { span { b { (format!("{}:{:02}", left / 60, left % 60)) } (reader.f("held-until", [("time", until)])) } }
                        progress class="groove" max=(left.max(600)) value=(left) { (reader.f("seconds-left", [("count", left.to_string())])) }
                    }
                }
                (basket(reader, opened))
                div class="only-wide" { (art::poster(opened.festival.terms.name.read(opened.festival.terms.language))) }
            }
            div class="panel" {
                @if is_second { p class="notice" role="status" { b { (reader.t("bought-already")) } (reader.t("gap")) (reader.t("bought-already-lead")) } }
                @if declined {
                    p class="notice bad" role="alert" { b { (reader.t("not-paid")) } (reader.t("gap")) (reader.t("not-paid-lead")) }
                }
                @if let Some(hurt) = hurt { p class="notice bad" id="terms-hurt" role="alert" { (hurt) } }
                (waits)
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
                (below)
            }
        }
    })
}

/// A payment that is not decided: on to the page of the bank, or another way.
pub(super) fn waiting(reader: &Reader, app: &App, opened: &Opened, payment: &Payment) -> Response {
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
pub async fn give_up_payment(request: &Request, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let payments = payments::by_order(&app.pools.web, OrderId(id)).await.map_err(Problem::from)?;
    if let Some(payment) = payments.iter().find(|payment| payment.status.is_open())
        && !payments::give_up(&app, payment).await
    {
        let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
        let (title, lead) = (reader.t("give-up-silent").into_owned(), reader.t("give-up-silent-lead").into_owned());
        let ways = vec![(url, reader.t("give-up-silent-back").into_owned())];
        return Ok(notice(&shell(&reader, &opened, &title, None), &Notice { lead, ways, small: String::new(), etched: String::new(), title }));
    }
    Ok(see_other(&order_url(&app, opened.order.order_id, opened.order.link_generation)))
}
