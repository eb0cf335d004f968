//! What was sold and who came: reading only, across rooms.

pub mod api;
pub mod dispute;
pub mod invariants;
pub mod settlement;
mod store;

pub use store::{AtGates, Day, GateMinute, KnownAtGates, KnownSales, OfferSales, ReasonCount, Sales, at_gates, masked, sales};
