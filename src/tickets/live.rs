//! Live codes (10-rules 28): a certificate that binds a ticket to the key of a phone, and what that phone shows, renewed every fifteen seconds.
//!
//! ```text
//! certificate  0 1 0x21: kind 2 (live ticket), version 1 · 1 23 bytes 1..24 of the ticket's code, flag bit 0 set · 24 32 Ed25519 key of the phone
//!              56 64 Ed25519 (RFC 8032) of the festival over "gatefold-live-v1\0" and all before
//! shown        0 120 certificate · 120 4 Unix seconds, big-endian
//!              124 64 Ed25519 of the phone over "gatefold-show-v1\0", SHA-256(certificate), those seconds
//! ```
//!
//! Text: `G2` and RFC 4648 base32 in upper case without padding: 303 characters, QR version 10-M. A gate needs public keys alone, so a stolen device of a
//! gate forges nothing. Whoever relays a code within its seconds is not kept out: the first scan wins.

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer, VerifyingKey};

use super::code::{CodeError, PASS, TicketCode};
use crate::{
    id::{FestivalId, TicketId},
    keys::{KeyState, Ring},
    secrets,
};

/// What a text of this kind begins with.
pub(super) const PREFIX: &str = "G2";
/// Length of the text.
pub const LENGTH: usize = 303;
/// Bytes of a certificate.
pub const CERTIFICATE: usize = 120;
/// Kind 2 (live ticket), version 1.
const LIVE: u8 = 0x21;
const CERTIFIED: &[u8] = b"gatefold-live-v1\0";
const SHOWN: &[u8] = b"gatefold-show-v1\0";
const BOUND: &[u8] = b"gatefold-bind-v1\0";

/// How far the seconds of a live code may be from the time of the gate, either way.
pub const SECONDS: i64 = 30;
/// The same where a scan answers for an earlier one of the code: staff looked at a document meanwhile, or a supervisor was called.
pub const ANSWER_SECONDS: i64 = 15 * 60;

impl TicketCode {
    /// The certificate that binds it to the key of a phone; `None` when the ring has no private half of its own key.
    #[must_use]
    pub fn certify(&self, phone: &[u8; 32], ring: &Ring) -> Option<[u8; CERTIFICATE]> {
        let mut certificate = [0; CERTIFICATE];
        certificate[0] = LIVE;
        certificate[1..24].copy_from_slice(&self.bytes()[1..]);
        certificate[24..56].copy_from_slice(phone);
        let signature = ring.signer(self.key_id)?.sign(&[CERTIFIED, &certificate[..56]].concat());
        certificate[56..].copy_from_slice(&signature.to_bytes());
        Some(certificate)
    }
}

/// Reads and verifies a live code at a festival: what it says, the state of the key that certified it, and the Unix seconds at which the phone made it.
///
/// # Errors
/// [`CodeError`].
pub(super) fn signed(text: &str, festival: FestivalId, ring: &Ring) -> Result<(TicketCode, KeyState, i64), CodeError> {
    let base32 = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH).ok_or(CodeError::Unknown)?;
    let bytes = BASE32_NOPAD.decode(base32.as_bytes()).map_err(|_| CodeError::Unknown)?;
    let (certificate, shown) = bytes.split_at_checked(CERTIFICATE).filter(|(_, shown)| shown.len() == 68).ok_or(CodeError::Unknown)?;
    if certificate[0] != LIVE {
        return Err(CodeError::Unknown);
    }
    let mut body = [PASS; 24];
    body[1..].copy_from_slice(&certificate[1..24]);
    // Bound to a phone, and to nothing else.
    let code = TicketCode::read(&body).filter(|code| code.live_required).ok_or(CodeError::Unknown)?;
    if code.festival != festival {
        return Err(CodeError::WrongFestival);
    }
    let key = ring.key(code.key_id).ok_or(CodeError::Forged)?;
    let of = |bytes: &[u8]| Signature::from_slice(bytes).map_err(|_| CodeError::Forged);
    key.public.verify_strict(&[CERTIFIED, &certificate[..56]].concat(), &of(&certificate[56..])?).map_err(|_| CodeError::Forged)?;
    let (seconds, signature) = shown.split_at(4);
    let phone = phone(&certificate[24..56]).ok_or(CodeError::Forged)?;
    phone.verify_strict(&[SHOWN, &secrets::sha256(certificate), seconds].concat(), &of(signature)?).map_err(|_| CodeError::Forged)?;
    Ok((code, key.state, i64::from(u32::from_be_bytes([seconds[0], seconds[1], seconds[2], seconds[3]]))))
}

fn phone(key: &[u8]) -> Option<VerifyingKey> {
    // A key of small order would take any signature for its own.
    VerifyingKey::from_bytes(key.try_into().ok()?).ok().filter(|key| !key.is_weak())
}

/// Whether a phone that wants a ticket bound to its key has the private half: `proof` is its signature over `"gatefold-bind-v1\0"`, the 16 bytes of the
/// ticket's id and its key.
#[must_use]
pub fn is_proven(ticket: TicketId, key: &[u8; 32], proof: &[u8; 64]) -> bool {
    let signed = [BOUND, ticket.0.as_bytes().as_slice(), key].concat();
    phone(key).is_some_and(|phone| phone.verify_strict(&signed, &Signature::from_bytes(proof)).is_ok())
}
