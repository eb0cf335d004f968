//! The verdict: pure, so that it is tested as a table and is decided alike on a device (`src/web/assets/gate-decide.js`, `tests/vectors/decisions.json`).

use chrono::{DateTime, Utc};

use super::{Checked, Reason, ScanKind, Verdict};
use crate::{
    festivals::Day,
    id::{DeviceId, GateId, ScanId, ZoneId},
    offers::{Instruction, Reentry},
    tickets::{TicketKind, TicketStatus},
};

/// What is known of a ticket under its lock.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) kind: TicketKind,
    pub(super) status: TicketStatus,
    pub(super) generation: i16,
    pub(super) day_mask: i32,
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
    pub(super) entered_at: DateTime<Utc>,
    pub(super) left_at: Option<DateTime<Utc>>,
    pub(super) undone_at: Option<DateTime<Utc>>,
}

/// The rules of the pass.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) zone_ids: Vec<ZoneId>,
    pub(super) reentry: Reentry,
    pub(super) instruction: Option<Instruction>,
}

/// How a code is presented.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    pub(super) kind: ScanKind,
    pub(super) generation: u8,
    pub(super) zone_id: Option<ZoneId>,
    pub(super) device_id: DeviceId,
    pub(super) checked: Option<Checked>,
    pub(super) at: DateTime<Utc>,
}

/// A decision, with what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reason: Option<Reason>,
    pub(super) instruction: Option<Instruction>,
    pub(super) day_index: Option<i16>,
    pub(super) effect: Effect,
    /// The scan that had admitted before.
    pub(super) first: Option<ScanId>,
}

/// What a decision changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
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
    Decision { verdict: Verdict::Refused, reason: Some(reason), instruction: None, day_index, effect: Effect::None, first: None }
}

fn admitted(day_index: Option<i16>, effect: Effect) -> Decision {
    Decision { verdict: Verdict::Admitted, reason: None, instruction: None, day_index, effect, first: None }
}

/// Decides a presentation of a well signed code of a ticket on the list.
pub(super) fn decide(known: &Known, rules: Option<&Rules>, days: &[Day], presented: &Presented) -> Decision {
    // Whoever wants to leave may leave, and a mistake may be taken back, whatever became of the ticket or the day.
    let last_open = last_open(&known.entries).map(|last| &known.entries[last]);
    match presented.kind {
        ScanKind::Exit => {
            let effect = last_open.filter(|_| known.kind == TicketKind::Pass).map_or(Effect::None, |e| Effect::Leave(e.day_index, e.entry_no));
            return admitted(last_open.map(|e| e.day_index), effect);
        }
        ScanKind::Undo => {
            return match own_open(&known.entries, Some(presented.device_id), presented.at).map(|own| &known.entries[own]) {
                Some(entry) => admitted(Some(entry.day_index), Effect::Undo(entry.day_index, entry.entry_no)),
                None => refused(Reason::Unknown, last_open.map(|e| e.day_index)),
            };
        }
        ScanKind::Entry | ScanKind::Look => {}
    }
    if i16::from(presented.generation) != known.generation {
        return refused(Reason::Revoked, None);
    }
    match known.status {
        TicketStatus::Valid => {}
        TicketStatus::Suspended => return refused(Reason::Suspended, None),
        TicketStatus::Exchanged => return refused(Reason::Exchanged, None),
        TicketStatus::Void => return refused(Reason::Revoked, None),
    }
    if known.kind == TicketKind::AddOn {
        // An add-on is collected once; day 0 stands for "whenever".
        return match barred(known.kind, &known.entries, Reentry::Never, 0) {
            _ if presented.kind == ScanKind::Look => admitted(None, Effect::None),
            Some((reason, first)) => Decision { first: Some(first), ..refused(reason, None) },
            None => admitted(None, Effect::Enter(0, next_no(&known.entries, 0))),
        };
    }
    let Some(day) = days.iter().find(|d| d.covers(presented.at)) else {
        let reason = if days.iter().any(|d| presented.at < d.opens_at) { Reason::TooEarly } else { Reason::TooLate };
        return refused(reason, None);
    };
    let index = day.day_index;
    if known.day_mask >> index & 1 == 0 {
        return refused(Reason::WrongDay, Some(index));
    }
    let Some(rules) = rules else { return refused(Reason::Unknown, Some(index)) };
    if let Some(zone) = presented.zone_id
        && !rules.zone_ids.is_empty()
        && !rules.zone_ids.contains(&zone)
    {
        return refused(Reason::WrongZone, Some(index));
    }
    if let Some((reason, first)) = barred(known.kind, &known.entries, rules.reentry, index) {
        return Decision { first: Some(first), ..refused(reason, Some(index)) };
    }
    if let (Some(instruction), true) = (rules.instruction, presented.checked != Some(Checked::Yes)) {
        return Decision { verdict: Verdict::Check, reason: None, instruction: Some(instruction), day_index: Some(index), effect: Effect::None, first: None };
    }
    let effect = if presented.kind == ScanKind::Look { Effect::None } else { Effect::Enter(index, next_no(&known.entries, index)) };
    admitted(Some(index), effect)
}

/// The entry that nobody left since: the last, where offline gates let in more than one.
pub(super) fn last_open(entries: &[Entered]) -> Option<usize> {
    entries.iter().rposition(|e| e.undone_at.is_none() && e.left_at.is_none())
}

