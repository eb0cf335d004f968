//! The JSON face of scanning.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use poem::{Body, web::Data};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::{Binary, Json},
};

use super::{
    Asked, Checked, Reason, ScanAnswer, ScanError, ScanKind, Verdict, explain,
    ledger::DiscrepancyKind,
    lookup::{self, FoundTicket},
    merge::{self, Reported},
    overrides::Override,
    pack::{self, Positions, Subject},
};
use crate::{
    accounts::guard::{Anyone, AsDevice},
    app::App,
    festivals::{self, api::visible},
    http::{
        limit::{Client, Limited, Limits},
        problem::{AtGate, Created, FORBIDDEN, INVALID, MALFORMED, NOT_FOUND, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{FestivalId, GateId, ScanId, TicketId},
    offers,
    words::Text,
};

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Busy(busy) => busy.into(),
            ScanError::NotAllowed(error) => FORBIDDEN.because(error.to_string()),
            ScanError::Database(error) => error.into(),
        }
    }
}

/// A presentation of a code at a gate.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewScan {
    /// The device's own id of the scan (UUIDv7): a repeat with the same id gets the first answer.
    pub scan_id: ScanId,
    /// What it is.
    #[oai(default = "entry")]
    pub kind: ScanKind,
    /// The text of the code, as it was read.
    #[oai(validator(max_length = 400))]
    pub ticket_code: String,
    /// When the device scanned, by its clock.
    pub scanned_at: DateTime<Utc>,
    /// The gate that its holder chose, among those it may stand at.
    pub gate_id: Option<GateId>,
    /// The scan whose check this one answers.
    pub after: Option<ScanId>,
    /// The answer to that check.
    pub checked: Option<Checked>,
    /// A supervisor's word: it lets an entry in that the rules refuse, where they may be overridden.
    #[oai(rename = "override")]
    pub override_: Option<Override>,
}

/// A scan that a device decided without the server.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ReportedScan {
    /// The device's own id of the scan (UUIDv7): the one that it had asked the server with, where it had asked.
    pub scan_id: ScanId,
    /// What it is.
    #[oai(default = "entry")]
    pub kind: ScanKind,
    /// The text of the code, as it was read.
    #[oai(validator(max_length = 400))]
    pub ticket_code: String,
    /// When the device scanned, by its clock.
    pub scanned_at: DateTime<Utc>,
    /// Milliseconds to add to that for the time of the house, as the device knew it when it scanned.
    #[oai(default, validator(minimum(value = "-4000000000000"), maximum(value = "4000000000000")))]
    pub offset_ms: i64,
    /// The gate that its holder had chosen; one that it may not stand at counts as its own.
    pub gate_id: Option<GateId>,
    /// The scan whose check this one answers.
    pub after: Option<ScanId>,
    /// The answer to that check.
    pub checked: Option<Checked>,
    /// A supervisor's word: it lets an entry in that the rules refuse, where they may be overridden.
    #[oai(rename = "override")]
    pub override_: Option<Override>,
    /// What the device showed.
    pub verdict: Verdict,
    /// Why not: with `refused` and only then.
    pub reason: Option<Reason>,
}

/// What a device decided without the server, in any order.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ScanBatch {
    /// The clock of the device when it sends this.
    pub sent_at: DateTime<Utc>,
    /// The scans.
    #[oai(validator(min_items = 1, max_items = 500))]
    pub scans: Vec<ReportedScan>,
}

/// What became of a reported scan.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct MergedScan {
    /// The scan.
    pub scan_id: ScanId,
    /// The server's own first verdict.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the ledger says of it now.
    pub discrepancies: Vec<DiscrepancyKind>,
}

/// The answers to a batch, one for each of its scans.
#[derive(Debug, Object)]
pub struct MergedBatch {
    /// The answers.
    pub items: Vec<MergedScan>,
    /// The time of the house.
    pub server_time: DateTime<Utc>,
}

impl ScanBatch {
    /// What is wrong with it, if something is.
    fn check(&self) -> Result<(), Problem> {
        let wrong = |(i, scan): (usize, &ReportedScan)| {
            ((scan.verdict == Verdict::Refused) != scan.reason.is_some())
                .then(|| Wrong::new(format!("/scans/{i}/reason"), "a refusal has a reason, nothing else has"))
        };
        let errors: Vec<Wrong> = self.scans.iter().enumerate().filter_map(wrong).collect();
        if errors.is_empty() { Ok(()) } else { Err(Problem { errors, ..MALFORMED.problem() }) }
    }
}

impl From<ReportedScan> for Reported {
    fn from(scan: ReportedScan) -> Self {
        let ReportedScan { scan_id, kind, ticket_code, scanned_at, offset_ms, gate_id, after, checked, override_, verdict, reason } = scan;
        Self {
            asked: Asked { scan_id, kind, code: ticket_code, scanned_at, after, checked, override_ },
            offset: TimeDelta::milliseconds(offset_ms),
            gate_id,
            verdict,
            reason,
        }
    }
}

