//! The verdict: pure, so that it is tested as a table and is decided alike on a device (`src/web/assets/gate-decide.js`, `tests/vectors/decisions.json`).

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    Checked, Reason, ScanKind, Verdict,
    incident::{Clearing, GateHold},
    overrides::Because,
};
use crate::{
    festivals::Day,
    id::{DeviceId, GateId, ScanId, ZoneId},
    offers::{EntryWindow, Instruction, Reentry},
    tickets::{TicketKind, TicketStatus},
};

/// What is known of a ticket under its lock.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) kind: TicketKind,
    pub(super) status: TicketStatus,
    pub(super) generation: i16,
    pub(super) day_mask: i32,
    /// Whether staff shall read a note of it.
    pub(super) has_note: bool,
    pub(super) entries: Vec<Entered>,
}

/// An entry that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) day_index: i16,
    pub(super) entry_no: i16,
    pub(super) scan_id: ScanId,
    pub(super) device_id: Option<DeviceId>,
    pub(super) gate_id: GateId,
    /// The zone that the gate leads to.
    pub(super) zone_id: Option<ZoneId>,
    pub(super) entered_at: DateTime<Utc>,
    pub(super) left_at: Option<DateTime<Utc>>,
    pub(super) undone_at: Option<DateTime<Utc>>,
    /// Why a supervisor let them in, where the rules refused.
    pub(super) because: Option<Because>,
    /// Whether the supervisor knew that somebody had come in on it before.
    pub(super) is_again: bool,
}

impl Entered {
    /// Whether somebody is in by it.
    pub(super) fn is_open(&self) -> bool {
        self.left_at.is_none() && self.undone_at.is_none()
    }
}

/// Whether somebody may come in again on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    AfterExit,
    /// So often on a day; an exit need not be scanned.
    Times(i16),
}

impl Again {
    /// As a pass says it.
    pub(super) fn of(reentry: Reentry, entries_a_day: Option<i16>) -> Self {
        match reentry {
            Reentry::Never => Self::Never,
            Reentry::AfterExit => Self::AfterExit,
            Reentry::TimesADay => Self::Times(entries_a_day.unwrap_or(1)),
        }
    }
}

/// The rules of the pass at the gate.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) zone_ids: Vec<ZoneId>,
    /// Whether the gate takes the pass.
    pub(super) is_taken: bool,
    pub(super) windows: Vec<EntryWindow>,
    pub(super) again: Again,
    pub(super) instruction: Option<Instruction>,
    /// Whether a picture of its code opens nothing.
    pub(super) needs_live_code: bool,
}

/// What holds for everybody.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ground<'a> {
    pub(super) days: &'a [Day],
    pub(super) holds: &'a [GateHold],
    pub(super) clearings: &'a [Clearing],
    /// Zones whose gates stand inside the site.
    pub(super) inner: &'a [ZoneId],
}

impl Ground<'_> {
    /// Where somebody is who came in by a gate to this zone: in an inner zone, or on the site, whichever of its gates it was.
    pub(super) fn place(&self, zone: Option<ZoneId>) -> Option<ZoneId> {
        zone.filter(|zone| self.inner.contains(zone))
    }

    /// Ends the entries of whoever was in when their place was cleared; the entries that it ended.
    pub(super) fn clear(&self, entries: &mut [Entered], at: DateTime<Utc>) -> Vec<usize> {
        let mut ended = Vec::new();
        for (i, entry) in entries.iter_mut().enumerate().filter(|(_, entry)| entry.is_open()) {
            let out = |c: &&Clearing| c.is_of(entry.zone_id) && entry.entered_at < c.clears_at && c.clears_at <= at;
            if let Some(first) = self.clearings.iter().filter(out).map(|c| c.clears_at).min() {
                entry.left_at = Some(first);
                ended.push(i);
            }
        }
        ended
    }

    /// Since when entries into a zone count, where it was cleared and whoever was in may come back.
    pub(super) fn readmitted(&self, zone: Option<ZoneId>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let open = |c: &&Clearing| c.is_of(zone) && c.clears_at <= at && c.readmits_until.is_some_and(|until| at < until);
        self.clearings.iter().filter(open).map(|c| c.clears_at).max()
    }
}

