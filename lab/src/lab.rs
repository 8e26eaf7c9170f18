//! A running lab: control plane, network, node agents, proxies, router and client, started and stopped together.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, Programs, Shared};
use crate::client::HttpClient;
use crate::cluster::Cluster;
use crate::control_plane::embedded;
use crate::entry::Inside;
use crate::platform::{self, ControlPlane, Parts};
use crate::proxy;
use crate::router::{Router, RouterKind};
use crate::topology::{API_ADDRESS, Families, Topology};
use crate::workloads::{self, nodes};

/// How long the pods may take to end before the kernel ends them.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What a lab consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: u8,
    /// Which router.
    pub router: RouterKind,
    /// What the pods run.
    pub programs: Programs,
    /// How long after a node died the control plane notices; 40 s on a real cluster.
    pub node_monitor_grace: Duration,
}

impl Options {
    /// Three nodes with those programs, and any router.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self {
            nodes: 3,
            router: RouterKind::Auto,
            programs,
            node_monitor_grace: Duration::from_secs(5),
        }
    }
}

/// Who runs the pods.
enum Nodes {
    Imitated(Vec<(Arc<Agent>, JoinHandle<()>)>),
    Foreign(Arc<dyn platform::Nodes>),
}

/// A running lab.
pub struct Lab {
    dir: PathBuf,
    topology: Topology,
    control_plane: Box<dyn ControlPlane>,
    cluster: Cluster,
    nodes: Nodes,
    router: Router,
    node_monitor_grace: Duration,
    stop_pods: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Makes the folders of a lab in `dir`, and its network; `families` are the addresses of nodes that are not the lab's own.
///
/// # Errors
/// When something is missing; the message says what, and how to mend it.
pub async fn prepare_ground(dir: &Path, nodes: u8, families: Option<Families>) -> Result<Topology> {
    for folder in ["netns", "logs", "pods", "router"] {
        fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot use {}", dir.display()))?;
    }
    Ok(Topology::create(&dir.join("netns"), nodes, families).await?)
}

impl Lab {
    /// Starts everything, in the namespaces that [`crate::launch`] entered.
    ///
    /// # Errors
    /// When something is missing; the message says what, and how to mend it.
    pub async fn start(inside: Inside, options: &Options) -> Result<Self> {
        let Inside { dir, listener, .. } = inside;
        let topology = prepare_ground(&dir, options.nodes, None).await?;
        let parts = Parts {
            control_plane: embedded(&dir, listener).await?,
            nodes: None,
            door: None,
        };
        Self::assemble(dir, topology, parts, options).await
    }

