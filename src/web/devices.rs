//! Devices and who supervises on them, on the desk: pair a phone, print a sheet that pairs many, begin a shift, issue supervisors' cards, revoke.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    web::{Data, Path},
};

use super::{
    bands,
    gate::to_gate,
    layout::{PageResult, Reader, Shell, see_other, text},
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{self, Device, Member, Pairing, Scope, Wanted, shift},
    app::App,
    entry::{
        self, Verdict,
        overrides::card::{self, NewCard, SupervisorCard},
    },
    festivals::{self, Day, Festival, Gate},
    http::{
        cookies::same_origin,
        problem::{MALFORMED, NOT_FOUND, Problem},
    },
    id::{DeviceId, GateId},
    offers,
    tickets::picture::{Surface, path},
};

/// What a device may do.
const PROFILES: [&str; 4] = ["scan", "identity", "supervisor", "exchange"];
/// Hours that a shift may last.
const HOURS: [i64; 4] = [4, 8, 12, 16];
/// How many phones a sheet may pair.
const SHEETS: [i16; 6] = [5, 10, 20, 50, 100, 300];

/// A member who may pair devices, and a festival of theirs; `None` when nobody is signed in.
pub(super) async fn keeper(request: &Request, app: &App, slug: &str) -> Result<Option<(Member, Festival)>, Problem> {
    let Some((who, festival)) = visitor(request, app, slug, Scope::ScansRead).await? else { return Ok(None) };
    who.staff.may(Scope::GatesWrite)?;
    Ok(Some((who, festival)))
}

fn shell<'a>(reader: &'a Reader, festival: &'a Festival, title: &str) -> Shell<'a> {
    let title = format!("{}: {}", reader.t(title), festival.terms.name.read(reader.language));
    Shell { reader, title, festival: Some(festival), private: true, refresh: None, script_refreshes: false }
}

fn index(reader: &Reader, slug: &str) -> Markup {
    let base = format!("/desk/{slug}");
    html! {
        nav class="index" aria-label=(reader.t("desk")) { a href=(base) { (reader.t("desk")) } a href=(format!("{base}/gates")) { (reader.t("control-room")) } a href=(format!("{base}/devices")) aria-current="page" { (reader.t("devices")) } a href="/gate" { (reader.t("gate")) } }
    }
}

/// The page of devices.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let (id, now) = (festival.festival_id, app.clock.now());
    let gates = festivals::gates(&app.pools.web, id).await.map_err(Problem::from)?;
    let days = festivals::days(&app.pools.web, id).await.map_err(Problem::from)?;
    let devices = accounts::devices(&app, &who.staff, id).await.map_err(Problem::from)?;
    let sheets = accounts::sheets(&app, &who.staff, id).await.map_err(Problem::from)?;
    let cards = card::cards(&app, &who.staff, id).await.map_err(Problem::from)?;
    let passes = offers::passes(&app.pools.web, id).await.map_err(Problem::from)?;
    let stocks = entry::bands::stocks(&mut *app.pools.web.acquire().await.map_err(Problem::from)?, id).await.map_err(Problem::from)?;
    let running = shift::running(&app, &who, id).await.map_err(Problem::from)?;
    let desk = Desk { reader: &reader, festival: &festival, gates: &gates, days: &days, now };
    Ok(shell(&reader, &festival, "devices").page(&html! {
        main id="content" {
            div class="panel cover flood" {
                (index(&reader, &slug))
                h1 { (reader.t("devices")) }
                section id="shift" aria-labelledby="shift-title" { h2 id="shift-title" { (reader.t("my-shift")) } (desk.shift(running.as_ref())) }
            }
            div class="gatefold" {
                div class="panel" {
                    section aria-labelledby="pair-title" { header class="head" { h2 id="pair-title" { (reader.t("pair-devices")) } p { (reader.t("pair-devices-lead")) } } (desk.pairing(&sheets)) }
                    section id="cards" aria-labelledby="cards-title" { header class="head" { h2 id="cards-title" { (reader.t("supervisor-cards")) } p { (reader.t("supervisor-cards-lead")) } } (desk.cards(&cards)) }
                }
                div class="panel" {
                    section id="bands" aria-labelledby="bands-title" { header class="head" { h2 id="bands-title" { (reader.t("bands")) } p { (reader.t("bands-lead")) } } (bands::section(&reader, &festival, &passes, &stocks)) }
                    section id="list" aria-labelledby="list-title" { header class="head" { h2 id="list-title" { (reader.t("paired")) } p { (reader.t("paired-lead")) } } (desk.devices(&devices)) }
                }
            }
        }
    }))
}

