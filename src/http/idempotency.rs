//! `Idempotency-Key`: what makes a repeated request harmless.

use super::problem::{KEY_MISSING, Problem, Wrong};

/// The key of a request: 16 to 128 visible ASCII characters, because whoever knows key and address gets the order again.
///
/// # Errors
/// A problem `key-missing`, or `invalid` when it is too short to be a secret.
pub fn request_key(header: Option<&str>) -> Result<&str, Problem> {
    let key = header.ok_or_else(|| KEY_MISSING.problem())?;
    if (16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err(Problem::invalid(vec![Wrong::new("Idempotency-Key", "16 to 128 visible ASCII characters, fresh and random: a UUID will do")]))
    }
}
