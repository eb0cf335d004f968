//! The dispute file of an order, as a sheet to be printed.

use maud::html;
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    layout::{PageResult, Reader, Shell, see_other},
    session::visitor,
};
use crate::{
    accounts::Scope,
    app::App,
    http::problem::{NOT_FOUND, Problem},
    id::OrderId,
    money::percent,
    offers, orders,
    reports::dispute,
};

/// The sheet. Addresses and names stay hidden from whoever sees them nowhere else.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path((slug, id)): Path<(String, OrderId)>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    if id.festival() != festival.festival_id {
        return Err(NOT_FOUND.problem().into());
    }
    let mut tx = app.for_promoter(who.staff.promoter).await.map_err(Problem::from)?;
    let file = dispute::file(&mut tx, id).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?;
    let offers = offers::offers_in(&mut tx, festival.festival_id).await.map_err(Problem::from)?;
    drop(tx);
    let at = |at| reader.language.at(at, &festival.terms.time_zone).second();
    let day = |at| reader.language.at(at, &festival.terms.time_zone).long();
    let order = &file.order;
    let title = format!("{}: {}", reader.t("dispute-file"), orders::number(id));
    let shell = Shell { reader: &reader, title, festival: Some(&festival), private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main id="content" {
            div class="panel cover flood" {
                nav class="index" aria-label=(reader.t("desk")) { a href=(format!("/desk/{slug}")) { (reader.t("desk")) } a href=(format!("/desk/{slug}/orders/{id}")) { (reader.f("order-number", [("number", orders::number(id))])) } }
                h1 { (reader.t("dispute-file")) }
            }
            div class="panel" {
                section class="stack" {
                    header class="head" { h2 { (reader.f("order-number", [("number", orders::number(id))])) } p { (reader.t("dispute-file-lead")) } }
                    @if !who.staff.masked { p { (order.buyer_name) @if !order.buyer_name.is_empty() { br; } (order.email) } }
                    table class="sum" { tbody {
                        @for line in &order.lines { tr { th scope="row" { (line.quantity) " × " (offers.iter().find(|o| o.offer_id == line.offer_id).map(|o| o.name.read(reader.language)).unwrap_or_default()) } td { (line.total.print()) } } }
                        tr class="total" { th scope="row" { (reader.t("total")) } td { (order.total.print()) } }
                    } }
                    p { (reader.t("terms")) }
                    p class="faded" { @match (file.terms.hours_before, file.terms.kept_ppm) {
                        (Some(hours), Some(kept)) => (reader.f("dispute-rule", [("hours", hours.to_string()), ("kept", percent(u32::try_from(kept).unwrap_or_default()))])),
                        _ => (reader.t("dispute-no-rule")),
                    } }
                }
                section aria-labelledby="happened" {
                    header class="head" { h2 id="happened" { (reader.t("dispute-events")) } }
                    div class="scroll" role="region" tabindex="0" aria-labelledby="happened" { table class="log" {
                        thead { tr { th scope="col" { (reader.t("dispute-when")) } th scope="col" { (reader.t("dispute-what")) } th scope="col" { (reader.t("dispute-which")) } } }
                        tbody { @for event in &file.events { tr { td { (day(event.at)) " " (at(event.at)) } td { (event.kind.replace('_', " ")) } td { (event.what) } } } }
                    } }
                }
            }
        }
    }))
}
