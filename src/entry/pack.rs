//! The pack of a gate: what a device decides by without network, and its deltas (10-rules 26, 29). What is personal in it is sealed under the code of its
//! ticket.
//!
//! ```text
//! "GFP4" · u32 length · header, JSON · u32 count · tickets, 18 bytes each · u32 count · admissions, 19 bytes each
//!        · u32 count · bands, 16 bytes each · u32 count · sealed; big-endian
//!
//! ticket      0 8 number · 8 2 pass number · 10 2 day mask · 12 1 generation · 13 1 state · 14 4 order group
//! state       bits 0-1: valid, suspended, exchanged, void · bit 2: an add-on · bit 3: staff shall read a note
//! admission   0 8 number · 8 1 day index · 9 1 number of the entry · 10 1 bit 0: left, bit 1: taken back, bit 2: put out, bit 3: of an add-on · 11 4 gate · 15 4 entered at, Unix seconds
//! gate        bytes 8 to 11 of its id, which are random
//! sealed      0 8 number · 8 2 length · 10 a box: nonce, then AES-256-GCM of JSON {name?, note?} under HKDF-SHA256 of the signature in the code, for
//!             "gatefold-sealed-v1"; the name only for devices that check identity, of passes that ask for it
//! band        0 8 number of its ticket · 8 8 what it carries: the first bytes of HMAC-SHA256 under the salt of the rules; zeros where it ended or is plain
//! ```
//!
//! A whole pack begins at the positions 0 and 0 and carries the digest of its tickets; a device replaces what it has by it. A delta has what changed
//! behind the two positions that a device names, two thousand of each at most. Once a minute the list of tickets as it is at one position is kept with its
//! digest: a delta that would pass that position ends there and carries the digest, and a device whose list does not fit it begins anew. Positions are given under one lock a festival, so none becomes visible
//! behind a later one. An admission may come before its ticket: its number is kept. Records are sorted by number.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::{BASE64, HEXLOWER};
use hyper::body::Bytes;
use poem_openapi::types::ToJSON;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{bands, incident, overrides, store};
use crate::{
    app::App,
    festivals,
    fresh::Fresh,
    id::{FestivalId, OrderId},
    keys, offers,
    secrets::{self, Purpose},
    tickets::{self, TicketKind, TicketStatus},
};

/// The first bytes of a pack, by its format: the first has admissions without gates and moments, the second no bands, the third nothing sealed.
const MAGIC: [&[u8; 4]; 4] = [b"GFP1", b"GFP2", b"GFP3", b"GFP4"];
/// Rows of a feed that are read at once, and the most of each in a delta.
const PAGE: i64 = 2_000;
/// How old a kept list is before it is brought up to date.
const KEPT: TimeDelta = TimeDelta::minutes(1);
/// How old it is before it is read from the beginning again.
const ANEW: TimeDelta = TimeDelta::minutes(15);
/// The bytes of an admission, as a page of before format 2 reads them.
const OLD_ADMISSION: usize = 11;
/// Bytes of a record.
const TICKET: usize = 18;
const ADMISSION: usize = 19;
const BAND: usize = 16;

/// What boxes are sealed for.
const SEALED: &str = "gatefold-sealed-v1";

/// Where a device stands in the two feeds of a festival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// In the feed of tickets.
    pub tickets: i64,
    /// In the feed of admissions.
    pub admissions: i64,
}

/// What was read behind positions.
pub struct Part {
    from: Positions,
    to: Positions,
    more: bool,
    digest: Option<String>,
    list_digest: Option<String>,
    tickets: Bytes,
    admissions: Bytes,
    bands: Bytes,
    sealed: Sealed,
}

/// What says something to staff, each in a box that its code opens.
#[derive(Default)]
struct Sealed {
    count: usize,
    bytes: Vec<u8>,
}

/// The tickets of a festival as they are at one position of their feed.
pub struct List {
    at: DateTime<Utc>,
    /// When its reading began at the beginning of the feed.
    begun_at: DateTime<Utc>,
    to: i64,
    digest: String,
    /// By number, each with its position.
    tickets: BTreeMap<[u8; 8], (i64, [u8; TICKET])>,
}

