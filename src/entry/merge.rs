//! What devices report of the time without network: a kind of batch. Every item is answered by itself, any number of times, in any order; who is in
//! and what the ledger says follow from all that is known (`replay`), so they do not depend on who reports first.

mod story;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use super::{
    Asked, Carried, Reason, ScanKind, Verdict, bands,
    catalog::{Catalog, catalog},
    decide::{Again, Decision, Entered, Known, Lifts, Presented, decide, is_again, next_no},
    ledger::{self, DiscrepancyKind, First, Found},
    overrides::{self, Override, Overriding, Past},
    presence::Presence,
    replay::replay,
    scan::ScanError,
    store::{self, Report},
};
use crate::{
    accounts::Device,
    app::App,
    batcher::{Busy, Kind, Trouble, patiently},
    festivals,
    id::{DeviceId, FestivalId, GateId, ScanId, TicketId},
    keys::{self, KeyState},
    sabotage,
    tickets::{
        self,
        code::{CodeError, Shown},
    },
};
use story::{Story, stories};

/// The most reports of one upload.
pub const MOST: usize = 500;
/// How far a clock may be off before what it says is doubted.
const DOUBT: TimeDelta = TimeDelta::minutes(5);

/// How long ago a scan may have been: what is said to be older happened then.
const KEPT: TimeDelta = TimeDelta::days(31);
/// How far the calendar of a device may be off and is still written down.
const CALENDAR: TimeDelta = TimeDelta::days(3_650);

/// A scan that a device decided by itself, as it reports it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// What it was asked to decide; `scanned_at` is by the device's clock.
    pub asked: Asked,
    /// What had to be added to the device's clock for the time of the house, as it knew it then.
    pub offset: TimeDelta,
    /// The gate that its holder had chosen.
    pub gate_id: Option<GateId>,
    /// What it showed.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The scan.
    pub scan_id: ScanId,
    /// The server's own first verdict.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the ledger says of it now.
    pub discrepancies: Vec<DiscrepancyKind>,
}

/// Merges what a device reports; `sent_at` is its clock when it sent.
///
/// # Errors
/// [`ScanError`]: the device keeps what it has and asks again.
pub async fn merge(app: &App, device: &Device, sent_at: DateTime<Utc>, reported: Vec<Reported>) -> Result<Vec<Merged>, ScanError> {
    patiently(async {
        let festival = device.festival_id;
        let ring = keys::ring(app, festival).await?;
        let catalog = catalog(app, festival).await?;
        let received_at = app.clock.now();
        let clock = Clock { drift: received_at - sent_at, received_at, paired_at: device.paired_at };
        // Five hundred signatures take as long as a hundred scans: not on a thread that scans are answered on.
        let device = device.clone();
        let keys = Arc::clone(&ring);
        let texts: Vec<&str> =
            reported.iter().map(|reported| reported.asked.code.as_str()).filter(|code| catalog.has_bands && bands::carried(code).is_some()).collect();
        let bands = if texts.is_empty() { HashMap::new() } else { bands::worn(app, &mut *app.pools.scan.acquire().await?, festival, &texts).await? };
        let reading = tokio::task::spawn_blocking(move || reported.into_iter().map(|reported| Item::read(reported, &device, &keys, &bands, clock)).collect());
        let items = reading.await.map_err(|_| Busy::jittered())?;
        Ok(app.pass::<Merging>(festival, Upload { items, catalog, ring, received_at }).await?)
    })
    .await
}

/// What is known of a device's clock.
#[derive(Clone, Copy)]
struct Clock {
    /// What has to be added to it now.
    drift: TimeDelta,
    received_at: DateTime<Utc>,
    paired_at: DateTime<Utc>,
}

/// A report whose code was read.
struct Item {
    /// At the gate that its holder had chosen.
    device: Device,
    reported: Reported,
    /// What the code says, with what speaks against its key; or why it is none of ours.
    code: Result<(Carried, Option<Reason>), Reason>,
    happened_at: DateTime<Utc>,
    is_doubtful: bool,
}

