//! What is known of a ticket while reports of it are merged: what it was when, who came in, who left, what was reported.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    entry::{
        Reason, ScanKind, Verdict,
        catalog::Catalog,
        decide::{Entered, Known},
        replay::Fact,
        store::{self, Report},
    },
    id::{FestivalId, TicketId},
    sabotage,
    tickets::{self, Scanned},
};

/// All that is known of a ticket while its reports are merged.
pub(super) struct Story {
    pub(super) ticket: Scanned,
    pub(super) changes: Vec<tickets::Before>,
    /// How its entries stand in their rows.
    pub(super) rows: Vec<Entered>,
    /// Entries that this batch adds.
    pub(super) added: Vec<Entered>,
    /// Exits and undos.
    pub(super) moves: Vec<store::Move>,
    pub(super) reports: Vec<Report>,
}

impl Story {
    /// The ticket as it was at a moment, without its entries.
    pub(super) fn known(&self, at: DateTime<Utc>) -> Known {
        let next = self.changes.iter().filter(|c| c.changed_at > at).min_by_key(|c| c.changed_at);
        let (generation, status) = next.map_or((self.ticket.generation, self.ticket.status), |c| (c.before_generation, c.before_status));
        Known {
            kind: self.ticket.kind,
            status,
            generation,
            day_mask: self.ticket.day_mask,
            has_note: self.ticket.noted_at.is_some_and(|noted| noted <= at),
            entries: Vec::new(),
        }
    }

    pub(super) fn entries(&self) -> Vec<Entered> {
        let mut entries: Vec<Entered> = self.rows.iter().chain(&self.added).cloned().collect();
        entries.sort_by_key(|e| (e.entered_at, e.scan_id));
        entries
    }

    pub(super) fn facts(&self, catalog: &Catalog) -> Vec<Fact> {
        let came = self.rows.iter().chain(&self.added).cloned().map(Fact::CameIn);
        let moved = self.moves.iter().map(|m| match m.kind {
            ScanKind::Undo => Fact::TakenBack { scan_id: m.scan_id, device_id: Some(m.device_id), at: m.at },
            ScanKind::Entry | ScanKind::Exit | ScanKind::Look => Fact::Left { scan_id: m.scan_id, zone_id: m.zone_id, at: m.at },
        });
        // How full a zone was and who else was there nobody knows better than the device.
        let of_moment = |r: &&Report| matches!(r.reason, Some(Reason::ZoneFull | Reason::NeedsCompanion));
        let refused =
            self.reports.iter().filter(|r| r.kind == ScanKind::Entry && r.verdict == Verdict::Refused && r.ruled != Verdict::Refused && !of_moment(r));
        // An add-on is collected once; day 0 stands for "whenever".
        let collected = (self.ticket.kind == tickets::TicketKind::AddOn).then_some(0);
        let turned = |r: &Report, day_index| Fact::TurnedAway { scan_id: r.scan_id, day_index, zone_id: catalog.zone(r.gate_id), at: r.happened_at };
        let away = refused.filter_map(|r| r.day_index.or(collected).map(|day_index| turned(r, day_index)));
        came.chain(moved).chain(away).collect()
    }
}

/// Locks tickets and reads all that is known of them.
pub(super) async fn stories(conn: &mut PgConnection, festival: FestivalId, numbers: &[i64]) -> Result<BTreeMap<i64, Story>, sqlx::Error> {
    let tickets = if sabotage::no_lock() { tickets::by_numbers(conn, festival, numbers).await? } else { tickets::lock(conn, festival, numbers).await? };
    let ids: Vec<TicketId> = tickets.iter().map(|t| t.ticket_id).collect();
    let mut rows = store::entries(conn, festival, &ids).await?;
    let mut moves = by_ticket(store::moves(conn, festival, &ids).await?, |m| Some(m.ticket_id));
    let mut reports = by_ticket(store::reports_of(conn, festival, &ids).await?, |r| r.ticket_id);
    let mut changes = by_ticket(tickets::changes(conn, festival, &ids).await?, |c| Some(c.ticket_id));
    let story = |ticket: Scanned| {
        let id = ticket.ticket_id;
        let mut of = Story { ticket, changes: Vec::new(), rows: Vec::new(), added: Vec::new(), moves: Vec::new(), reports: Vec::new() };
        of.rows = rows.remove(&id).unwrap_or_default();
        of.moves = moves.remove(&id).unwrap_or_default();
        of.reports = reports.remove(&id).unwrap_or_default();
        of.changes = changes.remove(&id).unwrap_or_default();
        (of.ticket.ticket_number, of)
    };
    Ok(tickets.into_iter().map(story).collect())
}

fn by_ticket<T>(rows: Vec<T>, ticket: impl Fn(&T) -> Option<TicketId>) -> HashMap<TicketId, Vec<T>> {
    let mut by: HashMap<TicketId, Vec<T>> = HashMap::new();
    for row in rows {
        if let Some(id) = ticket(&row) {
            by.entry(id).or_default().push(row);
        }
    }
    by
}
