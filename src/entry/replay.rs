//! Who was in when: the history of a ticket, from all that happened to it in the order of happening. Pure. The order in which facts become known
//! does not matter, nor how often: offline devices report late, and two of them may have let in the same ticket.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    Reason,
    decide::{self, Again, Entered, Ground, barred},
};
use crate::{
    id::{DeviceId, ScanId, ZoneId},
    tickets::TicketKind,
};

/// Something that happened at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Somebody came in.
    CameIn(Entered),
    /// Somebody left by a gate to a zone.
    Left { scan_id: ScanId, zone_id: Option<ZoneId>, at: DateTime<Utc> },
    /// A device took an entry of its own back.
    TakenBack { scan_id: ScanId, device_id: Option<DeviceId>, at: DateTime<Utc> },
    /// A device refused somebody whom the rules, apart from who was in, would have let in on this day.
    TurnedAway { scan_id: ScanId, day_index: i16, zone_id: Option<ZoneId>, at: DateTime<Utc> },
}

impl Fact {
    /// The order of happening. Whoever was refused and let in by one scan was refused first.
    fn order(&self) -> (DateTime<Utc>, ScanId, bool) {
        match self {
            Self::CameIn(entered) => (entered.entered_at, entered.scan_id, true),
            Self::Left { scan_id, at, .. } | Self::TakenBack { scan_id, at, .. } => (*at, *scan_id, true),
            Self::TurnedAway { scan_id, at, .. } => (*at, *scan_id, false),
        }
    }
}

/// Somebody came in on a ticket that did not open the gate at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Surplus {
    pub(super) scan_id: ScanId,
    pub(super) reason: Reason,
    pub(super) first: ScanId,
}

/// What the facts come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The entries in the order of happening, each with its end.
    pub(super) entries: Vec<Entered>,
    /// The surplus admissions.
    pub(super) surplus: Vec<Surplus>,
    /// Scans that refused somebody who should have come in.
    pub(super) turned_away: HashSet<ScanId>,
}

