//! Emails.

use std::{future::Future, pin::Pin};

use crate::{
    app::App,
    mail::{Email, Letter, RenderError},
};

type Rendered<'a> = Pin<Box<dyn Future<Output = Result<Letter, RenderError>> + Send + 'a>>;

/// The confirmation of an order.
#[must_use]
pub fn confirmation<'a>(_app: &'a App, _email: &'a Email) -> Rendered<'a> {
    Box::pin(async { Err(RenderError::Moot) })
}

/// The sign-in email of a member.
#[must_use]
pub fn sign_in<'a>(_app: &'a App, _email: &'a Email) -> Rendered<'a> {
    Box::pin(async { Err(RenderError::Moot) })
}

/// The email that says that late money goes back.
#[must_use]
pub fn money_back<'a>(_app: &'a App, _email: &'a Email) -> Rendered<'a> {
    Box::pin(async { Err(RenderError::Moot) })
}
