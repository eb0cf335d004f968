//! The session of a member.

use poem::Request;

use super::layout::app;
use crate::{
    accounts::{self, Member},
    http::{cookies::secret, problem::Problem},
};

/// The cookie of a member's session.
pub const SESSION: &str = "gf_session";

/// The member who is signed in.
///
/// # Errors
/// What the database said.
pub async fn member(request: &Request) -> Result<Option<Member>, Problem> {
    match secret(request, SESSION)? {
        Some(session) => Ok(accounts::session(app(request)?, &session).await?),
        None => Ok(None),
    }
}