/// The entry that a device may still take back.
pub(super) fn own_open(entries: &[Entered], device: Option<DeviceId>, at: DateTime<Utc>) -> Option<usize> {
    let own = |e: &Entered| e.device_id.is_none() || e.device_id == device;
    entries.iter().rposition(|e| e.undone_at.is_none() && e.left_at.is_none() && own(e) && at - e.entered_at <= UNDO)
}

/// Why earlier entries of a ticket bar another one on a day, with the first of them. `entries` are in the order of happening.
pub(super) fn barred(kind: TicketKind, entries: &[Entered], reentry: Reentry, day: i16) -> Option<(Reason, ScanId)> {
    let mut living = entries.iter().filter(|e| e.day_index == day && e.undone_at.is_none());
    let first = living.clone().next()?.scan_id;
    match kind {
        TicketKind::AddOn => Some((Reason::Exchanged, first)),
        TicketKind::Pass if living.any(|e| e.left_at.is_none()) => Some((Reason::AlreadyInside, first)),
        TicketKind::Pass => (reentry == Reentry::Never).then_some((Reason::NoReentry, first)),
    }
}

/// The number of the next entry of a day.
pub(super) fn next_no(entries: &[Entered], day: i16) -> i16 {
    entries.iter().filter(|e| e.day_index == day).map(|e| e.entry_no).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::words::Text;

    /// The table that the page of the gate decides by, too: `tests/vectors/decisions.json`.
    #[derive(Deserialize)]
    struct Table {
        days: Vec<DayRow>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct DayRow {
        day_index: i16,
        opens_at: DateTime<Utc>,
        closes_at: DateTime<Utc>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        ticket: TicketRow,
        rules: Option<RulesRow>,
        presented: PresentedRow,
        entries: Vec<EntryRow>,
        expected: Expected,
    }

    #[derive(Deserialize)]
    struct TicketRow {
        kind: TicketKind,
        status: TicketStatus,
        generation: i16,
        day_mask: i32,
    }

    #[derive(Deserialize)]
    struct RulesRow {
        zone_ids: Vec<ZoneId>,
        reentry: Reentry,
        instruction: Option<Instruction>,
    }

    #[derive(Deserialize)]
    struct PresentedRow {
        kind: ScanKind,
        generation: u8,
        zone_id: Option<ZoneId>,
        checked: Option<Checked>,
        at: DateTime<Utc>,
    }

    #[derive(Deserialize)]
    struct EntryRow {
        day_index: i16,
        entry_no: i16,
        is_own: bool,
        entered_at: DateTime<Utc>,
        left_at: Option<DateTime<Utc>>,
        undone_at: Option<DateTime<Utc>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Expected {
        verdict: Verdict,
        reason: Option<Reason>,
        instruction: Option<Instruction>,
        day_index: Option<i16>,
        effect: String,
        first_entry_no: Option<i16>,
    }

    const OWN: DeviceId = DeviceId(uuid::Uuid::from_u128(1));
    const OTHER: DeviceId = DeviceId(uuid::Uuid::from_u128(2));

    fn scan_of(entry_no: i16) -> ScanId {
        ScanId(uuid::Uuid::from_u128(entry_no.unsigned_abs().into()))
    }

    #[test]
    fn every_line_of_the_table_is_decided_as_it_says() {
        let Table { days, cases } = serde_json::from_str(include_str!("../../tests/vectors/decisions.json")).unwrap();
        let day = |d: DayRow| Day { day_index: d.day_index, name: Text::default(), opens_at: d.opens_at, closes_at: d.closes_at };
        let days: Vec<Day> = days.into_iter().map(day).collect();
        assert!(cases.len() > 50);
        for Case { name, ticket, rules, presented, entries, expected } in cases {
            let entered = |e: EntryRow| Entered {
                day_index: e.day_index,
                entry_no: e.entry_no,
                scan_id: scan_of(e.entry_no),
                device_id: Some(if e.is_own { OWN } else { OTHER }),
                gate_id: GateId(uuid::Uuid::from_u128(1)),
                entered_at: e.entered_at,
                left_at: e.left_at,
                undone_at: e.undone_at,
            };
            let TicketRow { kind, status, generation, day_mask } = ticket;
            let known = Known { kind, status, generation, day_mask, entries: entries.into_iter().map(entered).collect() };
            let rules = rules.map(|r| Rules { zone_ids: r.zone_ids, reentry: r.reentry, instruction: r.instruction });
            let PresentedRow { kind, generation, zone_id, checked, at } = presented;
            let presented = Presented { kind, generation, zone_id, device_id: OWN, checked, at };
            let decision = decide(&known, rules.as_ref(), &days, &presented);
            let effect = match decision.effect {
                Effect::None => "none".to_owned(),
                Effect::Enter(day, no) => format!("enter {day} {no}"),
                Effect::Leave(day, no) => format!("leave {day} {no}"),
                Effect::Undo(day, no) => format!("undo {day} {no}"),
            };
            let Decision { verdict, reason, instruction, day_index, first, .. } = decision;
            let first_entry_no = first.and_then(|scan| known.entries.iter().find(|e| e.scan_id == scan)).map(|e| e.entry_no);
            assert_eq!(Expected { verdict, reason, instruction, day_index, effect, first_entry_no }, expected, "{name}");
        }
    }
}
