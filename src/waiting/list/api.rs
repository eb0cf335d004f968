//! The JSON face of waiting lists.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{JoinError, Joining, Listing, Wait, WaitStatus};
use crate::{
    accounts::{
        Scope,
        guard::{AsFan, AsStaff, reach},
    },
    app::App,
    http::{
        limit::{Client, Limited, Limits},
        problem::{CONFLICT, Changing, NOT_FOUND, Or, Problem, Usual, Wrong},
        tags::Chapter,
    },
    id::{OfferId, OrderId, WaitId},
    refusals,
    secrets::Purpose,
    words::Language,
};

refusals! {
    /// What joining a list refuses.
    JoiningList: NOT_FOUND, CONFLICT, INVALID;
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::NotFound => NOT_FOUND.problem(),
            JoinError::Invalid(at, why) => Self::invalid(vec![Wrong::new(at, why)]),
            JoinError::OnSale | JoinError::Closed | JoinError::Full => CONFLICT.because(error.to_string()),
            JoinError::Database(error) => error.into(),
        }
    }
}

/// Who wants to wait for an offer, and for how many.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewWait {
    /// Where the invitation goes.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// How many; invited is who came first of those whose quantity is free.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub quantity: i32,
    /// Their name, where they give one.
    #[oai(default, validator(max_length = 120))]
    pub name: String,
    /// The language of the emails; English where it is not said.
    #[oai(default)]
    pub language: Language,
}

/// What somebody wants to wait for: an email says the rest.
#[derive(Debug, Object)]
pub struct WaitingFor {
    /// The offer.
    pub offer_id: OfferId,
    /// How many.
    pub quantity: i32,
}

/// A wait on a waiting list.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ShownWait {
    /// Its id.
    pub wait_id: WaitId,
    /// The offer.
    pub offer_id: OfferId,
    /// How many.
    pub quantity: i32,
    /// Its state.
    pub status: WaitStatus,
    /// Since when.
    pub joined_at: DateTime<Utc>,
    /// How many are before it, counted to a thousand, while it waits.
    pub before: Option<i64>,
    /// The order that is held for it.
    pub order_id: Option<OrderId>,
}

/// What a promoter says of a waiting list.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct WaitingListTerms {
    /// Whether people may join.
    pub open: bool,
    /// How long an invitation lasts, in hours; never longer than the sale.
    #[oai(validator(minimum(value = "1"), maximum(value = "168")))]
    pub invitation_hours: i32,
}

/// Reads a wait by its link; a wrong one and a missing one are the same.
///
/// # Errors
/// A problem `not-found`.
pub async fn linked(app: &App, id: WaitId, secret: &str) -> Result<Wait, Problem> {
    let found = super::wait(&app.pools.web, id).await?;
    found.filter(|_| app.secrets.is_link(Purpose::WaitingListLink, id.0, 0, secret)).ok_or_else(|| NOT_FOUND.problem())
}

async fn shown(app: &App, wait: Wait) -> Result<ShownWait, Problem> {
    let before = if wait.status == WaitStatus::Waiting { Some(super::before(&app.pools.web, &wait).await?) } else { None };
    let Wait { wait_id, offer_id, quantity, status, joined_at, order_id, .. } = wait;
    Ok(ShownWait { wait_id, offer_id, quantity, status, joined_at, before, order_id })
}

/// Waiting lists.
pub struct WaitingListApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Offers")]
impl WaitingListApi {
    /// Wait for an offer that is sold out
    ///
    /// An email leads to the wait. When units become free, whoever came first of those whose quantity is free gets an order that is held for them. An
    /// address has one wait in a line; joining again changes nothing and is answered alike. 409 when it can be had, or its list is closed.
    #[oai(path = "/offers/:offer_id/waits", method = "post", operation_id = "join_waiting_list")]
    async fn join_waiting_list(
        &self,
        app: Data<&App>,
        client: Data<&Client>,
        offer_id: Path<OfferId>,
        body: Json<NewWait>,
    ) -> Result<Json<WaitingFor>, Or<JoiningList>> {
        app.the::<Limits>().count(Limited::SignIn, &client)?;
        let NewWait { email, quantity, name, language } = body.0;
        super::join(&app, *offer_id, &Joining { email: email.trim().to_owned(), name: name.trim().to_owned(), language, quantity }).await?;
        Ok(Json(WaitingFor { offer_id: *offer_id, quantity }))
    }

    /// Look at a wait on a waiting list
    ///
    /// By the secret of its own link, from the email.
    #[oai(path = "/waits/:wait_id", method = "get", operation_id = "show_wait")]
    async fn show_wait(&self, AsFan(secret): AsFan, app: Data<&App>, wait_id: Path<WaitId>) -> Result<Json<ShownWait>, Or<Usual>> {
        let wait = linked(&app, *wait_id, &secret).await?;
        Ok(Json(shown(&app, wait).await?))
    }

    /// Give a wait on a waiting list up
    ///
    /// By the secret of its own link. Giving up again changes nothing; whoever was invited cancels the order instead.
    #[oai(path = "/waits/:wait_id/departures", method = "post", operation_id = "leave_waiting_list")]
    async fn leave_waiting_list(&self, AsFan(secret): AsFan, app: Data<&App>, wait_id: Path<WaitId>) -> Result<Json<ShownWait>, Or<Usual>> {
        let wait = linked(&app, *wait_id, &secret).await?;
        super::leave(&app, &wait).await?;
        let wait = linked(&app, *wait_id, &secret).await?;
        Ok(Json(shown(&app, wait).await?))
    }

    /// Look at the waiting list of an offer
    ///
    /// How many wait for how much, and what became of invitations. Scope `catalog:read`.
    #[oai(path = "/offers/:offer_id/waiting-list", method = "get", operation_id = "show_waiting_list")]
    async fn show_waiting_list(&self, AsStaff(staff): AsStaff, app: Data<&App>, offer_id: Path<OfferId>) -> Result<Json<Listing>, Or<Usual>> {
        staff.may(Scope::CatalogRead)?;
        reach(&staff, offer_id.festival())?;
        Ok(Json(super::listing(&app, &staff, *offer_id).await?))
    }

    /// Open or close the waiting list of an offer
    ///
    /// Who waits stays; what was said to whoever is invited holds. Setting it again changes nothing. Scope `offers:write`.
    #[oai(path = "/offers/:offer_id/waiting-list", method = "put", operation_id = "set_waiting_list")]
    async fn set_waiting_list(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        offer_id: Path<OfferId>,
        body: Json<WaitingListTerms>,
    ) -> Result<Json<Listing>, Or<Changing>> {
        staff.may(Scope::OffersWrite)?;
        reach(&staff, offer_id.festival())?;
        super::set(&app, &staff, *offer_id, body.open, body.invitation_hours).await?;
        Ok(Json(super::listing(&app, &staff, *offer_id).await?))
    }
}
