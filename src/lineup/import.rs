//! The import of a running order: a table (CSV) with the columns act, stage, day, start, end, or the same as JSON.
//!
//! Times are local to the festival. A set that ends before it starts ends after midnight: running orders often carry the
//! date of the evening for both. Every line gets an answer; good lines go in, wrong ones are named. The same file twice
//! changes nothing: a set is known by stage and start.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use jiff::civil;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use super::{PerformingAct, Set, name_key, store};
use crate::{
    accounts::Staff,
    app::App,
    fault::Fault,
    festivals::{self, Day, Site, Stage},
    id::{ActId, FestivalId, ImportId, SetId, StageId},
    words::Text,
};

/// The most lines of one import.
const MOST: usize = 5_000;

/// One line of a running order. Times are local to the festival, without a zone.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
pub struct ImportLine {
    /// The act; empty, `TBA` or `TBC` means to be announced.
    #[serde(default)]
    #[oai(default, validator(max_length = 200))]
    pub act: String,
    /// The stage, by its name; made where it is missing.
    #[serde(default)]
    #[oai(default, validator(max_length = 200))]
    pub stage: String,
    /// The festival day, by its name; only compared with the times.
    #[serde(default)]
    #[oai(default, validator(max_length = 200))]
    pub day: String,
    /// When it starts: `2025-06-27T22:15:00`.
    #[serde(default)]
    #[oai(default, validator(max_length = 40))]
    pub start: String,
    /// When it ends.
    #[serde(default)]
    #[oai(default, validator(max_length = 40))]
    pub end: String,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A set was made.
    Created,
    /// A set that was there was changed.
    Updated,
    /// The set was there.
    Unchanged,
    /// The line is wrong; the remark says why.
    Refused,
}

/// The answer to one line.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct LineReport {
    /// The number of the line in the file; a heading is line 1.
    pub line: u32,
    /// The act of the line.
    pub act: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What the promoter should know.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remark: Option<String>,
}

/// The report of an import.
#[derive(Clone, Debug, Object, Serialize, Deserialize)]
pub struct ImportReport {
    /// Its id.
    pub import_id: ImportId,
    /// When it was made.
    pub imported_at: DateTime<Utc>,
    /// Sets that were made.
    pub created: u32,
    /// Sets that were changed.
    pub updated: u32,
    /// Sets that were there.
    pub unchanged: u32,
    /// Lines that are wrong.
    pub refused: u32,
    /// Acts that were made.
    pub acts_created: u32,
    /// Stages that were made.
    pub stages_created: u32,
    /// The answer to every line.
    pub lines: Vec<LineReport>,
}

/// Reads a table. A byte order mark is skipped; the first line names the columns.
///
/// # Errors
/// [`Fault::Invalid`] when it is no such table.
pub fn read_csv(text: &str) -> Result<Vec<ImportLine>, Fault> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headings = reader.headers().map_err(|e| Fault::wrong("", e.to_string()))?.clone();
    for needed in ["act", "stage", "start", "end"] {
        if !headings.iter().any(|h| h.eq_ignore_ascii_case(needed)) {
            return Err(Fault::wrong("", format!("the first line names the columns; {needed} is missing (act, stage, day, start, end)")));
        }
    }
    let column = |row: &csv::StringRecord, name: &str| {
        headings.iter().position(|h| h.eq_ignore_ascii_case(name)).and_then(|i| row.get(i)).unwrap_or_default().to_owned()
    };
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| Fault::wrong("", e.to_string()))?;
        lines.push(ImportLine {
            act: column(&row, "act"),
            stage: column(&row, "stage"),
            day: column(&row, "day"),
            start: column(&row, "start"),
            end: column(&row, "end"),
        });
    }
    Ok(lines)
}

/// A line with its times understood.
struct Understood {
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    day_index: i16,
    remark: Option<String>,
}

