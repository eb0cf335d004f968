//! Emails once more: from the page of an order, and for whoever lost its link. Whether an address ordered anything is told to nobody but that address.

use maud::{Markup, html};
use poem::{
    Request, handler,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    festival::published,
    order::{open, shell},
};
use crate::{
    app::App,
    http::{
        cookies::same_origin,
        limit::{Client, Limited, Limits},
        problem::Problem,
    },
    id::OrderId,
    orders::{self, api::order_url},
    web::{
        art,
        layout::{Notice, PageResult, Reader, Shell, notice},
    },
};

/// The button on the page of an order.
pub(super) fn again(reader: &Reader, url: &str) -> Markup {
    html! { form method="post" action=(format!("{url}/emails")) data-once="" { p { button class="link" { (reader.t("again-button")) } (reader.t("gap")) span class="faded" { (reader.t("again-lead")) } } } }
}

/// Sends the email of an order once more.
#[handler]
pub async fn send(request: &Request, reader: Reader, app: Data<&App>, client: Data<&Client>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::SignIn, &client)?;
    let opened = open(&app, OrderId(id), &secret).await?;
    orders::send_again(&app, &[opened.order.order_id]).await.map_err(Problem::from)?;
    let url = order_url(&app, opened.order.order_id, opened.order.link_generation);
    let (title, lead) = (reader.t("again-sent").into_owned(), reader.t("again-sent-lead").into_owned());
    let words = Notice { title, lead, ways: vec![(url, reader.t("back").into_owned())], ..Notice::default() };
    Ok(notice(&shell(&reader, &opened, &reader.t("again-sent"), None), &words))
}

/// Where somebody types the address that they ordered with.
#[handler]
pub async fn lost(reader: Reader, app: Data<&App>, Path(slug): Path<String>) -> PageResult {
    let festival = published(&app, &slug).await?;
    let title = format!("{}: {}", reader.t("lost"), festival.terms.name.read(reader.language));
    let shell = Shell { reader: &reader, title, festival: Some(&festival), private: true, refresh: None, script_refreshes: false };
    Ok(shell.page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" { (art::broken(festival.terms.name.read(festival.terms.language))) }
            div class="panel problem" {
                h1 { (reader.t("lost")) }
                p class="lead" { (reader.t("lost-lead")) }
                form class="stack" method="post" action=(format!("/f/{slug}/lost")) data-once="" {
                    div class="field" { label for="email" { (reader.t("your-email")) } input id="email" name="email" type="email" autocomplete="email" required maxlength="254"; }
                    div { button class="button" { (reader.t("lost-send")) } }
                }
            }
        }
    }))
}

/// Sends the emails of the latest orders of an address once more. Every address is answered alike, after the same statements.
#[handler]
pub async fn find(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, client: Data<&Client>, Path(slug): Path<String>) -> PageResult {
    same_origin(request)?;
    app.the::<Limits>().count(Limited::SignIn, &client)?;
    let festival = published(&app, &slug).await?;
    let email = field(&fields(body).await?, "email").trim().to_owned();
    orders::send_lost(&app, festival.festival_id, &email).await.map_err(Problem::from)?;
    let title = format!("{}: {}", reader.t("lost"), festival.terms.name.read(reader.language));
    let shell = Shell { reader: &reader, title, festival: Some(&festival), private: true, refresh: None, script_refreshes: false };
    let (title, lead) = (reader.t("again-sent").into_owned(), reader.t("lost-sent-lead").into_owned());
    let ways = vec![(format!("/f/{slug}"), reader.t("transfer-festival").into_owned())];
    Ok(notice(&shell, &Notice { title, lead, ways, ..Notice::default() }))
}
