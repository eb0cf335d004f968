//! The control room: what happens at the gates now. Who is in, who comes, who is refused and why, which devices are silent, and the ledger of
//! discrepancies, decided on by name. Parts of the page follow the server by events (WHATWG server-sent events); without script it asks again.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use maud::{Markup, html};
use poem::{
    IntoResponse, Request, Response, handler,
    web::{
        Data, Path,
        sse::{Event, SSE},
    },
};

use super::{
    layout::{PageResult, Reader, Shell, see_other, text},
    promoter::zone_bar,
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{self, Device, Member, Scope},
    app::App,
    entry::{
        crowd::Inside,
        head_counts::ByHand,
        help_desk::{self, HelpDeskCase, KnownCases},
        incident::{self, Clearing, GateHold},
        ledger::{self, Discrepancy, DiscrepancyDecision, Which},
        overrides::{self, store::Made},
    },
    festivals::{self, Festival, Gate, Zone},
    http::{
        cookies::same_origin,
        problem::{MALFORMED, NOT_FOUND, Problem},
    },
    id::{DiscrepancyId, GateId},
    money::group,
    reports::{self, AtGates},
};

/// How far back arrivals and refusals go.
const WINDOW: TimeDelta = TimeDelta::minutes(30);
/// How often a follower hears something.
const RHYTHM: Duration = Duration::from_secs(2);
/// How often before it asks again: so a server that is told to stop is not held, and a member who left sees no more.
const TIMES: u32 = 10;
/// A device that was not heard of for so long is silent. What it says is written down once a minute.
const SILENT: TimeDelta = TimeDelta::seconds(90);
/// How long the gap of a device that was revoked is shown.
const GAPS: TimeDelta = TimeDelta::hours(24);
/// How many forged codes in five minutes are an alarm.
const FORGED: i64 = 10;
/// How many overrides are shown.
const OVERRIDES: i64 = 12;
/// How many entries of the ledger are shown.
const LEDGER: u32 = 30;

/// All that the control room shows.
pub(super) struct Room {
    pub(super) festival: Festival,
    pub(super) now: DateTime<Utc>,
    pub(super) gates: Vec<Gate>,
    pub(super) zones: Vec<Zone>,
    pub(super) holds: Vec<GateHold>,
    pub(super) clearings: Vec<Clearing>,
    pub(super) at_gates: AtGates,
    pub(super) devices: Vec<Device>,
    /// Devices that were revoked with something left to report, as far as anybody knows.
    pub(super) gaps: Vec<Device>,
    open: Vec<Discrepancy>,
    decided: Vec<Discrepancy>,
    overrides: Vec<Made>,
    pub(super) cases: Vec<HelpDeskCase>,
    pub(super) may_decide: bool,
}

impl Room {
    /// How many are in by the gates into a zone.
    pub(super) fn in_zone(&self, zone: &Zone) -> Inside {
        self.at_gates.crowd.by_gates(Some(zone.zone_id))
    }

    /// How many are on the site.
    pub(super) fn on_site(&self) -> Inside {
        self.at_gates.crowd.on_site(&self.zones)
    }
}

pub(super) async fn room(app: &App, who: &Member, festival: &Festival) -> Result<Room, Problem> {
    let (now, id) = (app.clock.now(), festival.festival_id);
    let days = festivals::days(&app.pools.web, id).await?;
    let day = days.iter().find(|d| d.covers(now)).map(|d| d.day_index);
    // Whoever waits for what another one reads holds no connection meanwhile.
    let read = async || {
        let mut tx = app.for_promoter(who.staff.promoter).await?;
        reports::at_gates(&mut tx, id, now - WINDOW, day, now).await
    };
    let at_gates = app.the::<reports::KnownAtGates>().get_costly(id, read).await?;
    let read = async || {
        let mut tx = app.for_promoter(who.staff.promoter).await?;
        help_desk::cases(&mut tx, id, now).await
    };
    let cases = app.the::<KnownCases>().get_costly(id, read).await?;
    let mut tx = app.for_promoter(who.staff.promoter).await?;
    let open = ledger::store::page(&mut tx, id, Which { open: true, ..Which::default() }, None, LEDGER).await?;
    let latest = ledger::store::page(&mut tx, id, Which::default(), None, LEDGER).await?;
    let overrides = overrides::store::latest(&mut *tx, id, OVERRIDES).await?;
    let (holds, clearings) = (incident::store::holds(&mut *tx, id).await?, incident::store::clearings(&mut *tx, id).await?);
    drop(tx);
    let may_decide = who.staff.may(Scope::GatesWrite).is_ok();
    let (devices, revoked): (Vec<Device>, Vec<Device>) =
        accounts::devices(app, &who.staff, id).await.map_err(Problem::from)?.into_iter().partition(|d| d.revoked_at.is_none());
    Ok(Room {
        festival: festival.clone(),
        now,
        gates: festivals::gates(&app.pools.web, id).await?,
        zones: festivals::zones(&app.pools.web, id).await?,
        at_gates,
        devices,
        gaps: revoked.into_iter().filter(|d| has_gap(d) && d.revoked_at.is_some_and(|at| now - at < GAPS)).collect(),
        open,
        overrides,
        cases,
        holds,
        clearings,
        decided: latest.into_iter().filter(|d| d.decision != DiscrepancyDecision::Open || d.withdrawn_at.is_some()).collect(),
        may_decide,
    })
}

