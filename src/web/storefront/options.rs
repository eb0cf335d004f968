//! What an order is asked when its festival changes, on its page.

use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    order::{Opened, open, shell},
};
use crate::{
    app::App,
    http::{cookies::same_origin, problem::Problem},
    id::OrderId,
    orders::api::order_url,
    payments::refunds::options::{self, Choice, ChooseError, api::AskedOptions},
    web::layout::{Notice, PageResult, Reader, notice, see_other, text},
};

/// The question with its choices; nothing where nothing is asked.
pub(super) async fn choosing(reader: &Reader, app: &App, opened: &Opened, url: &str) -> Result<Markup, Problem> {
    let AskedOptions { round, options, answer } = options::api::asked(app, &opened.order).await?;
    let Some(round) = round else { return Ok(html! {}) };
    let until = reader.language.at(round.terms.deadline_at, &opened.festival.terms.time_zone).long();
    let default = reader.t(&format!("options-{}", round.terms.default_choice.name())).into_owned();
    let is_final = answer.as_ref().is_some_and(|answer| answer.choice != Choice::Keep);
    Ok(html! {
        section id="options" class="stack" aria-labelledby="options-head" {
            header class="head" { h2 id="options-head" { (reader.t("options-head")) } p { (reader.f("options-until", [("moment", until), ("default", default)])) } }
            p class="notice pre" { (text(&round.terms.message, reader.language)) }
            @if let Some(answer) = &answer {
                p role="status" { b { (reader.f("options-chosen", [("choice", reader.t(&format!("options-{}", answer.choice.name())).into_owned())])) } (reader.t("gap")) (reader.t(if answer.problem.is_some() { "options-problem" } else if is_final { "options-final" } else { "options-change" })) }
            }
            @if !is_final {
                form method="post" action=(format!("{url}/options")) data-once="" {
                    div class="actions" {
                        @for option in options.iter().filter(|option| answer.as_ref().is_none_or(|answer| answer.choice != option.choice)) {
                            button class="button plain" name="choice" value=(option.choice.name()) {
                                (reader.t(&format!("options-{}", option.choice.name()))) br;
                                small { @if option.amount.minor > 0 { (reader.f("options-brings", [("amount", option.amount.print())])) } @else { (reader.t("options-brings-nothing")) } }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// Chooses from the page of an order.
#[handler]
pub async fn choose(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let fields = fields(body).await?;
    let Some(choice) = Choice::ALL.into_iter().find(|choice| choice.name() == field(&fields, "choice")) else { return Ok(see_other(&url)) };
    match options::choose(&app, OrderId(id), &secret, choice).await {
        Ok(_) => Ok(see_other(&format!("{url}#options"))),
        Err(ChooseError::NotAsked | ChooseError::NotOffered | ChooseError::Chosen(_)) => {
            let (title, lead) = (reader.t("options-not").into_owned(), reader.t("options-not-lead").into_owned());
            let words = Notice { title, lead, ways: vec![(url, reader.t("back").into_owned())], ..Notice::default() };
            Ok(notice(&shell(&reader, &opened, &reader.t("options-head"), None), &words))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}
