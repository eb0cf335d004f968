//! Passing a ticket on: the form on its page, what whoever it was sent to sees, and what is left for whoever passed it on.

use maud::{Markup, html};
use poem::{
    Request, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    order::albums_of,
    ticket,
};
use crate::{
    app::App,
    festivals::{self, Festival},
    http::{
        cookies::same_origin,
        problem::{NOT_FOUND, Problem},
    },
    id::{TicketId, TransferId},
    library::{
        self,
        transfer::{self, Ends, Recipient, Transfer, TransferError, TransferStatus},
    },
    offers,
    secrets::Purpose,
    tickets::{self, Ticket, TicketStatus},
    web::{
        art,
        layout::{Notice, PageResult, Reader, Shell, notice, see_other, text},
    },
    words::Language,
};

/// What its page says of passing a ticket on.
pub(super) struct Passing {
    /// The form, or what is on its way.
    pub(super) markup: Markup,
    /// What changes with it: a page that was kept is made anew then.
    pub(super) version: String,
}

/// The form that passes a ticket on, or what is on its way.
pub(super) async fn passing(reader: &Reader, app: &App, festival: &Festival, ticket: &Ticket) -> Result<Passing, Problem> {
    let open = transfer::of_ticket(&app.pools.web, ticket.ticket_id).await?.into_iter().find(|t| t.status == TransferStatus::Sent);
    let open = match open {
        Some(open) => Some(transfer::as_it_is(app, open).await?).filter(|t| t.status == TransferStatus::Sent),
        None => None,
    };
    let is_used = tickets::has_entered(&mut *app.pools.web.acquire().await?, ticket.ticket_id).await?;
    let albums = library::of_ticket(&app.pools.web, ticket).await?;
    let ends = transfer::ends_at(app, ticket).await?;
    let url = ticket.url(app);
    let at = |at| reader.language.at(at, &festival.terms.time_zone).long();
    let can = !is_used && ticket.status == TicketStatus::Valid && ends.is_open(app.clock.now());
    let markup = html! {
        @if let Some(open) = &open {
            section class="stack" id="pass-on" aria-labelledby="passing" {
                header class="head" { h2 id="passing" { (reader.t("transfer-sent")) } p { (reader.f("transfer-sent-lead", [("moment", at(open.sent_at))])) } }
                p class="notice" { @if !open.to_name.is_empty() { b { (open.to_name) } br; } (open.to_email) }
                form method="post" action=(format!("{url}/transfers/{}/recalls", open.transfer_id)) { div { button class="button plain" { (reader.t("transfer-recall")) } } }
            }
        } @else if can {
            form class="stack" id="pass-on" method="post" action=(format!("{url}/transfers")) data-once="" {
                header class="head" { h2 { (reader.t("transfer")) } p { (reader.t("transfer-lead")) @if !albums.is_empty() { (reader.t("gap")) (reader.t(if ticket.claimed_at.is_some() { "transfer-album-stays" } else { "transfer-album-goes" })) } } }
                div class="field" { label for="transfer-email" { (reader.t("transfer-email")) } input id="transfer-email" name="email" type="email" required maxlength="254" autocomplete="off"; }
                div class="field" { label for="transfer-name" { (reader.t("transfer-name")) } input id="transfer-name" name="name" maxlength="120" autocomplete="off"; }
                @if let Ends::At(end) = ends { p class="small faded" { (reader.f("transfer-until", [("moment", at(end))])) } }
                div { button class="button plain" { (reader.t("transfer-send")) } }
            }
        }
    };
    let version = open.map(|open| open.transfer_id.to_string()).unwrap_or_default();
    Ok(Passing { markup, version: format!("{version} {can}") })
}

/// Sends a ticket from its page.
#[handler]
pub async fn send(request: &Request, body: poem::Body, reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    let ticket = ticket::open(&app, TicketId(id), &secret).await?;
    let fields = fields(body).await?;
    let to = Recipient { email: field(&fields, "email").trim().to_owned(), name: field(&fields, "name").to_owned(), language: Some(reader.language) };
    match transfer::send(&app, &ticket, &to).await {
        // Whatever else it is, the page says it.
        Ok(_) | Err(TransferError::Sent) => Ok(see_other(&format!("{}#pass-on", ticket.url(&app)))),
        Err(TransferError::Database(error)) => Err(Problem::from(error).into()),
        Err(error) => {
            let key = match error {
                TransferError::Invalid(..) => "invalid",
                TransferError::Used => "used",
                TransferError::Over => "over",
                TransferError::TooOften => "often",
                _ => "valid",
            };
            let festival = festivals::one(&app.pools.web, ticket.ticket_id.festival()).await.map_err(Problem::from)?.ok_or_else(|| NOT_FOUND.problem())?;
            let shell = Shell {
                reader: &reader,
                title: reader.t("transfer-not").into_owned(),
                festival: Some(&festival),
                private: true,
                refresh: None,
                script_refreshes: false,
            };
            let (title, lead) = (reader.t("transfer-not").into_owned(), reader.t(&format!("transfer-not-{key}")).into_owned());
            let ways = vec![(ticket.url(&app), reader.t("transfer-back").into_owned())];
            let mut said = notice(&shell, &Notice { title, lead, ways, small: String::new(), etched: String::new() });
            said.set_status(if key == "invalid" { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CONFLICT });
            Ok(said)
        }
    }
}

