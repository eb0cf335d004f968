//! What is sold or given away at the door is an order like others; beside it stands who sold it, and why.

mod store;

use uuid::Uuid;

pub(super) use store::note;

/// A sale at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSale {
    /// Nothing is to be paid.
    pub is_comp: bool,
    /// Why it is given away; may be empty where it is sold.
    pub reason: String,
    /// Who sells it.
    pub sold_by: Option<Uuid>,
}
