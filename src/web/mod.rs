//! Pages, by their readers.

pub mod health;
pub mod letters;
pub mod problems;

use poem::{Route, get};

/// Every page and file of the web.
#[must_use]
pub fn routes() -> Route {
    Route::new().at("/healthz", get(health::healthz)).at("/readyz", get(health::readyz))
}
