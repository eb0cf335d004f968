//! Gate devices: paired by a one-time code, known by a token, revoked within seconds.
//!
//! A code is `<festival>-<number>-<letters>`: the letters are derived from the pairing, so nothing usable is stored. For one device there are eight of
//! them, ten minutes and ten tries; on an enrolment sheet for several there are 26 (128 bits), until a time.

mod store;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;

use super::{Device, Staff, store::runs};
use crate::{
    app::App,
    audit::{self, Act, Actor},
    fault::{Checks, Fault},
    id::{DeviceId, FestivalId, GateId, PairingId},
    secrets::{self, Purpose},
};

/// The prefix of device tokens.
const DEVICE: &str = "gf_gate_";
/// How long a pairing code for one device is good.
const LIFE: TimeDelta = TimeDelta::minutes(10);
/// The most sheets of a festival that pair devices at the same time.
const SHEETS: usize = 100;
/// How long an enrolment sheet is good at most.
const SHEET: TimeDelta = TimeDelta::hours(24);
/// How long an answer about a token is believed: a revoked device is out after this.
const BELIEVED: Duration = Duration::from_secs(2);

/// A chance to pair a device, or several by a sheet.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Pairing {
    /// Its number within the festival.
    pub pairing_no: i32,
    /// The code to type or to show as a QR picture.
    pub pairing_code: String,
    /// The gate that the device will stand at.
    pub gate_id: GateId,
    /// The gates that it may be moved to by whoever holds it, that one among them.
    pub gate_ids: Vec<GateId>,
    /// `scan` or `supervisor`.
    pub profile: String,
    /// How many devices it pairs.
    pub most_devices: i16,
    /// How many it paired.
    pub devices: i16,
    /// When the code is over.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Pairing {
    fn of(app: &App, festival: FestivalId, no: i32, row: store::PairingRow) -> Self {
        let letters = letters(app, &row);
        let store::PairingRow { gate_id, gate_ids, profile, most_devices, devices, expires_at, revoked_at, .. } = row;
        let pairing_code = format!("{}-{no}-{letters}", festival.0);
        Self { pairing_no: no, pairing_code, gate_id, gate_ids, profile, most_devices, devices, expires_at, revoked_at }
    }

    /// Whether it pairs a device at a moment.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.expires_at > now && self.revoked_at.is_none() && self.devices < self.most_devices
    }
}

fn letters(app: &App, row: &store::PairingRow) -> String {
    if row.most_devices > 1 {
        app.secrets.link(Purpose::EnrolmentLink, row.pairing_id.0, 0).to_uppercase()
    } else {
        app.secrets.letters(Purpose::PairingCode, row.pairing_id.0, 0, 8)
    }
}

/// What is to be paired.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The gate that the devices will stand at.
    pub gate: GateId,
    /// Other gates that they may be moved to.
    pub others: &'a [GateId],
    /// `scan` or `supervisor`.
    pub profile: &'a str,
    /// How many devices: more than one is a sheet.
    pub devices: i16,
    /// Until when a sheet is good; 24 hours without one, and at most.
    pub until: Option<DateTime<Utc>>,
}

impl<'a> Wanted<'a> {
    /// One device at a gate.
    #[must_use]
    pub fn one(gate: GateId, profile: &'a str) -> Self {
        Self { gate, others: &[], profile, devices: 1, until: None }
    }
}

/// A device that was just paired, with its token: the only time that it is shown.
#[derive(Debug, Clone, Object)]
pub struct Paired {
    /// The device.
    pub device: Device,
    /// Its token, for `Authorization: Bearer`.
    pub token: String,
}

/// Offers a chance to pair a device at a gate, or a sheet that pairs several.
///
/// # Errors
/// [`Fault`].
pub async fn offer_pairing(app: &App, staff: &Staff, festival: FestivalId, wanted: &Wanted<'_>) -> Result<Pairing, Fault> {
    let mut gate_ids = vec![wanted.gate];
    gate_ids.extend(wanted.others.iter().filter(|other| **other != wanted.gate));
    let now = app.clock.now();
    let until = if wanted.devices > 1 { wanted.until.unwrap_or(now + SHEET).min(now + SHEET) } else { now + LIFE };
    Checks::default()
        .claim((1..=500).contains(&wanted.devices), "/devices", "1 to 500 devices")
        .claim(until > now, "/until", "a moment that is to come")
        .done()?;
    let pairing_id = PairingId::fresh(festival, now);
    let row = store::PairingRow {
        pairing_id,
        gate_id: wanted.gate,
        gate_ids,
        profile: wanted.profile.to_owned(),
        most_devices: wanted.devices,
        devices: 0,
        expires_at: until,
        revoked_at: None,
    };
    let mut tx = app.for_promoter(staff.promoter).await?;
    let no = store::insert_pairing(&mut tx, staff.promoter, &row, now).await?.ok_or(Fault::NotFound)?;
    if row.most_devices > 1 {
        if store::sheets(&mut tx, festival, now).await?.len() > SHEETS {
            return Err(Fault::Conflict(format!("{SHEETS} sheets pair devices still; revoke one first")));
        }
        audit::record(&mut tx, sheet(staff, festival, "enrolment.offered", &row), now).await?;
    }
    tx.commit().await?;
    Ok(Pairing::of(app, festival, no, row))
}