/// How a code is presented.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    pub(super) kind: ScanKind,
    pub(super) generation: i16,
    /// Whether it is a wristband, which the ticket became.
    pub(super) is_band: bool,
    /// Whether the phone that the ticket is bound to made the code just now.
    pub(super) is_live: bool,
    pub(super) gate_id: GateId,
    pub(super) zone_id: Option<ZoneId>,
    pub(super) device_id: DeviceId,
    pub(super) checked: Option<Checked>,
    pub(super) at: DateTime<Utc>,
    /// Places that are left in the zone; without one nobody counts them.
    pub(super) places: Option<i32>,
    /// Whether the company that the pass asks for is in; without one it asks for none.
    pub(super) company: Option<bool>,
    /// What a supervisor, who may, overrides.
    pub(super) lifts: Option<Lifts>,
}

/// What a supervisor overrides: the reasons that the device showed, one after the other, and nothing that nobody has seen.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Lifts {
    pub(super) reasons: Vec<Reason>,
    pub(super) because: Because,
}

/// Whether it was known that somebody had come in on the ticket before.
pub(super) fn is_again(overridden: &[Reason]) -> bool {
    overridden.iter().any(|reason| matches!(reason, Reason::AlreadyInside | Reason::NoReentry))
}

/// A decision, with what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reason: Option<Reason>,
    pub(super) instruction: Option<Instruction>,
    pub(super) day_index: Option<i16>,
    pub(super) effects: Vec<Effect>,
    /// The scan that had admitted before.
    pub(super) first: Option<ScanId>,
    /// The rules that a supervisor overrode, in the order in which they refused.
    pub(super) overridden: Vec<Reason>,
}

/// What a decision changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// An entry with this number on this day.
    Enter(i16, i16),
    /// The entry of this number on this day ends.
    Leave(i16, i16),
    /// The entry of this number on this day did not happen.
    Undo(i16, i16),
}

/// How long an entry can be taken back by the device that let in.
const UNDO: chrono::TimeDelta = chrono::TimeDelta::minutes(15);

impl Decision {
    /// A refusal of what is not even a ticket of a day.
    pub(super) fn refused(reason: Reason) -> Self {
        refused(reason, None)
    }
}

fn refused(reason: Reason, day_index: Option<i16>) -> Decision {
    Decision { verdict: Verdict::Refused, reason: Some(reason), instruction: None, day_index, effects: Vec::new(), first: None, overridden: Vec::new() }
}

fn admitted(day_index: Option<i16>, effects: Vec<Effect>) -> Decision {
    Decision { verdict: Verdict::Admitted, reason: None, instruction: None, day_index, effects, first: None, overridden: Vec::new() }
}

/// Decides a presentation of a well signed code of a ticket on the list. Entries that a clearing ended are ended in `known` already. Where a rule refuses that
/// a supervisor has seen and overrides, the next rule decides: so none is overridden that nobody saw.
pub(super) fn decide(known: &Known, rules: Option<&Rules>, ground: &Ground<'_>, presented: &Presented) -> Decision {
    let (mut overridden, mut first) = (Vec::new(), None);
    loop {
        let decision = judge(known, rules, ground, presented, &overridden);
        let is_lifted = |reason: &Reason| {
            presented.kind == ScanKind::Entry && presented.lifts.as_ref().is_some_and(|l| l.reasons.contains(reason)) && !overridden.contains(reason)
        };
        match decision.reason.filter(|reason| reason.is_overridable() && is_lifted(reason)) {
            Some(reason) => {
                first = first.or(decision.first);
                overridden.push(reason);
            }
            None => return Decision { first: decision.first.or(first), overridden, ..decision },
        }
    }
}

