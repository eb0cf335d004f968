//! The door: the accept loop around the poem endpoint, and what every request passes on its way in and out.
//!
//! poem's own server has no header timer and no `TCP_NODELAY`; its body limit believes Content-Length (3-contract, 12).
//! Hence this loop on hyper-util, a byte counter and a deadline of our own.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use poem::{
    Addr, Body, Endpoint, IntoResponse, Request, Response,
    endpoint::BoxEndpoint,
    http::{HeaderValue, Method, StatusCode, header},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, watch},
};

use super::{
    limit::Client,
    problem::{self, Problem},
};
use crate::app::App;

/// The most connections at once; more wait in the backlog of the system.
const CONNECTIONS: usize = 20_000;
/// How many connections may wait to be taken; the system may allow fewer (net.core.somaxconn).
const BACKLOG: u32 = 4_096;
/// How long a request may take, reading its body included. Downloads stream after it.
const DEADLINE: Duration = Duration::from_secs(20);
/// When a write that has no answer yet is given up: it runs on for a while after its client was told to come back.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// How long a read may take; a promoter's reports and the pack of a gate have the time of every request.
const READING: Duration = Duration::from_secs(5);
/// How long a connection may be open without a request.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a drain may take before connections are cut.
const DRAIN: Duration = Duration::from_secs(25);

/// Listens with room for an opening: tokio's own room is for 128, and a handshake that finds none costs its fan a second or three.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers on a listener until told to stop; then no new connection is taken and what runs is finished.
pub async fn serve(listener: TcpListener, endpoint: Arc<BoxEndpoint<'static>>, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let local = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5)).max_buf_size(64 * 1024);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128).max_header_list_size(16 * 1024).keep_alive_interval(Duration::from_secs(20));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (socket, remote) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors or a connection that is gone: wait a moment instead of spinning.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = told_to_stop(&mut stop) => break,
        };
        let _ = socket.set_nodelay(true);
        let endpoint = endpoint.clone();
        let spoke = Arc::new(AtomicBool::new(false));
        let heard = spoke.clone();
        let service = hyper::service::service_fn(move |request| {
            let endpoint = endpoint.clone();
            heard.store(true, Ordering::Relaxed);
            async move {
                let request: Request =
                    (request, LocalAddr(Addr::SocketAddr(local)), RemoteAddr(Addr::SocketAddr(remote)), poem::http::uri::Scheme::HTTP).into();
                Ok::<_, Infallible>(hyper::Response::from(endpoint.get_response(request).await))
            }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(socket), service).into_owned());
        tokio::spawn(async move {
            // Who says nothing, or only half a preface, is not kept: no timer of hyper runs before it knows the version.
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => {}
                () = tokio::time::sleep(SILENCE) => {
                    if spoke.load(Ordering::Relaxed) {
                        let _ = connection.await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => tracing::warn!("connections were still open at the end of the drain"),
    }
}

/// Waits until the house is told to stop.
pub async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: that is the end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The id of a request: in the log, in problem documents, in the header `x-request-id`.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The moment a request arrived, by the house clock: its time in every rule.
#[derive(Clone, Copy, Debug)]
pub struct Arrival(pub chrono::DateTime<chrono::Utc>);

/// How large a body may be at an address, in bytes (10-rules 40).
fn body_limit(path: &str) -> usize {
    match path {
        "/v1/scan-batches" => 1 << 20,
        p if p.ends_with("/lineup-imports")
            || p.starts_with("/v1/vouchers/") && p.ends_with("/addresses")
            || p.contains("/uploads/") && p.contains("/parts/")
            || p.ends_with("/poster")
            || p.ends_with("/cover") =>
        {
            8 << 20
        }
        p if p.starts_with("/v1/payment-notifications/") => 256 << 10,
        "/gate/frames" => 1 << 20,
        _ => 64 << 10,
    }
}

/// What every request passes: id, arrival, address, counted body, deadline, problems with their id, headers, log line.
pub struct Door<E> {
    inner: Arc<E>,
    app: App,
    error_page: fn(&App, &Asked, &Problem) -> Option<Response>,
}

/// What an error page may know of the request it answers.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path of the request.
    pub path: String,
    /// Its id.
    pub request_id: String,
    /// `Accept-Language` of the reader.
    pub accept_language: Option<String>,
    /// Whether the reader is a browser that asked for a page.
    pub wants_page: bool,
}

impl<E: Endpoint> Door<E> {
    /// Puts the door in front of an endpoint. `error_page` makes the page of a problem for readers of pages.
    pub fn new(app: App, inner: E, error_page: fn(&App, &Asked, &Problem) -> Option<Response>) -> Self {
        Self { inner: Arc::new(inner), app, error_page }
    }
}

impl<E: Endpoint + 'static> Endpoint for Door<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let begin = std::time::Instant::now();
        let id = fresh_request_id();
        let asked = Asked {
            path: request.uri().path().to_owned(),
            request_id: id.clone(),
            accept_language: request.header("accept-language").map(str::to_owned),
            wants_page: request.header("accept").is_some_and(|a| a.contains("text/html")) && !request.uri().path().starts_with("/v1/"),
        };
        let method = request.method().clone();
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert(Arrival(self.app.clock.now()));
        let client = client_of(&request, &self.app.settings.trusted_proxies);
        request.extensions_mut().insert(client);
        let outcome = match read_body(&mut request, body_limit(&asked.path)).await {
            Ok(()) => guarded(&self.inner, request).await,
            Err(problem) => Err(problem.into()),
        };
        let mut response = match outcome {
            Ok(response) => response,
            Err(error) => self.problem_answer(&asked, error),
        };
        furnish(&mut response, &id, self.app.settings.is_https());
        if method == Method::HEAD {
            response.take_body();
        }
        let status = response.status().as_u16();
        metrics::histogram!("gatefold_http_seconds", "class" => class(status)).record(begin.elapsed().as_secs_f64());
        tracing::info!(target: "gatefold::request", id, %method, path = %redacted(&asked.path), status, micros = begin.elapsed().as_micros(), "answered");
        Ok(response)
    }
}

