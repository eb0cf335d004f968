//! The JSON face of vouchers.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::{Json, PlainText},
};
use serde_json::json;

use super::{
    NewVoucher, NoVoucher, Voucher, VoucherTerms,
    batch::{self, NewVoucherBatch, VoucherBatch},
    commands,
};
use crate::{
    accounts::{
        Scope,
        guard::{AsStaff, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        idempotency::request_key,
        limit::{Client, Limited, Limits},
        listing::{before, fifty},
        problem::{Changing, Created, KEY_REUSED, NOT_FOUND, Or, Problem, Usual, VOUCHER},
        tags::Chapter,
    },
    id::{FestivalId, VoucherBatchId, VoucherId},
    page::{MOST, Page},
    refusals,
};

impl From<NoVoucher> for Problem {
    fn from(why: NoVoucher) -> Self {
        VOUCHER.because(format!("the voucher is {}", why.name())).with("reason", json!(why))
    }
}

/// What a code does at a moment; a code that there is not counts as a guess.
///
/// # Errors
/// A problem `voucher-refused`, or `too-many-requests`.
pub async fn opened(app: &App, client: &Client, festival: FestivalId, code: &str, now: DateTime<Utc>) -> Result<Voucher, Problem> {
    app.the::<Limits>().may_guess(client)?;
    let found = super::opened_by(app, festival, code, now).await?;
    if found.as_ref().is_err_and(|why| *why == NoVoucher::Unknown) {
        app.the::<Limits>().count(Limited::Guess, client)?;
    }
    Ok(found?)
}

/// Who a voucher is for.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct VoucherAddresses {
    /// Their addresses.
    #[oai(validator(min_items = 1, max_items = 100_000))]
    pub addresses: Vec<String>,
}

/// The codes of a batch.
#[derive(ApiResponse)]
pub enum Codes {
    /// A line a code, with a head; lines as RFC 4180 has them.
    #[oai(status = 200, content_type = "text/csv")]
    Table(PlainText<String>, #[oai(header = "Content-Disposition")] String),
}

refusals! {
    /// What making a batch refuses.
    Batching: KEY_MISSING, FORBIDDEN, NOT_FOUND, CONFLICT, INVALID, KEY_REUSED;
}

/// Vouchers.
pub struct VouchersApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Offers")]
impl VouchersApi {
    /// List the vouchers of a festival
    ///
    /// With their codes and uses, newest first, by pages. Scope `offers:write`, because codes are worth money.
    #[oai(path = "/festivals/:festival_id/vouchers", method = "get", operation_id = "list_vouchers")]
    async fn list_vouchers(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Voucher>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OffersWrite).await?;
        let limit = limit.min(MOST);
        let found = super::store::of_festival(&mut tx, *festival_id, before, limit + 1).await?;
        Ok(Json(Page::cut(found.into_iter().map(|voucher| voucher.opened(&app.secrets)).collect(), limit, |v: &Voucher| v.voucher_id.0)))
    }

