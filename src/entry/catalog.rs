//! What gates decide by of a festival: days, passes, add-ons, gates, zones, holds, clearings. Read together, at most a second old.

use std::sync::Arc;

use super::{
    ToCollect, bands,
    decide::{Again, Ground, Rules},
    incident::{self, Clearing, GateHold},
};
use crate::{
    app::App,
    festivals::{self, Day, Gate, Zone},
    fresh::Fresh,
    id::{FestivalId, GateId, ZoneId},
    offers::{self, AddOn, Pass},
};

/// What gates need to know of a festival. At most a second old.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The days.
    pub days: Vec<Day>,
    /// The passes.
    pub passes: Vec<Pass>,
    /// The add-ons.
    pub add_ons: Vec<AddOn>,
    /// The gates.
    pub gates: Vec<Gate>,
    /// The zones.
    pub zones: Vec<Zone>,
    /// Holds of gates.
    pub holds: Vec<GateHold>,
    /// Moments when the site or a zone is empty.
    pub clearings: Vec<Clearing>,
    /// Zones whose gates stand inside the site.
    pub(super) inner: Vec<ZoneId>,
    /// Whether anybody wears a band.
    pub(super) has_bands: bool,
}

impl Catalog {
    /// The zone that a gate leads to; `None` for the whole site.
    pub(super) fn zone(&self, gate: GateId) -> Option<ZoneId> {
        self.gates.iter().find(|g| g.gate_id == gate).and_then(|g| g.zone_id)
    }

    /// The pass of a number.
    pub(super) fn pass(&self, number: i32) -> Option<&Pass> {
        self.passes.iter().find(|p| p.pass_number == number)
    }

    /// What the pass of a number allows at a gate.
    pub(super) fn rules(&self, number: i32, gate: GateId) -> Option<Rules> {
        let Pass { pass_id, terms, .. } = self.pass(number)?;
        let taken = |gate: &Gate| gate.pass_ids.is_empty() || gate.pass_ids.contains(pass_id);
        Some(Rules {
            zone_ids: terms.zone_ids.clone(),
            is_taken: self.gates.iter().find(|g| g.gate_id == gate).is_none_or(taken),
            windows: terms.windows.clone(),
            again: Again::of(terms.reentry, terms.entries_a_day),
            instruction: terms.check_instruction,
            needs_live_code: terms.needs_live_code,
        })
    }

    /// What holds for everybody.
    pub(super) fn ground(&self) -> Ground<'_> {
        Ground { days: &self.days, holds: &self.holds, clearings: &self.clearings, inner: &self.inner }
    }

    /// An add-on that is to be collected, with its name.
    pub(super) fn to_collect(&self, number: i32, quantity: u32) -> Option<ToCollect> {
        self.add_ons.iter().find(|a| a.add_on_number == number).map(|a| ToCollect { name: a.name.clone(), quantity })
    }

    /// The numbers of the passes of which one is in before the holder of a pass comes in; none for most.
    pub(super) fn companions(&self, number: i32) -> Vec<i32> {
        let wanted = self.pass(number).map_or([].as_slice(), |p| p.terms.companion_pass_ids.as_slice());
        self.passes.iter().filter(|p| wanted.contains(&p.pass_id)).map(|p| p.pass_number).collect()
    }
}

/// The catalogs of festivals, at most a second old.
pub type Catalogs = Fresh<FestivalId, Arc<Catalog>>;

pub(super) async fn catalog(app: &App, festival: FestivalId) -> Result<Arc<Catalog>, sqlx::Error> {
    let pool = &app.pools.scan;
    let read = async || {
        let zones = festivals::zones(pool, festival).await?;
        Ok(Arc::new(Catalog {
            days: festivals::days(pool, festival).await?,
            passes: offers::passes(pool, festival).await?,
            add_ons: offers::add_ons(pool, festival).await?,
            gates: festivals::gates(pool, festival).await?,
            holds: incident::store::holds(pool, festival).await?,
            clearings: incident::store::clearings(pool, festival).await?,
            has_bands: bands::has_bands(pool, festival).await?,
            inner: zones.iter().filter(|z| z.is_inner).map(|z| z.zone_id).collect(),
            zones,
        }))
    };
    app.the::<Catalogs>().get_impatiently(festival, read).await
}
