//! The code of a clearing: held before the camera of a gate without network it says that everybody was put out (5-tickets-and-gates).
//!
//! 110 bytes, big-endian: `0x51`, key id, festival (4), id of the clearing (16), of its zone (16; zeros for the whole site), when (4) and until when whoever
//! was in may come back (4; zero where they may not), both Unix seconds, Ed25519 (RFC 8032) over `"gatefold-clear-v1\0"` and bytes 0..46. Text: `G5` and
//! RFC 4648 base32 in upper case without padding: 178 characters.

use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::Signer;

use super::Clearing;
use crate::{id::FestivalId, keys::Ring};

const DOMAIN: &[u8] = b"gatefold-clear-v1\0";
const PREFIX: &str = "G5";
/// Kind 5 (clearing), version 1.
const CLEARING: u8 = 0x51;

/// The text of a clearing, signed by the key of now; `None` when its private half is not here.
#[must_use]
pub fn code(clearing: &Clearing, festival: FestivalId, ring: &Ring) -> Option<String> {
    let key_id = ring.active()?;
    // The next whole second: whoever came in within this one is out, too.
    let seconds = |at: DateTime<Utc>| u32::try_from(at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0)).unwrap_or(0).to_be_bytes();
    let body = [
        [CLEARING, key_id].as_slice(),
        &festival.number().to_be_bytes(),
        clearing.clearing_id.0.as_bytes(),
        clearing.zone_id.map_or([0; 16], |zone| *zone.0.as_bytes()).as_slice(),
        &seconds(clearing.clears_at),
        &clearing.readmits_until.map_or([0; 4], seconds),
    ]
    .concat();
    let signature = ring.signer(key_id)?.sign(&[DOMAIN, &body].concat());
    Some(format!("{PREFIX}{}", BASE32_NOPAD.encode(&[body.as_slice(), &signature.to_bytes()].concat())))
}