impl<E: Endpoint> Door<E> {
    fn problem_answer(&self, asked: &Asked, error: poem::Error) -> Response {
        if error.is_from_response() {
            return error.into_response();
        }
        let made;
        let problem = match error.downcast_ref::<Problem>() {
            Some(problem) => problem,
            None => {
                made = problem::from_framework(&error);
                &made
            }
        };
        if problem.kind.status >= 500 {
            tracing::error!(target: "gatefold::problem", id = asked.request_id, %problem, "a request met a problem of ours");
        }
        let page = if asked.wants_page { (self.error_page)(&self.app, asked, problem) } else { None };
        page.unwrap_or_else(|| problem::answer(problem, Some(&asked.request_id)))
    }
}

/// How long a request may take to be answered, and how long it may run.
fn deadlines(request: &Request) -> (Duration, Duration) {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    // Sums over millions of rows, and the pack of a gate.
    let is_large = path.starts_with("/desk") || path == "/v1/pack" || request.header(header::AUTHORIZATION).is_some_and(|a| a.contains("gf_live_"));
    match (reads, is_large) {
        (true, false) => (READING, READING),
        (true, true) => (DEADLINE, DEADLINE),
        (false, _) => (DEADLINE, GIVEN_UP),
    }
}

/// Runs the endpoint; a panic is our mistake. A read may end with the connection of its client. Everything else runs in a task of its own: a
/// client that hangs up does not cut it in half, and what gets no answer from the database ends some time, so that it holds no connection for ever.
async fn guarded<E: Endpoint + 'static>(inner: &Arc<E>, request: Request) -> poem::Result<Response> {
    let (answered, ended) = deadlines(&request);
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let reading = AssertUnwindSafe(inner.call(request)).catch_unwind();
        return match tokio::time::timeout(answered, reading).await {
            Ok(Ok(outcome)) => outcome.map(IntoResponse::into_response),
            Ok(Err(_)) => Err(Problem::internal("a read panicked; the log has its place").into()),
            Err(_) => Err(too_long()),
        };
    }
    let inner = inner.clone();
    // In a box, because a task is moved a dozen times on its way in and out.
    let running = tokio::spawn(Box::pin(async move { tokio::time::timeout(ended, inner.call(request)).await }));
    match tokio::time::timeout(answered, running).await {
        Ok(Ok(Ok(outcome))) => outcome.map(IntoResponse::into_response),
        Err(_) | Ok(Ok(Err(_))) => Err(too_long()),
        Ok(Err(error)) => Err(Problem::internal(error).into()),
    }
}

