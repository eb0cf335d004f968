//! The settlement: what came in and whose it is, by day and account, read from the books. Money comes in on the one side and is owed on the other, so the
//! two sides of a currency are equal.

pub mod api;
mod store;
mod table;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::{Enum, Object};
use sqlx::PgConnection;

use crate::{
    fault::Fault,
    id::{FestivalId, ReleaseId},
    money::Currency,
    releases,
};

pub use table::{about, csv, xlsx};

/// Whose money an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum)]
#[oai(rename = "SettlementAccount", rename_all = "snake_case")]
pub enum Whose {
    /// A payment provider has it for the promoter.
    Provider,
    /// The promoter paid it back themselves, outside a provider.
    ByHand,
    /// The promoter's, without tax.
    Promoter,
    /// What the promoter keeps of what was returned.
    Kept,
    /// The house's, for selling.
    Fee,
    /// The tax office's, by rate.
    Tax,
    /// The rights holders' of a release, without tax.
    Rights,
    /// A buyer's: it goes back to them.
    Owed,
}

impl Whose {
    /// Every account, as they are read.
    pub const ALL: [Self; 8] = [Self::Provider, Self::ByHand, Self::Promoter, Self::Kept, Self::Fee, Self::Tax, Self::Rights, Self::Owed];

    /// Its name in JSON, tables and the catalog of words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::ByHand => "by_hand",
            Self::Promoter => "promoter",
            Self::Kept => "kept",
            Self::Fee => "fee",
            Self::Tax => "tax",
            Self::Rights => "rights",
            Self::Owed => "owed",
        }
    }

    /// Whether it says where the money is, rather than whose it is.
    #[must_use]
    pub fn is_money(self) -> bool {
        matches!(self, Self::Provider | Self::ByHand)
    }
}

/// A sum of an account.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(rename = "SettlementRow", skip_serializing_if_is_none)]
pub struct Row {
    /// Whose money it is, or where.
    pub account: Whose,
    /// The provider, where one has it.
    pub provider: Option<String>,
    /// The rate of the tax in parts per million, where it is a tax.
    pub tax_ppm: Option<u32>,
    /// The release whose rights holders are owed.
    pub release_id: Option<ReleaseId>,
    /// Its title.
    pub title: Option<String>,
    /// Its act.
    pub artist: Option<String>,
    /// How much, in the smallest unit. Negative where more went back than came in.
    pub minor: i64,
}

/// The sums of a day.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(rename = "SettlementDay")]
pub struct Day {
    /// The day in the festival's zone.
    pub day: NaiveDate,
    /// Its sums.
    pub rows: Vec<Row>,
}

/// The sums of a currency.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(rename = "SettlementSheet")]
pub struct Sheet {
    /// The currency.
    pub currency: Currency,
    /// What came in less what went back, in the smallest unit: the sum of where the money is, and of whose it is.
    pub total_minor: i64,
    /// The sums of the whole period.
    pub rows: Vec<Row>,
    /// The sums by day, of days on which something moved.
    pub days: Vec<Day>,
}

impl Sheet {
    /// The sum of where the money is less that of whose it is: zero.
    #[must_use]
    pub fn imbalance(&self) -> i64 {
        self.rows.iter().map(|row| if row.account.is_money() { row.minor } else { -row.minor }).sum()
    }
}

/// From when until when; everything without bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub until: Option<NaiveDate>,
}

/// From when until when; nothing where there is no bound.
type Moments = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl Period {
    /// Its moments in a zone: from the beginning of the first day to the end of the last one.
    ///
    /// # Errors
    /// [`Fault::Invalid`] when it ends before it begins.
    fn moments(self, zone: &str) -> Result<Moments, Fault> {
        if self.from.zip(self.until).is_some_and(|(from, until)| until < from) {
            return Err(Fault::wrong("until", "it ends before it begins"));
        }
        let begins = |day: NaiveDate, at| midnight(day, zone).ok_or_else(|| Fault::wrong(at, "no day that a calendar has here"));
        let from = self.from.map(|day| begins(day, "from")).transpose()?;
        let until = self.until.map(|day| day.succ_opt().ok_or_else(|| Fault::wrong("until", "no day has this date")).and_then(|next| begins(next, "until")));
        Ok((from, until.transpose()?))
    }
}

/// When a day begins in a zone.
fn midnight(day: NaiveDate, zone: &str) -> Option<DateTime<Utc>> {
    use chrono::Datelike as _;
    if !(1..=9998).contains(&day.year()) {
        return None;
    }
    let date = jiff::civil::Date::new(i16::try_from(day.year()).ok()?, i8::try_from(day.month()).ok()?, i8::try_from(day.day()).ok()?).ok()?;
    let begins = date.in_tz(zone).ok()?.timestamp();
    DateTime::from_timestamp(begins.as_second(), 0)
}

