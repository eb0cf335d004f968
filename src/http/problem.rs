//! Problems: RFC 9457 `application/problem+json`. One catalog of kinds; every kind has a page at `/problems/<slug>`.
//!
//! A room's `api.rs` turns its errors into [`Problem`]s and says with [`Or`] which kinds an operation can answer; the same
//! list feeds the API document.

use std::{collections::BTreeMap, marker::PhantomData};

use poem::{IntoResponse, Response, error::ResponseError, http::StatusCode};
use poem_openapi::{
    ApiResponse, Object,
    payload::Json,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};
use serde_json::Value;

use crate::batcher::Busy;

/// A kind of problem: what its slug stands for.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Kebab-case name, the end of the `type` address.
    pub slug: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What to do, for the page of the problem.
    pub help: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal, $slug:literal, $title:literal, $help:literal;)+) => {
        $(#[doc = $title] pub static $name: Kind = Kind { slug: $slug, status: $status, title: $title, help: $help };)+
        /// Every kind there is.
        pub static ALL: &[&Kind] = &[$(&$name),+];
    };
}

kinds! {
    MALFORMED = 400, "malformed", "The request cannot be read", "Compare the request with the API document; the detail names the place.";
    KEY_MISSING = 400, "key-missing", "The header Idempotency-Key is missing", "Send a fresh random key (a UUID, 16 to 128 characters) with each new order or payment, and the same key when you ask again.";
    BAD_SIGNATURE = 400, "bad-signature", "The signature of the notification is wrong", "Check the secret and the clock of the sender.";
    UNAUTHORIZED = 401, "unauthorized", "Who is calling is not known", "Send a token in the header Authorization: Bearer, one that was not revoked and has not expired.";
    FORBIDDEN = 403, "forbidden", "This token may not do that", "Use a token of the right kind, with the scope that the operation names.";
    WAITING_ROOM = 403, "waiting-room", "This offer has a waiting room", "Take a place there (the member waiting_room has its page, POST /v1/offers/{offer_id}/places for programs) and order when it is its turn, with the header Waiting-Place.";
    PLACE_USED = 409, "place-used", "This place brought an order already", "A place is good for one order. Look at that order, or queue up again.";
    NOT_FOUND = 404, "not-found", "Nothing is pressed here", "The address is wrong, or what was here is not yours to see. For both we say the same.";
    METHOD = 405, "method-not-allowed", "This address does not know that method", "Look at the header Allow.";
    SOLD_OUT = 409, "sold-out", "There are not enough left", "The member availability tells whether some may come back: held_out or sold_out.";
    NOT_YET = 409, "not-yet", "Not on sale yet", "The member opens_at tells when it opens.";
    OVER = 409, "over", "The sale is over", "Look for another offer.";
    PAUSED = 409, "paused", "The sale is paused", "The detail says why; look again in a minute.";
    FAN_LIMIT = 409, "fan-limit", "The limit per fan is reached", "The limit counts held and paid orders of this address.";
    PRICE_CHANGED = 409, "price-changed", "The price went up meanwhile", "Nothing is held. The member lines has the new prices; ask again with the new total.";
    VOUCHER = 409, "voucher-refused", "The voucher does not help here", "The member reason says why: unknown, used_up, not_now, not_for_these, not_listed or fan_limit. Nothing is held; ask again without it or with another.";
    NOT_HELD = 409, "not-held", "The order is not held any more", "Ten minutes are over, or it was cancelled. Place a new order.";
    ALREADY_PAID = 409, "already-paid", "The order is paid", "Look at the order; nothing more is owed.";
    PAYMENT_OPEN = 409, "payment-open", "Another payment of this order is open", "Finish it or wait until it is decided.";
    TOO_MANY_ATTEMPTS = 409, "too-many-attempts", "Five payments were tried", "Place a new order.";
    NOTHING_LEFT = 409, "nothing-left", "Nothing is left to be returned", "Everything of it went back or is on its way: look at the refunds of the order.";
    AMOUNT_CHANGED = 409, "amount-changed", "It would be another amount", "Nothing happened. The member amount has what it would be now; ask for a quote and repeat.";
    CONFLICT = 409, "conflict", "The world is in another state", "The detail says which.";
    UNCONFIRMED = 409, "unconfirmed", "This is unusual: say that you mean it", "The detail says why. Send the request again with the words of the member confirm in the header Confirm.";
    STALE = 412, "stale", "Somebody changed it meanwhile", "Read it again and repeat your change with the new ETag in If-Match.";
    TOO_LARGE = 413, "too-large", "The body is too large", "JSON bodies end at 64 kB, scan batches at 1 MB, imports and lists of addresses at 8 MB.";
    MEDIA_TYPE = 415, "media-type", "This media type is not understood", "Send application/json, or the type that the operation names.";
    INVALID = 422, "invalid", "The request is understood but cannot be accepted", "The member errors has a JSON pointer and a reason for each place.";
    KEY_REUSED = 422, "key-reused", "This key was used for another request", "Use a fresh key for a new request.";
    ORDER_LIMIT = 422, "order-limit", "More than one order may hold", "The detail names the limit.";
    REQUIREMENT = 422, "requirement-missing", "The offer needs another one beside it", "The detail names what it needs.";
    TOO_MANY = 429, "too-many-requests", "Too many requests", "Wait for the seconds in Retry-After.";
    INTERNAL = 500, "internal", "Our mistake, not yours", "If it stays, send us the request id.";
    PAYMENTS_DOWN = 503, "payments-down", "Payments do not work just now", "Nothing new is sold until they do; what is held is kept. Wait for the seconds in Retry-After and ask again with the same key.";
    UNAVAILABLE = 503, "unavailable", "Too busy to decide now", "Wait for the seconds in Retry-After and ask again with the same key: it has one effect.";
}

