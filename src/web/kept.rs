//! What everybody sees alike: packed in the forms that browsers ask for, with a strong ETag (RFC 9110 8.8.3). Pages of it are made at most once a
//! second.

use std::sync::Arc;

use async_compression::tokio::bufread::GzipEncoder;
use hyper::body::Bytes;
use poem::{
    Request, Response,
    http::{HeaderValue, StatusCode, header},
};
use tokio::io::AsyncReadExt;

use super::layout::{PageResult, Reader};
use crate::{app::App, fresh::Fresh, http::problem::Problem, secrets};

/// Bytes that are ready to be sent.
#[derive(Clone)]
pub struct Packed {
    etag: HeaderValue,
    plain: Bytes,
    gzip: Bytes,
}

impl Packed {
    /// Packs bytes.
    pub async fn of(plain: Vec<u8>) -> Self {
        let mut gzip = Vec::new();
        // Reading from memory does not fail.
        let _ = GzipEncoder::new(plain.as_slice()).read_to_end(&mut gzip).await;
        let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&secrets::sha256(&plain)[..12]));
        Self { etag: HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")), plain: plain.into(), gzip: gzip.into() }
    }

    /// Answers a request: not modified, compressed or plain.
    #[must_use]
    pub fn answer(&self, request: &Request, media_type: &'static str, keep: &'static str, vary: &'static str) -> Response {
        let builder = Response::builder()
            .header(header::ETAG, self.etag.clone())
            .header(header::CACHE_CONTROL, HeaderValue::from_static(keep))
            .header(header::VARY, HeaderValue::from_static(vary));
        let tags = request.header("if-none-match").unwrap_or_default();
        if tags.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == self.etag.as_bytes()) {
            return builder.status(StatusCode::NOT_MODIFIED).finish();
        }
        let builder = builder.header(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if request.header("accept-encoding").is_some_and(|e| e.contains("gzip")) {
            builder.header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")).body(self.gzip.clone())
        } else {
            builder.body(self.plain.clone())
        }
    }
}

/// Pages by address, language and whatever else they depend on.
pub type Pages = Fresh<String, Arc<Packed>>;

/// A page that everybody sees alike: from the shelf if it is at most a second old. `by` names everything that it depends on beside the language.
///
/// # Errors
/// What making it said.
pub async fn shared<F: Future<Output = PageResult>>(request: &Request, app: &App, reader: &Reader, by: &str, page: impl FnOnce() -> F) -> PageResult {
    let key = format!("{} {by}", reader.language.tag());
    let make = async || {
        let body = page().await?.into_body();
        Ok::<_, poem::Error>(Arc::new(Packed::of(body.into_vec().await.map_err(Problem::internal)?).await))
    };
    let packed = app.the::<Pages>().get(key, make).await?;
    let mut response = packed.answer(request, "text/html; charset=utf-8", "no-cache", "Accept-Encoding, Accept-Language, Cookie");
    reader.remember(&mut response);
    Ok(response)
}
