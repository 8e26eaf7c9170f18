//! Real nodes: kubelet, containerd, kube-proxy and a bridge CNI in each node's namespaces, without a registry.
//!
//! ```text
//! lab ── __node-1 ── process 1 of the node ─┬─ containerd ── shims ── pods
//!   │                (own mounts, pids,     ├─ kubelet
//!   │                 host name; the        └─ kube-proxy
//!   │                 lab's network `node-1`)
//!   └── ctr import: the image as the Dockerfile makes it, one that holds the lab's own program; FRR's on request
//! ```
//! A node ends with its first process: its mounts, containers and processes are in that one's namespaces. What is left of
//! it are control groups, which [`groups`] removes.

mod frr;
mod groups;
mod image;
mod node;
mod requirements;
mod settings;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use futures::FutureExt;
use futures::future::BoxFuture;
use metallb_lab::platform::Nodes;
use metallb_lab::{Families, Topology, is_ready, wait_for};

use crate::stages::NODE;

pub(crate) use groups::Groups;
pub(crate) use node::{enter, init};
pub(crate) use requirements::{obstacle, refuse_place};

/// How long a node may take to be ready; seconds as a rule.
const READY_WITHIN: Duration = Duration::from_secs(120);
const PACE: Duration = Duration::from_millis(50);

/// What kube-proxy forwards with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// iptables, the default of Kubernetes.
    #[default]
    Iptables,
    /// nftables.
    Nftables,
}

/// One node, as its first process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeSpec {
    name: String,
    netns: PathBuf,
    /// Its files; the folders that have fixed names on a node are below.
    dir: PathBuf,
    /// Kubernetes' programs.
    programs: PathBuf,
    /// The credentials of kubelet and kube-proxy.
    kubeconfigs: (PathBuf, PathBuf),
    /// Its addresses.
    address: (String, String),
    /// The networks of its pods.
    pods: (String, String),
    /// Its control group, below the mounts of the machine's.
    group: String,
    proxy: Proxy,
    families: Families,
}

impl NodeSpec {
    fn socket(&self) -> PathBuf {
        self.dir.join("run/containerd/containerd.sock")
    }
}

/// The nodes of a lab.
pub(crate) struct RealNodes {
    client: Client,
    running: Vec<Running>,
}

struct Running {
    spec: NodeSpec,
    process: Child,
}

/// What all nodes of a lab are made of.
pub(crate) struct Parts<'a> {
    pub dir: &'a Path,
    pub programs: &'a Path,
    pub proxy: Proxy,
    pub families: Families,
    /// The product's image.
    pub product: &'a Path,
    /// The lab's own program.
    pub lab: &'a Path,
    /// Where the credentials of a user are.
    pub kubeconfig: &'a (dyn Fn(&str) -> PathBuf + Sync),
}

impl RealNodes {
    /// Starts all nodes at a time, and waits until they are ready.
    ///
    /// # Errors
    /// When one does not get ready; the message ends with what its programs said last.
    pub(crate) async fn start(parts: &Parts<'_>, topology: &Topology, client: &Client) -> Result<Self> {
        let groups = Groups::of(parts.dir);
        let own = parts.dir.join("lab.tar");
        image::pack(parts.lab, &own).context("cannot pack the lab's own image")?;
        let mut nodes = Self {
            client: client.clone(),
            running: Vec::new(),
        };
        for net in &topology.nodes {
            let spec = NodeSpec {
                name: net.name.clone(),
                netns: net.netns.path().into(),
                dir: parts.dir.join("nodes").join(&net.name),
                programs: parts.programs.into(),
                kubeconfigs: ((parts.kubeconfig)(&net.name), (parts.kubeconfig)("kube-proxy")),
                address: (net.address.to_string(), net.address_six().to_string()),
                pods: (net.pods.to_string(), net.pods_six().to_string()),
                group: groups.of_node(&net.name),
                proxy: parts.proxy,
                families: parts.families,
            };
            nodes.running.push(launch(spec)?);
        }
        let archives = [own.as_path(), parts.product];
        let imported = nodes.running.iter().map(|node| import(&node.spec, &archives));
        let ready = async {
            futures::future::try_join_all(imported).await?;
            all_ready(client, nodes.running.len()).await
        };
        let specs: Vec<NodeSpec> = nodes.running.iter().map(|node| node.spec.clone()).collect();
        match ready.await {
            Ok(()) => Ok(nodes),
            Err(error) => Err(error.context(specs.iter().map(last_words).collect::<String>())),
        }
    }