/// One place of a request that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub struct Wrong {
    /// JSON pointer (RFC 6901) into the request body, or the name of a parameter.
    pub pointer: String,
    /// Why, in a sentence.
    pub reason: String,
}

impl Wrong {
    /// A place and a reason.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

/// A problem document (RFC 9457). Kinds may add members of their own; their page says which.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
pub struct Body {
    /// Address of the page of this kind of problem.
    pub r#type: String,
    /// What happened, the same words for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: Option<String>,
    /// Id of the request, for questions to us.
    pub request_id: Option<String>,
    /// The places that are wrong.
    pub errors: Option<Vec<Wrong>>,
}

/// A problem on its way to the client.
#[derive(Debug)]
pub struct Problem {
    /// Which kind.
    pub kind: &'static Kind,
    /// What happened this time.
    pub detail: Option<String>,
    /// The places that are wrong.
    pub errors: Vec<Wrong>,
    /// Seconds after which asking again makes sense.
    pub retry_after: Option<u32>,
    /// Members of the kind.
    pub members: BTreeMap<&'static str, Value>,
    /// What the log should know and the client should not.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Kind {
    /// A problem of this kind.
    #[must_use]
    pub fn problem(&'static self) -> Problem {
        Problem { kind: self, detail: None, errors: Vec::new(), retry_after: None, members: BTreeMap::new(), source: None }
    }

    /// A problem of this kind with what happened this time.
    #[must_use]
    pub fn because(&'static self, detail: impl Into<String>) -> Problem {
        Problem { detail: Some(detail.into()), ..self.problem() }
    }
}

impl Problem {
    /// Adds a member of the kind.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.members.insert(name, value);
        self
    }

