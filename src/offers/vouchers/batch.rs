//! Batches: many codes of one kind at once, each good for itself, as a table to send out.

use chrono::{DateTime, Utc};
use poem_openapi::{Object, types::ToJSON};
use serde_json::Value;
use sqlx::FromRow;

use super::{
    Effect, Voucher, VoucherTerms,
    commands::{Made, check, check_effect, made, may_change, note, overused, taken},
    letters, store,
};
use crate::{
    accounts::Staff,
    app::App,
    fault::{Checks, Fault},
    festivals,
    id::{FestivalId, VoucherBatchId, VoucherId},
    secrets::{self, LETTERS},
};

/// Letters and digits of a code beside its beginning: 60 bits, so that nobody finds one by trying.
const NOISE: usize = 12;

/// A batch of vouchers.
#[derive(Clone, Debug, Object, FromRow)]
pub struct VoucherBatch {
    /// Its id.
    pub batch_id: VoucherBatchId,
    /// A name for the promoter.
    pub label: String,
    /// How many codes it has.
    pub size: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Vouchers to be made at once: alike, each with a code of its own.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewVoucherBatch {
    /// How many, at most 10,000.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    pub size: i32,
    /// What their codes begin with, up to 12 letters and digits; twelve random ones follow.
    #[oai(default, validator(max_length = 12))]
    pub prefix: String,
    /// How often, when and for what each of them is good.
    pub terms: VoucherTerms,
    /// Whether they open their offers, which have to be named: they can be had with them although they are hidden or their sale has not opened.
    #[oai(default)]
    pub opens: bool,
    /// What each takes off the price of a unit, in percent. One of the three, or none where they only open offers.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub percent_off: Option<i32>,
    /// What each takes off the price of a unit, in the smallest unit of the currency.
    #[oai(validator(minimum(value = "1")))]
    pub minor_off: Option<i64>,
    /// The price that a unit has with it, in the smallest unit of the currency; 0 is a gift.
    #[oai(validator(minimum(value = "0")))]
    pub price_minor: Option<i64>,
}

/// A fresh code: `FERRY-7K3M-9QTX-4D2A`.
fn fresh_code(prefix: &str) -> String {
    let mut noise = [0_u8; NOISE];
    secrets::fill(&mut noise);
    let letters: Vec<char> = noise.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
    let groups = letters.chunks(4).map(String::from_iter);
    Some(prefix.to_owned()).filter(|p| !p.is_empty()).into_iter().chain(groups).collect::<Vec<_>>().join("-")
}

/// Makes a batch; the same key gets the same batch again. `None` where the key was used for another request.
pub(super) async fn add(app: &App, staff: &Staff, festival: FestivalId, new: &NewVoucherBatch, key: &str) -> Result<Option<VoucherBatch>, Fault> {
    let effect = Effect { percent_off: new.percent_off, minor_off: new.minor_off, price_minor: new.price_minor, opens: new.opens };
    let prefix = letters(&new.prefix);
    let mut checks = Checks::default();
    checks.claim(prefix.chars().count() <= 12 && prefix.is_ascii(), "/prefix", "at most 12 letters and digits");
    check_effect(&mut checks, effect, &new.terms);
    check(&mut checks, festival, "/terms", &new.terms);
    checks.done()?;
    let now = app.clock.now();
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let batch = VoucherBatch { batch_id: VoucherBatchId::fresh(festival, now), label: new.terms.label.clone(), size: new.size, created_at: now };
    let key = secrets::short_hash(&[b"voucher-batch", staff.promoter.0.as_bytes(), key.as_bytes()]);
    let fingerprint = secrets::short_hash(&[said(new.to_json()).to_string().as_bytes()]);
    if !store::insert_batch(&mut tx, &batch, &key, &fingerprint).await? {
        let (id, asked) = store::batch_by_key(&mut tx, festival, &key).await?.ok_or(Fault::NotFound)?;
        return Ok(if asked == fingerprint { store::batch(&mut tx, id).await? } else { None });
    }
    let all: Vec<Made> = (0..new.size).map(|_| made(&app.secrets, festival, &fresh_code(&prefix), now)).collect();
    store::insert(&mut tx, festival, &all, Some(batch.batch_id), effect, &new.terms, now).await.map_err(taken)?;
    let after = serde_json::json!({ "size": new.size });
    note(&mut tx, staff, festival, ("voucher_batch.added", "voucher_batch", batch.batch_id.to_string()), Some(after), now).await?;
    tx.commit().await?;
    Ok(Some(batch))
}

/// What was said, without what was not: a request has the same fingerprint whatever may be said later.
fn said(value: Option<Value>) -> Value {
    match value.unwrap_or_default() {
        Value::Object(members) => Value::Object(members.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name, said(Some(v)))).collect()),
        other => other,
    }
}

/// Changes every voucher of a batch alike: all of them, or none where one does not fit.
pub(super) async fn change(app: &App, staff: &Staff, id: VoucherBatchId, terms: &VoucherTerms) -> Result<VoucherBatch, Fault> {
    let (festival, now) = (id.festival(), app.clock.now());
    let mut checks = Checks::default();
    check(&mut checks, festival, "", terms);
    checks.done()?;
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, festival).await?.ok_or(Fault::NotFound)?;
    let batch = store::batch(&mut tx, id).await?.ok_or(Fault::NotFound)?;
    let ids: Vec<VoucherId> = store::of_batch(&mut tx, id).await?.iter().map(|v| v.voucher_id).collect();
    store::lock_by_ids(&mut tx, festival, &ids).await?;
    let before = store::by_ids(&mut tx, festival, &ids).await?;
    store::update(&mut tx, festival, &may_change(&before, terms)?, terms).await.map_err(overused)?;
    store::relabel_batch(&mut tx, id, &terms.label).await?;
    note(&mut tx, staff, festival, ("voucher_batch.changed", "voucher_batch", id.to_string()), None, now).await?;
    tx.commit().await?;
    Ok(VoucherBatch { label: terms.label.clone(), ..batch })
}

/// The codes of a batch as a table (RFC 4180): what is sent out, and what came of it.
pub(super) async fn table(app: &App, staff: &Staff, id: VoucherBatchId) -> Result<String, Fault> {
    let mut tx = app.for_promoter(staff.promoter).await?;
    festivals::owned(&mut tx, staff.promoter, id.festival()).await?.ok_or(Fault::NotFound)?;
    store::batch(&mut tx, id).await?.ok_or(Fault::NotFound)?;
    let vouchers = store::of_batch(&mut tx, id).await?;
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let broken = |error: csv::Error| Fault::House(error.to_string());
    table.write_record(["code", "voucher_id", "used", "max_uses"]).map_err(broken)?;
    for voucher in vouchers {
        let Voucher { code, voucher_id, used, max_uses, .. } = voucher.opened(&app.secrets);
        table.write_record([code, voucher_id.to_string(), used.to_string(), max_uses.map_or(String::new(), |n| n.to_string())]).map_err(broken)?;
    }
    let bytes = table.into_inner().unwrap_or_default();
    Ok(String::from_utf8(bytes).unwrap_or_default())
}