/// Decides by the rules without those that were overridden.
fn judge(known: &Known, rules: Option<&Rules>, ground: &Ground<'_>, presented: &Presented, lifted: &[Reason]) -> Decision {
    // Whoever wants to leave may leave, and a mistake may be taken back, whatever became of the ticket or the day.
    match presented.kind {
        ScanKind::Exit => {
            let left: Vec<&Entered> = left_by(&known.entries, ground, presented.zone_id).into_iter().map(|i| &known.entries[i]).collect();
            let day_index = left.last().map(|e| e.day_index);
            let ends = left.iter().filter(|_| known.kind == TicketKind::Pass).map(|e| Effect::Leave(e.day_index, e.entry_no));
            return admitted(day_index, ends.collect());
        }
        ScanKind::Undo => {
            return match own_open(&known.entries, Some(presented.device_id), presented.at).map(|own| &known.entries[own]) {
                Some(entry) => admitted(Some(entry.day_index), vec![Effect::Undo(entry.day_index, entry.entry_no)]),
                None => refused(Reason::Unknown, known.entries.iter().rfind(|e| e.is_open()).map(|e| e.day_index)),
            };
        }
        ScanKind::Entry | ScanKind::Look => {}
    }
    if presented.generation != known.generation {
        return refused(Reason::Revoked, None);
    }
    match known.status {
        // A band that outlived its exchange.
        TicketStatus::Valid if presented.is_band => return refused(Reason::Revoked, None),
        TicketStatus::Valid => {}
        TicketStatus::Exchanged if presented.is_band => {}
        TicketStatus::Suspended => return refused(Reason::Suspended, None),
        TicketStatus::Exchanged => return refused(Reason::Exchanged, None),
        TicketStatus::Void => return refused(Reason::Revoked, None),
    }
    match known.kind {
        TicketKind::AddOn => collect(known, presented),
        TicketKind::Pass => enter(known, rules, ground, presented, lifted),
    }
}

/// An add-on is collected once; day 0 stands for "whenever".
fn collect(known: &Known, presented: &Presented) -> Decision {
    match collected(&known.entries) {
        _ if presented.kind == ScanKind::Look => admitted(None, Vec::new()),
        Some(first) => Decision { first: Some(first), ..refused(Reason::Exchanged, None) },
        None => admitted(None, vec![Effect::Enter(0, next_no(&known.entries, 0))]),
    }
}