impl List {
    /// The records of those that changed behind a position.
    fn behind(&self, position: i64) -> Vec<u8> {
        if position >= self.to {
            return Vec::new();
        }
        self.tickets.values().filter(|(at, _)| *at > position).flat_map(|(_, record)| *record).collect()
    }
}

/// The kept lists of festivals.
#[derive(Default)]
pub struct Lists(Mutex<HashMap<FestivalId, Kept>>);

type Kept = Arc<tokio::sync::Mutex<Option<Arc<List>>>>;

impl Lists {
    fn of(&self, festival: FestivalId) -> Kept {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(festival).or_default().clone()
    }
}

/// Of which festival, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The festival.
    pub festival: FestivalId,
    /// Whether names are in it: for a device that compares them with documents.
    pub with_names: bool,
}

/// The whole packs of festivals, for every device that comes at the same time.
pub type Wholes = Fresh<Subject, Arc<Part>>;

/// The rules of a festival as a device needs them, and a tag that changes with them.
pub struct Rules {
    tag: String,
    rules: Value,
}

/// The rules of festivals, at most a second old.
pub type KnownRules = Fresh<FestivalId, Arc<Rules>>;

/// The head of a pack.
#[derive(Serialize)]
struct Header<'a> {
    format: u8,
    festival_id: FestivalId,
    server_time: DateTime<Utc>,
    /// 0 and 0 in a whole pack, also where a device asked for less and the feeds went back behind it.
    from: Positions,
    to: Positions,
    /// Whether there is more behind `to`: ask again from there.
    more: bool,
    /// SHA-256 over the records of tickets, of a whole pack.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    /// SHA-256 over the records of all tickets as they are at `to`, sorted by number: of a delta that ends where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    list_digest: Option<&'a str>,
    rules_tag: &'a str,
    /// Left away where the device has them already.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a Value>,
}

/// The pack behind positions in pieces: from the beginning, or from where no feed has come to, it is whole. Without the rules where `tag` is theirs.
///
/// # Errors
/// What the database said.
pub async fn pack(app: &App, subject: Subject, from: Positions, tag: Option<&str>, format: u8) -> Result<Vec<Bytes>, sqlx::Error> {
    let festival = subject.festival;
    let known = app.the::<KnownRules>().get(festival, async || rules(app, festival).await.map(Arc::new)).await?;
    let subject = Subject { with_names: subject.with_names && format > 3, ..subject };
    let part = match delta(app, subject, from).await? {
        Some(part) => Arc::new(part),
        None => whole(app, subject).await?,
    };
    let header = Header {
        format,
        festival_id: festival,
        server_time: app.clock.now(),
        from: part.from,
        to: part.to,
        more: part.more,
        digest: part.digest.as_deref(),
        list_digest: part.list_digest.as_deref(),
        rules_tag: &known.tag,
        rules: (tag != Some(known.tag.as_str())).then_some(&known.rules),
    };
    let header = serde_json::to_vec(&header).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let magic = MAGIC[usize::from(format.clamp(1, 4)) - 1];
    let head = [magic.as_slice(), &count(header.len()), &header, &count(part.tickets.len() / TICKET)].concat();
    let between = Bytes::copy_from_slice(&count(part.admissions.len() / ADMISSION));
    let admissions = if format == 1 {
        // Left or taken back is all that it knows of an end.
        part.admissions
            .chunks(ADMISSION)
            .flat_map(|record| [&record[..OLD_ADMISSION - 1], &[record[OLD_ADMISSION - 1] & 3]].concat())
            .collect::<Vec<u8>>()
            .into()
    } else {
        part.admissions.clone()
    };
    let mut pieces = vec![head.into(), part.tickets.clone(), between, admissions];
    if format > 2 {
        pieces.extend([Bytes::copy_from_slice(&count(part.bands.len() / BAND)), part.bands.clone()]);
    }
    if format > 3 {
        pieces.extend([Bytes::copy_from_slice(&count(part.sealed.count)), Bytes::copy_from_slice(&part.sealed.bytes)]);
    }
    Ok(pieces)
}