/// Understands the times of a line; pure.
fn understand(line: &ImportLine, days: &[Day], zone: &jiff::tz::TimeZone) -> Result<Understood, String> {
    let read =
        |text: &str, what: &str| text.parse::<civil::DateTime>().map_err(|_| format!("the {what} {text:?} is not a local time like 2025-06-27T22:15:00"));
    if line.stage.trim().is_empty() {
        return Err("the stage is missing".to_owned());
    }
    let (start, mut end) = (read(&line.start, "start")?, read(&line.end, "end")?);
    let mut remarks = Vec::new();
    if end <= start {
        let gap = start.since(end).map_err(|e| e.to_string())?;
        if gap.get_days() > 0 || gap.get_months() > 0 || gap.get_years() > 0 || gap.get_hours() < 6 {
            return Err("it ends before it starts".to_owned());
        }
        end = end.tomorrow().map_err(|e| e.to_string())?;
        remarks.push("ends after midnight".to_owned());
    }
    let named = |day: &&Day| [day.name.en.as_deref(), day.name.zh.as_deref()].into_iter().flatten().any(|n| n.eq_ignore_ascii_case(line.day.trim()));
    let instant = |at: civil::DateTime| -> Result<DateTime<Utc>, String> {
        let zoned = at.to_zoned(zone.clone()).map_err(|e| e.to_string())?;
        DateTime::from_timestamp_micros(zoned.timestamp().as_microsecond()).ok_or_else(|| "out of range".to_owned())
    };
    let (mut starts_at, mut ends_at) = (instant(start)?, instant(end)?);
    // A night belongs to the day before it: running orders give 02:00 of "Friday" the date of Friday.
    if let Some(day) = days.iter().find(named)
        && !day.covers(starts_at)
    {
        let later = |at: civil::DateTime| at.tomorrow().map_err(|e| e.to_string()).and_then(instant);
        let (start, end) = (later(start)?, later(end)?);
        if day.covers(start) {
            (starts_at, ends_at) = (start, end);
            remarks.push("starts after midnight".to_owned());
        }
    }
    if (ends_at - starts_at).num_hours() > 18 {
        return Err("a set of more than 18 hours".to_owned());
    }
    let day = days.iter().find(|d| d.covers(starts_at)).ok_or_else(|| "no festival day covers its start".to_owned())?;
    if !line.day.trim().is_empty() && !named(&day) {
        remarks.push(format!("the file says {}, its times say {}", line.day.trim(), day.name.read(crate::words::Language::En)));
    }
    Ok(Understood { starts_at, ends_at, day_index: day.day_index, remark: (!remarks.is_empty()).then(|| remarks.join("; ")) })
}

/// Whether a name stands for an act that is not known yet.
fn is_unknown(act: &str) -> bool {
    matches!(act.trim().to_lowercase().as_str(), "" | "tba" | "tbc" | "to be announced" | "待定" | "神秘嘉宾")
}

