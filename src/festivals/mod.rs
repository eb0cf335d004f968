//! Festivals with their days, zones, stages and gates. A festival day is an explicit range of time, never a calendar date.
//!
//! **Invariant:** a festival number and a day index are never given again: ticket codes are made of them.

pub mod api;
mod leak;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Enum, Object, types::ToJSON};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    files::Files,
    fresh::Fresh,
    id::{FestivalId, GateId, PassId, PromoterId, StageId, ZoneId},
    keys,
    money::Currency,
    picture,
    words::{Language, Text},
};

pub use leak::{SigningKeys, is_rotated, revoke_key, rotate_key, set_list_only, signing_keys};
pub use store::{
    all, by_slug, close_rehearsal, days, every, first_opening, gates, has_begun, last_day, mail_due, one, own, owned, positions, remove_rehearsal, stages,
    take_positions, zones,
};

/// What a festival is; pages speak accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum FestivalKind {
    /// Days, stages, gates.
    Festival,
    /// One evening.
    Concert,
    /// A label that only sells music: no days.
    Shop,
}

/// What a promoter says about a festival.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(deny_unknown_fields)]
pub struct FestivalTerms {
    /// The end of its address: lower-case letters, digits and hyphens. It cannot be changed.
    #[oai(validator(max_length = 60, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub slug: String,
    /// What it is.
    pub kind: FestivalKind,
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
    /// One paragraph for the top of its page.
    #[sqlx(json)]
    pub lead: Text,
    /// Where it is.
    #[sqlx(json)]
    pub place: Text,
    /// The currency of its prices. It cannot be changed.
    pub currency: Currency,
    /// Its time zone, a name of the IANA database: `Europe/Amsterdam`.
    #[oai(validator(max_length = 60))]
    pub time_zone: String,
    /// Its one ink, `#ffd21f`.
    #[oai(validator(pattern = "^#[0-9a-f]{6}$"))]
    pub spot: String,
    /// The language of its title.
    pub language: Language,
    /// How many people the authority allows on the site, guests and staff included. A stock above it has to be confirmed.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1")))]
    pub licensed_capacity: Option<i32>,
}

/// A festival.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Festival {
    /// Its number, never given again.
    pub festival_id: FestivalId,
    /// What its promoter says.
    #[oai(flatten)]
    #[sqlx(flatten)]
    pub terms: FestivalTerms,
    /// When fans could first see it.
    pub published_at: Option<DateTime<Utc>>,
    /// Rises with every change; the ETag.
    pub version: i32,
    /// While everything is paused: the sentence that fans read.
    #[sqlx(json(nullable))]
    pub paused: Option<Text>,
    /// Whether gates without network go by their list alone: a ticket that is newer than it waits for the network.
    pub list_only: bool,
    /// Until when prices, openings and migrations are frozen.
    pub frozen_until: Option<DateTime<Utc>>,
    /// Since when its scans and emails lie in an archive outside the database.
    pub archived_at: Option<DateTime<Utc>>,
    /// The festival of which this is a copy to rehearse an opening on.
    pub rehearsal_of: Option<FestivalId>,
    /// Whose it is.
    #[oai(skip)]
    pub promoter_id: PromoterId,
    /// The hash of its poster.
    #[oai(skip)]
    pub poster_hash: Option<Vec<u8>>,
}

/// A festival day: an explicit range of time.
#[derive(Clone, Debug, PartialEq, Object, FromRow, Serialize, Deserialize)]
pub struct Day {
    /// Its bit in the day mask of ticket codes, 0 to 15.
    pub day_index: i16,
    /// Its name: `Friday`.
    #[sqlx(json)]
    pub name: Text,
    /// When its gates open.
    pub opens_at: DateTime<Utc>,
    /// When it ends, usually after midnight.
    pub closes_at: DateTime<Utc>,
}

impl Day {
    /// The side of the record that pages print: A for the first day.
    #[must_use]
    pub fn side(&self) -> char {
        char::from(b'A' + u8::try_from(self.day_index.clamp(0, 15)).unwrap_or(0))
    }

    /// Whether a moment lies in the day.
    #[must_use]
    pub fn covers(&self, at: DateTime<Utc>) -> bool {
        self.opens_at <= at && at < self.closes_at
    }
}

/// A part of the site.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Zone {
    /// Its id.
    pub zone_id: ZoneId,
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
    /// How many people may be in it: then one comes in when one leaves.
    pub capacity: Option<i32>,
    /// Whether its gates stand inside the site: whoever is in it is on the site, too, and may come back into it whatever their pass says. It stays.
    pub is_inner: bool,
}

