//! The desk of a promoter: sign in by email, sales drawn, who is in, latest scans, orders with search.

use chrono::TimeDelta;
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    layout::{Notice, PageResult, Reader, Shell, notice, see_other, text},
    session::{SESSION, member},
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{self, EnterError, Member, Scope},
    app::App,
    entry::{
        self, Verdict,
        crowd::{Crowd, Inside},
    },
    festivals::{self, Festival},
    http::{
        cookies::{same_origin, secret, secret_cookie},
        limit::{Client, Limited, Limits},
        problem::{NOT_FOUND, Problem},
    },
    id::SignInId,
    money::{Currency, Money, group},
    offers, orders,
    reports::{self, Sales, masked},
};

// - signing in -

/// The form that asks for an address.
#[handler]
pub async fn sign_in(request: &Request, reader: Reader) -> PageResult {
    if member(request).await?.is_some() {
        return Ok(see_other("/desk"));
    }
    let shell = Shell { reader: &reader, title: reader.t("sign-in").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main class="panel problem" id="content" {
            h1 { (reader.t("sign-in")) }
            p class="lead" { (reader.t("sign-in-lead")) }
            form class="stack" method="post" action="/sign-in" {
                div class="field" { label for="email" { (reader.t("your-email")) } input id="email" name="email" type="email" autocomplete="email" required maxlength="254"; }
                div { button class="button" { (reader.t("send-link")) } }
            }
        }
    }))
}

/// Asks for the email; the answer is the same for every address.
#[handler]
pub async fn ask(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, client: Data<&Client>) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::SignIn, &client)?;
    let fields = fields(body).await?;
    let id = accounts::ask(&app, field(&fields, "email").trim(), reader.language).await.map_err(Problem::from)?;
    Ok(code_form(&reader, id, false))
}

fn code_form(reader: &Reader, id: SignInId, wrong: bool) -> Response {
    let shell = Shell { reader, title: reader.t("sign-in").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    shell.page(&html! {
        main class="panel problem" id="content" {
            h1 { (reader.t("look-in-mail")) }
            p class="lead" { (reader.t("look-in-mail-lead")) }
            form class="stack" method="post" action=(format!("/sign-in/{id}/code")) {
                div class="field" {
                    label for="code" { (reader.t("six-digits")) }
                    input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" required maxlength="12" aria-invalid=[wrong.then_some("true")] aria-describedby=[wrong.then_some("code-hurt")];
                    @if wrong { p class="hurt" id="code-hurt" role="alert" { (reader.t("code-wrong")) } }
                }
                div { button class="button" { (reader.t("enter")) } }
            }
            p { a href="/sign-in" { (reader.t("other-address")) } }
        }
    })
}

/// The page of the link: a button, because looking at a link changes nothing.
#[handler]
pub async fn link(reader: Reader, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let shell = Shell { reader: &reader, title: reader.t("sign-in").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main class="panel problem" id="content" {
            h1 { (reader.t("sign-in")) }
            form method="post" action=(format!("/sign-in/{id}/{secret}")) { button class="button broad" { (reader.t("enter")) } }
        }
    }))
}

fn entered(app: &App, session: &str) -> PageResult {
    let mut response = see_other("/desk");
    let cookie = secret_cookie(app.settings.is_https(), SESSION, session, 14 * 86_400);
    response.headers_mut().append("set-cookie", cookie.parse().map_err(|_| Problem::internal("cookie"))?);
    Ok(response)
}

/// Enters by the link.
#[handler]
pub async fn enter_by_link(
    request: &Request,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    Path((id, secret)): Path<(uuid::Uuid, String)>,
) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::Guess, &client)?;
    match accounts::enter_by_link(&app, SignInId(id), &secret).await {
        Ok(session) => entered(&app, &session),
        Err(EnterError::Over) => {
            let shell =
                Shell { reader: &reader, title: reader.t("link-over").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
            let words = Notice {
                title: reader.t("link-over").into_owned(),
                lead: reader.t("link-over-lead").into_owned(),
                ways: vec![("/sign-in".to_owned(), reader.t("send-link").into_owned())],
                ..Notice::default()
            };
            Ok(notice(&shell, &words))
        }
        Err(EnterError::Database(error)) => Err(Problem::from(error).into()),
    }
}

