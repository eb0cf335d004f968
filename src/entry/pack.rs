//! The pack of a gate: what a device decides by without network, and its deltas (10-rules 26, 29). No personal data is in it.
//!
//! ```text
//! "GFP1" · u32 length · header, JSON · u32 count · tickets, 18 bytes each · u32 count · admissions, 11 bytes each; big-endian
//!
//! ticket      0 8 number · 8 2 pass number · 10 2 day mask · 12 1 generation · 13 1 state · 14 4 order group
//! state       bits 0-1: valid, suspended, exchanged, void · bit 2: an add-on
//! admission   0 8 number · 8 1 day index · 9 1 number of the entry · 10 1 bit 0: left, bit 1: taken back
//! ```
//!
//! The whole pack has the tickets sorted by number and their digest. A delta has what changed behind the two positions that a device names, oldest
//! first, two thousand of each at most; positions are given under one lock a festival, so none becomes visible behind a later one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use data_encoding::{BASE64, HEXLOWER};
use poem_openapi::types::ToJSON;
use serde::Serialize;
use serde_json::{Value, json};

use super::store;
use crate::{
    app::App,
    festivals,
    fresh::Fresh,
    id::{FestivalId, OrderId},
    keys, offers,
    secrets::{self, Purpose},
    tickets::{self, TicketKind, TicketStatus},
};

/// The media type of a pack.
pub const MEDIA_TYPE: &str = "application/vnd.gatefold.pack";
/// The first bytes of a pack.
const MAGIC: &[u8; 4] = b"GFP1";
/// Rows that are read at once, and the most of a delta.
const PAGE: i64 = 2_000;

/// Where a device stands in the two feeds of a festival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Positions {
    /// In the feed of tickets.
    pub tickets: i64,
    /// In the feed of admissions.
    pub admissions: i64,
}

/// What was read behind positions: packed once, for every device that stands there.
pub struct Part {
    to: Positions,
    more: bool,
    digest: Option<String>,
    tickets: Vec<u8>,
    admissions: Vec<u8>,
    read_at: DateTime<Utc>,
}

/// Parts by festival and positions.
pub type Parts = Fresh<(FestivalId, Positions), Arc<Part>>;

/// The head of a pack.
#[derive(Serialize)]
struct Header<'a> {
    format: u8,
    festival_id: FestivalId,
    read_at: DateTime<Utc>,
    from: Positions,
    to: Positions,
    /// Whether there is more behind `to`: ask again from there.
    more: bool,
    /// SHA-256 over the records of tickets, of a whole pack.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    rules_tag: &'a str,
    /// Left away where the device has them already.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a Value>,
}

/// The rules of a festival as a device needs them, and a tag that changes with them.
pub struct Rules {
    tag: String,
    rules: Value,
}

/// The rules of festivals, at most a second old.
pub type KnownRules = Fresh<FestivalId, Arc<Rules>>;

/// The pack behind positions; from the beginning it is whole. Without the rules where `tag` is theirs.
///
/// # Errors
/// What the database said.
pub async fn pack(app: &App, festival: FestivalId, from: Positions, tag: Option<&str>) -> Result<Vec<u8>, sqlx::Error> {
    let known = app.the::<KnownRules>().get(festival, async || rules(app, festival).await.map(Arc::new)).await?;
    let part = app.the::<Parts>().get_costly((festival, from), async || part(app, festival, from).await.map(Arc::new)).await?;
    let header = Header {
        format: 1,
        festival_id: festival,
        read_at: part.read_at,
        from,
        to: part.to,
        more: part.more,
        digest: part.digest.as_deref(),
        rules_tag: &known.tag,
        rules: (tag != Some(known.tag.as_str())).then_some(&known.rules),
    };
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let mut bytes = Vec::with_capacity(16 + header.len() + part.tickets.len() + part.admissions.len());
    bytes.extend(MAGIC);
    bytes.extend(length(header.len()));
    bytes.extend(header);
    for (records, size) in [(&part.tickets, TICKET), (&part.admissions, ADMISSION)] {
        bytes.extend(length(records.len() / size));
        bytes.extend(records);
    }
    Ok(bytes)
}

