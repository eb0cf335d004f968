//! Calls to Stripe's API (<https://docs.stripe.com/api>): forms in, JSON out, one time limit, and refusals told from silence.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, de::DeserializeOwned};

/// The version of the API that we speak: an account may have another one as its default.
const VERSION: &str = "2026-10-28.endive";
/// How long one call may take. Two of them end within the patience of whoever waits.
const PATIENCE: Duration = Duration::from_millis(3_800);
/// How much of an answer is read, in bytes.
const MOST: usize = 1 << 20;

/// Why a call had no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No answer, or none that says anything: it may have happened.
    #[error("no answer: {0}")]
    Silence(String),
    /// Too many at once, or the same call is under way: later.
    #[error("later: {0}")]
    Later(String),
    /// The key is not known there, any more.
    #[error("the key is not accepted")]
    Unauthorized,
    /// The key may not do that.
    #[error("the key may not do that")]
    Forbidden,
    /// It was understood and refused: it did not happen.
    #[error("refused ({code}): {message}")]
    Refused {
        /// Stripe's error code, or its type where there is none.
        code: String,
        /// What it says.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
struct Failure {
    error: FailureBody,
}

#[derive(Debug, Deserialize)]
struct FailureBody {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Talks to Stripe.
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of an API at an address, `https://api.stripe.com` but in tests.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider())).with_safe_default_protocol_versions()?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.with_root_certificates(roots).with_no_client_auth())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(PATIENCE)
            .user_agent(concat!("gatefold/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// Reads a thing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str, path: &str) -> Result<T, Refusal> {
        self.call(Method::GET, key, path, None, &[]).await
    }

    /// Does something. `once` makes it happen once, however often it is asked for (<https://docs.stripe.com/api/idempotent_requests>).
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn post<T: DeserializeOwned>(&self, key: &str, path: &str, once: Option<&str>, form: &[(&str, String)]) -> Result<T, Refusal> {
        self.call(Method::POST, key, path, once, form).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, key: &str, path: &str, once: Option<&str>, form: &[(&str, String)]) -> Result<T, Refusal> {
        let is_post = method == Method::POST;
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(key).header("Stripe-Version", VERSION);
        if let Some(once) = once {
            request = request.header("Idempotency-Key", once);
        }
        if is_post {
            request = request.form(form);
        }
        // An error of the client names the address, which holds no secret; the key is in a header.
        let silence = |error: reqwest::Error| Refusal::Silence(if error.is_timeout() { "time was up".to_owned() } else { error.without_url().to_string() });
        let mut answer = request.send().await.map_err(silence)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silence)? {
            if body.len() + chunk.len() > MOST {
                return Err(Refusal::Silence("the answer is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|error| Refusal::Silence(format!("an answer that we cannot read: {error}")));
        }
        Err(refusal(status, &body))
    }
}

/// What an answer that is no success means; pure.
fn refusal(status: u16, body: &[u8]) -> Refusal {
    let said = serde_json::from_slice::<Failure>(body).ok().map(|failure| failure.error);
    match (status, said) {
        (401, _) => Refusal::Unauthorized,
        (403, _) => Refusal::Forbidden,
        // Somebody asks the same at the same moment (409), or we ask too often (429).
        (409 | 429, _) => Refusal::Later(format!("status {status}")),
        (500.., _) | (_, None) => Refusal::Silence(format!("status {status}")),
        (_, Some(said)) => {
            let message: String = said.message.unwrap_or_default().chars().take(300).collect();
            Refusal::Refused { code: said.decline_code.or(said.code).unwrap_or(said.kind), message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_silence() {
        let body = br#"{"error": {"type": "invalid_request_error", "code": "amount_too_small", "message": "Amount must be at least 50 cents", "param": "line_items"}}"#;
        let refused = Refusal::Refused { code: "amount_too_small".to_owned(), message: "Amount must be at least 50 cents".to_owned() };
        for status in [400, 402, 404] {
            assert_eq!(refusal(status, body), refused, "{status}");
        }
        for status in [500, 502, 503] {
            assert!(matches!(refusal(status, body), Refusal::Silence(_)), "{status}");
        }
        assert!(matches!((refusal(409, body), refusal(429, b"")), (Refusal::Later(_), Refusal::Later(_))));
        assert_eq!(refusal(401, body), Refusal::Unauthorized);
        assert_eq!(refusal(403, b""), Refusal::Forbidden);
        assert!(matches!(refusal(400, b"<html>a proxy</html>"), Refusal::Silence(_)), "what is not Stripe's word decides nothing");
    }
}
