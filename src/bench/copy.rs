//! A copy of a festival to rehearse an opening on: its days moved to today, its gates, passes, add-ons, stocks and offers, open at once.
//! Made by the commands that a promoter uses, removed with all its rows.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    accounts::{self, Scope, Staff},
    app::App,
    audit::Actor,
    festivals::{self, Day, Festival, Gate, Site, Zone},
    id::{AddOnId, FestivalId, GateId, OfferId, PassId, PromoterId, StockId, ZoneId},
    money::Money,
    offers::{self, EntryWindow, NewComponent, NewOffer, NewTier, Offer, OfferStock, OfferTerms, PassTerms, Requirement},
};

/// How many gates scan during a rehearsal.
const LANES: usize = 16;

/// The copy.
pub(super) struct Copy {
    pub(super) festival: FestivalId,
    pub(super) promoter: PromoterId,
    pub(super) offers: Vec<Offer>,
    pub(super) devices: Vec<String>,
}

/// Makes the empty copy of a festival.
pub(crate) async fn begin(app: &App, of: &Festival) -> anyhow::Result<Festival> {
    let now = app.clock.now();
    let staff = Staff { promoter: of.promoter_id, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    let mut terms = of.terms.clone();
    terms.licensed_capacity = None;
    terms.slug = format!("rehearsal-{}-{}", of.festival_id.0, now.timestamp());
    Ok(festivals::create_rehearsal(app, &staff, &terms, of.festival_id).await?)
}

/// Fills a copy; with a capacity, every stock that is bounded gets it.
pub(crate) async fn fill(app: &App, of: &Festival, copy: &Festival, capacity: Option<i32>) -> anyhow::Result<()> {
    let (now, festival) = (app.clock.now(), copy.festival_id);
    let staff = Staff { promoter: of.promoter_id, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    let pool = &app.pools.web;
    let days = festivals::days(pool, of.festival_id).await?;
    // The first day opens an hour ago: what is sold can be scanned.
    let shift = days.first().map_or(TimeDelta::zero(), |day| now - TimeDelta::hours(1) - day.opens_at);
    for day in &days {
        festivals::set_day(app, &staff, festival, &Day { opens_at: day.opens_at + shift, closes_at: day.closes_at + shift, ..day.clone() }).await?;
    }
    let mut zones: HashMap<ZoneId, ZoneId> = HashMap::new();
    for zone in festivals::zones(pool, of.festival_id).await? {
        let zone_id = ZoneId::fresh(festival, now);
        zones.insert(zone.zone_id, zone_id);
        festivals::add(app, &staff, festival, &Site::Zone(Zone { zone_id, ..zone })).await?;
    }
    let mut gates: HashMap<GateId, GateId> = HashMap::new();
    let originals = festivals::gates(pool, of.festival_id).await?;
    for gate in originals.clone() {
        let gate_id = GateId::fresh(festival, now);
        gates.insert(gate.gate_id, gate_id);
        let zone_id = gate.zone_id.and_then(|zone| zones.get(&zone).copied());
        festivals::add(app, &staff, festival, &Site::Gate(Gate { gate_id, zone_id, pass_ids: Vec::new(), ..gate })).await?;
    }
    let mut passes: HashMap<PassId, PassId> = HashMap::new();
    let originals_of_passes = offers::passes(pool, of.festival_id).await?;
    for pass in &originals_of_passes {
        let zone_ids = pass.terms.zone_ids.iter().filter_map(|zone| zones.get(zone).copied()).collect();
        let window = |w: &EntryWindow| EntryWindow {
            from_at: w.from_at + shift,
            until_at: w.until_at + shift,
            gate_ids: w.gate_ids.iter().filter_map(|gate| gates.get(gate).copied()).collect(),
            ..w.clone()
        };
        let windows = pass.terms.windows.iter().map(window).collect();
        let made = offers::add_pass(app, &staff, festival, &PassTerms { zone_ids, windows, companion_pass_ids: Vec::new(), ..pass.terms.clone() }).await?;
        passes.insert(pass.pass_id, made.pass_id);
    }
    // What names passes can be said when all are there.
    let copied = |ids: &[PassId]| ids.iter().filter_map(|id| passes.get(id).copied()).collect::<Vec<PassId>>();
    for pass in originals_of_passes.iter().filter(|p| !p.terms.companion_pass_ids.is_empty()) {
        let companion_pass_ids = copied(&pass.terms.companion_pass_ids);
        offers::change_pass(app, &staff, passes[&pass.pass_id], |terms| Ok(PassTerms { companion_pass_ids, ..terms })).await?;
    }
    for gate in originals.iter().filter(|g| !g.pass_ids.is_empty()) {
        let pass_ids = copied(&gate.pass_ids);
        festivals::change_gate(app, &staff, gates[&gate.gate_id], |gate| Ok(Gate { pass_ids, ..gate })).await?;
    }
    let mut add_ons: HashMap<AddOnId, AddOnId> = HashMap::new();
    for add_on in offers::add_ons(pool, of.festival_id).await? {
        add_ons.insert(add_on.add_on_id, offers::add_add_on(app, &staff, festival, &add_on.name).await?.add_on_id);
    }
    copy_offers(app, &staff, of.festival_id, festival, capacity, now, &passes, &add_ons).await?;
    festivals::publish(app, &staff, festival).await?;
    Ok(())
}

/// Opens a copy that is there: pairs devices with its gates.
pub(super) async fn open(app: &App, copy: &Festival) -> anyhow::Result<Copy> {
    let (festival, pool) = (copy.festival_id, &app.pools.web);
    let staff = Staff { promoter: copy.promoter_id, actor: Actor::House, festival: None, scopes: Scope::ALL.to_vec(), masked: false };
    let gates = festivals::gates(pool, festival).await?;
    let mut devices = Vec::new();
    for lane in 0..if gates.is_empty() { 0 } else { LANES } {
        let pairing = accounts::offer_pairing(app, &staff, festival, &accounts::Wanted::one(gates[lane % gates.len()].gate_id, "scan")).await?;
        devices.push(accounts::pair(app, &pairing.pairing_code, &format!("rehearsal {lane}")).await?.token);
    }
    Ok(Copy { festival, promoter: copy.promoter_id, offers: offers::offers(pool, festival).await?, devices })
}

async fn copy_offers(
    app: &App,
    staff: &Staff,
    of: FestivalId,
    festival: FestivalId,
    capacity: Option<i32>,
    now: DateTime<Utc>,
    passes: &HashMap<PassId, PassId>,
    add_ons: &HashMap<AddOnId, AddOnId>,
) -> anyhow::Result<()> {
    let pool = &app.pools.web;
    let fee = offers::fee(&mut *pool.acquire().await?, of).await?;
    offers::fees::set_fee(app, staff, festival, fee).await?;
    let mut offers = offers::offers(pool, of).await?;
    let stocks: HashMap<StockId, offers::Stock> = offers::stocks_of(pool, of).await?.into_iter().map(|s| (s.stock_id, s)).collect();
    let size = |stock: StockId| stocks.get(&stock).and_then(|s| s.capacity).map(|there| capacity.unwrap_or(there));
    let mut shared: HashMap<StockId, StockId> = HashMap::new();
    for stock in offers.iter().flat_map(|o| &o.stocks).map(|s| s.stock_id) {
        if let (None, Some(known)) = (shared.get(&stock), stocks.get(&stock)) {
            shared.insert(stock, offers::add_stock(app, staff, festival, &known.name, size(stock), None).await?.stock_id);
        }
    }
    // What others lean on is made first: an offer without requirements before one with some.
    offers.sort_by_key(|o| o.requirements.len());
    let mut made: HashMap<OfferId, OfferId> = HashMap::new();
    for offer in offers.iter().filter(|o| o.closes_at.is_none_or(|closes| closes > now)) {
        let tiers = offer.tiers.iter().filter(|t| t.until_at.is_none_or(|until| until > now)).map(|tier| NewTier {
            name: tier.name.clone(),
            price: Money::new(tier.price_minor, offer.currency),
            until_at: tier.until_at,
            capacity: tier.stock_id.and_then(size),
        });
        let new = NewOffer {
            terms: OfferTerms {
                name: offer.name.clone(),
                about: offer.about.clone(),
                sort: offer.sort,
                opens_at: None,
                closes_at: offer.closes_at,
                paused: None,
                max_per_order: offer.max_per_order,
                max_per_fan: offer.max_per_fan,
                hidden: false,
            },
            capacity: size(offer.stock_id),
            tiers: tiers.collect(),
            components: offer
                .components
                .iter()
                .map(|c| NewComponent {
                    pass_id: c.pass_id.and_then(|id| passes.get(&id).copied()),
                    release_id: c.release_id,
                    add_on_id: c.add_on_id.and_then(|id| add_ons.get(&id).copied()),
                    weight: c.weight,
                    tax_kind: c.tax_kind,
                    tax_ppm: c.tax_ppm,
                })
                .collect(),
            requirements: offer
                .requirements
                .iter()
                .map(|r| Requirement { any_of: r.any_of.iter().filter_map(|id| made.get(id).copied()).collect(), per_one: r.per_one })
                .filter(|r| !r.any_of.is_empty())
                .collect(),
            stocks: offer.stocks.iter().filter_map(|s| Some(OfferStock { stock_id: *shared.get(&s.stock_id)?, units: s.units })).collect(),
        };
        let copied = offers::add_offer(app, staff, festival, &new, None).await.with_context(|| format!("the offer {} could not be copied", offer.offer_id))?;
        made.insert(offer.offer_id, copied.offer_id);
    }
    Ok(())
}