/// Where sets are played.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Stage {
    /// Its id.
    pub stage_id: StageId,
    /// The zone it stands in.
    pub zone_id: Option<ZoneId>,
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
    /// Its place in lists.
    pub sort: i16,
}

/// An entrance.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Gate {
    /// Its id.
    pub gate_id: GateId,
    /// The zone it leads to; without one it leads to the whole site. It stays.
    pub zone_id: Option<ZoneId>,
    /// Its name.
    #[sqlx(json)]
    pub name: Text,
    /// The passes it takes; empty for all.
    pub pass_ids: Vec<PassId>,
}

fn check(terms: &FestivalTerms) -> Result<(), Fault> {
    Checks::default()
        .claim(!terms.name.is_blank(), "/name", "a festival has a name in at least one language")
        .claim(jiff::tz::TimeZone::get(&terms.time_zone).is_ok(), "/time_zone", "not a name of the IANA time zone database")
        .claim(terms.slug != "house", "/slug", "this one is taken")
        .done()
}

/// Makes a festival with its feeds and its first signing key. It is a draft until it is published.
///
/// # Errors
/// [`Fault`].
pub async fn create(app: &App, staff: &Staff, terms: &FestivalTerms) -> Result<Festival, Fault> {
    make(app, staff, terms, None).await
}

/// Makes an empty copy of a festival to rehearse an opening on.
///
/// # Errors
/// [`Fault`].
pub async fn create_rehearsal(app: &App, staff: &Staff, terms: &FestivalTerms, of: FestivalId) -> Result<Festival, Fault> {
    make(app, staff, terms, Some(of)).await
}

async fn make(app: &App, staff: &Staff, terms: &FestivalTerms, rehearsal_of: Option<FestivalId>) -> Result<Festival, Fault> {
    check(terms)?;
    if staff.festival.is_some() {
        return Err(Fault::NotFound);
    }
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let festival = store::insert(&mut tx, staff.promoter, terms, rehearsal_of, now).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(_) => Fault::Conflict(format!("the address {} is taken", terms.slug)),
        other => other,
    })?;
    store::insert_feeds(&mut tx, festival.festival_id).await?;
    keys::make(&mut tx, &app.secrets, festival.festival_id, 1, now).await?;
    note(&mut tx, staff, festival.festival_id, "festival.created", now).await?;
    tx.commit().await?;
    Ok(festival)
}

/// Changes what a promoter says about a festival, if nobody changed it since `version`.
///
/// # Errors
/// [`Fault`].
pub async fn change(
    app: &App,
    staff: &Staff,
    festival: FestivalId,
    version: Option<i32>,
    change: impl FnOnce(FestivalTerms) -> Result<FestivalTerms, Fault>,
) -> Result<Festival, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::lock(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    if version.is_some_and(|version| version != before.version) {
        return Err(Fault::Stale);
    }
    let terms = change(before.terms.clone())?;
    Checks::default()
        .claim(terms.slug == before.terms.slug, "/slug", "the address of a festival stays")
        .claim(terms.currency == before.terms.currency, "/currency", "the currency of a festival stays")
        .claim(terms.time_zone == before.terms.time_zone, "/time_zone", "the time zone of a festival stays")
        .done()?;
    check(&terms)?;
    let after = store::update(&mut tx, festival, &terms).await?;
    note(&mut tx, staff, festival, "festival.changed", now).await?;
    tx.commit().await?;
    Ok(after)
}

/// Shows a festival to fans; doing it again changes nothing.
///
/// # Errors
/// [`Fault`].
pub async fn publish(app: &App, staff: &Staff, festival: FestivalId) -> Result<Festival, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let published = store::publish(&mut tx, staff.promoter, festival, now).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, "festival.published", now).await?;
    tx.commit().await?;
    Ok(published)
}

/// Pauses everything that a festival sells with a sentence that fans read, within a second; without one it goes on.
///
/// # Errors
/// [`Fault`].
pub async fn pause(app: &App, staff: &Staff, festival: FestivalId, sentence: Option<&Text>) -> Result<Festival, Fault> {
    Checks::default().claim(sentence.is_none_or(|s| !s.is_blank()), "/sentence", "fans want to know why, in at least one language").done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let paused = store::pause(&mut tx, staff.promoter, festival, sentence).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, if sentence.is_some() { "festival.paused" } else { "festival.resumed" }, now).await?;
    tx.commit().await?;
    Ok(paused)
}

