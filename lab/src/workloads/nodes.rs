//! Node objects: registering them, and marking the dead.

use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, Pod};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::deployment::ignore_gone;
use crate::cluster::Cluster;
use crate::cluster::now;
use crate::topology::NodeNet;

/// Whether the node is fit to run something.
#[must_use]
pub fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Creates the Node object and reports it ready.
pub(crate) async fn register(client: &Client, net: &NodeNet) -> kube::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let labels = [
        ("kubernetes.io/hostname", net.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch()),
    ];
    let node = Node {
        metadata: ObjectMeta {
            name: Some(net.name.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: Some(net.pods.to_string()),
            pod_cidrs: Some(vec![net.pods.to_string()]),
            ..NodeSpec::default()
        }),
        ..Node::default()
    };
    match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => drop(other?),
    }
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.into(),
        address,
    };
    let status = NodeStatus {
        addresses: Some(vec![
            address("InternalIP", net.address.to_string()),
            address("Hostname", net.name.clone()),
        ]),
        conditions: Some(vec![
            condition("Ready", "True", "KubeletReady"),
            condition("NetworkUnavailable", "False", "RouteCreated"),
        ]),
        ..NodeStatus::default()
    };
    let params = PatchParams::default();
    api.patch_status(&net.name, &params, &Patch::Merge(json!({ "status": status })))
        .await?;
    // A real API server taints new nodes; where they have a life-cycle controller, that takes the taint off.
    let spec = json!({ "spec": { "taints": null } });
    api.patch(&net.name, &params, &Patch::Merge(spec)).await.map(drop)
}

/// The machine's architecture, as Kubernetes and images name it.
#[must_use]
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn condition(type_: &str, status: &str, reason: &str) -> NodeCondition {
    NodeCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        last_transition_time: Some(now()),
        last_heartbeat_time: Some(now()),
        ..NodeCondition::default()
    }
}

/// What the node life-cycle controller does with a node that is not heard of: it is not ready, nor are its pods.
pub(crate) async fn mark_dead(cluster: &Cluster, name: &str) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let conditions = [
        condition("Ready", "Unknown", "NodeStatusUnknown"),
        condition("NetworkUnavailable", "False", "RouteCreated"),
    ];
    let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    nodes.patch_status(name, &PatchParams::default(), &patch).await?;
    let there = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name);
    for pod in cluster.pods.state_filter(there) {
        let mut status = pod.status.clone().unwrap_or_default();
        for condition in status.conditions.iter_mut().flatten() {
            if matches!(&*condition.type_, "Ready" | "ContainersReady") && condition.status != "False" {
                condition.status = "False".into();
                condition.reason = Some("NodeNotReady".into());
                condition.last_transition_time = Some(now());
            }
        }
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &pod.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({ "status": { "conditions": status.conditions } }));
        ignore_gone(api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await)?;
    }
    Ok(())
}

/// Takes dead nodes' pods out of the API, whose agent cannot: those that somebody deleted, and those that run
/// elsewhere as well (a DaemonSet's pod stays, its node may come back).
pub(super) async fn sweep(cluster: &Cluster) -> kube::Result<()> {
    let dead: Vec<String> = cluster
        .nodes
        .state_filter(|node| !is_ready(node))
        .iter()
        .map(|node| node.name_any())
        .collect();
    let lost = |pod: &Pod| {
        let there = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_ref())
            .is_some_and(|name| dead.contains(name));
        let stays = pod.owner_references().iter().any(|owner| owner.kind == "DaemonSet");
        there && (pod.metadata.deletion_timestamp.is_some() || !stays)
    };
    for pod in cluster.pods.state_filter(lost) {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &pod.namespace().unwrap_or_default());
        let now = DeleteParams::default().grace_period(0);
        ignore_gone(api.delete(&pod.name_any(), &now).await)?;
    }
    Ok(())
}
