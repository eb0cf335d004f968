//! Cookies that hold secrets, and where requests that carry one may come from.

use poem::{Request, http::header};

use super::problem::{FORBIDDEN, Problem};
use crate::app::App;

fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(|| Problem::internal("the app is not in the request"))
}

/// The name of a cookie as it is set: `__Host-` where fans come over TLS (RFC 6265bis 4.1.3.2).
fn full_name(https: bool, name: &str) -> String {
    if https { format!("__Host-{name}") } else { name.to_owned() }
}

/// A cookie of a request that holds a secret: only under the name that another host cannot set.
///
/// # Errors
/// Never in a house that was put together.
pub fn secret(request: &Request, name: &str) -> Result<Option<String>, Problem> {
    Ok(cookie(request, &full_name(app(request)?.settings.is_https(), name)))
}

/// A cookie of a request.
#[must_use]
pub fn cookie(request: &Request, name: &str) -> Option<String> {
    let pairs = request.headers().get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v.to_owned())
}

/// A cookie that holds a secret: not for scripts, not for other sites.
#[must_use]
pub fn secret_cookie(https: bool, name: &str, value: &str, seconds: i64) -> String {
    let secure = if https { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", full_name(https, name))
}

/// Refuses a form that another site sent: by `Sec-Fetch-Site`, else by `Origin`. Together with SameSite cookies this is
/// what OWASP calls origin verification.
///
/// # Errors
/// A problem `forbidden`.
pub fn same_origin(request: &Request) -> Result<(), Problem> {
    let foreign = || FORBIDDEN.because("this form was sent by another site");
    if let Some(site) = request.header("sec-fetch-site") {
        return if matches!(site, "same-origin" | "none") { Ok(()) } else { Err(foreign()) };
    }
    match request.header("origin") {
        // Pages send no referrer, so browsers without Fetch Metadata send the Origin "null" with their own forms, too (Fetch
        // 3.2.5); their cookies are SameSite, so a form of another site comes without any.
        None | Some("null") => Ok(()),
        Some(origin) => {
            let host = request.header("host").unwrap_or_default();
            let own = &app(request)?.settings.public_url;
            if origin == own || origin.split_once("://").is_some_and(|(_, o)| o == host) { Ok(()) } else { Err(foreign()) }
        }
    }
}