/// Enters by the six digits.
#[handler]
pub async fn enter_by_code(
    request: &Request,
    body: poem::Body,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    Path(id): Path<uuid::Uuid>,
) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::Guess, &client)?;
    let fields = fields(body).await?;
    match accounts::enter_by_code(&app, SignInId(id), field(&fields, "code")).await {
        Ok(session) => entered(&app, &session),
        Err(EnterError::Over) => Ok(code_form(&reader, SignInId(id), true)),
        Err(EnterError::Database(error)) => Err(Problem::from(error).into()),
    }
}

/// Signs out.
#[handler]
pub async fn leave(request: &Request, app: Data<&App>) -> PageResult {
    same_origin(request)?;
    if let Some(session) = secret(request, SESSION)? {
        accounts::leave(&app, &session).await.map_err(Problem::from)?;
    }
    let mut response = see_other("/sign-in");
    let cookie = secret_cookie(app.settings.is_https(), SESSION, "", 0);
    response.headers_mut().append("set-cookie", cookie.parse().map_err(|_| Problem::internal("cookie"))?);
    Ok(response)
}

// - the desk -

/// The festivals of the promoter.
#[handler]
pub async fn desk(request: &Request, reader: Reader, app: Data<&App>) -> PageResult {
    let Some(who) = member(request).await? else { return Ok(see_other("/sign-in")) };
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let own = festivals::own(&mut tx, who.staff.promoter).await.map_err(Problem::from)?;
    drop(tx);
    if let [only] = own.as_slice() {
        return Ok(see_other(&format!("/desk/{}", only.terms.slug)));
    }
    let shell = Shell { reader: &reader, title: reader.t("desk").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main class="panel" id="content" {
            header class="masthead" { h1 { (reader.t("desk")) } (who_am_i(&reader, &who)) @if who.staff.may(Scope::AccountsWrite).is_ok() { p { a href="/payment-accounts" { (reader.t("treasury")) } } } }
            @if own.is_empty() { div class="sheet" { section { h2 { (reader.t("no-festival")) } p { (reader.t("no-festival-lead")) (reader.t("gap")) a href="/docs" { "/docs" } } } } }
            ul class="tracks" { @for f in &own { li { span class="no" { (f.festival_id.0) } a href=(format!("/desk/{}", f.terms.slug)) { (text(&f.terms.name, reader.language)) } span { (reader.t(if f.published_at.is_some() { "published" } else { "draft" })) } } } }
        }
    }))
}

fn who_am_i(reader: &Reader, who: &Member) -> Markup {
    html! { form method="post" action="/sign-out" { p class="small" { (reader.f("signed-in-as", [("name", who.name.clone()), ("roles", who.roles.iter().map(|r| reader.t(&format!("role-{r}"))).collect::<Vec<_>>().join(&reader.t("comma")))])) (reader.t("gap")) button class="link" { (reader.t("sign-out")) } } } }
}

/// What is searched for.
#[derive(Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
}

