//! What happens to everybody at once: a hold stops the gates, a clearing empties the site or a zone.
//!
//! ```text
//! hold:      began -> ended                                nobody comes in by its gates meanwhile; whoever wants to leave leaves
//! clearing:  planned -> (called off) | cleared             nobody is in any more; whoever was may come back until a moment, whatever their pass says
//! ```
//!
//! Both are kept with their moments: gates without network report later, and are judged by what held when they scanned.

pub mod api;
pub mod code;
pub mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::{ClearingId, FestivalId, GateId, HoldId, ZoneId},
};

/// How long people may be let back in after a clearing.
const READMITTED: TimeDelta = TimeDelta::days(7);
/// How long before its moment a clearing can be called off at the latest.
pub const SETTLED: TimeDelta = TimeDelta::seconds(5);
/// How far ahead a clearing is planned.
const AHEAD: TimeDelta = TimeDelta::days(400);

/// A hold: nobody comes in by its gates while it lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Object, Serialize, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct GateHold {
    /// Its id.
    pub hold_id: HoldId,
    /// The only gate that it holds.
    pub gate_id: Option<GateId>,
    /// The zone whose gates it holds. Without gate and zone it holds all.
    pub zone_id: Option<ZoneId>,
    /// Why, for the staff.
    pub note: String,
    /// Since when.
    pub began_at: DateTime<Utc>,
    /// Until when; without one it lasts.
    pub ended_at: Option<DateTime<Utc>>,
}

impl GateHold {
    /// Whether it holds a gate at a moment.
    #[must_use]
    pub fn covers(&self, gate: GateId, zone: Option<ZoneId>, at: DateTime<Utc>) -> bool {
        let here = match (self.gate_id, self.zone_id) {
            (Some(held), _) => held == gate,
            (None, Some(held)) => zone == Some(held),
            (None, None) => true,
        };
        here && self.began_at <= at && self.ended_at.is_none_or(|end| at < end)
    }
}

/// A moment when everybody is out of the site or of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Object, Serialize, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Clearing {
    /// Its id.
    pub clearing_id: ClearingId,
    /// The zone; without one the site with all its zones.
    pub zone_id: Option<ZoneId>,
    /// When.
    pub clears_at: DateTime<Utc>,
    /// Until when whoever was in may come back, whatever their pass says.
    pub readmits_until: Option<DateTime<Utc>>,
    /// Why, for the staff.
    pub note: String,
}

impl Clearing {
    /// Whether it empties a zone.
    #[must_use]
    pub fn is_of(&self, zone: Option<ZoneId>) -> bool {
        self.zone_id.is_none() || self.zone_id == zone
    }
}

/// A clearing to be made.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewClearing {
    /// The zone; without one the site with all its zones.
    pub zone_id: Option<ZoneId>,
    /// When; without one now.
    pub clears_at: Option<DateTime<Utc>>,
    /// Until when whoever was in may come back, whatever their pass says.
    pub readmits_until: Option<DateTime<Utc>>,
    /// Why, for the staff.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

/// Holds a gate, the gates into a zone, or all gates, from now on.
///
/// # Errors
/// [`Fault`].
pub async fn hold(app: &App, staff: &Staff, festival: FestivalId, gate_id: Option<GateId>, zone_id: Option<ZoneId>, note: String) -> Result<GateHold, Fault> {
    Checks::default()
        .claim(gate_id.is_none() || zone_id.is_none(), "/zone_id", "a gate or a zone, not both")
        .claim(gate_id.is_none_or(|gate| gate.festival() == festival), "/gate_id", "not a gate of this festival")
        .claim(zone_id.is_none_or(|zone| zone.festival() == festival), "/zone_id", "not a zone of this festival")
        .done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let hold = GateHold { hold_id: HoldId::fresh(festival, now), gate_id, zone_id, note, began_at: now, ended_at: None };
    store::insert_hold(&mut tx, festival, &hold).await?;
    audit::record(&mut tx, act(staff, festival, "gates.held", hold.hold_id.to_string(), json!({ "gate_id": gate_id, "zone_id": zone_id })), now).await?;
    tx.commit().await?;
    Ok(hold)
}

/// Ends a hold; doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn end_hold(app: &App, staff: &Staff, hold: HoldId) -> Result<GateHold, Fault> {
    let (now, festival) = (app.clock.now(), hold.festival());
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let ended = store::end_hold(&mut tx, hold, now).await?.ok_or(Fault::NotFound)?;
    if ended.ended_at == Some(now) {
        audit::record(&mut tx, act(staff, festival, "gates.released", hold.to_string(), json!({})), now).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

/// Empties the site or a zone: now, or at an hour that is known before.
///
/// # Errors
/// [`Fault`].
pub async fn clear(app: &App, staff: &Staff, festival: FestivalId, wish: &NewClearing) -> Result<Clearing, Fault> {
    let now = app.clock.now();
    let clears_at = wish.clears_at.unwrap_or(now);
    let back = wish.readmits_until.is_none_or(|until| until > clears_at && until - clears_at <= READMITTED);
    Checks::default()
        .claim(wish.zone_id.is_none_or(|zone| zone.festival() == festival), "/zone_id", "not a zone of this festival")
        .claim(clears_at >= now && clears_at - now <= AHEAD, "/clears_at", "now or later, at most 400 days ahead")
        .claim(back, "/readmits_until", "after that moment, at most a week")
        .done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let clearing = Clearing {
        clearing_id: ClearingId::fresh(festival, now),
        zone_id: wish.zone_id,
        clears_at,
        readmits_until: wish.readmits_until,
        note: wish.note.clone(),
    };
    store::insert_clearing(&mut tx, festival, &clearing, now).await?;
    let after = json!({ "zone_id": clearing.zone_id, "clears_at": clears_at, "readmits_until": clearing.readmits_until });
    audit::record(&mut tx, act(staff, festival, "site.cleared", clearing.clearing_id.to_string(), after), now).await?;
    tx.commit().await?;
    Ok(clearing)
}

/// Calls a clearing off that lies ahead.
///
/// # Errors
/// [`Fault::Conflict`]: it has happened, and scans were decided by it.
pub async fn call_off(app: &App, staff: &Staff, clearing: ClearingId) -> Result<Clearing, Fault> {
    let (now, festival) = (app.clock.now(), clearing.festival());
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let found = store::clearing(&mut tx, clearing).await?.ok_or(Fault::NotFound)?;
    // Gates know of it for a second longer, and clocks differ by two.
    if found.clears_at <= now + SETTLED {
        return Err(Fault::Conflict("it has happened, or does in five seconds: scans are decided by it".to_owned()));
    }
    store::delete_clearing(&mut tx, clearing).await?;
    audit::record(&mut tx, act(staff, festival, "clearing.called_off", clearing.to_string(), json!({})), now).await?;
    tx.commit().await?;
    Ok(found)
}

fn act(staff: &Staff, festival: FestivalId, action: &'static str, object_id: String, after: serde_json::Value) -> Act<'static> {
    Act { festival, actor: staff.actor, action, object_kind: "gates", object_id, before: None, after: Some(after) }
}