impl Item {
    fn read(mut reported: Reported, device: &Device, ring: &keys::Ring, bands: &HashMap<String, Vec<bands::Worn>>, clock: Clock) -> Self {
        let festival = device.festival_id;
        let here = device.clone().at(reported.gate_id).unwrap_or_else(|| device.clone());
        // A clock beyond all calendars says nothing.
        let said = reported.asked.scanned_at.checked_add_signed(reported.offset).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let is_doubtful = (clock.drift - reported.offset).abs() > DOUBT || said > clock.received_at + DOUBT || said < clock.paired_at - DOUBT;
        let happened_at = said.clamp(clock.received_at - KEPT, clock.received_at);
        // A year that no database holds is not kept as it was said.
        reported.asked.scanned_at = reported.asked.scanned_at.clamp(clock.received_at - CALENDAR, clock.received_at + CALENDAR);
        let revoked_at = |key_id: u8| ring.key(key_id).and_then(|key| key.revoked_at);
        let code = match Shown::signed(reported.asked.code.trim(), festival, ring) {
            Ok(Shown { key: KeyState::Pending, .. }) | Err(CodeError::Forged | CodeError::KeyRetired) => Err(Reason::Forged),
            Ok(shown) => {
                // Whoever came in by it is in: the ticket is looked up, and the ledger says so where the key was dead by then.
                let is_dead = shown.key == KeyState::Revoked && revoked_at(shown.code.key_id).is_none_or(|at| at <= happened_at);
                // What the device saw before it says by its verdict alone: which of the two reports comes first says nothing.
                let is_live = if reported.asked.after.is_some() { shown.is_recent(happened_at) } else { shown.is_live(happened_at) };
                Ok((Carried::code(&shown, is_live), is_dead.then_some(Reason::KeyRetired)))
            }
            Err(error) => match bands::carried(&reported.asked.code).and_then(|text| bands::at(bands.get(&text)?, happened_at)) {
                Some(worn) if error == CodeError::Unknown => Ok((Carried::band(worn, happened_at), None)),
                _ => Err(error.into()),
            },
        };
        Self { device: here, happened_at, is_doubtful, code, reported }
    }

    fn number(&self) -> Option<i64> {
        self.code.as_ref().ok().map(|(carried, _)| carried.number)
    }

    /// The supervisor's word that it was decided by.
    fn wish(&self) -> Option<&Override> {
        self.reported.asked.override_.as_ref().filter(|_| self.reported.asked.kind == ScanKind::Entry)
    }
}

/// What one device sends at once.
pub struct Upload {
    items: Vec<Item>,
    catalog: Arc<Catalog>,
    ring: Arc<keys::Ring>,
    received_at: DateTime<Utc>,
}

/// Batches of merging: one upload a transaction, so that scans wait for few tickets at a time.
pub struct Merging;

impl Kind for Merging {
    const NAME: &'static str = "merge";
    const MOST: usize = 1;
    const GATHER: Duration = Duration::ZERO;
    type Request = Upload;
    type Answer = Vec<Merged>;

    fn pool(app: &App) -> &PgPool {
        &app.pools.scan
    }

    async fn run(_: &App, conn: &mut PgConnection, festival: FestivalId, batch: &[Upload]) -> Result<Vec<Vec<Merged>>, Trouble> {
        let mut answers = Vec::with_capacity(batch.len());
        for upload in batch {
            answers.push(one(conn, festival, upload).await?);
        }
        Ok(answers)
    }
}

