//! The line-up: acts and sets, and the import of a running order from a table or JSON with a report line by line.

pub mod api;
mod import;
mod store;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::{ActId, FestivalId, SetId, StageId},
};

pub use import::{ImportLine, ImportReport, Outcome, import, read_csv};
pub use store::{acts, billed, imports, sets};

/// Who performs.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(rename = "Act", skip_serializing_if_is_none)]
pub struct PerformingAct {
    /// Its id.
    pub act_id: ActId,
    /// Its name, as the act writes it, in its own script.
    pub name: String,
    /// The name in Latin letters, for readers of other scripts.
    pub latin_name: Option<String>,
    /// Its row on the poster: 1 the largest, 3 the smallest.
    pub billing: i16,
}

/// One act on one stage from-to. Act, stage and times may be unknown at first.
#[derive(Clone, Debug, Object, FromRow)]
#[oai(skip_serializing_if_is_none)]
pub struct Set {
    /// Its id.
    pub set_id: SetId,
    /// The act; without one it is to be announced.
    pub act_id: Option<ActId>,
    /// The stage.
    pub stage_id: Option<StageId>,
    /// The festival day.
    pub day_index: Option<i16>,
    /// When it starts.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    pub ends_at: Option<DateTime<Utc>>,
}

/// An act on a bill, with where and when: what the pages print.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct Billed {
    /// The act's name; `None` when it is to be announced.
    pub name: Option<String>,
    /// The name in Latin letters.
    pub latin_name: Option<String>,
    /// Its row on the poster.
    pub billing: Option<i16>,
    /// The stage.
    pub stage_id: Option<StageId>,
    /// The festival day.
    pub day_index: Option<i16>,
    /// When it starts.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    pub ends_at: Option<DateTime<Utc>>,
}

/// An act to be added.
#[derive(Clone, Debug, Object)]
#[oai(rename = "NewAct", deny_unknown_fields)]
pub struct ActTerms {
    /// Its name, as the act writes it.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: String,
    /// The name in Latin letters.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub latin_name: Option<String>,
    /// Its row on the poster: 1 the largest, 3 the smallest.
    #[oai(default = "smallest", validator(minimum(value = "1"), maximum(value = "3")))]
    pub billing: i16,
}

fn smallest() -> i16 {
    3
}

/// A set to be added.
#[derive(Clone, Debug, Object)]
#[oai(rename = "NewSet", deny_unknown_fields)]
pub struct SetTerms {
    /// The act; without one it is to be announced.
    pub act_id: Option<ActId>,
    /// The stage.
    pub stage_id: Option<StageId>,
    /// When it starts.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    pub ends_at: Option<DateTime<Utc>>,
}

/// The key of an act's name: two spellings that differ in case or spaces are one act.
fn name_key(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Adds an act.
///
/// # Errors
/// [`Fault`]: an act of that name is there.
pub async fn add_act(app: &App, staff: &Staff, festival: FestivalId, terms: &ActTerms) -> Result<PerformingAct, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let act =
        PerformingAct { act_id: ActId::fresh(festival, now), name: terms.name.trim().to_owned(), latin_name: terms.latin_name.clone(), billing: terms.billing };
    store::insert_acts(&mut tx, festival, std::slice::from_ref(&act), now).await?;
    note(&mut tx, staff, festival, "act.added", act.act_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(act)
}

/// Adds a set. Overlaps on a stage are allowed and shown: the promoter may know better.
///
/// # Errors
/// [`Fault`].
pub async fn add_set(app: &App, staff: &Staff, festival: FestivalId, terms: &SetTerms) -> Result<Set, Fault> {
    let days = festivals::days(&app.pools.web, festival).await?;
    let day = terms.starts_at.map(|at| days.iter().find(|d| d.covers(at)).map(|d| d.day_index));
    Checks::default()
        .claim(terms.starts_at.is_some() == terms.ends_at.is_some(), "/ends_at", "a set has both times or none")
        .claim(terms.starts_at < terms.ends_at || terms.starts_at.is_none(), "/ends_at", "a set ends after it starts")
        .claim(day != Some(None), "/starts_at", "no festival day covers this moment")
        .claim(terms.act_id.is_none_or(|id| id.festival() == festival), "/act_id", "not an act of this festival")
        .claim(terms.stage_id.is_none_or(|id| id.festival() == festival), "/stage_id", "not a stage of this festival")
        .done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let set = Set {
        set_id: SetId::fresh(festival, now),
        act_id: terms.act_id,
        stage_id: terms.stage_id,
        day_index: day.flatten(),
        starts_at: terms.starts_at,
        ends_at: terms.ends_at,
    };
    store::insert_sets(&mut tx, festival, std::slice::from_ref(&set)).await?;
    note(&mut tx, staff, festival, "set.added", set.set_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(set)
}

async fn note(
    conn: &mut sqlx::PgConnection,
    staff: &Staff,
    festival: FestivalId,
    action: &'static str,
    object_id: String,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    audit::record(conn, Act { festival, actor: staff.actor, action, object_kind: "lineup", object_id, before: None, after: None }, now).await
}
