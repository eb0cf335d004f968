//! The discrepancy ledger: every surplus admission, and every verdict of a device that the server would have given otherwise. Derived from what
//! happened ([`super::merge`]); an entry that later facts explain is withdrawn, not deleted. Supervisors follow it live and decide by name.

pub mod api;
pub mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use super::{Reason, ScanKind, Verdict, decide::Entered, store::Report};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    festivals,
    id::{DeviceId, DiscrepancyId, FestivalId, GateId, ScanId, TicketId},
};

pub(super) use store::{known, write};

/// Rows of an export that are read at once.
const ROWS: u32 = 1_000;

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DiscrepancyKind {
    /// Somebody came in on a ticket that somebody was in on already.
    SurplusAdmission,
    /// Somebody came in by a code that was dead by then: of an old generation, void, suspended, exchanged, or of a revoked key.
    RevokedAdmission,
    /// A device let somebody in whom the rules would have refused or had checked.
    AdmittedOtherwise,
    /// A device refused somebody whom the rules would have let in.
    RefusedOtherwise,
    /// The clock of the device was off by more than five minutes, so the moment is doubtful.
    ClockOff,
}

impl DiscrepancyKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::SurplusAdmission, Self::RevokedAdmission, Self::AdmittedOtherwise, Self::RefusedOtherwise, Self::ClockOff];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SurplusAdmission => "surplus_admission",
            Self::RevokedAdmission => "revoked_admission",
            Self::AdmittedOtherwise => "admitted_otherwise",
            Self::RefusedOtherwise => "refused_otherwise",
            Self::ClockOff => "clock_off",
        }
    }
}

/// What somebody made of a discrepancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DiscrepancyDecision {
    /// Nothing was wrong: it is known how it came about.
    Explained,
    /// A mistake of the staff.
    StaffMistake,
    /// A fraud.
    Fraud,
    /// Open again.
    Open,
}

impl DiscrepancyDecision {
    /// Every decision.
    pub const ALL: [Self; 4] = [Self::Explained, Self::StaffMistake, Self::Fraud, Self::Open];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::StaffMistake => "staff_mistake",
            Self::Fraud => "fraud",
            Self::Open => "open",
        }
    }
}

/// An entry of the ledger.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Discrepancy {
    /// Its id.
    pub discrepancy_id: DiscrepancyId,
    /// What was wrong.
    pub kind: DiscrepancyKind,
    /// The scan.
    pub scan_id: ScanId,
    /// The ticket, where the code was one of ours.
    pub ticket_id: Option<TicketId>,
    /// Where.
    pub gate_id: GateId,
    /// The device that decided.
    pub device_id: DeviceId,
    /// When, by the clock of the house.
    pub happened_at: DateTime<Utc>,
    /// Why the rules say otherwise, or why the device refused.
    pub reason: Option<Reason>,
    /// The admission before, for a surplus.
    pub first_scan_id: Option<ScanId>,
    /// The gate of that admission.
    pub first_gate_id: Option<GateId>,
    /// The device of that admission.
    pub first_device_id: Option<DeviceId>,
    /// When that was.
    pub first_at: Option<DateTime<Utc>>,
    /// When it was found.
    pub found_at: DateTime<Utc>,
    /// When later facts explained it.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// What somebody made of it; `open` while nobody did.
    pub decision: DiscrepancyDecision,
    /// What they wrote.
    pub note: Option<String>,
    /// Who: a member or a token.
    pub decided_by: Option<uuid::Uuid>,
    /// Their name.
    pub decided_by_name: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Where it stands among what changed: a larger one changed later.
    pub position: i64,
}

/// The admission before a surplus one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) scan_id: ScanId,
    pub(super) gate_id: GateId,
    pub(super) device_id: Option<DeviceId>,
    pub(super) at: DateTime<Utc>,
}

impl First {
    pub(super) fn of(entered: &Entered) -> Self {
        Self { scan_id: entered.scan_id, gate_id: entered.gate_id, device_id: entered.device_id, at: entered.entered_at }
    }
}

