//! The JSON face of tickets that are handed back.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{HandBack, HandBackRule};
use crate::{
    accounts::{
        Scope,
        guard::{Anyone, AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals::api::visible,
    http::{
        problem::{Changing, Or, Usual},
        tags::Chapter,
    },
    id::{FestivalId, HandBackId, OrderId, TicketId},
    orders::api::{of_fan, readable},
    page::Page,
    refusals,
};

refusals! {
    /// What handing back refuses.
    HandingBack: NOT_FOUND, CONFLICT, INVALID;
}

/// Tickets to be handed back.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewHandBacks {
    /// The tickets.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub ticket_ids: Vec<TicketId>,
}

/// Tickets that are handed back.
pub struct HandBacksApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Tickets")]
impl HandBacksApi {
    /// Hand tickets back to the pool
    ///
    /// At face value, by the secret of their order: they stay valid until somebody from the waiting list is invited to them, open nothing while that is
    /// undecided, and their money goes back when they were paid. What is in the pool already stays.
    #[oai(path = "/orders/:order_id/hand-backs", method = "post", operation_id = "hand_back_tickets")]
    async fn hand_back_tickets(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        body: Json<NewHandBacks>,
    ) -> Result<Json<Page<HandBack>>, Or<HandingBack>> {
        of_fan(&app, &secret, *order_id).await?;
        Ok(Json(Page { items: super::hand_back(&app, *order_id, &secret, &body.ticket_ids).await?, next: None }))
    }

    /// List what an order handed back
    ///
    /// Oldest first: by the secret of the order, or by its promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id/hand-backs", method = "get", operation_id = "list_hand_backs")]
    async fn list_hand_backs(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<HandBack>>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        Ok(Json(Page { items: super::of_order(&app.pools.web, *order_id).await?, next: None }))
    }

    /// Take a ticket out of the pool
    ///
    /// By the secret of its order, while nobody is invited to it (409 otherwise). Doing it again changes nothing.
    #[oai(path = "/orders/:order_id/hand-backs/:hand_back_id/withdrawals", method = "post", operation_id = "withdraw_hand_back")]
    async fn withdraw_hand_back(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        hand_back_id: Path<HandBackId>,
    ) -> Result<Json<HandBack>, Or<HandingBack>> {
        of_fan(&app, &secret, *order_id).await?;
        Ok(Json(super::withdraw(&app, *order_id, &secret, *hand_back_id).await?))
    }

    /// Look at the hand-back rule of a festival
    ///
    /// Whether tickets may be handed back, and until when.
    #[oai(path = "/festivals/:festival_id/hand-back-rule", method = "get", operation_id = "show_hand_back_rule")]
    async fn show_hand_back_rule(&self, who: Anyone, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<HandBackRule>, Or<Usual>> {
        visible(&app, *festival_id, who.0.as_ref()).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(super::rule_of(&mut conn, *festival_id).await?))
    }

    /// Set the hand-back rule of a festival
    ///
    /// What is in the pool stays there until the new rule ends it. Setting it again changes nothing. Scope `offers:write`.
    #[oai(path = "/festivals/:festival_id/hand-back-rule", method = "put", operation_id = "set_hand_back_rule")]
    async fn set_hand_back_rule(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<HandBackRule>,
    ) -> Result<Json<HandBackRule>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, *festival_id)?;
        super::set_rule(&app, &staff, *festival_id, *body).await?;
        Ok(body)
    }
}
