//! The master key and what follows from it: derived links and codes, sealed columns, hashed tokens.
//!
//! **Invariant:** a copy of the database holds no usable code, link, token or session (10-rules 23, 24). What can be
//! derived is not stored; what cannot is sealed; what a client keeps is stored as its SHA-256.

use std::path::Path;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::id::FestivalId;

/// Fills a buffer from the random source of the operating system.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that follows would be safe.
pub fn fill(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system gives randomness");
}

/// What a derived secret is for. Every purpose has a key of its own (HKDF-SHA256, RFC 5869).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The link of an order.
    OrderLink,
    /// The link of a holder to one ticket.
    HolderLink,
    /// The link of a sign-in email.
    SignInLink,
    /// The six digits beside that link.
    SignInCode,
    /// The code that pairs a device.
    PairingCode,
    /// The link of a sheet that pairs several devices.
    EnrolmentLink,
    /// The six digits of a supervisor's shift.
    ShiftCode,
    /// The short code of a ticket.
    ShortCode,
    /// A signed address of a file.
    FileLink,
    /// What the simulated bank signs its notifications with.
    SimulatedBank,
    /// Protects forms of pages against other sites.
    FormGuard,
    /// Signs places in waiting rooms.
    WaitingPlace,
    /// Draws the ranks of those who gathered in a waiting room.
    WaitingDraw,
    /// Finds vouchers by their code.
    VoucherCode,
    /// Names the tickets of one order alike at the gates.
    OrderGroup,
    /// What devices of gates hash wristbands with.
    Band,
    /// The password of a database role.
    DatabaseRole,
    /// Where a payment provider sends the buyer back to.
    PaymentReturn,
    /// The link of whoever a ticket is passed on to.
    TransferLink,
    /// Finds addresses on the lists of vouchers.
    VoucherAddress,
    /// The link of a place on a waiting list.
    WaitingListLink,
}

const PURPOSES: [(Purpose, &str); 21] = [
    (Purpose::OrderLink, "order-link"),
    (Purpose::HolderLink, "holder-link"),
    (Purpose::SignInLink, "sign-in-link"),
    (Purpose::SignInCode, "sign-in-code"),
    (Purpose::PairingCode, "pairing-code"),
    (Purpose::EnrolmentLink, "enrolment-link"),
    (Purpose::ShiftCode, "shift-code"),
    (Purpose::ShortCode, "short-code"),
    (Purpose::FileLink, "file-link"),
    (Purpose::SimulatedBank, "simulated-bank"),
    (Purpose::FormGuard, "form-guard"),
    (Purpose::WaitingPlace, "waiting-place"),
    (Purpose::WaitingDraw, "waiting-draw"),
    (Purpose::VoucherCode, "voucher-code"),
    (Purpose::OrderGroup, "order-group"),
    (Purpose::Band, "band"),
    (Purpose::DatabaseRole, "database-role"),
    (Purpose::PaymentReturn, "payment-return"),
    (Purpose::TransferLink, "transfer-link"),
    (Purpose::VoucherAddress, "voucher-address"),
    (Purpose::WaitingListLink, "waiting-list-link"),
];