/// The parts that follow the server, each under its name.
fn parts(reader: &Reader, room: &Room) -> [(&'static str, Markup); 9] {
    [
        ("alarm", html! { (super::incident::alarm(reader, room)) (alarm(reader, room)) }),
        ("inside", inside(reader, room)),
        ("arrivals", arrivals(reader, room)),
        ("reasons", reasons(reader, room)),
        ("devices", devices(reader, room)),
        ("ledger", discrepancies(reader, room)),
        ("incident", super::incident::state(reader, room)),
        ("overrides", overridden(reader, room)),
        ("cases", super::help_desk::cases(reader, room)),
    ]
}

/// The control room of a festival.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    let room = room(&app, &who, &festival).await?;
    let [alarm, inside, arrivals, reasons, devices, ledger, incident, overrides, cases] = parts(&reader, &room);
    let shell = Shell {
        reader: &reader,
        title: format!("{}: {}", reader.t("control-room"), festival.terms.name.read(reader.language)),
        festival: Some(&festival),
        private: true,
        refresh: Some(15),
        script_refreshes: true,
    };
    let part = |(name, content): &(&'static str, Markup)| html! { div data-part=(name) { (content) } };
    let base = format!("/desk/{slug}");
    Ok(shell.page(&html! {
        main id="content" data-live=(format!("{base}/gates/live")) {
            div class="panel cover flood" {
                nav class="index" aria-label=(reader.t("desk")) { a href=(base) { (reader.t("desk")) } a href=(format!("{base}/gates")) aria-current="page" { (reader.t("control-room")) } @if room.may_decide { a href=(format!("{base}/devices")) { (reader.t("devices")) } } a href="/gate" { (reader.t("gate")) } }
                h1 { (reader.t("control-room")) }
                div aria-live="assertive" { (part(&alarm)) }
                p class="notice bad" data-state="" hidden { (reader.t("not-live")) }
                (part(&inside))
            }
            div class="gatefold" {
                div class="panel" {
                    section aria-labelledby="arriving" { header class="head" { h2 id="arriving" { (reader.t("arriving")) } p { (reader.t("last-half-hour")) } } (part(&arrivals)) }
                    section aria-labelledby="refusals" { header class="head" { h2 id="refusals" { (reader.t("refusals")) } p { (reader.t("last-half-hour")) } } (part(&reasons)) }
                    section aria-labelledby="devices" { header class="head" { h2 id="devices" { (reader.t("devices")) } p { (reader.t("devices-lead")) } } (part(&devices)) }
                }
                div class="panel" {
                    section id="incident" aria-labelledby="incident-title" {
                        header class="head" { h2 id="incident-title" { (reader.t("incident")) } p { (reader.t("incident-lead")) } }
                        (part(&incident))
                        (super::incident::forms(&reader, &room))
                        p { a href=(format!("{base}/gates/situation")) { (reader.t("situation-sheet")) } }
                    }
                    section id="help-desk" aria-labelledby="help-desk-title" { header class="head" { h2 id="help-desk-title" { (reader.t("help-desk")) } p { (reader.t("help-desk-lead")) } } (part(&cases)) }
                    section aria-labelledby="overrides-title" { header class="head" { h2 id="overrides-title" { (reader.t("overrides")) } p { (reader.t("overrides-lead")) } } (part(&overrides)) }
                    section id="ledger" aria-labelledby="ledger-title" {
                        header class="head" { h2 id="ledger-title" { (reader.t("ledger")) } p { (reader.t("ledger-lead")) } }
                        (part(&ledger))
                        p { a href=(format!("{base}/gates/discrepancies.csv")) download { (reader.t("ledger-export")) } }
                    }
                }
            }
        }
    }))
}

/// Follows the control room: an event a change, each with the parts by name.
#[handler]
pub async fn live(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let (who, festival) = visitor(request, &app, &slug, Scope::ScansRead).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let app = app.clone();
    let steps = stream::unfold(0, move |n| {
        let (app, who, festival, reader) = (app.clone(), who.clone(), festival.clone(), reader.clone());
        async move {
            if n >= TIMES {
                return None;
            }
            if n > 0 {
                tokio::time::sleep(RHYTHM).await;
            }
            let event = match room(&app, &who, &festival).await {
                Ok(room) => {
                    let parts: serde_json::Map<_, _> =
                        parts(&reader, &room).into_iter().map(|(name, part)| (name.to_owned(), part.into_string().into())).collect();
                    Event::message(serde_json::Value::from(parts).to_string())
                }
                // The follower keeps what it has and hears of the next state.
                Err(_) => Event::retry(2_000),
            };
            Some((event, n + 1))
        }
    });
    Ok(SSE::new(steps).with_header("cache-control", "no-store").into_response())
}

/// Decides an entry of the ledger.
#[handler]
pub async fn decide(request: &Request, body: poem::Body, app: Data<&App>, Path((slug, id)): Path<(String, DiscrepancyId)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::GatesWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    let decision = DiscrepancyDecision::ALL.into_iter().find(|d| d.name() == field(&fields, "decision")).ok_or_else(|| MALFORMED.problem())?;
    let note: String = field(&fields, "note").trim().chars().take(500).collect();
    if id.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    ledger::decide(&app, &who.staff, id, decision, &note).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/gates#ledger")))
}

/// The whole ledger as a table.
#[handler]
pub async fn export(request: &Request, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let table = ledger::export(&mut tx, festival.festival_id).await.map_err(Problem::from)?;
    Ok(Response::builder()
        .content_type("text/csv; charset=utf-8")
        .header("cache-control", "no-store")
        .header("content-disposition", format!("attachment; filename=\"discrepancies-{slug}.csv\""))
        .body(table))
}

pub(super) fn gate_name(reader: &Reader, room: &Room, gate: GateId) -> Markup {
    match room.gates.iter().find(|g| g.gate_id == gate) {
        Some(gate) => text(&gate.name, reader.language),
        None => html! { "–" },
    }
}

/// Many forged codes in a short time: somebody tries.
fn alarm(reader: &Reader, room: &Room) -> Markup {
    let recent = room.at_gates.minutes.iter().filter(|m| room.now - m.minute < TimeDelta::minutes(5));
    let mut by_gate: HashMap<GateId, i64> = HashMap::new();
    recent.for_each(|m| *by_gate.entry(m.gate_id).or_default() += m.forged);
    let mut alarming: Vec<_> = by_gate.into_iter().filter(|(_, n)| *n >= FORGED).collect();
    alarming.sort_by_key(|(gate, n)| (-n, *gate));
    html! {
        @for (gate, n) in alarming { p class="notice bad" role="alert" { strong { (reader.t("forged-alarm")) } " " (gate_name(reader, room, gate)) ": " (reader.f("forged-count", [("n", n.to_string())])) } }
    }
}

/// Who is in, all over the site and by zone.
fn inside(reader: &Reader, room: &Room) -> Markup {
    let total = room.on_site();
    let minute = |m: &&reports::GateMinute| room.now - m.minute < TimeDelta::minutes(2);
    let arriving: i64 = room.at_gates.minutes.iter().filter(minute).map(|m| m.admitted).sum::<i64>() / 2;
    let silent = room.devices.iter().filter(|d| is_silent(room, d)).count();
    html! {
        dl class="figures" {
            div { dt { (reader.t("inside-now")) } dd { (group(total.all())) small { (reader.t("inside-basis")) } } }
            div { dt { (reader.t("arrivals-a-minute")) } dd { (arriving) } }
            div { dt { (reader.t("devices-silent")) } dd { (silent) small { (reader.f("of-n", [("n", room.devices.len().to_string())])) } } }
            div { dt { (reader.t("ledger-open")) } dd { (room.open.len()) @if room.open.len() == LEDGER as usize { "+" } } }
        }
        @if total.by_hand != ByHand::default() { p class="basis" { (by_hand(reader, total.by_hand)) } }
        @for zone in &room.zones { (zone_bar(reader, zone, room.in_zone(zone).all())) }
    }
}

/// What was counted by hand, in words.
pub(super) fn by_hand(reader: &Reader, hand: ByHand) -> String {
    let said = [("n", group(hand.entries)), ("m", group(hand.exits)), ("k", group(hand.medical_exits))];
    reader.f("counted-by-hand", said).into_owned()
}

/// People a minute, a row a gate, on one scale.
fn arrivals(reader: &Reader, room: &Room) -> Markup {
    let most = room.at_gates.minutes.iter().map(|m| m.admitted + m.refused).max().unwrap_or(0);
    if most == 0 {
        return html! { p class="faded" { (reader.t("no-arrivals")) } };
    }
    let begin = room.now - WINDOW;
    html! {
        @for gate in &room.gates {
            @let minutes: Vec<_> = room.at_gates.minutes.iter().filter(|m| m.gate_id == gate.gate_id).collect();
            @let (admitted, refused): (i64, i64) = (minutes.iter().map(|m| m.admitted).sum(), minutes.iter().map(|m| m.refused).sum());
            div class="zone" {
                p { b { (text(&gate.name, reader.language)) } span { (group(admitted)) " " span class="nay" { (group(refused)) } } }
                svg class="chart" viewBox="0 0 640 72" role="img" aria-label=(reader.f("chart-gate", [("gate", gate.name.read(reader.language).to_owned()), ("count", group(admitted)), ("refused", group(refused))])) {
                    @for m in minutes {
                        @let x = (m.minute - begin).num_minutes().clamp(0, 31) * 20;
                        @let (high, low) = (m.admitted * 56 / most, m.refused * 56 / most);
                        rect x=(x) y=(64 - high) width="16" height=(high) {}
                        @if m.refused > 0 { rect class="wrong" x=(x) y=(64 - high - low.max(2)) width="16" height=(low.max(2)) {} }
                    }
                    path class="axis" d="M0 64.5h640" {}
                }
            }
        }
    }
}

/// Refusals by reason, the most frequent first, as bars on one scale.
fn reasons(reader: &Reader, room: &Room) -> Markup {
    let Some(most) = room.at_gates.reasons.iter().map(|r| r.times).max() else { return html! { p class="faded" { (reader.t("no-refusals")) } } };
    html! {
        table class="log" {
            thead { tr { th scope="col" { (reader.t("reason")) } th scope="col" class="n" { (reader.t("times")) } th scope="col" { span class="unseen" { (reader.t("drawn")) } } } }
            tbody { @for r in &room.at_gates.reasons {
                tr {
                    th scope="row" class="whole" { (reader.t(&format!("reason-{}", r.reason.name()))) }
                    td class="n" { (group(r.times)) }
                    td { svg class="chart" viewBox="0 0 320 14" aria-hidden="true" { rect class="wrong" width=((r.times * 320 / most).max(2)) height="14" {} } }
                }
            } }
        }
    }
}

pub(super) fn is_silent(room: &Room, device: &Device) -> bool {
    device.seen_at.is_none_or(|at| room.now - at > SILENT)
}

/// Whether a device was revoked after it fell silent, or while scans waited on it: nobody knows what it let in then. A stolen one, most often.
fn has_gap(device: &Device) -> bool {
    let (Some(revoked), Some(seen)) = (device.revoked_at, device.seen_at) else { return false };
    revoked - seen > SILENT || device.waiting.is_some_and(|n| n > 0)
}

/// The gap of a revoked device in words.
pub(super) fn gap(reader: &Reader, room: &Room, device: &Device) -> String {
    let at = |at: Option<DateTime<Utc>>| at.map(|at| reader.language.at(at, &room.festival.terms.time_zone).long()).unwrap_or_default();
    let waiting = group(device.waiting.unwrap_or(0).into());
    reader.f("device-gap", [("name", device.name.clone()), ("from", at(device.seen_at)), ("until", at(device.revoked_at)), ("n", waiting)]).into_owned()
}

/// Devices: silent ones first, then those with the most that waits.
fn devices(reader: &Reader, room: &Room) -> Markup {
    if room.devices.is_empty() && room.gaps.is_empty() {
        return html! { p class="faded" { (reader.t("no-devices")) } };
    }
    let mut sorted: Vec<&Device> = room.devices.iter().collect();
    sorted.sort_by_key(|d| (!is_silent(room, d), -d.waiting.unwrap_or(0), d.battery.unwrap_or(100), d.name.clone()));
    let zone = &room.festival.terms.time_zone;
    html! {
        @for device in &room.gaps { p class="notice bad" { (gap(reader, room, device)) } }
        div class="scroll" role="region" tabindex="0" aria-labelledby="devices" { table class="log" {
            thead { tr { th scope="col" { (reader.t("device")) } th scope="col" { (reader.t("gate")) } th scope="col" { (reader.t("state")) } th scope="col" class="n" { (reader.t("scans-waiting")) } th scope="col" class="n" { (reader.t("battery")) } } }
            tbody { @for d in sorted {
                tr {
                    th scope="row" { (d.name) }
                    td { (gate_name(reader, room, d.gate_id)) }
                    td { @match d.seen_at {
                        Some(at) if is_silent(room, d) => { span class="nay" { (reader.f("silent-since", [("time", reader.language.at(at, zone).time())])) } }
                        Some(_) => { span class="yes" { (reader.t("online")) } }
                        None => { span class="ask" { (reader.t("never-heard")) } }
                    } }
                    td class="n" { @match d.waiting { Some(n) => (group(n.into())), None => "–" } }
                    td class="n" { @match d.battery { Some(n) => { span class=[(n < 20).then_some("nay")] { (n) " %" } @if d.is_charging == Some(true) { " ⚡" } } None => "–" } }
                }
            } }
        } }
    }
}

/// Whom supervisors let in, the latest first.
fn overridden(reader: &Reader, room: &Room) -> Markup {
    if room.overrides.is_empty() {
        return html! { p class="faded" { (reader.t("no-overrides")) } };
    }
    let zone = &room.festival.terms.time_zone;
    html! {
        ol class="ledger" { @for o in &room.overrides {
            li { p {
                b { @if let Some(name) = &o.name { (name) } @else { "–" } } " · " (reader.t(&format!("because-{}", o.because.name()))) @if !o.note.is_empty() { ": " (o.note) }
                br; (reader.language.at(o.made_at, zone).second()) " · " (gate_name(reader, room, o.gate_id)) @for reason in &o.reasons { " · " (reader.t(&format!("reason-{}", reason.name()))) }
            } }
        } }
    }
}

/// The ledger: what is open, with what may be decided; then what was decided or explained.
fn discrepancies(reader: &Reader, room: &Room) -> Markup {
    html! {
        @if room.open.is_empty() { p class="faded" { (reader.t("ledger-empty")) } }
        ol class="ledger" { @for d in &room.open { li { (discrepancy(reader, room, d)) } } }
        @if !room.decided.is_empty() {
            details { summary { (reader.f("ledger-decided", [("n", room.decided.len().to_string())])) }
                ol class="ledger" { @for d in &room.decided { li { (discrepancy(reader, room, d)) } } }
            }
        }
    }
}

fn discrepancy(reader: &Reader, room: &Room, d: &Discrepancy) -> Markup {
    let zone = &room.festival.terms.time_zone;
    let at = |at: DateTime<Utc>| reader.language.at(at, zone).second();
    let device = |id| room.devices.iter().find(|device| device.device_id == id).map(|device| device.name.as_str());
    let action = format!("/desk/{}/gates/discrepancies/{}", room.festival.terms.slug, d.discrepancy_id);
    html! {
        div class="stack" {
            h3 { (reader.t(&format!("discrepancy-{}", d.kind.name()))) }
            p {
                (at(d.happened_at)) " · " (gate_name(reader, room, d.gate_id)) @if let Some(name) = device(d.device_id) { " · " (name) }
                @if let Some(reason) = d.reason { br; (reader.t(&format!("reason-{}", reason.name()))) }
                @if let (Some(first), Some(gate)) = (d.first_at, d.first_gate_id) {
                    br; (reader.f("first-entry", [("time", at(first))])) " · " (gate_name(reader, room, gate)) @if let Some(name) = d.first_device_id.and_then(device) { " · " (name) }
                }
            }
            @if let Some(explained) = d.withdrawn_at { p class="faded" { (reader.f("ledger-withdrawn", [("time", at(explained))])) } }
            @if let (Some(by), Some(when)) = (&d.decided_by_name, d.decided_at) {
                p { strong { (reader.t(&format!("decision-{}", d.decision.name()))) } " · " (by) " · " (at(when)) @if let Some(note) = d.note.as_ref().filter(|n| !n.is_empty()) { br; (note) } }
            }
            @if room.may_decide && d.withdrawn_at.is_none() {
                form class="stack" method="post" action=(action) {
                    @if d.decision == DiscrepancyDecision::Open {
                        div class="field" { label for=(format!("note-{}", d.discrepancy_id)) { (reader.t("note")) } input id=(format!("note-{}", d.discrepancy_id)) name="note" maxlength="500" autocomplete="off"; }
                        div class="actions" { @for decision in DiscrepancyDecision::ALL.into_iter().filter(|d| *d != DiscrepancyDecision::Open) {
                            button class="button plain" name="decision" value=(decision.name()) { (reader.t(&format!("decision-{}", decision.name()))) }
                        } }
                    } @else { div { button class="button plain" name="decision" value="open" { (reader.t("decision-open")) } } }
                }
            }
        }
    }
}