/// The desk of a festival.
#[handler]
pub async fn festival(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>, Query(search): Query<Search>) -> PageResult {
    let Some(who) = member(request).await? else { return Ok(see_other("/sign-in")) };
    let found = festivals::by_slug(&app.pools.web, &slug).await.map_err(Problem::from)?;
    let f = found.filter(|f| f.promoter_id == who.staff.promoter).ok_or_else(|| NOT_FOUND.problem())?;
    let sees_orders = who.staff.may(Scope::OrdersRead).is_ok();
    let sees_scans = who.staff.may(Scope::ScansRead).is_ok();
    let now = app.clock.now();
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let sales = app
        .the::<reports::KnownSales>()
        .get_costly(f.festival_id, || reports::sales(&mut tx, f.festival_id, &f.terms.time_zone))
        .await
        .map_err(Problem::from)?;
    let days = festivals::days(&app.pools.web, f.festival_id).await.map_err(Problem::from)?;
    let day = days.iter().find(|d| d.covers(now));
    let zones = festivals::zones(&app.pools.web, f.festival_id).await.map_err(Problem::from)?;
    let crowd = Crowd::read(&mut tx, f.festival_id, day.map(|day| day.day_index), now).await.map_err(Problem::from)?;
    let arrivals = entry::arrivals(&mut tx, f.festival_id, now - TimeDelta::minutes(90)).await.map_err(Problem::from)?;
    let latest = if sees_scans { entry::latest(&mut tx, f.festival_id, 12).await.map_err(Problem::from)? } else { Vec::new() };
    let q = accounts::email_key(&search.q);
    let found = match (sees_orders, q.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => orders::orders_of(&mut tx, f.festival_id, None, 12).await.map_err(Problem::from)?,
        (true, false) => orders::search(&mut tx, f.festival_id, &q).await.map_err(Problem::from)?,
    };
    let passes = offers::passes(&app.pools.web, f.festival_id).await.map_err(Problem::from)?;
    let gates = festivals::gates(&app.pools.web, f.festival_id).await.map_err(Problem::from)?;
    drop(tx);
    let money = |minor| Money::new(minor, f.terms.currency).print();
    let zone = &f.terms.time_zone;
    let per_minute = arrivals.iter().filter(|(at, ..)| now - *at < TimeDelta::minutes(2)).map(|(_, n, _)| n).max().copied().unwrap_or(0);
    let highest = arrivals.iter().max_by_key(|(_, n, _)| n);
    let sold: i64 = sales.offers.iter().map(|o| i64::from(o.sold)).sum();
    let capacity: i64 = sales.offers.iter().filter_map(|o| o.capacity).map(i64::from).sum();
    let shell = Shell {
        reader: &reader,
        title: format!("{}: {}", reader.t("desk"), f.terms.name.read(reader.language)),
        festival: Some(&f),
        private: true,
        refresh: None,
        script_refreshes: false,
    };
    Ok(shell.page(&html! {
        main id="content" {
            div class="panel cover flood" {
                nav class="index" aria-label=(reader.t("desk")) { a href="/desk" aria-current="page" { (reader.t("desk")) } a href=(format!("/f/{}", f.terms.slug)) { (reader.t("storefront")) } @if sees_orders { a href=(format!("/desk/{}/money", f.terms.slug)) { (reader.t("money-desk")) } } @if who.staff.may(Scope::SalesWrite).is_ok() { a href=(format!("/desk/{}/box-office", f.terms.slug)) { (reader.t("box-office")) } } @if sees_scans { a href=(format!("/desk/{}/gates", f.terms.slug)) { (reader.t("control-room")) } } @if who.staff.may(Scope::GatesWrite).is_ok() { a href=(format!("/desk/{}/devices", f.terms.slug)) { (reader.t("devices")) } } a href="/gate" { (reader.t("gate")) } a href="/docs" { (reader.t("api-docs")) } }
                h1 { (reader.f("day-and-time", [("day", reader.language.at(now, zone).weekday()), ("time", reader.language.at(now, zone).time())])) }
                dl class="figures" {
                    div { dt { (reader.t("inside-now")) } dd { (group(crowd.on_site(&zones).all())) small { @if let Some(day) = day { (text(&day.name, reader.language)) } @else { (reader.t("no-day-now")) } } } }
                    div { dt { (reader.t("arrivals-a-minute")) } dd { (per_minute) small { @if let Some((at, n, _)) = highest { (reader.f("highest-at", [("count", n.to_string()), ("time", reader.language.at(*at, zone).time())])) } } } }
                    div { dt { (reader.t("units-sold")) } dd { (group(sold)) small { @if capacity > 0 { (reader.f("of-n", [("n", group(capacity))])) } } } }
                    @if sees_orders { div { dt { (reader.t("captured")) } dd { (short_money(sales.captured_minor, f.terms.currency)) small { (reader.f("refunded-of", [("refunded", money(sales.refunded_minor)), ("captured", money(sales.captured_minor))])) } } } }
                }
            }
            div class="gatefold" {
                div class="panel" {
                    section aria-labelledby="sold" { header class="head" { h2 id="sold" { (reader.t("sold")) } p { (reader.t("sold-lead")) } } (sold_chart(&reader, &f, &sales)) }
                    section aria-labelledby="off" {
                        header class="head" { h2 id="off" { (reader.t("offers")) } p { (reader.t("offers-lead")) } }
                        div class="scroll" role="region" tabindex="0" aria-labelledby="off" { table class="log" {
                            thead { tr { th scope="col" { (reader.t("offer")) } th scope="col" class="n" { (reader.t("col-sold")) } th scope="col" class="n" { (reader.t("col-held")) } th scope="col" class="n" { (reader.t("col-left")) } @if sees_orders { th scope="col" class="n" { (reader.t("money")) } } } }
                            tbody { @for (i, o) in sales.offers.iter().enumerate() {
                                tr {
                                    th scope="row" { (format!("{:02} ", i + 1)) (text(&o.name.0, reader.language)) }
                                    td class="n" { (group(o.sold.into())) } td class="n" { (o.held) }
                                    td class="n" { @match o.capacity { Some(c) => (group((c - o.sold - o.held).into())), None => "–" } }
                                    @if sees_orders { td class="n" { (money(o.minor)) } }
                                }
                            } }
                        } }
                    }
                    @if sees_orders { (orders_table(&reader, &f, &who, &search.q, &found)) }
                }
                div class="panel" {
                    section aria-labelledby="arr" { header class="head" { h2 id="arr" { (reader.t("arriving")) } p { (reader.t("arriving-lead")) " " span class="nay" { (reader.t("verdict-refused")) } } } (arrivals_chart(&reader, &f, &arrivals, now)) }
                    section aria-labelledby="in" {
                        header class="head" { h2 id="in" { (reader.t("inside-now")) } p { (reader.t("by-zone")) } }
                        @for z in &zones { (zone_bar(&reader, z, crowd.by_gates(Some(z.zone_id)).all())) }
                        @if crowd.by_gates(None) != Inside::default() { p { (reader.f("whole-site-count", [("count", group(crowd.by_gates(None).all()))])) } }
                        @if crowd.is_empty() { p class="faded" { (reader.t("nobody-in")) } }
                    }
                    @if sees_scans { section aria-labelledby="scans" {
                        header class="head" { h2 id="scans" { (reader.t("latest-scans")) } }
                        @if latest.is_empty() { p class="faded" { (reader.t("no-scans")) } } @else {
                            div class="scroll" role="region" tabindex="0" aria-labelledby="scans" { table class="log" {
                                thead { tr { th scope="col" { (reader.t("time")) } th scope="col" { (reader.t("gate")) } th scope="col" { (reader.t("pass")) } th scope="col" { (reader.t("verdict")) } th scope="col" { (reader.t("reason")) } } }
                                tbody { @for s in &latest {
                                    tr {
                                        td { (reader.language.at(s.decided_at, zone).second()) }
                                        td { @if let Some(g) = gates.iter().find(|g| g.gate_id == s.gate_id) { (text(&g.name, reader.language)) } }
                                        td { @if let Some(p) = passes.iter().find(|p| Some(p.pass_number) == s.pass_number) { (text(&p.terms.name, reader.language)) } }
                                        td { span class=(match s.verdict { Verdict::Admitted => "yes", Verdict::Refused => "nay", Verdict::Check => "ask" }) { (reader.t(&format!("verdict-{}", s.verdict.name()))) } }
                                        td { @if let Some(r) = s.reason { (reader.t(&format!("reason-{}", r.name()))) } }
                                    }
                                } }
                            } }
                        }
                    } }
                    section { (who_am_i(&reader, &who)) }
                }
            }
        }
    }))
}

