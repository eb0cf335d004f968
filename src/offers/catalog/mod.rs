//! Commands of the promoter on passes, add-ons, offers and stock.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::{Object, types::ToJSON};

use super::{AddOn, Instruction, Offer, OfferStock, Pass, PassTerms, Reentry, Requirement, Stock, TaxKind, store as shelf};
use crate::{
    accounts::Staff,
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::{AddOnId, FestivalId, OfferId, PassId, ReleaseId, StockId},
    money::Money,
    words::Text,
};

/// What a promoter says about an offer.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct OfferTerms {
    /// Its name.
    pub name: Text,
    /// A sentence about it.
    #[oai(default)]
    pub about: Text,
    /// Its place in lists.
    #[oai(default)]
    pub sort: i16,
    /// When its sale opens; without one it is open.
    #[oai(skip_serializing_if_is_none)]
    pub opens_at: Option<DateTime<Utc>>,
    /// When its sale closes; without one it stays open.
    #[oai(skip_serializing_if_is_none)]
    pub closes_at: Option<DateTime<Utc>>,
    /// While it is paused: the sentence that fans read.
    #[oai(skip_serializing_if_is_none)]
    pub paused: Option<Text>,
    /// The most of one order.
    #[oai(default = "ten", validator(minimum(value = "1"), maximum(value = "100")))]
    pub max_per_order: i32,
    /// The most of one fan, over all orders.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1"), maximum(value = "1000")))]
    pub max_per_fan: Option<i32>,
    /// Whether pages and lists leave it out: only a voucher opens it then.
    #[oai(default)]
    pub hidden: bool,
}

fn ten() -> i32 {
    10
}

/// A price step to be made.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewTier {
    /// Its name: `Early`.
    pub name: Text,
    /// The price to pay.
    pub price: Money,
    /// Until when it is open.
    #[oai(skip_serializing_if_is_none)]
    pub until_at: Option<DateTime<Utc>>,
    /// How many are sold at it.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1")))]
    pub capacity: Option<i32>,
}

/// What may change about a price step.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct TierTerms {
    /// Its name.
    pub name: Text,
    /// The price to pay; orders that are placed keep theirs.
    pub price: Money,
    /// Until when it is open.
    #[oai(skip_serializing_if_is_none)]
    pub until_at: Option<DateTime<Utc>>,
}

/// A component to be made: exactly one of pass, release, add-on.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewComponent {
    /// The pass, if it is one.
    pub pass_id: Option<PassId>,
    /// The release, if it is one.
    pub release_id: Option<ReleaseId>,
    /// The add-on, if it is one.
    pub add_on_id: Option<AddOnId>,
    /// Its share of the price, as an integer weight.
    #[oai(validator(maximum(value = "1000000000")))]
    pub weight: u32,
    /// How its tax is taken out.
    pub tax_kind: TaxKind,
    /// The tax rate in parts per million: 9 % is 90000.
    #[oai(validator(maximum(value = "1000000")))]
    pub tax_ppm: u32,
}

/// An offer to be made.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewOffer {
    /// What it says.
    pub terms: OfferTerms,
    /// How many there are; without one only its other stocks and tiers bound it.
    #[oai(validator(minimum(value = "1")))]
    pub capacity: Option<i32>,
    /// Its price steps, at least one.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub tiers: Vec<NewTier>,
    /// What it is made of, at least one thing.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub components: Vec<NewComponent>,
    /// What it needs beside it.
    #[oai(default, validator(max_items = 10))]
    pub requirements: Vec<Requirement>,
    /// Other stocks that a unit of it takes.
    #[oai(default, validator(max_items = 10))]
    pub stocks: Vec<OfferStock>,
}

