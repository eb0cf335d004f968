//! What HTTP is made of here, known to the JSON faces and pages only: problems, rates, the door.

pub mod contract;
pub mod cookies;
pub mod door;
pub mod idempotency;
pub mod limit;
pub mod listing;
pub mod patch;
pub mod problem;
pub mod tags;
