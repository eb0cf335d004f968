//! The page of the simulated bank: the buyer decides, and the bank tells us at once or never.

use maud::html;
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::buy::{field, fields};
use crate::{
    app::App,
    http::{
        cookies::same_origin,
        problem::{NOT_FOUND, Problem},
    },
    id::PaymentId,
    orders::{self, api::order_url},
    payments::{
        self,
        simulated::{self, Decision},
    },
    web::layout::{PageResult, Reader, Shell, see_other},
};

/// What the bank asks.
#[handler]
pub async fn page(reader: Reader, app: Data<&App>, Path(id): Path<uuid::Uuid>) -> PageResult {
    let intent =
        simulated::intent(&app, PaymentId(id)).await.map_err(Problem::from)?.filter(|_| app.settings.simulated_payments).ok_or_else(|| NOT_FOUND.problem())?;
    let shell = Shell { reader: &reader, title: reader.t("bank").into_owned(), festival: None, private: true, refresh: None, script_refreshes: false };
    let open = intent.status == "pending";
    Ok(shell.page(&html! {
        main class="panel problem" id="content" {
            h1 { (reader.t("bank")) }
            p class="lead" { (reader.f("bank-lead", [("amount", intent.amount.print())])) }
            form method="post" class="actions" data-once="" {
                @if open {
                    button class="button" name="decision" value="pay" { (reader.t("bank-pay")) }
                    button class="button plain" name="decision" value="decline" { (reader.t("bank-decline")) }
                    button class="button plain" name="decision" value="silent" { (reader.t("bank-silent")) }
                } @else { button class="button" name="decision" value="back" { (reader.t("bank-back")) } }
            }
            p class="small faded" { (reader.t("bank-small")) }
        }
    }))
}

/// What the buyer decided.
#[handler]
pub async fn decide(request: &Request, body: poem::Body, app: Data<&App>, Path(id): Path<uuid::Uuid>) -> PageResult {
    same_origin(request)?;
    let id = PaymentId(id);
    let payment =
        payments::payment(&app.pools.web, id).await.map_err(Problem::from)?.filter(|_| app.settings.simulated_payments).ok_or_else(|| NOT_FOUND.problem())?;
    let fields = fields(body).await?;
    // A browser sends the button that was pressed; a disabled one is not sent, so its default is to go back.
    let decision = match field(&fields, "decision") {
        "pay" => Some(Decision::Pay),
        "decline" => Some(Decision::Decline),
        "silent" => Some(Decision::PaySilently),
        _ => None,
    };
    if let Some(decision) = decision {
        simulated::decide(&app, id, decision).await.map_err(Problem::from)?;
    }
    let order = orders::held(&app.pools.web, payment.order_id).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?;
    Ok(see_other(&order_url(&app, order.order_id, order.link_generation)))
}
