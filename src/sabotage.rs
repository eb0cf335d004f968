//! Switches that break the house on purpose: the negative controls of the race tests, which have to see a race lost, and of the figures,
//! and points at which a server dies. They exist with the cargo feature `sabotage` alone; `tests/run` looks for their names in the shipped
//! binary.

use std::{fmt::Display, time::Duration};

/// Whether rows are read without a lock before they are decided on.
#[must_use]
pub fn no_lock() -> bool {
    cfg!(feature = "sabotage") && std::env::var_os("GATEFOLD_NO_LOCK").is_some()
}

/// Without locks: holds the door open between the look and the write, so that another server decides on the same rows.
pub async fn pause() {
    if no_lock() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The most requests of a batch: one, when group commit is switched off, to measure what it brings.
#[must_use]
pub fn most(most: usize) -> usize {
    if cfg!(feature = "sabotage") && std::env::var_os("GATEFOLD_NO_BATCH").is_some() { 1 } else { most }
}

/// Ends the process on the spot where `GATEFOLD_DIE_AT` names this point. Nothing is rolled back, answered or written any more: to the
/// database and to clients it is a kill -9.
pub fn die_at(point: impl Display) {
    if cfg!(feature = "sabotage") && std::env::var("GATEFOLD_DIE_AT").is_ok_and(|named| named == point.to_string()) {
        // Not through the log, which has a thread of its own: nobody would be left to write it.
        eprintln!("gatefold: dies at {point}");
        std::process::abort();
    }
}
