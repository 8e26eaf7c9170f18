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

/// Runs the stand-ins until `stop`.
pub(crate) async fn run(cluster: Cluster, stop: CancellationToken) {
    let mut changes = cluster.changes();
    let mut pods = Pods::new(cluster.clone());
    loop {
        if let Err(error) = pass(&cluster, &mut pods).await {
            tracing::debug!(%error, "a workload pass failed and is repeated");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()) => {}
        }
    }
}

async fn pass(cluster: &Cluster, pods: &mut Pods) -> kube::Result<()> {
    pods.observe();
    for deployment in cluster.deployments.state() {
        deployment::reconcile(&deployment, pods).await?;
    }
    for daemon_set in cluster.daemon_sets.state() {
        daemon_set::reconcile(&daemon_set, pods).await?;
    }
    nodes::sweep(cluster).await?;
    schedule::bind_loose_pods(cluster).await?;
    endpoints::reconcile(cluster).await
}
