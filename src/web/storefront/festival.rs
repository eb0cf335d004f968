//! The page of a festival, and the wall of all of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::{Request, handler, web::Data, web::Path};

use super::{
    buy::{keep_basket, kept_basket},
    waiting::{keeps_a_place, kept_place},
};
use crate::{
    app::App,
    festivals::{self, Day, Festival},
    http::{
        door::Arrival,
        problem::{NOT_FOUND, Problem},
    },
    id::{OfferId, ReleaseId},
    lineup::{self, Billed},
    money::Money,
    offers::{self, Availability, NoVoucher, OnSale, Voucher},
    releases::{self, Playable, Release},
    waiting::{self, Standing},
    web::{
        art,
        kept::shared,
        layout::{PageResult, Reader, Shell, name, text},
    },
    words::{Language, date_range},
};

/// A festival that fans may see.
///
/// # Errors
/// A problem `not-found`.
pub async fn published(app: &App, slug: &str) -> Result<Festival, Problem> {
    let found = festivals::by_slug(&app.pools.web, slug).await?;
    found.filter(|f| f.published_at.is_some() && f.rehearsal_of.is_none()).ok_or_else(|| NOT_FOUND.problem())
}

/// The wall of posters.
#[handler]
pub async fn wall(request: &Request, reader: Reader, app: Data<&App>) -> PageResult {
    shared(request, &app, &reader, "/", || posters(&reader, &app)).await
}

async fn posters(reader: &Reader, app: &App) -> PageResult {
    let festivals = festivals::all(&app.pools.web, app.clock.now()).await.map_err(Problem::from)?;
    let shell = Shell { reader, title: "Gatefold".to_owned(), festival: None, private: false, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main class="panel" id="content" {
            header class="masthead" { h1 { (reader.t("wall-title")) } p { (reader.t("wall-lead")) } }
            @if festivals.is_empty() {
                div class="sheet" { section { h2 { (reader.t("wall-empty")) } p { (reader.t("wall-empty-lead")) } } }
            }
            div class="wall" {
                @for f in &festivals {
                    a class="cover poster" data-sleeve=(f.terms.slug) href=(format!("/f/{}", f.terms.slug)) {
                        p class="above" { span { (text(&f.terms.place, reader.language)) } }
                        h2 lang=(f.terms.language.tag()) { (f.terms.name.read(f.terms.language)) }
                        @if f.poster_hash.is_some() { img src=(format!("/pictures/festivals/{}", f.festival_id.0)) alt=""; } @else { (art::poster(f.terms.name.read(f.terms.language))) }
                    }
                }
            }
        }
    }))
}

/// Everything that the page of a festival prints.
struct Content {
    festival: Festival,
    days: Vec<Day>,
    bill: Vec<Billed>,
    offers: Vec<OnSale>,
    releases: Vec<(Release, Vec<Playable>)>,
    /// Offers whose waiting list takes nobody.
    closed_lists: Vec<OfferId>,
    /// Offers whose waiting room is on and has not let this reader in.
    rooms: Vec<OfferId>,
    /// The code that this reader typed, and whether it is for certain addresses alone, or why it does not help.
    code: Option<(String, Result<bool, NoVoucher>)>,
}

/// A code that a reader typed, and what it does.
pub struct Typed {
    /// The code.
    pub code: String,
    /// What it does.
    pub found: Result<Voucher, NoVoucher>,
}