async fn one(conn: &mut PgConnection, festival: FestivalId, upload: &Upload) -> Result<Vec<Merged>, Trouble> {
    let numbers: BTreeSet<i64> = upload.items.iter().filter_map(Item::number).collect();
    let mut stories = stories(conn, festival, &numbers.into_iter().collect::<Vec<_>>()).await?;
    let ids: Vec<ScanId> = upload.items.iter().map(|i| i.reported.asked.scan_id).collect();
    let mut scans = store::by_ids(conn, festival, &ids).await?;
    let mut reports: HashMap<ScanId, Report> = store::reports(conn, festival, &ids).await?.into_iter().map(|r| (r.scan_id, r)).collect();
    sabotage::pause().await;
    let past = past(conn, upload, &reports).await?;
    let (mut new_scans, mut new_reports, mut overridden) = (Vec::new(), Vec::new(), Vec::new());
    for item in &upload.items {
        let asked = &item.reported.asked;
        if reports.contains_key(&asked.scan_id) {
            continue;
        }
        let story = item.number().and_then(|number| stories.get_mut(&number));
        let overriding = item.wish().and_then(|wish| past.allowed(wish, festival, &upload.ring, &upload.catalog.days, item.happened_at));
        let ruled = ruled(upload, item, story.as_deref(), overriding.as_ref());
        // What the server decided itself happened when it did; what only the device knows, by the device's clock.
        let online_at = scans.get(&asked.scan_id).map(|scan| scan.decided_at);
        if online_at.is_none() {
            let scan = own(upload, item, story.as_deref(), &ruled, overriding.as_ref());
            scans.insert(scan.scan_id, scan.clone());
            new_scans.push(scan);
        }
        let report = Report {
            scan_id: asked.scan_id,
            device_id: item.device.device_id,
            gate_id: item.device.gate_id,
            kind: asked.kind,
            ticket_id: story.as_ref().map(|s| s.ticket.ticket_id),
            day_index: ruled.day_index,
            verdict: item.reported.verdict,
            reason: item.reported.reason,
            ruled: ruled.verdict,
            ruled_reason: ruled.reason,
            happened_at: online_at.unwrap_or(item.happened_at),
            scanned_at: asked.scanned_at,
            offset_ms: item.reported.offset.num_milliseconds(),
            is_doubtful: item.is_doubtful && online_at.is_none(),
            received_at: upload.received_at,
        };
        if let Some(story) = story {
            if let Some(overriding) = overriding.as_ref().filter(|_| report.verdict == Verdict::Admitted) {
                let scan = (asked.scan_id, story.ticket.ticket_id);
                overridden.push(overriding.done(scan, &item.device, &overriding.lifts.reasons, item.happened_at));
            }
            note(story, upload, &report, overriding.as_ref());
        }
        reports.insert(report.scan_id, report.clone());
        new_reports.push(report);
    }
    if store::insert(conn, festival, &new_scans).await? != new_scans.len() as u64
        || store::insert_reports(conn, festival, &new_reports).await? != new_reports.len() as u64
    {
        return Err(Trouble::Again);
    }
    overrides::record(conn, festival, &overridden, upload.received_at).await?;
    let found = settle(conn, festival, upload, &stories, &reports, !new_reports.is_empty()).await?;
    let answer = |item: &Item| {
        let scan_id = item.reported.asked.scan_id;
        let scan = scans.get(&scan_id)?;
        Some(Merged { scan_id, verdict: scan.verdict, reason: scan.reason, discrepancies: found.get(&scan_id).cloned().unwrap_or_default() })
    };
    Ok(upload.items.iter().filter_map(answer).collect())
}

/// Who could override on the device when it scanned: read for what is new.
async fn past(conn: &mut PgConnection, upload: &Upload, reports: &HashMap<ScanId, Report>) -> Result<Past, sqlx::Error> {
    let is_new = |item: &&Item| !reports.contains_key(&item.reported.asked.scan_id);
    let wishes: Vec<&Override> = upload.items.iter().filter(is_new).filter_map(Item::wish).collect();
    let first = upload.items.iter().map(|item| item.happened_at).min().unwrap_or(upload.received_at);
    match upload.items.first() {
        Some(item) => Past::of(conn, item.device.device_id, &wishes, first).await,
        None => Past::of(conn, DeviceId::default(), &[], first).await,
    }
}

/// What the rules say of a presentation at its moment, apart from who was in then.
fn ruled(upload: &Upload, item: &Item, story: Option<&Story>, overriding: Option<&Overriding>) -> Decision {
    let (Ok((carried, retired)), Some(story)) = (&item.code, story) else {
        return Decision::refused(item.code.as_ref().err().copied().unwrap_or(Reason::Unknown));
    };
    let decision = decided(upload, item, carried, &story.known(item.happened_at), story, overriding);
    match retired {
        Some(reason) if item.reported.asked.kind == ScanKind::Entry => Decision { day_index: decision.day_index, ..Decision::refused(*reason) },
        _ => decision,
    }
}

