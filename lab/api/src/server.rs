//! Starting and stopping: listeners, certificates, kubeconfig, and the in-process client.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::state::{Server, Shared};
use crate::{gc, router, tls};

/// How to start the server.
#[derive(Debug, Default)]
pub struct Options {
    /// Sockets that are bound already, perhaps in another network namespace. May be empty: [`ApiServer::client`] needs none.
    pub listeners: Vec<TcpListener>,
    /// Further names and addresses for the serving certificate; the usual ones and the listeners' addresses are always in.
    pub advertise: Vec<String>,
    /// The folder that receives `kubeconfig` (mode 0600); made if missing.
    pub dir: PathBuf,
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
pub async fn start(options: Options) -> Result<ApiServer> {
    let addresses: Vec<SocketAddr> = options.listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let identity = tls::identity(&options.advertise, &ips)?;
    let stop = CancellationToken::new();
    let state: Shared = Arc::new(Server::new(identity.ca_pem.clone(), stop.clone()));
    let mut server = ApiServer {
        router: router::router(state.clone()),
        ca_pem: identity.ca_pem,
        token: state.tokens().admin(),
        dir: options.dir,
        addresses,
        stop,
        tasks: JoinSet::new(),
    };
    server.tasks.spawn(gc::run(state));
    for listener in options.listeners {
        server
            .serve(listener, identity.config.clone())
            .context("cannot use a listener")?;
    }
    server.write_files()?;
    Ok(server)
}

impl ApiServer {
    /// A client with every right that calls the server in-process, without a socket.
    pub fn client(&self) -> kube::Client {
        let authorization = http::HeaderValue::from_str(&format!("Bearer {}", self.token));
        let sign = move |request: http::Request<kube::client::Body>| {
            let mut request = request.map(axum::body::Body::new);
            if let Ok(value) = &authorization {
                let header = request.headers_mut().entry(http::header::AUTHORIZATION);
                header.or_insert_with(|| value.clone());
            }
            request
        };
        kube::Client::new(self.router.clone().map_request(sign), "default")
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

    fn write_files(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        if let Some(address) = self.addresses.first() {
            write_private(&self.kubeconfig_path(), &self.kubeconfig(&format!("https://{address}")))?;
        }
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener, config: Arc<rustls::ServerConfig>) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let (handle, router, stop) = (axum_server::Handle::new(), self.router.clone(), self.stop.clone());
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config))?
            .map(|tls| tls.acceptor(axum_server::accept::NoDelayAcceptor))
            .handle(handle.clone());
        self.tasks.spawn(async move {
            let ended = async {
                stop.cancelled().await;
                handle.graceful_shutdown(Some(Duration::from_millis(200)));
            };
            let (served, ()) = tokio::join!(server.serve(router.into_make_service()), ended);
            if let Err(error) = served {
                tracing::error!(%error, "API listener ended");
            }
        });
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.cancel();
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
fn write_private(path: &Path, text: &str) -> Result<()> {
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
    write().with_context(|| format!("cannot write {}", path.display()))
}