    /// Our mistake: the source goes to the log only.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..INTERNAL.problem() }
    }

    /// The places that are wrong.
    #[must_use]
    pub fn invalid(errors: Vec<Wrong>) -> Self {
        Self { errors, ..INVALID.problem() }
    }

    /// The document, with the id of the request.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> Value {
        let body = Body {
            r#type: format!("/problems/{}", self.kind.slug),
            title: self.kind.title.to_owned(),
            status: self.kind.status,
            detail: self.detail.clone(),
            request_id: request_id.map(str::to_owned),
            errors: (!self.errors.is_empty()).then(|| self.errors.clone()),
        };
        let mut value = body.to_json().unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.extend(self.members.iter().map(|(name, member)| ((*name).to_owned(), member.clone())));
        }
        value
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind.slug)?;
        match (&self.detail, &self.source) {
            (_, Some(source)) => write!(f, ": {source}"),
            (Some(detail), None) => write!(f, ": {detail}"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn as_response(&self) -> Response {
        answer(self, None)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        answer(&self, None)
    }
}

/// The answer of a problem.
#[must_use]
pub fn answer(problem: &Problem, request_id: Option<&str>) -> Response {
    let mut response = Response::builder().status(problem.status()).header("content-type", "application/problem+json").header("cache-control", "no-store");
    if let Some(seconds) = problem.retry_after {
        response = response.header("retry-after", seconds);
    }
    if problem.kind.status == 401 {
        response = response.header("www-authenticate", "Bearer");
    }
    response.body(problem.body(request_id).to_string())
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let busy = match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
            // Lock and statement time-outs, shutdown of the server, too many connections.
            sqlx::Error::Database(e) => e.code().is_some_and(|c| c == "55P03" || c.starts_with("57") || c.starts_with("53") || c.starts_with("08")),
            _ => false,
        };
        if busy {
            let Busy { retry_after } = Busy::jittered();
            return Self { retry_after: Some(retry_after), source: Some(error.into()), ..UNAVAILABLE.problem() };
        }
        // Text that Postgres cannot hold (a NUL byte) is the client's, not ours.
        if let sqlx::Error::Database(e) = &error
            && e.code().is_some_and(|c| c == "22021" || c == "22P05")
        {
            return Self::invalid(vec![Wrong::new("", "the text has a character that cannot be kept (NUL)")]);
        }
        // So is a moment before or after every calendar.
        if let sqlx::Error::Database(e) = &error
            && e.code().is_some_and(|c| c == "22008")
        {
            return Self::invalid(vec![Wrong::new("", "a moment is too far away to be kept")]);
        }
        Self::internal(error)
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self { retry_after: Some(busy.retry_after), ..UNAVAILABLE.problem() }
    }
}

impl From<crate::fault::Fault> for Problem {
    fn from(fault: crate::fault::Fault) -> Self {
        use crate::fault::Fault;
        match fault {
            Fault::NotFound => NOT_FOUND.problem(),
            Fault::Invalid(places) => Self::invalid(places.into_iter().map(|(pointer, reason)| Wrong { pointer, reason }).collect()),
            Fault::Conflict(why) => CONFLICT.because(why),
            Fault::Unconfirmed { why, words } => UNCONFIRMED.because(why).with("confirm", serde_json::json!(words)),
            Fault::Stale => STALE.problem(),
            Fault::Database(error) => error.into(),
            Fault::House(error) => Self::internal(error),
        }
    }
}

/// The kinds of problems that an operation can answer, beside those that every operation can.
pub trait Kinds: Send + Sync + 'static {
    /// The kinds.
    const KINDS: &'static [&'static Kind];
}

/// A problem of an operation: one of the kinds that it lists.
#[derive(Debug)]
pub struct Or<K>(pub Problem, PhantomData<K>);

impl<K: Kinds, E: Into<Problem>> From<E> for Or<K> {
    fn from(error: E) -> Self {
        let problem = error.into();
        debug_assert!(
            problem.kind.status >= 500 || K::KINDS.contains(&problem.kind) || ALWAYS.contains(&problem.kind),
            "the operation does not list {}",
            problem.kind.slug
        );
        Self(problem, PhantomData)
    }
}

/// What every operation can answer; the document says it once, as `default`.
static ALWAYS: &[&Kind] = &[&MALFORMED, &UNAUTHORIZED, &FORBIDDEN, &NOT_FOUND, &INVALID, &TOO_LARGE, &MEDIA_TYPE, &TOO_MANY];

impl<K: Kinds> From<Or<K>> for poem::Error {
    fn from(or: Or<K>) -> Self {
        or.0.into()
    }
}

