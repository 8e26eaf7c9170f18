//! Stand-ins for kube-controller-manager and scheduler, for control planes that have none: Deployments and
//! DaemonSets become pods, Services become EndpointSlices, nodes that died are marked.
//!
//! All of them compare the whole state at every change; a lab has a handful of objects.

mod daemon_set;
mod deployment;
mod endpoints;
pub(crate) mod nodes;
mod pods;
mod schedule;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
pub(crate) use endpoints::SERVICE_LABEL;
use pods::Pods;

/// After a failure, and against anything missed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a control plane lacks, beside a scheduler and somebody who clears up after dead nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandIns {
    /// Those of Deployments, DaemonSets and EndpointSlices.
    pub controllers: bool,
}

/// Runs the stand-ins until `stop`.
pub(crate) async fn run(cluster: Cluster, stand_ins: StandIns, stop: CancellationToken) {
    let mut changes = cluster.changes();
    let mut pods = Pods::new(cluster.clone());
    loop {
        if let Err(error) = pass(&cluster, stand_ins, &mut pods).await {
            tracing::debug!(%error, "a workload pass failed and is repeated");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()) => {}
        }
    }
}

async fn pass(cluster: &Cluster, stand_ins: StandIns, pods: &mut Pods) -> kube::Result<()> {
    if stand_ins.controllers {
        pods.observe();
        for deployment in cluster.deployments.state() {
            deployment::reconcile(&deployment, pods).await?;
        }
        for daemon_set in cluster.daemon_sets.state() {
            daemon_set::reconcile(&daemon_set, pods).await?;
        }
        endpoints::reconcile(cluster).await?;
    }
    nodes::sweep(cluster).await?;
    schedule::bind_loose_pods(cluster).await
}
