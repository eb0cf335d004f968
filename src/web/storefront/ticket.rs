//! A ticket as it is shown: paper by day and night; and the holder's own page, which shows this ticket and its album and
//! nothing else of the order.

use data_encoding::BASE64;
use maud::{Markup, PreEscaped, html};
use poem::{
    Request, handler,
    http::HeaderValue,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    order::albums_of,
    transfer,
};
use crate::{
    app::App,
    entry::{
        binding::{self, Binding},
        explain::{self, Windows},
    },
    festivals::{self, Day, Festival, Gate, Zone},
    http::{
        cookies::same_origin,
        problem::{NOT_FOUND, Problem},
    },
    id::TicketId,
    library::{self, Claimant},
    offers::{self, AddOn, Pass},
    secrets::Purpose,
    tickets::{
        self, Ticket, TicketKind, TicketStatus,
        picture::{self, Surface},
    },
    web::layout::{PageResult, Reader, Shell, both, see_other, text},
    words::date_range,
};

/// On which page a ticket is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// That of its order.
    Order,
    /// Its own.
    Own,
}

/// Tickets as they are shown.
pub struct Stubs {
    /// One under the other.
    pub markup: Markup,
    /// Whether one of them that opens a gate asks for live codes.
    pub is_live: bool,
}

/// The tickets of an order.
///
/// # Errors
/// What the database said.
pub async fn stubs(reader: &Reader, app: &App, festival: &Festival, issued: &[Ticket], on: On) -> Result<Stubs, Problem> {
    let (pool, id) = (&app.pools.web, festival.festival_id);
    let site = Site {
        days: festivals::days(pool, id).await?,
        zones: festivals::zones(pool, id).await?,
        gates: festivals::gates(pool, id).await?,
        passes: offers::passes(pool, id).await?,
        add_ons: offers::add_ons(pool, id).await?,
    };
    let (mut all, mut is_live) = (Vec::with_capacity(issued.len()), false);
    for (i, ticket) in issued.iter().enumerate() {
        let place = (i + 1, issued.len());
        let code = match binding::binding(app, ticket).await?.filter(|_| ticket.status == TicketStatus::Valid) {
            Some(binding) => {
                is_live = true;
                live(reader, app, festival, ticket, binding, on)
            }
            None => fixed(reader, &ticket.code_text(app).await?.ok_or_else(|| Problem::internal("the signing key cannot be opened"))?, place),
        };
        all.push(stub(reader, app, festival, &site, ticket, &code, place));
    }
    Ok(Stubs { markup: html! { @for stub in &all { (stub) } }, is_live })
}

struct Site {
    days: Vec<Day>,
    zones: Vec<Zone>,
    gates: Vec<Gate>,
    passes: Vec<Pass>,
    add_ons: Vec<AddOn>,
}

/// What a pass allows, beside the days and zones of the table above it.
fn rules(reader: &Reader, festival: &Festival, Site { days, gates, passes, .. }: &Site, pass: &Pass) -> Vec<String> {
    let site = explain::Site { days, passes, gates, zones: &[], time_zone: &festival.terms.time_zone };
    let mut said = explain::times(reader.language, &site, pass, Windows::Own);
    said.extend(explain::beside_times(reader.language, &site, pass));
    said
}

/// A code that stays as it is.
fn fixed(reader: &Reader, code: &str, (n, of): (usize, usize)) -> Markup {
    html! {
        div class="code" {
            @if let Some((side, path)) = picture::path(code, Surface::Screen) {
                svg viewBox=(format!("0 0 {side} {side}")) shape-rendering="crispEdges" role="img" aria-label=(reader.f("qr-of", [("n", n.to_string()), ("m", of.to_string())])) { (PreEscaped(format!("<path d=\"{path}\"/>"))) }
            }
        }
    }
}

