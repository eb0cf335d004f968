//! Shifts: a member's time at the gates. Its six digits sign them in on any paired device of the festival, so that overrides and look-ups carry a name.
//!
//! ```text
//! shift:            began -> ended (by its member, by their next one, or by its hour)
//! device's shift:   signed in -> signed out | its shift ended | somebody else signed in
//! ```

pub(super) mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;
use serde_json::json;

use super::{Device, DeviceCache, Member, Scope};
use crate::{
    app::App,
    audit::{self, Act, Actor},
    fault::Fault,
    id::{DeviceId, FestivalId, MemberId, ShiftId},
    secrets::{self, Purpose},
};

/// The longest shift.
const LONGEST: TimeDelta = TimeDelta::hours(16);
/// How long wrong digits are counted.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);
/// How many wrong digits a device may type in that time, and all devices of a festival together: whoever pairs many devices guesses no more.
const TRIES: i16 = 10;
const TRIES_OF_ALL: i64 = 100;

/// A member's time at the gates, with the digits that sign them in.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Its id.
    pub shift_id: ShiftId,
    /// Since when.
    pub began_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
    /// Six digits.
    pub code: String,
}

/// Who supervises on a device.
#[derive(Clone, Debug, Object)]
pub struct Supervising {
    /// Their name.
    pub name: String,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// Begins a shift of a member; the one before ends.
///
/// # Errors
/// [`Fault`].
pub async fn begin(app: &App, member: &Member, festival: FestivalId, lasts: TimeDelta) -> Result<Shift, Fault> {
    if member.staff.may(Scope::GatesWrite).is_err() {
        return Err(Fault::NotFound);
    }
    let now = app.clock.now();
    let lasts = lasts.clamp(TimeDelta::hours(1), LONGEST);
    let mut tx = app.for_promoter(member.staff.promoter).await?;
    if !super::store::runs(&mut tx, member.staff.promoter, festival).await? {
        return Err(Fault::NotFound);
    }
    // Whoever begins at the same moment waits here, so no two that run have the same digits.
    let running = store::lock_running(&mut tx, festival, now).await?;
    let taken: Vec<String> = running.iter().map(|r| app.secrets.digits(Purpose::ShiftCode, r.shift_id.0)).collect();
    let (shift_id, code) = loop {
        let id = ShiftId::fresh(festival, now);
        let code = app.secrets.digits(Purpose::ShiftCode, id.0);
        if !taken.contains(&code) {
            break (id, code);
        }
    };
    store::end(&mut tx, festival, member.member_id, now).await?;
    store::insert(&mut tx, shift_id, member.member_id, now, now + lasts).await?;
    audit::record(&mut tx, act(festival, Actor::Member(member.member_id), "shift.began", shift_id, json!({ "ends_at": now + lasts })), now).await?;
    tx.commit().await?;
    Ok(Shift { shift_id, began_at: now, ends_at: now + lasts, code })
}

/// Ends the shift of a member: whatever device they are signed in on forgets them within seconds.
///
/// # Errors
/// [`Fault`].
pub async fn end(app: &App, member: &Member, festival: FestivalId) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(member.staff.promoter).await?;
    if let Some(shift) = store::end(&mut tx, festival, member.member_id, now).await? {
        audit::record(&mut tx, act(festival, Actor::Member(member.member_id), "shift.ended", shift, json!({})), now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The shift of a member that runs.
///
/// # Errors
/// What the database said.
pub async fn running(app: &App, member: &Member, festival: FestivalId) -> Result<Option<Shift>, Fault> {
    let mut tx = app.for_promoter(member.staff.promoter).await?;
    let mut all = store::running(&mut tx, festival, app.clock.now()).await?;
    all.retain(|r| r.member_id == member.member_id);
    Ok(all.pop().map(|r| Shift { code: app.secrets.digits(Purpose::ShiftCode, r.shift_id.0), shift_id: r.shift_id, began_at: r.began_at, ends_at: r.ends_at }))
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum ShiftError {
    /// No shift that runs has these digits.
    #[error("no shift that runs has these digits")]
    Wrong,
    /// Too many wrong digits within an hour, on the device or on all of the festival.
    #[error("too many wrong codes: no more are taken for an hour")]
    TooOften,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Signs a member in on a device by the digits of their shift; whoever was before is signed out.
///
/// # Errors
/// [`ShiftError`].
pub async fn sign_in(app: &App, device: &Device, digits: &str) -> Result<Supervising, ShiftError> {
    let (now, festival) = (app.clock.now(), device.festival_id);
    let mut tx = app.pools.web.begin().await?;
    let Some(nth) = store::count_try(&mut tx, device.device_id, now, now - REMEMBERED).await? else { return Err(ShiftError::TooOften) };
    if store::tries(&mut tx, festival, now - REMEMBERED).await? > TRIES_OF_ALL {
        tx.commit().await?;
        return Err(ShiftError::TooOften);
    }
    let typed: String = digits.chars().filter(char::is_ascii_digit).take(12).collect();
    let right = |shift: &store::Running| secrets::same(app.secrets.digits(Purpose::ShiftCode, shift.shift_id.0).as_bytes(), typed.as_bytes());
    let running = store::running(&mut tx, festival, now).await?;
    let Some(shift) = running.into_iter().find(right) else {
        // The try is counted although it failed.
        if nth == TRIES {
            let id = device.device_id;
            let object_id = id.to_string();
            let barred = Act { festival, actor: Actor::Device(id.0), action: "supervisor.barred", object_kind: "device", object_id, before: None, after: None };
            audit::record(&mut tx, barred, now).await?;
        }
        tx.commit().await?;
        return Err(ShiftError::Wrong);
    };
    store::sign_out(&mut tx, device.device_id, now).await?;
    store::sign_in(&mut tx, device.device_id, shift.shift_id, now).await?;
    let after = json!({ "device_id": device.device_id, "gate_id": device.gate_id });
    audit::record(&mut tx, act(festival, Actor::Member(shift.member_id), "supervisor.signed_in", shift.shift_id, after), now).await?;
    tx.commit().await?;
    app.the::<DeviceCache>().forget(device.device_id);
    Ok(Supervising { name: shift.name, until: shift.ends_at })
}

/// Signs out whoever supervises on a device; doing it again changes nothing.
///
/// # Errors
/// What the database said.
pub async fn sign_out(app: &App, device: &Device) -> Result<(), sqlx::Error> {
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    if let Some(shift) = store::sign_out(&mut tx, device.device_id, now).await? {
        let actor = device.supervisor_id.map_or(Actor::Device(device.device_id.0), Actor::Member);
        audit::record(&mut tx, act(device.festival_id, actor, "supervisor.signed_out", shift, json!({ "device_id": device.device_id })), now).await?;
    }
    tx.commit().await?;
    app.the::<DeviceCache>().forget(device.device_id);
    Ok(())
}

/// Who supervised on a device, each from when until when.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Supervised {
    /// Who.
    pub member_id: MemberId,
    /// From when.
    pub began_at: DateTime<Utc>,
    /// Until when.
    pub ended_at: DateTime<Utc>,
}

/// Who supervised on a device since a moment.
///
/// # Errors
/// What the database said.
pub async fn supervised(conn: &mut sqlx::PgConnection, device: DeviceId, since: DateTime<Utc>) -> Result<Vec<Supervised>, sqlx::Error> {
    store::supervised(conn, device, since).await
}

fn act(festival: FestivalId, actor: Actor, action: &'static str, shift: ShiftId, after: serde_json::Value) -> Act<'static> {
    Act { festival, actor, action, object_kind: "shift", object_id: shift.to_string(), before: None, after: Some(after) }
}
