use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Access, Authorizer, Error, glass};
use crate::cause::explain;
use crate::cert_files::{Files, Seen};
use crate::listen;
use crate::serve::{Settings, panics, serve};
use crate::tls;

/// How metrics are served.
#[derive(Clone, Debug, Default)]
pub struct MetricsOptions {
    /// TLS version, cipher suites, curves.
    pub tls: tls::Options,
    /// Directory with `tls.crt` and `tls.key`; as long as there are not both a self-signed certificate is served.
    pub cert_dir: Option<PathBuf>,
    /// What is served besides: each path to whom the authorizer allows that path.
    pub looking_glass: Option<Router>,
    /// What is served besides to everybody.
    pub others: Router,
    /// Metrics that are gathered at each scrape, beside those of the registry.
    pub scraped: Option<Scraped>,
}

/// Metrics that are gathered at each scrape. Gathering ends when the client disconnects.
#[derive(Clone)]
pub struct Scraped(Arc<dyn Fn() -> BoxFuture<'static, Vec<MetricFamily>> + Send + Sync>);

impl Scraped {
    /// Calls `ask` at each scrape.
    pub fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<MetricFamily>> + Send + 'static,
    {
        Self(Arc::new(move || ask().boxed()))
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}

/// Serves `registry` at `https://<address>/metrics` to whom `authorizer` allows, until `stop`.
///
/// 401 without a valid token, 403 without the right, 500 when the API server cannot be asked.
///
/// # Errors
/// When the address cannot be bound, or TLS cannot be set up.
pub async fn serve_metrics(
    address: SocketAddr,
    registry: Registry,
    options: MetricsOptions,
    authorizer: Authorizer,
    stop: CancellationToken,
) -> Result<(), Error> {
    let failed = |source| Error::Serve { address, source };
    // Once is enough.
    let _ = register_panics(&registry);
    let pair = tls::self_signed()?;
    let (config, tls) = watch::channel(Arc::new(options.tls.server_config(&pair, false)?));
    let follow = async {
        if let Some(dir) = options.cert_dir {
            follow(&dir, &options.tls, &config).await;
        }
        std::future::pending::<()>().await;
    };
    let settings = Settings {
        tls: Some(tls),
        ..Settings::default()
    };
    let listener = listen::bind(address).map_err(failed)?;
    let shared = Shared {
        registry,
        authorizer: authorizer.clone(),
        scraped: options.scraped,
    };
    let mut routes = router(shared).merge(options.others);
    if let Some(more) = options.looking_glass {
        routes = routes.merge(glass::guarded(more, authorizer));
    }
    tokio::select! {
        result = serve(listener, settings, routes, stop) => result.map_err(failed),
        () = follow => Ok(()),
    }
}

/// Registers the count of requests to our servers that ended in a panic. [`serve_metrics`] does so by itself.
///
/// # Errors
/// When the name is registered already.
pub fn register_panics(registry: &Registry) -> prometheus::Result<()> {
    match panics::counter() {
        Some(panics) => registry.register(Box::new(panics.clone())),
        None => Ok(()),
    }
}

/// Registers what client-go and client_golang tell of a process: its requests to API servers, CPU, memory, files; and
/// `metallb_build_info`, a single series with its version.
///
/// # Errors
/// When a name is registered already.
pub fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build = Opts::new("metallb_build_info", "1, with the version of the program.");
    let build = IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?;
    build.set(1);
    registry.register(Box::new(build))?;
    match crate::client::requests() {
        Some(requests) => registry.register(Box::new(requests.clone())),
        None => Ok(()),
    }
}

/// Takes each new certificate into use; one that does not fit its key yet is tried again.
async fn follow(dir: &Path, options: &tls::Options, config: &watch::Sender<Arc<ServerConfig>>) {
    let mut files = Files::new(dir);
    loop {
        match files.look().await {
            Seen::New(pair) => match options.server_config(&pair, false) {
                Ok(server) => {
                    config.send_replace(Arc::new(server));
                    info!(event = "certificateReloaded", dir = %dir.display());
                }
                Err(error) => warn!(event = "certificateReload", error = explain(&error)),
            },
            Seen::Gone(error) => debug!(event = "certificateReload", %error, "keeping the last certificate"),
            Seen::Same | Seen::NotYet(_) => {}
        }
        files.pause().await;
    }
}

#[derive(Clone)]
struct Shared {
    registry: Registry,
    authorizer: Authorizer,
    scraped: Option<Scraped>,
}

fn router(shared: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(shared)
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(refusal) = refusal(shared.authorizer.judge(authorization, "/metrics").await) {
        return refusal;
    }
    let mut families = shared.registry.gather();
    if let Some(Scraped(ask)) = &shared.scraped {
        families.extend(ask().await);
        families.sort_by(|one, other| one.name().cmp(other.name()));
    }
    exposition(&families)
}

/// What is answered instead to whom may not read.
pub(super) fn refusal(access: Access) -> Option<Response> {
    Some(match access {
        Access::Allowed => return None,
        Access::Unauthenticated => (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response(),
        Access::Denied => (StatusCode::FORBIDDEN, "Forbidden\n").into_response(),
        Access::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "cannot check access\n").into_response(),
    })
}

fn exposition(families: &[MetricFamily]) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{Call, client};
    use crate::tls::KeyPair;
    use rstest::rstest;
    use serde_json::json;
    use tower::ServiceExt;

    async fn scrape(authorization: Option<&str>, known: bool, allowed: bool) -> (StatusCode, String) {
        let registry = Registry::new();
        let gauge = IntGauge::new("metallb_test", "Test.").unwrap();
        gauge.set(7);
        registry.register(Box::new(gauge)).unwrap();
        let (client, _) = client(move |call| match call.path.ends_with("/tokenreviews") {
            true => Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"authenticated": known, "user": {}}})),
            false => Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}})),
        });
        let mut request = http::Request::get("/metrics");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let scraped = Scraped::new(async || {
            let gauge = IntGauge::new("metallb_scraped", "Test.").unwrap();
            gauge.set(8);
            prometheus::core::Collector::collect(&gauge)
        });
        let router = router(Shared {
            registry,
            authorizer: Authorizer::new(client),
            scraped: Some(scraped),
        });
        let response = router
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_process_tells_its_version_and_what_it_uses() {
        let registry = Registry::new();
        register_process(&registry).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            text.contains(&format!("metallb_build_info{{version=\"{version}\"}} 1\n")),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[tokio::test]
    async fn the_port_is_reached_over_both_families() {
        // CTL-142
        tls::install_crypto_provider();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let stop = CancellationToken::new();
        let (client, _) = client(|_| Call::failure(500, "InternalError"));
        let server = tokio::spawn(serve_metrics(
            crate::listen::everywhere(port),
            Registry::new(),
            MetricsOptions::default(),
            Authorizer::new(client),
            stop.clone(),
        ));
        for host in ["127.0.0.1", "::1"] {
            while tokio::net::TcpStream::connect((host, port)).await.is_err() {
                assert!(!server.is_finished(), "{host}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_served_soon_after_it_is_there_or_renewed_and_a_broken_one_never() {
        // CTL-136
        tls::install_crypto_provider();
        let dir = std::env::temp_dir().join(format!("metallb-metrics-{}", std::process::id()));
        let write = |pair: &KeyPair| {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("tls.crt"), &pair.certificate).unwrap();
            std::fs::write(dir.join("tls.key"), &pair.key).unwrap();
        };
        let [made, first, second] = [(); 3].map(|()| tls::self_signed().unwrap());
        let options = tls::Options::default();
        let (config, mut served) = watch::channel(Arc::new(options.server_config(&made, false).unwrap()));
        let mut follow = std::pin::pin!(follow(&dir, &options, &config));
        let mut changes = async |seconds| {
            let _ = tokio::time::timeout(Duration::from_secs(seconds), &mut follow).await;
            let changed = served.has_changed().unwrap();
            served.mark_unchanged();
            changed
        };
        assert!(!changes(130).await, "there are no files yet");
        write(&first);
        assert!(changes(3).await, "the files are there");
        assert!(!changes(130).await, "the same files are no news");
        // Half of a renewal: the certificate fits no key.
        std::fs::write(dir.join("tls.crt"), &second.certificate).unwrap();
        assert!(!changes(130).await);
        write(&second);
        assert!(changes(5).await);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!changes(130).await, "the last one serves on");
    }

    // CTL-134
    #[rstest]
    #[case::no_token(None, true, true, 401)]
    #[case::unknown_token(Some("Bearer x"), false, true, 401)]
    #[case::no_right(Some("Bearer x"), true, false, 403)]
    #[case::allowed(Some("Bearer x"), true, true, 200)]
    #[tokio::test]
    async fn access_decides_the_status(
        #[case] authorization: Option<&str>,
        #[case] known: bool,
        #[case] allowed: bool,
        #[case] expected: u16,
    ) {
        let (status, body) = scrape(authorization, known, allowed).await;
        assert_eq!(status.as_u16(), expected);
        for line in ["metallb_test 7", "metallb_scraped 8"] {
            assert_eq!(body.contains(line), expected == 200, "{line}");
        }
    }
}
