//! The back-end `frr-k8s`: frr-k8s, in pods of its own, speaks BGP and BFD; we write it the FRRConfiguration of this node.
//!
//! ```text
//!  shell ──apply──► model ──changed──► work: make the object, compare, write what differs
//!  Node, FRRConfiguration, FRRNodeState ──watch──►│
//!                                        └── problems ──► ConfigurationState, event, metric
//! ```
//!
//! frr-k8s goes on with the object when the speaker ends, so that no session ends with it.

mod desired;
mod object;
#[cfg(test)]
mod tests;
mod work;

use std::net::Ipv4Addr;
use std::time::Duration;

use kube::Client;
use metallb_dataplane::bgp::Sessions;
use metallb_engine::ConfigReport;
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Spawner;
use tokio::sync::watch;

use crate::frr::model::Shared;
use work::Work;

/// How this back-end works; does not change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Name of this node.
    pub(crate) node: String,
    /// Where frr-k8s runs, and reads FRRConfigurations and Secrets.
    pub(crate) namespace: String,
    /// How frr-k8s learns the passwords that are in Secrets.
    pub(crate) secrets: Secrets,
    /// How long changes are gathered, if the user has a wish.
    pub(crate) window: Option<Duration>,
    /// The BGP identifier of a node that has none to offer.
    pub(crate) router_id: Option<Ipv4Addr>,
}

/// How frr-k8s learns the passwords that are in Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// It reads them itself: they are where it runs.
    Named,
    /// We tell them in clear text: it may not read ours.
    Told,
}

/// The running back-end; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FrrK8s {
    model: Shared,
    sessions: watch::Sender<Sessions>,
    problems: watch::Sender<ConfigReport>,
    stop: CancellationToken,
}

impl FrrK8s {
    /// Makes it; it takes in what is desired from now on, and [`FrrK8s::work`] brings that to frr-k8s. `stop` is cancelled
    /// when it is shut down.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            model: Shared::new(),
            // Which of its sessions are up frr-k8s tells by itself, in BGPSessionStates.
            sessions: watch::Sender::new(Sessions::new()),
            problems: watch::Sender::new(ConfigReport::default()),
        }
    }

    /// What is desired.
    pub(crate) fn model(&self) -> &Shared {
        &self.model
    }

    /// How the sessions are doing: unknown.
    pub(crate) fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.subscribe()
    }

    /// What frr-k8s does not do although it is desired.
    pub(crate) fn problems(&self) -> watch::Receiver<ConfigReport> {
        self.problems.subscribe()
    }

    /// Leaves frr-k8s as it is.
    pub(crate) fn shutdown(&self) {
        self.stop.cancel();
    }

    /// Works until the stop signal, and then leaves the object as it is. Nothing is written until all is known.
    pub(crate) async fn work(self, client: Client, settings: Settings, tasks: Spawner) {
        let stop = tasks.stop().clone();
        let work = Work::new(client, settings, self.model, self.problems, &tasks);
        stop.run_until_cancelled(work.run()).await;
    }
}