/// What a ticket is looked up by: one of the two.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct CodeLookup {
    /// The ten letters beside its picture, in any groups and case.
    #[oai(validator(min_length = 10, max_length = 20))]
    pub short_code: Option<String>,
    /// Its id, from a search.
    pub ticket_id: Option<TicketId>,
}

/// What tickets are searched by.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct TicketSearch {
    /// Words of a name, the number of an order, or the whole address of a buyer.
    #[oai(validator(min_length = 2, max_length = 254))]
    pub text: String,
}

/// The tickets that were found.
#[derive(Debug, Object)]
pub struct FoundTickets {
    /// The first twenty.
    pub items: Vec<FoundTicket>,
}

/// The code that was looked up.
#[derive(Debug, Object)]
pub struct FoundCode {
    /// Its text, to be scanned.
    pub ticket_code: String,
}

/// The pack of a gate.
#[derive(ApiResponse)]
pub enum GatePack {
    /// The pack, or what changed behind the positions that were named. The format is described in `src/entry/pack.rs`.
    #[oai(status = 200, content_type = "application/vnd.gatefold.pack")]
    Pack(Binary<Body>, #[oai(header = "Cache-Control")] String),
}

/// Something with rules, in words.
#[derive(Debug, Object)]
pub struct Explained {
    /// Its id: of a pass, a gate or a zone.
    pub id: String,
    /// Its name.
    pub name: Text,
    /// A sentence a rule, in both languages.
    pub rules: Vec<Text>,
}

/// What the gates of a festival decide by, in words.
#[derive(Debug, Object)]
pub struct EntryRules {
    /// What the passes allow.
    pub passes: Vec<Explained>,
    /// What the gates take; those that take every pass are left away.
    pub gates: Vec<Explained>,
    /// How many the zones hold; those that nothing is said of are left away.
    pub zones: Vec<Explained>,
}

fn oldest() -> u8 {
    1
}

fn entry() -> ScanKind {
    ScanKind::Entry
}

/// Scanning.
pub struct EntryApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Gates")]
impl EntryApi {
    /// Scan a code
    ///
    /// Decides and records. A refusal is an answer (201 with `verdict: refused` and a reason), not a problem. The same scan id gets the first answer
    /// again; after a 503 the device decides by itself and asks again with the same id.
    #[oai(path = "/scans", method = "post", operation_id = "create_scan")]
    async fn create_scan(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<NewScan>) -> Result<Created<ScanAnswer>, Or<AtGate>> {
        let NewScan { scan_id, kind, ticket_code, scanned_at, gate_id, after, checked, override_ } = body.0;
        let device = device.at(gate_id).ok_or_else(|| INVALID.because("the device may not stand at that gate"))?;
        let asked = Asked { scan_id, kind, code: ticket_code, scanned_at, after, checked, override_ };
        let answer = super::scan(&app, &device, asked).await?;
        let location = format!("/v1/scans/{}", answer.scan_id);
        Ok(Created { body: answer, location })
    }

    /// Report scans that were decided without the server
    ///
    /// Any number of times, in any order: each scan is answered by itself, and a repeat changes nothing. Whom a device let in is in; where the rules
    /// say otherwise the ledger of discrepancies says so. Moments are corrected by the offset that the device knew; both are kept, and more than
    /// five minutes of doubt are an entry of the ledger.
    #[oai(path = "/scan-batches", method = "post", operation_id = "report_scans")]
    async fn report_scans(&self, AsDevice(device): AsDevice, app: Data<&App>, body: Json<ScanBatch>) -> Result<Json<MergedBatch>, Or<Usual>> {
        body.check()?;
        let reported = body.0.scans.into_iter().map(Reported::from).collect();
        let merged = merge::merge(&app, &device, body.0.sent_at, reported).await?;
        let items =
            merged.into_iter().map(|m| MergedScan { scan_id: m.scan_id, verdict: m.verdict, reason: m.reason, discrepancies: m.discrepancies }).collect();
        Ok(Json(MergedBatch { items, server_time: app.clock.now() }))
    }

    /// Look a code up
    ///
    /// For a broken screen: the ten letters beside the picture stand for the code, which is scanned then; or the ticket that a search found. For
    /// supervisors alone: on their devices, and where one is signed in; audited.
    #[oai(path = "/code-lookups", method = "post", operation_id = "look_up_code")]
    async fn look_up_code(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        client: Data<&Client>,
        body: Json<CodeLookup>,
    ) -> Result<Json<FoundCode>, Or<Usual>> {
        if !device.is_supervisor() && device.supervisor_id.is_none() {
            return Err(FORBIDDEN.because("only a supervisor looks codes up").into());
        }
        app.the::<Limits>().count(Limited::Guess, &client)?;
        let found = match (&body.short_code, body.ticket_id) {
            (Some(letters), None) => lookup::code_of(&app, &device, letters).await?,
            (None, Some(id)) if id.festival() == device.festival_id => lookup::code_of_ticket(&app, &device, id).await?,
            (None, Some(_)) => None,
            (Some(_), Some(_)) | (None, None) => return Err(MALFORMED.because("a short code or a ticket").into()),
        };
        Ok(Json(FoundCode { ticket_code: found.ok_or_else(|| NOT_FOUND.problem())? }))
    }