/// Makes a pass with the next number.
///
/// # Errors
/// [`Fault`].
pub async fn add_pass(app: &App, staff: &Staff, festival: FestivalId, terms: &PassTerms) -> Result<Pass, Fault> {
    check_pass(festival, terms)?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    are_there(&mut tx, festival, None, terms).await?;
    let number = store::next_number(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let pass = store::insert_pass(&mut tx, festival, PassId::fresh(festival, now), number, terms).await?;
    note(&mut tx, staff, festival, "pass.added", pass.pass_id.to_string(), None, now).await?;
    tx.commit().await?;
    Ok(pass)
}

fn check_pass(festival: FestivalId, terms: &PassTerms) -> Result<(), Fault> {
    let mut checks = Checks::default();
    let counted = (terms.reentry == Reentry::TimesADay) == terms.entries_a_day.is_some();
    checks
        .claim(!terms.name.is_blank(), "/name", "a pass has a name in at least one language")
        .claim(!terms.color_name.is_blank(), "/color_name", "a color is named, because color never speaks alone")
        .claim(terms.zone_ids.iter().all(|z| z.festival() == festival), "/zone_ids", "not a zone of this festival")
        .claim(terms.check_instruction != Some(Instruction::Note), "/check_instruction", "a note is of a ticket, not of a pass")
        .claim(counted, "/entries_a_day", "a number with times_a_day, and only then")
        .claim(terms.companion_pass_ids.iter().all(|p| p.festival() == festival), "/companion_pass_ids", "not a pass of this festival");
    for (i, window) in terms.windows.iter().enumerate() {
        let day = u32::try_from(window.day_index).is_ok_and(|day| terms.day_mask >> day & 1 == 1);
        let length = window.until_at - window.from_at;
        checks
            .claim(day, &format!("/windows/{i}/day_index"), "not a day of this pass")
            .claim(length > TimeDelta::zero(), &format!("/windows/{i}/until_at"), "a window ends after it begins")
            .claim(length <= TimeDelta::hours(72), &format!("/windows/{i}/until_at"), "a window is at most 72 hours")
            .claim(window.gate_ids.iter().all(|g| g.festival() == festival), &format!("/windows/{i}/gate_ids"), "not a gate of this festival");
    }
    checks.done()
}

/// The passes of which one comes first are there, and another one than this.
async fn are_there(conn: &mut sqlx::PgConnection, festival: FestivalId, pass: Option<PassId>, terms: &PassTerms) -> Result<(), Fault> {
    let mut wanted = terms.companion_pass_ids.clone();
    wanted.sort_unstable();
    wanted.dedup();
    let known = if wanted.is_empty() { 0 } else { store::count_passes(conn, festival, &wanted).await? };
    Checks::default()
        .claim(usize::try_from(known).is_ok_and(|known| known == wanted.len()), "/companion_pass_ids", "not a pass of this festival")
        .claim(pass.is_none_or(|pass| !wanted.contains(&pass)), "/companion_pass_ids", "its holder cannot come in before itself")
        .done()
}

/// Changes what a pass says and allows; gates hear of it within seconds, those without network when they are back.
///
/// # Errors
/// [`Fault`]: its days stay, because they stand in ticket codes.
pub async fn change_pass(app: &App, staff: &Staff, pass: PassId, change: impl FnOnce(PassTerms) -> Result<PassTerms, Fault>) -> Result<Pass, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::lock_pass(&mut tx, staff.promoter, pass).await?.ok_or(Fault::NotFound)?;
    let terms = change(before.terms.clone())?;
    Checks::default().claim(terms.day_mask == before.terms.day_mask, "/day_mask", "the days of a pass stay: they stand in ticket codes").done()?;
    check_pass(pass.festival(), &terms)?;
    are_there(&mut tx, pass.festival(), Some(pass), &terms).await?;
    let after = store::update_pass(&mut tx, pass, &terms).await?;
    let change = serde_json::json!({ "before": before.terms.to_json(), "after": after.terms.to_json() });
    note(&mut tx, staff, pass.festival(), "pass.changed", pass.to_string(), Some(change), now).await?;
    tx.commit().await?;
    Ok(after)
}

/// Makes an add-on with the next number.
///
/// # Errors
/// [`Fault`].
pub async fn add_add_on(app: &App, staff: &Staff, festival: FestivalId, name: &Text) -> Result<AddOn, Fault> {
    Checks::default().claim(!name.is_blank(), "/name", "an add-on has a name in at least one language").done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let number = store::next_number(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let add_on = store::insert_add_on(&mut tx, festival, AddOnId::fresh(festival, now), number, name).await?;
    note(&mut tx, staff, festival, "add_on.added", add_on.add_on_id.to_string(), None, now).await?;
    tx.commit().await?;
    Ok(add_on)
}

/// Makes a stock that several offers may share.
///
/// # Errors
/// [`Fault`].
pub async fn add_stock(app: &App, staff: &Staff, festival: FestivalId, name: &str, capacity: Option<i32>, confirm: Option<&str>) -> Result<Stock, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let found = festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    is_licensed(&found, capacity, confirm)?;
    let stock = store::insert_stock(&mut tx, festival, StockId::fresh(festival, now), name, capacity).await?;
    note(&mut tx, staff, festival, "stock.added", stock.stock_id.to_string(), Some(serde_json::json!({ "capacity": capacity })), now).await?;
    tx.commit().await?;
    Ok(stock)
}

