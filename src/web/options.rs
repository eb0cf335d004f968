//! Option rounds at the desk: asking everybody who paid, how it goes, and what could not be done.

use chrono::TimeDelta;
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    layout::{PageResult, Reader, Shell, see_other, text},
    money::index,
    session::visitor,
    storefront::buy::{field, fields},
};
use crate::{
    accounts::{Member, Scope},
    app::App,
    fault::Fault,
    festivals::Festival,
    http::{cookies::same_origin, problem::Problem},
    money::{Money, group},
    orders,
    payments::refunds::options::{self, Answer, Choice, Round, RoundKind, RoundStatus, RoundTerms, Sums},
    words::Text,
};

/// The page.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    Ok(show(&reader, &app, &who, &festival, &[], None).await?)
}

async fn show(reader: &Reader, app: &App, who: &Member, festival: &Festival, typed: &[(String, String)], why: Option<&str>) -> Result<Response, Problem> {
    let id = festival.festival_id;
    let mut tx = app.for_promoter(who.staff.promoter).await?;
    let mut rounds: Vec<(Round, Sums, Vec<Answer>)> = Vec::new();
    // Sums of a whole festival: of the latest round, which is the one that is open where one is.
    if let Some(round) = options::rounds(&mut tx, id).await?.into_iter().next() {
        let sums = options::sums(&mut tx, id, &round).await?;
        let problems = options::problems(&mut tx, id, round.round_no).await?;
        rounds.push((round, sums, problems));
    }
    drop(tx);
    let slug = &festival.terms.slug;
    let may = who.staff.may(Scope::MoneyWrite).is_ok();
    let is_open = rounds.iter().any(|(round, ..)| round.status == RoundStatus::Open);
    let title = format!("{}: {}", reader.t("rounds"), festival.terms.name.read(reader.language));
    let shell = Shell { reader, title, festival: Some(festival), private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main id="content" {
            div class="panel cover flood" {
                (index(reader, slug, "options"))
                h1 { (reader.t("rounds")) }
            }
            div class="panel" {
                @if let Some(why) = why { p class="notice bad" id="why" role="alert" { (reader.t(why)) } }
                @if rounds.is_empty() { p class="faded" { (reader.t("rounds-none")) } }
                @for (round, sums, problems) in &rounds { (one(reader, festival, round, sums, problems, may)) }
                @if may && !is_open { (form(reader, slug, typed)) }
            }
        }
    }))
}

/// A round: who chose what as a bar, its money, and what could not be done.
fn one(reader: &Reader, festival: &Festival, round: &Round, sums: &Sums, problems: &[Answer], may: bool) -> Markup {
    let slug = &festival.terms.slug;
    let money = |minor: i64| Money::new(minor, festival.terms.currency).print();
    let wide = |n: i64| n * 640 / sums.orders.max(1);
    let (keep, refund, share) = (wide(sums.keep), wide(sums.refund), wide(sums.share));
    let said = [("keep", group(sums.keep)), ("refund", group(sums.refund)), ("share", group(sums.share)), ("silent", group(sums.silent))];
    let until = reader.language.at(round.terms.deadline_at, &festival.terms.time_zone).long();
    html! {
        section class="stack" aria-labelledby=(format!("round-{}", round.round_no)) {
            header class="head" {
                h2 id=(format!("round-{}", round.round_no)) { (reader.f("rounds-number", [("number", round.round_no.to_string())])) " · " (reader.t(&format!("rounds-{}", round.terms.kind.name()))) }
                p { @if round.status == RoundStatus::Open { (reader.f("rounds-is-open", [("moment", until)])) } @else { (reader.t(&format!("rounds-is-{}", round.status.name()))) } }
            }
            p class="pre" { (text(&round.terms.message, reader.language)) }
            svg class="chart" viewBox="0 0 640 34" role="img" aria-label=(reader.f("rounds-chart", said)) {
                rect class="void" x="0" y="4" width="640" height="26" {}
                rect class="lit" x="0" y="4" width=(keep) height="26" {}
                rect class="wrong" x=(keep) y="4" width=(refund) height="26" {}
                rect x=(keep + refund) y="4" width=(share) height="26" {}
            }
            table class="sum" { tbody {
                tr { th scope="row" { (reader.t("rounds-keep")) } td { (group(sums.keep)) } }
                tr { th scope="row" { (reader.t("rounds-refund")) } td { (group(sums.refund)) } }
                @if round.terms.share_ppm.is_some() { tr { th scope="row" { (reader.t("rounds-share-short")) } td { (group(sums.share)) } } }
                tr { th scope="row" { (reader.t("rounds-silent")) } td { (group(sums.silent)) } }
                tr { th scope="row" { (reader.t("rounds-back")) } td { (money(sums.back_minor)) } }
                tr class="total" { th scope="row" { (reader.t("rounds-most")) } td { (money(sums.most_minor)) } }
            } }
            @if sums.due > 0 { p role="status" { (reader.f("rounds-due", [("count", group(sums.due))])) } }
            @if !problems.is_empty() {
                h3 { (reader.t("rounds-problems")) }
                ul class="ledger" { @for answer in problems { li { p { a href=(format!("/desk/{slug}/orders/{}", answer.order_id)) { (orders::number(answer.order_id)) } (reader.t("clause")) (reader.t(&format!("options-{}", answer.choice.name()))) br; span class="hurt" { (answer.problem.as_deref().unwrap_or_default()) } } } } }
            }
            @if may && round.status == RoundStatus::Open {
                form method="post" action=(format!("/desk/{slug}/options/{}/ends", round.round_no)) { p { button class="link" { (reader.t("rounds-call-off")) } (reader.t("gap")) span class="faded" { (reader.t("rounds-call-off-lead")) } } }
            }
        }
    }
}