fn decided(upload: &Upload, item: &Item, carried: &Carried, known: &Known, story: &Story, overriding: Option<&Overriding>) -> Decision {
    let asked = &item.reported.asked;
    let gate_id = item.device.gate_id;
    let presented = Presented {
        kind: asked.kind,
        generation: carried.generation,
        is_band: carried.is_band,
        is_live: carried.is_live,
        gate_id,
        zone_id: upload.catalog.zone(gate_id),
        device_id: item.device.device_id,
        checked: asked.checked,
        at: item.happened_at,
        places: None,
        company: None,
        lifts: overriding.map(|o| o.lifts.clone()),
    };
    decide(known, upload.catalog.rules(story.ticket.pass_number, gate_id).as_ref(), &upload.catalog.ground(), &presented)
}

/// The server's own verdict, by all that it knows when it hears of the scan.
fn own(upload: &Upload, item: &Item, story: Option<&Story>, ruled: &Decision, overriding: Option<&Overriding>) -> store::Recorded {
    let (Ok((carried, None)), Some(story)) = (&item.code, story) else {
        let reason = ruled.reason.unwrap_or(Reason::Unknown);
        return store::Recorded {
            ticket_id: story.map(|s| s.ticket.ticket_id),
            ..store::Recorded::refused(&item.device, &item.reported.asked, reason, upload.received_at)
        };
    };
    let mut known = Known { entries: story.entries(), ..story.known(item.happened_at) };
    upload.catalog.ground().clear(&mut known.entries, item.happened_at);
    let decision = decided(upload, item, carried, &known, story, overriding);
    store::Recorded::decided(&item.device, &item.reported.asked, story.ticket.ticket_id, &decision, upload.received_at)
}

/// Notes what a report adds to the story of its ticket.
fn note(story: &mut Story, upload: &Upload, report: &Report, overriding: Option<&Overriding>) {
    if report.verdict == Verdict::Admitted {
        match report.kind {
            ScanKind::Entry if !story.rows.iter().chain(&story.added).any(|e| e.scan_id == report.scan_id) => {
                let day_index = report.day_index.unwrap_or_else(|| nearest(&upload.catalog, story, report.happened_at));
                let entry_no = next_no(&story.entries(), day_index);
                let (scan_id, device_id, gate_id) = (report.scan_id, Some(report.device_id), report.gate_id);
                let zone_id = upload.catalog.zone(gate_id);
                let entered_at = report.happened_at;
                let lifts = overriding.map(|o| &o.lifts);
                let (because, is_again) = (lifts.map(|l: &Lifts| l.because), lifts.is_some_and(|l| is_again(&l.reasons)));
                story.added.push(Entered {
                    day_index,
                    entry_no,
                    scan_id,
                    device_id,
                    gate_id,
                    zone_id,
                    entered_at,
                    left_at: None,
                    undone_at: None,
                    because,
                    is_again,
                });
            }
            ScanKind::Exit | ScanKind::Undo if !story.moves.iter().any(|m| m.scan_id == report.scan_id) => {
                let (ticket_id, scan_id, device_id) = (story.ticket.ticket_id, report.scan_id, report.device_id);
                let zone_id = upload.catalog.zone(report.gate_id);
                story.moves.push(store::Move { ticket_id, scan_id, kind: report.kind, device_id, zone_id, at: report.happened_at });
            }
            ScanKind::Entry | ScanKind::Exit | ScanKind::Undo | ScanKind::Look => {}
        }
    }
    story.reports.push(report.clone());
}

/// The day that an admission outside of all days, which no rule and no supervisor allowed, is counted for: the last that had begun.
fn nearest(catalog: &Catalog, story: &Story, at: DateTime<Utc>) -> i16 {
    let begun = catalog.days.iter().filter(|d| d.opens_at <= at).max_by_key(|d| d.opens_at);
    let day = begun.or(catalog.days.first()).filter(|_| story.ticket.kind == tickets::TicketKind::Pass);
    day.map_or(0, |d| d.day_index)
}