fn count(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

async fn rules(app: &App, festival: FestivalId) -> Result<Rules, sqlx::Error> {
    let pool = &app.pools.web;
    let ring = keys::ring(app, festival).await?;
    let key = |key: &keys::Key| json!({ "key_id": key.key_id, "state": key.state, "public_key": BASE64.encode(key.public.as_bytes()) });
    let of = festivals::one(pool, festival).await?;
    let rules = json!({
        "time_zone": of.as_ref().map(|f| &f.terms.time_zone),
        "list_only": of.as_ref().is_some_and(|f| f.list_only),
        "keys": ring.0.iter().map(key).collect::<Vec<_>>(),
        "days": festivals::days(pool, festival).await?.to_json(),
        "passes": offers::passes(pool, festival).await?.to_json(),
        "add_ons": offers::add_ons(pool, festival).await?.to_json(),
        "gates": festivals::gates(pool, festival).await?.to_json(),
        "zones": festivals::zones(pool, festival).await?.to_json(),
        // What lasts: what is over bars nobody any more.
        "holds": incident::store::holds(pool, festival).await?.into_iter().filter(|hold| hold.ended_at.is_none()).collect::<Vec<_>>().to_json(),
        // Sixteen hexadecimal digits each.
        "revoked_cards": overrides::revoked_cards(pool, festival).await?,
        "band_salt": BASE64.encode(&bands::salt(app, festival)),
        "clearings": incident::store::clearings(pool, festival).await?.to_json(),
    });
    let tag = HEXLOWER.encode(&secrets::sha256(rules.to_string().as_bytes())[..8]);
    Ok(Rules { tag, rules })
}

/// What changed behind positions; `None` where only a whole pack will do.
async fn delta(app: &App, subject: Subject, from: Positions) -> Result<Option<Part>, sqlx::Error> {
    let festival = subject.festival;
    if from == Positions::default() {
        return Ok(None);
    }
    // While another one brings the list up to date, this one goes without.
    let kept = app.the::<Lists>().of(festival);
    let list = match kept.try_lock() {
        Ok(mut kept) => Some(current(app, festival, &mut kept).await?),
        Err(_) => None,
    };
    let sealing = Sealing::of(app, subject).await?;
    let mut conn = app.pools.web.acquire().await?;
    // A feed that went back: a standby that knew less took over, or a backup was read back.
    let (tickets, admissions) = festivals::positions(&mut conn, festival).await?;
    if from.tickets > tickets || from.admissions > admissions {
        return Ok(None);
    }
    let mut part = Reading::from(from);
    let some = part.admissions(&mut conn, festival).await?;
    // Whoever is at its position goes on from there, or hears that nothing is missing; whoever is far behind comes nearer by pages.
    let behind = list.filter(|list| from.tickets < list.to || list.to == tickets).map(|list| (list.behind(from.tickets), list));
    match behind.filter(|(records, _)| i64::try_from(records.len() / TICKET).is_ok_and(|n| n <= PAGE)) {
        Some((records, list)) => {
            part.to.tickets = list.to;
            part.bands(&mut conn, festival).await?;
            part.sealed(&mut conn, festival, &sealing).await?;
            let part = part.packed(some || list.to < tickets);
            Ok(Some(Part { list_digest: Some(list.digest.clone()), tickets: records.into(), ..part }))
        }
        None => {
            let others = part.tickets(app, &mut conn, festival).await?;
            part.bands(&mut conn, festival).await?;
            part.sealed(&mut conn, festival, &sealing).await?;
            Ok(Some(part.packed(some || others)))
        }
    }
}

/// The whole pack; its reading goes on for the next device when this one hangs up.
async fn whole(app: &App, subject: Subject) -> Result<Arc<Part>, sqlx::Error> {
    let (house, festival) = (app.clone(), subject.festival);
    let reading = tokio::spawn(async move {
        let read = async || {
            let list = {
                let kept = house.the::<Lists>().of(festival);
                let mut kept = kept.lock().await;
                current(&house, festival, &mut kept).await?
            };
            let sealing = Sealing::of(&house, subject).await?;
            let mut conn = house.pools.web.acquire().await?;
            let mut part = Reading::from(Positions::default());
            while part.admissions(&mut conn, festival).await? {}
            part.to.tickets = list.to;
            part.bands(&mut conn, festival).await?;
            part.sealed(&mut conn, festival, &sealing).await?;
            // What was sold since the list was kept comes at once.
            let (tickets, _) = festivals::positions(&mut conn, festival).await?;
            let part = part.packed(list.to < tickets);
            Ok(Arc::new(Part { digest: Some(list.digest.clone()), tickets: list.behind(0).into(), ..part }))
        };
        house.the::<Wholes>().get_costly(subject, read).await
    });
    reading.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// The kept list, brought up to date where it is older than a minute: by what changed since, and now and then from the beginning, so that nothing that a
/// standby never knew stays in it.
async fn current(app: &App, festival: FestivalId, kept: &mut Option<Arc<List>>) -> Result<Arc<List>, sqlx::Error> {
    let now = app.clock.now();
    if let Some(list) = kept.as_ref().filter(|list| now - list.at < KEPT && list.to > 0) {
        return Ok(list.clone());
    }
    let mut conn = app.pools.web.acquire().await?;
    let (position, _) = festivals::positions(&mut conn, festival).await?;
    let (begun_at, mut to, mut tickets) = match kept.as_ref().filter(|list| now - list.begun_at < ANEW && list.to <= position) {
        Some(list) => (list.begun_at, list.to, list.tickets.clone()),
        None => (now, 0, BTreeMap::new()),
    };
    loop {
        let page = tickets::feed(&mut conn, festival, to, PAGE).await?;
        to = page.last().map_or(to, |listed| listed.position);
        tickets.extend(page.iter().map(|listed| (listed.ticket.ticket_number.to_be_bytes(), (listed.position, ticket_record(app, listed)))));
        if i64::try_from(page.len()) != Ok(PAGE) {
            break;
        }
    }
    let mut list = List { at: now, begun_at, to, digest: String::new(), tickets };
    list.digest = HEXLOWER.encode(&secrets::sha256(&list.behind(0)));
    Ok(kept.insert(Arc::new(list)).clone())
}

/// What boxes are sealed by: the passes whose names are in them, and the keys that signed the codes. Read before a connection is held.
struct Sealing {
    named: Vec<i32>,
    ring: Arc<keys::Ring>,
}

impl Sealing {
    async fn of(app: &App, Subject { festival, with_names }: Subject) -> Result<Self, sqlx::Error> {
        let named = if with_names { offers::identified(&offers::passes(&app.pools.web, festival).await?) } else { Vec::new() };
        Ok(Self { named, ring: keys::ring(app, festival).await? })
    }
}

/// A part while it is read. What changes between two pages comes again behind them: the later record holds.
struct Reading {
    from: Positions,
    to: Positions,
    /// By number.
    tickets: BTreeMap<[u8; 8], [u8; TICKET]>,
    /// By number, day and entry.
    admissions: BTreeMap<[u8; 10], [u8; ADMISSION]>,
    /// By number.
    bands: BTreeMap<[u8; 8], [u8; BAND]>,
    sealed: Sealed,
}

impl Reading {
    fn from(from: Positions) -> Self {
        Self { from, to: from, tickets: BTreeMap::new(), admissions: BTreeMap::new(), bands: BTreeMap::new(), sealed: Sealed::default() }
    }

    /// Reads a page of tickets; whether there may be another.
    async fn tickets(&mut self, app: &App, conn: &mut PgConnection, festival: FestivalId) -> Result<bool, sqlx::Error> {
        let page = tickets::feed(conn, festival, self.to.tickets, PAGE).await?;
        self.to.tickets = page.last().map_or(self.to.tickets, |listed| listed.position);
        self.tickets.extend(page.iter().map(|listed| (listed.ticket.ticket_number.to_be_bytes(), ticket_record(app, listed))));
        Ok(i64::try_from(page.len()) == Ok(PAGE))
    }

    /// Reads a page of admissions; whether there may be another.
    async fn admissions(&mut self, conn: &mut PgConnection, festival: FestivalId) -> Result<bool, sqlx::Error> {
        let page = store::feed(conn, festival, self.to.admissions, PAGE).await?;
        self.to.admissions = page.last().map_or(self.to.admissions, |admission| admission.position);
        self.admissions.extend(page.iter().map(admission_record).map(|record| {
            let mut which = [0; 10];
            which.copy_from_slice(&record[..10]);
            (which, record)
        }));
        Ok(i64::try_from(page.len()) == Ok(PAGE))
    }

    /// Reads the bands that changed between the two positions of tickets: a band changes with its ticket.
    async fn bands(&mut self, conn: &mut PgConnection, festival: FestivalId) -> Result<(), sqlx::Error> {
        let mut after = self.from.tickets;
        loop {
            let page = bands::feed(&mut *conn, festival, after, self.to.tickets, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.position;
            self.bands.extend(page.iter().map(|listed| (listed.ticket_number.to_be_bytes(), band_record(listed))));
        }
    }

    /// Seals what tickets between the two positions say to staff. What was removed is known by the state of its ticket.
    async fn sealed(&mut self, conn: &mut PgConnection, festival: FestivalId, Sealing { named, ring }: &Sealing) -> Result<(), sqlx::Error> {
        let mut after = self.from.tickets;
        while after < self.to.tickets {
            let page = tickets::telling(&mut *conn, festival, after, self.to.tickets, named, PAGE).await?;
            after = page.last().map_or(self.to.tickets, |last| last.position);
            for ticket in &page {
                let Some(carried) = ticket.carried(ring) else { continue };
                let name = named.contains(&ticket.pass_number).then_some(&ticket.holder_name);
                let said = json!({ "name": name, "note": ticket.note }).to_string();
                let boxed = secrets::seal_under(&carried, SEALED, said.as_bytes());
                let length = u16::try_from(boxed.len()).unwrap_or(0).to_be_bytes();
                self.sealed.bytes.extend([ticket.ticket_number.to_be_bytes().as_slice(), &length, &boxed].concat());
                self.sealed.count += 1;
            }
        }
        Ok(())
    }

    fn packed(self, more: bool) -> Part {
        let tickets: Vec<u8> = self.tickets.into_values().flatten().collect();
        let admissions: Vec<u8> = self.admissions.into_values().flatten().collect();
        let bands: Vec<u8> = self.bands.into_values().flatten().collect();
        Part {
            from: self.from,
            to: self.to,
            more,
            digest: None,
            list_digest: None,
            tickets: tickets.into(),
            admissions: admissions.into(),
            bands: bands.into(),
            sealed: self.sealed,
        }
    }
}

fn band_record(band: &bands::Listed) -> [u8; BAND] {
    let mut record = [0; BAND];
    record[..8].copy_from_slice(&band.ticket_number.to_be_bytes());
    if let Some(hash) = band.band_hash.as_deref().filter(|hash| hash.len() == 8) {
        record[8..].copy_from_slice(hash);
    }
    record
}

fn ticket_record(app: &App, tickets::Listed { ticket, .. }: &tickets::Listed) -> [u8; TICKET] {
    let status = match ticket.status {
        TicketStatus::Valid => 0,
        TicketStatus::Suspended => 1,
        TicketStatus::Exchanged => 2,
        TicketStatus::Void => 3,
    };
    let kind = if ticket.kind == TicketKind::AddOn { 4 } else { 0 };
    let mut record = [0; TICKET];
    record[..8].copy_from_slice(&ticket.ticket_number.to_be_bytes());
    // As in the code of the ticket: 16 bits of pass and days, 8 of generation; what does not fit there was never issued.
    record[8..10].copy_from_slice(&u16::try_from(ticket.pass_number).unwrap_or(0).to_be_bytes());
    record[10..12].copy_from_slice(&u16::try_from(ticket.day_mask).unwrap_or(0).to_be_bytes());
    record[12] = u8::try_from(ticket.generation).unwrap_or(0);
    record[13] = status | kind | if ticket.note.is_some() { 8 } else { 0 };
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
    record[9] = u8::try_from(admission.entry_no).unwrap_or(u8::MAX);
    record[10] = u8::from(admission.has_left)
        | u8::from(admission.is_undone) << 1
        | u8::from(admission.was_cleared) << 2
        | u8::from(admission.kind == TicketKind::AddOn) << 3;
    record[11..15].copy_from_slice(&admission.gate_id.0.as_bytes()[8..12]);
    record[15..].copy_from_slice(&u32::try_from(admission.entered_at.timestamp()).unwrap_or(0).to_be_bytes());
    record
}