/// The keys of the house. Never printed, never in the database.
#[derive(Clone)]
pub struct Secrets {
    purposes: [[u8; 32]; PURPOSES.len()],
    seal: XChaCha20Poly1305,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Why a master key could not be had; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Not 64 hexadecimal digits.
    #[error("the master key is 64 hexadecimal digits (32 bytes); make one with: openssl rand -hex 32")]
    Malformed,
    /// The file could not be read or written.
    #[error("the master key file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Secrets {
    /// Derives all keys from the master key.
    #[must_use]
    pub fn from_master(master: &[u8; 32]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, master);
        let key = |name: &str| {
            let mut out = [0_u8; 32];
            // 32 bytes are always a valid length for HKDF-SHA256 (at most 255 x 32).
            let _ = hkdf.expand(format!("gatefold {name} v1").as_bytes(), &mut out);
            out
        };
        let mut purposes = [[0_u8; 32]; PURPOSES.len()];
        for (slot, (_, name)) in purposes.iter_mut().zip(PURPOSES) {
            *slot = key(name);
        }
        Self { purposes, seal: XChaCha20Poly1305::new(&key("sealed-columns").into()) }
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`].
    pub fn from_hex(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = HEXLOWER.decode(text.trim().to_lowercase().as_bytes()).map_err(|_| MasterKeyError::Malformed)?;
        let master: [u8; 32] = bytes.try_into().map_err(|_| MasterKeyError::Malformed)?;
        Ok(Self::from_master(&master))
    }

    /// Reads the key file of a data folder, or makes one with mode 0600.
    ///
    /// # Errors
    /// [`MasterKeyError`] when the file is not readable, not writable or not a key.
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let fail = |source| MasterKeyError::File { path: path.display().to_string(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_hex(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut master = [0_u8; 32];
                fill(&mut master);
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
                writeln!(file, "{}", HEXLOWER.encode(&master)).and_then(|()| file.sync_all()).map_err(fail)?;
                Ok(Self::from_master(&master))
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// HMAC-SHA256 (RFC 2104) of a message under the key of a purpose.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    #[must_use]
    pub fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let key = PURPOSES.iter().position(|(p, _)| *p == purpose).map_or([0; 32], |i| self.purposes[i]);
        hmac(&key, parts)
    }

    /// The secret of an object: first 16 bytes of HMAC-SHA256(purpose key, festival, id, generation), as 26 letters of
    /// RFC 4648 base32 in lower case.
    #[must_use]
    pub fn link(&self, purpose: Purpose, id: Uuid, generation: i16) -> String {
        let festival = crate::id::festival_of(id).number().to_be_bytes();
        let mac = self.mac(purpose, &[&festival, id.as_bytes(), &generation.to_be_bytes()]);
        BASE32_NOPAD.encode(&mac[..16]).to_lowercase()
    }

    /// Whether a text is the secret of an object, compared in constant time.
    #[must_use]
    pub fn is_link(&self, purpose: Purpose, id: Uuid, generation: i16, text: &str) -> bool {
        same(self.link(purpose, id, generation).as_bytes(), text.as_bytes())
    }

    /// Six decimal digits that follow from an object.
    #[must_use]
    pub fn digits(&self, purpose: Purpose, id: Uuid) -> String {
        let mac = self.mac(purpose, &[id.as_bytes()]);
        let number = u64::from_be_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], mac[6], mac[7]]);
        format!("{:06}", number % 1_000_000)
    }

    /// `length` letters without look-alikes (Crockford's base32) that follow from an object: 5 bits each, at most 50.
    #[must_use]
    pub fn letters(&self, purpose: Purpose, id: Uuid, generation: i16, length: usize) -> String {
        let mac = self.mac(purpose, &[id.as_bytes(), &generation.to_be_bytes()]);
        mac.iter().take(length).map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
    }

    /// The password of a database role of ours: follows from the master key, so no second secret has to be kept.
    #[must_use]
    pub fn role_password(&self, role: &str) -> String {
        HEXLOWER.encode(&self.mac(Purpose::DatabaseRole, &[role.as_bytes()]))
    }

    /// Seals a value for a place: XChaCha20-Poly1305, the place as associated data, the nonce in front.
    #[must_use]
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0_u8; 24];
        fill(&mut nonce);
        let aad = place.bytes();
        let sealed = self.seal.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad }).unwrap_or_default();
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens a sealed value; `None` when it was moved, changed or sealed under another master key.
    #[must_use]
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<24>()?;
        self.seal.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &place.bytes() }).ok()
    }
}

/// The first 16 bytes of SHA-256 over parts, each with its length before it.
#[must_use]
pub fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut all = Vec::new();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend(*part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(&all)[..16]);
    short
}

/// The letters of Crockford's base32: no I, L, O, U.
pub const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Where a sealed value stands, so that it cannot be moved to another row.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The festival of the row.
    pub festival: FestivalId,
    /// The rest of the key of the row.
    pub key: &'a str,
}

impl Place<'_> {
    fn bytes(self) -> Vec<u8> {
        format!("{}\0{}\0{}\0{}", self.table, self.column, self.festival.0, self.key).into_bytes()
    }
}

/// Compares two texts in constant time.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256, as tokens and sessions rest in the database.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Seals something under a signature that somebody carries, so that only who sees that can open it: AES-256-GCM (NIST SP 800-38D) under HKDF-SHA256 (RFC
/// 5869) of the signature for a purpose; the nonce of 12 bytes in front. WebCrypto opens it.
///
/// # Panics
/// Never: HKDF gives 32 bytes, and what is sealed is short.
#[must_use]
pub fn seal_under(signature: &[u8; 64], purpose: &str, plain: &[u8]) -> Vec<u8> {
    use aes_gcm::{Aes256Gcm, aead::Aead as _};
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, signature).expand(purpose.as_bytes(), &mut key).expect("HKDF gives 32 bytes");
    let mut nonce = [0_u8; 12];
    fill(&mut nonce);
    let cipher = <Aes256Gcm as aes_gcm::KeyInit>::new(&key.into());
    let sealed = cipher.encrypt(&nonce.into(), plain).expect("what is sealed is short");
    [nonce.as_slice(), &sealed].concat()
}

/// HMAC-SHA256 (RFC 2104) over parts.
///
/// # Panics
/// Never: HMAC takes a key of any length.
#[must_use]
pub fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A new token: prefix, festival, and 256 random bits in base32. Shown once; only its hash is kept.
#[must_use]
pub fn fresh_token(prefix: &str, festival: FestivalId) -> String {
    let mut noise = [0_u8; 32];
    fill(&mut noise);
    format!("{prefix}{}_{}", festival.0, BASE32_NOPAD.encode(&noise).to_lowercase())
}

/// The festival that a token's text names; `None` when it is not a token of this prefix.
#[must_use]
pub fn token_festival(prefix: &str, token: &str) -> Option<FestivalId> {
    let (festival, secret) = token.strip_prefix(prefix)?.split_once('_')?;
    (secret.len() == 52).then(|| festival.parse().ok().map(FestivalId))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let secrets = Secrets::from_master(&[7; 32]);
        let place = Place { table: "keys", column: "sealed", festival: FestivalId(3), key: "1" };
        let sealed = secrets.seal(place, b"private");
        assert_eq!(secrets.open(place, &sealed).as_deref(), Some(b"private".as_slice()));
        assert_eq!(secrets.open(Place { key: "2", ..place }, &sealed), None);
        assert_eq!(Secrets::from_master(&[8; 32]).open(place, &sealed), None);
        assert_ne!(sealed, secrets.seal(place, b"private"));
    }

    #[test]
    fn links_differ_by_purpose_object_and_generation() {
        let secrets = Secrets::from_master(&[7; 32]);
        let id = crate::id::fresh(FestivalId(1), chrono::Utc::now());
        let link = secrets.link(Purpose::OrderLink, id, 0);
        assert_eq!(link.len(), 26);
        assert!(secrets.is_link(Purpose::OrderLink, id, 0, &link));
        assert!(!secrets.is_link(Purpose::OrderLink, id, 1, &link));
        assert!(!secrets.is_link(Purpose::HolderLink, id, 0, &link));
    }

    #[test]
    fn a_token_names_its_festival() {
        let token = fresh_token("gf_live_", FestivalId(12));
        assert_eq!(token_festival("gf_live_", &token), Some(FestivalId(12)));
        assert_eq!(token_festival("gf_gate_", &token), None);
        assert_eq!(token_festival("gf_live_", "gf_live_x"), None);
    }
}