/// Imports a running order in one transaction.
///
/// # Errors
/// [`Fault`]; a wrong line is no error, the report names it.
pub async fn import(app: &App, staff: &Staff, festival: FestivalId, lines: &[ImportLine]) -> Result<ImportReport, Fault> {
    if lines.len() > MOST {
        return Err(Fault::wrong("", format!("more than {MOST} lines")));
    }
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let found = festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let zone = jiff::tz::TimeZone::get(&found.terms.time_zone).map_err(|e| Fault::House(e.to_string()))?;
    let days = festivals::days(&app.pools.web, festival).await?;
    let stages = festivals::stages(&app.pools.web, festival).await?;
    let mut stage_ids: HashMap<String, StageId> = HashMap::new();
    for stage in &stages {
        for name in [stage.name.en.as_deref(), stage.name.zh.as_deref()].into_iter().flatten() {
            stage_ids.insert(name_key(name), stage.stage_id);
        }
    }
    let mut act_ids: HashMap<String, ActId> = store::act_keys(&mut tx, festival).await?.into_iter().collect();
    let mut known: HashMap<(StageId, DateTime<Utc>), Set> =
        store::placed_sets(&mut tx, festival).await?.into_iter().filter_map(|set| Some(((set.stage_id?, set.starts_at?), set))).collect();
    let (mut new_stages, mut new_acts, mut new_sets, mut changed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut reports = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        let mut report = |outcome, remark| {
            let line_no = u32::try_from(i + 2).unwrap_or(u32::MAX);
            reports.push(LineReport { line: line_no, act: line.act.clone(), outcome, remark });
        };
        let understood = match understand(line, &days, &zone) {
            Ok(understood) => understood,
            Err(why) => {
                report(Outcome::Refused, Some(why));
                continue;
            }
        };
        let stage_id = *stage_ids.entry(name_key(&line.stage)).or_insert_with(|| {
            let sort = i16::try_from(stages.len() + new_stages.len()).unwrap_or(i16::MAX);
            let stage = Stage { stage_id: StageId::fresh(festival, now), zone_id: None, name: Text::en(line.stage.trim()), sort };
            new_stages.push(stage.clone());
            stage.stage_id
        });
        let act_id = (!is_unknown(&line.act)).then(|| {
            *act_ids.entry(name_key(&line.act)).or_insert_with(|| {
                let act = PerformingAct { act_id: ActId::fresh(festival, now), name: line.act.trim().to_owned(), latin_name: None, billing: 3 };
                new_acts.push(act.clone());
                act.act_id
            })
        });
        let set = Set {
            set_id: SetId::fresh(festival, now),
            act_id,
            stage_id: Some(stage_id),
            day_index: Some(understood.day_index),
            starts_at: Some(understood.starts_at),
            ends_at: Some(understood.ends_at),
        };
        match known.get(&(stage_id, understood.starts_at)) {
            None => {
                known.insert((stage_id, understood.starts_at), set.clone());
                new_sets.push(set);
                report(Outcome::Created, understood.remark);
            }
            Some(there) if there.act_id == set.act_id && there.ends_at == set.ends_at => report(Outcome::Unchanged, understood.remark),
            Some(there) => {
                let set = Set { set_id: there.set_id, ..set };
                known.insert((stage_id, understood.starts_at), set.clone());
                changed.push(set);
                report(Outcome::Updated, understood.remark);
            }
        }
    }
    for stage in &new_stages {
        festivals::insert_imported(&mut tx, festival, &Site::Stage(stage.clone())).await?;
    }
    store::insert_acts(&mut tx, festival, &new_acts, now).await?;
    store::insert_sets(&mut tx, festival, &new_sets).await?;
    store::update_sets(&mut tx, festival, &changed).await?;
    let count = |outcome| u32::try_from(reports.iter().filter(|r| r.outcome == outcome).count()).unwrap_or(u32::MAX);
    let report = ImportReport {
        import_id: ImportId::fresh(festival, now),
        imported_at: now,
        created: count(Outcome::Created),
        updated: count(Outcome::Updated),
        unchanged: count(Outcome::Unchanged),
        refused: count(Outcome::Refused),
        acts_created: u32::try_from(new_acts.len()).unwrap_or(u32::MAX),
        stages_created: u32::try_from(new_stages.len()).unwrap_or(u32::MAX),
        lines: reports,
    };
    store::insert_import(&mut tx, festival, &report).await?;
    super::note(&mut tx, staff, festival, "lineup.imported", report.import_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn friday() -> Vec<Day> {
        vec![Day {
            day_index: 0,
            name: Text::en("Friday"),
            opens_at: "2025-06-27T08:00:00Z".parse().unwrap(),
            closes_at: "2025-06-28T06:00:00Z".parse().unwrap(),
        }]
    }

    fn line(start: &str, end: &str) -> ImportLine {
        ImportLine { act: "Salt Radio".to_owned(), stage: "Dry Dock".to_owned(), day: "Friday".to_owned(), start: start.to_owned(), end: end.to_owned() }
    }

    #[test]
    fn times_are_understood_as_running_orders_mean_them() {
        let zone = jiff::tz::TimeZone::get("Europe/London").unwrap();
        for (start, end, ends_at) in [
            ("2025-06-27T22:15:00", "2025-06-27T23:45:00", Ok("2025-06-27T22:45:00Z")),
            ("2025-06-27T23:30:00", "2025-06-27T01:00:00", Ok("2025-06-28T00:00:00Z")),
            ("2025-06-27T23:30:00", "2025-06-28T01:00:00", Ok("2025-06-28T00:00:00Z")),
            ("2025-06-27T22:00:00", "2025-06-27T21:00:00", Err("it ends before it starts")),
            ("2025-06-30T22:00:00", "2025-06-30T23:00:00", Err("no festival day covers its start")),
            ("22:00", "23:00", Err("the start \"22:00\" is not a local time like 2025-06-27T22:15:00")),
        ] {
            let understood = understand(&line(start, end), &friday(), &zone);
            assert_eq!(understood.map(|u| u.ends_at), ends_at.map(|t| t.parse().unwrap()).map_err(str::to_owned), "{start} {end}");
        }
    }
}
