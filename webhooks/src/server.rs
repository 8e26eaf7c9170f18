//! The routes, and how they are served.
//!
//! ```text
//! API server ──TLS──► serve ──► router ──► review ──► verdict / convert
//!                      ▲                     ▲
//!        certificate (watch channel)  Reader, Rules (watch channel)
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router, middleware};
use metallb_api::names;
use metallb_runtime::cause::explain;
use metallb_runtime::serve::{self, Bodies};
use metallb_runtime::tasks::unless_stopped;
use metallb_runtime::{CancellationToken, listen, tls};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::metrics::{self, Metrics};
use crate::reader::{ReadError, Reader};
use crate::readiness::Readiness;
use crate::review::{self, ReviewError};
use crate::verdict::{Existing, Kind, Request, Rules, Verdict, judge};

/// The largest admission request: an API server accepts objects of 3 MiB, and sends the old one with the new one. A MiB is
/// left for who asks, and how.
pub const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// The largest conversion request, which may carry a whole list. A BGPPeer takes 2 KiB with its managed fields: this is
/// room for 8,000 of them in a list without pages, and for pages of 500 with 32 KiB each.
pub const CONVERSION_BODY_LIMIT: usize = 16 * 1024 * 1024;

/// How many decisions are made at the same time.
const SLOTS: usize = 4;

/// How many conversions are made at the same time: they take a processor and nothing else.
const CONVERSIONS: usize = 1;

/// What the routes work with.
#[derive(Clone)]
pub struct Judge {
    reader: Arc<dyn Reader>,
    rules: watch::Receiver<Rules>,
    /// A burst costs time, not memory: each decision holds a parsed configuration while it lasts.
    slots: Arc<Semaphore>,
    conversions: Arc<Semaphore>,
    admission_bodies: Bodies,
    conversion_bodies: Bodies,
    metrics: Option<Metrics>,
}

impl Judge {
    /// Judges by the rules of the moment, against what the reader reads.
    #[must_use]
    pub fn new(reader: Arc<dyn Reader>, rules: watch::Receiver<Rules>) -> Self {
        Self {
            reader,
            rules,
            slots: Arc::new(Semaphore::new(SLOTS)),
            conversions: Arc::new(Semaphore::new(CONVERSIONS)),
            admission_bodies: Bodies::up_to(BODY_LIMIT),
            conversion_bodies: Bodies::up_to(CONVERSION_BODY_LIMIT),
            metrics: None,
        }
    }

