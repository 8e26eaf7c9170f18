//! Starting and stopping: listeners, certificates, kubeconfig, and the in-process client.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::service::Nets;
use crate::state::{Server, Shared};
use crate::tls::{self, TlsError};
use crate::{gc, router};

/// How to start the server.
#[derive(Debug)]
pub struct Options {
    /// Sockets that are bound already, perhaps in another network namespace. May be empty: [`ApiServer::client`] needs none.
    pub listeners: Vec<TcpListener>,
    /// Further names and addresses for the serving certificate; the usual ones and the listeners' addresses are always in.
    pub advertise: Vec<String>,
    /// The folder that receives `kubeconfig` (mode 0600) and `ca.crt`; made if missing.
    pub dir: PathBuf,
    /// The ranges of cluster IPs in CIDR notation, the primary family first; one or two.
    pub service_cidrs: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            advertise: Vec::new(),
            dir: std::env::temp_dir(),
            service_cidrs: vec!["10.96.0.0/16".to_owned(), "fd00:10:96::/112".to_owned()],
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificates could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file could not be written or a listener not be used.
    #[error("cannot {what}")]
    Io {
        /// What was attempted.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `service_cidrs` is not one or two ranges of different families.
    #[error("service range {0:?}: {1}")]
    ServiceCidr(String, &'static str),
}

/// A running API server.
pub struct ApiServer {
    router: Router,
    ca_pem: String,
    token: String,
    dir: PathBuf,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Starts serving on every listener.
///
/// # Errors
/// If certificates or files cannot be made, or a listener cannot be used.
pub async fn start(options: Options) -> Result<ApiServer, StartError> {
    let addresses: Vec<SocketAddr> = options.listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let identity = tls::identity(&options.advertise, &ips)?;
    let nets = Nets::new(&options.service_cidrs).map_err(|(cidr, why)| StartError::ServiceCidr(cidr, why))?;
    let stop = CancellationToken::new();
    let state: Shared = Arc::new(Server::new(nets, identity.ca_pem.clone(), stop.clone()));
    let token = state.tokens().admin();
    let router = router::router(state.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(gc::run(state));
    for listener in options.listeners {
        serve(
            listener,
            identity.config.clone(),
            router.clone(),
            stop.clone(),
            &mut tasks,
        )?;
    }
    let server = ApiServer {
        router,
        ca_pem: identity.ca_pem,
        token,
        dir: options.dir,
        addresses,
        stop,
        tasks,
    };
    server.write_files()?;
    Ok(server)
}

impl ApiServer {
    /// A client with every right that calls the server in-process, without a socket.
    pub fn client(&self) -> kube::Client {
        let authorization = format!("Bearer {}", self.token);
        let service = self
            .router
            .clone()
            .map_request(move |request: http::Request<kube::client::Body>| {
                let mut request = request.map(axum::body::Body::new);
                if let Ok(value) = http::HeaderValue::from_str(&authorization) {
                    request
                        .headers_mut()
                        .entry(http::header::AUTHORIZATION)
                        .or_insert(value);
                }
                request
            });
        kube::Client::new(service, "default")
    }

    /// The text of a kubeconfig with every right for the given URL, such as `https://10.0.0.1:6443`.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        kubeconfig(server_url, &self.ca_pem, &self.token)
    }

    /// The kubeconfig that was written at start, for the first listener.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The certificate authority that signed the serving certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the server listens, in the order of [`Options::listeners`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends every watch and connection and waits for the tasks.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    fn write_files(&self) -> Result<(), StartError> {
        let io = |what: String| move |source| StartError::Io { what, source };
        std::fs::create_dir_all(&self.dir).map_err(io(format!("make {}", self.dir.display())))?;
        write_private(&self.dir.join("ca.crt"), &self.ca_pem)?;
        if let Some(address) = self.addresses.first() {
            write_private(
                &self.kubeconfig_path(),
                &self.kubeconfig(&format!("https://{}", reachable(*address))),
            )?;
        }
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The address a local client dials for a listener that may be bound to "any".
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

fn kubeconfig(server_url: &str, ca_pem: &str, token: &str) -> String {
    let ca = BASE64.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         clusters:\n- name: lab\n  cluster:\n    server: {server_url}\n    certificate-authority-data: {ca}\n\
         contexts:\n- name: lab\n  context:\n    cluster: lab\n    user: admin\n    namespace: default\n\
         users:\n- name: admin\n  user:\n    token: {token}\n"
    )
}

/// Replaces a file with one that only its owner can read.
fn write_private(path: &Path, text: &str) -> Result<(), StartError> {
    let write = || -> std::io::Result<()> {
        // Several servers may share a folder.
        let partial = path.with_extension(crate::meta::suffix(8));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|source| StartError::Io {
        what: format!("write {}", path.display()),
        source,
    })
}

fn serve(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    router: Router,
    stop: CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let unusable = |source| StartError::Io {
        what: "use a listener".to_owned(),
        source,
    };
    listener.set_nonblocking(true).map_err(unusable)?;
    let handle = axum_server::Handle::new();
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config))
        .map_err(unusable)?
        .map(|tls| tls.acceptor(axum_server::accept::NoDelayAcceptor));
    let serving = server.handle(handle.clone());
    tasks.spawn(async move {
        tokio::select! {
            result = serving.serve(router.into_make_service()) => {
                if let Err(error) = result {
                    tracing::error!(%error, "API listener ended");
                }
            }
            () = async { stop.cancelled().await; handle.graceful_shutdown(Some(Duration::from_millis(200))); std::future::pending::<()>().await } => {}
        }
    });
    Ok(())
}
