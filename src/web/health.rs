//! What an operator and their machines look at: `/healthz`, `/readyz`, metrics.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use poem::{EndpointExt, Response, Route, endpoint::BoxEndpoint, get, handler, http::StatusCode, web::Data};
use serde_json::json;
use tracing_appender::non_blocking::ErrorCounter;

use crate::{
    app::App,
    postgres::{self, When},
};

/// The process answers.
#[handler]
pub fn healthz() -> Response {
    Response::builder().content_type("application/json").body(json!({ "status": "ok" }).to_string())
}

/// Whether this server should get requests: database, migrations, isolation, durability, clock.
#[handler]
pub async fn readyz(app: Data<&App>) -> Response {
    let findings = postgres::readiness(&app.pools.web, When::Running, app.clock.now()).await;
    let ready = findings.iter().all(|f| f.good);
    let checks: Vec<_> = findings.iter().map(|f| json!({ "name": f.name, "good": f.good, "detail": f.detail })).collect();
    Response::builder()
        .status(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
        .content_type("application/json")
        .body(json!({ "status": if ready { "ready" } else { "not_ready" }, "checks": checks }).to_string())
}

fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                metrics_exporter_prometheus::Matcher::Suffix("seconds".to_owned()),
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0],
            )
            .and_then(|b| {
                b.set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("size".to_owned()), &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
            });
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        // A second recorder in one process (tests) leaves the first in place.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// The lines of the log that nobody took.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts to gather metrics; the log counts for itself what it drops.
pub fn gather(dropped: ErrorCounter) {
    recorder();
    let _ = DROPPED.set(dropped);
}

#[handler]
fn show() -> Response {
    let handle = recorder();
    if let Some(dropped) = DROPPED.get() {
        metrics::counter!("gatefold_log_lines_dropped_total").absolute(dropped.dropped_lines() as u64);
    }
    handle.run_upkeep();
    Response::builder().content_type("text/plain; version=0.0.4").body(handle.render())
}

/// The endpoint of the private address.
#[must_use]
pub fn metrics_endpoint() -> BoxEndpoint<'static> {
    Route::new().at("/metrics", get(show)).map_to_response().boxed()
}