/// Changes the capacity of a stock, also while it is on sale.
///
/// # Errors
/// [`Fault::Conflict`] with the numbers when more is held and sold than there would be.
pub async fn resize(app: &App, staff: &Staff, stock: StockId, capacity: Option<i32>, confirm: Option<&str>) -> Result<Stock, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::lock_stock(&mut tx, staff.promoter, stock).await?.ok_or(Fault::NotFound)?;
    if let Some(capacity) = capacity
        && capacity < before.held + before.sold
    {
        return Err(Fault::Conflict(format!("{} are held and {} sold; the capacity cannot be {capacity}", before.held, before.sold)));
    }
    let festival = festivals::owned(&mut tx, staff.promoter, stock.festival()).await?.ok_or(Fault::NotFound)?;
    let words = || capacity.map_or_else(|| "no bound".to_owned(), |capacity| capacity.to_string());
    let (after, was) = (capacity.unwrap_or(i32::MAX), before.capacity.unwrap_or(i32::MAX));
    if after > was && i64::from(after) >= 2 * i64::from(was) {
        Fault::unless_confirmed(confirm, words(), format!("the capacity grows from {was} to {}, to the double or more", words()))?;
    }
    if after > was {
        is_licensed(&festival, Some(after), confirm)?;
    }
    let after = store::resize_stock(&mut tx, stock, capacity).await?;
    let change = serde_json::json!({ "before": before.capacity, "after": capacity });
    note(&mut tx, staff, stock.festival(), "stock.resized", stock.to_string(), Some(change), now).await?;
    tx.commit().await?;
    Ok(after)
}

/// Asks for a confirmation of a capacity above what the authority allows on the site.
fn is_licensed(festival: &festivals::Festival, capacity: Option<i32>, confirm: Option<&str>) -> Result<(), Fault> {
    match (festival.terms.licensed_capacity, capacity) {
        (Some(licensed), Some(capacity)) if capacity > licensed => {
            let words = if capacity == i32::MAX { "no bound".to_owned() } else { capacity.to_string() };
            Fault::unless_confirmed(confirm, words.clone(), format!("the authority allows {licensed} people on the site; the capacity would be {words}"))
        }
        _ => Ok(()),
    }
}

fn check(festival: FestivalId, new: &NewOffer, currency: crate::money::Currency) -> Result<(), Fault> {
    let mut checks = Checks::default();
    check_terms(&mut checks, "/terms", &new.terms);
    for (i, tier) in new.tiers.iter().enumerate() {
        checks
            .claim(tier.price.minor >= 0, &format!("/tiers/{i}/price"), "a price is not negative")
            .claim(tier.price.minor <= 1_000_000_000_000, &format!("/tiers/{i}/price"), "a price that high is a mistake")
            .claim(tier.price.currency == currency, &format!("/tiers/{i}/price"), "prices are in the currency of the festival")
            .claim(!tier.name.is_blank(), &format!("/tiers/{i}/name"), "a tier has a name in at least one language");
    }
    for (i, c) in new.components.iter().enumerate() {
        let things = usize::from(c.pass_id.is_some()) + usize::from(c.release_id.is_some()) + usize::from(c.add_on_id.is_some());
        let ours = c.pass_id.is_none_or(|id| id.festival() == festival) && c.add_on_id.is_none_or(|id| id.festival() == festival);
        checks.claim(things == 1, &format!("/components/{i}"), "exactly one of pass_id, release_id, add_on_id").claim(
            ours,
            &format!("/components/{i}"),
            "not of this festival",
        );
    }
    for (i, r) in new.requirements.iter().enumerate() {
        checks.claim(r.any_of.iter().all(|o| o.festival() == festival), &format!("/requirements/{i}"), "not offers of this festival");
    }
    for (i, s) in new.stocks.iter().enumerate() {
        checks.claim(s.stock_id.festival() == festival, &format!("/stocks/{i}"), "not a stock of this festival");
    }
    checks.done()
}

fn check_terms(checks: &mut Checks, at: &str, terms: &OfferTerms) {
    let window = terms.opens_at.is_none() || terms.closes_at.is_none() || terms.opens_at < terms.closes_at;
    checks.claim(!terms.name.is_blank(), &format!("{at}/name"), "an offer has a name in at least one language").claim(
        window,
        &format!("{at}/closes_at"),
        "a sale closes after it opens",
    );
}

