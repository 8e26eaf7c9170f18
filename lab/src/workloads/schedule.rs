//! Which node a pod may and should run on.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::nodes;
use crate::cluster::Cluster;

/// Whether `node` fits the pod's node selector and required node, and the pod bears the node's taints.
///
/// Of affinity, only the required node is looked at, by which a real DaemonSet controller places its pods: nothing else
/// in a lab is so picky that a node selector cannot say it.
pub(super) fn fits(node: &Node, spec: &PodSpec) -> bool {
    suits(node, spec) && taints(node).all(|taint| taint.effect == "PreferNoSchedule" || bears(spec, taint))
}

/// What a DaemonSet does about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    /// It has a pod there.
    Wanted,
    /// It makes none, and leaves one that is there: such a taint came later, and only keeps newcomers away.
    Tolerated,
    /// It has none there.
    Unwanted,
}

/// Tells what a DaemonSet does about the node.
pub(super) fn daemon(node: &Node, spec: &PodSpec) -> Daemon {
    let hostile = |effect: &str| {
        let mut taints = taints(node).filter(|taint| taint.effect == effect);
        taints.any(|taint| !bears(spec, taint) && !every_daemon_bears(spec, taint))
    };
    if !suits(node, spec) || hostile("NoExecute") {
        Daemon::Unwanted
    } else if hostile("NoSchedule") {
        Daemon::Tolerated
    } else {
        Daemon::Wanted
    }
}

/// The taints that Kubernetes makes pods of every DaemonSet tolerate, by key and effect.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// The same for pods with the network of their node.
const BORNE_ON_HOST: &str = "node.kubernetes.io/network-unavailable";

fn every_daemon_bears(spec: &PodSpec, taint: &Taint) -> bool {
    let on_host = spec.host_network == Some(true) && taint.key == BORNE_ON_HOST && taint.effect == "NoSchedule";
    on_host || BORNE.contains(&(taint.key.as_str(), taint.effect.as_str()))
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten())
}

/// Whether the node is one that the pod asks for.
fn suits(node: &Node, spec: &PodSpec) -> bool {
    let empty = BTreeMap::new();
    let selector = spec.node_selector.as_ref().unwrap_or(&empty);
    selector
        .iter()
        .all(|(key, value)| node.labels().get(key) == Some(value))
        && required_nodes(spec).is_none_or(|names| names.contains(&node.name_any()))
}

/// The nodes that the pod's affinity names, if it does.
fn required_nodes(spec: &PodSpec) -> Option<Vec<String>> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let named: Vec<String> = fields
        .filter(|field| field.key == "metadata.name" && field.operator == "In")
        .flat_map(|field| field.values.clone().unwrap_or_default())
        .collect();
    (!named.is_empty()).then_some(named)
}

fn bears(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| {
        let exists = toleration.operator.as_deref() == Some("Exists");
        let key = toleration.key.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        (key == taint.key || (key.is_empty() && exists))
            && (effect.is_empty() || effect == taint.effect)
            && (exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
    })
}

/// The node for a new pod: one that fits and is ready, with the fewest pods of the same kind, then the first by
/// name. So replicas spread, single pods share the first node, and a demonstration runs the same each time.
pub(super) fn choose(cluster: &Cluster, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let fitting = |node: &Node| {
        let closed = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        fits(node, spec) && nodes::is_ready(node) && !closed
    };
    let pods = cluster.pods.state();
    let alike = |name: &str| {
        let there = |other: &&Arc<Pod>| other.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name);
        pods.iter()
            .filter(there)
            .filter(|other| other.labels() == pod.labels())
            .count()
    };
    let nodes = cluster
        .nodes
        .state_filter(fitting)
        .into_iter()
        .map(|node| node.name_any());
    nodes.min_by_key(|name| (alike(name), name.clone()))
}

