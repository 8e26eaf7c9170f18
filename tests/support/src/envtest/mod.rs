//! A real control plane: etcd, kube-apiserver, kube-controller-manager and, for real nodes, kube-scheduler, in the lab's
//! namespaces.
//!
//! ```text
//! the machine's 127.0.0.1:N ── forward ──► kube-apiserver 172.30.0.1:6443 ──► etcd 127.0.0.1:2379
//!                                            ▲            ▲
//!                              lab, its nodes and pods    kube-controller-manager
//! ```
//! Alone, without kubelet, scheduler and kube-proxy: the lab's own are in their place.

mod assets;
pub mod audit;
mod daemon;
mod flags;
mod forward;
mod pki;

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

pub use assets::{Extent, Kubernetes, obstacle, prepare};
use daemon::Daemons;

use futures::FutureExt;
use futures::future::BoxFuture;
use metallb_lab::platform::ControlPlane;
use metallb_lab::{API_ADDRESS, Families, LAB_SIX};

/// The folder of all their files, in the lab's.
const HOME: &str = "control-plane";
/// How long the programs may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(50);
/// How long they may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Where the real control plane of the lab in `dir` logs requests, if it has one.
pub(crate) fn audit_log(dir: &Path) -> PathBuf {
    dir.join(HOME).join("audit.log")
}

/// A running real control plane.
pub(crate) struct Envtest {
    /// Kubernetes' programs.
    pub programs: PathBuf,
    client: Client,
    ca: String,
    kubeconfig: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Envtest {
    /// Starts all programs, in `dir`, and waits until they serve; `outside` is a listener of the machine. The `nodes`, if
    /// any, are real ones, and get credentials.
    pub(crate) async fn start(
        dir: &Path,
        outside: TcpListener,
        version: Option<Kubernetes>,
        nodes: &[String],
        families: Families,
    ) -> Result<Self> {
        let extent = if nodes.is_empty() {
            Extent::ControlPlane
        } else {
            Extent::Nodes
        };
        let programs = assets::find(version, extent)?;
        let home = dir.join(HOME);
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        let pki = pki::create(&home, names())?;
        let port = outside.local_addr()?.port();
        let (kubeconfig, admin) = write_credentials(dir, &home, &pki.ca, port, nodes)?;
        fs::write(home.join("audit-policy.yaml"), flags::AUDIT_POLICY)?;
        let (sender, mut ended) = mpsc::unbounded_channel();
        let daemons = Daemons {
            programs: programs.clone(),
            logs: home.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ended: sender,
        };
        let client = client(&admin).await?;
        daemons.start("etcd", flags::etcd(&home))?;
        daemons.start("kube-apiserver", flags::api_server(&home, &pki, API_ADDRESS, families))?;
        ready("kube-apiserver", serves(client.clone()), &mut ended).await?;
        let controllers = flags::controller_manager(&home, &pki, !nodes.is_empty(), families);
        daemons.start("kube-controller-manager", controllers)?;
        if !nodes.is_empty() {
            daemons.start(
                "kube-scheduler",
                flags::scheduler(&kubeconfig_of(dir, "kube-scheduler")),
            )?;
        }
        ready("kube-controller-manager", controls(client.clone()), &mut ended).await?;
        forward::forward(outside, API_ADDRESS, daemons.stop.clone())?;
        tokio::spawn(end_with(ended));
        Ok(Self {
            programs,
            client,
            ca: pki.ca,
            kubeconfig,
            stop: daemons.stop,
            tasks: daemons.tasks,
        })
    }
}

impl ControlPlane for Envtest {
    fn client(&self) -> Client {
        self.client.clone()
    }

