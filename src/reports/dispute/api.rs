//! The JSON face of dispute files.

use poem::web::Data;
use poem_openapi::{OpenApi, param::Path, payload::Json};

use super::DisputeFile;
use crate::{
    accounts::{Scope, guard::AsStaff},
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{NOT_FOUND, Or, Usual},
        tags::Chapter,
    },
    id::OrderId,
};

/// Dispute files.
pub struct DisputeApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Reports")]
impl DisputeApi {
    /// Gather the dispute file of an order
    ///
    /// What a bank wants to see when a buyer disputes a payment: what was bought under which terms, and what happened since. Scope `orders:read`.
    #[oai(path = "/orders/:order_id/dispute-file", method = "get", operation_id = "show_dispute_file")]
    async fn show_dispute_file(&self, AsStaff(staff): AsStaff, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<DisputeFile>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, order_id.festival(), Scope::OrdersRead).await?;
        Ok(Json(super::file(&mut tx, *order_id).await?.ok_or_else(|| NOT_FOUND.problem())?))
    }
}