async fn content(app: &App, slug: &str, turns: &[OfferId], typed: Option<Typed>) -> Result<Content, Problem> {
    let festival = published(app, slug).await?;
    let pool = &app.pools.web;
    let id = festival.festival_id;
    let now = app.clock.now();
    let (on_shelf, stocks) = offers::demand::on_shelf(pool, id, now).await?;
    let voucher = typed.as_ref().and_then(|typed| typed.found.as_ref().ok());
    let seen = on_shelf.into_iter().filter(|o| !o.hidden || voucher.is_some_and(|v| v.does_open(o.offer_id)));
    let offers: Vec<OnSale> = seen.map(|o| offers::on_sale(o, &stocks, now, voucher)).collect();
    let ids: Vec<ReleaseId> = offers.iter().flat_map(|o| o.offer.components.iter().filter_map(|c| c.release_id)).collect();
    let tracks = releases::tracks(pool, &ids).await?;
    let mut found = Vec::new();
    for id in ids {
        if let Some(release) = releases::release(pool, id).await?
            && !found.iter().any(|(r, _): &(Release, _)| r.release_id == id)
        {
            found.push((release, tracks.iter().filter(|t| t.release_id == id).cloned().collect()));
        }
    }
    let rooms = waiting::on(app, now).into_iter().filter(|offer| !turns.contains(offer)).collect();
    // A code that is for nothing of what is here helps nobody here.
    let helps = |found: Result<Voucher, NoVoucher>| {
        found.and_then(|v| if offers.iter().any(|o| v.is_for(o.offer.offer_id)) { Ok(v) } else { Err(NoVoucher::NotForThese) })
    };
    let code = typed.map(|Typed { code, found }| (code, helps(found).map(|v| v.listed.is_some())));
    let closed_lists = offers::demand::closed(pool, id).await?;
    Ok(Content { rooms, closed_lists, code, days: festivals::days(pool, id).await?, bill: lineup::billed(pool, id).await?, offers, releases: found, festival })
}

/// The links at the head of a festival's pages.
#[must_use]
pub fn index(reader: &Reader, festival: &Festival, here: &str) -> Markup {
    let home = format!("/f/{}", festival.terms.slug);
    let current = |name: &str| (name == here).then_some("page");
    html! {
        nav class="index" aria-label=(reader.t("festival")) {
            a href=(format!("{home}/line-up")) aria-current=[current("line-up")] { (reader.t("line-up")) }
            a href=(format!("{home}#offers")) { (reader.t("passes")) }
            a href=(format!("{home}#music")) { (reader.t("music")) }
            a href=(format!("{}?lang={}", reader.path, if reader.language == Language::En { "zh" } else { "en" })) lang=(reader.language.other().tag()) { (reader.language.other().t("language-name")) }
        }
    }
}

/// The left panel of a festival's pages: its poster.
#[must_use]
pub fn poster(reader: &Reader, festival: &Festival, days: &[Day], sticker: Option<&Markup>) -> Markup {
    let f = &festival.terms;
    let dates = |language: Language| match (days.first(), days.last()) {
        (Some(first), Some(last)) => date_range(language, first.opens_at, last.opens_at, &f.time_zone),
        _ => String::new(),
    };
    let (title, band) = (f.language, f.language.other());
    html! {
        section class="cover poster" {
            p class="obi" lang=(band.tag()) { b { (f.name.exactly(band).unwrap_or("Gatefold")) } span { (dates(band)) " " (f.place.exactly(band).unwrap_or_default()) } }
            p class="above" { span { (dates(reader.language)) } span { (text(&f.place, reader.language)) } }
            h1 lang=(title.tag()) { (f.name.read(title)) }
            @if festival.poster_hash.is_some() {
                img src=(format!("/pictures/festivals/{}", festival.festival_id.0)) alt="";
            } @else { (art::poster(f.name.read(title))) }
            @if let Some(sticker) = sticker { (sticker) }
        }
    }
}

/// The page of a festival: the same for everybody, but for whose turn it is in a waiting room.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, arrival: Data<&Arrival>, Path(slug): Path<String>) -> PageResult {
    let turns = turns(request, &app, arrival.0.0)?;
    let by = format!("/f/{slug} {turns:?}");
    let mut response = shared(request, &app, &reader, &by, || festival(&reader, &app, &slug, &turns, None)).await?;
    if kept_basket(request)?.is_none() {
        keep_basket(&app, &mut response);
    }
    Ok(response)
}