impl<K: Kinds> ApiResponse for Or<K> {
    fn meta() -> MetaResponses {
        let content = || vec![MetaMediaType { content_type: "application/problem+json", schema: Body::schema_ref() }];
        let mut by_status: BTreeMap<u16, Vec<&Kind>> = BTreeMap::new();
        for kind in K::KINDS {
            by_status.entry(kind.status).or_default().push(kind);
        }
        let mut responses: Vec<MetaResponse> = by_status
            .into_iter()
            .map(|(status, kinds)| {
                let text: Vec<String> = kinds.iter().map(|k| format!("`{}`: {}.", k.slug, k.title)).collect();
                MetaResponse { description: text.join(" ").leak(), status: Some(status), status_range: None, content: content(), headers: vec![] }
            })
            .collect();
        responses.push(MetaResponse {
            description: "Any other problem, such as malformed, unauthorized, not-found, invalid, too-many-requests or unavailable.",
            status: None,
            status_range: None,
            content: content(),
            headers: vec![],
        });
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Body::register(registry);
    }
}

/// Declares the kinds of problems of an operation.
#[macro_export]
macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident: $($kind:ident),*;)+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $name;
        impl $crate::http::problem::Kinds for $name {
            const KINDS: &'static [&'static $crate::http::problem::Kind] = &[$(&$crate::http::problem::$kind),*];
        }
    )+};
}

refusals! {
    /// Nothing beside what every operation can answer.
    Usual: NOT_FOUND;
    /// What a device says of a gate.
    AtGate: NOT_FOUND, INVALID;
    /// A change of something that others may change too.
    Changing: NOT_FOUND, CONFLICT, STALE, INVALID;
    /// The same, of what a slip of the hand would cost a festival.
    Guarded: NOT_FOUND, CONFLICT, UNCONFIRMED, STALE, INVALID;
}

/// 201 with the thing that was made and where it is.
#[derive(Debug)]
pub struct Created<T> {
    /// The thing.
    pub body: T,
    /// Its address.
    pub location: String,
}

impl<T: ToJSON> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = self.location.parse() {
            response.headers_mut().insert("location", location);
        }
        response
    }
}

impl<T: ToJSON> ApiResponse for Created<T> {
    fn meta() -> MetaResponses {
        let mut meta = <Json<T> as ApiResponse>::meta();
        for response in &mut meta.responses {
            response.status = Some(201);
            response.description = "Made; its address is in the header Location.";
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// The client sent something that the framework could not read: the same words as our own problems.
#[must_use]
pub fn from_framework(error: &poem::Error) -> Problem {
    use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
    if error.is::<ParsePathError>() {
        return NOT_FOUND.problem();
    }
    if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        return Problem { errors: vec![Wrong::new(*name, reason.clone())], ..MALFORMED.because(format!("the parameter {name} cannot be read")) };
    }
    if let Some(ParseRequestPayloadError { reason }) = error.downcast_ref() {
        return payload(reason);
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        return MEDIA_TYPE.because(error.to_string());
    }
    match error.status().as_u16() {
        401 => UNAUTHORIZED.problem(),
        403 => FORBIDDEN.problem(),
        404 => NOT_FOUND.problem(),
        405 => METHOD.problem(),
        413 => TOO_LARGE.problem(),
        415 => MEDIA_TYPE.problem(),
        429 => TOO_MANY.problem(),
        status if status < 500 => MALFORMED.because(error.to_string()),
        _ => Problem::internal(error.to_string()),
    }
}

/// A body that is not JSON is malformed (400); JSON of another shape is invalid (422).
fn payload(reason: &str) -> Problem {
    let syntax = reason.contains(" at line ") || reason.contains("EOF while parsing");
    if syntax {
        return MALFORMED.because(format!("the body is not JSON: {reason}"));
    }
    Problem::invalid(vec![Wrong::new(pointer(reason), reason)])
}

/// The place in words like `failed to parse "line": .. (occurred while parsing "lines")`: innermost name last.
fn pointer(reason: &str) -> String {
    let mut names: Vec<&str> = reason.split("field `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    names.dedup();
    names.iter().fold(String::new(), |path, name| format!("{path}/{name}"))
}