struct Desk<'a> {
    reader: &'a Reader,
    festival: &'a Festival,
    gates: &'a [Gate],
    days: &'a [Day],
    now: DateTime<Utc>,
}

impl Desk<'_> {
    fn action(&self, below: &str) -> String {
        format!("/desk/{}/devices{below}", self.festival.terms.slug)
    }

    fn at(&self, at: DateTime<Utc>) -> String {
        self.reader.language.at(at, &self.festival.terms.time_zone).long()
    }

    /// The digits of one's own shift, or the form that begins one.
    fn shift(&self, running: Option<&shift::Shift>) -> Markup {
        let reader = self.reader;
        let hours = html! { select id="hours" name="hours" { @for hours in HOURS { option value=(hours) selected[hours == 8] { (reader.f("n-hours", [("n", hours.to_string())])) } } } };
        html! {
            @match running {
                Some(shift) => {
                    p class="digits" { output { (&shift.code[..3]) " " (&shift.code[3..]) } }
                    p { (reader.f("shift-until", [("time", self.at(shift.ends_at))])) }
                    div class="actions" {
                        form method="post" action=(self.action("/phone")) { button class="button" { (reader.t("scan-with-this-phone")) } }
                        form method="post" action=(self.action("/shift/end")) { button class="button plain" { (reader.t("end-shift")) } }
                    }
                }
                None => {
                    p { (reader.t("shift-lead")) }
                    form class="take" method="post" action=(self.action("/shift")) {
                        div class="field" { label for="hours" { (reader.t("shift-lasts")) } (hours) }
                        button class="button" { (reader.t("begin-shift")) }
                    }
                }
            }
        }
    }

    fn pairing(&self, sheets: &[Pairing]) -> Markup {
        let reader = self.reader;
        html! {
            @if self.gates.is_empty() { p class="faded" { (reader.t("no-gates")) } } @else {
                form class="stack" method="post" action=(self.action("/pairings")) {
                    div class="field" { label for="gate" { (reader.t("gate")) } select id="gate" name="gate" { @for gate in self.gates { option value=(gate.gate_id) { (text(&gate.name, reader.language)) } } } }
                    @if self.gates.len() > 1 { label class="sure" { input type="checkbox" name="all" value="yes"; span { (reader.t("may-move")) } } }
                    div class="field" { label for="profile" { (reader.t("profile")) } select id="profile" name="profile" {
                        @for profile in PROFILES { option value=(profile) { (reader.t(&format!("profile-{profile}"))) } }
                    } }
                    div class="field" { label for="most" { (reader.t("how-many-phones")) } select id="most" name="most" {
                        option value="1" { (reader.t("one-phone")) }
                        @for most in SHEETS { option value=(most) { (reader.f("sheet-for-n", [("n", most.to_string())])) } }
                    } }
                    div { button class="button" { (reader.t("show-pairing-code")) } }
                }
            }
            @if !sheets.is_empty() { ul class="ledger" { @for sheet in sheets {
                li { form class="actions" method="post" action=(self.action(&format!("/pairings/{}/revoke", sheet.pairing_no))) {
                    p { a href=(self.action(&format!("/pairings/{}", sheet.pairing_no))) { (reader.f("sheet-n", [("n", sheet.pairing_no.to_string())])) } br; (self.gate(sheet.gate_id)) " · " (reader.f("n-of-m", [("n", sheet.devices.to_string()), ("m", sheet.most_devices.to_string())])) " · " (self.at(sheet.expires_at)) }
                    button class="button plain" { (reader.t("revoke")) }
                } }
            } } }
        }
    }

    fn gate(&self, gate: GateId) -> Markup {
        match self.gates.iter().find(|g| g.gate_id == gate) {
            Some(gate) => text(&gate.name, self.reader.language),
            None => html! { "–" },
        }
    }

    fn cards(&self, cards: &[SupervisorCard]) -> Markup {
        let reader = self.reader;
        let ahead: Vec<&Day> = self.days.iter().filter(|day| day.closes_at > self.now).collect();
        let day = |index: i16| self.days.iter().find(|d| d.day_index == index).map(|d| text(&d.name, reader.language));
        html! {
            @if ahead.is_empty() { p class="faded" { (reader.t("no-days-ahead")) } } @else {
                form class="stack" method="post" action=(self.action("/cards")) {
                    div class="field" { label for="card-name" { (reader.t("card-name")) } input id="card-name" name="name" required maxlength="80" autocomplete="off"; }
                    div class="field" { label for="card-day" { (reader.t("festival-day")) } select id="card-day" name="day" { @for d in &ahead { option value=(d.day_index) { (text(&d.name, reader.language)) } } } }
                    div class="field" { label for="card-most" { (reader.t("card-overrides")) } input id="card-most" name="overrides" type="number" min="1" max="255" value="20" required; }
                    div { button class="button" { (reader.t("issue-card")) } }
                }
            }
            @if !cards.is_empty() { ul class="ledger" { @for c in cards {
                li { form class="actions" method="post" action=(self.action(&format!("/cards/{}/revoke", c.card_number))) {
                    p {
                        @if c.card_code.is_some() { a href=(self.action(&format!("/cards/{}", c.card_number))) { (c.name) } } @else { s { (c.name) } }
                        br; @if let Some(day) = day(c.day_index) { (day) " · " }
                        span class=[(c.used > i32::from(c.overrides)).then_some("nay")] { (reader.f("overrides-used", [("n", c.used.to_string()), ("m", c.overrides.to_string())])) }
                        @if let Some(at) = c.revoked_at { " · " (reader.f("revoked-at", [("time", self.at(at))])) }
                    }
                    @if c.revoked_at.is_none() { button class="button plain" { (reader.t("revoke")) } }
                } }
            } } }
        }
    }

    fn devices(&self, devices: &[Device]) -> Markup {
        let reader = self.reader;
        let (out, paired): (Vec<&Device>, Vec<&Device>) = devices.iter().partition(|d| d.revoked_at.is_some());
        html! {
            @if paired.is_empty() { p class="faded" { (reader.t("no-devices")) } }
            ul class="ledger" { @for d in paired {
                li { form class="actions" method="post" action=(self.action(&format!("/{}/revoke", d.device_id))) {
                    p {
                        b { (d.name) } " · " (self.gate(d.gate_id)) @if d.is_supervisor() { " · " (reader.t("supervisor")) }
                        br; @match d.seen_at { Some(at) => (reader.f("seen-at", [("time", self.at(at))])), None => (reader.t("never-heard")) }
                        @if let (Some(name), Some(until)) = (&d.supervisor, d.supervisor_until) { br; (reader.f("supervising-as", [("name", name.clone()), ("time", self.at(until))])) }
                    }
                    button class="button plain" { (reader.t("revoke")) }
                } }
            } }
            @if !out.is_empty() { details { summary { (reader.f("revoked-devices", [("n", out.len().to_string())])) } ul class="ledger" { @for d in out {
                li { p { s { (d.name) } " · " (self.gate(d.gate_id)) @if let Some(at) = d.revoked_at { br; (reader.f("revoked-at", [("time", self.at(at))])) } } }
            } } } }
        }
    }
}

