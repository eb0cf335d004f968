//! The line-up by day: a table of stages by time on a wide page, hours on a phone. The 5-minute columns need no inline style.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::festival::{index, published};
use crate::{
    app::App,
    festivals::{self, Day, Stage},
    http::problem::Problem,
    lineup::{self, Billed},
    web::{
        kept::shared,
        layout::{PageResult, Reader, Shell, name, text},
    },
};

/// Which day is looked at.
#[derive(Deserialize)]
pub struct Chosen {
    day: Option<i16>,
}

/// The line-up of a day.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>, Query(chosen): Query<Chosen>) -> PageResult {
    let by = format!("/f/{slug}/line-up {:?}", chosen.day);
    shared(request, &app, &reader, &by, || line_up(&reader, &app, &slug, chosen.day)).await
}

async fn line_up(reader: &Reader, app: &App, slug: &str, chosen: Option<i16>) -> PageResult {
    let festival = published(app, slug).await?;
    let (pool, id) = (&app.pools.web, festival.festival_id);
    let days = festivals::days(pool, id).await.map_err(Problem::from)?;
    let stages = festivals::stages(pool, id).await.map_err(Problem::from)?;
    let bill = lineup::billed(pool, id).await.map_err(Problem::from)?;
    let now = app.clock.now();
    let day = chosen.and_then(|i| days.iter().find(|d| d.day_index == i)).or_else(|| days.iter().find(|d| d.covers(now))).or(days.first());
    let zone = &festival.terms.time_zone;
    let shell = Shell {
        reader,
        title: format!("{}: {}", reader.t("line-up"), festival.terms.name.read(reader.language)),
        festival: Some(&festival),
        private: false,
        refresh: None,
        script_refreshes: false,
    };
    Ok(shell.page(&html! {
        main class="panel" id="content" {
            (index(reader, &festival, "line-up"))
            @match day {
                None => div class="sheet" { section { h2 { (reader.t("no-lineup")) } p { (reader.t("no-lineup-lead")) } } }
                Some(day) => {
                    @let opens = reader.language.at(day.opens_at, zone);
                    header class="masthead" {
                        h1 { (reader.f("side", [("letter", day.side().to_string())])) br; (opens.weekday()) " " span class="whole" { (opens.date()) } }
                        nav class="sides" aria-label=(reader.t("days")) {
                            @for d in &days {
                                a href=(format!("?day={}", d.day_index)) aria-current=[(d.day_index == day.day_index).then_some("page")] {
                                    span class="label" aria-hidden="true" { (d.side()) } (text(&d.name, reader.language))
                                }
                            }
                        }
                    }
                    @let mut sets = bill.iter().filter(|b| b.day_index == Some(day.day_index) && b.starts_at.is_some()).collect::<Vec<_>>();
                    @let () = sets.sort_by_key(|b| b.starts_at);
                    @if sets.is_empty() { p { (reader.t("no-lineup-lead")) } }
                    @else { (grid(reader, day, &stages, &sets, zone)) (hours(reader, &stages, &sets, zone)) }
                }
            }
        }
    }))
}

fn act(reader: &Reader, billed: &Billed) -> Markup {
    html! { @match &billed.name { Some(act) => (name(act)), None => (reader.t("tba")) } }
}

fn minutes(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    ((to - from).num_minutes() / 5).max(0)
}

fn grid(reader: &Reader, day: &Day, stages: &[Stage], sets: &[&Billed], zone: &str) -> Markup {
    let first = sets.iter().filter_map(|s| s.starts_at).min().unwrap_or(day.opens_at);
    let last = sets.iter().filter_map(|s| s.ends_at).max().unwrap_or(day.closes_at);
    // From the full hour of the first set to the full hour after the last.
    let begin = first - TimeDelta::minutes((first.timestamp() / 60).rem_euclid(60));
    let hours = (minutes(begin, last) + 11) / 12;
    html! {
        div class="scroll only-wide" tabindex="0" role="region" aria-label=(reader.t("line-up-grid")) {
            table class="timetable" {
                colgroup { col class="stage"; col span=(hours * 12); }
                thead { tr { td class="stage" {} @for h in 0..hours { th scope="col" colspan="12" { (reader.language.at(begin + TimeDelta::hours(h), zone).time()) } } } }
                tbody {
                    @for stage in stages {
                        @let row = sets.iter().filter(|s| s.stage_id == Some(stage.stage_id)).collect::<Vec<_>>();
                        @if !row.is_empty() {
                            tr {
                                th class="stage" scope="row" { (text(&stage.name, reader.language)) }
                                @let mut at = 0_i64;
                                @for set in row {
                                    @let (starts, ends) = (set.starts_at.unwrap_or(begin), set.ends_at.unwrap_or(begin));
                                    @let from = minutes(begin, starts).max(at);
                                    @let length = (minutes(begin, ends) - from).max(1);
                                    @if from > at { td colspan=(from - at) {} }
                                    td class="set" colspan=(length) { b { (act(reader, set)) } (reader.language.at(starts, zone).time()) "–" (reader.language.at(ends, zone).time()) }
                                    @let () = at = from + length;
                                }
                                @if at < hours * 12 { td colspan=(hours * 12 - at) {} }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn hours(reader: &Reader, stages: &[Stage], sets: &[&Billed], zone: &str) -> Markup {
    html! {
        ol class="hours only-phone" {
            @for set in sets {
                @let stage = stages.iter().find(|s| Some(s.stage_id) == set.stage_id);
                li {
                    @if let Some(starts) = set.starts_at { time datetime=(starts.to_rfc3339()) { (reader.language.at(starts, zone).time()) } }
                    span {
                        b { (act(reader, set)) }
                        small {
                            @if let Some(latin) = &set.latin_name { (latin) (reader.t("clause")) }
                            @if let Some(stage) = stage { (text(&stage.name, reader.language)) }
                            @if let Some(ends) = set.ends_at { (reader.t("clause")) (reader.f("until", [("date", reader.language.at(ends, zone).time())])) }
                        }
                    }
                }
            }
        }
    }
}
