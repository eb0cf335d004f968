//! The session of a member.

use poem::Request;

use super::layout::app as app_of;
use crate::{
    accounts::{self, Member, Scope},
    app::App,
    festivals::{self, Festival},
    http::{
        cookies::secret,
        problem::{NOT_FOUND, Problem},
    },
};

/// The cookie of a member's session.
pub const SESSION: &str = "gf_session";

/// The member who is signed in.
///
/// # Errors
/// What the database said.
pub async fn member(request: &Request) -> Result<Option<Member>, Problem> {
    match secret(request, SESSION)? {
        Some(session) => Ok(accounts::session(app_of(request)?, &session).await?),
        None => Ok(None),
    }
}

/// The member who is signed in, with a festival of theirs and what they may do there; `None` when nobody is signed in.
///
/// # Errors
/// Problems `not-found` and `forbidden`, and what the database said.
pub async fn visitor(request: &Request, app: &App, slug: &str, scope: Scope) -> Result<Option<(Member, Festival)>, Problem> {
    let Some(who) = member(request).await? else { return Ok(None) };
    let found = festivals::by_slug(&app.pools.web, slug).await?.filter(|f| f.promoter_id == who.staff.promoter).ok_or_else(|| NOT_FOUND.problem())?;
    who.staff.may(scope)?;
    Ok(Some((who, found)))
}