fn qr(reader: &Reader, side: usize, path: &str) -> Markup {
    html! { svg class="qr" viewBox=(format!("0 0 {side} {side}")) role="img" aria-label=(reader.t("qr-code")) shape-rendering="crispEdges" { rect width=(side) height=(side) fill="#fff" {} path d=(path) {} } }
}

/// Something to be held before a camera, or printed: its picture, its text, what it is.
pub(super) fn held_up(reader: &Reader, festival: &Festival, title: &str, lead: &Markup, picture: Option<(usize, String)>, below: &Markup) -> Response {
    shell(reader, festival, title).page(&html! {
        main id="content" class="panel held-up" {
            (index(reader, &festival.terms.slug))
            h1 { (reader.t(title)) }
            (lead)
            @if let Some((side, path)) = picture { (qr(reader, side, &path)) }
            (below)
        }
    })
}

/// Offers a chance to pair, and shows it.
#[handler]
pub async fn offer(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let gate: GateId = field(&fields, "gate").parse().map_err(|_| MALFORMED.problem())?;
    let wished = field(&fields, "profile");
    let profile = PROFILES.into_iter().find(|profile| *profile == wished).unwrap_or("scan");
    let gates = festivals::gates(&app.pools.web, festival.festival_id).await.map_err(Problem::from)?;
    let others: Vec<GateId> = if field(&fields, "all") == "yes" { gates.iter().map(|g| g.gate_id).collect() } else { Vec::new() };
    let devices: i16 = field(&fields, "most").parse().unwrap_or(1);
    let wanted = Wanted { others: &others, devices, ..Wanted::one(gate, profile) };
    let pairing = accounts::offer_pairing(&app, &who.staff, festival.festival_id, &wanted).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices/pairings/{}", pairing.pairing_no)))
}