/// A code that a phone makes anew every fifteen seconds (`ticket.js`): on the ticket's own page, to which that of the order leads.
fn live(reader: &Reader, app: &App, festival: &Festival, ticket: &Ticket, binding: Binding, on: On) -> Markup {
    let zone = &festival.terms.time_zone;
    let from = binding.opens_at.map(|at| reader.language.at(at, zone).long()).unwrap_or_default();
    let bound = ticket.live_key.as_deref().map(|key| BASE64.encode(key)).unwrap_or_default();
    if on == On::Order {
        return html! {
            div class="live stack" {
                p { b { (reader.t("live-code")) } }
                p { (reader.f("live-order", [("moment", from)])) }
                @if ticket.claimed_at.is_none() { p { a class="button" href=(ticket.url(app)) { (reader.t("live-open-page")) } } }
            }
        };
    }
    html! {
        div class="live" data-live-code="" data-bound=(bound) data-certificate=(binding.certificate.unwrap_or_default()) data-now=(app.clock.now().to_rfc3339()) data-opens-at=(binding.opens_at.unwrap_or_default().to_rfc3339()) data-zone=(zone) {
            noscript { p class="notice bad" { (reader.t("live-no-script")) } }
            div data-show="here" hidden {
                div class="code" data-picture="" { svg viewBox="0 0 65 65" shape-rendering="crispEdges" role="img" aria-label=(reader.t("live-picture")) { path d="" {} } }
                div class="turn" { b class="human" data-clock="" {} progress class="groove" max="15" value="15" aria-label=(reader.t("live-left")) {} }
                p class="small" { (reader.t("live-here")) }
            }
            div class="stack" data-show="early" hidden { p { b { (reader.t("live-code")) } } p { (reader.f("live-early", [("moment", from)])) } }
            div class="stack" data-show="free" hidden { p { b { (reader.t("live-code")) } } p { (reader.t("live-free")) } p { button class="button" type="button" data-bind="" { (reader.t("live-bind")) } } }
            div class="stack" data-show="elsewhere" hidden { p { b { (reader.t("live-code")) } } p { (reader.t("live-elsewhere")) } p { button class="button" type="button" data-bind="" { (reader.t("live-move")) } } }
            div data-show="unable" hidden { p class="notice bad" { (reader.t("live-unable")) } }
            p class="notice bad" role="alert" data-trouble="" data-taken=(reader.t("live-taken")) data-failed=(reader.t("live-failed")) data-network=(reader.t("live-network")) data-unable=(reader.t("live-unable")) hidden {}
        }
    }
}

fn stub(reader: &Reader, app: &App, festival: &Festival, site: &Site, ticket: &Ticket, code: &Markup, (n, of): (usize, usize)) -> Markup {
    let f = &festival.terms;
    let pass = site.passes.iter().find(|p| p.pass_number == ticket.pass_number).filter(|_| ticket.kind == TicketKind::Pass);
    let add_on = site.add_ons.iter().find(|a| a.add_on_number == ticket.pass_number).filter(|_| ticket.kind == TicketKind::AddOn);
    let days: Vec<&Day> = site.days.iter().filter(|d| ticket.day_mask >> d.day_index & 1 == 1).collect();
    let dates = match (days.first(), days.last()) {
        (Some(first), Some(last)) => date_range(reader.language, first.opens_at, last.opens_at, &f.time_zone),
        _ => String::new(),
    };
    let zones: Vec<&Zone> = site.zones.iter().filter(|z| pass.is_some_and(|p| p.terms.zone_ids.is_empty() || p.terms.zone_ids.contains(&z.zone_id))).collect();
    let alive = ticket.status == TicketStatus::Valid;
    html! {
        article class=(if alive { "ticket" } else { "ticket dead" }) data-ticket=(ticket.ticket_id) {
            header {
                span { (both(&f.name)) } span { @if of > 1 { (reader.f("n-of-m", [("n", n.to_string()), ("m", of.to_string())])) } }
                h2 { @if let Some(p) = pass { (text(&p.terms.name, reader.language)) } @else if let Some(a) = add_on { (text(&a.name, reader.language)) } }
                span { (dates) } span { (text(&f.place, reader.language)) }
            }
            @if !alive { p class="hurt" { (reader.t(match ticket.status { TicketStatus::Exchanged => "ticket-is-band", TicketStatus::Suspended => "ticket-being-returned", TicketStatus::Valid | TicketStatus::Void => "ticket-dead" })) } }
            (code)
            div class="holder" { p { b { (ticket.holder_name) } } p class="human" { (ticket.short_code(app)) } }
            div class="perforation" {}
            @if let Some(p) = pass {
                table class="opens" {
                    caption class="unseen" { (reader.t("what-it-opens")) }
                    tbody {
                        @for day in &days {
                            tr {
                                th scope="row" { b { (day.side()) } " " (text(&day.name, reader.language)) }
                                td { (reader.language.at(day.opens_at, &f.time_zone).time()) "–" (reader.language.at(day.closes_at, &f.time_zone).time()) }
                            }
                        }
                        @if !zones.is_empty() { tr { th scope="row" { (reader.t("zones")) } td { @for (i, zone) in zones.iter().enumerate() { @if i > 0 { (reader.t("comma")) } (text(&zone.name, reader.language)) } } } }
                    }
                }
                ul class="small" { @for rule in rules(reader, festival, site, p) { li { (rule) } } }
            } @else { p class="small" { (reader.t("collect-once")) } }
        }
    }
}