    /// Make a voucher
    ///
    /// It lowers a price, names one, or opens offers that are hidden or not on sale yet. A code is taken once a festival: a repeated request answers 409.
    /// Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/vouchers", method = "post", operation_id = "create_voucher")]
    async fn create_voucher(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<NewVoucher>,
    ) -> Result<Created<Voucher>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let voucher = commands::add(&app, &staff, *festival_id, &body).await?;
        let location = format!("/v1/vouchers/{}", voucher.voucher_id);
        Ok(Created { body: voucher, location })
    }

    /// Look at a voucher
    ///
    /// With its code and uses. Scope `offers:write`, because codes are worth money.
    #[oai(path = "/vouchers/:voucher_id", method = "get", operation_id = "show_voucher")]
    async fn show_voucher(&self, AsStaff(staff): AsStaff, app: Data<&App>, voucher_id: Path<VoucherId>) -> Result<Json<Voucher>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, voucher_id.festival(), Scope::OffersWrite).await?;
        let found = super::store::by_ids(&mut tx, voucher_id.festival(), &[*voucher_id]).await?.pop();
        Ok(Json(found.ok_or_else(|| NOT_FOUND.problem())?.opened(&app.secrets)))
    }

    /// Change a voucher
    ///
    /// How often and when it is good and for which offers, all of it anew: what is not named goes. Code and effect stay. Refused when it was used more often, or took off more, than it would
    /// allow. Doing it again changes nothing. Scope `offers:write`.
    #[oai(path = "/vouchers/:voucher_id", method = "put", operation_id = "change_voucher")]
    async fn change_voucher(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        voucher_id: Path<VoucherId>,
        body: Json<VoucherTerms>,
    ) -> Result<Json<Voucher>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, voucher_id.festival())?;
        Ok(Json(commands::change(&app, &staff, *voucher_id, &body).await?))
    }

    /// Say who a voucher is for
    ///
    /// The addresses of a presale: it helps nobody else. They take the place of the list before, and only keyed hashes of them are kept. Doing it again
    /// changes nothing. Scope `offers:write`.
    #[oai(path = "/vouchers/:voucher_id/addresses", method = "put", operation_id = "set_voucher_addresses")]
    async fn set_voucher_addresses(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        voucher_id: Path<VoucherId>,
        body: Json<VoucherAddresses>,
    ) -> Result<Json<Voucher>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, voucher_id.festival())?;
        Ok(Json(commands::enlist(&app, &staff, *voucher_id, Some(&body.addresses)).await?))
    }

    /// Make a voucher for everybody
    ///
    /// Its list is forgotten. Doing it again changes nothing. Scope `offers:write`.
    #[oai(path = "/vouchers/:voucher_id/addresses", method = "delete", operation_id = "forget_voucher_addresses")]
    async fn forget_voucher_addresses(&self, AsStaff(staff): AsStaff, app: Data<&App>, voucher_id: Path<VoucherId>) -> Result<Json<Voucher>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, voucher_id.festival())?;
        Ok(Json(commands::enlist(&app, &staff, *voucher_id, None).await?))
    }

    /// List the batches of vouchers of a festival
    ///
    /// Newest first, by pages. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/voucher-batches", method = "get", operation_id = "list_voucher_batches")]
    async fn list_voucher_batches(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<VoucherBatch>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OffersWrite).await?;
        let limit = limit.min(MOST);
        Ok(Json(Page::cut(super::store::batches(&mut tx, *festival_id, before, limit + 1).await?, limit, |b| b.batch_id.0)))
    }

    /// Make a batch of vouchers
    ///
    /// Up to 10,000 alike, each with a random code of its own. Needs `Idempotency-Key`: the same key gets the same batch again. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/voucher-batches", method = "post", operation_id = "create_voucher_batch")]
    async fn create_voucher_batch(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// A fresh random key of this batch, 16 to 128 characters.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Json<NewVoucherBatch>,
    ) -> Result<Created<VoucherBatch>, Or<Batching>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        let made = batch::add(&app, &staff, *festival_id, &body, request_key(key.as_deref())?).await?.ok_or_else(|| KEY_REUSED.problem())?;
        let location = format!("/v1/voucher-batches/{}/codes", made.batch_id);
        Ok(Created { body: made, location })
    }

    /// Change a batch of vouchers
    ///
    /// The terms of all of its codes alike and anew, or of none where one was used more than they would allow: what is not named goes. Doing it again changes nothing. Scope
    /// `offers:write`.
    #[oai(path = "/voucher-batches/:batch_id", method = "put", operation_id = "change_voucher_batch")]
    async fn change_voucher_batch(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        batch_id: Path<VoucherBatchId>,
        body: Json<VoucherTerms>,
    ) -> Result<Json<VoucherBatch>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, batch_id.festival())?;
        Ok(Json(batch::change(&app, &staff, *batch_id, &body).await?))
    }

    /// Take the codes of a batch
    ///
    /// A table (CSV) of its codes, how often each was used and may be. Scope `offers:write`, because codes are worth money.
    #[oai(path = "/voucher-batches/:batch_id/codes", method = "get", operation_id = "export_voucher_codes")]
    async fn export_voucher_codes(&self, AsStaff(staff): AsStaff, app: Data<&App>, batch_id: Path<VoucherBatchId>) -> Result<Codes, Or<Usual>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, batch_id.festival())?;
        let table = batch::table(&app, &staff, *batch_id).await?;
        Ok(Codes::Table(PlainText(table), format!("attachment; filename=\"vouchers-{}.csv\"", *batch_id)))
    }
}