fn form(reader: &Reader, slug: &str, typed: &[(String, String)]) -> Markup {
    let was = |name: &str| field(typed, name).to_owned();
    let kind = |value: &str| if was("kind").is_empty() { value == "postponed" } else { was("kind") == value };
    let default = |value: &str| if was("default").is_empty() { value == "keep" } else { was("default") == value };
    html! {
        form class="stack" method="post" action=(format!("/desk/{slug}/options")) data-once="" {
            header class="head" { h2 { (reader.t("rounds-open")) } p { (reader.t("rounds-lead")) } }
            fieldset { legend { (reader.t("rounds-kind")) } @for one in RoundKind::ALL { label class="choice" { input type="radio" name="kind" value=(one.name()) checked[kind(one.name())]; span { b { (reader.t(&format!("rounds-{}", one.name()))) } } } } }
            div class="field" { label for="message-en" { (reader.t("rounds-message-en")) } textarea id="message-en" name="message-en" rows="4" maxlength="2000" { (was("message-en")) } }
            div class="field" { label for="message-zh" { (reader.t("rounds-message-zh")) } textarea id="message-zh" name="message-zh" rows="4" maxlength="2000" lang="zh-Hans" { (was("message-zh")) } }
            label class="tick" { input type="checkbox" name="may-refund" value="yes" checked[typed.is_empty() || was("may-refund") == "yes"]; span { (reader.t("rounds-may-refund")) } }
            div class="field" { label for="share" { (reader.t("rounds-share")) } input id="share" name="share" type="number" min="0" max="100" step="0.01" value=(was("share")); }
            fieldset { legend { (reader.t("rounds-default")) } @for one in Choice::ALL { label class="choice" { input type="radio" name="default" value=(one.name()) checked[default(one.name())]; span { b { (reader.t(&format!("options-{}", one.name()))) } } } } }
            div class="field" { label for="days" { (reader.t("rounds-deadline")) } input id="days" name="days" type="number" min="1" max="90" required value=(if was("days").is_empty() { "14".to_owned() } else { was("days") }); }
            label class="tick" { input type="checkbox" name="sure" value="yes" required; span { (reader.t("rounds-sure")) } }
            div { button class="button" { (reader.t("rounds-open")) } }
        }
    }
}

/// A per cent as typed, in parts per million; nothing where it is empty or none.
fn ppm(typed: &str) -> Option<i32> {
    let (whole, part) = typed.trim().split_once('.').unwrap_or((typed.trim(), ""));
    let part = format!("{part:0<4}");
    let whole: i32 = whole.parse().ok().filter(|n| (0..=100).contains(n))?;
    let part: i32 = part.get(..4)?.parse().ok()?;
    Some(whole * 10_000 + part).filter(|ppm| (1..=1_000_000).contains(ppm))
}

/// Opens a round.
#[handler]
pub async fn open(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::MoneyWrite).map_err(Problem::from)?;
    let fields = fields(body).await?;
    let text = |name: &str| Some(field(&fields, name).trim().to_owned()).filter(|text| !text.is_empty());
    let days: i64 = field(&fields, "days").parse().ok().filter(|days| (1..=90).contains(days)).unwrap_or(0);
    let terms = RoundTerms {
        kind: RoundKind::ALL.into_iter().find(|kind| kind.name() == field(&fields, "kind")).unwrap_or(RoundKind::Postponed),
        message: Text { en: text("message-en"), zh: text("message-zh") },
        may_refund: field(&fields, "may-refund") == "yes",
        share_ppm: ppm(field(&fields, "share")),
        default_choice: Choice::ALL.into_iter().find(|choice| choice.name() == field(&fields, "default")).unwrap_or(Choice::Keep),
        // A minute more than a day, a minute less than ninety: the clock goes on while it is read.
        deadline_at: app.clock.now() + TimeDelta::days(days) + TimeDelta::minutes(if days == 90 { -1 } else { 1 }),
    };
    let outcome = if field(&fields, "sure") == "yes" {
        options::open(&app, &who.staff, festival.festival_id, &terms).await.map(|_| ())
    } else {
        Err(Fault::wrong("/sure", "it is not confirmed"))
    };
    let why = match outcome {
        Ok(()) => return Ok(see_other(&format!("/desk/{slug}/options"))),
        Err(Fault::Conflict(_)) => "rounds-another",
        Err(Fault::Invalid(_)) => "rounds-wrong",
        Err(error) => return Err(Problem::from(error).into()),
    };
    let mut said = show(&reader, &app, &who, &festival, &fields, Some(why)).await?;
    said.set_status(StatusCode::UNPROCESSABLE_ENTITY);
    Ok(said)
}

/// Calls a round off.
#[handler]
pub async fn call_off(request: &Request, reader: Reader, app: Data<&App>, Path((slug, no)): Path<(String, i32)>) -> PageResult {
    same_origin(request)?;
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    who.staff.may(Scope::MoneyWrite).map_err(Problem::from)?;
    match options::call_off(&app, &who.staff, festival.festival_id, no).await {
        Ok(_) => Ok(see_other(&format!("/desk/{slug}/options"))),
        Err(Fault::Conflict(_)) => Ok(show(&reader, &app, &who, &festival, &[], None).await?),
        Err(error) => Err(Problem::from(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_per_cent_is_read_to_the_millionth() {
        assert_eq!(
            [ppm("33.3333"), ppm("100"), ppm("0.5"), ppm(""), ppm("101"), ppm("0"), ppm("x")],
            [Some(333_333), Some(1_000_000), Some(5_000), None, None, None, None]
        );
    }
}