    /// Search tickets
    ///
    /// By words of a holder's name (three letters at least, two in Chinese), the number of an order, or the whole address of a buyer. Names are personal
    /// data: on a supervisor's device alone, while a member is signed in there; audited. At most twenty.
    #[oai(path = "/ticket-searches", method = "post", operation_id = "search_tickets")]
    async fn search_tickets(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        client: Data<&Client>,
        body: Json<TicketSearch>,
    ) -> Result<Json<FoundTickets>, Or<AtGate>> {
        if !device.is_supervisor() || device.supervisor_id.is_none() {
            return Err(FORBIDDEN.because("only on a supervisor's device, while a member is signed in").into());
        }
        app.the::<Limits>().count(Limited::Guess, &client)?;
        let text = body.text.trim();
        if !lookup::is_enough(text) {
            return Err(INVALID.because("three letters at least").into());
        }
        Ok(Json(FoundTickets { items: lookup::search(&app, &device, text).await? }))
    }

    /// Explain the rules of entry
    ///
    /// What passes allow, gates take and zones hold, in words of both languages, made from the data that gates decide by; times are those of the festival.
    #[oai(path = "/festivals/:festival_id/entry-rules", method = "get", operation_id = "explain_entry_rules")]
    async fn explain_entry_rules(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<EntryRules>, Or<Usual>> {
        let festival = visible(&app, *festival_id, who.0.as_ref()).await?;
        let (pool, id) = (&app.pools.web, *festival_id);
        let (days, passes) = (festivals::days(pool, id).await.map_err(Problem::from)?, offers::passes(pool, id).await.map_err(Problem::from)?);
        let (gates, zones) = (festivals::gates(pool, id).await.map_err(Problem::from)?, festivals::zones(pool, id).await.map_err(Problem::from)?);
        let site = explain::Site { days: &days, passes: &passes, gates: &gates, zones: &zones, time_zone: &festival.terms.time_zone };
        let explained = |id: String, name: &Text, rules| Explained { id, name: name.clone(), rules };
        let of_passes = passes.iter().map(|p| explained(p.pass_id.to_string(), &p.terms.name, explain::both(|l| explain::pass(l, &site, p))));
        let of_gates = gates.iter().map(|g| explained(g.gate_id.to_string(), &g.name, explain::both(|l| explain::gate(l, &site, g))));
        let of_zones = zones.iter().map(|z| explained(z.zone_id.to_string(), &z.name, explain::both(|l| explain::zone(l, z))));
        let said = |e: &Explained| !e.rules.is_empty();
        Ok(Json(EntryRules { passes: of_passes.collect(), gates: of_gates.filter(said).collect(), zones: of_zones.filter(said).collect() }))
    }

    /// Show the pack of a gate
    ///
    /// What a device decides by without network: keys, days, passes, gates, tickets and who is in. Names and notes are in it
    /// only sealed: a box opens by the code of its ticket. Without positions it is whole. With
    /// the positions of the last answer it is what changed since; `more` in its head says to ask again at once. Every few seconds is often enough.
    #[oai(path = "/pack", method = "get", operation_id = "show_pack")]
    async fn show_pack(
        &self,
        AsDevice(device): AsDevice,
        app: Data<&App>,
        /// The position in the feed of tickets that the device has.
        #[oai(default, validator(minimum(value = "0")))]
        tickets: Query<i64>,
        /// The position in the feed of admissions that the device has.
        #[oai(default, validator(minimum(value = "0")))]
        admissions: Query<i64>,
        /// The tag of the rules that the device has: they are left away while it is theirs.
        #[oai(validator(max_length = 64))]
        rules: Query<Option<String>>,
        /// The format that the device reads: 1 has no gates and moments of entries, 2 no wristbands, 3 nothing sealed.
        #[oai(default = "oldest", validator(minimum(value = "1"), maximum(value = "4")))]
        format: Query<u8>,
    ) -> Result<GatePack, Or<Usual>> {
        let from = Positions { tickets: *tickets, admissions: *admissions };
        let pieces = pack::pack(&app, Subject { festival: device.festival_id, with_names: device.reads_names() }, from, rules.as_deref(), *format)
            .await
            .map_err(Problem::from)?;
        let body = Body::from_bytes_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
        Ok(GatePack::Pack(Binary(body), "no-store".to_owned()))
    }
}
