//! A running lab: control plane, network, node agents, proxies, router and client, started and stopped together.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, Programs, Shared};
use crate::client::HttpClient;
use crate::cluster::Cluster;
use crate::control_plane::ControlPlane;
use crate::entry::Inside;
use crate::envtest;
use crate::faults::Faults;
use crate::kind::ClusterKind;
use crate::proxy;
use crate::real::{self, Parts, Proxy, RealNodes};
use crate::router::{Router, RouterKind};
use crate::topology::{FAULTS_ADDRESS, Families, Topology};
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
    /// What it is made of.
    pub cluster: ClusterKind,
    /// Whether the pods reach it through the fault proxy, see [`Lab::faults`]; not on real nodes.
    pub faults: bool,
    /// The product's image as an OCI archive, for real nodes.
    pub image: Option<PathBuf>,
    /// The addresses of real nodes.
    pub families: Families,
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
            cluster: ClusterKind::Embedded,
            faults: false,
            image: None,
            families: Families::default(),
        }
    }
}

/// Who runs the pods.
enum Nodes {
    Imitated(Vec<(Arc<Agent>, JoinHandle<()>)>),
    Real(RealNodes),
}

/// A running lab.
pub struct Lab {
    dir: PathBuf,
    topology: Topology,
    control_plane: ControlPlane,
    cluster: Cluster,
    nodes: Nodes,
    router: Router,
    faults: Option<Faults>,
    node_monitor_grace: Duration,
    stop_pods: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lab {
    /// Starts everything, in the namespaces that [`crate::launch`] entered.
    ///
    /// # Errors
    /// When something is missing; the message says what, and how to mend it.
    pub async fn start(inside: Inside, options: &Options) -> Result<Self> {
        let Inside { dir, listener, .. } = inside;
        for folder in ["netns", "logs", "pods", "router"] {
            fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot use {}", dir.display()))?;
        }
        let real = match options.cluster {
            ClusterKind::Real(proxy) => Some(proxy),
            _ => None,
        };
        ensure!(
            real.is_none() || !options.faults,
            "the fault proxy is for imitated nodes: the pods of real ones do not go through it"
        );
        let families = real.map(|_| options.families);
        let topology = Topology::create(&dir.join("netns"), options.nodes, families).await?;
        let names: Vec<String> = topology.nodes.iter().map(|node| node.name.clone()).collect();
        let control_plane = ControlPlane::start(options.cluster, &dir, listener, &names, options.families).await?;
        let client = control_plane.client();
        let many_users = many_users();
        let router = Router::start(options.router, &topology.router, &dir.join("router"), many_users).await?;
        let (stop, stop_pods, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let faults = match options.faults {
            true => {
                let (to, ca) = (control_plane.address(), control_plane.ca());
                Some(Faults::start(FAULTS_ADDRESS, to, ca, stop.clone()).await?)
            }
            false => None,
        };
        let cluster = Cluster::watch(&client, &tasks, &stop);
        cluster.ready().await;
        let shared = Shared {
            cluster: cluster.clone(),
            programs: options.programs.clone(),
            dir: dir.clone(),
            api: faults.as_ref().map_or_else(|| control_plane.address(), Faults::address),
            ca: [control_plane.ca(), faults.as_ref().map_or("", Faults::ca)].concat(),
            faults: faults.clone(),
            many_users,
        };
        let mut lab = Self {
            dir,
            topology,
            control_plane,
            cluster,
            nodes: Nodes::Imitated(Vec::new()),
            router,
            faults,
            node_monitor_grace: options.node_monitor_grace,
            stop_pods,
            stop,
            tasks,
        };
        match real {
            Some(proxy) => {
                let nodes = lab.real_nodes(proxy, options, &client).await?;
                lab.nodes = Nodes::Real(nodes);
            }
            None => lab.imitate_nodes(&client, &shared).await?,
        }
        Ok(lab)
    }

    async fn real_nodes(&self, proxy: Proxy, options: &Options, client: &Client) -> Result<RealNodes> {
        let parts = Parts {
            dir: &self.dir,
            programs: self.control_plane.programs().context("no programs of Kubernetes")?,
            proxy,
            families: options.families,
            product: options.image.as_deref().context("no image for real nodes")?,
            lab: &options.programs.lab,
            kubeconfig: &|who| envtest::kubeconfig_of(&self.dir, who),
        };
        RealNodes::start(&parts, &self.topology, client).await
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
            controllers: self.control_plane.needs_workload_controllers(),
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

    /// The proxy between the pods and the API server, if [`Options::faults`] asked for it.
    #[must_use]
    pub fn faults(&self) -> Option<&Faults> {
        self.faults.as_ref()
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

    /// What service accounts asked a real API server for: lines of JSON, as [`crate::audit`] reads them.
    #[must_use]
    pub fn audit_log(&self) -> Option<&Path> {
        self.control_plane.audit_log()
    }

    /// Lets requests of the product be refused from now on: an uninstall takes its rights before its pods have ended.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub fn end_of_rights(&self) -> Result<()> {
        crate::harness::judge_until_now(&self.dir)
    }

    /// Gives the product's image another name on all real nodes, too.
    ///
    /// # Errors
    /// When there are no real nodes, or containerd refuses.
    pub async fn tag_image(&self, name: &str, other: &str) -> Result<()> {
        match &self.nodes {
            Nodes::Real(nodes) => nodes.tag(name, other).await,
            Nodes::Imitated(_) => bail!("images are on real nodes only"),
        }
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
        match &self.nodes {
            Nodes::Imitated(agents) => {
                let (agent, _) = agents
                    .iter()
                    .find(|(agent, _)| agent.net.name == name)
                    .context("no such node")?;
                agent.power_off.cancel();
            }
            Nodes::Real(nodes) => nodes.kill(name)?,
        }
        net.unplug().await?;
        let real = matches!(self.nodes, Nodes::Real(_));
        let (cluster, name, grace) = (self.cluster.clone(), name.to_owned(), self.node_monitor_grace);
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(async move {
                let marked = if real {
                    real::give_up(&cluster.client, &name).await
                } else {
                    tokio::time::sleep(grace).await;
                    nodes::mark_dead(&cluster, &name).await.map_err(Into::into)
                };
                if let Err(error) = marked {
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
