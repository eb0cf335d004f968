//! The ticket code: the signed text in the QR picture (5-tickets-and-gates).
//!
//! 88 bytes, big-endian: kind and version, key id, festival (4), number (8), pass (2), day mask (2), generation, flags,
//! not after (4), Ed25519 (RFC 8032) over `"gatefold-ticket-v1\0"` and bytes 0..24. Text: `G1` and RFC 4648 base32 in upper
//! case without padding: 143 characters, QR alphanumeric mode.

use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer};

use super::live;
use crate::{
    id::FestivalId,
    keys::{KeyState, Ring},
};

const DOMAIN: &[u8] = b"gatefold-ticket-v1\0";
const PREFIX: &str = "G1";
/// Length of the text.
pub const LENGTH: usize = 143;
/// Kind 1 (ticket), version 1.
pub(super) const PASS: u8 = 0x11;
/// Kind 4 (add-on without a pass), version 1.
const ADD_ON: u8 = 0x41;

/// What a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketCode {
    /// Whether it is an add-on without a pass.
    pub is_add_on: bool,
    /// The key that signed it.
    pub key_id: u8,
    /// The festival.
    pub festival: FestivalId,
    /// The number of the ticket.
    pub number: i64,
    /// The number of the pass or add-on.
    pub pass_number: u16,
    /// The festival days, bit i for day i.
    pub day_mask: u16,
    /// How often the code was re-issued.
    pub generation: u8,
    /// Whether a live code is demanded.
    pub live_required: bool,
    /// Unix seconds: a backstop, days decide.
    pub not_after: u32,
}

/// Why a text is no code of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not our format, length, prefix or alphabet.
    #[error("not a code of ours")]
    Unknown,
    /// Bad signature or a key that we do not have.
    #[error("forged")]
    Forged,
    /// Signed by a key that was revoked.
    #[error("signed by a revoked key")]
    KeyRetired,
    /// Well formed, of another festival.
    #[error("of another festival")]
    WrongFestival,
}

impl TicketCode {
    /// The bytes that are signed.
    #[must_use]
    pub fn bytes(&self) -> [u8; 24] {
        let mut b = [0; 24];
        b[0] = if self.is_add_on { ADD_ON } else { PASS };
        b[1] = self.key_id;
        b[2..6].copy_from_slice(&self.festival.number().to_be_bytes());
        b[6..14].copy_from_slice(&self.number.to_be_bytes());
        b[14..16].copy_from_slice(&self.pass_number.to_be_bytes());
        b[16..18].copy_from_slice(&self.day_mask.to_be_bytes());
        b[18] = self.generation;
        b[19] = u8::from(self.live_required);
        b[20..].copy_from_slice(&self.not_after.to_be_bytes());
        b
    }

    /// The text, signed by the key that the code names; `None` when the ring has no private half of it.
    #[must_use]
    pub fn sign(&self, ring: &Ring) -> Option<String> {
        let signature = self.signature(ring)?;
        Some(format!("{PREFIX}{}", BASE32_NOPAD.encode(&[self.bytes().as_slice(), &signature].concat())))
    }

    /// Its signature; `None` when the key is not here.
    #[must_use]
    pub fn signature(&self, ring: &Ring) -> Option<[u8; 64]> {
        Some(ring.signer(self.key_id)?.sign(&[DOMAIN, &self.bytes()].concat()).to_bytes())
    }

    /// What 24 bytes say: a kind that is known, zero reserved flags, a festival that may be.
    pub(super) fn read(body: &[u8; 24]) -> Option<Self> {
        let is_add_on = match body[0] {
            PASS => false,
            ADD_ON => true,
            _ => return None,
        };
        if body[19] & 0xfe != 0 {
            return None;
        }
        let u16_at = |i: usize| u16::from_be_bytes([body[i], body[i + 1]]);
        let u32_at = |i: usize| u32::from_be_bytes([body[i], body[i + 1], body[i + 2], body[i + 3]]);
        let mut number = [0; 8];
        number.copy_from_slice(&body[6..14]);
        Some(Self {
            is_add_on,
            key_id: body[1],
            festival: FestivalId(i32::try_from(u32_at(2)).ok()?),
            number: i64::from_be_bytes(number),
            pass_number: u16_at(14),
            day_mask: u16_at(16),
            generation: body[18],
            live_required: body[19] & 1 == 1,
            not_after: u32_at(20),
        })
    }