    /// Starts what a lab has beside `parts`, on the ground that was prepared in `dir`.
    ///
    /// # Errors
    /// When something is missing; the message says what, and how to mend it.
    pub async fn assemble(dir: PathBuf, topology: Topology, parts: Parts, options: &Options) -> Result<Self> {
        let Parts {
            control_plane,
            nodes,
            door,
        } = parts;
        let client = control_plane.client();
        let many_users = many_users();
        let router = Router::start(options.router, &topology.router, &dir.join("router"), many_users).await?;
        let (stop, stop_pods, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let cluster = Cluster::watch(&client, &tasks, &stop);
        cluster.ready().await;
        let mut lab = Self {
            topology,
            cluster: cluster.clone(),
            nodes: Nodes::Imitated(Vec::new()),
            router,
            node_monitor_grace: options.node_monitor_grace,
            stop_pods,
            stop,
            tasks,
            dir,
            control_plane,
        };
        if let Some(nodes) = nodes {
            lab.nodes = Nodes::Foreign(nodes);
            return Ok(lab);
        }
        let shared = Shared {
            cluster,
            programs: options.programs.clone(),
            dir: lab.dir.clone(),
            api: door.as_ref().map_or(API_ADDRESS, |door| door.address()),
            ca: [lab.control_plane.ca(), door.as_ref().map_or("", |door| door.ca())].concat(),
            door,
            many_users,
        };
        lab.imitate_nodes(&client, &shared).await?;
        Ok(lab)
    }

    async fn imitate_nodes(&mut self, client: &Client, shared: &Shared) -> Result<()> {
        let mut agents = Vec::new();
        for net in &self.topology.nodes {
            nodes::register(client, net)
                .await
                .with_context(|| format!("cannot register {}", net.name))?;
            let agent = Agent::new(shared.clone(), net.clone());
            let running = tokio::spawn(agent.clone().run(self.stop_pods.clone()));
            let (cluster, net, stop) = (self.cluster.clone(), net.clone(), agent.power_off.child_token());
            let all = self.stop.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    ran = proxy::run(cluster, net, stop) => if let Err(error) = ran {
                        tracing::error!(%error, "a service proxy ended");
                    },
                    () = all.cancelled() => {}
                }
            });
            agents.push((agent, running));
        }
        self.nodes = Nodes::Imitated(agents);
        let stand_ins = workloads::StandIns {
            controllers: !self.control_plane.has_controllers(),
        };
        self.tasks
            .spawn(workloads::run(self.cluster.clone(), stand_ins, self.stop_pods.clone()));
        Ok(())
    }

    /// A client of the API server with every right.
    #[must_use]
    pub fn kube(&self) -> Client {
        self.cluster.client.clone()
    }

    /// The client namespace.
    #[must_use]
    pub fn client(&self) -> HttpClient {
        HttpClient::new(self.topology.client.clone(), self.topology.nodes.clone())
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The namespaces.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A kubeconfig for the machine the lab runs on.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    /// The folder of the pods' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The address of a node.
    #[must_use]
    pub fn node_address(&self, name: &str) -> Option<Ipv4Addr> {
        self.topology.node(name).map(|node| node.address)
    }

    /// Kills a node as a power failure does: its processes at once, its cable pulled; the control plane finds out
    /// later.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn kill_node(&self, name: &str) -> Result<()> {
        let net = self.topology.node(name).context("no such node")?;
        let (cluster, owned, grace) = (self.cluster.clone(), name.to_owned(), self.node_monitor_grace);
        let aftermath: BoxFuture<'static, Result<()>> = match &self.nodes {
            Nodes::Imitated(agents) => {
                let mut agents = agents.iter().map(|(agent, _)| agent);
                let agent = agents.find(|agent| agent.net.name == name).context("no such node")?;
                agent.power_off.cancel();
                Box::pin(async move {
                    tokio::time::sleep(grace).await;
                    Ok(nodes::mark_dead(&cluster, &owned).await?)
                })
            }
            Nodes::Foreign(nodes) => nodes.kill(name)?,
        };
        net.unplug().await?;
        let (cluster, name) = (self.cluster.clone(), name.to_owned());
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(async move {
                if let Err(error) = aftermath.await {
                    tracing::warn!(node = name, %error, "cannot mark the node");
                }
                cluster.nudge();
            }));
        Ok(())
    }

    /// Stops pods in order, then everything else.
    pub async fn stop(mut self) {
        self.stop_pods.cancel();
        if let Nodes::Imitated(agents) = &mut self.nodes {
            let agents = agents.drain(..).map(|(_, running)| running);
            let _ = tokio::time::timeout(STOP_WITHIN, futures::future::join_all(agents)).await;
        }
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await;
        self.control_plane.stop().await;
    }
}

/// The logs of the pods of the lab in `dir`, and on real nodes those of the nodes' programs.
pub(crate) fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.join("logs")];
    let nodes = fs::read_dir(dir.join("nodes")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for node in nodes.map(|entry| entry.path()) {
        open.push(node.join("log/pods"));
        let programs = fs::read_dir(node).into_iter().flatten().flatten();
        found.extend(programs.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    found.sort();
    found
}

/// Whether more than our own user exists here: not in an unprivileged user namespace.
fn many_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2).is_some_and(|count| count != "1")
}
