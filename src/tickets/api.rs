//! The JSON face of tickets and their pictures.

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Path,
    payload::{Binary, Json, PlainText},
};

use super::{
    KeyReissue, ReissueError, Ticket,
    picture::{self, Surface},
};
use crate::{
    accounts::{
        Scope, Staff,
        guard::{AsStaff, Reader},
    },
    app::App,
    festivals::{self, api::of_staff},
    http::{
        problem::{CONFLICT, Changing, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, OrderId, TicketId},
    orders,
    page::Page,
    secrets::Purpose,
};

/// A ticket with its code: for whoever may show it.
#[derive(Debug, Object)]
pub struct ShownTicket {
    /// The ticket.
    #[oai(flatten)]
    pub ticket: Ticket,
    /// The text of its QR picture.
    pub ticket_code: String,
    /// The short code for broken screens.
    pub short_code: String,
    /// The holder's own page.
    pub url: String,
}

/// Why a promoter changes a ticket.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct TicketChange {
    /// A sentence for whoever asks later.
    #[oai(default, validator(max_length = 500))]
    pub note: String,
}

impl From<ReissueError> for Problem {
    fn from(error: ReissueError) -> Self {
        match error {
            ReissueError::NotFound => NOT_FOUND.problem(),
            ReissueError::Ended(_) => CONFLICT.because(error.to_string()),
            ReissueError::Database(error) => error.into(),
        }
    }
}

