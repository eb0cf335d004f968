//! Rules in words: what a pass allows, what a gate takes, how many a zone holds. Each rule is data; its sentence is made from the same data that gates
//! decide by.

use super::decide::Again;
use crate::{
    festivals::{Day, Gate, Zone},
    offers::{EntryWindow, Pass},
    words::{Language, Text},
};

/// What sentences are made of.
pub struct Site<'a> {
    /// The days of the festival.
    pub days: &'a [Day],
    /// Its passes.
    pub passes: &'a [Pass],
    /// Its gates.
    pub gates: &'a [Gate],
    /// Its zones.
    pub zones: &'a [Zone],
    /// Its time zone.
    pub time_zone: &'a str,
}

/// What a pass allows, a sentence a rule: when, how often, where, and with whom.
#[must_use]
pub fn pass(language: Language, site: &Site<'_>, pass: &Pass) -> Vec<String> {
    let mut said = times(language, site, pass, Windows::All);
    said.extend(beside_times(language, site, pass));
    said
}

/// Which days of a pass are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Every day.
    All,
    /// Days with windows of the pass's own.
    Own,
}

/// When the holder of a pass may come in.
#[must_use]
pub fn times(language: Language, site: &Site<'_>, pass: &Pass, which: Windows) -> Vec<String> {
    let terms = &pass.terms;
    let mut said = Vec::new();
    for day in site.days.iter().filter(|d| terms.day_mask >> d.day_index & 1 == 1) {
        let windows: Vec<&EntryWindow> = terms.windows.iter().filter(|w| w.day_index == day.day_index).collect();
        if windows.is_empty() && which == Windows::All {
            said.push(range(language, site, day, (day.opens_at, day.closes_at), &[]));
        }
        said.extend(windows.iter().map(|w| range(language, site, day, (w.from_at, w.until_at), &w.gate_ids)));
    }
    said
}

/// How often, where and with whom the holder of a pass may come in.
#[must_use]
pub fn beside_times(language: Language, site: &Site<'_>, pass: &Pass) -> Vec<String> {
    let terms = &pass.terms;
    let mut said = Vec::new();
    said.push(match Again::of(terms.reentry, terms.entries_a_day) {
        Again::Never => language.t("rule-once").into_owned(),
        Again::AfterExit => language.t("rule-after-exit").into_owned(),
        Again::Times(n) => language.f("rule-times", [("n", n.to_string())]).into_owned(),
    });
    let zones = listed(language, site.zones.iter().filter(|z| terms.zone_ids.contains(&z.zone_id)).map(|z| &z.name));
    if !zones.is_empty() {
        said.push(language.f("rule-zones", [("zones", zones)]).into_owned());
    }
    let refusing = site.gates.iter().filter(|g| !g.pass_ids.is_empty() && !g.pass_ids.contains(&pass.pass_id));
    let gates = listed(language, refusing.map(|g| &g.name));
    if !gates.is_empty() {
        said.push(language.f("rule-not-at", [("gates", gates)]).into_owned());
    }
    let company = listed(language, site.passes.iter().filter(|p| terms.companion_pass_ids.contains(&p.pass_id)).map(|p| &p.terms.name));
    if !company.is_empty() {
        said.push(language.f("rule-companion", [("passes", company)]).into_owned());
    }
    if terms.needs_live_code {
        said.push(language.t("rule-live").into_owned());
    }
    if let Some(instruction) = terms.check_instruction {
        said.push(language.t(&format!("rule-check-{}", instruction.name())).into_owned());
    }
    said
}

/// What a gate takes; nothing where it takes every pass.
#[must_use]
pub fn gate(language: Language, site: &Site<'_>, gate: &Gate) -> Vec<String> {
    let passes = listed(language, site.passes.iter().filter(|p| gate.pass_ids.contains(&p.pass_id)).map(|p| &p.terms.name));
    if passes.is_empty() { Vec::new() } else { vec![language.f("rule-takes", [("passes", passes)]).into_owned()] }
}

/// How many a zone holds, and where it lies.
#[must_use]
pub fn zone(language: Language, zone: &Zone) -> Vec<String> {
    let capacity = zone.capacity.map(|n| language.f("rule-capacity", [("n", n.to_string())]).into_owned());
    let inner = zone.is_inner.then(|| language.t("rule-inner").into_owned());
    capacity.into_iter().chain(inner).collect()
}

/// The sentences in both languages.
pub fn both(say: impl Fn(Language) -> Vec<String>) -> Vec<Text> {
    say(Language::En).iter().zip(say(Language::Zh)).map(|(en, zh)| Text::both(en, &zh)).collect()
}

fn range(
    language: Language,
    site: &Site<'_>,
    day: &Day,
    (from, until): (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>),
    gates: &[crate::id::GateId],
) -> String {
    let (from, until) = (language.at(from, site.time_zone), language.at(until, site.time_zone));
    let names = listed(language, site.gates.iter().filter(|g| gates.contains(&g.gate_id)).map(|g| &g.name));
    let values = [("day", day.name.read(language).to_owned()), ("from", from.time()), ("until", until.time()), ("gates", names)];
    language.f(if gates.is_empty() { "rule-window" } else { "rule-window-at" }, values).into_owned()
}

fn listed<'a>(language: Language, names: impl Iterator<Item = &'a Text>) -> String {
    names.map(|name| name.read(language)).collect::<Vec<_>>().join(&language.t("comma"))
}