/// Freezes prices, openings and migrations until a moment, or no longer. At most a week: a night passes.
///
/// # Errors
/// [`Fault`].
pub async fn freeze(app: &App, staff: &Staff, festival: FestivalId, until: Option<DateTime<Utc>>) -> Result<Festival, Fault> {
    let now = app.clock.now();
    let bound = until.is_none_or(|until| until > now && until <= now + TimeDelta::days(7));
    Checks::default().claim(bound, "/until", "later than now, and at most a week").done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    let frozen = store::freeze(&mut tx, staff.promoter, festival, until).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, if until.is_some() { "festival.frozen" } else { "festival.thawed" }, now).await?;
    tx.commit().await?;
    Ok(frozen)
}

/// Writes down that somebody extends all holds of a festival of theirs, before it is done.
///
/// # Errors
/// [`Fault`].
pub async fn note_extension(app: &App, staff: &Staff, festival: FestivalId, minutes: i64) -> Result<(), Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let after = Some(serde_json::json!({ "minutes": minutes }));
    let act = Act { festival, actor: staff.actor, action: "holds.extended", object_kind: "festival", object_id: festival.0.to_string(), before: None, after };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(())
}

impl Festival {
    /// Refuses what a freeze refuses.
    ///
    /// # Errors
    /// [`Fault::Conflict`] while it is frozen.
    pub fn is_not_frozen(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        match self.frozen_until.filter(|until| now < *until) {
            Some(until) => Err(Fault::Conflict(format!("prices and openings are frozen until {}", until.to_rfc3339()))),
            None => Ok(()),
        }
    }
}

/// Sets the poster: decoded within bounds and encoded anew.
///
/// # Errors
/// [`Fault`].
pub async fn set_poster(app: &App, staff: &Staff, festival: FestivalId, bytes: Vec<u8>) -> Result<Festival, Fault> {
    let hash = keep_picture(app, bytes).await?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let after = store::set_poster(&mut tx, staff.promoter, festival, &hash).await?.ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, "festival.poster_changed", now).await?;
    tx.commit().await?;
    Ok(after)
}

/// Cleans a picture off the threads that answer and keeps it; returns its hash.
///
/// # Errors
/// [`Fault`].
pub async fn keep_picture(app: &App, bytes: Vec<u8>) -> Result<[u8; 32], Fault> {
    let cleaned = tokio::task::spawn_blocking(move || picture::cleaned(&bytes)).await.map_err(|e| Fault::House(e.to_string()))?;
    let cleaned = cleaned.map_err(|error| Fault::wrong("", error.to_string()))?;
    app.the::<Files>().keep(cleaned).await.map_err(|e| Fault::House(e.to_string()))
}

async fn note(conn: &mut PgConnection, staff: &Staff, festival: FestivalId, action: &'static str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let act = Act { festival, actor: staff.actor, action, object_kind: "festival", object_id: festival.0.to_string(), before: None, after: None };
    audit::record(conn, act, now).await
}

/// Sets a festival day: makes it, or moves it where no ticket was scanned on it yet.
///
/// # Errors
/// [`Fault`]: days that overlap, an index over 15.
pub async fn set_day(app: &App, staff: &Staff, festival: FestivalId, day: &Day) -> Result<Day, Fault> {
    Checks::default()
        .claim((0..16).contains(&day.day_index), "/day_index", "0 to 15: its bit in the day mask of ticket codes")
        .claim(day.opens_at < day.closes_at, "/closes_at", "a day ends after it opens")
        .claim((day.closes_at - day.opens_at).num_hours() <= 48, "/closes_at", "a festival day is at most 48 hours")
        .claim(!day.name.is_blank(), "/name", "a day has a name in at least one language")
        .done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let day = store::upsert_day(&mut tx, festival, day).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(why) if why.contains("days_apart") => Fault::Conflict("two festival days would overlap".to_owned()),
        other => other,
    })?;
    note(&mut tx, staff, festival, "day.set", now).await?;
    tx.commit().await?;
    Ok(day)
}

/// A thing of the site that a promoter adds.
#[derive(Debug)]
pub enum Site {
    /// A zone.
    Zone(Zone),
    /// A stage.
    Stage(Stage),
    /// A gate.
    Gate(Gate),
}

/// Adds a zone, stage or gate.
///
/// # Errors
/// [`Fault`].
pub async fn add(app: &App, staff: &Staff, festival: FestivalId, site: &Site) -> Result<(), Fault> {
    check_site(festival, site)?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    store::insert_site(&mut tx, festival, site).await?;
    note(&mut tx, staff, festival, "site.added", now).await?;
    tx.commit().await?;
    Ok(())
}

