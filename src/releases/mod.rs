//! Music: releases, recordings, tracks, and uploads in parts. A track is a recording at a place of a release.
//!
//! **Invariant:** what is kept as a master was decoded from its first to its last packet; its type is what it decodes as,
//! never what its sender said.

pub mod api;
mod audio;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals::keep_picture,
    files::Files,
    id::{FestivalId, RecordingId, ReleaseId, UploadId},
    words::{Language, Text},
};

pub use audio::{AudioError, Sound, decode, ending};
pub use store::{Playable, own, release, titles, titles_and_artists, tracks};

/// The size of a part of an upload, in bytes.
pub const PART: usize = 8 << 20;
/// The same as the database counts.
const PART_BYTES: i64 = 8 << 20;
/// The most bytes of an upload.
const MOST: i64 = 2 << 30;

/// What a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ReleaseKind {
    /// An album.
    Album,
    /// An EP.
    Ep,
    /// A single.
    Single,
}

/// What a label says about a release.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct ReleaseTerms {
    /// Its title, in its own script.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub title: String,
    /// Its artist, as they write themselves.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub artist: String,
    /// What it is.
    pub kind: ReleaseKind,
    /// The label's number: `NF-LP-01`.
    #[oai(validator(max_length = 40), skip_serializing_if_is_none)]
    pub catalog_number: Option<String>,
    /// UPC or EAN, 12 or 13 digits with a check digit (GS1).
    #[oai(validator(max_length = 13), skip_serializing_if_is_none)]
    pub upc: Option<String>,
    /// The language of its title.
    pub language: Language,
    /// The moment from which it may be heard.
    #[oai(skip_serializing_if_is_none)]
    pub released_at: Option<DateTime<Utc>>,
    /// A paragraph about it.
    #[sqlx(json)]
    pub about: Text,
}

/// A release.
#[derive(Clone, Debug, Object, FromRow)]
pub struct Release {
    /// Its id.
    pub release_id: ReleaseId,
    /// What its label says.
    #[oai(flatten)]
    #[sqlx(flatten)]
    pub terms: ReleaseTerms,
    /// Rises with every change.
    pub version: i32,
    /// The hash of its cover.
    #[oai(skip)]
    pub cover_hash: Option<Vec<u8>>,
}

/// One performance fixed in sound.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Recording {
    /// Its id.
    pub recording_id: RecordingId,
    /// Its title.
    pub title: String,
    /// Its artist.
    pub artist: String,
    /// ISRC (ISO 3901), 12 characters without hyphens.
    pub isrc: Option<String>,
    /// Its length in milliseconds, as decoded.
    pub duration_ms: i32,
    /// The type of its master, as decoded.
    pub media_type: String,
    /// The size of its master in bytes.
    pub bytes: i64,
    /// Samples a second.
    pub sample_rate: i32,
    /// Channels.
    pub channels: i16,
    /// SHA-256 of its master, hexadecimal.
    #[sqlx(skip)]
    pub sha256: String,
    /// The hash itself.
    #[oai(skip)]
    pub master_hash: Vec<u8>,
}

/// A recording to be made of an upload.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewRecording {
    /// A completed upload with the purpose audio.
    pub upload_id: UploadId,
    /// Its title.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub title: String,
    /// Its artist.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub artist: String,
    /// ISRC (ISO 3901), with or without hyphens.
    #[oai(validator(max_length = 15))]
    pub isrc: Option<String>,
}

/// What an upload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum UploadPurpose {
    /// A master of a recording.
    Audio,
    /// A picture.
    Picture,
}

/// An upload in parts of 8 MB.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Upload {
    /// Its id.
    pub upload_id: UploadId,
    /// What it is for.
    pub purpose: UploadPurpose,
    /// Its size in bytes.
    pub bytes: i64,
    /// The parts that are here: number and SHA-256.
    #[sqlx(json)]
    pub parts: Vec<Part>,
    /// SHA-256 of the whole, once it is completed.
    #[sqlx(skip)]
    pub sha256: Option<String>,
    /// The hash itself.
    #[oai(skip)]
    pub file_hash: Option<Vec<u8>>,
}

