//! Incidents, in the control room: hold gates, put everybody out, go back to normal. What lasts is said at the top of the page; a clearing asks twice.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    control::Room,
    devices::held_up,
    layout::{PageResult, Reader, see_other, text},
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::Scope,
    app::App,
    entry::incident::{self, Clearing, GateHold, NewClearing, code::code},
    festivals,
    http::{
        cookies::same_origin,
        problem::{MALFORMED, NOT_FOUND, Problem},
    },
    id::{ClearingId, GateId, HoldId, ZoneId},
    keys,
    tickets::picture::{Surface, path},
};

/// For how many minutes people may be let back in.
const READMITTED: [i64; 4] = [30, 60, 120, 240];

/// How long after its moment a clearing is still told to gates without network.
const TOLD: TimeDelta = TimeDelta::hours(12);

/// Whether a clearing is told to gates without network: it cannot be called off any more, and it matters still.
fn is_told(clearing: &Clearing, now: DateTime<Utc>) -> bool {
    clearing.clears_at <= now + incident::SETTLED && clearing.readmits_until.unwrap_or(clearing.clears_at) > now - TOLD
}

/// What a hold or a clearing is about.
pub(super) fn about(reader: &Reader, room: &Room, gate: Option<GateId>, zone: Option<ZoneId>, all: &str) -> Markup {
    match (gate.and_then(|id| room.gates.iter().find(|g| g.gate_id == id)), zone.and_then(|id| room.zones.iter().find(|z| z.zone_id == id))) {
        (Some(gate), _) => text(&gate.name, reader.language),
        (None, Some(zone)) => text(&zone.name, reader.language),
        (None, None) => html! { (reader.t(all)) },
    }
}

/// The holds that last, as an alarm.
pub(super) fn alarm(reader: &Reader, room: &Room) -> Markup {
    let zone = &room.festival.terms.time_zone;
    html! {
        @for held in lasting(room) {
            p class="notice bad" { strong { (reader.t("gates-held")) } " " (about(reader, room, held.gate_id, held.zone_id, "all-gates")) ": " (reader.f("held-since", [("time", reader.language.at(held.began_at, zone).time())])) @if !held.note.is_empty() { " · " (held.note) } }
        }
    }
}

fn lasting(room: &Room) -> impl Iterator<Item = &GateHold> {
    room.holds.iter().filter(|one| one.ended_at.is_none())
}

/// What lasts and what lies ahead, each with its way back.
pub(super) fn state(reader: &Reader, room: &Room) -> Markup {
    let base = format!("/desk/{}/gates", room.festival.terms.slug);
    let at = |at: DateTime<Utc>| reader.language.at(at, &room.festival.terms.time_zone).long();
    let until = |c: &Clearing| c.readmits_until.map(|until| reader.f("readmitted-until", [("time", at(until))]).into_owned());
    let is_quiet = lasting(room).next().is_none() && room.clearings.is_empty();
    html! {
        @if is_quiet { p class="faded" { (reader.t("no-incident")) } }
        ul class="ledger" {
            @for held in lasting(room) {
                li { form class="actions" method="post" action=(format!("{base}/holds/{}/end", held.hold_id)) {
                    p { b { (reader.t("gates-held")) } " " (about(reader, room, held.gate_id, held.zone_id, "all-gates")) br; (at(held.began_at)) @if !held.note.is_empty() { " · " (held.note) } }
                    @if room.may_decide { button class="button" { (reader.t("gates-release")) } }
                } }
            }
            @for c in room.clearings.iter().take(10) {
                li { form class="actions" method="post" action=(format!("{base}/clearings/{}/call-off", c.clearing_id)) {
                    p { b { (reader.t(if c.clears_at > room.now { "will-be-out" } else { "was-out" })) } " " (about(reader, room, None, c.zone_id, "whole-site")) br; (at(c.clears_at)) @if let Some(until) = until(c) { " · " (until) } @if !c.note.is_empty() { " · " (c.note) } }
                    @if is_told(c, room.now) { a href=(format!("{base}/clearings/{}/code", c.clearing_id)) { (reader.t("clearing-code")) } }
                    @if room.may_decide && c.clears_at > room.now { button class="button plain" { (reader.t("call-off")) } }
                } }
            }
        }
    }
}

/// The forms: they stay as they are while the rest of the page follows the server.
pub(super) fn forms(reader: &Reader, room: &Room) -> Markup {
    if !room.may_decide {
        return html! {};
    }
    let base = format!("/desk/{}/gates", room.festival.terms.slug);
    let zones = || html! { @for zone in &room.zones { option value=(format!("zone {}", zone.zone_id)) { (reader.t("zone")) " " (text(&zone.name, reader.language)) } } };
    html! {
        details class="incident" { summary { (reader.t("hold-gates")) }
            form class="stack" method="post" action=(format!("{base}/holds")) {
                p { (reader.t("hold-lead")) }
                div class="field" { label for="hold-what" { (reader.t("incident-what")) } select id="hold-what" name="what" {
                    option value="" { (reader.t("all-gates")) }
                    @for gate in &room.gates { option value=(format!("gate {}", gate.gate_id)) { (reader.t("gate")) " " (text(&gate.name, reader.language)) } }
                    (zones())
                } }
                div class="field" { label for="hold-note" { (reader.t("note")) } input id="hold-note" name="note" maxlength="500" autocomplete="off"; }
                div { button class="button" { (reader.t("hold-gates")) } }
            }
        }
        details class="incident" { summary { (reader.t("everybody-out")) }
            form class="stack" method="post" action=(format!("{base}/clearings")) {
                p { (reader.t("everybody-out-lead")) }
                div class="field" { label for="clear-what" { (reader.t("incident-what")) } select id="clear-what" name="what" { option value="" { (reader.t("whole-site")) } (zones()) } }
                div class="field" { label for="clears-at" { (reader.t("clears-at")) } input id="clears-at" name="clears_at" type="datetime-local"; }
                div class="field" { label for="readmits" { (reader.t("readmits")) } select id="readmits" name="readmits" {
                    option value="" { (reader.t("readmits-no")) }
                    @for minutes in READMITTED { option value=(minutes) { (reader.f("n-minutes", [("n", minutes.to_string())])) } }
                } }
                div class="field" { label for="clear-note" { (reader.t("note")) } input id="clear-note" name="note" maxlength="500" autocomplete="off"; }
                label class="sure" { input type="checkbox" name="sure" value="yes" required; span { (reader.t("everybody-out-sure")) } }
                div { button class="button" { (reader.t("everybody-out")) } }
            }
        }
    }
}

