//! The node agent: what a kubelet and a container engine are to a real node, small.
//!
//! One [`Agent`] a node watches the pods bound to it and keeps one task per pod ([`pod`]), which prepares network
//! and volumes, keeps its containers running ([`container`]) and reports ([`status`]).
//!
//! Unlike a kubelet, it does not wait `initialDelaySeconds` before it first asks for readiness, and asks
//! quickly until the first yes: a lab is for people who wait.

mod container;
mod environment;
mod pod;
mod probe;
mod program;
mod status;
mod volumes;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use program::Programs;

use crate::cluster::Cluster;
use crate::platform::Door;
use crate::topology::NodeNet;

/// What all agents of a lab share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub cluster: Cluster,
    pub programs: Programs,
    /// The lab's work directory.
    pub dir: PathBuf,
    /// The API server as the nodes see it, and the authority that signed its certificate.
    pub api: SocketAddr,
    pub ca: String,
    /// Wants to know who holds which token.
    pub door: Option<Arc<dyn Door>>,
    /// Whether users other than ours exist: not in an unprivileged user namespace.
    pub many_users: bool,
}

/// One node.
pub(crate) struct Agent {
    pub shared: Shared,
    pub net: NodeNet,
    /// Pulls the plug: processes die at once, and nothing is reported any more.
    pub power_off: CancellationToken,
    addresses: Mutex<BTreeSet<u8>>,
}

struct Runner {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    pub(crate) fn new(shared: Shared, net: NodeNet) -> Arc<Self> {
        Arc::new(Self {
            shared,
            net,
            power_off: CancellationToken::new(),
            addresses: Mutex::default(),
        })
    }

    /// Runs the node until `stop`, and then stops its pods in order.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.shared.cluster.changes();
        let mut runners: HashMap<String, Runner> = HashMap::new();
        loop {
            self.match_pods(&mut runners);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.power_off.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        for runner in runners.values() {
            runner.stop.cancel();
        }
        for runner in runners.into_values() {
            let _ = runner.task.await;
        }
    }

    fn match_pods(self: &Arc<Self>, runners: &mut HashMap<String, Runner>) {
        let mine = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&self.net.name);
        let pods: HashMap<String, Arc<Pod>> = (self.shared.cluster.pods.state_filter(mine).into_iter())
            .filter_map(|pod| Some((pod.uid()?, pod)))
            .collect();
        for (uid, runner) in runners.iter() {
            if pods
                .get(uid)
                .is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
            {
                runner.stop.cancel();
            }
        }
        runners.retain(|uid, runner| pods.contains_key(uid) || !runner.task.is_finished());
        for (uid, pod) in pods {
            runners.entry(uid).or_insert_with(|| self.start(pod));
        }
    }

    fn start(self: &Arc<Self>, pod: Arc<Pod>) -> Runner {
        let stop = CancellationToken::new();
        let task = tokio::spawn(pod::run(self.clone(), pod, stop.clone()));
        Runner { stop, task }
    }

    /// An unused address of the node's pod network.
    fn take_address(&self) -> Option<Ipv4Addr> {
        let mut taken = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (2..=254).find(|number| !taken.contains(number))?;
        taken.insert(free);
        Some(self.net.pod_address(free))
    }

    fn return_address(&self, address: Ipv4Addr) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&address.octets()[3]);
    }
}
