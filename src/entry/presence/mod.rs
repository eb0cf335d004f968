//! Who is in, while a batch decides: how many are in the zones that it touches, and who of an order. Counts are under the locks of their rows, so a
//! zone takes no one more than it may; the fact of every entry stays with the admissions.

mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{
    catalog::Catalog,
    decide::{Entered, Ground, collected},
    incident::Clearing,
};
use crate::{
    id::{FestivalId, OrderId, TicketId, ZoneId},
    sabotage,
    tickets::{Scanned, TicketKind},
};
use store::Visit;

/// How long a count is believed: a server of a version before did not count, nor one that had not heard of a new gate yet.
const COUNTED: TimeDelta = TimeDelta::minutes(10);

/// How many are in the zones of a batch, a number a festival day.
pub(super) struct Presence {
    counts: BTreeMap<(ZoneId, i16), store::ZoneCount>,
    capacity: HashMap<ZoneId, i32>,
    changed: BTreeSet<(ZoneId, i16)>,
}

impl Presence {
    /// Locks the counts of zones on the days of now and on `days`, behind the locks of tickets and before that of the feed; counts again where a zone was cleared meanwhile.
    pub(super) async fn lock(
        conn: &mut PgConnection,
        festival: FestivalId,
        catalog: &Catalog,
        zones: &BTreeSet<ZoneId>,
        days: &BTreeSet<i16>,
        now: DateTime<Utc>,
    ) -> Result<Self, sqlx::Error> {
        let mut presence = Self { counts: BTreeMap::new(), capacity: HashMap::new(), changed: BTreeSet::new() };
        if zones.is_empty() {
            return Ok(presence);
        }
        let zones: Vec<ZoneId> = zones.iter().copied().collect();
        presence.capacity = catalog.zones.iter().filter_map(|z| Some((z.zone_id, z.capacity?))).collect();
        let mut rows = locked(conn, festival, &zones).await?;
        let early = catalog.passes.iter().flat_map(|p| &p.terms.windows).filter(|w| w.from_at <= now && now < w.until_at).map(|w| w.day_index);
        let today: BTreeSet<i16> = catalog.days.iter().filter(|d| d.covers(now)).map(|d| d.day_index).chain(early).chain(days.iter().copied()).collect();
        let is_there = |zone, day| rows.iter().any(|row| row.zone_id == zone && row.day_index == day);
        let missing: Vec<(ZoneId, i16)> =
            zones.iter().flat_map(|zone| today.iter().map(move |day| (*zone, *day))).filter(|(zone, day)| !is_there(*zone, *day)).collect();
        if !missing.is_empty() {
            store::insert_counts(conn, festival, &missing).await?;
            rows = locked(conn, festival, &zones).await?;
        }
        // Days that are over are let be.
        for row in rows.iter_mut().filter(|row| today.contains(&row.day_index)) {
            let cleared = cleared_at(&catalog.clearings, row.zone_id, now);
            let is_behind = row.cleared_at.is_none_or(|at| at < cleared) || row.counted_at.is_none_or(|at| now - at > COUNTED);
            if is_behind {
                *row = store::count_again(conn, festival, row.zone_id, row.day_index, cleared, now).await?;
            }
        }
        presence.counts = rows.into_iter().map(|row| ((row.zone_id, row.day_index), row)).collect();
        Ok(presence)
    }

    /// How many more may be in a zone on a day; `None` where nobody counts.
    pub(super) fn left(&self, zone: Option<ZoneId>, day: i16) -> Option<i32> {
        let zone = zone?;
        // More may have left by hand than came in by it: a zone has no more places than its capacity for that.
        Some(self.capacity.get(&zone)? - self.counts.get(&(zone, day))?.inside.max(0))
    }

    /// Counts a pass that came in or went: how its entry stands now, which it did not before.
    pub(super) fn count(&mut self, entry: &Entered) {
        let Some(zone) = entry.zone_id else { return };
        if let Some(row) = self.counts.get_mut(&(zone, entry.day_index)).filter(|row| row.cleared_at.is_some_and(|at| entry.entered_at >= at)) {
            row.inside += if entry.is_open() { 1 } else { -1 };
            self.changed.insert((zone, entry.day_index));
        }
    }