/// The ticket of a holder's link.
pub(super) async fn open(app: &App, id: TicketId, secret: &str) -> Result<Ticket, Problem> {
    let found = tickets::ticket(&app.pools.web, id).await?;
    found.filter(|t| app.secrets.is_link(Purpose::HolderLink, id.0, t.link_generation, secret)).ok_or_else(|| NOT_FOUND.problem())
}

/// Takes the ticket of a holder's link, and its album.
#[handler]
pub async fn claim(request: &Request, body: poem::Body, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let ticket = open(&app, TicketId(id), &secret).await?;
    let fields = fields(body).await?;
    let who = Claimant { name: field(&fields, "name").to_owned(), email: Some(field(&fields, "email").to_owned()) };
    let claimed = library::claim(&app, &ticket, &who).await.map_err(Problem::from)?;
    Ok(see_other(&claimed.url(&app)))
}

/// Whether somebody took the ticket, else the form that takes it.
fn claiming(reader: &Reader, app: &App, festival: &Festival, ticket: &Ticket) -> Markup {
    html! {
        @if let Some(at) = ticket.claimed_at {
            p { (reader.f("claimed-by", [("name", ticket.holder_name.clone()), ("moment", reader.language.at(at, &festival.terms.time_zone).long())])) }
        } @else if ticket.status == TicketStatus::Valid {
            form class="stack" method="post" action=(format!("{}/claims", ticket.url(app))) data-once="" {
                header class="head" { h2 { (reader.t("claim")) } p { (reader.t("claim-lead")) } }
                div class="field" { label for="name" { (reader.t("your-name")) } input id="name" name="name" required maxlength="120" autocomplete="name"; }
                div class="field" { label for="email" { (reader.t("claim-email")) } input id="email" name="email" type="email" maxlength="254" autocomplete="email"; }
                div { button class="button" { (reader.t("claim-take")) } }
            }
        }
    }
}

/// The holder's own page.
#[handler]
pub async fn page(reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let id = TicketId(id);
    let ticket = match open(&app, id, &secret).await {
        Ok(ticket) => ticket,
        // Whoever passed it on finds that it is gone, and the album that they claimed.
        Err(problem) => return transfer::passed(&reader, &app, id, &secret).await?.ok_or_else(|| problem.into()),
    };
    let festival = festivals::one(&app.pools.web, id.festival()).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?;
    let Stubs { markup: stub, is_live } = stubs(&reader, &app, &festival, std::slice::from_ref(&ticket), On::Own).await?;
    // What the page says of the ticket: a page that was kept is made anew where that changed (`ticket.js`).
    let passing = transfer::passing(&reader, &app, &festival, &ticket).await?;
    let version = format!("{:?} {} {is_live} {} {}", ticket.status, ticket.generation, ticket.claimed_at.is_some(), passing.version);
    let albums = library::of_ticket(&app.pools.web, &ticket).await.map_err(Problem::from)?;
    let music = albums_of(&reader, &app, &albums).await?;
    let shell = Shell {
        reader: &reader,
        title: format!("{}: {}", reader.t("your-ticket"), festival.terms.name.read(reader.language)),
        festival: Some(&festival),
        private: true,
        refresh: None,
        script_refreshes: false,
    };
    let mut printed = shell.page(&html! {
        main class="gatefold" id="content" data-version=(version) {
            section class="panel cover board" aria-labelledby="ticket" { h1 class="unseen" id="ticket" { (reader.t("your-ticket")) } (stub) }
            div class="panel" {
                p class="notice bad" role="status" data-no-network="" hidden { (reader.t("ticket-no-network")) }
                section class="stack" { h2 { (reader.t("see-you")) } p { (reader.t(if is_live { "live-lead" } else { "you-are-in-lead" })) } p class="small faded" data-kept="" hidden { (reader.t("ticket-kept")) } }
                script type="module" src="/assets/ticket.js" {}
                (claiming(&reader, &app, &festival, &ticket))
                (music)
                (passing.markup)
            }
        }
    });
    // The worker keeps it by this.
    printed.headers_mut().insert("x-ticket", HeaderValue::from_static("1"));
    Ok(printed)
}
