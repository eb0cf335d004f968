//! What will be sold, and one pass bought on a copy of the festival, through the server, with the notification of the bank by its own door.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use super::Finding;
use crate::{
    accounts::{self, Scope, Staff},
    app::App,
    audit::Actor,
    bench::{
        client::{Client, Said},
        copy, rehearse,
    },
    documents::{self, Mode},
    festivals::{self, Festival},
    id::PaymentId,
    offers::{self, Offer},
    payments::{
        accounts as accounts_of_payments,
        box_office::{self, BoxOffice},
        simulated::{self, Decision, Notification},
    },
    waiting,
    words::Language,
};

/// How many units the festival may sell: every stock that is bounded.
pub(super) async fn units(app: &App, festival: &Festival) -> anyhow::Result<i64> {
    Ok(offers::stocks_of(&app.pools.web, festival.festival_id).await?.iter().filter_map(|stock| stock.capacity).map(i64::from).sum())
}

/// The terms of the sale as a second person would read them: prices, openings, capacities, gates.
pub(super) async fn terms(app: &App, festival: &Festival) -> anyhow::Result<Vec<Finding>> {
    let (id, now, pool) = (festival.festival_id, app.clock.now(), &app.pools.web);
    let mut found = Vec::new();
    if festival.published_at.is_none() {
        found.push(Finding::bad("festival", "is a draft: fans do not see it"));
    }
    if let Some(why) = &festival.paused {
        found.push(Finding::bad("festival", format!("is paused: {}", why.read(Language::En))));
    }
    let stocks = offers::stocks_of(pool, id).await?;
    let all = offers::offers(pool, id).await?;
    if all.is_empty() {
        found.push(Finding::bad("offers", "there are none"));
    }
    let opening = all.iter().filter_map(|offer| offer.opens_at).filter(|opens| *opens > now).max();
    for offer in &all {
        let capacity = stocks.iter().find(|stock| stock.stock_id == offer.stock_id).and_then(|stock| stock.capacity);
        found.push(judged(offer, capacity, now));
        if offer.opens_at.is_some_and(|opens| opens > now) && waiting::room(app, offer.offer_id).await?.is_none_or(|room| room.ended_at.is_some()) {
            found.push(Finding::odd(name(offer), "opens at a moment and has no waiting room"));
        }
    }
    if let Some(opening) = opening {
        let frozen = festival.frozen_until.is_some_and(|until| until > opening);
        found.push(if frozen {
            Finding::good("freeze", "prices, openings and migrations stand still until the opening is over")
        } else {
            Finding::odd("freeze", "prices and openings can be changed until the last moment; freeze the festival until the opening is over")
        });
    }
    if all.iter().any(|offer| offer.tiers.iter().any(|tier| tier.price_minor > 0)) {
        found.push(paid_to(app, festival).await?);
    }
    found.extend(papers(app, festival).await?);
    let staff = Staff { promoter: festival.promoter_id, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    let devices = accounts::devices(app, &staff, id).await?;
    let gates = festivals::gates(pool, id).await?;
    if gates.is_empty() && !festivals::days(pool, id).await?.is_empty() {
        found.push(Finding::bad("gates", "there are none: nobody can be let in"));
    }
    for gate in gates {
        let paired = devices.iter().filter(|device| device.gate_id == gate.gate_id && device.revoked_at.is_none()).count();
        let title = gate.name.read(Language::En).to_owned();
        found.push(match paired {
            0 => Finding::odd(title, "no device is paired with this gate yet"),
            1 => Finding::odd(title, "one device is paired; a second one keeps the gate open when it falls"),
            many => Finding::good(title, format!("{many} devices are paired")),
        });
    }
    Ok(found)
}

/// What is printed: invoices in both languages, and what the law of the box office's country asks for beside them.
async fn papers(app: &App, festival: &Festival) -> anyhow::Result<Vec<Finding>> {
    let mut conn = app.pools.web.acquire().await?;
    let mut found = Vec::new();
    let writes = documents::invoicing(&mut conn, festival.festival_id).await?.is_some_and(|invoicing| invoicing.mode != Mode::Off);
    if writes && !documents::paper::prints_chinese() {
        found.push(Finding::odd("invoices", "no Chinese font is on this machine: their Chinese print has empty boxes (install fonts-noto-cjk)"));
    }
    let office = box_office::office(&mut conn, festival.festival_id).await?.filter(|office| office.is_open);
    if let Some(warning) = office.as_ref().and_then(BoxOffice::warning) {
        let asks = match warning {
            "ticketing" => "certified tickets",
            "invoice" => "registered invoices",
            _ => "a certified till for cash",
        };
        found.push(Finding::odd("box office", format!("the law of its country asks for {asks}, beside what this prints: ask somebody who knows it")));
    }
    Ok(found)
}

/// Where the money of the sale goes.
async fn paid_to(app: &App, festival: &Festival) -> anyhow::Result<Finding> {
    let Some(account) = accounts_of_payments::of_festival(app, festival.festival_id).await? else {
        return Ok(Finding::odd(
            "payments",
            "no account takes the money: unless this server plays (--simulated-payments), nobody can pay; connect one at the desk",
        ));
    };
    let signers = accounts_of_payments::signers(app, account.account_id).await?;
    Ok(if signers.is_empty() {
        Finding::odd("payments", "the account has no signing secret: payments are found by asking, up to a minute later")
    } else {
        Finding::good("payments", format!("go to an account in {} mode, which tells us of them", if account.is_live { "live" } else { "test" }))
    })
}

fn name(offer: &Offer) -> String {
    offer.name.read(Language::En).to_owned()
}

fn judged(offer: &Offer, capacity: Option<i32>, now: chrono::DateTime<chrono::Utc>) -> Finding {
    let prices: Vec<String> = offer.tiers.iter().map(|tier| crate::money::Money::new(tier.price_minor, offer.currency).print()).collect();
    let moment = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let mut opens = match offer.opens_at {
        None => "open now".to_owned(),
        Some(opened) if opened <= now => format!("open since {}", moment(opened)),
        Some(opens) => format!("opens {}", moment(opens)),
    };
    if let Some(closes) = offer.closes_at {
        opens = format!("{opens} until {}", moment(closes));
    }
    let units = capacity.map_or_else(|| "without an end".to_owned(), |units| format!("{units} units"));
    let detail = format!("{} · {units} · {opens}", prices.join(" then "));
    if offer.tiers.is_empty() {
        return Finding::bad(name(offer), "has no price");
    }
    if offer.components.is_empty() {
        return Finding::bad(name(offer), "is made of nothing");
    }
    if let Some(why) = &offer.paused {
        return Finding::bad(name(offer), format!("is paused: {}", why.read(Language::En)));
    }
    if offer.closes_at.is_some_and(|closes| closes <= now) {
        return Finding::odd(name(offer), "its sale is over");
    }
    if offer.tiers.iter().any(|tier| tier.price_minor == 0) {
        return Finding::odd(name(offer), format!("costs nothing: {detail}"));
    }
    if capacity.is_none() && offer.components.iter().any(|component| component.pass_id.is_some()) {
        return Finding::odd(name(offer), format!("lets in as many as like to come: {detail}"));
    }
    Finding::good(name(offer), detail)
}

/// Buys one of the cheapest on a copy that is removed again.
pub(super) async fn purchase(app: &App, owner: &PgConnectOptions, server: SocketAddr, festival: &Festival) -> Finding {
    let bought = async {
        let _ = Client::connect(server, Ipv4Addr::LOCALHOST).await?;
        let copied = copy::begin(app, festival).await?;
        let outcome = match copy::fill(app, festival, &copied, Some(10)).await {
            Ok(()) => buy(app, server, &copied).await,
            Err(error) => Err(error),
        };
        rehearse::remove(owner, copied.festival_id).await?;
        outcome
    };
    match bought.await {
        Ok(story) => Finding::good("purchase", story),
        Err(error) => Finding::bad("purchase", format!("{error:#}")),
    }
}

async fn buy(app: &App, server: SocketAddr, copy: &Festival) -> anyhow::Result<String> {
    // A connection of its own: the server does not wait for one that says nothing while a copy is made.
    let mut client = Client::connect(server, Ipv4Addr::LOCALHOST).await?;
    let offers = offers::offers(&app.pools.web, copy.festival_id).await?;
    let price = |offer: &Offer| offer.tiers.first().map_or(i64::MAX, |tier| tier.price_minor);
    // A free one is paid without a bank, which would prove nothing.
    let offer = offers.iter().filter(|o| o.requirements.is_empty() && price(o) > 0 && price(o) < i64::MAX).min_by_key(|o| price(o));
    let offer = offer.context("nothing is sold alone and for money: no purchase was tried")?;
    let key = format!("preflight-{}", copy.terms.slug);
    let body = json!({ "email": "preflight@gatefold.example", "name": "Preflight", "lines": [{ "offer_id": offer.offer_id, "quantity": 1 }] });
    let placed = client.send(Method::POST, "/v1/orders", "", &key, &body).await?;
    let Said { order_id: Some(order), secret: Some(secret), .. } = placed.said() else {
        bail!("an order was answered with {}: {}", placed.status, placed.json());
    };
    let (path, token) = (format!("/v1/orders/{order}/payments"), format!("gf_order_{secret}"));
    let paying = client.send(Method::POST, &path, &token, &key, &json!({ "way": "simulated" })).await?;
    let payment: PaymentId = paying.said().payment_id.with_context(|| format!("a payment was answered with {}", paying.status))?;
    simulated::decide(app, payment, Decision::PaySilently).await?;
    let told = Notification { event_id: format!("evt_{payment}"), payment_id: payment, status: "succeeded".to_owned(), amount: None };
    let told = serde_json::to_value(&told)?;
    let signature = simulated::sign(app, &serde_json::to_vec(&told)?);
    let heard = client.send_with(Method::POST, "/v1/payment-notifications/simulated", &[("gatefold-signature", &signature)], &told).await?;
    ensure!(heard.status == 200, "the notification of the bank was answered with {}", heard.status);
    let paid = client.send(Method::GET, &format!("/v1/orders/{order}"), &token, "", &Value::Null).await?;
    let status = paid.said().status;
    ensure!(status == "paid", "the bank said that it was paid, the order says {status}");
    let tickets = client.send(Method::GET, &format!("/v1/orders/{order}/tickets"), &token, "", &Value::Null).await?;
    let tickets = tickets.json()["items"].as_array().map_or(0, Vec::len);
    let passes = offer.components.iter().filter(|component| component.pass_id.is_some()).count();
    ensure!(tickets >= passes, "{passes} passes were paid, {tickets} tickets are there");
    Ok(format!(
        "{} bought on a copy: placed in {} ms, the bank's word taken in {} ms, {tickets} tickets",
        name(offer),
        placed.took.as_millis(),
        heard.took.as_millis()
    ))
}