/// The offers in whose waiting rooms it is the turn of a reader.
///
/// # Errors
/// Never in a house that was put together.
pub fn turns(request: &Request, app: &App, now: DateTime<Utc>) -> Result<Vec<OfferId>, Problem> {
    let mut turns = Vec::new();
    if !keeps_a_place(request) {
        return Ok(turns);
    }
    for offer in waiting::on(app, now) {
        if let Some(place) = kept_place(request, offer)?
            && waiting::turn(app, &place, now).standing == Standing::Turn
        {
            turns.push(offer);
        }
    }
    turns.sort_unstable();
    Ok(turns)
}

/// The page of a festival, for whoever typed a code: what it makes of the offers.
///
/// # Errors
/// A problem `not-found`.
pub async fn festival(reader: &Reader, app: &App, slug: &str, turns: &[OfferId], typed: Option<Typed>) -> PageResult {
    let content = content(app, slug, turns, typed).await?;
    let f = &content.festival;
    let acts = content.bill.iter().filter_map(|b| b.name.as_deref()).collect::<std::collections::BTreeSet<_>>().len();
    // What nobody can have for itself is no lowest price: a pass that needs another beside it, or one that is sold out.
    let buyable = |o: &&OnSale| {
        o.offer.requirements.is_empty()
            && !matches!(o.availability, Availability::SoldOut | Availability::Over)
            && o.offer.components.iter().any(|c| c.pass_id.is_some())
    };
    let cheapest = content.offers.iter().filter(buyable).filter_map(|o| o.price).min_by_key(|p| p.minor);
    let sticker = cheapest.map(|price| {
        html! { p class="sticker" { span { (reader.t("from")) } b { (price.print_short()) } span { (reader.f("acts-count", [("count", acts.to_string())])) } } }
    });
    let shell = Shell {
        reader,
        title: format!("{}: {}", f.terms.name.read(reader.language), reader.t("festival-title")),
        festival: Some(f),
        private: content.code.is_some(),
        refresh: None,
        script_refreshes: false,
    };
    Ok(shell.page(&html! {
        main class="gatefold" id="content" {
            (poster(reader, f, &content.days, sticker.as_ref()))
            div class="panel" {
                (index(reader, f, "festival"))
                section { p class="lead" { (text(&f.terms.lead, reader.language)) } }
                @if !content.days.is_empty() { (sides(reader, &content)) }
                @if !content.bill.is_empty() { (billing(reader, &content)) }
                (music(reader, &content))
                (code(reader, &content))
                (form(reader, &content))
                p { a href=(format!("/f/{}/lost", f.terms.slug)) { (reader.t("lost")) } }
            }
        }
    }))
}

