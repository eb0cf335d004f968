//! Scanning: a kind of batch. The signature is looked at first and without the database; a forged code costs the database
//! nothing but its record, which is written in bulk behind.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use super::{
    Carried, Checked, FirstEntry, PassShown, Reason, ScanAnswer, ScanKind, Verdict, bands,
    catalog::{Catalog, catalog},
    decide::{Effect, Entered, Known, Presented, Rules, decide, entry_day, is_again},
    overrides::{self, AskError, Cards, NotAllowed, Override, Overriding},
    presence::{Mates, Presence},
    store,
};
use crate::{
    accounts::Device,
    app::App,
    batcher::{Busy, Kind, Trouble, patiently},
    festivals,
    id::{FestivalId, ScanId, TicketId, ZoneId},
    keys,
    offers::{Instruction, Pass},
    sabotage,
    tickets::{
        self, Scanned, TicketKind, TicketStatus,
        code::{CodeError, Shown},
    },
};

/// How many forged codes wait to be recorded.
const FORGERIES: usize = 20_000;

/// What a device asks.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The device's own id of the scan.
    pub scan_id: ScanId,
    /// What it is.
    pub kind: ScanKind,
    /// The text of the code.
    pub code: String,
    /// When the device scanned, by its clock.
    pub scanned_at: DateTime<Utc>,
    /// The check that this one answers.
    pub after: Option<ScanId>,
    /// The answer to that check.
    pub checked: Option<Checked>,
    /// A supervisor's word where the rules refuse.
    pub override_: Option<Override>,
}

/// Forged and unreadable codes that wait to be recorded, by the scan worker, in bulk.
#[derive(Default)]
pub struct Forgeries(Mutex<Vec<store::Recorded>>);