fn check_site(festival: FestivalId, site: &Site) -> Result<(), Fault> {
    let (name, zone, capacity, passes) = match site {
        Site::Zone(zone) => (&zone.name, None, zone.capacity, [].as_slice()),
        Site::Stage(stage) => (&stage.name, stage.zone_id, None, [].as_slice()),
        Site::Gate(gate) => (&gate.name, gate.zone_id, None, gate.pass_ids.as_slice()),
    };
    Checks::default()
        .claim(!name.is_blank(), "/name", "it has a name in at least one language")
        .claim(zone.is_none_or(|z| z.festival() == festival), "/zone_id", "not a zone of this festival")
        .claim(capacity.is_none_or(|c| c > 0), "/capacity", "at least one person")
        .claim(passes.iter().all(|p| p.festival() == festival), "/pass_ids", "not a pass of this festival")
        .done()
}

/// Changes a zone: its name and capacity. Gates hear of it within seconds.
///
/// # Errors
/// [`Fault`].
pub async fn change_zone(app: &App, staff: &Staff, zone: ZoneId, change: impl FnOnce(Zone) -> Result<Zone, Fault>) -> Result<Zone, Fault> {
    let festival = zone.festival();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::lock_zone(&mut tx, zone).await?.ok_or(Fault::NotFound)?;
    let after = change(before.clone())?;
    Checks::default().claim(after.is_inner == before.is_inner, "/is_inner", "where the gates of a zone stand stays: people are in by them").done()?;
    check_site(festival, &Site::Zone(after.clone()))?;
    store::update_zone(&mut tx, &after).await?;
    let change = serde_json::json!({ "before": before.to_json(), "after": after.to_json() });
    note_change(&mut tx, staff, festival, ("zone.changed", "zone", zone.to_string()), change, app.clock.now()).await?;
    tx.commit().await?;
    Ok(after)
}

/// Changes a gate: its name and the passes it takes. Gates hear of it within seconds.
///
/// # Errors
/// [`Fault`].
pub async fn change_gate(app: &App, staff: &Staff, gate: GateId, change: impl FnOnce(Gate) -> Result<Gate, Fault>) -> Result<Gate, Fault> {
    let festival = gate.festival();
    let mut tx = app.for_promoter(staff.promoter).await?;
    store::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let before = store::lock_gate(&mut tx, gate).await?.ok_or(Fault::NotFound)?;
    let after = change(before.clone())?;
    check_site(festival, &Site::Gate(after.clone()))?;
    store::update_gate(&mut tx, &after).await?;
    let change = serde_json::json!({ "before": before.to_json(), "after": after.to_json() });
    note_change(&mut tx, staff, festival, ("gate.changed", "gate", gate.to_string()), change, app.clock.now()).await?;
    tx.commit().await?;
    Ok(after)
}

async fn note_change(
    conn: &mut PgConnection,
    staff: &Staff,
    festival: FestivalId,
    (action, object_kind, object_id): (&'static str, &'static str, String),
    change: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    audit::record(conn, Act { festival, actor: staff.actor, action, object_kind, object_id, before: None, after: Some(change) }, now).await
}

/// Adds a thing of the site inside the transaction of an import, which checked the festival.
///
/// # Errors
/// What the database said.
pub async fn insert_imported(conn: &mut PgConnection, festival: FestivalId, site: &Site) -> Result<(), sqlx::Error> {
    store::insert_site(conn, festival, site).await
}

/// What the hot paths ask about a festival.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Whether fans may buy from it.
    pub published: bool,
    /// Whether it is a rehearsal: it is paid by the simulated bank, and its emails stay where they are.
    pub rehearsal: bool,
}

/// The facts of festivals, at most a second old; made-up numbers too, to a bound.
pub type KnownFacts = Fresh<FestivalId, Facts>;

/// The facts of a festival, at most a second old; nothing is true of a number that was made up.
///
/// # Errors
/// What the database said.
pub async fn facts(app: &App, festival: FestivalId) -> Result<Facts, sqlx::Error> {
    let read = async || {
        let found = store::one(&app.pools.web, festival).await?;
        Ok(found.map_or_else(Facts::default, |f| Facts { published: f.published_at.is_some(), rehearsal: f.rehearsal_of.is_some() }))
    };
    app.the::<KnownFacts>().get(festival, read).await
}