/// A QR picture as SVG.
#[derive(ApiResponse)]
pub enum SvgPicture {
    /// The picture.
    #[oai(status = 200, content_type = "image/svg+xml")]
    Svg(PlainText<String>, #[oai(header = "Cache-Control")] String),
}

/// A QR picture as PNG.
#[derive(ApiResponse)]
pub enum PngPicture {
    /// The picture.
    #[oai(status = 200, content_type = "image/png")]
    Png(Binary<Vec<u8>>, #[oai(header = "Cache-Control")] String),
}

/// A ticket with its code.
///
/// # Errors
/// What the database said; a key that cannot be opened.
pub async fn shown(app: &App, ticket: Ticket) -> Result<ShownTicket, Problem> {
    let ticket_code = ticket.code_text(app).await?.ok_or_else(|| Problem::internal("the signing key cannot be opened"))?;
    Ok(ShownTicket { short_code: ticket.short_code(app), url: ticket.url(app), ticket_code, ticket })
}

/// A ticket that a reader may see: by the secret of its order or its own, or by its promoter.
async fn readable(app: &App, who: &Reader, id: TicketId) -> Result<Ticket, Problem> {
    if let Reader::Staff(staff) = who {
        staff.may(Scope::OrdersRead)?;
    }
    let ticket = super::ticket(&app.pools.web, id).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let allowed = match who {
        Reader::Fan(secret) => {
            app.secrets.is_link(Purpose::HolderLink, id.0, ticket.link_generation, secret)
                || (orders::api::of_fan(app, secret, ticket.order_id).await.is_ok() && !super::is_passed_on(&app.pools.web, id).await?)
        }
        Reader::Staff(staff) => owns(app, staff, id.festival()).await?,
    };
    if allowed { Ok(ticket) } else { Err(NOT_FOUND.problem()) }
}

async fn owns(app: &App, staff: &Staff, festival: crate::id::FestivalId) -> Result<bool, Problem> {
    let found = festivals::one(&app.pools.web, festival).await?;
    Ok(found.is_some_and(|f| f.promoter_id == staff.promoter) && staff.reaches(festival))
}

/// A ticket that a fan holds: by its own secret, or by that of its order while nobody took it.
///
/// # Errors
/// 404 where there is none.
pub async fn held(app: &App, secret: &str, id: TicketId) -> Result<Ticket, Problem> {
    let ticket = super::ticket(&app.pools.web, id).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let own = app.secrets.is_link(Purpose::HolderLink, id.0, ticket.link_generation, secret);
    let is_held = own || (ticket.claimed_at.is_none() && orders::api::of_fan(app, secret, ticket.order_id).await.is_ok());
    if is_held { Ok(ticket) } else { Err(NOT_FOUND.problem()) }
}

/// A ticket that a fan may show. A promoter sees tickets, never a code that opens a gate.
async fn own(app: &App, who: &Reader, id: TicketId) -> Result<Ticket, Problem> {
    match who {
        Reader::Fan(_) => readable(app, who, id).await,
        Reader::Staff(_) => Err(NOT_FOUND.problem()),
    }
}

/// What staff shall know of a ticket.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct TicketNote {
    /// The note; absent for none.
    #[oai(validator(max_length = 200))]
    pub note: Option<String>,
}

/// Tickets.
pub struct TicketsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Tickets")]
impl TicketsApi {
    /// List the tickets of an order
    ///
    /// With their codes, for the fan; without codes nobody enters, so a promoter uses the list of the festival.
    #[oai(path = "/orders/:order_id/tickets", method = "get", operation_id = "list_order_tickets")]
    async fn list_order_tickets(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<ShownTicket>>, Or<Usual>> {
        let Reader::Fan(secret) = &who else { return Err(NOT_FOUND.problem().into()) };
        orders::api::of_fan(&app, secret, *order_id).await?;
        let mut items = Vec::new();
        // What was passed on is shown to who has it now.
        let passed_on = super::passed_on(&app.pools.web, *order_id).await?;
        for ticket in super::of_order(&app.pools.web, *order_id).await?.into_iter().filter(|ticket| !passed_on.contains_key(&ticket.ticket_id)) {
            items.push(shown(&app, ticket).await?);
        }
        Ok(Json(Page { items, next: None }))
    }

    /// Look at a ticket
    ///
    /// By the secret of its order or its own, or by its promoter with the scope `orders:read`. It carries no code; the pictures below it do.
    #[oai(path = "/tickets/:ticket_id", method = "get", operation_id = "show_ticket")]
    async fn show_ticket(&self, who: Reader, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<Json<Ticket>, Or<Usual>> {
        Ok(Json(readable(&app, &who, *ticket_id).await?))
    }

    /// Re-issue a ticket
    ///
    /// Its code is dead from now on, and its holder's page shows the new one. A ticket that was voided is valid again. Scope `tickets:write`.
    #[oai(path = "/tickets/:ticket_id/reissues", method = "post", operation_id = "reissue_ticket")]
    async fn reissue_ticket(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<TicketChange>,
    ) -> Result<Json<Ticket>, Or<Changing>> {
        staff.may(Scope::TicketsWrite)?;
        Ok(Json(super::reissue(&app, &staff, *ticket_id, &body.note).await?))
    }

    /// Void a ticket
    ///
    /// It opens no gate from now on; no money goes back by this. Re-issue it to undo that. Scope `tickets:write`.
    #[oai(path = "/tickets/:ticket_id/voidings", method = "post", operation_id = "void_ticket")]
    async fn void_ticket(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<TicketChange>,
    ) -> Result<Json<Ticket>, Or<Changing>> {
        staff.may(Scope::TicketsWrite)?;
        Ok(Json(super::void(&app, &staff, *ticket_id, &body.note).await?))
    }

    /// Write the note of a ticket
    ///
    /// What staff shall know when a pass comes to a gate. Unless its pass asks for another check, its entry is a check from now on: the gate shows the note,
    /// and somebody says that they have read it. A gate without network knows of it from its next list on. Add-ons are handed out without it. Without a text
    /// the note is removed. Writing it again changes nothing. No fan reads it, and what gates carry of it opens by the code alone. Scope `tickets:write`.
    #[oai(path = "/tickets/:ticket_id/note", method = "put", operation_id = "set_ticket_note")]
    async fn set_ticket_note(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<TicketNote>,
    ) -> Result<Json<TicketNote>, Or<Changing>> {
        staff.may(Scope::TicketsWrite)?;
        let note = body.0.note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
        super::set_note(&app, &staff, *ticket_id, note.as_deref()).await?;
        Ok(Json(TicketNote { note }))
    }

    /// Re-issue what a key signed
    ///
    /// For a key that leaked: every valid ticket that it signed gets another code by the key of now, one after the other; holders' pages show it, phones that
    /// tickets are bound to hear of it there, and emails say so. The key that signs now is rotated first. Asking again while it goes on changes nothing.
    /// Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/signing-keys/:key_id/reissues", method = "post", operation_id = "reissue_signing_key")]
    async fn reissue_signing_key(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        key_id: Path<u8>,
    ) -> Result<Json<KeyReissue>, Or<Changing>> {
        let tx = of_staff(&app, &staff, *festival_id, Scope::FestivalsWrite).await?;
        Ok(Json(super::reissue_all(&app, tx, &staff, *festival_id, *key_id).await?))
    }

    /// Look how far the re-issuing of what a key signed has come
    ///
    /// Scope `festivals:write`.
    #[oai(path = "/festivals/:festival_id/signing-keys/:key_id/reissues", method = "get", operation_id = "show_key_reissue")]
    async fn show_key_reissue(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        key_id: Path<u8>,
    ) -> Result<Json<KeyReissue>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::FestivalsWrite).await?;
        Ok(Json(super::progress(&mut tx, *festival_id, *key_id).await?))
    }

    /// The code of a ticket as SVG
    ///
    /// QR version 6, level M, for screens. For the fan alone.
    #[oai(path = "/tickets/:ticket_id/code.svg", method = "get", operation_id = "show_ticket_svg")]
    async fn show_ticket_svg(&self, who: Reader, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<SvgPicture, Or<Usual>> {
        let ticket = shown(&app, own(&app, &who, *ticket_id).await?).await?;
        let svg = picture::svg(&ticket.ticket_code, Surface::Screen).ok_or_else(|| Problem::internal("the code does not fit a QR picture"))?;
        Ok(SvgPicture::Svg(PlainText(svg), "no-store".to_owned()))
    }

    /// The code of a ticket as PNG
    ///
    /// QR version 8, level Q, for print. For the fan alone.
    #[oai(path = "/tickets/:ticket_id/code.png", method = "get", operation_id = "show_ticket_png")]
    async fn show_ticket_png(&self, who: Reader, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<PngPicture, Or<Usual>> {
        let ticket = shown(&app, own(&app, &who, *ticket_id).await?).await?;
        let png = picture::png(&ticket.ticket_code, Surface::Print, 8).ok_or_else(|| Problem::internal("the code does not fit a QR picture"))?;
        Ok(PngPicture::Png(Binary(png), "no-store".to_owned()))
    }
}
