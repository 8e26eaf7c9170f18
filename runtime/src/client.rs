//! The connection to the API server.

mod pace;

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prometheus::{IntCounterVec, Opts};
use tower::retry::RetryLayer;
use tower::{BoxError, Service, ServiceBuilder};

/// Where Kubernetes puts the service account of a Pod.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that says nothing for so long is dead: a watch lasts a minute, and ends with words.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
/// Waits between tries of one request that is answered by 429, 503 or 504 (`Retry-After` wins if it is longer), and how
/// many: what fails longer is its caller's business, who knows what has changed meanwhile.
///
/// kube's own policy waits up to 1000 s, long after the API server is well again.
const RETRY: (Duration, Duration, u32) = (Duration::from_millis(50), Duration::from_secs(1), 4);

/// `rest_client_requests_total`, over all clients of the process.
static REQUESTS: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let help = "Number of HTTP requests, partitioned by status code, method, and host.";
    let opts = Opts::new("rest_client_requests_total", help);
    IntCounterVec::new(opts, &["code", "method", "host"]).ok()
});

/// The counter of requests, to be registered.
pub(crate) fn requests() -> Option<&'static IntCounterVec> {
    REQUESTS.as_ref()
}

/// Failure to find or use the address and credentials of the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service account of the Pod cannot be used.
    #[error("cannot use the service account of this pod")]
    InCluster(#[from] kube::config::InClusterError),
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The configuration does not make a client.
    #[error("cannot build a client")]
    Client(#[from] kube::Error),
    /// Our own waits contradict each other.
    #[error("cannot build a client")]
    Retry(#[from] kube::client::retry::InvalidBackoff),
    /// The component name does not fit an HTTP header.
    #[error("component name is not a legal user agent")]
    UserAgent(#[from] http::header::InvalidHeaderValue),
}

/// Builds a client whose requests carry `component` as user agent: inside a Pod with its service account, elsewhere
/// with the kubeconfig that `KUBECONFIG` names (else `~/.kube/config`).
///
/// No request is sent; an unreachable server shows at the first call. The token file is read again before it expires.
///
/// # Errors
/// When neither source exists or is legible.
pub async fn connect(component: &str) -> Result<Client, Error> {
    connect_with(component, None).await
}

/// Like [`connect`]; a kubeconfig that is given (`--kubeconfig`) wins over everything else.
///
/// # Errors
/// When the source does not exist or is not legible.
pub async fn connect_with(component: &str, kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None if in_cluster() => Config::incluster_env()?,
        None => Config::from_kubeconfig(&KubeConfigOptions::default()).await?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    let agent = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, agent.parse()?));
    build(config)
}

/// Builds kube's default stack over a connector with `TCP_NODELAY`.
///
/// kube's own leaves Nagle's algorithm on: a write that follows the tail of a watch waits for the
/// server's delayed acknowledgement, 40 ms on Linux.
fn build(config: Config) -> Result<Client, Error> {
    if config.proxy_url.is_some() {
        return Ok(Client::try_from(config)?);
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let (first, longest, tries) = RETRY;
    let policy = RetryPolicy::new(first, longest, tries, true)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(policy))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .layer_fn(pace::Pace::new)
        .layer_fn(|inner| Counted { inner })
        .service(hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(connector));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).join("token").exists()
}

/// Counts what goes over the wire, repetitions included.
#[derive(Clone)]
struct Counted<S> {
    inner: S,
}

impl<S, B, R> Service<http::Request<B>> for Counted<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = request.method().clone();
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map(|answer| answer.status().as_u16().to_string());
            // What client-go says when there was no answer.
            let code = code.unwrap_or_else(|_| "<error>".to_owned());
            if let Some(requests) = requests() {
                requests
                    .with_label_values(&[code.as_str(), method.as_str(), host.as_str()])
                    .inc();
            }
            answer
        })
    }
}