/// Plays the facts of a ticket in the order of happening, at `now`. An entry ends by what is played, not by what it says of its end.
pub(super) fn replay(kind: TicketKind, again: Again, ground: &Ground<'_>, mut facts: Vec<Fact>, now: DateTime<Utc>) -> History {
    facts.sort_by_key(Fact::order);
    // Whoever came again without a scanned exit had left by the rules of then, whatever they are now.
    let ends: HashMap<ScanId, DateTime<Utc>> =
        facts.iter().filter_map(|fact| if let Fact::CameIn(entered) = fact { Some((entered.scan_id, entered.left_at?)) } else { None }).collect();
    let mut history = History::default();
    let History { entries, surplus, turned_away } = &mut history;
    let again = |zone| if ground.place(zone).is_some() { Again::AfterExit } else { again };
    let barred = |entries: &[Entered], day: i16, zone: Option<ZoneId>, at: DateTime<Utc>| match kind {
        TicketKind::AddOn => decide::collected(entries).map(|first| (Reason::Exchanged, first)),
        TicketKind::Pass => barred(entries, again(zone), day, ground, zone, at),
    };
    for fact in facts {
        if kind == TicketKind::Pass {
            ground.clear(entries, fact.order().0);
        }
        match fact {
            Fact::CameIn(entered) => {
                let was_replaced = |e: &&mut Entered| {
                    e.is_open()
                        && e.day_index == entered.day_index
                        && ground.place(e.zone_id) == ground.place(entered.zone_id)
                        && ends.get(&e.scan_id) == Some(&entered.entered_at)
                };
                for before in entries.iter_mut().filter(was_replaced) {
                    before.left_at = Some(entered.entered_at);
                }
                // Whom a supervisor let in knowing of the one before is accounted for by name.
                let bar = barred(entries, entered.day_index, entered.zone_id, entered.entered_at).filter(|_| !entered.is_again);
                if let Some((reason, first)) = bar {
                    surplus.push(Surplus { scan_id: entered.scan_id, reason, first });
                }
                if let Some(before) =
                    decide::replaced(entries, again(entered.zone_id), entered.because.filter(|_| entered.is_again), entered.day_index, ground, entered.zone_id)
                {
                    entries[before].left_at = Some(entered.entered_at);
                }
                entries.push(Entered { left_at: None, undone_at: None, ..entered });
            }
            Fact::Left { zone_id, at, .. } if kind == TicketKind::Pass => {
                for left in decide::left_by(entries, ground, zone_id) {
                    entries[left].left_at = Some(at);
                }
            }
            // What was collected is not brought back by leaving.
            Fact::Left { .. } => {}
            Fact::TakenBack { device_id, at, .. } => {
                if let Some(own) = decide::own_open(entries, device_id, at) {
                    entries[own].undone_at = Some(at);
                }
            }
            Fact::TurnedAway { scan_id, day_index, zone_id, at } => {
                if barred(entries, day_index, zone_id, at).is_none() {
                    turned_away.insert(scan_id);
                }
            }
        }
    }
    if kind == TicketKind::Pass {
        ground.clear(entries, now);
    }
    history
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        entry::{incident::Clearing, overrides::Because},
        id::GateId,
    };

    fn scan(n: u32) -> ScanId {
        ScanId(uuid::Uuid::from_u128(n.into()))
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    /// Every seventh was let in by a supervisor who knew of the one before.
    fn came(n: u32, minute: i64, device: u128) -> Fact {
        let is_again = n % 7 == 6;
        Fact::CameIn(Entered {
            day_index: 0,
            entry_no: i16::try_from(n).unwrap(),
            scan_id: scan(n),
            device_id: Some(DeviceId(uuid::Uuid::from_u128(device))),
            gate_id: GateId(uuid::Uuid::from_u128(device)),
            // The third device stands inside the site.
            zone_id: (device == 3).then_some(INNER),
            entered_at: at(minute),
            left_at: None,
            undone_at: None,
            because: is_again.then_some(if n.is_multiple_of(2) { Because::OurMistake } else { Because::LeftUnscanned }),
            is_again,
        })
    }

    const INNER: ZoneId = ZoneId(uuid::Uuid::from_u128(7));

    /// The site is cleared at the third minute, and people may come back for a minute.
    fn play(again: Again, facts: Vec<Fact>, is_cleared: bool) -> History {
        let clearing = Clearing { clears_at: at(3), readmits_until: Some(at(4)), ..Clearing::default() };
        let clearings = if is_cleared { vec![clearing] } else { Vec::new() };
        replay(TicketKind::Pass, again, &Ground { clearings: &clearings, inner: &[INNER], ..Ground::default() }, facts, at(60))
    }

    fn of(facts: Vec<Fact>) -> History {
        play(Again::AfterExit, facts, false)
    }

    #[test]
    fn the_later_of_two_is_the_surplus_whoever_reports_first() {
        for facts in [vec![came(1, 0, 1), came(2, 1, 2)], vec![came(2, 1, 2), came(1, 0, 1)]] {
            assert_eq!(of(facts).surplus, [Surplus { scan_id: scan(2), reason: Reason::AlreadyInside, first: scan(1) }]);
        }
    }

    #[test]
    fn an_exit_that_is_heard_of_late_explains_an_entry() {
        let (entries, left) = (vec![came(1, 0, 1), came(2, 10, 2)], Fact::Left { scan_id: scan(3), zone_id: None, at: at(5) });
        assert_eq!(of(entries.clone()).surplus.len(), 1);
        let history = of([entries.clone(), vec![left.clone()]].concat());
        assert_eq!(history.surplus, []);
        assert_eq!(history.entries.iter().map(|e| e.left_at).collect::<Vec<_>>(), [Some(at(5)), None]);
        let never = play(Again::Never, [entries, vec![left]].concat(), false);
        assert_eq!(never.surplus, [Surplus { scan_id: scan(2), reason: Reason::NoReentry, first: scan(1) }]);
    }

    #[test]
    fn whoever_was_put_out_may_come_back_for_a_while() {
        let (came_back, twice) = (vec![came(1, 0, 1), came(2, 3, 2)], vec![came(1, 0, 1), came(2, 3, 2), came(4, 3, 1)]);
        assert_eq!(play(Again::Never, came_back.clone(), true).surplus, []);
        assert_eq!(play(Again::Never, came_back, false).surplus.len(), 1);
        assert_eq!(play(Again::Never, twice, true).surplus.len(), 1);
        assert_eq!(
            play(Again::Never, vec![came(1, 0, 1), came(2, 4, 2)], true).surplus,
            [Surplus { scan_id: scan(2), reason: Reason::NoReentry, first: scan(1) }]
        );
        assert_eq!(play(Again::AfterExit, vec![came(1, 0, 1)], true).entries[0].left_at, Some(at(3)));
    }

    #[test]
    fn whoever_came_again_by_the_rules_of_then_did_right() {
        let mut first = came(1, 0, 1);
        if let Fact::CameIn(entered) = &mut first {
            entered.left_at = Some(at(1));
        }
        let history = play(Again::AfterExit, vec![first, came(2, 1, 2)], false);
        assert_eq!((history.surplus.len(), history.entries[0].left_at), (0, Some(at(1))));
    }

    #[test]
    fn so_many_times_a_day_need_no_exit() {
        let thrice = play(Again::Times(2), vec![came(1, 0, 1), came(2, 1, 2), came(3, 2, 1)], false);
        assert_eq!(thrice.surplus, [Surplus { scan_id: scan(3), reason: Reason::NoReentry, first: scan(1) }]);
        assert_eq!(thrice.entries.iter().map(|e| e.left_at).collect::<Vec<_>>(), [Some(at(1)), Some(at(2)), None]);
    }

    #[test]
    fn an_undo_takes_back_what_its_own_device_let_in() {
        let undo = Fact::TakenBack { scan_id: scan(3), device_id: Some(DeviceId(uuid::Uuid::from_u128(1))), at: at(3) };
        let history = of(vec![came(1, 0, 1), came(2, 2, 2), undo]);
        assert_eq!(history.entries.iter().map(|e| e.undone_at).collect::<Vec<_>>(), [Some(at(3)), None]);
    }

    #[test]
    fn whoever_is_refused_without_being_in_was_turned_away() {
        let away = |minute| Fact::TurnedAway { scan_id: scan(9), day_index: 0, zone_id: None, at: at(minute) };
        assert_eq!(of(vec![came(1, 5, 1), away(3)]).turned_away, HashSet::from([scan(9)]));
        assert_eq!(of(vec![came(1, 5, 1), away(7)]).turned_away, HashSet::new());
        // One scan that the server admitted while the device refused.
        assert_eq!(of(vec![came(9, 5, 1), away(5)]).turned_away, HashSet::from([scan(9)]));
    }

    fn fact() -> impl Strategy<Value = Fact> {
        (0_u32..4, 0_i64..6, 1_u128..4, 1_u32..1_000).prop_map(|(what, minute, device, n)| match what {
            0 => Fact::Left { scan_id: scan(n), zone_id: (device == 3).then_some(INNER), at: at(minute) },
            1 => Fact::TakenBack { scan_id: scan(n), device_id: Some(DeviceId(uuid::Uuid::from_u128(device))), at: at(minute) },
            2 => Fact::TurnedAway { scan_id: scan(n), day_index: 0, zone_id: None, at: at(minute) },
            _ => came(n, minute, device),
        })
    }

    proptest! {
        #[test]
        fn the_order_of_hearing_does_not_matter(
            facts in proptest::collection::vec(fact(), 0..12).prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle())),
            again in prop_oneof![Just(Again::Never), Just(Again::AfterExit), Just(Again::Times(2))],
            is_cleared: bool,
        ) {
            let (told, shuffled) = facts;
            // A scan happens once: which of two facts with one id and moment comes first is not said.
            let mut seen = HashSet::new();
            prop_assume!(told.iter().all(|f| seen.insert((f.order().0, f.order().1))));
            let (one, other) = (play(again, told, is_cleared), play(again, shuffled, is_cleared));
            prop_assert_eq!(&one, &other);
            // Whoever is in beyond one, on the site and in the inner zone, is in the ledger.
            for zone in [None, Some(INNER)] {
                let open = one.entries.iter().filter(|e| e.is_open() && e.zone_id == zone && !e.is_again).count();
                prop_assert!(open <= 1 + one.surplus.len());
            }
        }
    }
}
