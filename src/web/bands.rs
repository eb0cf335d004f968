//! Wristbands on the desk: how many of each color were delivered, given and lost.

use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    devices::keeper,
    layout::{PageResult, Reader, see_other, text},
    storefront::buy::{field, fields},
};
use crate::{
    accounts::Scope,
    app::App,
    entry::bands::{self, BandStock},
    festivals::{Festival, api::of_staff},
    http::{
        cookies::same_origin,
        problem::{MALFORMED, Problem},
    },
    offers::Pass,
};

/// The most bands of a color.
const MOST: i32 = 1_000_000;

/// The table of bands: a row a color of the passes.
pub(super) fn section(reader: &Reader, festival: &Festival, passes: &[Pass], stocks: &[BandStock]) -> Markup {
    let mut colors: Vec<&Pass> = Vec::new();
    for pass in passes {
        if colors.iter().all(|known| known.terms.color != pass.terms.color) {
            colors.push(pass);
        }
    }
    html! {
        @if colors.is_empty() { p class="faded" { (reader.t("no-passes")) } } @else { ul class="ledger" {
            @for pass in colors {
                @let stock = stocks.iter().find(|stock| stock.color == pass.terms.color);
                @let (given, lost) = stock.map_or((0, 0), |stock| (stock.given, stock.lost));
                li {
                    p { svg class="band" viewBox="0 0 56 24" aria-hidden="true" { rect width="56" height="24" fill=(pass.terms.color) {} } " " b { (text(&pass.terms.color_name, reader.language)) } br;
                            (reader.f("bands-given", [("n", given.to_string())]))
                            @if lost > 0 { " · " (reader.f("bands-lost", [("n", lost.to_string())])) }
                            @if let Some(left) = stock.and_then(BandStock::left) { " · " b class=[(left < 0).then_some("hurt")] { (reader.f("bands-left-n", [("n", left.to_string())])) } }
                        }
                    form class="take" method="post" action=(format!("/desk/{}/devices/bands", festival.terms.slug)) {
                        input type="hidden" name="color" value=(pass.terms.color);
                        div class="field" {
                            label for=(format!("delivered-{}", pass.pass_number)) { (reader.t("bands-delivered")) }
                            input id=(format!("delivered-{}", pass.pass_number)) name="delivered" type="number" min="0" max=(MOST) inputmode="numeric" value=[stock.and_then(|stock| stock.delivered)];
                        }
                        button class="button plain" { (reader.t("write-down")) }
                    }
                }
            }
        } }
    }
}

/// Writes down how many were delivered.
#[handler]
pub async fn deliver(request: &Request, body: poem::Body, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = keeper(request, &app, &slug).await? else { return Ok(see_other("/sign-in")) };
    let fields = fields(body).await?;
    let color = field(&fields, "color");
    let is_color = color.len() == 7 && color.starts_with('#') && color[1..].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let delivered = match field(&fields, "delivered").trim() {
        "" => None,
        number => Some(number.parse::<i32>().ok().filter(|n| (0..=MOST).contains(n)).ok_or_else(|| MALFORMED.problem())?),
    };
    if !is_color {
        return Err(MALFORMED.problem().into());
    }
    let tx = of_staff(&app, &who.staff, festival.festival_id, Scope::GatesWrite).await?;
    bands::deliver(&app, tx, &who.staff, festival.festival_id, color, delivered).await.map_err(Problem::from)?;
    Ok(see_other(&format!("/desk/{slug}/devices#bands")))
}