/// What a form names: a gate, a zone, or all.
fn named(what: &str) -> Result<(Option<GateId>, Option<ZoneId>), Problem> {
    let wrong = || MALFORMED.problem();
    match what.split_once(' ') {
        None if what.is_empty() => Ok((None, None)),
        Some(("gate", id)) => Ok((Some(id.parse().map_err(|_| wrong())?), None)),
        Some(("zone", id)) => Ok((None, Some(id.parse().map_err(|_| wrong())?))),
        _ => Err(wrong()),
    }
}

fn noted(fields: &[(String, String)]) -> String {
    field(fields, "note").trim().chars().take(500).collect()
}

/// Holds gates.
#[handler]
pub async fn hold(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    let (gate, zone) = named(field(&fields, "what"))?;
    incident::hold(&app, &who.staff, festival.festival_id, gate, zone, noted(&fields)).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#incident")))
}

/// Ends a hold.
#[handler]
pub async fn release(request: &Request, app: Data<&App>, Path((slug, id)): Path<(String, HoldId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, _)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    incident::end_hold(&app, &who.staff, id).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#incident")))
}

/// Puts everybody out, now or at an hour of the festival's own time.
#[handler]
pub async fn clear(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    if field(&fields, "sure") != "yes" {
        return Err(MALFORMED.because("putting everybody out is confirmed by its box").into());
    }
    let (_, zone_id) = named(field(&fields, "what"))?;
    let clears_at = match field(&fields, "clears_at") {
        "" => None,
        wanted => Some(local(wanted, &festival.terms.time_zone).ok_or_else(|| MALFORMED.because("not a date and a time"))?),
    };
    let minutes: Option<i64> = field(&fields, "readmits").parse().ok().filter(|minutes| READMITTED.contains(minutes));
    let readmits_until = minutes.map(|minutes| clears_at.unwrap_or_else(|| app.clock.now()) + TimeDelta::minutes(minutes));
    let wish = NewClearing { zone_id, clears_at, readmits_until, note: noted(&fields) };
    incident::clear(&app, &who.staff, festival.festival_id, &wish).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#incident")))
}

/// Calls a clearing off that lies ahead.
#[handler]
pub async fn call_off(request: &Request, app: Data<&App>, Path((slug, id)): Path<(String, ClearingId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, _)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    incident::call_off(&app, &who.staff, id).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#incident")))
}

/// Shows the code of a clearing: for gates without network, which read it by their cameras.
#[handler]
pub async fn show_code(request: &Request, reader: Reader, app: Data<&App>, Path((slug, id)): Path<(String, ClearingId)>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::ScansRead).map_err(Problem::from)?;
    let festival_id = festival.festival_id;
    let clearings = incident::store::clearings(&app.pools.web, festival_id).await.map_err(Problem::from)?;
    let clearing = clearings.iter().find(|c| c.clearing_id == id && is_told(c, app.clock.now())).ok_or_else(|| NOT_FOUND.problem())?;
    let zones = festivals::zones(&app.pools.web, festival_id).await.map_err(Problem::from)?;
    let ring = keys::ring(&app, festival_id).await.map_err(Problem::from)?;
    let code = code(clearing, festival_id, &ring).ok_or_else(|| Problem::internal("the signing key cannot be opened"))?;
    let zone = zones.iter().find(|zone| Some(zone.zone_id) == clearing.zone_id).map(|zone| text(&zone.name, reader.language));
    let at = |at| reader.language.at(at, &festival.terms.time_zone).long();
    let lead = html! {
        p class="human" { @if let Some(zone) = zone { (zone) } @else { (reader.t("whole-site")) } " · " (at(clearing.clears_at)) }
        @if let Some(until) = clearing.readmits_until { p { (reader.f("back-until", [("time", at(until))])) } }
    };
    let below = html! { p { (reader.t("clearing-code-lead")) } };
    Ok(held_up(&reader, &festival, "clearing-code", &lead, path(&code, Surface::Screen), &below))
}

/// What `<input type="datetime-local">` says, in a time zone.
fn local(text: &str, zone: &str) -> Option<DateTime<Utc>> {
    let moment = text.parse::<jiff::civil::DateTime>().ok()?.in_tz(zone).ok()?;
    DateTime::from_timestamp(moment.timestamp().as_second(), 0)
}
