//! DaemonSets: one pod on every node that fits.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::deployment::ignore_gone;
use super::nodes;
use super::pods::{Pods, hash_of, is_ending, is_ready, template_hash};
use super::schedule::{Daemon, daemon};

pub(super) async fn reconcile(set: &DaemonSet, pods: &mut Pods) -> kube::Result<()> {
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(());
    };
    let Some(owned) = pods.of(set) else { return Ok(()) };
    let Some(pod_spec) = &spec.template.spec else {
        return Ok(());
    };
    let hash = template_hash(&spec.template);
    let nodes = pods.cluster.nodes.state();
    let those = |what: Daemon| -> BTreeSet<String> {
        let chosen = nodes.iter().filter(|node| daemon(node, pod_spec) == what);
        chosen.map(|node| node.name_any()).collect()
    };
    let (wanted, tolerated) = (those(Daemon::Wanted), those(Daemon::Tolerated));
    write_status(set, pods, &owned, &wanted, &hash).await?;

    // A pod that is still ending holds the ports of the node: its successor waits.
    let taken: BTreeSet<&str> = owned.iter().map(|pod| node_of(pod)).collect();
    let alive = |node: &&String| nodes.iter().any(|one| one.name_any() == **node && nodes::is_ready(one));
    for node in wanted
        .iter()
        .filter(|node| !taken.contains(node.as_str()))
        .filter(alive)
    {
        pods.make(set, &spec.template, &hash, Some(node)).await?;
    }
    let stays = |pod: &Pod| wanted.contains(node_of(pod)) || tolerated.contains(node_of(pod));
    for pod in owned.iter().filter(|pod| !stays(pod) && !is_ending(pod)) {
        pods.remove(set, pod).await?;
    }
    // maxUnavailable: 1, and those that are not ready are no loss.
    let outdated = || {
        owned
            .iter()
            .filter(|pod| hash_of(pod) != Some(&hash) && !is_ending(pod))
    };
    let all_up = owned.iter().all(|pod| is_ready(pod)) && owned.len() >= wanted.len();
    for pod in outdated()
        .filter(|pod| !is_ready(pod))
        .chain(outdated().filter(|_| all_up).take(1))
    {
        pods.remove(set, pod).await?;
    }
    Ok(())
}

fn node_of(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

async fn write_status(
    set: &DaemonSet,
    pods: &Pods,
    owned: &[Arc<Pod>],
    wanted: &BTreeSet<String>,
    hash: &String,
) -> kube::Result<()> {
    let placed = || {
        owned
            .iter()
            .filter(|pod| wanted.contains(node_of(pod)) && !is_ending(pod))
    };
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let ready = count(placed().filter(|pod| is_ready(pod)).count());
    let desired = count(wanted.len());
    let status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        desired_number_scheduled: desired,
        current_number_scheduled: count(placed().count()),
        number_misscheduled: count(owned.iter().filter(|pod| !wanted.contains(node_of(pod))).count()),
        number_ready: ready,
        number_available: Some(ready),
        number_unavailable: Some(desired.saturating_sub(ready)),
        updated_number_scheduled: Some(count(placed().filter(|pod| hash_of(pod) == Some(hash)).count())),
        ..DaemonSetStatus::default()
    };
    if Some(&status) == set.status.as_ref() {
        return Ok(());
    }
    let api: Api<DaemonSet> = Api::namespaced(pods.cluster.client.clone(), &set.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": status }));
    ignore_gone(api.patch_status(&set.name_any(), &PatchParams::default(), &patch).await)
}