    /// Writes what changed.
    pub(super) async fn write(&self, conn: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
        let changed: Vec<&store::ZoneCount> = self.changed.iter().filter_map(|key| self.counts.get(key)).collect();
        if changed.is_empty() { Ok(()) } else { store::write_counts(conn, festival, &changed).await }
    }
}

/// People whom staff counted by hand, by zone and day: when, and how many more are in by it.
pub(super) type Moved = BTreeMap<(ZoneId, i16), Vec<(DateTime<Utc>, i32)>>;

/// Counts people whom staff counted by hand. What happened before the zone was cleared
/// is over; where nobody counted yet whoever locks the row first counts them, too.
pub(super) async fn count_by_hand(conn: &mut PgConnection, festival: FestivalId, moved: &Moved) -> Result<(), sqlx::Error> {
    if moved.is_empty() {
        return Ok(());
    }
    // Whoever makes a row counts what is committed: it is made before, so that one waits for the other.
    store::insert_counts(conn, festival, &moved.keys().copied().collect::<Vec<_>>()).await?;
    let zones: BTreeSet<ZoneId> = moved.keys().map(|(zone, _)| *zone).collect();
    let mut rows = store::lock_counts(conn, festival, &zones.into_iter().collect::<Vec<_>>()).await?;
    for row in &mut rows {
        let counts = moved.get(&(row.zone_id, row.day_index)).into_iter().flatten();
        row.inside += counts.filter(|(at, _)| row.cleared_at.is_some_and(|cleared| *at >= cleared)).map(|(_, people)| people).sum::<i32>();
    }
    store::write_counts(conn, festival, &rows.iter().filter(|row| row.cleared_at.is_some()).collect::<Vec<_>>()).await
}

async fn locked(conn: &mut PgConnection, festival: FestivalId, zones: &[ZoneId]) -> Result<Vec<store::ZoneCount>, sqlx::Error> {
    if sabotage::no_lock() { store::counts(conn, festival, zones).await } else { store::lock_counts(conn, festival, zones).await }
}

/// When a zone was cleared last; the beginning of time where it never was.
fn cleared_at(clearings: &[Clearing], zone: ZoneId, now: DateTime<Utc>) -> DateTime<Utc> {
    clearings.iter().filter(|c| c.is_of(Some(zone)) && c.clears_at <= now).map(|c| c.clears_at).max().unwrap_or(DateTime::UNIX_EPOCH)
}

/// Another pass of an order, with the days on which its holder came, and is on the site; bit i for day i.
struct Mate {
    ticket_id: TicketId,
    pass_number: i32,
    day_mask: i32,
    came: i32,
    inside: i32,
}

/// An add-on of an order.
struct Extra {
    ticket_id: TicketId,
    number: i32,
    is_collected: bool,
}

/// The passes and add-ons of the orders of a batch.
pub(super) struct Mates {
    of: HashMap<OrderId, Vec<Mate>>,
    extras: HashMap<OrderId, Vec<Extra>>,
}

