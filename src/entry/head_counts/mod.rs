//! Head counts: people whom staff counted by hand, where nobody scans. In an incident the gates stand open and people count; an exit may have no scanner;
//! whoever leaves on a stretcher scans nothing. They count for the zones as scans do, and every figure says how much of it was counted by hand.

pub mod api;
mod store;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Enum;
use serde::{Deserialize, Serialize};

use super::presence;
use crate::{
    accounts::Device,
    app::App,
    festivals::{self, Day},
    id::{CountId, GateId},
};

pub use store::ByHand;
pub(super) use store::sums;

/// A clock that is further off than this is no clock: what it says happened now.
const DOUBT: TimeDelta = TimeDelta::days(31);

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum CountKind {
    /// People who came in.
    Entry,
    /// People who left.
    Exit,
    /// People who left for a hospital or a first-aid post outside.
    MedicalExit,
}

impl CountKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Entry, Self::Exit, Self::MedicalExit];

    /// Its name in JSON and in the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::MedicalExit => "medical_exit",
        }
    }

    /// How many more are in for each one counted.
    fn sign(self) -> i32 {
        if self == Self::Entry { 1 } else { -1 }
    }
}

/// People who were counted on a device.
#[derive(Clone, Copy, Debug)]
pub struct HeadCount {
    /// The device's own id of it.
    pub count_id: CountId,
    /// What was counted.
    pub kind: CountKind,
    /// How many; below zero it takes back.
    pub people: i16,
    /// When, by the time of the house as the device knew it.
    pub counted_at: DateTime<Utc>,
    /// The gate that was chosen then; one where the device may not stand counts as its own.
    pub gate_id: Option<GateId>,
}

/// Records what was counted on a device: any number of times, in any order; each counts once.
///
/// # Errors
/// What the database said.
pub async fn record(app: &App, device: &Device, counts: &[HeadCount]) -> Result<(), sqlx::Error> {
    let (now, festival) = (app.clock.now(), device.festival_id);
    let days = festivals::days(&app.pools.web, festival).await?;
    let gates = festivals::gates(&app.pools.web, festival).await?;
    // One that is named twice in a report counts once, too: as it was named first.
    let mut seen = HashSet::new();
    let rows: Vec<store::Row> = counts
        .iter()
        .filter(|count| seen.insert(count.count_id))
        .map(|count| {
            let counted_at = if (now - count.counted_at).abs() > DOUBT { now } else { count.counted_at.min(now) };
            let gate_id = device.clone().at(count.gate_id).map_or(device.gate_id, |device| device.gate_id);
            store::Row { count: *count, counted_at, gate_id, day_index: day(&days, count.kind, counted_at) }
        })
        .collect();
    let mut tx = app.pools.scan.begin().await?;
    let fresh = store::insert(&mut tx, festival, device.device_id, &rows, now).await?;
    let zone = |gate| gates.iter().find(|known| known.gate_id == gate).and_then(|known| known.zone_id);
    let mut moved = presence::Moved::new();
    for row in rows.iter().filter(|row| fresh.contains(&row.count.count_id)) {
        if let Some(zone) = zone(row.gate_id) {
            moved.entry((zone, row.day_index)).or_default().push((row.counted_at, row.count.kind.sign() * i32::from(row.count.people)));
        }
    }
    presence::count_by_hand(&mut tx, festival, &moved).await?;
    tx.commit().await
}

/// The festival day that a count belongs to: the one that is on. Outside of all days whoever comes in comes for the next one, and whoever leaves was there on
/// the last that had begun.
fn day(days: &[Day], kind: CountKind, at: DateTime<Utc>) -> i16 {
    let on = || days.iter().find(|day| day.covers(at));
    let next = || days.iter().filter(|day| day.opens_at > at).min_by_key(|day| day.opens_at);
    let last = || days.iter().filter(|day| day.opens_at <= at).max_by_key(|day| day.opens_at);
    let found = if kind == CountKind::Entry { on().or_else(next).or_else(last) } else { on().or_else(last).or_else(next) };
    found.map_or(0, |day| day.day_index)
}