fn enter(known: &Known, rules: Option<&Rules>, ground: &Ground<'_>, presented: &Presented, lifted: &[Reason]) -> Decision {
    let Presented { at, gate_id, zone_id, .. } = *presented;
    let holds = |reason: Reason| !lifted.contains(&reason);
    let day = day_of(known.day_mask, rules, ground.days, at).map(|d| d.day_index);
    if ground.holds.iter().any(|hold| hold.covers(gate_id, zone_id, at)) {
        return refused(Reason::GateOnHold, day);
    }
    let outside_of_days = if ground.days.iter().any(|d| at < d.opens_at) { Reason::TooEarly } else { Reason::TooLate };
    let Some(index) = day.or_else(|| day_outside(known.day_mask, ground.days, at).filter(|_| !holds(outside_of_days))) else {
        return refused(outside_of_days, None);
    };
    if holds(Reason::WrongDay) && known.day_mask >> index & 1 == 0 {
        return refused(Reason::WrongDay, Some(index));
    }
    let Some(rules) = rules else { return refused(Reason::Unknown, Some(index)) };
    if holds(Reason::WrongGate) && !rules.is_taken {
        return refused(Reason::WrongGate, Some(index));
    }
    if holds(Reason::WrongZone) && zone_id.is_some_and(|zone| !rules.zone_ids.is_empty() && !rules.zone_ids.contains(&zone)) {
        return refused(Reason::WrongZone, Some(index));
    }
    if let Some(reason) = outside(&rules.windows, index, gate_id, at).filter(|reason| holds(*reason)) {
        return refused(reason, Some(index));
    }
    if holds(Reason::LiveCodeRequired) && rules.needs_live_code && !presented.is_live && !presented.is_band {
        return refused(Reason::LiveCodeRequired, Some(index));
    }
    let place = ground.place(zone_id);
    // Inside the site people go where they like.
    let again = if place.is_some() { Again::AfterExit } else { rules.again };
    if let Some((reason, first)) = barred(&known.entries, again, index, ground, zone_id, at).filter(|(reason, _)| holds(*reason)) {
        return Decision { first: Some(first), ..refused(reason, Some(index)) };
    }
    if holds(Reason::NeedsCompanion) && presented.company == Some(false) {
        return refused(Reason::NeedsCompanion, Some(index));
    }
    let because = presented.lifts.as_ref().map(|l| l.because);
    let replaced = replaced(&known.entries, again, because, index, ground, zone_id).map(|i| &known.entries[i]);
    // Whose exit nobody scanned is counted there still.
    let own = i32::from(replaced.is_some_and(|e| e.zone_id == zone_id));
    if presented.places.is_some_and(|left| left + own <= 0) {
        return refused(Reason::ZoneFull, Some(index));
    }
    let instruction = rules.instruction.or(known.has_note.then_some(Instruction::Note));
    if let (Some(instruction), true) = (instruction, presented.checked != Some(Checked::Yes)) {
        return Decision { verdict: Verdict::Check, instruction: Some(instruction), ..admitted(Some(index), Vec::new()) };
    }
    if presented.kind == ScanKind::Look {
        return admitted(Some(index), Vec::new());
    }
    let left = replaced.map(|e| Effect::Leave(e.day_index, e.entry_no));
    admitted(Some(index), left.into_iter().chain([Effect::Enter(index, next_no(&known.entries, index))]).collect())
}

/// The day that an entry is counted for, where a supervisor may let it in outside of all days.
pub(super) fn entry_day(day_mask: i32, rules: Option<&Rules>, days: &[Day], at: DateTime<Utc>, lifts: Option<&Lifts>) -> Option<i16> {
    let is_outside = lifts.is_some_and(|l| l.reasons.iter().any(|reason| matches!(reason, Reason::TooEarly | Reason::TooLate)));
    day_of(day_mask, rules, days, at).map(|d| d.day_index).or_else(|| day_outside(day_mask, days, at).filter(|_| is_outside))
}

/// The day that an entry outside of all days is for: the next one of the ticket, so that it is not fresh when that opens; else the last that had begun, or
/// the first.
fn day_outside(day_mask: i32, days: &[Day], at: DateTime<Utc>) -> Option<i16> {
    let next = days.iter().filter(|d| at < d.opens_at && day_mask >> d.day_index & 1 == 1).min_by_key(|d| d.opens_at);
    let begun = || days.iter().filter(|d| d.opens_at <= at).max_by_key(|d| d.opens_at);
    next.or_else(begun).or(days.first()).map(|d| d.day_index)
}

/// The festival day that an entry at a moment is for: the one that it lies in, or one of the ticket whose window has begun already.
pub(super) fn day_of<'a>(day_mask: i32, rules: Option<&Rules>, days: &'a [Day], at: DateTime<Utc>) -> Option<&'a Day> {
    let is_of = |day: &&Day| day_mask >> day.day_index & 1 == 1;
    let early = |day: &&Day| rules.is_some_and(|r| r.windows.iter().any(|w| w.day_index == day.day_index && w.from_at <= at && at < w.until_at));
    let current = days.iter().find(|d| d.covers(at));
    current.filter(is_of).or_else(|| days.iter().find(|d| is_of(d) && early(d))).or(current)
}