/// Bytes of a record.
const TICKET: usize = 18;
const ADMISSION: usize = 11;

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads the rules.
async fn rules(app: &App, festival: FestivalId) -> Result<Rules, sqlx::Error> {
    let pool = &app.pools.web;
    let ring = keys::ring(app, festival).await?;
    let keys: Vec<Value> =
        ring.keys().iter().map(|key| json!({ "key_id": key.key_id, "state": key.state, "public_key": BASE64.encode(key.public.as_bytes()) })).collect();
    let rules = json!({
        "time_zone": festivals::one(pool, festival).await?.map(|f| f.terms.time_zone),
        "keys": keys,
        "days": festivals::days(pool, festival).await?.to_json(),
        "passes": offers::passes(pool, festival).await?.to_json(),
        "gates": festivals::gates(pool, festival).await?.to_json(),
    });
    let tag = HEXLOWER.encode(&secrets::sha256(rules.to_string().as_bytes())[..8]);
    Ok(Rules { tag, rules })
}

/// Reads a part: all of it from the beginning, else a page of each feed.
async fn part(app: &App, festival: FestivalId, from: Positions) -> Result<Part, sqlx::Error> {
    let whole = from == Positions::default();
    let read_at = app.clock.now();
    let (mut to, mut more) = (from, false);
    let (mut listed, mut admissions) = (Vec::new(), Vec::new());
    let mut conn = app.pools.web.acquire().await?;
    loop {
        let page = tickets::feed(&mut conn, festival, to.tickets, PAGE).await?;
        let full = i64::try_from(page.len()).unwrap_or(PAGE) == PAGE;
        to.tickets = page.last().map_or(to.tickets, |ticket| ticket.position);
        listed.extend(page.iter().map(|ticket| (ticket.position, ticket_record(app, ticket))));
        more |= full && !whole;
        if !full || !whole {
            break;
        }
    }
    loop {
        let page = store::feed(&mut conn, festival, to.admissions, PAGE).await?;
        let full = i64::try_from(page.len()).unwrap_or(PAGE) == PAGE;
        to.admissions = page.last().map_or(to.admissions, |admission| admission.position);
        admissions.extend(page.iter().flat_map(admission_record));
        more |= full && !whole;
        if !full || !whole {
            break;
        }
    }
    // A ticket that changed between two pages comes twice: what came later holds.
    listed.sort_unstable_by(|(a_position, a), (b_position, b)| a[..8].cmp(&b[..8]).then(b_position.cmp(a_position)));
    listed.dedup_by(|(_, next), (_, kept)| next[..8] == kept[..8]);
    let tickets: Vec<u8> = listed.into_iter().flat_map(|(_, record)| record).collect();
    let digest = whole.then(|| HEXLOWER.encode(&secrets::sha256(&tickets)));
    Ok(Part { to, more, digest, tickets, admissions, read_at })
}

fn ticket_record(app: &App, ticket: &tickets::Listed) -> [u8; TICKET] {
    let status = match ticket.status {
        TicketStatus::Valid => 0,
        TicketStatus::Suspended => 1,
        TicketStatus::Exchanged => 2,
        TicketStatus::Void => 3,
    };
    let kind = if ticket.kind == TicketKind::AddOn { 4 } else { 0 };
    let mut record = [0; TICKET];
    record[..8].copy_from_slice(&ticket.ticket_number.to_be_bytes());
    // Pass numbers and masks have 16 bits, generations 8: the columns are wider.
    record[8..10].copy_from_slice(&u16::try_from(ticket.pass_number).unwrap_or(0).to_be_bytes());
    record[10..12].copy_from_slice(&u16::try_from(ticket.day_mask).unwrap_or(0).to_be_bytes());
    record[12] = u8::try_from(ticket.generation).unwrap_or(0);
    record[13] = status | kind;
    record[14..].copy_from_slice(&order_group(app, ticket.order_id));
    record
}

/// What the tickets of an order have in common at a gate: it says nothing of the order.
fn order_group(app: &App, order: OrderId) -> [u8; 4] {
    let mac = app.secrets.mac(Purpose::OrderGroup, &[order.0.as_bytes()]);
    [mac[0], mac[1], mac[2], mac[3]]
}

fn admission_record(admission: &store::Admitted) -> [u8; ADMISSION] {
    let mut record = [0; ADMISSION];
    record[..8].copy_from_slice(&admission.ticket_number.to_be_bytes());
    record[8] = u8::try_from(admission.day_index).unwrap_or(0);
    record[9] = u8::try_from(admission.entry_no).unwrap_or(0);
    record[10] = u8::from(admission.has_left) | u8::from(admission.is_undone) << 1;
    record
}