/// A part of an upload that is here.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub no: u16,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// The ISRC without hyphens, in upper case; `None` when it is none (ISO 3901: country, registrant, year, designation).
#[must_use]
pub fn isrc(text: &str) -> Option<String> {
    let isrc: String = text.chars().filter(|c| *c != '-' && *c != ' ').collect::<String>().to_ascii_uppercase();
    let b = isrc.as_bytes();
    let shape =
        b.len() == 12 && b[..2].iter().all(u8::is_ascii_uppercase) && b[2..5].iter().all(u8::is_ascii_alphanumeric) && b[5..].iter().all(u8::is_ascii_digit);
    shape.then_some(isrc)
}

/// Whether the check digit of a UPC-A or EAN-13 is right (GS1 General Specifications 7.9: weights 3 and 1 from the right).
#[must_use]
pub fn is_upc(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 0 { *d } else { d * 3 }).sum();
    matches!(digits.len(), 12 | 13) && digits.len() == text.len() && sum.is_multiple_of(10)
}

/// Begins an upload.
///
/// # Errors
/// [`Fault`].
pub async fn begin_upload(app: &App, staff: &Staff, purpose: UploadPurpose, bytes: i64) -> Result<Upload, Fault> {
    Checks::default().claim((1..=MOST).contains(&bytes), "/bytes", "between one byte and 2 GB").done()?;
    let now = app.clock.now();
    let upload = Upload { upload_id: UploadId::fresh(FestivalId::HOUSE, now), purpose, bytes, parts: Vec::new(), sha256: None, file_hash: None };
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::insert_upload(&mut tx, staff.promoter, &upload, now).await?;
    tx.commit().await?;
    Ok(upload)
}

/// Keeps a part; the same part again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn keep_part(app: &App, staff: &Staff, upload: UploadId, no: u16, bytes: Vec<u8>) -> Result<Upload, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    let mut found = store::lock_upload(&mut tx, staff.promoter, upload).await?.ok_or(Fault::NotFound)?;
    if found.file_hash.is_some() {
        return Err(Fault::Conflict("the upload is completed".to_owned()));
    }
    let count = parts_of(found.bytes);
    let expected = if no == count { found.bytes - i64::from(count - 1) * PART_BYTES } else { PART_BYTES };
    Checks::default()
        .claim((1..=count).contains(&no), "part_no", "there is no such part in an upload of this size")
        .claim(i64::try_from(bytes.len()) == Ok(expected), "", "every part has 8 MB (8,388,608 bytes), the last one the rest")
        .done()?;
    let part = Part { no, sha256: data_encoding::HEXLOWER.encode(&crate::secrets::sha256(&bytes)) };
    app.the::<Files>().keep_part(upload.0, no, bytes).await.map_err(|e| Fault::House(e.to_string()))?;
    found.parts.retain(|p| p.no != no);
    found.parts.push(part);
    found.parts.sort_by_key(|p| p.no);
    store::update_parts(&mut tx, upload, &found.parts).await?;
    tx.commit().await?;
    Ok(found)
}

fn parts_of(bytes: i64) -> u16 {
    u16::try_from((bytes.max(0).unsigned_abs()).div_ceil(PART as u64)).unwrap_or(u16::MAX)
}

/// Completes an upload: puts its parts together under their hash. Doing it again answers the same.
///
/// # Errors
/// [`Fault`]: parts are missing.
pub async fn complete_upload(app: &App, staff: &Staff, upload: UploadId) -> Result<Upload, Fault> {
    let files = app.the::<Files>();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let mut found = store::lock_upload(&mut tx, staff.promoter, upload).await?.ok_or(Fault::NotFound)?;
    let count = parts_of(found.bytes);
    if found.file_hash.is_none() {
        if found.parts.len() != usize::from(count) {
            return Err(Fault::Conflict(format!("{} of {count} parts are here", found.parts.len())));
        }
        let mut whole = Vec::with_capacity(usize::try_from(found.bytes).unwrap_or(0));
        for no in 1..=count {
            whole.extend(files.part(upload.0, no).await.map_err(|e| Fault::House(e.to_string()))?);
        }
        let hash = files.keep(whole).await.map_err(|e| Fault::House(e.to_string()))?;
        store::complete_upload(&mut tx, upload, &hash).await?;
        found.file_hash = Some(hash.to_vec());
        tx.commit().await?;
        files.forget_parts(upload.0, count).await;
    }
    found.sha256 = found.file_hash.as_deref().map(|hash| data_encoding::HEXLOWER.encode(hash));
    Ok(found)
}

