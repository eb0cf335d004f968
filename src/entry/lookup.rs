//! The short code beside the picture, for broken screens: ten letters that follow from the ticket, so nothing is stored and all tickets are gone through
//! (10-rules 23). For supervisors' devices alone, and audited.

use super::ScanError;
use crate::{
    accounts::Device,
    app::App,
    audit::{self, Act, Actor},
    secrets::{self, Purpose},
    tickets,
};

/// Letters of a short code.
const LETTERS: usize = 10;
/// Tickets that are gone through at once.
const PAGE: i64 = 2_000;

/// The text of the code of a ticket by its short code, in whatever groups and case it was typed; `None` when no ticket has it now.
///
/// # Errors
/// What the database said.
pub async fn code_of(app: &App, device: &Device, short_code: &str) -> Result<Option<String>, ScanError> {
    let festival = device.festival_id;
    // What is read for another letter (Crockford's base32) was never printed.
    let read = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let typed: String = short_code.chars().filter(char::is_ascii_alphanumeric).map(read).collect();
    if typed.len() != LETTERS {
        return Ok(None);
    }
    let mut position = 0;
    loop {
        let page = {
            let mut conn = app.pools.web.acquire().await?;
            tickets::feed(&mut conn, festival, position, PAGE).await?
        };
        let Some(last) = page.last() else { return Ok(None) };
        position = last.position;
        let fits = |listed: &&tickets::Listed| {
            let right = app.secrets.letters(Purpose::ShortCode, listed.ticket.ticket_id.0, listed.ticket.generation, LETTERS);
            secrets::same(right.as_bytes(), typed.as_bytes())
        };
        if let Some(found) = page.iter().find(fits) {
            let id = found.ticket.ticket_id;
            let act = Act {
                festival,
                actor: Actor::Device(device.device_id.0),
                action: "ticket.looked_up",
                object_kind: "ticket",
                object_id: id.to_string(),
                before: None,
                after: None,
            };
            let mut tx = app.pools.web.begin().await?;
            audit::record(&mut tx, act, app.clock.now()).await?;
            tx.commit().await?;
            return match tickets::ticket(&app.pools.web, id).await? {
                Some(ticket) => Ok(ticket.code_text(app).await?),
                None => Ok(None),
            };
        }
    }
}
