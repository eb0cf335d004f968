//! The short code beside the picture, for broken screens: ten letters that follow from the ticket, so nothing is stored and all tickets are gone through
//! (10-rules 23); and the search by name or order. For supervisors alone, and audited.

use poem_openapi::Object;
use serde_json::json;
use unicode_normalization::UnicodeNormalization;

use super::{PassShown, ScanError, catalog::catalog};
use crate::{
    accounts::{self, Device},
    app::App,
    audit::{self, Act, Actor},
    id::TicketId,
    orders,
    secrets::{self, Purpose},
    tickets::{self, TicketStatus},
};

/// The most tickets that a search finds.
const MOST: usize = 20;

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
            return code_of_ticket(app, device, found.ticket.ticket_id).await;
        }
    }
}

/// The text of the code of a ticket; `None` when there is none.
///
/// # Errors
/// What the database said.
pub async fn code_of_ticket(app: &App, device: &Device, id: TicketId) -> Result<Option<String>, ScanError> {
    let Some(ticket) = tickets::ticket(&app.pools.web, id).await? else { return Ok(None) };
    record(app, device, "ticket.looked_up", "ticket", id.to_string()).await?;
    Ok(ticket.code_text(app).await?)
}

/// A ticket that was searched for.
#[derive(Clone, Debug, Object)]
pub struct FoundTicket {
    /// Its id: the code that it stands for is looked up by it.
    pub ticket_id: TicketId,
    /// Whom it is for.
    pub holder_name: String,
    /// The number of its order, as the buyer knows it.
    pub order_number: String,
    /// The last four characters of its number.
    pub ticket_end: String,
    /// Its state.
    pub status: TicketStatus,
    /// Whether it is bound to a phone, which a supervisor can let it go from.
    pub is_bound: bool,
    /// Its pass.
    pub pass: Option<PassShown>,
}

/// Whether a text says enough to be searched by: a word of three letters, or two Chinese ones, by what is compared.
#[must_use]
pub fn is_enough(text: &str) -> bool {
    text.contains('@') || folded(text).split_whitespace().any(|word| word.chars().count() >= if word.is_ascii() { 3 } else { 2 })
}

/// Searches the tickets of a festival by words of a name, by the number of an order, or by the whole address of a buyer.
///
/// Names are gone through, as short codes are: an index of names would be written by every sale, for a handful of searches a day.
///
/// # Errors
/// What the database said.
pub async fn search(app: &App, device: &Device, text: &str) -> Result<Vec<FoundTicket>, ScanError> {
    let festival = device.festival_id;
    let catalog = catalog(app, festival).await?;
    let sought = folded(text);
    let words: Vec<&str> = sought.split_whitespace().collect();
    let mut found: Vec<tickets::Named> = Vec::new();
    if sought.contains('@') {
        let mut conn = app.pools.web.acquire().await?;
        let key = accounts::email_key(text);
        let orders = orders::search(&mut conn, festival, &key).await?;
        let whole: Vec<_> = orders.iter().filter(|order| accounts::email_key(&order.email) == key).map(|order| order.order_id).collect();
        found = tickets::named_of(&mut conn, festival, &whole).await?;
    } else {
        let bare = |number: &str| number.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        // A word in Chinese is no beginning of a number.
        let number = if sought.is_ascii() { bare(&sought) } else { sought.clone() };
        let fits = |named: &tickets::Named| {
            let name = folded(&named.holder_name);
            let is_word = |word: &&str| name.split_whitespace().any(|part| part.starts_with(*word)) || !word.is_ascii() && name.contains(*word);
            words.iter().all(is_word) || bare(&orders::number(named.order_id)).starts_with(&number)
        };
        let mut position = 0;
        while found.len() < MOST {
            let mut conn = app.pools.web.acquire().await?;
            let page = tickets::named(&mut conn, festival, position, PAGE).await?;
            drop(conn);
            let Some(last) = page.last() else { break };
            position = last.position;
            found.extend(page.into_iter().filter(fits));
        }
    }
    found.truncate(MOST);
    record(app, device, "tickets.searched", "festival", festival.0.to_string()).await?;
    let shown = |named: tickets::Named| FoundTicket {
        ticket_id: named.ticket_id,
        order_number: orders::number(named.order_id),
        ticket_end: format!("{:016X}", named.ticket_number)[12..].to_owned(),
        status: named.status,
        is_bound: named.is_bound,
        pass: catalog.pass(named.pass_number).map(PassShown::of),
        holder_name: named.holder_name,
    };
    Ok(found.into_iter().map(shown).collect())
}

/// A name as it is compared: without case, accents and signs.
fn folded(name: &str) -> String {
    name.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).collect::<String>().to_lowercase().trim().to_owned()
}

/// Writes down who looked; whom for, nobody needs to know.
async fn record(app: &App, device: &Device, action: &'static str, object_kind: &'static str, object_id: String) -> Result<(), sqlx::Error> {
    let actor = device.supervisor_id.map_or(Actor::Device(device.device_id.0), Actor::Member);
    let act = Act { festival: device.festival_id, actor, action, object_kind, object_id, before: None, after: Some(json!({ "device_id": device.device_id })) };
    let mut tx = app.pools.web.begin().await?;
    audit::record(&mut tx, act, app.clock.now()).await?;
    tx.commit().await
}