/// Takes a ticket back from its page.
#[handler]
pub async fn take_back(request: &Request, app: Data<&App>, Path((id, secret, transfer)): Path<(uuid::Uuid, String, TransferId)>) -> PageResult {
    same_origin(request)?;
    let ticket = ticket::open(&app, TicketId(id), &secret).await?;
    let found = transfer::transfer(&app.pools.web, transfer).await.map_err(Problem::from)?;
    found.filter(|found| found.ticket_id == ticket.ticket_id).ok_or_else(|| NOT_FOUND.problem())?;
    match transfer::recall(&app, transfer).await {
        // Where it was taken in the same moment, the link leads to the page that says so.
        Ok(_) | Err(TransferError::Ended(_)) => Ok(see_other(&ticket.url(&app))),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// A transfer with what its page shows.
struct Opened {
    transfer: Transfer,
    ticket: Ticket,
    festival: Festival,
}

/// Opens a transfer by its link.
async fn open(app: &App, id: TransferId, secret: &str) -> Result<Opened, Problem> {
    let transfer = transfer::transfer(&app.pools.web, id).await?.filter(|_| app.secrets.is_link(Purpose::TransferLink, id.0, 0, secret));
    let transfer = transfer::as_it_is(app, transfer.ok_or_else(|| NOT_FOUND.problem())?).await?;
    let ticket = tickets::ticket(&app.pools.web, transfer.ticket_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let festival = festivals::one(&app.pools.web, id.festival()).await?.ok_or_else(|| NOT_FOUND.problem())?;
    Ok(Opened { transfer, ticket, festival })
}

/// What a ticket is called.
async fn called(app: &App, ticket: &Ticket, language: Language) -> Result<Markup, Problem> {
    let festival = ticket.ticket_id.festival();
    let passes = offers::passes(&app.pools.web, festival).await?;
    let add_ons = offers::add_ons(&app.pools.web, festival).await?;
    let pass = passes.iter().find(|p| p.pass_number == ticket.pass_number).map(|p| &p.terms.name);
    let name = pass.or_else(|| add_ons.iter().find(|a| a.add_on_number == ticket.pass_number).map(|a| &a.name));
    Ok(html! { @if let Some(name) = name { (text(name, language)) } })
}

/// Who sent a ticket, as far as it is known.
fn sender(reader: &Reader, transfer: &Transfer) -> String {
    if transfer.from_name.is_empty() { reader.t("somebody").into_owned() } else { transfer.from_name.clone() }
}

/// The page of whoever a ticket was sent to.
#[handler]
pub async fn page(reader: Reader, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    let opened = open(&app, TransferId(id), &secret).await?;
    Ok(show(&reader, &app, &opened, &secret).await?)
}

async fn show(reader: &Reader, app: &App, Opened { transfer, ticket, festival }: &Opened, secret: &str) -> Result<poem::Response, Problem> {
    let shell = Shell {
        reader,
        title: format!("{}: {}", reader.t("transfer-yours"), festival.terms.name.read(reader.language)),
        festival: Some(festival),
        private: true,
        refresh: None,
        script_refreshes: false,
    };
    let is_open =
        transfer.status == TransferStatus::Sent && ticket.status == TicketStatus::Valid && transfer::ends_at(app, ticket).await?.is_open(app.clock.now());
    if !is_open {
        let is_theirs = transfer.status == TransferStatus::Accepted && ticket.link_generation == transfer.from_link_generation + 1;
        let key = match transfer.status {
            TransferStatus::Sent => "over",
            TransferStatus::Accepted if is_theirs => "yours",
            ended => ended.name(),
        };
        let ways = if is_theirs {
            vec![(ticket.url(app), reader.t("transfer-open").into_owned())]
        } else {
            vec![(format!("/f/{}", festival.terms.slug), reader.t("transfer-festival").into_owned())]
        };
        return Ok(notice(
            &shell,
            &Notice {
                title: reader.t(&format!("transfer-is-{key}")).into_owned(),
                lead: reader.f(&format!("transfer-is-{key}-lead"), [("name", sender(reader, transfer))]).into_owned(),
                ways,
                small: String::new(),
                etched: String::new(),
            },
        ));
    }
    let albums = if ticket.claimed_at.is_some() { Vec::new() } else { library::of_ticket(&app.pools.web, ticket).await? };
    let url = format!("/x/{}/{secret}", transfer.transfer_id);
    let what = called(app, ticket, reader.language).await?;
    Ok(shell.page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" aria-labelledby="sent" {
                p class="faded" { (reader.f("transfer-from", [("name", sender(reader, transfer))])) }
                h1 id="sent" { (what) }
                p class="lead" { (text(&festival.terms.name, reader.language)) br; (text(&festival.terms.place, reader.language)) }
                div class="only-wide" { (art::poster(festival.terms.name.read(festival.terms.language))) }
            }
            div class="panel stack" {
                p { (reader.t("transfer-take-lead")) }
                @for album in &albums { p class="notice" { (reader.f("transfer-with-album", [("title", album.title.clone())])) } }
                form class="stack" method="post" action=(format!("{url}/acceptances")) data-once="" {
                    div class="field" { label for="name" { (reader.t("your-name")) } input id="name" name="name" value=(transfer.to_name) required maxlength="120" autocomplete="name"; }
                    div { button class="button broad" { (reader.t("transfer-take")) } }
                }
                form method="post" action=(format!("{url}/declines")) { p { button class="link" { (reader.t("transfer-decline")) } (reader.t("gap")) span class="faded" { (reader.f("transfer-decline-lead", [("name", sender(reader, transfer))])) } } }
            }
        }
    }))
}