fn too_long() -> poem::Error {
    Problem { retry_after: Some(2), ..problem::UNAVAILABLE.because("the request took too long") }.into()
}

/// Reads the body with a count, so that a length that lies or is missing does not matter.
async fn read_body(request: &mut Request, limit: usize) -> Result<(), Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let declared = request.header(header::CONTENT_LENGTH).and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
    let reader = request.take_body().into_async_read();
    if declared > limit {
        // A client that is still sending hears the answer only when somebody listens: for a while, to a bound.
        let (mut rest, mut nowhere) = (reader.take(16 << 20), tokio::io::sink());
        let _ = tokio::time::timeout(Duration::from_secs(5), tokio::io::copy(&mut rest, &mut nowhere)).await;
        return Err(problem::TOO_LARGE.because(format!("more than {limit} bytes")));
    }
    let mut bytes = Vec::with_capacity(declared);
    let read = tokio::time::timeout(Duration::from_secs(15), reader.take(limit as u64 + 1).read_to_end(&mut bytes)).await;
    match read {
        Err(_) => Err(problem::MALFORMED.because("the body came too slowly")),
        Ok(Err(_)) => Err(problem::MALFORMED.because("the body ended early")),
        Ok(Ok(_)) if bytes.len() > limit => Err(problem::TOO_LARGE.because(format!("more than {limit} bytes"))),
        Ok(Ok(_)) => {
            request.set_body(Body::from(bytes));
            Ok(())
        }
    }
}

/// The address of the client: of the connection, or what a proxy of ours says (the last address it added).
fn client_of(request: &Request, trusted: &[std::net::IpAddr]) -> Client {
    let peer = request.remote_addr().as_socket_addr().map_or(std::net::IpAddr::from([127, 0, 0, 1]), SocketAddr::ip);
    if !trusted.contains(&peer) {
        return Client(peer);
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let addresses: Vec<std::net::IpAddr> = forwarded.filter_map(|a| a.trim().parse().ok()).collect();
    Client(addresses.into_iter().rev().find(|a| !trusted.contains(a)).unwrap_or(peer))
}

/// The number of a request in this process behind five random bytes of the process: unique, and no secret.
fn fresh_request_id() -> String {
    static PROCESS: LazyLock<[u8; 5]> = LazyLock::new(|| {
        let mut noise = [0; 5];
        crate::secrets::fill(&mut noise);
        noise
    });
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let mut id = [0; 10];
    id[..5].copy_from_slice(&*PROCESS);
    id[5..].copy_from_slice(&REQUESTS.fetch_add(1, Ordering::Relaxed).to_be_bytes()[3..]);
    data_encoding::BASE32_NOPAD.encode(&id)
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// A path without the secrets that links carry: `/o/<id>/<secret>` is logged as `/o/<id>/-`.
fn redacted(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    if matches!(parts.get(1), Some(&("o" | "t" | "files" | "sign-in"))) {
        for part in parts.iter_mut().skip(3) {
            if part.len() > 20 {
                *part = "-";
            }
        }
        if parts.get(1) == Some(&"files")
            && let Some(part) = parts.get_mut(2)
        {
            *part = "-";
        }
    }
    parts.join("/")
}

/// How many headers [`furnish`] adds.
const FURNISHED: usize = 6;

/// The headers of every answer. A page that needs more (camera, WebAssembly) sets its own policy first.
fn furnish(response: &mut Response, id: &str, https: bool) {
    let headers = response.headers_mut();
    headers.reserve(FURNISHED);
    let mut add = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; manifest-src 'self'; \
         form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    );
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::REFERRER_POLICY, "no-referrer");
    add(header::X_FRAME_OPTIONS, "DENY");
    if https {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", id);
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
}