    fn ca(&self) -> &str {
        &self.ca
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn has_controllers(&self) -> bool {
        true
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            self.stop.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await;
        }
        .boxed()
    }
}

/// Waits for `sign` of life, unless a program dies first.
async fn ready(name: &str, sign: impl Future<Output = ()>, ended: &mut mpsc::UnboundedReceiver<String>) -> Result<()> {
    tokio::select! {
        () = sign => Ok(()),
        Some(why) = ended.recv() => bail!("the control plane does not start: {why}"),
        () = tokio::time::sleep(READY_WITHIN) => bail!("{name} was not ready within {READY_WITHIN:?}"),
    }
}

/// Ends the lab when a program of its control plane has ended by itself: whatever waits for the API server would only
/// say that it waited in vain. The kernel clears up after us, see [`metallb_lab::entry`].
async fn end_with(mut ended: mpsc::UnboundedReceiver<String>) {
    if let Some(why) = ended.recv().await {
        eprintln!("the lab cannot go on without its control plane: {why}");
        std::process::exit(1);
    }
}

/// What clients call the API server.
fn names() -> Vec<String> {
    let (ip, six) = (API_ADDRESS.ip().to_string(), LAB_SIX.to_string());
    let names = [
        "localhost",
        "127.0.0.1",
        &ip,
        &six,
        flags::KUBERNETES_SERVICE.0,
        flags::KUBERNETES_SERVICE.1,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    names.map(str::to_owned).into()
}

/// The credentials of a program or node of the control plane of the lab in `dir`.
pub(crate) fn kubeconfig_of(dir: &Path, who: &str) -> PathBuf {
    dir.join(HOME).join(format!("{who}.kubeconfig"))
}

/// Writes everybody's tokens and kubeconfigs; returns the one for people, and the text of our own.
fn write_credentials(dir: &Path, home: &Path, ca: &str, port: u16, nodes: &[String]) -> Result<(PathBuf, String)> {
    let admin = token()?;
    let mut tokens = format!("{admin},metallb-lab,lab,\"system:masters\"\n");
    let programs =
        ["kube-controller-manager", "kube-scheduler", "kube-proxy"].map(|name| (name, format!("system:{name}"), ""));
    let nodes = nodes
        .iter()
        .map(|name| (name.as_str(), format!("system:node:{name}"), "system:nodes"));
    for (name, user, groups) in programs.into_iter().chain(nodes) {
        let token = token()?;
        tokens += &format!("{token},{user},{name},\"{groups}\"\n");
        pki::write_private(&kubeconfig_of(dir, name), &kubeconfig(API_ADDRESS, ca, &token))?;
    }
    pki::write_private(&home.join("tokens.csv"), &tokens)?;
    let outside = dir.join("kubeconfig");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    pki::write_private(&outside, &kubeconfig(address, ca, &admin))?;
    Ok((outside, kubeconfig(API_ADDRESS, ca, &admin)))
}

/// 256 random bits.
fn token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

fn kubeconfig(server: SocketAddr, ca: &str, token: &str) -> String {
    let ca = BASE64_STANDARD.encode(ca);
    format!(
        "apiVersion: v1
kind: Config
current-context: metallb-lab
clusters:
  - name: metallb-lab
    cluster:
      server: https://{server}
      certificate-authority-data: {ca}
contexts:
  - name: metallb-lab
    context:
      cluster: metallb-lab
      user: metallb-lab
users:
  - name: metallb-lab
    user:
      token: {token}
"
    )
}

async fn client(kubeconfig: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).context("our own kubeconfig is broken")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("cannot make a client")
}

async fn serves(client: Client) {
    // The client would log every connection that is refused, and every "not yet".
    while TcpStream::connect(API_ADDRESS).await.is_err() {
        tokio::time::sleep(PACE).await;
    }
    loop {
        if let Ok(request) = http::Request::get("/readyz").body(Vec::new())
            && client
                .request_text(request)
                .with_subscriber(NoSubscriber::default())
                .await
                .is_ok()
        {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The controller-manager is at work when the namespaces have what pods need.
async fn controls(client: Client) {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    while accounts.get("default").await.is_err() || maps.get("kube-root-ca.crt").await.is_err() {
        tokio::time::sleep(PACE).await;
    }
}
