//! What members do with vouchers.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Effect, NewVoucher, Voucher, VoucherTerms, address_key, letters, store, voucher_key};
use crate::{
    accounts::{Staff, email_key},
    app::App,
    audit::{self, Act},
    fault::{Checks, Fault},
    festivals,
    id::{FestivalId, VoucherId},
    secrets::{Place, Secrets},
};

/// Makes a voucher.
pub(super) async fn add(app: &App, staff: &Staff, festival: FestivalId, new: &NewVoucher) -> Result<Voucher, Fault> {
    let length = letters(&new.code).chars().count();
    let mut checks = Checks::default();
    checks.claim((4..=40).contains(&length), "/code", "4 to 40 letters and digits");
    let effect = Effect { percent_off: new.percent_off, minor_off: new.minor_off, price_minor: new.price_minor, opens: new.opens };
    check_effect(&mut checks, effect, &new.terms);
    check(&mut checks, festival, "/terms", &new.terms);
    checks.done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let made = made(&app.secrets, festival, new.code.trim(), now);
    let id = made.id;
    store::insert(&mut tx, festival, &[made], None, effect, &new.terms, now).await.map_err(taken)?;
    note(&mut tx, staff, festival, ("voucher.added", "voucher", id.to_string()), None, now).await?;
    let voucher = store::by_ids(&mut tx, festival, &[id]).await?.pop().ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(voucher.opened(&app.secrets))
}

/// A code that is to be written.
pub(super) struct Made {
    pub(super) id: VoucherId,
    pub(super) key: [u8; 16],
    pub(super) sealed: Vec<u8>,
}

pub(super) fn made(secrets: &Secrets, festival: FestivalId, code: &str, now: DateTime<Utc>) -> Made {
    let id = VoucherId::fresh(festival, now);
    let sealed = secrets.seal(Place { table: "vouchers", column: "sealed_code", festival, key: &id.to_string() }, code.as_bytes());
    Made { id, key: voucher_key(secrets, festival, code), sealed }
}

pub(super) fn taken(error: sqlx::Error) -> Fault {
    match Fault::from(error) {
        Fault::Conflict(why) if why.contains("vouchers_code") => Fault::Conflict("there is a voucher with this code".to_owned()),
        other => other,
    }
}

/// Changes a voucher: its effect and code stay, because orders were placed with them.
///
/// # Errors
/// [`Fault`]: also when it was used more often than it may be.
pub(super) async fn change(app: &App, staff: &Staff, id: VoucherId, terms: &VoucherTerms) -> Result<Voucher, Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    let mut checks = Checks::default();
    check(&mut checks, festival, "", terms);
    checks.done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    store::lock_by_ids(&mut tx, festival, &[id]).await?;
    let before = store::by_ids(&mut tx, festival, &[id]).await?.pop().ok_or(Fault::NotFound)?;
    store::update(&mut tx, festival, &may_change(&[before], terms)?, terms).await.map_err(overused)?;
    note(&mut tx, staff, festival, ("voucher.changed", "voucher", id.to_string()), None, now).await?;
    let after = store::by_ids(&mut tx, festival, &[id]).await?.pop().ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(after.opened(&app.secrets))
}

/// The ids of locked vouchers that new terms fit.
pub(super) fn may_change(before: &[Voucher], terms: &VoucherTerms) -> Result<Vec<VoucherId>, Fault> {
    Checks::default()
        .claim(before.iter().all(|v| v.budget_minor.is_some() == terms.budget_minor.is_some()), "/budget_minor", "a budget changes, but neither comes nor goes")
        .claim(before.iter().all(|v| !v.opens || !terms.offer_ids.is_empty()), "/offer_ids", "the offers that it opens have to be named")
        .done()?;
    Ok(before.iter().map(|v| v.voucher_id).collect())
}

pub(super) fn overused(error: sqlx::Error) -> Fault {
    match Fault::from(error) {
        Fault::Conflict(why) if why.contains("vouchers_never_overused") => Fault::Conflict("it was used more often than that".to_owned()),
        Fault::Conflict(why) if why.contains("voucher_rules_never_overspent") => Fault::Conflict("it took off more than that".to_owned()),
        other => other,
    }
}

/// Says who a voucher is for: these addresses and no others, in place of those before. Kept as keyed hashes.
///
/// # Errors
/// [`Fault`].
pub(super) async fn enlist(app: &App, staff: &Staff, id: VoucherId, addresses: Option<&[String]>) -> Result<Voucher, Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    if let Some(i) = addresses.and_then(|all| all.iter().position(|address| !crate::accounts::is_address(address.trim()))) {
        return Err(Fault::wrong(format!("/addresses/{i}"), "not an email address"));
    }
    // Everything that takes long is done before the lock: every batch of placing with its code waits for that.
    let mut keys: Vec<[u8; 16]> = addresses.unwrap_or_default().iter().map(|a| address_key(&app.secrets, festival, &email_key(a.trim()))).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    if store::by_ids(&mut tx, festival, &[id]).await?.is_empty() {
        return Err(Fault::NotFound);
    }
    store::add_addresses(&mut tx, id, &keys).await?;
    if store::lock_by_ids(&mut tx, festival, &[id]).await? == 0 {
        return Err(Fault::NotFound);
    }
    store::replace_list(&mut tx, id, addresses.is_some().then_some(&keys)).await?;
    let after = serde_json::json!({ "listed": addresses.map(|_| keys.len()) });
    note(&mut tx, staff, festival, ("voucher.listed", "voucher", id.to_string()), Some(after), now).await?;
    let voucher = store::by_ids(&mut tx, festival, &[id]).await?.pop().ok_or(Fault::NotFound)?;
    tx.commit().await?;
    Ok(voucher.opened(&app.secrets))
}

pub(super) fn check_effect(checks: &mut Checks, effect: Effect, terms: &VoucherTerms) {
    let effects = [effect.percent_off.is_some(), effect.minor_off.is_some(), effect.price_minor.is_some()].into_iter().filter(|is| *is).count();
    checks
        .claim(effects <= 1, "/percent_off", "one of percent_off, minor_off and price_minor")
        .claim(effects == 1 || effect.opens, "/percent_off", "percent_off, minor_off or price_minor, or it opens offers")
        .claim(effects == 1 || terms.budget_minor.is_none(), "/terms/budget_minor", "it takes nothing off")
        .claim(!effect.opens || !terms.offer_ids.is_empty(), "/terms/offer_ids", "the offers that it opens have to be named");
}

pub(super) fn check(checks: &mut Checks, festival: FestivalId, at: &str, terms: &VoucherTerms) {
    let window = terms.opens_at.is_none() || terms.closes_at.is_none() || terms.opens_at < terms.closes_at;
    checks.claim(terms.offer_ids.iter().all(|offer| offer.festival() == festival), &format!("{at}/offer_ids"), "not offers of this festival").claim(
        window,
        &format!("{at}/closes_at"),
        "it ends after it begins",
    );
}

pub(super) async fn note(
    conn: &mut PgConnection,
    staff: &Staff,
    festival: FestivalId,
    (action, object_kind, object_id): (&'static str, &'static str, String),
    after: Option<serde_json::Value>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    audit::record(conn, Act { festival, actor: staff.actor, action, object_kind, object_id, before: None, after }, now).await
}
