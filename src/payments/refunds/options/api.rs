//! The JSON face of option rounds.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use super::{Answer, Choice, ChooseError, Round, RoundTerms, Sums};
use crate::{
    accounts::{
        Scope,
        guard::{AsFan, AsStaff, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        problem::{CONFLICT, Changing, Created, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{FestivalId, OrderId},
    money::Money,
    orders::{self, api::of_fan},
    page::Page,
    refusals,
};

refusals! {
    /// What choosing refuses.
    Choosing: NOT_FOUND, CONFLICT, INVALID;
}

impl From<ChooseError> for Problem {
    fn from(error: ChooseError) -> Self {
        match error {
            ChooseError::NotFound => NOT_FOUND.problem(),
            ChooseError::NotAsked | ChooseError::NotOffered | ChooseError::Chosen(_) => CONFLICT.because(error.to_string()),
            ChooseError::Database(error) => error.into(),
        }
    }
}

/// A round and how it goes.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ShownRound {
    /// The round.
    #[oai(flatten)]
    pub round: Round,
    /// How it goes, in numbers.
    pub sums: Sums,
    /// Answers that could not be done, at most two hundred.
    pub problems: Vec<Answer>,
}

/// What a choice brings.
#[derive(Debug, Object)]
pub struct OptionOffer {
    /// The choice.
    pub choice: Choice,
    /// What goes back with it now.
    pub amount: Money,
}

/// What an order is asked.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct AskedOptions {
    /// The round that is open; nothing where nothing is asked of this order.
    pub round: Option<Round>,
    /// What it may choose, and what that brings.
    pub options: Vec<OptionOffer>,
    /// What it chose.
    pub answer: Option<Answer>,
}

/// A choice.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct NewAnswer {
    /// What becomes of the order.
    pub choice: Choice,
}

/// Reads what an order is asked now.
///
/// # Errors
/// What the database said.
pub async fn asked(app: &App, order: &orders::Order) -> Result<AskedOptions, sqlx::Error> {
    let nothing = AskedOptions { round: None, options: Vec::new(), answer: None };
    let id = order.order_id;
    let Some(round) = super::open_round(&app.pools.web, id.festival()).await? else { return Ok(nothing) };
    if !round.takes_answers(app.clock.now()) || id > round.last() || order.total.minor == 0 {
        return Ok(nothing);
    }
    let answer = super::answer_of(&app.pools.web, id, round.round_no).await?;
    if !order.status.is_paid() && answer.is_none() {
        return Ok(nothing);
    }
    let mut conn = app.pools.web.acquire().await?;
    let options = super::would_bring(&mut conn, &round, id, order.total.currency).await?;
    Ok(AskedOptions { options: options.into_iter().map(|(choice, amount)| OptionOffer { choice, amount }).collect(), round: Some(round), answer })
}

/// Option rounds.
pub struct OptionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Payments")]
impl OptionsApi {
    /// Open an option round
    ///
    /// The festival is postponed, moved, or loses a day: everybody who paid is asked by an email what becomes of their order, and who says nothing until the
    /// deadline gets the default. Opening the same again while it is open gets the same round. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/option-rounds", method = "post", operation_id = "open_option_round")]
    async fn open_option_round(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<RoundTerms>,
    ) -> Result<Created<Round>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        let round = super::open(&app, &staff, *festival_id, &body).await?;
        let location = format!("/v1/festivals/{}/option-rounds/{}", festival_id.0.0, round.round_no);
        Ok(Created { body: round, location })
    }

    /// List the option rounds of a festival
    ///
    /// The latest first; nine at most. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/option-rounds", method = "get", operation_id = "list_option_rounds")]
    async fn list_option_rounds(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<Page<Round>>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        Ok(Json(Page { items: super::rounds(&mut tx, *festival_id).await?, next: None }))
    }

    /// Look how an option round goes
    ///
    /// Who chose what, the money that it needs, and what could not be done. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/option-rounds/:round_no", method = "get", operation_id = "show_option_round")]
    async fn show_option_round(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        round_no: Path<i32>,
    ) -> Result<Json<ShownRound>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let round = super::round_in(&mut tx, *festival_id, *round_no).await?.ok_or_else(|| NOT_FOUND.problem())?;
        let sums = super::sums(&mut tx, *festival_id, &round).await?;
        Ok(Json(ShownRound { problems: super::problems(&mut tx, *festival_id, *round_no).await?, round, sums }))
    }

    /// Call an option round off
    ///
    /// Nobody chooses any more and nobody gets the default; what was asked for until then is done. Calling it off again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/option-rounds/:round_no/ends", method = "post", operation_id = "call_option_round_off")]
    async fn call_option_round_off(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        round_no: Path<i32>,
    ) -> Result<Json<Round>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        Ok(Json(super::call_off(&app, &staff, *festival_id, *round_no).await?))
    }

    /// Look at what an order is asked
    ///
    /// By its secret: the round, what each choice brings, and what it chose.
    #[oai(path = "/orders/:order_id/options", method = "get", operation_id = "show_options")]
    async fn show_options(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<AskedOptions>, Or<Usual>> {
        of_fan(&app, &secret, *order_id).await?;
        let order = orders::order(&app.pools.web, *order_id).await?.ok_or_else(|| NOT_FOUND.problem())?;
        Ok(Json(asked(&app, &order).await?))
    }

    /// Choose what becomes of an order
    ///
    /// By its secret, until the deadline. Choosing the same again changes nothing; keeping can be changed, money that was asked for cannot (409).
    #[oai(path = "/orders/:order_id/option-answers", method = "post", operation_id = "choose_option")]
    async fn choose_option(&self, AsFan(secret): AsFan, app: Data<&App>, order_id: Path<OrderId>, body: Json<NewAnswer>) -> Result<Json<Answer>, Or<Choosing>> {
        of_fan(&app, &secret, *order_id).await?;
        Ok(Json(super::choose(&app, *order_id, &secret, body.choice).await?))
    }
}