    /// Counts what is judged.
    #[must_use]
    pub fn counted(self, metrics: Option<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    async fn verdict(&self, request: &Request) -> Result<Verdict, ReadError> {
        let current = if request.kind.needs_resources() {
            self.reader.current().await?
        } else {
            Arc::default()
        };
        let services = if request.needs_services() {
            or_nothing(self.reader.services().await)
        } else {
            Vec::new()
        };
        let announced = if request.needs_announced() {
            or_nothing(self.reader.announced().await)
        } else {
            Vec::new()
        };
        let rules = self.rules.borrow().clone();
        // Nobody closes it.
        let _slot = self.slots.acquire().await;
        let existing = Existing {
            resources: &current,
            services: &services,
            announced: &announced,
        };
        Ok(judge(request, existing, &rules))
    }
}

/// What is read for warnings only must not stand in the way.
fn or_nothing<T>(read: Result<Vec<T>, ReadError>) -> Vec<T> {
    read.unwrap_or_else(|error| {
        warn!(error = explain(&error), "cannot tell who is concerned");
        Vec::new()
    })
}

/// Builds the routes of all kinds, and of conversion.
pub fn router(judge: Judge) -> Router {
    let validate =
        |kind: Option<Kind>| move |state: State<Judge>, request: HttpRequest| admission(kind, state, request);
    let deletions = Router::new().route(names::DELETION_PATH, post(validate(None)));
    let routes = Kind::ALL.into_iter().fold(deletions, |router, kind| {
        router.route(kind.path(), post(validate(Some(kind))))
    });
    let measured = middleware::from_fn_with_state(judge.metrics.clone(), metrics::measure);
    routes
        .route(names::CONVERSION_PATH, post(conversion))
        .route_layer(measured)
        .with_state(judge)
}

async fn admission(kind: Option<Kind>, State(judge): State<Judge>, request: HttpRequest) -> Response {
    if let Err(refusal) = check_content_type(request.headers()) {
        return refusal;
    }
    let body = match judge.admission_bodies.read(request).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let (envelope, request) = match review::open_admission(&body.bytes, kind) {
        Ok(opened) => opened,
        Err(error) => return bad_request(&error),
    };
    let (kind, operation) = (request.kind, request.operation);
    let decided = judge.verdict(&request).await;
    if let Some(metrics) = &judge.metrics {
        metrics.reviewed(kind, operation, decided.as_ref().ok());
    }
    let answer = match decided {
        Ok(verdict) => {
            // The reasons go to the one who asked; they may quote what must not be logged.
            debug!(
                ?kind,
                ?operation,
                allowed = verdict.allowed(),
                errors = verdict.errors.len(),
                "admission"
            );
            review::seal_admission(envelope, &verdict)
        }
        Err(error) => {
            let error = explain(&error);
            warn!(
                kind = kind.as_str(),
                operation = operation.as_str(),
                error,
                "cannot judge"
            );
            review::seal_failure(envelope, &error)
        }
    };
    Json(answer).into_response()
}

async fn conversion(State(judge): State<Judge>, request: HttpRequest) -> Response {
    if let Err(refusal) = check_content_type(request.headers()) {
        return refusal;
    }
    let body = match judge.conversion_bodies.read(request).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    // Nobody closes it.
    let slot = judge.conversions.clone().acquire_owned().await;
    // Whoever else runs here must not wait for a large list.
    let converted = tokio::task::spawn_blocking(move || {
        let answer = review::answer_conversion(&body.bytes);
        drop((body, slot));
        answer
    });
    match converted.await {
        Ok(Ok(answer)) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Ok(Err(error)) => bad_request(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[allow(clippy::result_large_err, reason = "the error is the answer")]
fn check_content_type(headers: &HeaderMap) -> Result<(), Response> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = format!("content type must be application/json, not {media:?}");
    Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response())
}

fn bad_request(error: &ReviewError) -> Response {
    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
}

/// How the server speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Versions, cipher suites, curves.
    pub options: tls::Options,
    /// Whether HTTP/2 is offered besides HTTP/1.1.
    pub http2: bool,
    /// Options that take the place of the first ones while the server runs.
    pub changes: Option<watch::Receiver<tls::Options>>,
}

/// Serves the routes until `stop`; a new certificate is used from the next connection on.
///
/// Waits for the first certificate before it listens, so that nobody meets a half-ready server.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    settings: TlsSettings,
    mut certificate: watch::Receiver<Option<tls::KeyPair>>,
    routes: Router,
    ready: &Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(config) = unless_stopped(&stop, first(&settings, &mut certificate)).await? else {
        return Ok(());
    };
    let (config, tls) = watch::channel(Arc::new(config));
    let serving = serve::Settings {
        tls: Some(tls),
        http2: settings.http2,
        ..serve::Settings::default()
    };
    let swap = swap_certificates(config, settings, certificate, stop.clone());
    let listener = listen::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    ready.listens();
    info!(%address, "serving webhooks");
    // The helper does not end the server, and ends with it.
    let helper = async {
        swap.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serve::serve(listener, serving, routes, stop) => {
            served.with_context(|| format!("webhook server on {address}"))
        }
        () = helper => Ok(()),
    }
}

/// Waits for a certificate that can be used: files may be half written when they are first seen.
async fn first(
    settings: &TlsSettings,
    certificate: &mut watch::Receiver<Option<tls::KeyPair>>,
) -> anyhow::Result<ServerConfig> {
    loop {
        let pair = certificate.borrow_and_update().clone();
        match pair.map(|pair| settings.options.server_config(&pair, settings.http2)) {
            Some(Ok(config)) => return Ok(config),
            Some(Err(error)) => warn!(error = explain(&error), "cannot use the serving certificate yet"),
            None => {}
        }
        certificate
            .changed()
            .await
            .context("nobody provides a certificate any more")?;
    }
}

async fn swap_certificates(
    config: watch::Sender<Arc<ServerConfig>>,
    mut settings: TlsSettings,
    mut certificate: watch::Receiver<Option<tls::KeyPair>>,
    stop: CancellationToken,
) {
    let mut changes = settings.changes.take();
    loop {
        tokio::select! {
            changed = certificate.changed() => if changed.is_err() { return },
            Some(options) = changed_options(&mut changes) => settings.options = options,
            () = stop.cancelled() => return,
        }
        let Some(pair) = certificate.borrow_and_update().clone() else {
            continue;
        };
        match settings.options.server_config(&pair, settings.http2) {
            Ok(new) => {
                config.send_replace(Arc::new(new));
                info!("serving certificate or TLS settings replaced");
            }
            // The old one serves on: better than none.
            Err(error) => warn!(error = explain(&error), "cannot use the new serving certificate"),
        }
    }
}

/// Waits for other options; for ever if there is nobody to give any.
async fn changed_options(changes: &mut Option<watch::Receiver<tls::Options>>) -> Option<tls::Options> {
    let Some(receiver) = changes else {
        return std::future::pending().await;
    };
    if receiver.changed().await.is_err() {
        *changes = None;
        return None;
    }
    Some(receiver.borrow_and_update().clone())
}

#[cfg(test)]
mod tests;