/// `€2.42M`: a figure that is read across a room; the exact one stands under it.
pub(super) fn short_money(minor: i64, currency: Currency) -> String {
    let sign = currency.sign();
    let scale = 10_i64.pow(currency.exponent());
    let whole = minor / scale;
    match whole {
        1_000_000.. => format!("{sign}{}.{:02}M", whole / 1_000_000, whole % 1_000_000 / 10_000),
        10_000.. => format!("{sign}{}.{}K", whole / 1_000, whole % 1_000 / 100),
        _ => format!("{sign}{}", group(whole)),
    }
}

fn orders_table(reader: &Reader, f: &Festival, who: &Member, q: &str, found: &[orders::Order]) -> Markup {
    html! {
        section aria-labelledby="orders" {
            header class="head" { h2 id="orders" { (reader.t("orders")) } p { (reader.t("orders-lead")) } }
            form class="take" method="get" action="#orders" { label { (reader.t("search-address")) input name="q" value=(q) type="search" maxlength="254"; } button class="button plain" { (reader.t("search")) } }
            @if found.is_empty() { p class="faded" { (reader.t(if q.is_empty() { "no-orders" } else { "none-found" })) } } @else {
                div class="scroll" role="region" tabindex="0" aria-labelledby="orders" { table class="log" {
                    thead { tr { th scope="col" { (reader.t("order")) } th scope="col" { (reader.t("email")) } th scope="col" { (reader.t("status")) } th scope="col" class="n" { (reader.t("money")) } th scope="col" class="n" { (reader.t("placed")) } } }
                    tbody { @for o in found {
                        tr {
                            th scope="row" class="whole" { a href=(format!("/desk/{}/orders/{}", f.terms.slug, o.order_id)) { (o.number()) } }
                            td { @if who.staff.masked { (masked(&o.email)) } @else { (o.email) } }
                            td { (reader.t(o.status.word())) }
                            td class="n" { (o.total.print()) }
                            td class="n" { @let placed = reader.language.at(o.placed_at, &f.terms.time_zone); (reader.f("day-and-time", [("day", placed.date()), ("time", placed.time())])) }
                        }
                    } }
                } }
            }
        }
    }
}

