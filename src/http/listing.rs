//! What operations that list have in common.

use uuid::Uuid;

use super::problem::{MALFORMED, Problem, Wrong};
use crate::page::Cursor;

/// How many items a page has where nobody says.
#[must_use]
pub fn fifty() -> u32 {
    50
}

/// Where a page begins.
///
/// # Errors
/// A problem `malformed` when the text is not a cursor of ours.
pub fn before(cursor: Option<&str>) -> Result<Option<Uuid>, Problem> {
    match cursor {
        None => Ok(None),
        Some(text) => {
            Cursor::read(text).map(|c| Some(c.0)).ok_or_else(|| Problem { errors: vec![Wrong::new("cursor", "not a cursor of ours")], ..MALFORMED.problem() })
        }
    }
}