    /// Reads the bytes of a text: exactly this length, prefix, upper case, zero trailing bits, zero reserved flags.
    ///
    /// # Errors
    /// [`CodeError::Unknown`].
    pub fn parse(text: &str) -> Result<(Self, [u8; 64]), CodeError> {
        let base32 = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH).ok_or(CodeError::Unknown)?;
        let bytes = BASE32_NOPAD.decode(base32.as_bytes()).map_err(|_| CodeError::Unknown)?;
        let bytes: [u8; 88] = bytes.try_into().map_err(|_| CodeError::Unknown)?;
        let (mut body, mut signature) = ([0; 24], [0; 64]);
        body.copy_from_slice(&bytes[..24]);
        signature.copy_from_slice(&bytes[24..]);
        Ok((Self::read(&body).ok_or(CodeError::Unknown)?, signature))
    }
}

/// A code that somebody presents at a gate, with what its signatures vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it says.
    pub code: TicketCode,
    /// The state of the key that signed it.
    pub key: KeyState,
    /// Unix seconds at which the phone that the ticket is bound to made it; `None` for a picture that stays as it is.
    pub live_at: Option<i64>,
}

impl Shown {
    /// Whether the phone made it just now.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.live_at.is_some_and(|at| (at - now.timestamp()).abs() <= live::SECONDS)
    }

    /// The same where a scan answers for an earlier one of it: staff looked at a document since then, or called a supervisor.
    #[must_use]
    pub fn was_live(&self, now: DateTime<Utc>, seen_at: DateTime<Utc>) -> bool {
        self.is_live(seen_at) && self.is_recent(now)
    }

    /// Whether a phone made it since an earlier scan of it may have been.
    #[must_use]
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        self.live_at.is_some_and(|at| (-live::SECONDS..=live::ANSWER_SECONDS).contains(&(now.timestamp() - at)))
    }

    /// Reads and verifies a text at a festival: the signature first, strictly, and never the database.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn verify(text: &str, festival: FestivalId, ring: &Ring) -> Result<Self, CodeError> {
        let shown = Self::signed(text, festival, ring)?;
        match shown.key {
            KeyState::Active | KeyState::VerifyOnly => Ok(shown),
            KeyState::Revoked => Err(CodeError::KeyRetired),
            KeyState::Pending => Err(CodeError::Forged),
        }
    }

    /// The same whatever became of the key: for what happened at a gate already.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn signed(text: &str, festival: FestivalId, ring: &Ring) -> Result<Self, CodeError> {
        if text.starts_with(live::PREFIX) {
            let (code, key, live_at) = live::signed(text, festival, ring)?;
            return Ok(Self { code, key, live_at: Some(live_at) });
        }
        let (code, signature) = TicketCode::parse(text)?;
        if code.festival != festival {
            return Err(CodeError::WrongFestival);
        }
        let key = ring.key(code.key_id).ok_or(CodeError::Forged)?;
        let signed = [DOMAIN, &code.bytes()].concat();
        key.public.verify_strict(&signed, &Signature::from_bytes(&signature)).map_err(|_| CodeError::Forged)?;
        Ok(Self { code, key: key.state, live_at: None })
    }
}

