//! The mailbox of the demo: what the house would have mailed, on the same address.

use maud::html;
use poem::{
    Response, handler,
    web::{Data, Path},
};

use super::layout::{PageResult, Reader, Shell, name};
use crate::{app::App, http::problem::NOT_FOUND};

/// The emails, newest first.
#[handler]
pub async fn list(reader: Reader, app: Data<&App>) -> PageResult {
    if !app.settings.demo {
        return Err(NOT_FOUND.problem().into());
    }
    let kept = app.mailer.kept();
    let shell = Shell { reader: &reader, title: reader.t("mailbox").into_owned(), festival: None, private: true, refresh: Some(5), script_refreshes: false };
    Ok(shell.page(&html! {
        main class="panel" id="content" {
            header class="masthead" { h1 { (reader.t("mailbox")) } p { (reader.t("mailbox-lead")) } }
            @if kept.is_empty() { p class="faded" { (reader.t("mailbox-empty")) } }
            ol class="tracks" { @for kept in &kept { li { span class="no" { (kept.number) } span { a href=(format!("/mailbox/{}", kept.number)) { b { (name(&kept.subject)) } } small { (kept.recipient) } } } } }
        }
    }))
}

/// An email as its reader sees it: its own styles are allowed, nothing else is.
#[handler]
pub async fn email(app: Data<&App>, Path(number): Path<usize>) -> PageResult {
    let found = app.mailer.kept().into_iter().find(|e| app.settings.demo && e.number == number).ok_or_else(|| NOT_FOUND.problem())?;
    Ok(Response::builder()
        .content_type("text/html; charset=utf-8")
        .header("cache-control", "no-store")
        .header(
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'",
        )
        .body(found.html))
}
