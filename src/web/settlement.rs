//! The settlement of a festival: what came in and whose it is, by account, act and day, on one page, and as tables to take along.

use chrono::NaiveDate;
use maud::{Markup, html};
use poem::{
    Request, Response, handler,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    layout::{PageResult, Reader, name, see_other},
    money::{index, shell},
    promoter::short_money,
    session::visitor,
};
use crate::{
    accounts::Scope,
    app::App,
    fault::Fault,
    festivals::Festival,
    http::problem::Problem,
    money::Money,
    reports::settlement::{self, Day, Period, Row, Sheet, Whose},
};

/// From when until when, as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
}

impl Asked {
    fn period(&self) -> Option<Period> {
        let day = |text: &str| match text.trim() {
            "" => Some(None),
            text => text.parse::<NaiveDate>().ok().map(Some),
        };
        Some(Period { from: day(&self.from)?, until: day(&self.until)? })
    }

    fn query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).append_pair("from", &self.from).append_pair("until", &self.until).finish()
    }
}

/// The sheets of what was asked for; `None` where that is no period.
async fn read(app: &App, staff: &crate::accounts::Staff, festival: &Festival, asked: &Asked) -> Result<Option<Vec<Sheet>>, Problem> {
    let Some(period) = asked.period() else { return Ok(None) };
    let mut tx = app.for_promoter(staff.promoter).await?;
    match settlement::settlement(&mut tx, festival.festival_id, &festival.terms.time_zone, period).await {
        Ok(sheets) => Ok(Some(sheets)),
        Err(Fault::Invalid(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The page.
#[handler]
pub async fn page(request: &Request, reader: Reader, app: Data<&App>, Path(slug): Path<String>, Query(asked): Query<Asked>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let sheets = read(&app, &who.staff, &festival, &asked).await?;
    let home = format!("/desk/{slug}/settlement");
    Ok(shell(&reader, &festival, &reader.t("settlement")).page(&html! {
        main id="content" {
            div class="panel cover flood" {
                (index(&reader, &slug, "settlement"))
                h1 { (reader.t("settlement")) }
                @for sheet in sheets.iter().flatten() {
                    dl class="figures" {
                        div { dt { (reader.t("settlement-in")) } dd { (short_money(sheet.total_minor, sheet.currency)) small { (Money::new(sheet.total_minor, sheet.currency).print()) } } }
                        div { dt { (reader.t("account-promoter")) } dd { (short_money(of(sheet, Whose::Promoter) + of(sheet, Whose::Kept), sheet.currency)) small { (Money::new(of(sheet, Whose::Promoter) + of(sheet, Whose::Kept), sheet.currency).print()) } } }
                        div { dt { (reader.t("account-tax")) } dd { (short_money(of(sheet, Whose::Tax), sheet.currency)) small { (Money::new(of(sheet, Whose::Tax), sheet.currency).print()) } } }
                    }
                }
            }
            div class="panel" {
                form class="stack" method="get" action=(home) {
                    header class="head" { h2 { (reader.t("settlement-period")) } p { (reader.t("settlement-lead")) } }
                    div class="field" { label for="from" { (reader.t("settlement-from")) } input id="from" name="from" type="date" value=(asked.from); }
                    div class="field" { label for="until" { (reader.t("settlement-until")) } input id="until" name="until" type="date" value=(asked.until); }
                    @if sheets.is_none() { p class="hurt" role="alert" { (reader.t("settlement-no-period")) } }
                    div { button class="button" { (reader.t("settlement-show")) } }
                }
                @match &sheets {
                    Some(sheets) if sheets.is_empty() => { p { (reader.t("settlement-empty")) } }
                    Some(sheets) => {
                        p class="actions" { a href=(format!("{home}.csv?{}", asked.query())) { (reader.t("settlement-csv")) } a href=(format!("{home}.xlsx?{}", asked.query())) { (reader.t("settlement-xlsx")) } }
                        @for sheet in sheets { (accounts(&reader, sheet)) (days(&reader, sheet)) }
                    }
                    None => {}
                }
            }
        }
    }))
}

fn of(sheet: &Sheet, account: Whose) -> i64 {
    sheet.rows.iter().filter(|row| row.account == account).map(|row| row.minor).sum()
}

/// What an account is called, with what it is about.
fn called(reader: &Reader, row: &Row) -> Markup {
    let about = settlement::about(row);
    html! { (reader.t(&format!("account-{}", row.account.name()))) @if !about.is_empty() { br; span class="faded" { (name(&about)) } } }
}

fn accounts(reader: &Reader, sheet: &Sheet) -> Markup {
    let most = sheet.rows.iter().map(|row| row.minor.abs()).max().unwrap_or(0).max(1);
    let money = |minor: i64| Money::new(minor, sheet.currency).print();
    html! {
        @for (is_money, title, lead) in [(true, "settlement-where", "settlement-where-lead"), (false, "settlement-whose", "settlement-whose-lead")] {
            @let id = format!("{title}-{}", sheet.currency);
            section aria-labelledby=(id) {
                header class="head" { h2 id=(id) { (reader.t(title)) } p { (reader.t(lead)) } }
                div class="scroll" role="region" tabindex="0" aria-labelledby=(id) { table class="log" {
                    thead { tr { th scope="col" { (reader.t("settlement-account")) } th scope="col" { span class="unseen" { (reader.t("settlement-drawn")) } } th scope="col" class="n" { (sheet.currency) } } }
                    tbody {
                        @for row in sheet.rows.iter().filter(|row| row.account.is_money() == is_money) {
                            tr { th scope="row" { (called(reader, row)) } td class="drawn" aria-hidden="true" { progress class="groove" max=(most) value=(row.minor.max(0)) {} } td class="n" { (money(row.minor)) } }
                        }
                        tr { th scope="row" { b { (reader.t("total")) } } td {} td class="n" { b { (money(sheet.total_minor)) } } }
                    }
                } }
            }
        }
    }
}

fn days(reader: &Reader, sheet: &Sheet) -> Markup {
    let id = format!("by-day-{}", sheet.currency);
    let sum = |day: &Day, of: fn(&Row) -> bool| day.rows.iter().filter(|row| of(row)).map(|row| row.minor).sum::<i64>();
    let most = sheet.days.iter().map(|day| sum(day, |row| row.account.is_money())).max().unwrap_or(0).max(1);
    let money = |minor: i64| Money::new(minor, sheet.currency).print();
    html! {
        section aria-labelledby=(id) {
            header class="head" { h2 id=(id) { (reader.t("settlement-days")) } p { (sheet.currency) } }
            div class="scroll" role="region" tabindex="0" aria-labelledby=(id) { table class="log" {
                thead { tr { th scope="col" { (reader.t("settlement-day")) } th scope="col" { span class="unseen" { (reader.t("settlement-drawn")) } } th scope="col" class="n" { (reader.t("settlement-in")) } th scope="col" class="n" { (reader.t("account-promoter")) } th scope="col" class="n" { (reader.t("account-rights")) } th scope="col" class="n" { (reader.t("account-tax")) } th scope="col" class="n" { (reader.t("account-fee")) } } }
                tbody { @for day in &sheet.days {
                    @let came_in = sum(day, |row| row.account.is_money());
                    tr {
                        th scope="row" { (day.day.to_string().replace('-', "\u{2011}")) }
                        td class="drawn" aria-hidden="true" { progress class="groove" max=(most) value=(came_in.max(0)) {} }
                        td class="n" { (money(came_in)) }
                        td class="n" { (money(sum(day, |row| matches!(row.account, Whose::Promoter | Whose::Kept)))) }
                        td class="n" { (money(sum(day, |row| row.account == Whose::Rights))) }
                        td class="n" { (money(sum(day, |row| row.account == Whose::Tax))) }
                        td class="n" { (money(sum(day, |row| row.account == Whose::Fee))) }
                    }
                } }
            } }
        }
    }
}

/// The settlement as CSV.
#[handler]
pub async fn csv(request: &Request, app: Data<&App>, Path(slug): Path<String>, Query(asked): Query<Asked>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let sheets = read(&app, &who.staff, &festival, &asked).await?.unwrap_or_default();
    let table = settlement::csv(&sheets).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(file("text/csv; charset=utf-8", &slug, "csv").body(table))
}

/// The settlement as XLSX.
#[handler]
pub async fn xlsx(request: &Request, app: Data<&App>, Path(slug): Path<String>, Query(asked): Query<Asked>) -> PageResult {
    let Some((who, festival)) = visitor(request, &app, &slug, Scope::OrdersRead).await? else { return Ok(see_other("/sign-in")) };
    let sheets = read(&app, &who.staff, &festival, &asked).await?.unwrap_or_default();
    let book = settlement::xlsx(&sheets).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(file("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &slug, "xlsx").body(book))
}

fn file(media_type: &'static str, slug: &str, ending: &str) -> poem::ResponseBuilder {
    let disposition = format!("attachment; filename=\"settlement-{slug}.{ending}\"");
    Response::builder().content_type(media_type).header("cache-control", "no-store").header("content-disposition", disposition)
}