/// A ticket number: 24 bits of coarse time (16 s) and 40 random bits.
#[must_use]
pub fn fresh_number(now: DateTime<Utc>) -> i64 {
    let mut noise = [0_u8; 8];
    crate::secrets::fill(&mut noise[3..]);
    let coarse = u64::try_from(now.timestamp() / 16).unwrap_or(0) & 0xff_ffff;
    let number = coarse << 40 | u64::from_be_bytes(noise);
    i64::from_be_bytes(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Key;

    fn ring(seed: u8, key_id: u8, state: KeyState) -> Ring {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Ring(vec![Key::of_test(key_id, state, key)])
    }

    fn code() -> TicketCode {
        TicketCode {
            is_add_on: false,
            key_id: 1,
            festival: FestivalId(217),
            number: 0x0123_4567_89ab_cdef,
            pass_number: 3,
            day_mask: 0b111,
            generation: 0,
            live_required: false,
            not_after: 1_844_640_000,
        }
    }

    /// The vectors of tests/vectors/ticket-codes.json: other programs may be checked against them.
    #[test]
    fn codes_are_byte_by_byte_as_the_vectors_say() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/ticket-codes.json")).unwrap();
        let ring = ring(7, 1, KeyState::Active);
        for vector in vectors["codes"].as_array().unwrap() {
            let text = vector["text"].as_str().unwrap();
            let read = Shown::verify(text, FestivalId(217), &ring).unwrap().code;
            assert_eq!(format!("{:016x}", read.number), vector["number"].as_str().unwrap());
            assert_eq!(i64::from(read.pass_number), vector["pass_number"].as_i64().unwrap());
            assert_eq!(i64::from(read.day_mask), vector["day_mask"].as_i64().unwrap());
            assert_eq!(i64::from(read.generation), vector["generation"].as_i64().unwrap());
            assert_eq!(i64::from(read.not_after), vector["not_after"].as_i64().unwrap());
            assert_eq!(read.is_add_on, vector["add_on"].as_bool().unwrap());
            assert_eq!(read.sign(&ring).unwrap(), text);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let ring = ring(7, 1, KeyState::Active);
        let text = code().sign(&ring).unwrap();
        assert_eq!(text.len(), LENGTH);
        let bytes = BASE32_NOPAD.decode(&text.as_bytes()[2..]).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let bent = format!("G1{}", BASE32_NOPAD.encode(&bent));
            assert!(Shown::verify(&bent, FestivalId(217), &ring).is_err(), "bit {bit}");
        }
    }

    /// The table that the page of the gate reads codes by, too: `tests/vectors/presented-codes.json`.
    #[test]
    fn every_code_that_is_presented_is_taken_for_what_it_is() {
        let table: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/presented-codes.json")).unwrap();
        let key = |key: &serde_json::Value| {
            let seed: [u8; 32] = data_encoding::HEXLOWER.decode(key["seed"].as_str().unwrap().as_bytes()).unwrap().try_into().unwrap();
            let state = match key["state"].as_str().unwrap() {
                "active" => KeyState::Active,
                "verify_only" => KeyState::VerifyOnly,
                "revoked" => KeyState::Revoked,
                _ => KeyState::Pending,
            };
            Key::of_test(u8::try_from(key["key_id"].as_u64().unwrap()).unwrap(), state, SigningKey::from_bytes(&seed))
        };
        let ring = Ring(table["keys"].as_array().unwrap().iter().map(key).collect());
        for case in table["cases"].as_array().unwrap() {
            let shown = Shown::verify(case["text"].as_str().unwrap(), FestivalId(217), &ring);
            assert_eq!(shown.ok().and_then(|s| s.live_at), case["live_at"].as_i64(), "{}", case["name"]);
            let found = match shown {
                Ok(_) => "ok",
                Err(CodeError::Unknown) => "unknown",
                Err(CodeError::Forged) => "forged",
                Err(CodeError::KeyRetired) => "key_retired",
                Err(CodeError::WrongFestival) => "wrong_festival",
            };
            assert_eq!(found, case["expected"].as_str().unwrap(), "{}", case["name"]);
        }
    }

    #[test]
    fn a_live_code_is_live_for_seconds() {
        let table: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/presented-codes.json")).unwrap();
        let now = DateTime::from_timestamp(1_781_892_000, 999_000_000).unwrap();
        for moment in table["moments"].as_array().unwrap() {
            let age = moment["age"].as_i64().unwrap();
            let shown = Shown { code: code(), key: KeyState::Active, live_at: Some(now.timestamp() - age) };
            let seen_at = moment["seen_age"].as_i64().map(|seen| now - chrono::TimeDelta::seconds(age - seen));
            let found = seen_at.map_or(shown.is_live(now), |seen_at| shown.was_live(now, seen_at));
            assert_eq!(found, moment["is_live"].as_bool().unwrap(), "{moment}");
            assert!(!Shown { live_at: None, ..shown }.is_recent(now));
        }
    }

    proptest! {
        #[test]
        fn parsing_undoes_signing(number: i64, pass_number: u16, day_mask: u16, generation: u8, not_after: u32, is_add_on: bool) {
            let ring = ring(7, 1, KeyState::Active);
            let code = TicketCode { number, pass_number, day_mask, generation, not_after, is_add_on, ..code() };
            let text = code.sign(&ring).unwrap();
            prop_assert_eq!(Shown::verify(&text, FestivalId(217), &ring), Ok(Shown { code, key: KeyState::Active, live_at: None }));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = TicketCode::parse(&text);
        }

        #[test]
        fn no_bytes_make_the_reader_of_live_codes_panic(bytes: [u8; 94], more: [u8; 94], length in 0..=188_usize) {
            let bytes = [bytes, more].concat();
            let _ = Shown::verify(&format!("G2{}", BASE32_NOPAD.encode(&bytes[..length])), FestivalId(217), &ring(7, 1, KeyState::Active));
        }
    }
}
