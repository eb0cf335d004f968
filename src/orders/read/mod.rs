//! Orders as they are looked at: one with its lines, pages of them, by their buyers.

mod store;

pub use store::{order, orders_of, search, whole};
