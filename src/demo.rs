//! A festival with people, passes, music, sales and scans.

use sqlx::postgres::PgConnectOptions;

use crate::app::App;

/// What the demo prints at its end.
pub struct Guide;

impl Guide {
    /// The addresses to open.
    #[must_use]
    pub fn print(&self, app: &App) -> String {
        app.settings.public_url.clone()
    }
}

/// Furnishes the demo.
///
/// # Errors
/// What the database said.
pub async fn furnish(_app: &App, _owner: &PgConnectOptions, _say: &dyn Fn(&str)) -> anyhow::Result<Guide> {
    Ok(Guide)
}
