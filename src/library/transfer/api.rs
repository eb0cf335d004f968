//! The JSON face of transfers.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{Recipient, Transfer, TransferError, TransferRule};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals::api::visible,
    http::{
        problem::{CONFLICT, Changing, Created, NOT_FOUND, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{FestivalId, OrderId, TicketId, TransferId},
    library::api::Claiming,
    orders::api::readable,
    page::Page,
    secrets::Purpose,
    tickets::{
        Ticket,
        api::{ShownTicket, held, shown},
    },
    words::Language,
};

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::NotFound => NOT_FOUND.problem(),
            TransferError::Invalid(pointer, reason) => Self::invalid(vec![Wrong::new(pointer, reason)]),
            TransferError::Database(error) => error.into(),
            state => CONFLICT.because(state.to_string()),
        }
    }
}

/// Whom a ticket is sent to.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewTransfer {
    /// Their address.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// Their name, as you know it.
    #[oai(default, validator(max_length = 120))]
    pub name: String,
    /// The language of the email; that of the order where it is not said.
    pub language: Option<Language>,
}

/// Who takes a ticket that was sent.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewAcceptance {
    /// The name that is printed on it.
    #[oai(validator(min_length = 1, max_length = 120))]
    pub name: String,
}

/// A transfer, for whoever has its link.
async fn of_recipient(app: &App, secret: &str, id: TransferId) -> Result<Transfer, Problem> {
    let found = super::transfer(&app.pools.web, id).await?;
    found.filter(|_| app.secrets.is_link(Purpose::TransferLink, id.0, 0, secret)).ok_or_else(|| NOT_FOUND.problem())
}

/// A transfer, for whoever sent it and still has the link of its ticket.
async fn of_sender(app: &App, secret: &str, id: TransferId) -> Result<(Transfer, Ticket), Problem> {
    let transfer = super::transfer(&app.pools.web, id).await?.ok_or_else(|| NOT_FOUND.problem())?;
    let ticket = held(app, secret, transfer.ticket_id).await?;
    Ok((transfer, ticket))
}

async fn now(app: &App, transfers: Vec<Transfer>) -> Result<Vec<Transfer>, sqlx::Error> {
    let mut all = Vec::with_capacity(transfers.len());
    for transfer in transfers {
        all.push(super::as_it_is(app, transfer).await?);
    }
    Ok(all)
}

/// Tickets that are passed on.
pub struct TransfersApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Tickets")]
impl TransfersApi {
    /// Pass a ticket on
    ///
    /// By the secret of the ticket's own link (`gf_order_` and the last part of the link), or by that of its order while nobody took it. An email leads to
    /// it; until it is taken the ticket stays yours and valid. An album that nobody claimed goes with it. To the same address again it is the same transfer.
    #[oai(path = "/tickets/:ticket_id/transfers", method = "post", operation_id = "send_ticket")]
    async fn send_ticket(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        ticket_id: Path<TicketId>,
        body: Json<NewTransfer>,
    ) -> Result<Created<Transfer>, Or<Claiming>> {
        let ticket = held(&app, &secret, *ticket_id).await?;
        let NewTransfer { email, name, language } = body.0;
        let transfer = super::send(&app, &ticket, &Recipient { email, name, language }).await?;
        let location = format!("/v1/transfers/{}", transfer.transfer_id);
        Ok(Created { body: transfer, location })
    }

    /// List the transfers of a ticket
    ///
    /// The latest first; by the same secrets as passing it on.
    #[oai(path = "/tickets/:ticket_id/transfers", method = "get", operation_id = "list_transfers")]
    async fn list_transfers(&self, AsFan(secret): AsFan, app: Data<&App>, ticket_id: Path<TicketId>) -> Result<Json<Page<Transfer>>, Or<Usual>> {
        let ticket = held(&app, &secret, *ticket_id).await?;
        // What former holders did with it is theirs.
        let mut own = super::of_ticket(&app.pools.web, *ticket_id).await?;
        own.retain(|transfer| transfer.from_link_generation == ticket.link_generation);
        Ok(Json(Page { items: now(&app, own).await?, next: None }))
    }

    /// List the transfers of an order
    ///
    /// Of all its tickets, the latest first: for whoever ordered them, and for the promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id/transfers", method = "get", operation_id = "list_order_transfers")]
    async fn list_order_transfers(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<Transfer>>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        Ok(Json(Page { items: now(&app, super::of_order(&app.pools.web, *order_id).await?).await?, next: None }))
    }

    /// Look at a transfer
    ///
    /// By the secret of its own link, from the email.
    #[oai(path = "/transfers/:transfer_id", method = "get", operation_id = "show_transfer")]
    async fn show_transfer(&self, AsFan(secret): AsFan, app: Data<&App>, transfer_id: Path<TransferId>) -> Result<Json<Transfer>, Or<Usual>> {
        Ok(Json(super::as_it_is(&app, of_recipient(&app, &secret, *transfer_id).await?).await?))
    }

    /// Take a ticket that was sent to you
    ///
    /// By the secret of the transfer's link. The codes and links of before are dead in the same moment. The same name again gets the
    /// ticket again, another one is refused with 409.
    #[oai(path = "/transfers/:transfer_id/acceptances", method = "post", operation_id = "accept_transfer")]
    async fn accept_transfer(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        transfer_id: Path<TransferId>,
        body: Json<NewAcceptance>,
    ) -> Result<Json<ShownTicket>, Or<Claiming>> {
        of_recipient(&app, &secret, *transfer_id).await?;
        let ticket = super::accept(&app, *transfer_id, &body.name).await?;
        Ok(Json(shown(&app, ticket).await?))
    }

    /// Decline a ticket that was sent to you
    ///
    /// By the secret of the transfer's link: it stays with its sender, who hears of it. Declining again changes nothing.
    #[oai(path = "/transfers/:transfer_id/declines", method = "post", operation_id = "decline_transfer")]
    async fn decline_transfer(&self, AsFan(secret): AsFan, app: Data<&App>, transfer_id: Path<TransferId>) -> Result<Json<Transfer>, Or<Claiming>> {
        of_recipient(&app, &secret, *transfer_id).await?;
        Ok(Json(super::decline(&app, *transfer_id).await?))
    }

    /// Take a ticket back that you sent
    ///
    /// By the secrets of the ticket, as long as nobody took it (409). Asking again changes nothing.
    #[oai(path = "/transfers/:transfer_id/recalls", method = "post", operation_id = "recall_transfer")]
    async fn recall_transfer(&self, AsFan(secret): AsFan, app: Data<&App>, transfer_id: Path<TransferId>) -> Result<Json<Transfer>, Or<Claiming>> {
        of_sender(&app, &secret, *transfer_id).await?;
        Ok(Json(super::recall(&app, *transfer_id).await?))
    }

    /// Look at the transfer rule of a festival
    ///
    /// Whether tickets may be passed on, and until when.
    #[oai(path = "/festivals/:festival_id/transfer-rule", method = "get", operation_id = "show_transfer_rule")]
    async fn show_transfer_rule(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<TransferRule>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(super::rule(&mut conn, *festival_id).await?))
    }

    /// Set the transfer rule of a festival
    ///
    /// What is on its way can be taken while the new rule allows it. Setting it again changes nothing. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/transfer-rule", method = "put", operation_id = "set_transfer_rule")]
    async fn set_transfer_rule(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<TransferRule>,
    ) -> Result<Json<TransferRule>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        super::set_rule(&app, &staff, *festival_id, *body).await?;
        Ok(body)
    }
}
