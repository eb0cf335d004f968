//! The interactive document of the API: Swagger UI, which comes with poem-openapi, as one static page of ours.

use poem::{Response, handler};

use crate::api;

/// The page. Its script and styles are inside it, so they are allowed by their hashes and nothing else is.
#[handler]
pub fn page() -> Response {
    static PAGE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (html, policy) = PAGE.get_or_init(|| {
        let html = api::service().swagger_ui_html();
        let hashes = |tag: &str| -> String {
            let mut out = String::new();
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            for piece in html.split(&open).skip(1) {
                if let Some(inside) = piece.split_once('>').and_then(|(_, rest)| rest.split_once(&close)).map(|(inside, _)| inside) {
                    out += &format!(" 'sha256-{}'", data_encoding::BASE64.encode(&crate::secrets::sha256(inside.as_bytes())));
                }
            }
            out
        };
        let policy = format!(
            "default-src 'none'; script-src{}; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'",
            hashes("script")
        );
        (html, policy)
    });
    Response::builder().content_type("text/html; charset=utf-8").header("content-security-policy", policy).header("cache-control", "no-cache").body(html.clone())
}
