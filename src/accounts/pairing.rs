//! Gate devices: paired by a one-time code, known by a token, revoked within seconds.
//!
//! A code is `<festival>-<number>-<8 letters>`: the letters are derived from the pairing, so nothing usable is stored, and
//! ten tries are counted per pairing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::Object;

use super::{Device, Staff, store};
use crate::{
    app::App,
    audit::{self, Act, Actor},
    fault::Fault,
    id::{DeviceId, FestivalId, GateId, PairingId},
    secrets::{self, Purpose},
};

/// How long a pairing code is good.
const LIFE: TimeDelta = TimeDelta::minutes(10);
/// How long an answer about a token is believed: a revoked device is out after this.
const BELIEVED: Duration = Duration::from_secs(2);

/// A chance to pair one device, shown once.
#[derive(Debug, Clone, Object)]
pub struct Pairing {
    /// The code to type or to show as a QR picture.
    pub pairing_code: String,
    /// The gate that the device will stand at.
    pub gate_id: GateId,
    /// The gates that it may be moved to by whoever holds it, that one among them.
    pub gate_ids: Vec<GateId>,
    /// `scan` or `supervisor`.
    pub profile: String,
    /// When the code is over.
    pub expires_at: DateTime<Utc>,
}

/// A device that was just paired, with its token: the only time that it is shown.
#[derive(Debug, Clone, Object)]
pub struct Paired {
    /// The device.
    pub device: Device,
    /// Its token, for `Authorization: Bearer`.
    pub token: String,
}

/// Offers a chance to pair a device at a gate.
///
/// # Errors
/// [`Fault`].
pub async fn offer_pairing(app: &App, staff: &Staff, festival: FestivalId, gate: GateId, others: &[GateId], profile: &str) -> Result<Pairing, Fault> {
    let mut gate_ids = vec![gate];
    gate_ids.extend(others.iter().filter(|other| **other != gate));
    let now = app.clock.now();
    let pairing = PairingId::fresh(festival, now);
    let mut tx = app.for_promoter(staff.promoter).await?;
    let no = store::insert_pairing(&mut tx, staff.promoter, pairing, &gate_ids, profile, now, now + LIFE).await?.ok_or(Fault::NotFound)?;
    tx.commit().await?;
    let letters = app.secrets.letters(Purpose::PairingCode, pairing.0, 0, 8);
    Ok(Pairing { pairing_code: format!("{}-{no}-{letters}", festival.0), gate_id: gate, gate_ids, profile: profile.to_owned(), expires_at: now + LIFE })
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
    let letters: String = letters.to_uppercase().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    let row = store::try_pairing(&mut tx, festival, no).await?.ok_or(PairError::Over)?;
    let right = app.secrets.letters(Purpose::PairingCode, row.pairing_id.0, 0, 8);
    if !secrets::same(right.as_bytes(), letters.as_bytes()) || row.expires_at <= now || row.used_at.is_some() {
        // The try is counted although it failed.
        tx.commit().await?;
        return Err(PairError::Over);
    }
    if !store::use_pairing(&mut tx, festival, no, now).await? {
        return Err(PairError::Over);
    }
    let token = secrets::fresh_token(store::DEVICE, festival);
    let device = Device {
        festival_id: festival,
        device_id: DeviceId::fresh(festival, now),
        gate_id: row.gate_id,
        gate_ids: row.gate_ids,
        name: name.to_owned(),
        profile: row.profile,
        paired_at: now,
        revoked_at: None,
        seen_at: None,
        waiting: None,
        battery: None,
        is_charging: None,
    };
    store::insert_device(&mut tx, &device, &secrets::sha256(token.as_bytes())).await?;
    audit::record(&mut tx, act(&device, Actor::Device(device.device_id.0), "device.paired"), now).await?;
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

/// The device of a token; `None` when it is unknown or revoked (at most two seconds ago).
///
/// # Errors
/// What the database said.
pub async fn device_of(app: &App, token: &str) -> Result<Option<Device>, sqlx::Error> {
    let Some(festival) = secrets::token_festival(store::DEVICE, token) else { return Ok(None) };
    let hash = secrets::sha256(token.as_bytes());
    let cache = &app.the::<DeviceCache>().0;
    if let Some((device, read)) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
        && read.elapsed() < BELIEVED
    {
        return Ok(Some(device.clone()));
    }
    // Apart, because most scans read nothing here, and what they do not read takes no room in their futures.
    let device = Box::pin(store::device_of_hash(&app.pools.scan, festival, &hash)).await?;
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
    /// How many of its scans wait to be reported.
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
    if !store::runs(&mut tx, staff.promoter, festival).await? {
        return Err(Fault::NotFound);
    }
    let mut devices = store::devices(&mut tx, festival).await?;
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