/// A pairing of a promoter's festival.
///
/// # Errors
/// [`Fault`].
pub async fn pairing(app: &App, staff: &Staff, festival: FestivalId, no: i32) -> Result<Pairing, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    let row = store::pairing(&mut tx, staff.promoter, festival, no).await?.ok_or(Fault::NotFound)?;
    Ok(Pairing::of(app, festival, no, row))
}

/// The sheets of a festival that pair devices still, the newest first.
///
/// # Errors
/// [`Fault`].
pub async fn sheets(app: &App, staff: &Staff, festival: FestivalId) -> Result<Vec<Pairing>, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    if !runs(&mut tx, staff.promoter, festival).await? {
        return Err(Fault::NotFound);
    }
    let rows = store::sheets(&mut tx, festival, app.clock.now()).await?;
    Ok(rows.into_iter().map(|(no, row)| Pairing::of(app, festival, no, row)).collect())
}

/// Revokes a pairing: it pairs nothing more, and what it paired stays paired. Doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn revoke_pairing(app: &App, staff: &Staff, festival: FestivalId, no: i32) -> Result<Pairing, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let row = store::revoke_pairing(&mut tx, staff.promoter, festival, no, now).await?.ok_or(Fault::NotFound)?;
    if row.revoked_at == Some(now) {
        audit::record(&mut tx, sheet(staff, festival, "enrolment.revoked", &row), now).await?;
    }
    tx.commit().await?;
    Ok(Pairing::of(app, festival, no, row))
}

fn sheet(staff: &Staff, festival: FestivalId, action: &'static str, row: &store::PairingRow) -> Act<'static> {
    Act {
        festival,
        actor: staff.actor,
        action,
        object_kind: "pairing",
        object_id: row.pairing_id.to_string(),
        before: None,
        after: Some(serde_json::json!({ "gate_ids": row.gate_ids, "profile": row.profile, "devices": row.most_devices, "until": row.expires_at })),
    }
}

/// Why a device was not paired.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Wrong, used, over, or tried ten times.
    #[error("wrong, used or over")]
    Over,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Pairs a device by a code.
///
/// # Errors
/// [`PairError`].
pub async fn pair(app: &App, code: &str, name: &str) -> Result<Paired, PairError> {
    let mut parts = code.trim().splitn(3, '-');
    let (Some(festival), Some(no), Some(letters)) = (parts.next(), parts.next(), parts.next()) else { return Err(PairError::Over) };
    let (Ok(festival), Ok(no)) = (festival.parse().map(FestivalId), no.parse::<i32>()) else { return Err(PairError::Over) };
    let typed: String = letters.to_uppercase().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    let row = store::try_pairing(&mut tx, festival, no).await?.ok_or(PairError::Over)?;
    let right = self::letters(app, &row);
    let pairing_id = row.pairing_id;
    let pairing = Pairing::of(app, festival, no, row);
    if !secrets::same(right.as_bytes(), typed.as_bytes()) || !pairing.is_good(now) {
        // The try is counted although it failed.
        tx.commit().await?;
        return Err(PairError::Over);
    }
    if !store::use_pairing(&mut tx, festival, no, now).await? {
        return Err(PairError::Over);
    }
    let token = secrets::fresh_token(DEVICE, festival);
    let device = Device {
        festival_id: festival,
        device_id: DeviceId::fresh(festival, now),
        gate_id: pairing.gate_id,
        gate_ids: pairing.gate_ids,
        name: name.to_owned(),
        profile: pairing.profile,
        paired_at: now,
        revoked_at: None,
        seen_at: None,
        waiting: None,
        battery: None,
        is_charging: None,
        supervisor_id: None,
        supervisor: None,
        supervisor_until: None,
    };
    store::insert_device(&mut tx, &device, &secrets::sha256(token.as_bytes())).await?;
    let mut paired = act(&device, Actor::Device(device.device_id.0), "device.paired");
    if let Some(after) = paired.after.as_mut() {
        after["pairing_id"] = serde_json::json!(pairing_id);
    }
    audit::record(&mut tx, paired, now).await?;
    tx.commit().await?;
    Ok(Paired { device, token })
}

fn act(device: &Device, actor: Actor, action: &'static str) -> Act<'static> {
    Act {
        festival: device.festival_id,
        actor,
        action,
        object_kind: "device",
        object_id: device.device_id.to_string(),
        before: None,
        after: Some(serde_json::json!({ "gate_id": device.gate_id, "gate_ids": device.gate_ids, "profile": device.profile })),
    }
}

/// What was last read about device tokens.
#[derive(Default)]
pub struct DeviceCache(Mutex<HashMap<[u8; 32], (Device, Instant)>>);

impl DeviceCache {
    /// Forgets what was read of a device: the next request reads it again.
    pub(super) fn forget(&self, device: DeviceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (known, _)| known.device_id != device);
    }
}

/// The device of a token; `None` when it is unknown or revoked (at most two seconds ago).
///
/// # Errors
/// What the database said.
pub async fn device_of(app: &App, token: &str) -> Result<Option<Device>, sqlx::Error> {
    let Some(festival) = secrets::token_festival(DEVICE, token) else { return Ok(None) };
    let hash = secrets::sha256(token.as_bytes());
    let cache = &app.the::<DeviceCache>().0;
    if let Some((device, read)) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
        && read.elapsed() < BELIEVED
    {
        return Ok(Some(device.clone()));
    }
    // Apart, because most scans read nothing here, and what they do not read takes no room in their futures.
    let device = Box::pin(store::device_of_hash(&app.pools.scan, festival, &hash, app.clock.now())).await?;
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.retain(|_, (_, read)| read.elapsed() < BELIEVED);
    if let Some(device) = &device {
        cache.insert(hash, (device.clone(), Instant::now()));
    }
    Ok(device)
}

/// How a device stands, as it says every few seconds.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// When it said so.
    pub at: DateTime<Utc>,
    /// The gate it stands at.
    pub gate_id: GateId,
    /// How many of its scans and head counts wait to be reported.
    pub waiting: i32,
    /// Its battery, in percent.
    pub battery: Option<i16>,
    /// Whether it is charging.
    pub is_charging: Option<bool>,
}