/// Makes an offer with its stock, tiers, components and requirements.
///
/// # Errors
/// [`Fault`].
pub async fn add_offer(app: &App, staff: &Staff, festival: FestivalId, new: &NewOffer, confirm: Option<&str>) -> Result<Offer, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let found = festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    found.is_not_frozen(now)?;
    is_licensed(&found, new.capacity, confirm)?;
    check(festival, new, found.terms.currency)?;
    let name = new.terms.name.read(found.terms.language).to_owned();
    let offer = OfferId::fresh(festival, now);
    let stock = store::insert_stock(&mut tx, festival, StockId::fresh(festival, now), &name, new.capacity).await?;
    let mut tier_stocks = Vec::with_capacity(new.tiers.len());
    for tier in &new.tiers {
        tier_stocks.push(match tier.capacity {
            Some(_) => {
                let name = format!("{name}: {}", tier.name.read(found.terms.language));
                Some(store::insert_stock(&mut tx, festival, StockId::fresh(festival, now), &name, tier.capacity).await?.stock_id)
            }
            None => None,
        });
    }
    store::insert_offer(&mut tx, staff.promoter, festival, offer, stock.stock_id, &tier_stocks, new, now).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(why) if why.contains("components_") => Fault::wrong("/components", "no such pass, release or add-on of yours"),
        Fault::Conflict(why) if why.contains("offer_stocks_") => Fault::wrong("/stocks", "no such stock, or one twice"),
        other => other,
    })?;
    let made = shelf::offers_of(&mut tx, festival, &[offer]).await?.pop().ok_or(Fault::NotFound)?;
    note(&mut tx, staff, festival, "offer.added", offer.to_string(), None, now).await?;
    tx.commit().await?;
    Ok(made)
}

/// Changes what a promoter says about an offer, if nobody changed it since `version`.
///
/// # Errors
/// [`Fault`]: also when the opening would move behind an order.
pub async fn change_offer(
    app: &App,
    staff: &Staff,
    offer: OfferId,
    version: Option<i32>,
    confirm: Option<&str>,
    change: impl FnOnce(OfferTerms) -> Result<OfferTerms, Fault>,
) -> Result<Offer, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::lock_offer(&mut tx, staff.promoter, offer).await?.ok_or(Fault::NotFound)?;
    if version.is_some_and(|version| version != before.version) {
        return Err(Fault::Stale);
    }
    let terms = change(terms_of(&before))?;
    let mut checks = Checks::default();
    check_terms(&mut checks, "", &terms);
    checks.done()?;
    if terms.opens_at != before.opens_at {
        festivals::owned(&mut tx, staff.promoter, offer.festival()).await?.ok_or(Fault::NotFound)?.is_not_frozen(now)?;
        if let Some(opens) = terms.opens_at {
            may_open(&mut tx, offer, opens).await?;
        }
        let at_once = now + AT_ONCE;
        if terms.opens_at.is_none_or(|opens| opens <= at_once) && before.opens_at.is_some_and(|opens| opens > at_once) {
            Fault::unless_confirmed(confirm, "now".to_owned(), "the sale would open at once")?;
        }
    }
    let after = store::update_offer(&mut tx, offer, &terms).await?.ok_or(Fault::NotFound)?;
    let change = serde_json::json!({ "opens_at": [before.opens_at, after.opens_at], "closes_at": [before.closes_at, after.closes_at] });
    note(&mut tx, staff, offer.festival(), "offer.changed", offer.to_string(), Some(change), now).await?;
    tx.commit().await?;
    Ok(after)
}

/// An opening so soon is one at once: nobody looks at it again.
const AT_ONCE: TimeDelta = TimeDelta::minutes(5);

/// The lowest price that somebody may pay for an offer now, or when it opens.
fn lowest(offer: &Offer, now: DateTime<Utc>) -> Option<i64> {
    let at = offer.opens_at.map_or(now, |opens| opens.max(now));
    offer.open_tiers(at).first().map(|tier| tier.price_minor)
}

/// Refuses an opening behind an order.
async fn may_open(conn: &mut sqlx::PgConnection, offer: OfferId, opens: DateTime<Utc>) -> Result<(), Fault> {
    if store::is_taken_before(conn, offer, opens).await? {
        return Err(Fault::Conflict("an order was placed before that opening".to_owned()));
    }
    Ok(())
}