/// What follows from the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) scan_id: ScanId,
    pub(super) kind: DiscrepancyKind,
    pub(super) ticket_id: Option<TicketId>,
    pub(super) gate_id: GateId,
    pub(super) device_id: DeviceId,
    pub(super) happened_at: DateTime<Utc>,
    pub(super) reason: Option<Reason>,
    pub(super) first: Option<First>,
}

impl Found {
    pub(super) fn surplus(ticket: TicketId, entered: &Entered, reason: Reason, first: First) -> Self {
        Self {
            scan_id: entered.scan_id,
            kind: DiscrepancyKind::SurplusAdmission,
            ticket_id: Some(ticket),
            gate_id: entered.gate_id,
            device_id: entered.device_id.unwrap_or_default(),
            happened_at: entered.entered_at,
            reason: Some(reason),
            first: Some(first),
        }
    }

    /// What a report shows by itself; `turned_away`: it refused somebody who was not in.
    pub(super) fn of(report: &Report, turned_away: bool) -> Vec<Self> {
        let admitted = report.kind == ScanKind::Entry && report.verdict == Verdict::Admitted && report.ruled != Verdict::Admitted;
        let kind = match report.ruled_reason {
            Some(Reason::Revoked | Reason::Suspended | Reason::Exchanged | Reason::KeyRetired) => DiscrepancyKind::RevokedAdmission,
            _ => DiscrepancyKind::AdmittedOtherwise,
        };
        let kinds = [
            admitted.then_some((kind, report.ruled_reason)),
            turned_away.then_some((DiscrepancyKind::RefusedOtherwise, report.reason)),
            report.is_doubtful.then_some((DiscrepancyKind::ClockOff, None)),
        ];
        let found = |(kind, reason)| Self {
            scan_id: report.scan_id,
            kind,
            ticket_id: report.ticket_id,
            gate_id: report.gate_id,
            device_id: report.device_id,
            happened_at: report.happened_at,
            reason,
            first: None,
        };
        kinds.into_iter().flatten().map(found).collect()
    }
}

/// How an entry of the ledger stands in its row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) discrepancy_id: DiscrepancyId,
    pub(super) found: Found,
    pub(super) is_withdrawn: bool,
}

/// A row that is to be written.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nobody knew of it.
    New(Found),
    /// It is otherwise now, or true again.
    Otherwise(DiscrepancyId, Found),
    /// Later facts explain it.
    Withdrawn(DiscrepancyId),
}

/// What differs between what follows from the facts and what the ledger has.
pub(super) fn changed(found: &[Found], rows: Vec<Row>) -> Vec<Change> {
    let mut rows: HashMap<(ScanId, DiscrepancyKind), Row> = rows.into_iter().map(|r| ((r.found.scan_id, r.found.kind), r)).collect();
    let mut changes = Vec::new();
    for found in found {
        match rows.remove(&(found.scan_id, found.kind)) {
            None => changes.push(Change::New(found.clone())),
            Some(row) if row.is_withdrawn || row.found != *found => changes.push(Change::Otherwise(row.discrepancy_id, found.clone())),
            Some(_) => {}
        }
    }
    changes.extend(rows.into_values().filter(|row| !row.is_withdrawn).map(|row| Change::Withdrawn(row.discrepancy_id)));
    changes
}

/// Which entries of the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which {
    /// Only those that nobody decided and nothing explained.
    pub open: bool,
    /// Only of this gate.
    pub gate_id: Option<GateId>,
    /// Only of this kind.
    pub kind: Option<DiscrepancyKind>,
}

