//! Pages of problems: what the door shows to a reader of pages, and the page behind the `type` of every problem document.

use maud::html;
use poem::{Response, handler, http::StatusCode, web::Path};

use super::layout::{Notice, PageResult, Reader, Shell, notice};
use crate::{
    app::App,
    http::{
        door::Asked,
        problem::{self, Kind, NOT_FOUND, Problem},
    },
    words::Language,
};

/// The words of a kind in a language: the catalog's where it has them, else the document's.
fn words(language: Language, kind: &Kind) -> (String, String) {
    let say = |part: &str, fallback: &str| {
        let key = format!("problem-{}-{part}", kind.slug);
        let said = language.t(&key);
        if said == key { fallback.to_owned() } else { said.into_owned() }
    };
    (say("title", kind.title), say("lead", kind.help))
}

/// Whether the catalog has words for a kind: what programs alone meet is in English only.
fn is_written(kind: &Kind) -> bool {
    let key = format!("problem-{}-title", kind.slug);
    Language::En.t(&key) != key
}

/// The page of a problem.
#[must_use]
pub fn page(_app: &App, asked: &Asked, problem: &Problem) -> Option<Response> {
    let reader = Reader::of(Language::from_header(asked.accept_language.as_deref()), &asked.path);
    let (title, lead) = words(reader.language, problem.kind);
    let shell = Shell { reader: &reader, title: title.clone(), festival: None, private: true, refresh: None, script_refreshes: false };
    let detail = problem.detail.as_deref().filter(|_| problem.kind.status < 500).unwrap_or_default();
    let mut response = notice(
        &shell,
        &Notice {
            title,
            lead,
            ways: vec![("/".to_owned(), reader.t("to-start").into_owned())],
            small: format!("{detail} /problems/{} · {}", problem.kind.slug, asked.request_id).trim().to_owned(),
            etched: problem.kind.status.to_string(),
        },
    );
    response.set_status(StatusCode::from_u16(problem.kind.status).ok()?);
    if let Some(seconds) = problem.retry_after
        && let Ok(value) = seconds.to_string().parse()
    {
        response.headers_mut().insert("retry-after", value);
    }
    Some(response)
}

/// The page behind the `type` of a problem document.
#[handler]
pub async fn about(reader: Reader, Path(slug): Path<String>) -> PageResult {
    let kind = problem::ALL.iter().find(|k| k.slug == slug).ok_or_else(|| NOT_FOUND.problem())?;
    let (title, lead) = words(reader.language, kind);
    let shell = Shell { reader: &reader, title: title.clone(), festival: None, private: false, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        @let written = is_written(kind);
        main class="panel problem" id="content" {
            h1 lang=[(!written).then_some("en")] { (title) }
            p class="lead" lang=[(!written).then_some("en")] { (lead) }
            // What programs are told, where readers of pages are told something else.
            @if lead != kind.help { p lang="en" { (kind.title) ". " (kind.help) } }
            p class="small faded" { "/problems/" (kind.slug) " · " (kind.status) }
        }
    }))
}