/// Shows a pairing: for one phone, or as a sheet to be printed.
#[handler]
pub async fn show_pairing(request: &Request, reader: Reader, app: Data<&App>, Path((slug, no)): Path<(String, i32)>) -> PageResult {
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let pairing = accounts::pairing_of(&app, &who.staff, festival.festival_id, no).await.map_err(Problem::from)?;
    let is_good = pairing.is_good(app.clock.now());
    let until = reader.language.at(pairing.expires_at, &festival.terms.time_zone).long();
    // Behind the number sign it is sent to no server and stands in no log.
    let link = format!("{}/gate#{}", app.settings.public_url, pairing.pairing_code);
    let gates = festivals::gates(&app.pools.web, festival.festival_id).await.map_err(Problem::from)?;
    let gate = gates.iter().find(|g| g.gate_id == pairing.gate_id).map(|g| text(&g.name, reader.language));
    let lead = html! {
        @if is_good { p { (reader.t("pairing-how")) } } @else { p class="notice bad" role="alert" { (reader.t("pairing-over")) } }
        p { @if let Some(gate) = gate { b { (gate) } " · " } (reader.t(&format!("profile-{}", pairing.profile))) " · " (reader.f("good-until", [("time", until)])) @if pairing.most_devices > 1 { " · " (reader.f("n-of-m", [("n", pairing.devices.to_string()), ("m", pairing.most_devices.to_string())])) } }
    };
    let below = html! { @if is_good {
        p class="human" { (pairing.pairing_code) }
        p { (reader.t("pairing-iphone")) }
        @if pairing.most_devices > 1 {
            h2 { (reader.t("practice-codes")) }
            p { (reader.t("practice-codes-lead")) }
            ul class="practice" { @for verdict in [Verdict::Admitted, Verdict::Check, Verdict::Refused] {
                li { @if let Some((side, path)) = path(&format!("G0PRACTICE{}", verdict.name().to_uppercase()), Surface::Screen) { (qr(&reader, side, &path)) } (reader.t(&format!("verdict-{}", verdict.name()))) }
            } }
        }
    } };
    let title = if pairing.most_devices > 1 { "enrolment-sheet" } else { "pair-devices" };
    Ok(held_up(&reader, &festival, title, &lead, is_good.then(|| path(&link, Surface::Screen)).flatten(), &below))
}

