//! etcd and kube-apiserver in the network namespace of a bench, and nothing else: controllers would work while speakers are
//! measured.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use metallb_test_support::wait_for;
use tokio::process::{Child, Command};

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
const PORT: u16 = 6443;
/// Of no use outside the namespace.
const TOKEN: &str = "speaker-bench";
/// How long a program may take to serve on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running programs; they end with it.
pub struct ControlPlane {
    /// A client of it.
    pub client: Client,
    /// For the speakers; with every right.
    pub kubeconfig: PathBuf,
    _programs: [Child; 2],
}

impl ControlPlane {
    /// Starts those of `programs`, with their files in `dir`, and waits until the API is served at `address`.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn start(programs: &Path, dir: &Path, address: Ipv4Addr) -> Result<Self> {
        let kubeconfig = dir.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_text(dir, address))?;
        fs::write(
            dir.join("tokens.csv"),
            format!("{TOKEN},bench,bench,\"system:masters\"\n"),
        )?;
        let accounts = rcgen::KeyPair::generate()?;
        fs::write(dir.join("accounts.key"), accounts.serialize_pem())?;
        fs::write(dir.join("accounts.pub"), accounts.public_key_pem())?;
        let etcd = spawn(programs, "etcd", dir, etcd_flags(dir))?;
        let mut server = spawn(programs, "kube-apiserver", dir, server_flags(dir, address))?;
        // The server makes its certificate, which is its own authority.
        let certificate = dir.join("apiserver.crt");
        wait_for("the API server's certificate", PATIENCE, async || {
            Ok(certificate.is_file().then_some(()))
        })
        .await?;
        let config = Kubeconfig::read_from(&kubeconfig)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        wait_for("the API server to serve", PATIENCE, async || {
            ensure!(server.try_wait()?.is_none(), "kube-apiserver has ended");
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(client.request_text(request).await.ok().map(drop))
        })
        .await?;
        Ok(Self {
            client,
            kubeconfig,
            _programs: [etcd, server],
        })
    }
}

fn spawn(programs: &Path, name: &str, dir: &Path, flags: Vec<String>) -> Result<Child> {
    let log = File::create(dir.join(name).with_extension("log"))?;
    let mut command = Command::new(programs.join(name));
    let command = command.args(flags).stdin(Stdio::null()).kill_on_drop(true);
    let started = command.stdout(log.try_clone()?).stderr(log).spawn();
    started.with_context(|| format!("cannot start {name} of {}", programs.display()))
}

fn etcd_flags(dir: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=default={ETCD_PEERS}"),
        // The disk is not what is measured.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn server_flags(dir: &Path, address: Ipv4Addr) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        format!("--etcd-servers={ETCD}"),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        // It refuses to publish a loopback address.
        "--endpoint-reconciler-type=none".into(),
        format!("--secure-port={PORT}"),
        format!("--cert-dir={}", dir.display()),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        // No controller makes the account that pods have by default.
        "--disable-admission-plugins=ServiceAccount".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-cluster-ip-range=10.96.0.0/12".into(),
        "--profiling=false".into(),
    ]
}

fn kubeconfig_text(dir: &Path, address: Ipv4Addr) -> String {
    let authority = dir.join("apiserver.crt");
    format!(
        "apiVersion: v1
kind: Config
current-context: bench
clusters:
  - name: bench
    cluster: {{ server: \"https://{address}:{PORT}\", certificate-authority: {} }}
contexts:
  - name: bench
    context: {{ cluster: bench, user: bench }}
users:
  - name: bench
    user: {{ token: {TOKEN} }}
",
        authority.display()
    )
}
