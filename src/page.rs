//! Long lists are read by seek, never by offset: a page carries an opaque cursor to the next.

use data_encoding::BASE64URL_NOPAD;
use poem_openapi::{
    Object,
    types::{ParseFromJSON, ToJSON, Type},
};
use uuid::Uuid;

/// The most items of one page.
pub const MOST: u32 = 200;

/// One page of a list.
#[derive(Debug, Clone, Object)]
pub struct Page<T: ParseFromJSON + ToJSON + Type + Send + Sync> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Opaque cursor of the next page; absent on the last one. Pass it as `cursor`.
    #[oai(skip_serializing_if_is_none)]
    pub next: Option<String>,
}

impl<T: ParseFromJSON + ToJSON + Type + Send + Sync> Page<T> {
    /// Cuts a page out of `limit + 1` rows that were read; `key` tells where the next page begins.
    pub fn cut(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> Uuid) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| Cursor(key(last)).print());
        Self { items, next }
    }
}

/// Where a page begins: after this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub Uuid);

impl Cursor {
    /// The opaque text.
    #[must_use]
    pub fn print(self) -> String {
        BASE64URL_NOPAD.encode(self.0.as_bytes())
    }

    /// Reads the opaque text; `None` when it is not one of ours.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        Uuid::from_slice(&bytes).ok().map(Self)
    }
}
