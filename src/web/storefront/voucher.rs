//! A code that is typed on the page of a festival: the page once more, with what the code makes of its offers. Codes stand in forms, never in
//! addresses.

use poem::{
    Request, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{
    buy::{field, fields},
    festival::{Typed, festival, published, turns},
};
use crate::{
    app::App,
    http::{
        cookies::same_origin,
        door::Arrival,
        limit::{Client, Limited, Limits},
        problem::Problem,
    },
    offers::{self, NoVoucher},
    web::layout::{PageResult, Reader, see_other},
};

/// Shows what a code does.
#[handler]
pub async fn look(
    request: &Request,
    body: poem::Body,
    reader: Reader,
    app: Data<&App>,
    client: Data<&Client>,
    arrival: Data<&Arrival>,
    Path(slug): Path<String>,
) -> PageResult {
    same_origin(request)?;
    let of = published(&app, &slug).await?;
    let code: String = field(&fields(body).await?, "voucher").trim().chars().take(60).collect();
    if code.is_empty() {
        return Ok(see_other(&format!("/f/{slug}#code")));
    }
    app.the::<Limits>().may_guess(&client)?;
    let found = offers::opened_by(&app, of.festival_id, &code, arrival.0.0).await.map_err(Problem::from)?;
    let why = found.as_ref().err().copied();
    if why == Some(NoVoucher::Unknown) {
        app.the::<Limits>().count(Limited::Guess, &client)?;
    }
    let mut response = festival(&reader, &app, &slug, &turns(request, &app, arrival.0.0)?, Some(Typed { code, found })).await?;
    if why.is_some() {
        response.set_status(StatusCode::CONFLICT);
    }
    Ok(response)
}

/// Whoever comes back without the form starts over: the language of the page was changed, or its address kept.
#[handler]
pub async fn over(request: &Request, Path(slug): Path<String>) -> PageResult {
    let language = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    Ok(see_other(&format!("/f/{slug}{language}#code")))
}
