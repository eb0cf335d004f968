//! The public address as a browser sees it: a certificate that holds and goes on to hold, an answer, and its clock.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::Finding;

/// How long the certificate has to hold at least.
const HOLDS: Duration = Duration::from_secs(21 * 24 * 3_600);
/// How long a server may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// A moment that a certificate is judged at.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// Looks at the address.
pub(super) async fn look(url: &url::Url, now: DateTime<Utc>) -> Vec<Finding> {
    let Some(host) = url.host_str() else { return vec![Finding::bad("public address", format!("{url} has no host"))] };
    let port = url.port_or_known_default().unwrap_or(443);
    if url.scheme() == "http" {
        let mut found = vec![Finding::odd("certificate", format!("{url} is plain http: only this machine can buy"))];
        found.extend(match dial(host, port).await {
            Ok(stream) => answer(stream, url, now).await,
            Err(error) => vec![Finding::bad("public address", format!("{host}:{port} cannot be reached: {error}"))],
        });
        return found;
    }
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.timestamp()).unwrap_or(0)));
    let later = UnixTime::since_unix_epoch(Duration::from_secs(moment.as_secs()) + HOLDS);
    let stream = match shake(host, port, moment).await {
        Ok(stream) => stream,
        Err(error) => return vec![Finding::bad("certificate", format!("{host}:{port}: {error}"))],
    };
    let mut found = vec![match shake(host, port, later).await {
        Ok(_) => Finding::good("certificate", format!("holds for {host}, for three weeks at least")),
        Err(_) => Finding::bad("certificate", format!("the certificate of {host} ends within three weeks")),
    }];
    found.extend(answer(stream, url, now).await);
    found
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    tokio::time::timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port)))
        .await
        .map_err(|_| "no answer within ten seconds".to_owned())?
        .map_err(|error| error.to_string())
}

/// A TLS handshake whose certificate is judged at a moment.
async fn shake(host: &str, port: u16, at: UnixTime) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine knows no authorities; install them with: apt-get install ca-certificates".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(at)))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| error.to_string())?;
    let stream = dial(host, port).await?;
    tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .map_err(|_| "no handshake within ten seconds".to_owned())?
        .map_err(|error| error.to_string())
}

/// Asks whether the server is ready, and compares its clock.
async fn answer<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, url: &url::Url, now: DateTime<Utc>) -> Vec<Finding> {
    let begin = std::time::Instant::now();
    let asked = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/readyz").header("host", url.authority()).body(Empty::<Bytes>::new());
        let Ok(request) = request else { return Ok(None) };
        sender.send_request(request).await.map(Some)
    };
    let response = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Some(response))) => response,
        Ok(Ok(None)) => return vec![Finding::bad("public address", format!("{url} cannot be asked"))],
        Ok(Err(error)) => return vec![Finding::bad("public address", format!("{url} did not answer: {error}"))],
        Err(_) => return vec![Finding::bad("public address", format!("{url} did not answer within ten seconds"))],
    };
    let took = begin.elapsed().as_millis();
    let status = response.status().as_u16();
    let mut found = vec![match status {
        200 => Finding::good("public address", format!("{url} answers in {took} ms and is ready")),
        other => Finding::bad("public address", format!("{url} answers {other} to /readyz")),
    }];
    // RFC 9110, 6.6.1: whole seconds.
    let told = response.headers().get("date").and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
    if let Some(told) = told {
        let skew = (told.with_timezone(&Utc) - now).num_seconds();
        found.push(match skew.abs() {
            0..=3 => Finding::good("clock of the proxy", "agrees with this machine"),
            _ => Finding::bad("clock of the proxy", format!("{skew} s away from this machine: openings and windows are judged by clocks")),
        });
    }
    found
}