/// Delays an opening: every offer of a festival that opens at this moment opens so many minutes later, and its waiting room, its countdown and
/// everything else that follows from the moment with it. Asked again it finds no offer that opens then.
///
/// # Errors
/// [`Fault`]: also when nothing opens then, or an order was placed.
pub async fn delay(app: &App, staff: &Staff, festival: FestivalId, opens_at: DateTime<Utc>, minutes: i64) -> Result<Vec<Offer>, Fault> {
    Checks::default().claim((1..=1_440).contains(&minutes), "/minutes", "between a minute and a day").done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let later = opens_at + TimeDelta::minutes(minutes);
    let ids = store::delay(&mut tx, festival, opens_at, later).await.map_err(|error| match Fault::from(error) {
        Fault::Conflict(why) if why.contains("offers_window") => Fault::Conflict("a sale would close before it opens".to_owned()),
        other => other,
    })?;
    if ids.is_empty() {
        return Err(Fault::Conflict("no offer opens at that moment".to_owned()));
    }
    store::delay_tiers(&mut tx, festival, &ids, opens_at, minutes).await?;
    for offer in &ids {
        may_open(&mut tx, *offer, later).await?;
        let change = serde_json::json!({ "opens_at": [opens_at, later] });
        note(&mut tx, staff, festival, "offer.delayed", offer.to_string(), Some(change), now).await?;
    }
    let offers = shelf::offers_of(&mut tx, festival, &ids).await?;
    tx.commit().await?;
    Ok(offers)
}

fn terms_of(offer: &Offer) -> OfferTerms {
    OfferTerms {
        name: offer.name.clone(),
        about: offer.about.clone(),
        sort: offer.sort,
        opens_at: offer.opens_at,
        closes_at: offer.closes_at,
        paused: offer.paused.clone(),
        max_per_order: offer.max_per_order,
        max_per_fan: offer.max_per_fan,
        hidden: offer.hidden,
    }
}

/// Changes a price step; orders that are placed keep their price.
///
/// # Errors
/// [`Fault`].
pub async fn change_tier(app: &App, staff: &Staff, offer: OfferId, tier_no: i16, terms: &TierTerms, confirm: Option<&str>) -> Result<Offer, Fault> {
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    let before = store::lock_offer(&mut tx, staff.promoter, offer).await?.ok_or(Fault::NotFound)?;
    Checks::default()
        .claim((0..=1_000_000_000_000).contains(&terms.price.minor), "/price", "a price is not negative")
        .claim(terms.price.currency == before.currency, "/price", "prices are in the currency of the festival")
        .claim(!terms.name.is_blank(), "/name", "a tier has a name in at least one language")
        .done()?;
    let tier = before.tiers.iter().find(|t| t.tier_no == tier_no).ok_or(Fault::NotFound)?;
    let was = Some(tier.price_minor);
    if (tier.price_minor, tier.until_at) != (terms.price.minor, terms.until_at) {
        festivals::owned(&mut tx, staff.promoter, offer.festival()).await?.ok_or(Fault::NotFound)?.is_not_frozen(now)?;
    }
    if !store::update_tier(&mut tx, offer, tier_no, terms).await? {
        return Err(Fault::NotFound);
    }
    let after = shelf::offers_of(&mut tx, offer.festival(), &[offer]).await?.pop().ok_or(Fault::NotFound)?;
    // A slip of the hand sells a thousand passes for a tenth before anybody looks: by a price, or by an early tier that comes back.
    let falls = |from: i64, to: i64| i128::from(to) * 10 <= i128::from(from) * 7 && to < from;
    let open = lowest(&before, now).zip(lowest(&after, now)).filter(|(from, to)| falls(*from, *to));
    if let Some((from, to)) = open.or(Some((tier.price_minor, terms.price.minor)).filter(|(from, to)| falls(*from, *to))) {
        let print = |minor: i64| Money::new(minor, before.currency).print();
        let why = format!("the price falls from {} to {}", print(from), print(to));
        Fault::unless_confirmed(confirm, format!("{to} {}", before.currency), why)?;
    }
    let change = serde_json::json!({ "tier_no": tier_no, "price_minor": [was, Some(terms.price.minor)] });
    note(&mut tx, staff, offer.festival(), "tier.changed", offer.to_string(), Some(change), now).await?;
    tx.commit().await?;
    Ok(after)
}

async fn note(
    conn: &mut sqlx::PgConnection,
    staff: &Staff,
    festival: FestivalId,
    action: &'static str,
    object_id: String,
    after: Option<serde_json::Value>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    audit::record(conn, Act { festival, actor: staff.actor, action, object_kind: "offer", object_id, before: None, after }, now).await
}