/// Units sold by day, summed: a line over a flood of spot, its last value written on it.
fn sold_chart(reader: &Reader, f: &Festival, sales: &Sales) -> Markup {
    let mut sum = 0;
    let points: Vec<(i64, i64)> = sales
        .days
        .iter()
        .map(|d| {
            sum += d.units;
            (d.day.timestamp(), sum)
        })
        .collect();
    let (Some((first, _)), Some((last, total))) = (points.first(), points.last()) else { return html! { p class="faded" { (reader.t("no-sales")) } } };
    let x = |at: i64| if last == first { 640 } else { (at - first) * 640 / (last - first) };
    let y = |n: i64| 230 - n * 190 / (*total).max(1);
    let line: Vec<String> = points.iter().map(|(at, n)| format!("{} {}", x(*at), y(*n))).collect();
    let line = if line.len() == 1 { format!("0 230 L{}", line[0]) } else { line.join(" L") };
    let date = |at: i64| chrono::DateTime::from_timestamp(at, 0).map(|at| reader.language.at(at, &f.terms.time_zone).date()).unwrap_or_default();
    html! {
        svg class="chart" viewBox="0 0 640 266" role="img" aria-label=(reader.f("chart-sold", [("count", group(*total)), ("date", date(*first))])) {
            path class="area" d=(format!("M{line} L640 230 L0 230z")) {}
            path class="line" d=(format!("M{line}")) {}
            path class="axis" d="M0 230h640" {}
            circle cx="640" cy=(y(*total)) r="5" {}
            text x="630" y=(y(*total) - 10) text-anchor="end" { (group(*total)) }
            text class="under" x="0" y="238" { (date(*first)) }
            text class="under" x="640" y="238" text-anchor="end" { (date(*last)) }
        }
    }
}

/// People a minute: a bar a minute, refusals set on top.
fn arrivals_chart(reader: &Reader, f: &Festival, arrivals: &[(chrono::DateTime<chrono::Utc>, i64, i64)], now: chrono::DateTime<chrono::Utc>) -> Markup {
    let most = arrivals.iter().map(|(_, n, r)| n + r).max().unwrap_or(0);
    if most == 0 {
        return html! { p class="faded" { (reader.t("no-arrivals")) } };
    }
    let begin = now - TimeDelta::minutes(90);
    html! {
        svg class="chart" viewBox="0 -16 640 222" role="img" aria-label=(reader.f("chart-arrivals", [("count", most.to_string())])) {
            @for (at, admitted, refused) in arrivals {
                @let x = (*at - begin).num_minutes().clamp(0, 90) * 7;
                @let (high, low) = (admitted * 150 / most, refused * 150 / most);
                rect x=(x) y=(170 - high) width="5" height=(high) {}
                @if *refused > 0 { rect class="wrong" x=(x) y=(170 - high - low.max(2)) width="5" height=(low.max(2)) {} }
            }
            path class="axis" d="M0 170.5h640" {}
            @if let Some((at, n, _)) = arrivals.iter().max_by_key(|(_, n, _)| n) { text x="0" y="6" { (reader.f("highest-at", [("count", n.to_string()), ("time", reader.language.at(*at, &f.terms.time_zone).time())])) } }
            text class="under" x="0" y="178" { (reader.language.at(begin, &f.terms.time_zone).time()) }
            text class="under" x="640" y="178" text-anchor="end" { (reader.language.at(now, &f.terms.time_zone).time()) }
        }
    }
}

/// A zone as a VU meter: forty segments, red above nine tenths.
pub(super) fn zone_bar(reader: &Reader, zone: &festivals::Zone, inside: i64) -> Markup {
    let capacity = zone.capacity.map(i64::from);
    let lit = capacity.map_or(0, |c| (inside * 40 + c - 1) / c.max(1)).clamp(0, 40);
    html! {
        div class="zone" {
            p { b { (text(&zone.name, reader.language)) } span { @match capacity { Some(c) => (reader.f("n-of-m", [("n", group(inside)), ("m", group(c))])), None => (group(inside)) } } }
            @if let Some(c) = capacity {
                svg class="chart" viewBox="0 0 640 34" role="img" aria-label=(reader.f("chart-zone", [("zone", zone.name.read(reader.language).to_owned()), ("count", group(inside)), ("capacity", group(c))])) {
                    @for i in 0..40_i64 { rect class=(if i >= lit { "void" } else if i >= 36 { "wrong" } else { "lit" }) x=(i * 16) y="4" width="12" height="26" {} }
                }
            }
        }
    }
}