/// Takes a ticket that was sent.
#[handler]
pub async fn accept(request: &Request, body: poem::Body, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    open(&app, TransferId(id), &secret).await?;
    match transfer::accept(&app, TransferId(id), field(&fields(body).await?, "name")).await {
        Ok(ticket) => Ok(see_other(&ticket.url(&app))),
        // Its page says what became of it, and asks for a name.
        Err(
            TransferError::Ended(_)
            | TransferError::NotValid
            | TransferError::NotFound
            | TransferError::Over
            | TransferError::Used
            | TransferError::Invalid(..),
        ) => Ok(see_other(&format!("/x/{id}/{secret}"))),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Declines a ticket that was sent.
#[handler]
pub async fn decline(request: &Request, app: Data<&App>, Path((id, secret)): Path<(uuid::Uuid, String)>) -> PageResult {
    same_origin(request)?;
    open(&app, TransferId(id), &secret).await?;
    match transfer::decline(&app, TransferId(id)).await {
        Ok(_) | Err(TransferError::Ended(_)) => Ok(see_other(&format!("/x/{id}/{secret}"))),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// The page of whoever passed a ticket on: it is somebody else's, and the album that they claimed is theirs. `None` where a secret never opened it.
pub(super) async fn passed(reader: &Reader, app: &App, id: TicketId, secret: &str) -> Result<Option<poem::Response>, Problem> {
    let all = transfer::of_ticket(&app.pools.web, id).await?;
    let accepted: Vec<&Transfer> = all.iter().filter(|t| t.status == TransferStatus::Accepted).collect();
    let Some(mine) = accepted.iter().find(|t| app.secrets.is_link(Purpose::HolderLink, id.0, t.from_link_generation, secret)) else { return Ok(None) };
    let is_first = accepted.iter().all(|t| t.from_link_generation >= mine.from_link_generation);
    let Some(until) = mine.ended_at else { return Ok(None) };
    let festival = festivals::one(&app.pools.web, id.festival()).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let albums = library::of_former(&app.pools.web, id, mine.from_link_generation, is_first).await?;
    let music = albums_of(reader, app, &albums).await?;
    let shell = Shell {
        reader,
        title: format!("{}: {}", reader.t("transfer-gone"), festival.terms.name.read(reader.language)),
        festival: Some(&festival),
        private: true,
        refresh: None,
        script_refreshes: false,
    };
    let mut printed = shell.page(&html! {
        main class="gatefold" id="content" data-version="passed" {
            section class="panel cover flood" { (art::broken(festival.terms.name.read(festival.terms.language))) }
            div class="panel problem stack" {
                h1 { (reader.t("transfer-gone")) }
                p class="lead" { (reader.f("transfer-gone-lead", [("name", mine.to_name.clone()), ("moment", reader.language.at(until, &festival.terms.time_zone).long())])) }
                (music)
            }
        }
    });
    // A page that a phone keeps of this address shows a code that is dead: this one takes its place.
    printed.headers_mut().insert("x-ticket", poem::http::HeaderValue::from_static("1"));
    Ok(Some(printed))
}
