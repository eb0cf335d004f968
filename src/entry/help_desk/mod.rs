//! The help desk: whom gates sent there. A check that was answered by "help desk", or not at all for two minutes, is a case until its ticket comes in or
//! somebody says what became of it.

pub mod api;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object};
use sqlx::{FromRow, PgConnection};

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::Fault,
    fresh::Fresh,
    id::{DeviceId, FestivalId, GateId, ScanId, TicketId},
    offers::Instruction,
    tickets,
};

/// How long a check waits for its answer before it is the help desk's.
const UNANSWERED: TimeDelta = TimeDelta::minutes(2);
/// How long somebody is waited for.
const OPEN: TimeDelta = TimeDelta::hours(24);

/// What became of somebody at the help desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum CaseOutcome {
    /// All is well.
    Solved,
    /// They were sent away.
    SentAway,
}

impl CaseOutcome {
    /// Every outcome.
    pub const ALL: [Self; 2] = [Self::Solved, Self::SentAway];

    /// Its name in JSON, rows and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Solved => "solved",
            Self::SentAway => "sent_away",
        }
    }
}

/// Somebody whom a gate sent to the help desk, and who did not come in since.
#[derive(Clone, Debug, PartialEq, Eq, Object, FromRow)]
pub struct HelpDeskCase {
    /// The scan that was checked last.
    pub scan_id: ScanId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The last four characters of its number.
    pub ticket_end: String,
    /// Where.
    pub gate_id: GateId,
    /// By which device.
    pub device_id: DeviceId,
    /// What the staff looked at.
    pub instruction: Option<Instruction>,
    /// When.
    pub sent_at: DateTime<Utc>,
    /// Whether the staff sent them; else nobody answered the check.
    pub was_sent: bool,
}

/// The cases of festivals, read once for everybody who looks.
pub type KnownCases = Fresh<FestivalId, Vec<HelpDeskCase>>;

/// The open cases of a festival, newest first, at most two hundred.
///
/// # Errors
/// What the database said.
pub async fn cases(conn: &mut PgConnection, festival: FestivalId, now: DateTime<Utc>) -> Result<Vec<HelpDeskCase>, sqlx::Error> {
    store::cases(conn, festival, now - OPEN, now - UNANSWERED).await
}

/// Says what became of a case, by name: whatever a gate says of the ticket from now on is another one.
///
/// # Errors
/// [`Fault`].
pub async fn decide(app: &App, staff: &Staff, ticket: TicketId, outcome: CaseOutcome, note: &str) -> Result<(), Fault> {
    let (festival, now) = (ticket.festival(), app.clock.now());
    let mut tx = app.for_promoter(staff.promoter).await?;
    crate::festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    if !tickets::is_there(&mut tx, ticket).await? {
        return Err(Fault::NotFound);
    }
    store::insert(&mut tx, ticket, outcome, note, staff.actor.id().unwrap_or_default(), now).await?;
    let (action, object_kind, object_id) = ("help_desk.decided", "ticket", ticket.to_string());
    let act = Act { festival, actor: staff.actor, action, object_kind, object_id, before: None, after: Some(serde_json::json!({ "outcome": outcome.name() })) };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    // Whoever decided sees it.
    app.the::<KnownCases>().forget();
    Ok(())
}