fn sides(reader: &Reader, content: &Content) -> Markup {
    let zone = &content.festival.terms.time_zone;
    html! {
        section aria-labelledby="days" {
            header class="head" { h2 id="days" { (reader.f("sides", [("count", content.days.len().to_string())])) } p { (reader.t("sides-lead")) } }
            ol {
                @for day in &content.days {
                    @let (opens, closes) = (reader.language.at(day.opens_at, zone), reader.language.at(day.closes_at, zone));
                    @let mut acts = content.bill.iter().filter(|b| b.day_index == Some(day.day_index) && b.name.is_some()).collect::<Vec<_>>();
                    @let () = acts.sort_by_key(|b| b.billing);
                    li class="side" {
                        span class="label" aria-hidden="true" { (day.side()) }
                        div {
                            h3 { (opens.weekday()) " " (opens.date()) }
                            p { (reader.f("from-to", [("from", opens.time()), ("to", format!("{} {}", closes.weekday(), closes.time()))])) }
                            p class="faded" {
                                @for (i, act) in acts.iter().take(3).enumerate() { @if i > 0 { (reader.t("comma")) } (name(act.name.as_deref().unwrap_or_default())) }
                                @if acts.len() > 3 { (reader.f("and-more", [("count", (acts.len() - 3).to_string())])) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn billing(reader: &Reader, content: &Content) -> Markup {
    let mut rows: BTreeMap<i16, Vec<(&str, char)>> = BTreeMap::new();
    for billed in &content.bill {
        let side = content.days.iter().find(|d| Some(d.day_index) == billed.day_index).map_or(' ', Day::side);
        let row = rows.entry(billed.billing.unwrap_or(3)).or_default();
        if let Some(act) = billed.name.as_deref()
            && !row.iter().any(|(name, _)| *name == act)
        {
            row.push((act, side));
        }
    }
    let line_up = format!("/f/{}/line-up", content.festival.terms.slug);
    html! {
        section aria-labelledby="acts" {
            header class="head" { h2 id="acts" { (reader.t("line-up")) } p { a href=(line_up) { (reader.t("all-acts")) } } }
            @for (row, acts) in &rows {
                ul class=(match row { 1 => "billing first", 2 => "billing second", _ => "billing" }) {
                    @for (act, side) in acts { li { a href=(line_up) { (name(act)) } sup { (side) } } }
                }
            }
        }
    }
}

fn music(reader: &Reader, content: &Content) -> Markup {
    html! {
        @for (i, (release, tracks)) in content.releases.iter().enumerate() {
            section id=[(i == 0).then_some("music")] aria-label=(release.terms.title) {
                header class="head" { h2 { (name(&release.terms.title)) } p { (name(&release.terms.artist)) @if let Some(number) = &release.terms.catalog_number { (reader.t("clause")) (number) } } }
                ol class="tracks" {
                    @for track in tracks {
                        li { span class="no" { (track.track_no) } span { (name(&track.title)) small { (name(&track.artist)) } } span { (duration(track.duration_ms)) } }
                    }
                }
            }
        }
    }
}

/// `4:12`
#[must_use]
pub fn duration(ms: i32) -> String {
    format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60)
}

/// The words of a state, with its moment where there is one.
fn state(reader: &Reader, content: &Content, on_sale: &OnSale) -> Markup {
    let zone = &content.festival.terms.time_zone;
    let words = match (on_sale.availability, on_sale.offer.opens_at) {
        (Availability::NotYet, Some(opens)) => reader.f("opens-at", [("moment", reader.language.at(opens, zone).long())]),
        (Availability::Paused, _) => on_sale.offer.pause().map_or(reader.t("state-paused"), |p| p.read(reader.language).to_owned().into()),
        (state, _) => reader.t(&format!("state-{}", state.name())),
    };
    html! { p class=(format!("state {}", on_sale.availability.name())) { (words) } }
}

fn tiers(reader: &Reader, content: &Content, on_sale: &OnSale) -> Markup {
    let zone = &content.festival.terms.time_zone;
    let current = on_sale.offer.tiers.iter().position(|t| Some(t.tier_no) == on_sale.tier_no);
    html! {
        @if on_sale.offer.tiers.len() > 1 {
            ol class="tiers" {
                @for (i, tier) in on_sale.offer.tiers.iter().enumerate() {
                    @let price = Money::new(tier.price_minor, on_sale.offer.currency).print_short();
                    li aria-current=[(Some(i) == current).then_some("step")] {
                        b { @if current.is_some_and(|c| i < c) { s { (price) } } @else { (price) } }
                        (text(&tier.name, reader.language))
                        @if let Some(until) = tier.until_at { br; (reader.f("until", [("date", reader.language.at(until, zone).date())])) }
                    }
                }
            }
        }
    }
}

fn offer(reader: &Reader, content: &Content, i: usize, on_sale: &OnSale) -> Markup {
    let o = &on_sale.offer;
    let room = content.rooms.contains(&o.offer_id) && !matches!(on_sale.availability, Availability::SoldOut | Availability::Over);
    let open = matches!(on_sale.availability, Availability::OnSale | Availability::FewLeft) && !room;
    let waits = waiting::list::takes(o, on_sale.availability) && !room && !content.closed_lists.contains(&o.offer_id);
    let is_bundle = o.components.len() > 1;
    let dead = matches!(on_sale.availability, Availability::SoldOut | Availability::Over);
    let class = match (is_bundle && !dead, dead) {
        (true, _) => "offer bundle",
        (false, true) => "offer cut",
        (false, false) => "offer",
    };
    let release = o.components.iter().find_map(|c| content.releases.iter().find(|(r, _)| Some(r.release_id) == c.release_id));
    let number = format!("{:02}", i + 1);
    html! {
        li class=(class) {
            @if is_bundle && !dead {
                p class="obi" { b lang="zh-Hans" { "票＋唱片" } span lang="en" { (reader.t("pass-and-album")) } }
            } @else { span class="no" { (number) } }
            div {
                @if let Some((release, _)) = release {
                    div class="sleeve" { (sleeve(release)) }
                }
                div { h3 { @if is_bundle && !dead { (number) " " } (text(&o.name, reader.language)) } p { (text(&o.about, reader.language)) } }
                (tiers(reader, content, on_sale))
                @if is_bundle && let Some(price) = on_sale.price { (shares(reader, content, on_sale, price)) }
                @if on_sale.availability != Availability::OnSale { (state(reader, content, on_sale)) }
                div class="take" {
                    @if let Some(price) = on_sale.price { p class="price" { (price.print_short()) } (fee(reader, on_sale, price)) }
                    @if room { a class="button" href=(format!("/w/{}", o.offer_id)) { (reader.t("waiting-enter")) } }
                    @if waits { a class="button plain" href=(format!("/f/{}/waiting-lists/{}", content.festival.terms.slug, o.offer_id)) { (reader.t("waits-join")) span class="unseen" { (reader.t("clause")) (text(&o.name, reader.language)) } } }
                    @if open && let Some(price) = on_sale.price {
                        label {
                            (reader.t("quantity")) span class="unseen" { (reader.t("clause")) (text(&o.name, reader.language)) }
                            select name=(format!("offer-{}", o.offer_id)) data-minor=(price.minor) {
                                @for n in 0..=o.max_per_order.min(12) { option value=(n) { (n) } }
                            }
                        }
                        input type="hidden" name=(format!("price-{}", o.offer_id)) value=(price.minor);
                    }
                }
            }
        }
    }
}

/// The fee inside a price, where it is not in the table of its shares.
fn fee(reader: &Reader, on_sale: &OnSale, price: Money) -> Markup {
    let fee = on_sale.offer.shares(price.minor).into_iter().find(|share| share.fee.is_some() && share.minor > 0);
    html! { @if on_sale.offer.components.len() < 2 && let Some(fee) = fee { p class="faded" { (reader.f("with-fee", [("amount", Money::new(fee.minor, price.currency).print())])) } } }
}

/// The cover of a release: what was uploaded, or what its title prints.
#[must_use]
pub fn sleeve(release: &Release) -> Markup {
    let label = format!("{}, {}", release.terms.title, release.terms.artist);
    html! {
        @if release.cover_hash.is_some() { img src=(format!("/pictures/releases/{}", release.release_id)) alt=(label) width="600" height="600"; } @else { (art::cover(&release.terms.title, &label)) }
    }
}

fn shares(reader: &Reader, content: &Content, on_sale: &OnSale, price: Money) -> Markup {
    html! {
        table class="sum" {
            tbody {
                @for share in on_sale.offer.shares(price.minor).into_iter().filter(|share| share.fee.is_none() || share.minor > 0) {
                    @let release = content.releases.iter().find(|(r, _)| Some(r.release_id) == share.release_id);
                    tr {
                        th scope="row" {
                            @match release {
                                Some((release, tracks)) => { (name(&release.terms.title)) (reader.t("clause")) (reader.f("tracks-count", [("count", tracks.len().to_string())])) }
                                None => @if share.fee.is_some() { (reader.t("booking-fee")) } @else if share.pass_id.is_some() { (reader.t("the-pass")) } @else { (reader.t("the-add-on")) }
                            }
                        }
                        td { (Money::new(share.minor, price.currency).print()) }
                    }
                }
            }
        }
    }
}

fn form(reader: &Reader, content: &Content) -> Markup {
    let f = &content.festival.terms;
    let open =
        content.offers.iter().any(|o| matches!(o.availability, Availability::OnSale | Availability::FewLeft) && !content.rooms.contains(&o.offer.offer_id));
    html! {
        form id="offers" method="post" action=(format!("/f/{}/orders", f.slug)) aria-labelledby="passes" data-basket="" data-once="" {
            header class="head" { h2 id="passes" { (reader.t("passes")) } p { (reader.t("all-in")) } }
            @if content.offers.is_empty() { p { (reader.t("no-offers")) } }
            @if let Some((code, Ok(is_listed))) = &content.code {
                p class="notice" role="status" { (reader.f("voucher-helps", [("code", code.clone())])) @if *is_listed { (reader.t("gap")) (reader.t("voucher-listed")) } }
                input type="hidden" name="voucher" value=(code);
            }
            ol { @for (i, on_sale) in content.offers.iter().enumerate() { (offer(reader, content, i, on_sale)) } }
            @if open {
                section class="stack" {
                    header class="head" { h2 { (reader.t("where-to")) } p { (reader.t("where-to-lead")) } }
                    div class="field" { label for="email" { (reader.t("your-email")) } input id="email" name="email" type="email" autocomplete="email" required maxlength="254"; small { (reader.t("no-password")) } }
                    div class="field" { label for="name" { (reader.t("your-name")) } input id="name" name="name" autocomplete="name" maxlength="120"; small { (reader.t("your-name-lead")) } }
                }
                div class="basket" {
                    p { b data-sum="" data-sign=(f.currency.sign()) data-exponent=(f.currency.exponent()) { (Money::new(0, f.currency).print()) } br; small { (reader.t("nothing-charged")) } }
                    button class="button" { (reader.t("hold-button")) }
                }
            }
        }
    }
}

/// Where a code is typed: before anything is chosen, so that the prices below are what is paid.
fn code(reader: &Reader, content: &Content) -> Markup {
    let home = format!("/f/{}", content.festival.terms.slug);
    let typed = content.code.as_ref();
    let why = typed.and_then(|(_, found)| found.err());
    html! {
        section id="code" class="stack" aria-labelledby="voucher-head" {
            @if typed.is_some() && why.is_none() {
                header class="head" { h2 id="voucher-head" { (reader.t("your-voucher")) } p { a href=(format!("{home}#offers")) { (reader.t("voucher-without")) } } }
            } @else {
                header class="head" { h2 id="voucher-head" { (reader.t("your-voucher")) } p { (reader.t("your-voucher-lead")) } }
                form method="post" action=(format!("{home}/vouchers#code")) {
                    div class="field" {
                        label for="voucher" { (reader.t("your-voucher-code")) }
                        input id="voucher" name="voucher" value=[typed.map(|(code, _)| code)] autocomplete="off" autocapitalize="characters" maxlength="60" required aria-invalid=[why.map(|_| "true")] aria-describedby=[why.map(|_| "voucher-why")];
                        @if let Some(why) = why { p class="hurt" id="voucher-why" role="alert" { (reader.t(&format!("reason-voucher-{}", why.name()))) } }
                    }
                    button class="button plain" { (reader.t("voucher-look")) }
                }
            }
        }
    }
}
