//! The interactive document of the API: Swagger UI, which comes with poem-openapi, as one static page of ours.

use poem::{Response, handler};

use crate::api;

/// The page. Its script and styles are inside it, so they are allowed by their hashes and nothing else is.
#[handler]
pub fn page() -> Response {
    static PAGE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (html, policy) = PAGE.get_or_init(|| {
        let html = api::service().swagger_ui_html();
        // The hash of each inline script: from its start tag to the next end tag, wherever a script speaks of scripts.
        let mut hashes = String::new();
        let mut rest = html.as_str();
        while let Some(inside) = rest.split_once("<script").and_then(|(_, r)| r.split_once('>')).map(|(_, r)| r) {
            let (script, after) = inside.split_once("</script>").unwrap_or((inside, ""));
            hashes.push_str(" 'sha256-");
            hashes.push_str(&data_encoding::BASE64.encode(&crate::secrets::sha256(script.as_bytes())));
            hashes.push('\'');
            rest = after;
        }
        let policy = format!(
            "default-src 'none'; script-src{hashes}; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'"
        );
        (html, policy)
    });
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header("content-security-policy", policy)
        .header("cache-control", "no-cache")
        .body(html.clone())
}