/// Records forged and unreadable codes in bulk; called by a worker every second and at the end.
///
/// # Errors
/// What the database said; what waits is kept then.
pub async fn record_forgeries(app: &App) -> Result<usize, sqlx::Error> {
    let waiting = std::mem::take(&mut *app.the::<Forgeries>().0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut recorded = waiting.len();
    let mut by_festival: HashMap<FestivalId, Vec<store::Recorded>> = HashMap::new();
    for scan in waiting {
        by_festival.entry(scan.scan_id_festival).or_default().push(scan);
    }
    for (festival, scans) in by_festival {
        for chunk in scans.chunks(1_000) {
            let written = match app.pools.work.acquire().await {
                Ok(mut conn) => store::insert(&mut conn, festival, chunk).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tracing::warn!(%error, festival = festival.0, "forged codes could not be recorded; they wait");
                let mut waiting = app.the::<Forgeries>().0.lock().unwrap_or_else(PoisonError::into_inner);
                let room = FORGERIES.saturating_sub(waiting.len());
                waiting.extend(chunk.iter().take(room).cloned());
                recorded -= chunk.len();
            }
        }
    }
    Ok(recorded)
}

/// Decides and records a scan. The same scan id gets the first answer again.
///
/// # Errors
/// [`Busy`]: the device decides by itself and uploads later.
pub async fn scan(app: &App, device: &Device, asked: Asked) -> Result<ScanAnswer, ScanError> {
    patiently(decided(app, device, asked)).await
}

async fn decided(app: &App, device: &Device, asked: Asked) -> Result<ScanAnswer, ScanError> {
    let festival = device.festival_id;
    // A clock that is a month off is no clock: what cannot be kept must not poison a batch.
    let now = app.clock.now();
    let asked = if (now - asked.scanned_at).abs() > TimeDelta::days(31) { Asked { scanned_at: now, ..asked } } else { asked };
    let ring = keys::ring(app, festival).await?;
    let shown = Shown::verify(asked.code.trim(), festival, &ring);
    if let Err(error) = shown
        && (error != CodeError::Unknown || bands::carried(&asked.code).is_none())
    {
        return Ok(forged(app, device, &asked, error.into()));
    }
    let catalog = catalog(app, festival).await?;
    let carried = match shown {
        Ok(shown) => {
            let is_live = shown.is_live(now) || was_live(app, device, &asked, &shown, now).await?;
            Carried::code(&shown, is_live)
        }
        Err(error) => match band(app, festival, &catalog, &asked.code, now).await? {
            Some(worn) => Carried::band(&worn, now),
            None => return Ok(forged(app, device, &asked, error.into())),
        },
    };
    let overriding = match asked.override_.as_ref().filter(|_| asked.kind == ScanKind::Entry) {
        None => None,
        // Apart, because it is rare, and what it needs takes no room in the futures of all.
        Some(wish) => match Box::pin(overrides::allowed(app, device, wish, &ring, &catalog.days, now)).await {
            Ok(overriding) => Some(Ok(overriding)),
            // A repeat gets its first answer all the same.
            Err(AskError::NotAllowed(error)) => Some(Err(error)),
            Err(AskError::Database(error)) => return Err(error.into()),
        },
    };
    let request = Request { asked, carried, device: device.clone(), overriding, catalog, arrived_at: app.clock.now() };
    Ok(app.pass::<Scanning>(festival, request).await??)
}

/// Whether a code was live when this device scanned it first: staff looked at a document since then, or called a supervisor. What the scan before says of
/// itself does not count, only when it came.
async fn was_live(app: &App, device: &Device, asked: &Asked, shown: &Shown, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let Some(first) = asked.after.filter(|_| shown.is_recent(now)) else { return Ok(false) };
    let mut conn = app.pools.scan.acquire().await?;
    let seen_at = store::seen_at(&mut conn, device.festival_id, first, device.device_id, shown.code.number).await?;
    Ok(seen_at.is_some_and(|at| shown.was_live(now, at)))
}

/// What a text that may be a band's stands for, where somebody wears one. What nobody wears costs one look-up.
async fn band(app: &App, festival: FestivalId, catalog: &Catalog, text: &str, now: DateTime<Utc>) -> Result<Option<bands::Worn>, sqlx::Error> {
    if !catalog.has_bands {
        return Ok(None);
    }
    let mut conn = app.pools.scan.acquire().await?;
    Ok(bands::worn(app, &mut conn, festival, &[text]).await?.into_values().next().and_then(|worn| bands::at(&worn, now).cloned()))
}

/// Why a scan got no answer: the device decides by itself.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Too busy.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A supervisor's word that does not count.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

fn forged(app: &App, device: &Device, asked: &Asked, reason: Reason) -> ScanAnswer {
    metrics::counter!("gatefold_scans_forged_total").increment(1);
    let now = app.clock.now();
    let mut waiting = app.the::<Forgeries>().0.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.len() < FORGERIES {
        waiting.push(store::Recorded::refused(device, asked, reason, now));
    } else {
        metrics::counter!("gatefold_scans_forged_dropped_total").increment(1);
    }
    ScanAnswer {
        scan_id: asked.scan_id,
        verdict: Verdict::Refused,
        reason: Some(reason),
        instruction: None,
        pass: None,
        ticket_end: None,
        day: None,
        first_entry: None,
        others_not_in: None,
        to_collect: Vec::new(),
        because: None,
        note: None,
        holder_name: None,
        decided_at: now,
    }
}

/// A scan whose code is well signed, or of a band that we know.
pub struct Request {
    asked: Asked,
    carried: Carried,
    device: Device,
    overriding: Option<Result<Overriding, NotAllowed>>,
    catalog: Arc<Catalog>,
    arrived_at: DateTime<Utc>,
}

impl Request {
    /// What a supervisor overrides, who may.
    fn overriding(&self) -> Option<&Overriding> {
        self.overriding.as_ref().and_then(|overriding| overriding.as_ref().ok())
    }

    fn pass(&self) -> Option<&Pass> {
        self.catalog.pass(self.carried.pass_number)
    }

    /// What the rules of its pass allow at its gate.
    fn rules(&self) -> Option<Rules> {
        self.catalog.rules(self.carried.pass_number, self.device.gate_id)
    }

    fn presented(&self, places: Option<i32>, company: Option<bool>) -> Presented {
        Presented {
            kind: self.asked.kind,
            generation: self.carried.generation,
            is_band: self.carried.is_band,
            is_live: self.carried.is_live,
            gate_id: self.device.gate_id,
            zone_id: self.catalog.zone(self.device.gate_id),
            device_id: self.device.device_id,
            checked: self.asked.checked,
            at: self.arrived_at,
            places,
            company,
            lifts: self.overriding().map(|o| o.lifts.clone()),
        }
    }
}

/// Batches of scanning.
pub struct Scanning;

impl Kind for Scanning {
    const NAME: &'static str = "scan";
    const MOST: usize = 128;
    const GATHER: Duration = Duration::ZERO;
    type Request = Request;
    type Answer = Result<ScanAnswer, NotAllowed>;

    fn pool(app: &App) -> &PgPool {
        &app.pools.scan
    }

    async fn run(_: &App, conn: &mut PgConnection, festival: FestivalId, batch: &[Request]) -> Result<Vec<Result<ScanAnswer, NotAllowed>>, Trouble> {
        let mut numbers: Vec<i64> = batch.iter().map(|r| r.carried.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let tickets = if sabotage::no_lock() { tickets::by_numbers(conn, festival, &numbers).await? } else { tickets::lock(conn, festival, &numbers).await? };
        // All of a batch decide by what its first one read: at most a second older than their own.
        let catalog = Arc::clone(&batch.first().ok_or(Trouble::Again)?.catalog);
        let now = batch.iter().map(|r| r.arrived_at).max().unwrap_or_default();
        let (mut mates, mut entries) = Mates::read(conn, festival, &catalog.ground(), &tickets, now).await?;
        let mut known: BTreeMap<i64, (Scanned, Known)> = tickets
            .into_iter()
            .map(|t| {
                let entries = entries.remove(&t.ticket_id).unwrap_or_default();
                let known = Known { kind: t.kind, status: t.status, generation: t.generation, day_mask: t.day_mask, has_note: t.note.is_some(), entries };
                (t.ticket_number, (t, known))
            })
            .collect();
        let mut recorded: HashMap<ScanId, store::Recorded> = store::by_ids(conn, festival, &batch.iter().map(|r| r.asked.scan_id).collect::<Vec<_>>()).await?;
        let mut cards = Cards::lock(conn, festival, batch.iter().filter_map(Request::overriding)).await?;
        let mut zones: BTreeSet<ZoneId> = batch.iter().filter_map(|r| catalog.zone(r.device.gate_id)).collect();
        zones.extend(known.values().flat_map(|(_, known)| &known.entries).filter(|e| e.is_open()).filter_map(|e| e.zone_id));
        // Whom a supervisor lets in before the doors open is counted for the day to come.
        let ahead = |r: &Request| {
            let lifts = &r.overriding()?.lifts;
            let (_, known) = known.get(&r.carried.number)?;
            entry_day(known.day_mask, r.rules().as_ref(), &catalog.days, r.arrived_at, Some(lifts))
        };
        let days: BTreeSet<i16> = batch.iter().filter_map(ahead).collect();
        let mut presence = Presence::lock(conn, festival, &catalog, &zones, &days, now).await?;
        sabotage::pause().await;
        let (mut scans, mut changes, mut answers) = (Vec::new(), Changes::default(), Vec::with_capacity(batch.len()));
        let mut overridden = Vec::new();
        // Entries of a ticket that a clearing ended and that no row says of yet.
        let mut ended: HashMap<TicketId, Vec<usize>> = HashMap::new();
        for request in batch {
            let Some((ticket, known)) = known.get_mut(&request.carried.number) else {
                let scan = recorded
                    .entry(request.asked.scan_id)
                    .or_insert_with(|| {
                        let scan = store::Recorded::refused(&request.device, &request.asked, Reason::Unknown, request.arrived_at);
                        scans.push(scan.clone());
                        scan
                    })
                    .clone();
                answers.push(Ok(answer(request, &scan, None, Company::default())));
                continue;
            };
            if let Some(first) = recorded.get(&request.asked.scan_id) {
                answers.push(Ok(answer(request, first, Some((&*known, &*ticket)), Company::of(&mates, ticket, first.day_index))));
                continue;
            }
            if let Some(Err(error)) = &request.overriding {
                answers.push(Err(*error));
                continue;
            }
            let ticket_id = ticket.ticket_id;
            let rules = request.rules();
            ended.entry(ticket_id).or_default().extend(catalog.ground().clear(&mut known.entries, request.arrived_at));
            let day = entry_day(known.day_mask, rules.as_ref(), &catalog.days, request.arrived_at, request.overriding().map(|o| &o.lifts));
            let places = day.and_then(|day| presence.left(catalog.zone(request.device.gate_id), day));
            let company = day.and_then(|day| mates.company(&catalog, ticket, request.carried.pass_number, day));
            let presented = request.presented(places, company);
            let mut decision = decide(known, rules.as_ref(), &catalog.ground(), &presented);
            if let (false, Verdict::Admitted, Some(overriding)) = (decision.overridden.is_empty(), decision.verdict, request.overriding()) {
                if cards.take(overriding.by) {
                    let scan = (request.asked.scan_id, ticket_id);
                    overridden.push(overriding.done(scan, &request.device, &decision.overridden, request.arrived_at));
                } else {
                    decision = decide(known, rules.as_ref(), &catalog.ground(), &Presented { lifts: None, ..presented });
                }
            }
            if !decision.effects.is_empty() {
                for cleared in ended.remove(&ticket_id).unwrap_or_default() {
                    changes.stands(ticket_id, &known.entries[cleared]);
                    // On a day that is over nobody counts anew: what ends there is counted down.
                    presence.count(&known.entries[cleared]);
                }
            }
            for effect in &decision.effects {
                let entry = apply(known, ticket_id, request, *effect, &decision.overridden, &mut changes);
                if known.kind == TicketKind::Pass {
                    presence.count(&entry);
                }
                mates.moved(ticket, &entry, catalog.ground().place(entry.zone_id).is_none());
            }
            let scan = store::Recorded::decided(&request.device, &request.asked, ticket_id, &decision, request.arrived_at);
            answers.push(Ok(answer(request, &scan, Some((&*known, &*ticket)), Company::of(&mates, ticket, scan.day_index))));
            recorded.insert(request.asked.scan_id, scan.clone());
            scans.push(scan);
        }
        if store::insert(conn, festival, &scans).await? != scans.len() as u64 {
            return Err(Trouble::Again);
        }
        overrides::record(conn, festival, &overridden, now).await?;
        presence.write(conn, festival).await?;
        if changes.count() > 0 {
            // The rows below are under the locks of their tickets already.
            let first = festivals::take_positions(conn, festival, "admissions", i64::try_from(changes.count()).unwrap_or(i64::MAX)).await?;
            if !changes.old.is_empty() && store::update_admissions(conn, festival, &changes.old, first).await? != changes.old.len() as u64 {
                return Err(Trouble::Again);
            }
            if !changes.new.is_empty() {
                store::insert_admissions(conn, festival, &changes.new, first + i64::try_from(changes.old.len()).unwrap_or(0)).await?;
            }
        }
        Ok(answers)
    }
}

/// What a batch changes about admissions: how each entry that it touched stands at its end.
#[derive(Debug, Default)]
struct Changes {
    /// Entries that begin with this batch, in arrival order.
    new: Vec<(TicketId, Entered)>,
    /// Entries of before that end or are taken back.
    old: Vec<(TicketId, Entered)>,
}

impl Changes {
    /// Notes an entry that begins.
    fn begins(&mut self, ticket: TicketId, entry: Entered) {
        self.new.push((ticket, entry));
    }

    /// Notes how an entry stands now: one of this batch as well as one of before.
    fn stands(&mut self, ticket: TicketId, entry: &Entered) {
        let same = |(t, e): &&mut (TicketId, Entered)| *t == ticket && e.day_index == entry.day_index && e.entry_no == entry.entry_no;
        match self.new.iter_mut().chain(&mut self.old).find(same) {
            Some((_, noted)) => noted.clone_from(entry),
            None => self.old.push((ticket, entry.clone())),
        }
    }

    /// How many entries it touches.
    fn count(&self) -> usize {
        self.new.len() + self.old.len()
    }
}

/// Notes an effect of a decision, for the rows and for the next decision of the batch; how the entry stands then.
fn apply(known: &mut Known, ticket_id: TicketId, request: &Request, effect: Effect, overridden: &[Reason], changes: &mut Changes) -> Entered {
    let at = request.arrived_at;
    let (day_index, entry_no) = match effect {
        Effect::Enter(day, no) | Effect::Leave(day, no) | Effect::Undo(day, no) => (day, no),
    };
    if let Some(entry) = known.entries.iter_mut().find(|e| e.day_index == day_index && e.entry_no == entry_no) {
        match effect {
            Effect::Undo(..) => entry.undone_at = Some(at),
            Effect::Leave(..) | Effect::Enter(..) => entry.left_at = Some(at),
        }
        changes.stands(ticket_id, entry);
        return entry.clone();
    }
    let entered = Entered {
        day_index,
        entry_no,
        scan_id: request.asked.scan_id,
        device_id: Some(request.device.device_id),
        gate_id: request.device.gate_id,
        zone_id: request.catalog.zone(request.device.gate_id),
        entered_at: at,
        left_at: None,
        undone_at: None,
        because: request.overriding().filter(|_| !overridden.is_empty()).map(|o| o.lifts.because),
        is_again: is_again(overridden),
    };
    known.entries.push(entered.clone());
    changes.begins(ticket_id, entered.clone());
    entered
}

/// What came with a ticket, and is not in or not collected yet.
#[derive(Default)]
struct Company {
    not_in: Option<u32>,
    to_collect: Vec<(i32, u32)>,
}

impl Company {
    fn of(mates: &Mates, ticket: &Scanned, day: Option<i16>) -> Self {
        Self { not_in: mates.not_in(ticket, day), to_collect: mates.to_collect(ticket) }
    }
}

/// The words of an answer, from the record: so a repeat is answered as the first was.
fn answer(request: &Request, scan: &store::Recorded, found: Option<(&Known, &Scanned)>, company: Company) -> ScanAnswer {
    let (known, ticket) = found.unzip();
    // A dead code opens nothing of the ticket that it was of.
    let is_alive = |t: &&Scanned| request.carried.generation == t.generation && matches!(t.status, TicketStatus::Valid | TicketStatus::Exchanged);
    let told = ticket.filter(is_alive).filter(|_| matches!(scan.kind, ScanKind::Entry | ScanKind::Look));
    let asks_for_name = request.pass().is_some_and(|pass| pass.terms.check_instruction == Some(Instruction::Identity));
    let first = known.and_then(|k| scan.first_scan_id.and_then(|id| k.entries.iter().find(|e| e.scan_id == id)));
    let gate = |e: &Entered| request.catalog.gates.iter().find(|g| g.gate_id == e.gate_id).map(|g| g.name.clone()).unwrap_or_default();
    let number = format!("{:016X}", request.carried.number);
    // Whoever comes in or is looked at is told; whoever is refused or leaves hears nothing of it.
    let is_asked = matches!(scan.kind, ScanKind::Entry | ScanKind::Look) && scan.verdict == Verdict::Admitted;
    ScanAnswer {
        scan_id: scan.scan_id,
        verdict: scan.verdict,
        reason: scan.reason,
        instruction: scan.instruction,
        pass: request.pass().map(PassShown::of),
        ticket_end: scan.ticket_id.map(|_| number[12..].to_owned()),
        day: scan.day_index.and_then(|i| request.catalog.days.iter().find(|d| d.day_index == i)).map(|d| d.name.clone()),
        first_entry: first.map(|e| FirstEntry { entered_at: e.entered_at, gate_id: e.gate_id, gate: gate(e) }),
        note: told.and_then(|t| t.note.clone()),
        holder_name: told.filter(|_| request.device.reads_names() && asks_for_name).map(|t| t.holder_name.clone()),
        because: known.and_then(|k| k.entries.iter().find(|e| e.scan_id == scan.scan_id)).and_then(|e| e.because),
        others_not_in: company.not_in.filter(|_| scan.kind == ScanKind::Entry && scan.verdict == Verdict::Admitted),
        to_collect: company.to_collect.into_iter().filter(|_| is_asked).filter_map(|(number, quantity)| request.catalog.to_collect(number, quantity)).collect(),
        decided_at: scan.decided_at,
    }
}
