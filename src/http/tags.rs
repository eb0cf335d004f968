//! The chapters of the API document.

use poem_openapi::Tags;

/// A chapter of the API document.
#[derive(Tags)]
pub enum Chapter {
    /// Place an order, pay it, look at it.
    Buying,
    /// Tickets and their pictures.
    Tickets,
    /// Albums of an order: play and download.
    Music,
    /// Pair a device and scan.
    Gates,
    /// Festivals with their days, zones, stages and gates.
    Festivals,
    /// Acts, sets and the import of a line-up.
    LineUp,
    /// Passes, add-ons, offers and stock.
    Offers,
    /// Releases, recordings, tracks and uploads.
    Releases,
    /// What was sold and who came: reading only.
    Reports,
    /// Notifications of payment providers.
    Payments,
}