/// What devices said to this server since it was written down: once a minute.
#[derive(Default)]
pub struct Pulses(Mutex<HashMap<DeviceId, Pulse>>);

/// Notes how a device stands.
pub fn heard(app: &App, device: &Device, pulse: Pulse) {
    app.the::<Pulses>().0.lock().unwrap_or_else(PoisonError::into_inner).insert(device.device_id, pulse);
}

/// Writes down how devices stand.
///
/// # Errors
/// What the database said; the next minute knows more.
pub async fn flush_pulses(app: &App) -> Result<(), sqlx::Error> {
    let pulses: Vec<(DeviceId, Pulse)> = app.the::<Pulses>().0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
    if pulses.is_empty() {
        return Ok(());
    }
    let mut tx = app.pools.work.begin().await?;
    let written = store::write_pulses(&mut tx, &pulses).await;
    let done = match written {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        // They are written the next time, where nothing newer was said meanwhile.
        let mut kept = app.the::<Pulses>().0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, pulse) in pulses {
            kept.entry(id).or_insert(pulse);
        }
    }
    done
}

/// The devices of a festival, newest first, each as it was heard last.
///
/// # Errors
/// What the database said.
pub async fn devices(app: &App, staff: &Staff, festival: FestivalId) -> Result<Vec<Device>, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    if !runs(&mut tx, staff.promoter, festival).await? {
        return Err(Fault::NotFound);
    }
    let mut devices = store::devices(&mut tx, festival, app.clock.now()).await?;
    // What was said to this server meanwhile.
    let pulses = app.the::<Pulses>().0.lock().unwrap_or_else(PoisonError::into_inner);
    for device in &mut devices {
        if let Some(pulse) = pulses.get(&device.device_id) {
            device.gate_id = pulse.gate_id;
            (device.seen_at, device.waiting, device.battery, device.is_charging) = (Some(pulse.at), Some(pulse.waiting), pulse.battery, pulse.is_charging);
        }
    }
    Ok(devices)
}

/// Revokes a device; doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn revoke_device(app: &App, staff: &Staff, device: DeviceId) -> Result<Device, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let device = store::revoke_device(&mut tx, staff.promoter, device, now).await?.ok_or(Fault::NotFound)?;
    audit::record(&mut tx, act(&device, staff.actor, "device.revoked"), now).await?;
    tx.commit().await?;
    Ok(device)
}