/// The settlement of a festival, a sheet a currency.
///
/// # Errors
/// [`Fault`].
pub async fn settlement(conn: &mut PgConnection, festival: FestivalId, zone: &str, period: Period) -> Result<Vec<Sheet>, Fault> {
    let (from, until) = period.moments(zone)?;
    let moved = store::moved(&mut *conn, festival, zone, from, until).await?;
    let mut ids: Vec<ReleaseId> = moved.iter().filter_map(|m| m.account.strip_prefix("rights:")?.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    let names: HashMap<ReleaseId, (String, String)> =
        releases::titles_and_artists(conn, &ids).await?.into_iter().map(|(id, title, artist)| (id, (title, artist))).collect();
    let mut sheets: Vec<Sheet> = Vec::new();
    let mut places: HashMap<(Currency, &str), usize> = HashMap::new();
    for one in &moved {
        let Some(row) = row(one, &names) else {
            tracing::error!(account = %one.account, "the books have an account that no settlement knows");
            continue;
        };
        let i = sheets.iter().position(|sheet| sheet.currency == one.currency).unwrap_or_else(|| {
            sheets.push(Sheet { currency: one.currency, total_minor: 0, rows: Vec::new(), days: Vec::new() });
            sheets.len() - 1
        });
        let sheet = &mut sheets[i];
        sheet.total_minor += if row.account.is_money() { row.minor } else { 0 };
        let place = *places.entry((one.currency, &one.account)).or_insert(sheet.rows.len());
        match sheet.rows.get_mut(place) {
            Some(sum) => sum.minor += row.minor,
            None => sheet.rows.push(row.clone()),
        }
        match sheet.days.last_mut().filter(|day| day.day == one.day) {
            Some(day) => day.rows.push(row),
            None => sheet.days.push(Day { day: one.day, rows: vec![row] }),
        }
    }
    let order = |row: &Row| (row.account, row.tax_ppm, row.provider.clone(), row.artist.clone(), row.title.clone());
    for sheet in &mut sheets {
        sheet.rows.sort_by_key(order);
        for day in &mut sheet.days {
            day.rows.sort_by_key(order);
        }
    }
    sheets.sort_by_key(|sheet| sheet.currency);
    Ok(sheets)
}

/// A sum of the books as a row; what is owed is positive.
fn row(moved: &store::Moved, names: &HashMap<ReleaseId, (String, String)>) -> Option<Row> {
    let plain = |account, minor| Row { account, provider: None, tax_ppm: None, release_id: None, title: None, artist: None, minor };
    let owed = |account| plain(account, -moved.minor);
    Some(match moved.account.split_once(':') {
        Some(("clearing", provider)) => Row { provider: Some(provider.to_owned()), ..plain(Whose::Provider, moved.minor) },
        Some(("tax", ppm)) => Row { tax_ppm: Some(ppm.parse().ok()?), ..owed(Whose::Tax) },
        Some(("rights", release)) => {
            let id: ReleaseId = release.parse().ok()?;
            let name = names.get(&id);
            Row { release_id: Some(id), title: name.map(|(title, _)| title.clone()), artist: name.map(|(_, artist)| artist.clone()), ..owed(Whose::Rights) }
        }
        None => match moved.account.as_str() {
            "by_hand" => plain(Whose::ByHand, moved.minor),
            "promoter" => owed(Whose::Promoter),
            "kept" => owed(Whose::Kept),
            "fee" => owed(Whose::Fee),
            "owed" => owed(Whose::Owed),
            _ => return None,
        },
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_its_midnight_in_the_zone_of_the_festival() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(midnight(day("2026-06-19"), "Europe/Amsterdam"), at("2026-06-18T22:00:00Z"));
        assert_eq!(midnight(day("2026-06-19"), "Asia/Shanghai"), at("2026-06-18T16:00:00Z"));
        // On the day when clocks went forward at midnight, it began at one.
        assert_eq!(midnight(day("2026-09-06"), "America/Santiago"), at("2026-09-06T04:00:00Z"));
        let period = |from: &str, until: &str| Period { from: Some(day(from)), until: Some(day(until)) }.moments("Europe/Amsterdam");
        assert_eq!(period("2026-10-25", "2026-10-25").unwrap(), (at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")));
        assert!(period("2026-10-25", "2026-10-24").is_err());
    }
}