/// Revokes a sheet.
#[handler]
pub async fn revoke_sheet(request: &Request, app: Data<&App>, Path((slug, no)): Path<(String, i32)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    accounts::revoke_pairing(&app, &who.staff, festival.festival_id, no).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices")))
}

/// Revokes a device.
#[handler]
pub async fn revoke(request: &Request, app: Data<&App>, Path((slug, id)): Path<(String, DeviceId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    if id.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    accounts::revoke_device(&app, &who.staff, id).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices#list")))
}

/// Begins a shift.
#[handler]
pub async fn begin(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let hours: i64 = field(&fields, "hours").parse().unwrap_or(8);
    shift::begin(&app, &who, festival.festival_id, TimeDelta::hours(hours.clamp(1, 16))).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices#shift")))
}

/// Ends it.
#[handler]
pub async fn end(request: &Request, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    shift::end(&app, &who, festival.festival_id).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices#shift")))
}

/// Makes a supervisor's device of the phone that shows the desk, with its member signed in.
#[handler]
pub async fn phone(request: &Request, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let id = festival.festival_id;
    let running = shift::running(&app, &who, id).await.map_err(Problem::from)?;
    let gates: Vec<GateId> = festivals::gates(&app.pools.web, id).await.map_err(Problem::from)?.iter().map(|g| g.gate_id).collect();
    let (Some(running), Some(first)) = (running, gates.first()) else { return Ok(see_other(&format!("/desk/{slug}/devices#shift"))) };
    let wanted = Wanted { others: &gates, ..Wanted::one(*first, "supervisor") };
    let pairing = accounts::offer_pairing(&app, &who.staff, id, &wanted).await.map_err(Problem::from)?;
    let paired = accounts::pair(&app, &pairing.pairing_code, &who.name).await.map_err(Problem::from)?;
    shift::sign_in(&app, &paired.device, &running.code).await.map_err(Problem::from)?;
    Ok(to_gate(&app, &paired)?)
}

/// Issues a card, and shows it.
#[handler]
pub async fn issue(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let number = |name| field(&fields, name).parse::<i16>().map_err(|_| MALFORMED.problem());
    let wish =
        NewCard { name: field(&fields, "name").trim().chars().take(80).collect(), day_index: number("day")?, overrides: number("overrides")?.clamp(1, 255) };
    let made = card::issue(&app, &who.staff, festival.festival_id, &wish).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices/cards/{}", made.card_number)))
}

/// Shows a card, to be printed.
#[handler]
pub async fn show_card(request: &Request, reader: Reader, app: Data<&App>, Path((slug, number)): Path<(String, String)>) -> PageResult {
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let card = card::one(&app, &who.staff, festival.festival_id, &number).await.map_err(Problem::from)?;
    let days = festivals::days(&app.pools.web, festival.festival_id).await.map_err(Problem::from)?;
    let day = days.iter().find(|d| d.day_index == card.day_index).map(|d| text(&d.name, reader.language));
    let lead = html! {
        p class="human" { (card.name) }
        p { @if let Some(day) = day { (day) " · " } (reader.f("overrides-used", [("n", card.used.to_string()), ("m", card.overrides.to_string())])) }
        @if card.card_code.is_none() { p class="notice bad" role="alert" { (reader.t("card-dead")) } }
    };
    let picture = card.card_code.as_deref().and_then(|code| path(code, Surface::Print));
    let below = html! { p { (reader.t("card-how")) } };
    Ok(held_up(&reader, &festival, "supervisor-card", &lead, picture, &below))
}

/// Revokes a card.
#[handler]
pub async fn revoke_card(request: &Request, app: Data<&App>, Path((slug, number)): Path<(String, String)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    card::revoke(&app, &who.staff, festival.festival_id, &number).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices#cards")))
}
