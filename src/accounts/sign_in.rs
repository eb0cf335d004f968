//! Signing in without a password: an email with a link and six digits, one use, fifteen minutes from when it was sent.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Member, email_key, is_address, store};
use crate::{
    app::App,
    audit::{self, Act, Actor},
    id::{FestivalId, MemberId, SignInId},
    mail::{self, Draft, Lane},
    secrets::{self, Purpose},
    words::Language,
};

/// How long link and digits are good, from when the email was sent.
const LIFE: TimeDelta = TimeDelta::minutes(15);
/// How many sign-in emails one address gets in an hour.
const AN_HOUR: i64 = 3;
/// How long a session lasts.
const SESSION: TimeDelta = TimeDelta::days(14);

/// Asks for a sign-in email. The answer is the same for an address that we know and one that we do not, and so are the
/// statements: an unknown address gets a row whose email is never sent.
///
/// # Errors
/// What the database said.
pub async fn ask(app: &App, address: &str, language: Language) -> Result<SignInId, sqlx::Error> {
    let now = app.clock.now();
    let id = SignInId::fresh(FestivalId::HOUSE, now);
    if !is_address(address) {
        return Ok(id);
    }
    let mut tx = app.pools.web.begin().await?;
    if let Some(known) = store::insert_sign_in(&mut tx, id, &email_key(address), now, AN_HOUR).await? {
        let recipient = known.unwrap_or_else(|| address.to_owned());
        let draft = Draft { thing: id.0, kind: "sign_in", lane: Lane::SignIn, language, recipient };
        mail::queue(&mut tx, FestivalId::HOUSE, &[draft], now, now).await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Begins the life of a sign-in when its email is rendered: name and language of its member, `None` when there is none.
///
/// # Errors
/// What the database said.
pub async fn begin_life(app: &App, id: Uuid) -> Result<Option<(String, Language)>, sqlx::Error> {
    store::begin_life(&app.pools.work, SignInId(id), app.clock.now()).await
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// Wrong, used, over, or tried too often: the visitor asks for a new email.
    #[error("wrong, used or over")]
    Over,
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Lets a member in by the link of the email; returns the text of the session cookie.
///
/// # Errors
/// [`EnterError`].
pub async fn enter_by_link(app: &App, id: SignInId, secret: &str) -> Result<String, EnterError> {
    if !app.secrets.is_link(Purpose::SignInLink, id.0, 0, secret) {
        return Err(EnterError::Over);
    }
    enter(app, id).await
}

/// Lets a member in by the six digits beside the link, ten tries.
///
/// # Errors
/// [`EnterError`].
pub async fn enter_by_code(app: &App, id: SignInId, digits: &str) -> Result<String, EnterError> {
    if !store::count_try(&app.pools.web, id).await? {
        return Err(EnterError::Over);
    }
    let right = app.secrets.digits(Purpose::SignInCode, id.0);
    let typed: String = digits.chars().filter(char::is_ascii_digit).take(12).collect();
    if !secrets::same(right.as_bytes(), typed.as_bytes()) {
        return Err(EnterError::Over);
    }
    enter(app, id).await
}

async fn enter(app: &App, id: SignInId) -> Result<String, EnterError> {
    let now = app.clock.now();
    let mut tx = app.pools.web.begin().await?;
    let member: MemberId = store::use_sign_in(&mut tx, id, now, now - LIFE).await?.ok_or(EnterError::Over)?;
    let session = secrets::fresh_token("gf_session_", FestivalId::HOUSE);
    store::insert_session(&mut tx, &secrets::sha256(session.as_bytes()), member, now, now + SESSION).await?;
    let act = Act {
        festival: FestivalId::HOUSE,
        actor: Actor::Member(member),
        action: "member.signed_in",
        object_kind: "member",
        object_id: member.to_string(),
        before: None,
        after: None,
    };
    audit::record(&mut tx, act, now).await?;
    tx.commit().await?;
    Ok(session)
}

/// The member of a session cookie.
///
/// # Errors
/// What the database said.
pub async fn session(app: &App, cookie: &str) -> Result<Option<Member>, sqlx::Error> {
    if secrets::token_festival("gf_session_", cookie).is_none() {
        return Ok(None);
    }
    store::member_of_session(&app.pools.web, &secrets::sha256(cookie.as_bytes()), app.clock.now()).await
}

/// Ends a session.
///
/// # Errors
/// What the database said.
pub async fn leave(app: &App, cookie: &str) -> Result<(), sqlx::Error> {
    store::end_session(&app.pools.web, &secrets::sha256(cookie.as_bytes()), app.clock.now()).await
}

/// How long an attempt to sign in, and a session that ended, are remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// Forgets attempts and sessions of a month ago; called by a worker.
///
/// # Errors
/// What the database said.
pub async fn forget(app: &App) -> Result<u64, sqlx::Error> {
    store::forget(&app.pools.work, app.clock.now() - REMEMBERED).await
}
