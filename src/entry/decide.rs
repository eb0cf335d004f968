//! The verdict: pure, so that it is tested as a table and can be played again on a device.

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

fn refused(reason: Reason, day_index: Option<i16>) -> Decision {
    Decision { verdict: Verdict::Refused, reason: Some(reason), instruction: None, day_index, effect: Effect::None, first: None }
}

fn admitted(day_index: Option<i16>, effect: Effect) -> Decision {
    Decision { verdict: Verdict::Admitted, reason: None, instruction: None, day_index, effect, first: None }
}

/// Decides a presentation of a well signed code of a ticket on the list.
pub(super) fn decide(known: &Known, rules: Option<&Rules>, days: &[Day], presented: &Presented) -> Decision {
    let living = |day: i16| known.entries.iter().filter(move |e| e.day_index == day && e.undone_at.is_none());
    // Whoever wants to leave may leave, and a mistake may be taken back, whatever became of the ticket or the day.
    let last_open = known.entries.iter().rev().find(|e| e.undone_at.is_none() && e.left_at.is_none());
    match presented.kind {
        ScanKind::Exit => {
            let effect = last_open.filter(|_| known.kind == TicketKind::Pass).map_or(Effect::None, |e| Effect::Leave(e.day_index, e.entry_no));
            return admitted(last_open.map(|e| e.day_index), effect);
        }
        ScanKind::Undo => {
            let own = last_open.filter(|e| e.device_id.is_none_or(|d| d == presented.device_id) && presented.at - e.entered_at <= UNDO);
            return match own {
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
        return match living(0).next() {
            _ if presented.kind == ScanKind::Look => admitted(None, Effect::None),
            Some(first) => Decision { first: Some(first.scan_id), ..refused(Reason::Exchanged, None) },
            None => admitted(None, Effect::Enter(0, next_no(known, 0))),
        };
    }
    let Some(day) = days.iter().find(|d| d.covers(presented.at)) else {
        let reason = if days.iter().any(|d| presented.at < d.opens_at) { Reason::TooEarly } else { Reason::TooLate };
        return refused(reason, None);
    };
    let index = day.day_index;
    let open = living(index).find(|e| e.left_at.is_none());
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
    if let Some(first) = open {
        let first_of_day = living(index).min_by_key(|e| e.entry_no).map_or(first.scan_id, |e| e.scan_id);
        return Decision { first: Some(first_of_day), ..refused(Reason::AlreadyInside, Some(index)) };
    }
    if let Some(before) = living(index).next()
        && rules.reentry == Reentry::Never
    {
        return Decision { first: Some(before.scan_id), ..refused(Reason::NoReentry, Some(index)) };
    }
    if let (Some(instruction), true) = (rules.instruction, presented.checked != Some(Checked::Yes)) {
        return Decision { verdict: Verdict::Check, reason: None, instruction: Some(instruction), day_index: Some(index), effect: Effect::None, first: None };
    }
    let effect = if presented.kind == ScanKind::Look { Effect::None } else { Effect::Enter(index, next_no(known, index)) };
    admitted(Some(index), effect)
}

fn next_no(known: &Known, day: i16) -> i16 {
    known.entries.iter().filter(|e| e.day_index == day).map(|e| e.entry_no).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::FestivalId, words::Text};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn days() -> Vec<Day> {
        [(0, "Friday", "2026-06-19T12:00:00Z", "2026-06-20T03:00:00Z"), (1, "Saturday", "2026-06-20T11:00:00Z", "2026-06-21T03:00:00Z")]
            .into_iter()
            .map(|(day_index, name, opens, closes)| Day { day_index, name: Text::en(name), opens_at: at(opens), closes_at: at(closes) })
            .collect()
    }

    fn known() -> Known {
        Known { kind: TicketKind::Pass, status: TicketStatus::Valid, generation: 0, day_mask: 0b01, entries: Vec::new() }
    }

    fn rules() -> Rules {
        Rules { zone_ids: Vec::new(), reentry: Reentry::AfterExit, instruction: None }
    }

    fn device() -> DeviceId {
        DeviceId(uuid::Uuid::from_u128(1))
    }

    fn presented() -> Presented {
        Presented { kind: ScanKind::Entry, generation: 0, zone_id: None, device_id: device(), checked: None, at: at("2026-06-19T18:00:00Z") }
    }

    fn entered(no: i16, left: Option<&str>) -> Entered {
        Entered {
            day_index: 0,
            entry_no: no,
            scan_id: ScanId(uuid::Uuid::from_u128(u128::try_from(no).unwrap())),
            device_id: Some(device()),
            gate_id: GateId(uuid::Uuid::from_u128(1)),
            entered_at: at("2026-06-19T17:50:00Z"),
            left_at: left.map(at),
            undone_at: None,
        }
    }

    fn verdict(known: &Known, rules: &Rules, presented: &Presented) -> (Verdict, Option<Reason>) {
        let decision = decide(known, Some(rules), &days(), presented);
        (decision.verdict, decision.reason)
    }

    #[test]
    fn the_first_scan_of_a_day_admits() {
        assert_eq!(decide(&known(), Some(&rules()), &days(), &presented()).effect, Effect::Enter(0, 1));
    }

    #[test]
    fn a_day_lasts_beyond_midnight() {
        let night = Presented { at: at("2026-06-20T00:30:00Z"), ..presented() };
        assert_eq!(verdict(&known(), &rules(), &night), (Verdict::Admitted, None));
    }

    #[test]
    fn what_is_refused_has_its_reason() {
        let void = |status| Known { status, ..known() };
        let inside = Known { entries: vec![entered(1, None)], ..known() };
        let left = Known { entries: vec![entered(1, Some("2026-06-19T17:55:00Z"))], ..known() };
        let never = Rules { reentry: Reentry::Never, ..rules() };
        let zone = ZoneId::fresh(FestivalId(1), at("2026-01-01T00:00:00Z"));
        let elsewhere = Rules { zone_ids: vec![ZoneId(uuid::Uuid::from_u128(9))], ..rules() };
        for (known, rules, presented, reason) in [
            (known(), rules(), Presented { generation: 1, ..presented() }, Reason::Revoked),
            (void(TicketStatus::Void), rules(), presented(), Reason::Revoked),
            (void(TicketStatus::Suspended), rules(), presented(), Reason::Suspended),
            (void(TicketStatus::Exchanged), rules(), presented(), Reason::Exchanged),
            (known(), rules(), Presented { at: at("2026-06-20T18:00:00Z"), ..presented() }, Reason::WrongDay),
            (known(), rules(), Presented { at: at("2026-06-18T18:00:00Z"), ..presented() }, Reason::TooEarly),
            (known(), rules(), Presented { at: at("2026-06-22T18:00:00Z"), ..presented() }, Reason::TooLate),
            (known(), elsewhere, Presented { zone_id: Some(zone), ..presented() }, Reason::WrongZone),
            (inside, rules(), presented(), Reason::AlreadyInside),
            (left, never, presented(), Reason::NoReentry),
        ] {
            assert_eq!(verdict(&known, &rules, &presented), (Verdict::Refused, Some(reason)));
        }
    }

    #[test]
    fn re_entry_needs_an_exit_and_an_exit_never_fails() {
        let inside = Known { entries: vec![entered(1, None)], ..known() };
        let exit = Presented { kind: ScanKind::Exit, ..presented() };
        assert_eq!(decide(&inside, Some(&rules()), &days(), &exit).effect, Effect::Leave(0, 1));
        assert_eq!(verdict(&known(), &rules(), &exit), (Verdict::Admitted, None));
        let after_the_day = Presented { at: at("2026-06-20T03:00:01Z"), generation: 9, ..exit.clone() };
        assert_eq!(decide(&inside, Some(&rules()), &days(), &after_the_day).effect, Effect::Leave(0, 1));
        let left = Known { entries: vec![entered(1, Some("2026-06-19T17:55:00Z"))], ..known() };
        assert_eq!(decide(&left, Some(&rules()), &days(), &presented()).effect, Effect::Enter(0, 2));
    }

    #[test]
    fn a_check_admits_nobody_until_it_is_answered() {
        let age = Rules { instruction: Some(Instruction::Age), ..rules() };
        let asked = decide(&known(), Some(&age), &days(), &presented());
        assert_eq!((asked.verdict, asked.effect, asked.instruction), (Verdict::Check, Effect::None, Some(Instruction::Age)));
        let sent_away = Presented { checked: Some(Checked::HelpDesk), ..presented() };
        assert_eq!(decide(&known(), Some(&age), &days(), &sent_away).verdict, Verdict::Check);
        let answered = Presented { checked: Some(Checked::Yes), ..presented() };
        assert_eq!(decide(&known(), Some(&age), &days(), &answered).effect, Effect::Enter(0, 1));
    }

    #[test]
    fn an_entry_is_taken_back_by_its_device_within_a_quarter_of_an_hour() {
        let inside = Known { entries: vec![entered(1, None)], ..known() };
        let undo = Presented { kind: ScanKind::Undo, ..presented() };
        assert_eq!(decide(&inside, Some(&rules()), &days(), &undo).effect, Effect::Undo(0, 1));
        let late = Presented { at: at("2026-06-19T18:06:00Z"), ..undo.clone() };
        assert_eq!(verdict(&inside, &rules(), &late).0, Verdict::Refused);
        let other = Presented { device_id: DeviceId(uuid::Uuid::from_u128(2)), ..undo };
        assert_eq!(verdict(&inside, &rules(), &other).0, Verdict::Refused);
    }

    #[test]
    fn an_add_on_is_collected_once() {
        let locker = Known { kind: TicketKind::AddOn, ..known() };
        assert_eq!(decide(&locker, None, &[], &presented()).effect, Effect::Enter(0, 1));
        let collected = Known { entries: vec![entered(1, None)], ..locker };
        assert_eq!(decide(&collected, None, &[], &presented()).reason, Some(Reason::Exchanged));
        // What was handed over by mistake is taken back; an exit or an undo never collects.
        let undo = Presented { kind: ScanKind::Undo, ..presented() };
        assert_eq!(decide(&collected, None, &[], &undo).effect, Effect::Undo(0, 1));
        let waiting = Known { entries: Vec::new(), ..collected };
        assert_eq!(decide(&waiting, None, &[], &undo).verdict, Verdict::Refused);
        assert_eq!(decide(&waiting, None, &[], &Presented { kind: ScanKind::Exit, ..presented() }).effect, Effect::None);
    }
}
