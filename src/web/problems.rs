//! Pages of problems.

use poem::Response;

use crate::{
    app::App,
    http::{door::Asked, problem::Problem},
};

/// The page of a problem.
#[must_use]
pub fn page(_app: &App, _asked: &Asked, _problem: &Problem) -> Option<Response> {
    None
}
