//! How many are in, by scans and by hand. Whoever is in an inner zone came onto the site by another gate, so the site does not count them twice.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    head_counts::{self, ByHand},
    store,
};
use crate::{
    festivals::Zone,
    id::{FestivalId, ZoneId},
};

/// How many are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Entries that were scanned, less scanned exits.
    pub by_scans: i64,
    /// What staff counted by hand.
    pub by_hand: ByHand,
}

impl Inside {
    /// Both together.
    #[must_use]
    pub fn all(&self) -> i64 {
        self.by_scans + self.by_hand.inside()
    }
}

/// How many are in by the gates into each zone, and by those to the whole site, which have none.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Vec<(Option<ZoneId>, Inside)>);

impl Crowd {
    /// Reads who is in on a day; nobody is where none is on.
    ///
    /// # Errors
    /// What the database said.
    pub async fn read(conn: &mut PgConnection, festival: FestivalId, day: Option<i16>, now: DateTime<Utc>) -> Result<Self, sqlx::Error> {
        let Some(day) = day else { return Ok(Self::default()) };
        let scanned = store::inside(&mut *conn, festival, day, now).await?;
        let mut crowd = Self(scanned.into_iter().map(|(zone, by_scans)| (zone, Inside { by_scans, ..Inside::default() })).collect());
        for (zone, by_hand) in head_counts::sums(conn, festival, day, now).await? {
            match crowd.0.iter_mut().find(|(of, _)| *of == zone) {
                Some((_, inside)) => inside.by_hand = by_hand,
                None => crowd.0.push((zone, Inside { by_hand, ..Inside::default() })),
            }
        }
        Ok(crowd)
    }

    /// Whether nobody was counted anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in by the gates into a zone, or by those to the whole site.
    #[must_use]
    pub fn by_gates(&self, zone: Option<ZoneId>) -> Inside {
        self.0.iter().find(|(of, _)| *of == zone).map_or_else(Inside::default, |(_, inside)| *inside)
    }

    /// How many are on the site.
    #[must_use]
    pub fn on_site(&self, zones: &[Zone]) -> Inside {
        let is_inner = |of: &Option<ZoneId>| zones.iter().any(|zone| zone.is_inner && Some(zone.zone_id) == *of);
        self.0
            .iter()
            .filter(|(of, _)| !is_inner(of))
            .fold(Inside::default(), |sum, (_, inside)| Inside { by_scans: sum.by_scans + inside.by_scans, by_hand: sum.by_hand.and(inside.by_hand) })
    }
}
