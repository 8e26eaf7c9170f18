//! What `/metrics` shows of the webhooks: the series that users of upstream know from controller-runtime, and verdicts.

use std::time::Instant;

use axum::extract::{Request as HttpRequest, State};
use axum::middleware::Next;
use axum::response::Response;
use metallb_api::names;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::verdict::{Kind, Operation, Verdict};

/// The series of the webhooks; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    latency: HistogramVec,
    in_flight: IntGaugeVec,
    reviews: IntCounterVec,
}

impl Metrics {
    /// Creates the series and adds them to `registry`.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let name = |name: &str| format!("controller_runtime_webhook_{name}");
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    name("requests_total"),
                    "Total number of admission requests by HTTP status code.",
                ),
                &["webhook", "code"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new(
                    name("latency_seconds"),
                    "Histogram of the latency of processing admission requests",
                ),
                &["webhook"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new(
                    name("requests_in_flight"),
                    "Current number of admission requests being served.",
                ),
                &["webhook"],
            )?,
            reviews: IntCounterVec::new(
                Opts::new(
                    "metallb_admission_reviews_total",
                    "Admission reviews by kind, operation and verdict: allowed, warned, denied, or failed when nothing could be decided.",
                ),
                &["kind", "operation", "verdict"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.reviews.clone()))?;
        // Alerts on a rate need a series before the first request.
        for path in Kind::ALL.map(Kind::path).into_iter().chain(OTHER_PATHS) {
            for code in ["200", "500"] {
                metrics.requests.with_label_values(&[path, code]);
            }
            metrics.in_flight.with_label_values(&[path]);
        }
        Ok(metrics)
    }

    /// Counts a decision, or that none could be made.
    pub(crate) fn reviewed(&self, kind: Kind, operation: Operation, verdict: Option<&Verdict>) {
        let result = match verdict {
            None => "failed",
            Some(verdict) if !verdict.allowed() => "denied",
            Some(verdict) if !verdict.warnings.is_empty() => "warned",
            Some(_) => "allowed",
        };
        self.reviews
            .with_label_values(&[kind.as_str(), operation.as_str(), result])
            .inc();
    }
}

const OTHER_PATHS: [&str; 2] = [names::DELETION_PATH, names::CONVERSION_PATH];

/// Measures a request to one of our paths, which are few.
pub(crate) async fn measure(State(metrics): State<Option<Metrics>>, request: HttpRequest, next: Next) -> Response {
    let Some(metrics) = metrics else {
        return next.run(request).await;
    };
    let path = request.uri().path().to_owned();
    let labels = [path.as_str()];
    let running = Running::start(metrics.in_flight.with_label_values(&labels));
    let start = Instant::now();
    let response = next.run(request).await;
    drop(running);
    metrics
        .latency
        .with_label_values(&labels)
        .observe(start.elapsed().as_secs_f64());
    metrics
        .requests
        .with_label_values(&[path.as_str(), response.status().as_str()])
        .inc();
    response
}

/// Counts itself among the running requests, also when the client goes away meanwhile.
struct Running(prometheus::IntGauge);

impl Running {
    fn start(gauge: prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