/// Makes a recording of an upload: decoded from first to last packet before it is believed.
///
/// # Errors
/// [`Fault`].
pub async fn add_recording(app: &App, staff: &Staff, new: &NewRecording) -> Result<Recording, Fault> {
    let wanted_isrc = new.isrc.as_deref().map(isrc);
    Checks::default().claim(wanted_isrc != Some(None), "/isrc", "not an ISRC: two letters, three letters or digits, seven digits").done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    let upload = store::lock_upload(&mut tx, staff.promoter, new.upload_id).await?.ok_or_else(|| Fault::wrong("/upload_id", "no such upload"))?;
    tx.commit().await?;
    let Some(hash) = upload.file_hash.filter(|_| upload.purpose == UploadPurpose::Audio) else {
        return Err(Fault::wrong("/upload_id", "not a completed upload with the purpose audio"));
    };
    let bytes = app.the::<Files>().read(&hash).await.map_err(|e| Fault::House(e.to_string()))?;
    let sound = tokio::task::spawn_blocking(move || decode(bytes)).await.map_err(|e| Fault::House(e.to_string()))?;
    let sound = sound.map_err(|error| Fault::wrong("/upload_id", error.to_string()))?;
    let now = app.clock.now();
    let recording = Recording {
        recording_id: RecordingId::fresh(FestivalId::HOUSE, now),
        title: new.title.trim().to_owned(),
        artist: new.artist.trim().to_owned(),
        isrc: wanted_isrc.flatten(),
        duration_ms: sound.duration_ms,
        media_type: sound.media_type.to_owned(),
        bytes: upload.bytes,
        sample_rate: sound.sample_rate,
        channels: sound.channels,
        sha256: data_encoding::HEXLOWER.encode(&hash),
        master_hash: hash,
    };
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::insert_recording(&mut tx, staff.promoter, &recording, now).await?;
    note(&mut tx, staff, "recording.added", recording.recording_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(recording)
}

/// Makes a release of recordings, in their order.
///
/// # Errors
/// [`Fault`].
pub async fn add_release(app: &App, staff: &Staff, terms: &ReleaseTerms, recordings: &[RecordingId]) -> Result<Release, Fault> {
    Checks::default()
        .claim(terms.upc.as_deref().is_none_or(is_upc), "/upc", "not a UPC or EAN: 12 or 13 digits, the last one a check digit")
        .claim(recordings.len() <= 999, "/recording_ids", "at most 999 tracks")
        .done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let release = store::insert_release(&mut tx, staff.promoter, terms, now).await?;
    store::insert_tracks(&mut tx, staff.promoter, release.release_id, recordings).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(_) => Fault::wrong("/recording_ids", "no such recording"),
        other => other,
    })?;
    note(&mut tx, staff, "release.added", release.release_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(release)
}

/// Sets the cover: decoded within bounds and encoded anew.
///
/// # Errors
/// [`Fault`].
pub async fn set_cover(app: &App, staff: &Staff, release: ReleaseId, bytes: Vec<u8>) -> Result<Release, Fault> {
    let hash = keep_picture(app, bytes).await?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let after = store::set_cover(&mut tx, staff.promoter, release, &hash).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, "release.cover_changed", release.to_string(), now).await?;
    tx.commit().await?;
    Ok(after)
}

async fn note(conn: &mut sqlx::PgConnection, staff: &Staff, action: &'static str, object_id: String, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    audit::record(conn, Act { festival: FestivalId::HOUSE, actor: staff.actor, action, object_kind: "release", object_id, before: None, after: None }, now)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_checked() {
        assert_eq!(isrc("NL-A1B-26-00001").as_deref(), Some("NLA1B2600001"));
        assert_eq!(isrc("NLA1B26X0001"), None);
        assert!(is_upc("036000291452") && is_upc("4006381333931"));
        assert!(!is_upc("036000291453") && !is_upc("03600029145") && !is_upc("03600029145a"));
    }
}
