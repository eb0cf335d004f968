//! Fans and gates of a measurement: keep-alive connections over loopback, one request at a time each, as cheap as a client can
//! be, because it shares the cores with what it measures.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::id::{OrderId, PaymentId};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// The address of a client of a crowd that has one for every 64 of them.
pub fn address_of(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(1 + number / 64 % 250).unwrap_or(1))
}

/// An answer and how long it took.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The seconds after which to ask again, where the answer says so.
    pub retry_after: Option<u64>,
    /// The cookie that the answer sets, as it is sent back.
    pub cookie: Option<String>,
    /// The body as it came.
    pub body: Bytes,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a measurement reads of the body.
    pub fn said(&self) -> Said {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What a measurement reads of a body in JSON, of whatever kind; nothing of the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Of a problem: its type.
    #[serde(rename = "type")]
    pub problem: Option<String>,
    /// Of a problem: what it says.
    pub detail: Option<String>,
    /// Of a problem a number, of a thing its state.
    pub status: Value,
    /// Of a scan.
    pub verdict: Option<String>,
    /// Of an order or a payment.
    pub order_id: Option<OrderId>,
    /// Of a payment.
    pub payment_id: Option<PaymentId>,
    /// Of an order.
    pub secret: Option<String>,
    /// Of an order.
    pub total: Value,
}

impl Client {
    /// Connects from an address of the loopback device: limits are per address.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connect(to: SocketAddr, from: Ipv4Addr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Only Linux gives the whole of 127.0.0.0/8 to the loopback device; elsewhere, and to a server that is not here, all come from one address.
        if to.ip().is_loopback() {
            let _ = socket.bind(SocketAddr::from((from, 0)));
        }
        let stream = socket.connect(to).await.with_context(|| format!("the server at {to} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: to.to_string() })
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request with a JSON body and reads the answer.
    ///
    /// # Errors
    /// When the connection broke or the answer took longer than half a minute.
    pub async fn send(&mut self, method: Method, path: &str, token: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", if token.is_empty() { "" } else { &bearer }), ("idempotency-key", key)];
        self.send_with(method, path, &headers, body).await
    }

    /// Sends a request with headers of its own; an empty one is left away.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_with(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(serde_json::to_vec(body)?) };
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        let begin = Instant::now();
        let exchange = async {
            // The last answer may have been read before its connection is ready for the next request.
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            let cookie = response.headers().get("set-cookie").and_then(|v| Some(v.to_str().ok()?.split(';').next()?.to_owned()));
            Ok::<_, hyper::Error>((status, retry_after, cookie, response.into_body().collect().await?.to_bytes()))
        };
        let (status, retry_after, cookie, bytes) = tokio::time::timeout(PATIENCE, exchange).await.context("no answer within half a minute")??;
        Ok(Answer { status, retry_after, cookie, took: begin.elapsed(), body: bytes })
    }
}

/// Latencies of one kind of request.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Takes over those of another client.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency that a share of the requests did not exceed, in milliseconds.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below a million")]
        let at = (self.0.len() as f64 * share) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
    }
}
