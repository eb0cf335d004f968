//! What was sold and who came: reading only, across rooms.

pub mod api;
pub mod invariants;
mod store;

pub use store::{Day, KnownSales, OfferSales, Sales, masked, sales};
