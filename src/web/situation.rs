//! The sheet of an incident, to be printed and handed to the authorities: who is in and how that is known, what is held, what was cleared. Every number
//! names its basis.

use chrono::TimeDelta;
use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    control::{Room, by_hand, gap, is_silent, room},
    incident::about,
    layout::{PageResult, Reader, Shell, see_other, text},
    session::visitor,
};
use crate::{
    accounts::Scope,
    app::App,
    entry::{crowd::Inside, head_counts::ByHand},
    money::group,
};

/// The sheet.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::ScansRead).await? else { return Ok(see_other("/sign-in")) };
    let room = room(&app, &who, &festival).await?;
    let shell = Shell {
        reader: &reader,
        title: format!("{}: {}", reader.t("situation-sheet"), festival.terms.name.read(reader.language)),
        festival: Some(&festival),
        private: true,
        refresh: None,
        script_refreshes: false,
    };
    let zone = &festival.terms.time_zone;
    let at = |moment| reader.language.at(moment, zone).long();
    let (silent, waiting) = away(&room);
    let is_lasting = |hold: &&crate::entry::incident::GateHold| hold.ended_at.is_none();
    Ok(shell.page(&html! {
        main id="content" class="panel situation" {
            nav class="index" aria-label=(reader.t("desk")) { a href=(format!("/desk/{slug}/gates")) { (reader.t("control-room")) } a href="" aria-current="page" { (reader.t("situation-sheet")) } }
            header class="head" { h1 { (reader.t("situation-sheet")) } p { (text(&festival.terms.name, reader.language)) ", " (text(&festival.terms.place, reader.language)) } }
            p { (reader.f("sheet-as-of", [("time", at(room.now)), ("zone", zone.clone()), ("name", who.name.clone())])) }
            table class="log" {
                caption class="unseen" { (reader.t("inside-now")) }
                thead { tr { th scope="col" { (reader.t("zone")) } th scope="col" class="n" { (reader.t("inside-now")) } th scope="col" class="n" { (reader.t("sheet-by-scan")) } th scope="col" class="n" { (reader.t("sheet-by-hand")) } th scope="col" class="n" { (reader.t("capacity")) } } }
                tbody {
                    tr { th scope="row" { (reader.t("whole-site")) } td class="n" { b { (group(room.on_site().all())) } } (bases(&room.on_site())) td class="n" { @match festival.terms.licensed_capacity { Some(n) => (group(n.into())), None => "–" } } }
                    @for zone in &room.zones { tr { th scope="row" { (text(&zone.name, reader.language)) @if zone.is_inner { " " small { (reader.t("sheet-inner")) } } } @let inside = room.in_zone(zone); td class="n" { (group(inside.all())) } (bases(&inside)) td class="n" { @match zone.capacity { Some(n) => (group(n.into())), None => "–" } } } }
                }
            }
            h2 { (reader.t("sheet-basis")) }
            ul {
                li { (reader.t("sheet-basis-entries")) }
                li { (reader.t("sheet-basis-exits")) }
                li { (reader.t("sheet-basis-passes")) }
                @if room.on_site().by_hand != ByHand::default() { li { (by_hand(&reader, room.on_site().by_hand)) } }
                @if silent > 0 || waiting > 0 { li { b { (reader.f("sheet-basis-away", [("n", silent.to_string()), ("m", group(waiting))])) } } }
                @else { li { (reader.t("sheet-basis-all")) } }
                @for device in &room.gaps { li { b { (gap(&reader, &room, device)) } } }
            }
            h2 { (reader.t("sheet-gates")) }
            table class="log" {
                thead { tr { th scope="col" { (reader.t("gate")) } th scope="col" class="n" { (reader.t("sheet-last-15")) } th scope="col" class="n" { (reader.t("sheet-last-30")) } th scope="col" class="n" { (reader.t("refusals")) } } }
                tbody { @for gate in &room.gates {
                    @let minutes = || room.at_gates.minutes.iter().filter(|m| m.gate_id == gate.gate_id);
                    @let recent: i64 = minutes().filter(|m| room.now - m.minute < TimeDelta::minutes(15)).map(|m| m.admitted).sum();
                    tr { th scope="row" { (text(&gate.name, reader.language)) } td class="n" { (group(recent)) } td class="n" { (group(minutes().map(|m| m.admitted).sum())) } td class="n" { (group(minutes().map(|m| m.refused).sum())) } }
                } }
            }
            h2 { (reader.t("incident")) }
            @if room.holds.iter().find(is_lasting).is_none() && room.clearings.is_empty() { p { (reader.t("no-incident")) } }
            ul {
                @for hold in room.holds.iter().filter(is_lasting) { li { b { (reader.t("gates-held")) } " " (about(&reader, &room, hold.gate_id, hold.zone_id, "all-gates")) ", " (reader.f("held-since", [("time", at(hold.began_at))])) @if !hold.note.is_empty() { ". " (hold.note) } } }
                @for c in room.clearings.iter().take(10) { li { b { (reader.t(if c.clears_at > room.now { "will-be-out" } else { "was-out" })) } " " (about(&reader, &room, None, c.zone_id, "whole-site")) ", " (at(c.clears_at)) @if let Some(until) = c.readmits_until { ", " (reader.f("readmitted-until", [("time", at(until))])) } @if !c.note.is_empty() { ". " (c.note) } } }
            }
            p { button class="button" type="button" data-print="" { (reader.t("print")) } }
        }
    }))
}

/// How it is known how many are in, in two columns.
fn bases(inside: &Inside) -> Markup {
    html! { td class="n" { (group(inside.by_scans)) } td class="n" { (group(inside.by_hand.inside())) } }
}

/// How many devices are silent, and how many scans waited on devices when they were heard last: what they let in is not counted yet.
fn away(room: &Room) -> (usize, i64) {
    (room.devices.iter().filter(|d| is_silent(room, d)).count(), room.devices.iter().filter_map(|d| d.waiting).map(i64::from).sum())
}