/// Gives every pod without a node one.
pub(super) async fn bind_loose_pods(cluster: &Cluster) -> kube::Result<()> {
    let loose = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_none() && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())
    };
    // One at a time: the next choice must see this one, which the next pass does.
    let Some(pod) = cluster
        .pods
        .state_filter(loose)
        .into_iter()
        .min_by_key(|pod| pod.name_any())
    else {
        return Ok(());
    };
    match choose(cluster, &pod) {
        Some(node) => bind(cluster, &pod, &node).await,
        None => Ok(()),
    }
}

/// The `binding` subresource is the only way on a real API server; a small one may lack it.
async fn bind(cluster: &Cluster, pod: &Pod, node: &str) -> kube::Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let bound: kube::Result<serde_json::Value> = api
        .create_subresource("binding", &name, &PostParams::default(), &binding)
        .await;
    match bound {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404 | 405) => {
            let patch = Patch::Merge(json!({ "spec": { "nodeName": node } }));
            api.patch(&name, &PatchParams::default(), &patch).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{NodeSpec, Toleration};

    fn tainted() -> Node {
        tainted_with("k", "NoSchedule")
    }

    fn tainted_with(key: &str, effect: &str) -> Node {
        let taint = Taint {
            key: key.into(),
            effect: effect.into(),
            ..Taint::default()
        };
        Node {
            spec: Some(NodeSpec {
                taints: Some(vec![taint]),
                ..NodeSpec::default()
            }),
            ..Node::default()
        }
    }

    #[test]
    fn a_taint_keeps_away_those_who_do_not_bear_it() {
        assert!(!fits(&tainted(), &PodSpec::default()));
        let toleration = Toleration {
            key: Some("k".into()),
            operator: Some("Exists".into()),
            ..Toleration::default()
        };
        assert!(fits(
            &tainted(),
            &PodSpec {
                tolerations: Some(vec![toleration]),
                ..PodSpec::default()
            }
        ));
    }

    #[test]
    fn a_daemon_set_leaves_what_runs_where_it_would_not_start_it() {
        let spec = PodSpec::default();
        assert_eq!(daemon(&Node::default(), &spec), Daemon::Wanted);
        for (key, effect, what) in [
            ("k", "NoSchedule", Daemon::Tolerated),
            ("k", "NoExecute", Daemon::Unwanted),
            ("k", "PreferNoSchedule", Daemon::Wanted),
            ("node.kubernetes.io/unschedulable", "NoSchedule", Daemon::Wanted),
            ("node.kubernetes.io/unreachable", "NoExecute", Daemon::Wanted),
            ("node.kubernetes.io/unreachable", "NoSchedule", Daemon::Tolerated),
            (
                "node.kubernetes.io/network-unavailable",
                "NoSchedule",
                Daemon::Tolerated,
            ),
        ] {
            assert_eq!(daemon(&tainted_with(key, effect), &spec), what, "{key} {effect}");
        }
        let on_host = PodSpec {
            host_network: Some(true),
            ..PodSpec::default()
        };
        let node = tainted_with("node.kubernetes.io/network-unavailable", "NoSchedule");
        assert_eq!(daemon(&node, &on_host), Daemon::Wanted);
        let picky = PodSpec {
            node_selector: Some(BTreeMap::from([("disk".to_owned(), "fast".to_owned())])),
            ..PodSpec::default()
        };
        assert_eq!(daemon(&tainted(), &picky), Daemon::Unwanted);
    }

    #[test]
    fn the_pod_of_a_real_daemon_set_runs_where_its_affinity_says() {
        let spec: PodSpec = serde_json::from_value(json!({ "containers": [], "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node-2"] }] }] } } } }))
        .unwrap();
        let node = |name: &str| Node {
            metadata: kube::api::ObjectMeta {
                name: Some(name.into()),
                ..kube::api::ObjectMeta::default()
            },
            ..Node::default()
        };
        assert!(fits(&node("node-2"), &spec));
        assert!(!fits(&node("node-1"), &spec));
    }

    #[test]
    fn a_node_selector_wants_every_label() {
        let selector = BTreeMap::from([("disk".to_owned(), "fast".to_owned())]);
        assert!(!fits(
            &Node::default(),
            &PodSpec {
                node_selector: Some(selector),
                ..PodSpec::default()
            }
        ));
    }
}