/// Why a moment is outside of the windows of a day at a gate; a day without windows is open.
fn outside(windows: &[EntryWindow], day: i16, gate: GateId, at: DateTime<Utc>) -> Option<Reason> {
    let of_day = windows.iter().filter(|w| w.day_index == day);
    let mut here = of_day.clone().filter(|w| w.gate_ids.is_empty() || w.gate_ids.contains(&gate)).peekable();
    of_day.clone().next()?;
    if here.peek().is_none() {
        return Some(Reason::WrongGate);
    }
    let here: Vec<&EntryWindow> = here.collect();
    if here.iter().any(|w| w.from_at <= at && at < w.until_at) {
        return None;
    }
    Some(if here.iter().any(|w| at < w.from_at) { Reason::TooEarly } else { Reason::TooLate })
}

/// The entries that an exit at a gate ends: at a gate inside the site the one into its zone, else the one onto the site and those into its inner zones. Of
/// several that are open at one place, where gates without network let in more than one, the last.
pub(super) fn left_by(entries: &[Entered], ground: &Ground<'_>, zone: Option<ZoneId>) -> Vec<usize> {
    let out = ground.place(zone);
    let mut left: Vec<usize> = Vec::new();
    for (i, entry) in entries.iter().enumerate().rev().filter(|(_, entry)| entry.is_open()) {
        let place = ground.place(entry.zone_id);
        if (out.is_none() || place == out) && left.iter().all(|k| ground.place(entries[*k].zone_id) != place) {
            left.push(i);
        }
    }
    left.reverse();
    left
}

/// The entry that a device may still take back.
pub(super) fn own_open(entries: &[Entered], device: Option<DeviceId>, at: DateTime<Utc>) -> Option<usize> {
    let own = |e: &Entered| e.device_id.is_none() || e.device_id == device;
    entries.iter().rposition(|e| e.is_open() && own(e) && at - e.entered_at <= UNDO)
}

/// The scan that handed an add-on over.
pub(super) fn collected(entries: &[Entered]) -> Option<ScanId> {
    entries.iter().find(|e| e.day_index == 0 && e.undone_at.is_none()).map(|e| e.scan_id)
}

/// Why earlier entries of a pass bar another one on a day, with the first of them. `entries` are in the order of happening.
pub(super) fn barred(entries: &[Entered], again: Again, day: i16, ground: &Ground<'_>, zone: Option<ZoneId>, at: DateTime<Utc>) -> Option<(Reason, ScanId)> {
    let place = ground.place(zone);
    let mut living = entries.iter().filter(|e| e.day_index == day && e.undone_at.is_none() && ground.place(e.zone_id) == place);
    let first = living.clone().next()?.scan_id;
    // Whoever was put out comes back, not whoever had left before.
    let since = ground.readmitted(zone, at).filter(|since| living.clone().any(|e| e.left_at == Some(*since)));
    let counted = living.clone().filter(|e| since.is_none_or(|since| e.entered_at >= since)).count();
    let reason = match again {
        Again::Times(most) => return (counted >= usize::try_from(most).unwrap_or(0)).then_some((Reason::NoReentry, first)),
        Again::Never | Again::AfterExit if living.any(Entered::is_open) => Reason::AlreadyInside,
        Again::Never if counted > 0 => Reason::NoReentry,
        Again::Never | Again::AfterExit => return None,
    };
    Some((reason, first))
}

/// The entry whose exit nobody scanned: where exits need not be scanned, or where a supervisor says so.
pub(super) fn replaced(entries: &[Entered], again: Again, because: Option<Because>, day: i16, ground: &Ground<'_>, zone: Option<ZoneId>) -> Option<usize> {
    let place = ground.place(zone);
    let left = matches!(again, Again::Times(_)) || because == Some(Because::LeftUnscanned);
    entries.iter().rposition(|e| left && e.day_index == day && e.is_open() && ground.place(e.zone_id) == place)
}

/// The number of the next entry of a day.
pub(super) fn next_no(entries: &[Entered], day: i16) -> i16 {
    entries.iter().filter(|e| e.day_index == day).map(|e| e.entry_no).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests;