impl Mates {
    /// Reads what is known of locked tickets: who came with them, and their own entries; one statement.
    pub(super) async fn read(
        conn: &mut PgConnection,
        festival: FestivalId,
        ground: &Ground<'_>,
        tickets: &[Scanned],
        now: DateTime<Utc>,
    ) -> Result<(Self, HashMap<TicketId, Vec<Entered>>), sqlx::Error> {
        let ids: Vec<TicketId> = tickets.iter().map(|t| t.ticket_id).collect();
        let orders: BTreeSet<OrderId> = tickets.iter().map(|t| t.order_id).collect();
        let visits = store::visits(conn, festival, &orders.into_iter().collect::<Vec<_>>(), &ids).await?;
        let mut mates = Self { of: HashMap::new(), extras: HashMap::new() };
        let mut entries: HashMap<TicketId, Vec<Entered>> = HashMap::new();
        for ticket in visits.chunk_by(|a, b| a.ticket_id == b.ticket_id) {
            let visit = &ticket[0];
            let known: Vec<Entered> = ticket.iter().filter_map(store::Visit::entered).collect();
            let Visit { ticket_id, order_id, pass_number, day_mask, .. } = *visit;
            match visit.kind {
                TicketKind::Pass if visit.is_valid => {
                    let mut now_in = known.clone();
                    ground.clear(&mut now_in, now);
                    let bits = |fits: &dyn Fn(&Entered) -> bool| now_in.iter().filter(|e| fits(e)).fold(0, |bits, e| bits | 1 << e.day_index);
                    // Whoever is on the site came in by a gate that does not stand inside it.
                    let (came, inside) = (bits(&|e| e.undone_at.is_none()), bits(&|e| e.is_open() && ground.place(e.zone_id).is_none()));
                    mates.of.entry(order_id).or_default().push(Mate { ticket_id, pass_number, day_mask, came, inside });
                }
                TicketKind::AddOn if visit.is_valid => {
                    let is_collected = collected(&known).is_some();
                    mates.extras.entry(order_id).or_default().push(Extra { ticket_id, number: pass_number, is_collected });
                }
                TicketKind::Pass | TicketKind::AddOn => {}
            }
            entries.insert(visit.ticket_id, known);
        }
        Ok((mates, entries))
    }

    fn others(&self, order: OrderId, ticket: TicketId) -> impl Iterator<Item = &Mate> {
        self.of.get(&order).into_iter().flatten().filter(move |mate| mate.ticket_id != ticket)
    }

    /// Whether the company that a pass asks for is in; `None` where it asks for none.
    pub(super) fn company(&self, catalog: &Catalog, ticket: &Scanned, pass_number: i32, day: i16) -> Option<bool> {
        let wanted = catalog.companions(pass_number);
        let is_there = |mate: &Mate| wanted.contains(&mate.pass_number) && mate.inside >> day & 1 == 1;
        (!wanted.is_empty()).then(|| self.others(ticket.order_id, ticket.ticket_id).any(is_there))
    }

    /// How many others may come in on a day and did not yet; `None` for an order of one, or when all are in.
    pub(super) fn not_in(&self, ticket: &Scanned, day: Option<i16>) -> Option<u32> {
        let day = day?;
        let waiting = |mate: &&Mate| mate.day_mask >> day & 1 == 1 && mate.came >> day & 1 == 0;
        // An add-on has no company.
        let count = if ticket.kind == TicketKind::Pass { self.others(ticket.order_id, ticket.ticket_id).filter(waiting).count() } else { 0 };
        u32::try_from(count).ok().filter(|n| *n > 0)
    }

    /// The numbers of the add-ons of an order that nobody collected yet, with how many of each; none for the scan of an add-on itself.
    pub(super) fn to_collect(&self, ticket: &Scanned) -> Vec<(i32, u32)> {
        let mut counts: BTreeMap<i32, u32> = BTreeMap::new();
        let extras = self.extras.get(&ticket.order_id).into_iter().flatten();
        for extra in extras.filter(|extra| ticket.kind == TicketKind::Pass && !extra.is_collected) {
            *counts.entry(extra.number).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// Notes how somebody, or something, of this batch stands now.
    pub(super) fn moved(&mut self, ticket: &Scanned, entry: &Entered, on_site: bool) {
        for extra in self.extras.get_mut(&ticket.order_id).into_iter().flatten().filter(|extra| extra.ticket_id == ticket.ticket_id) {
            extra.is_collected = entry.undone_at.is_none();
        }
        let bit = 1 << entry.day_index;
        for mate in self.of.get_mut(&ticket.order_id).into_iter().flatten().filter(|mate| mate.ticket_id == ticket.ticket_id) {
            if entry.undone_at.is_none() {
                mate.came |= bit;
            }
            match (on_site, entry.is_open()) {
                (true, true) => mate.inside |= bit,
                (true, false) => mate.inside &= !bit,
                (false, _) => {}
            }
        }
    }
}