/// Decides an entry of the ledger; what was decided before stays in the history.
///
/// # Errors
/// [`Fault`].
pub async fn decide(app: &App, staff: &Staff, id: DiscrepancyId, decision: DiscrepancyDecision, note: &str) -> Result<Discrepancy, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::one(&mut tx, staff.promoter, id).await?.ok_or(Fault::NotFound)?;
    let by = staff.actor.id().unwrap_or_default();
    // The row of the feed is locked by this, so whoever decides at the same moment comes later.
    let position = festivals::take_positions(&mut tx, id.festival(), "admissions", 1).await?;
    store::insert_decision(&mut tx, id, decision, note, by, now).await?;
    store::place(&mut tx, id, position).await?;
    let act = Act {
        festival: id.festival(),
        actor: staff.actor,
        action: "discrepancy.decided",
        object_kind: "discrepancy",
        object_id: id.to_string(),
        before: Some(serde_json::json!({ "decision": before.decision })),
        after: Some(serde_json::json!({ "decision": decision })),
    };
    audit::record(&mut tx, act, now).await?;
    let after = store::one(&mut tx, staff.promoter, id).await?.ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(after)
}

/// How often the ledger has something at each gate.
#[derive(Clone, Debug, Object, FromRow)]
pub struct GateReport {
    /// The gate.
    pub gate_id: GateId,
    /// Entries that happened there, taken back ones left out.
    pub admissions: i64,
    /// Entries of these that a device let in without the server.
    pub offline_admissions: i64,
    /// Refusals there.
    pub refusals: i64,
    /// Surplus admissions that nothing explained.
    pub surplus_admissions: i64,
    /// Other entries of the ledger that nothing explained.
    pub other_discrepancies: i64,
    /// Entries of the ledger that nobody decided.
    pub open_discrepancies: i64,
}

/// The ledger by gate.
///
/// # Errors
/// What the database said.
pub async fn by_gate(conn: &mut PgConnection, festival: FestivalId) -> Result<Vec<GateReport>, sqlx::Error> {
    store::by_gate(conn, festival).await
}

/// The whole ledger of a festival as a table with a head (RFC 4180), newest first.
///
/// # Errors
/// What the database said.
pub async fn export(conn: &mut PgConnection, festival: FestivalId) -> Result<String, sqlx::Error> {
    let mut all: Vec<Discrepancy> = Vec::new();
    loop {
        let last = all.last().map(|d| d.discrepancy_id.0);
        let page = store::page(conn, festival, Which::default(), last, ROWS).await?;
        let is_last = page.len() < ROWS as usize;
        all.extend(page);
        if is_last {
            return table(&all).map_err(sqlx::Error::Encode);
        }
    }
}

fn table(all: &[Discrepancy]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([
        "discrepancy_id",
        "kind",
        "happened_at",
        "gate_id",
        "device_id",
        "scan_id",
        "ticket_id",
        "reason",
        "first_at",
        "first_gate_id",
        "first_device_id",
        "first_scan_id",
        "found_at",
        "withdrawn_at",
        "decision",
        "note",
        "decided_by",
        "decided_by_name",
        "decided_at",
    ])?;
    let text = |value: Option<String>| value.unwrap_or_default();
    // A spreadsheet takes a cell that begins so for a formula.
    let safe = |words: Option<&str>| match words.unwrap_or_default() {
        words if words.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{words}"),
        words => words.to_owned(),
    };
    for d in all {
        table.write_record([
            d.discrepancy_id.to_string(),
            d.kind.name().to_owned(),
            d.happened_at.to_rfc3339(),
            d.gate_id.to_string(),
            d.device_id.to_string(),
            d.scan_id.to_string(),
            text(d.ticket_id.map(|id| id.to_string())),
            text(d.reason.map(|r| r.name().to_owned())),
            text(d.first_at.map(|at| at.to_rfc3339())),
            text(d.first_gate_id.map(|id| id.to_string())),
            text(d.first_device_id.map(|id| id.to_string())),
            text(d.first_scan_id.map(|id| id.to_string())),
            d.found_at.to_rfc3339(),
            text(d.withdrawn_at.map(|at| at.to_rfc3339())),
            d.decision.name().to_owned(),
            safe(d.note.as_deref()),
            text(d.decided_by.map(|id| id.to_string())),
            safe(d.decided_by_name.as_deref()),
            text(d.decided_at.map(|at| at.to_rfc3339())),
        ])?;
    }
    Ok(String::from_utf8(table.into_inner()?)?)
}