/// Plays every story again, writes what differs from its rows, and says what the ledger has of each scan now.
async fn settle(
    conn: &mut PgConnection,
    festival: FestivalId,
    upload: &Upload,
    stories: &BTreeMap<i64, Story>,
    reports: &HashMap<ScanId, Report>,
    is_news: bool,
) -> Result<HashMap<ScanId, Vec<DiscrepancyKind>>, Trouble> {
    let (mut new, mut old, mut counted, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for story in stories.values() {
        let again = upload.catalog.pass(story.ticket.pass_number).map_or(Again::Never, |p| Again::of(p.terms.reentry, p.terms.entries_a_day));
        let history = replay(story.ticket.kind, again, &upload.catalog.ground(), story.facts(&upload.catalog), upload.received_at);
        for entry in &history.entries {
            let row = story.rows.iter().find(|row| row.scan_id == entry.scan_id);
            if row.is_some_and(Entered::is_open) != entry.is_open() && story.ticket.kind == tickets::TicketKind::Pass {
                counted.push(entry.clone());
            }
            match row {
                None => new.push((story.ticket.ticket_id, entry.clone())),
                Some(row) if row != entry => old.push((story.ticket.ticket_id, entry.clone())),
                Some(_) => {}
            }
        }
        let entry = |scan: ScanId| history.entries.iter().find(|e| e.scan_id == scan);
        for surplus in &history.surplus {
            // Where no device decided anything before it, the server let in by its rules of then: a rule that changed since makes no discrepancy.
            let of_devices = |entered: &Entered| story.reports.iter().any(|r| r.verdict == Verdict::Admitted && r.happened_at <= entered.entered_at);
            if let (Some(entered), Some(first)) = (entry(surplus.scan_id), entry(surplus.first))
                && of_devices(entered)
            {
                found.push(Found::surplus(story.ticket.ticket_id, entered, surplus.reason, First::of(first)));
            }
        }
        found.extend(story.reports.iter().flat_map(|r| Found::of(r, history.turned_away.contains(&r.scan_id))));
    }
    // Codes that belong to no ticket have no story.
    found.extend(reports.values().filter(|r| r.ticket_id.is_none()).flat_map(|r| Found::of(r, false)));
    if is_news {
        let tickets: Vec<TicketId> = stories.values().map(|s| s.ticket.ticket_id).collect();
        let scans: Vec<ScanId> = reports.keys().copied().collect();
        let changed = ledger::changed(&found, ledger::known(conn, festival, &tickets, &scans).await?);
        let zones: BTreeSet<_> = counted.iter().filter_map(|entry| entry.zone_id).collect();
        let mut presence = Presence::lock(conn, festival, &upload.catalog, &zones, &BTreeSet::new(), upload.received_at).await?;
        for entry in &counted {
            presence.count(entry);
        }
        presence.write(conn, festival).await?;
        let positions = new.len() + old.len() + changed.len();
        if positions > 0 {
            let first = festivals::take_positions(conn, festival, "admissions", i64::try_from(positions).unwrap_or(i64::MAX)).await?;
            write(conn, festival, &new, &old, first).await?;
            let first = first + i64::try_from(new.len() + old.len()).unwrap_or(0);
            ledger::write(conn, festival, &changed, upload.received_at, first).await?;
        }
    }
    let mut by: HashMap<ScanId, Vec<DiscrepancyKind>> = HashMap::new();
    for found in found {
        by.entry(found.scan_id).or_default().push(found.kind);
    }
    Ok(by)
}

async fn write(conn: &mut PgConnection, festival: FestivalId, new: &[(TicketId, Entered)], old: &[(TicketId, Entered)], first: i64) -> Result<(), Trouble> {
    if !old.is_empty() && store::update_admissions(conn, festival, old, first).await? != old.len() as u64 {
        return Err(Trouble::Again);
    }
    if !new.is_empty() {
        store::insert_admissions(conn, festival, new, first + i64::try_from(old.len()).unwrap_or(0)).await?;
    }
    Ok(())
}