    /// Gives an image another name, too, on every node.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub(crate) async fn tag(&self, name: &str, other: &str) -> Result<()> {
        let all = self.running.iter().map(|node| ctr(&node.spec, ["tag", name, other]));
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Puts FRR onto every node, as the image `name`; `out` takes the archive.
    ///
    /// # Errors
    /// When FRR is not installed, or containerd refuses it.
    pub(crate) async fn import_frr(&self, name: &str, out: &Path) -> Result<()> {
        frr::pack(name, out)?;
        let archives = [out];
        let all = self.running.iter().map(|node| import(&node.spec, &archives));
        futures::future::try_join_all(all).await.map(drop)
    }
}

impl Nodes for RealNodes {
    fn kill(&self, name: &str) -> Result<BoxFuture<'static, Result<()>>> {
        let node = self.running.iter().find(|node| node.spec.name == name);
        let pid = node.and_then(|node| node.process.id()).context("no such node runs")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL).context("cannot end the node")?;
        let (client, name) = (self.client.clone(), name.to_owned());
        Ok(async move { give_up(&client, &name).await }.boxed())
    }
}

fn launch(spec: NodeSpec) -> Result<Running> {
    std::fs::create_dir_all(&spec.dir).with_context(|| format!("cannot make {}", spec.dir.display()))?;
    let log = std::fs::File::create(spec.dir.join("node.log"))?;
    let process = Command::new("/proc/self/exe")
        .arg0(&spec.name)
        .arg(NODE)
        .arg(serde_json::to_string(&spec)?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", spec.name))?;
    Ok(Running { spec, process })
}

/// Puts images into a node's containerd, as soon as that answers.
async fn import(spec: &NodeSpec, archives: &[&Path]) -> Result<()> {
    let up = async {
        while UnixStream::connect(spec.socket()).await.is_err() {
            tokio::time::sleep(PACE).await;
        }
    };
    let up = tokio::time::timeout(READY_WITHIN, up).await;
    ensure!(up.is_ok(), "containerd of {} does not answer", spec.name);
    for archive in archives {
        ctr(spec, ["import".as_ref(), archive.as_os_str()]).await?;
    }
    Ok(())
}

/// Does something with a node's images.
async fn ctr(spec: &NodeSpec, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(spec.socket())
        .args(["--namespace", "k8s.io", "images"]);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let ran = command.output().await.context("cannot start ctr")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(
        ran.status.success(),
        "containerd of {} refuses: {}",
        spec.name,
        said.trim()
    );
    Ok(())
}

async fn all_ready(client: &Client, count: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    wait_for("the nodes to be Ready", READY_WITHIN, async || {
        let all = nodes.list(&ListParams::default()).await?;
        Ok((all.iter().filter(|node| is_ready(node)).count() >= count).then_some(()))
    })
    .await
}

/// Takes a node that is not ready any more out of the cluster with its pods, as an administrator does with a machine
/// that will not come back.
async fn give_up(client: &Client, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    while nodes.get_opt(name).await?.is_some_and(|node| is_ready(&node)) {
        tokio::time::sleep(PACE).await;
    }
    drop(nodes.delete(name, &DeleteParams::default()).await);
    let there = ListParams::default().fields(&format!("spec.nodeName={name}"));
    for pod in Api::<Pod>::all(client.clone()).list(&there).await? {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        // One that is gone is what we want.
        drop(
            pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await,
        );
    }
    Ok(())
}

/// What the programs of a node said at last.
fn last_words(spec: &NodeSpec) -> String {
    const LINES: usize = 3;
    let mut text = String::new();
    for name in ["node", "containerd", "kubelet", "kube-proxy"] {
        let log = spec.dir.join(format!("{name}.log"));
        let said = std::fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            text += &format!("{} {name}: {line}\n", spec.name);
        }
    }
    text
}
