//! The table of verdicts, which the page of the gate is held to as well.

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
    #[serde(default)]
    ground: GroundRow,
    presented: PresentedRow,
    entries: Vec<EntryRow>,
    expected: Expected,
}

#[derive(Default, Deserialize)]
struct GroundRow {
    #[serde(default)]
    holds: Vec<HoldRow>,
    #[serde(default)]
    clearings: Vec<ClearingRow>,
    #[serde(default)]
    inner: Vec<ZoneId>,
}

#[derive(Deserialize)]
struct HoldRow {
    gate_id: Option<GateId>,
    zone_id: Option<ZoneId>,
    began_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct ClearingRow {
    zone_id: Option<ZoneId>,
    clears_at: DateTime<Utc>,
    readmits_until: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct TicketRow {
    kind: TicketKind,
    status: TicketStatus,
    generation: i16,
    day_mask: i32,
    #[serde(default)]
    has_note: bool,
}

#[derive(Deserialize)]
struct RulesRow {
    zone_ids: Vec<ZoneId>,
    is_taken: Option<bool>,
    #[serde(default)]
    windows: Vec<EntryWindow>,
    reentry: Reentry,
    entries_a_day: Option<i16>,
    instruction: Option<Instruction>,
    #[serde(default)]
    needs_live_code: bool,
}

#[derive(Deserialize)]
struct PresentedRow {
    kind: ScanKind,
    generation: i16,
    #[serde(default)]
    is_band: bool,
    #[serde(default)]
    is_live: bool,
    gate_id: Option<GateId>,
    zone_id: Option<ZoneId>,
    checked: Option<Checked>,
    at: DateTime<Utc>,
    places: Option<i32>,
    company: Option<bool>,
    lifts: Option<Lifts>,
}

#[derive(Deserialize)]
struct EntryRow {
    day_index: i16,
    entry_no: i16,
    is_own: bool,
    zone_id: Option<ZoneId>,
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
    effects: String,
    first_entry_no: Option<i16>,
    #[serde(default)]
    overridden: Vec<Reason>,
}

const OWN: DeviceId = DeviceId(uuid::Uuid::from_u128(1));
const OTHER: DeviceId = DeviceId(uuid::Uuid::from_u128(2));

fn scan_of(entry_no: i16) -> ScanId {
    ScanId(uuid::Uuid::from_u128(entry_no.unsigned_abs().into()))
}

#[test]
fn every_line_of_the_table_is_decided_as_it_says() {
    let Table { days, cases } = serde_json::from_str(include_str!("../../../tests/vectors/decisions.json")).unwrap();
    let day = |d: DayRow| Day { day_index: d.day_index, name: Text::default(), opens_at: d.opens_at, closes_at: d.closes_at };
    let days: Vec<Day> = days.into_iter().map(day).collect();
    assert!(cases.len() > 50);
    for Case { name, ticket, rules, ground, presented, entries, expected } in cases {
        let entered = |e: EntryRow| Entered {
            day_index: e.day_index,
            entry_no: e.entry_no,
            scan_id: scan_of(e.entry_no),
            device_id: Some(if e.is_own { OWN } else { OTHER }),
            gate_id: GateId(uuid::Uuid::from_u128(1)),
            zone_id: e.zone_id,
            entered_at: e.entered_at,
            left_at: e.left_at,
            undone_at: e.undone_at,
            because: None,
            is_again: false,
        };
        let hold = |h: HoldRow| GateHold { gate_id: h.gate_id, zone_id: h.zone_id, began_at: h.began_at, ended_at: h.ended_at, ..GateHold::default() };
        let clearing = |c: ClearingRow| Clearing { zone_id: c.zone_id, clears_at: c.clears_at, readmits_until: c.readmits_until, ..Clearing::default() };
        let holds: Vec<GateHold> = ground.holds.into_iter().map(hold).collect();
        let clearings: Vec<Clearing> = ground.clearings.into_iter().map(clearing).collect();
        let ground = Ground { days: &days, holds: &holds, clearings: &clearings, inner: &ground.inner };
        let TicketRow { kind, status, generation, day_mask, has_note } = ticket;
        let mut known = Known { kind, status, generation, day_mask, has_note, entries: entries.into_iter().map(entered).collect() };
        let rules = rules.map(|r| Rules {
            zone_ids: r.zone_ids,
            is_taken: r.is_taken.unwrap_or(true),
            windows: r.windows,
            again: Again::of(r.reentry, r.entries_a_day),
            instruction: r.instruction,
            needs_live_code: r.needs_live_code,
        });
        let PresentedRow { kind, generation, is_band, is_live, gate_id, zone_id, checked, at, places, company, lifts } = presented;
        let gate_id = gate_id.unwrap_or(GateId(uuid::Uuid::from_u128(1)));
        let presented = Presented { kind, generation, is_band, is_live, gate_id, zone_id, device_id: OWN, checked, at, places, company, lifts };
        ground.clear(&mut known.entries, at);
        let decision = decide(&known, rules.as_ref(), &ground, &presented);
        let told = |effect: &Effect| match effect {
            Effect::Enter(day, no) => format!("enter {day} {no}"),
            Effect::Leave(day, no) => format!("leave {day} {no}"),
            Effect::Undo(day, no) => format!("undo {day} {no}"),
        };
        let effects = decision.effects.iter().map(told).collect::<Vec<_>>().join(", ");
        let Decision { verdict, reason, instruction, day_index, first, overridden, .. } = decision;
        let first_entry_no = first.and_then(|scan| known.entries.iter().find(|e| e.scan_id == scan)).map(|e| e.entry_no);
        assert_eq!(Expected { verdict, reason, instruction, day_index, effects, first_entry_no, overridden }, expected, "{name}");
    }
}
