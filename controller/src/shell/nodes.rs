//! Nodes, as far as they tell who may announce: most of their changes are heartbeats, which are nobody's concern here.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::ResourceExt;
use metallb_announce::NodeView;
use metallb_runtime::watch::Change;
use tokio::sync::mpsc::UnboundedReceiver;

use super::stores::Touched;

/// Of Nodes only the name, the labels and the condition `NetworkUnavailable` are read.
pub(super) fn prune(node: &mut Node) {
    node.spec = None;
    node.metadata.annotations = None;
    let conditions = node.status.take().and_then(|status| status.conditions);
    let network = conditions
        .into_iter()
        .flatten()
        .find(|own| own.type_ == "NetworkUnavailable");
    node.status = network.map(|mut network| {
        (network.last_heartbeat_time, network.message, network.reason) = (None, None, None);
        NodeStatus {
            conditions: Some(vec![network]),
            ..NodeStatus::default()
        }
    });
}

/// Tells of the changes that matter.
pub(super) fn touched(changes: UnboundedReceiver<Change<Node>>, kind: &'static str) -> BoxStream<'static, Touched> {
    let next = move |(mut changes, mut seen): (UnboundedReceiver<Change<Node>>, Seen)| async move {
        loop {
            let touched = match changes.recv().await? {
                Change::Ready => Some(Touched::Ready(kind)),
                Change::Applied(node) => seen.is_news(&node).then_some(Touched::Changed),
                Change::Deleted(node) => seen.forget(&node).then_some(Touched::Changed),
            };
            if let Some(touched) = touched {
                return Some((touched, (changes, seen)));
            }
        }
    };
    futures::stream::unfold((changes, Seen::default()), next).boxed()
}

/// A number for each Node, which is another one after every change that matters.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    fn is_news(&mut self, node: &Node) -> bool {
        let mut hasher = DefaultHasher::new();
        node.labels().hash(&mut hasher);
        NodeView::from(node).network_unavailable.hash(&mut hasher);
        let now = hasher.finish();
        self.0.insert(node.name_any(), now) != Some(now)
    }

    fn forget(&mut self, node: &Node) -> bool {
        self.0.remove(&node.name_any()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;

    fn node(labels: &Value, network_unavailable: &str, beat: u8) -> Change<Node> {
        let time = format!("2026-01-01T00:00:{beat:02}Z");
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastHeartbeatTime": time });
        let conditions = [
            condition("Ready", "True"),
            condition("NetworkUnavailable", network_unavailable),
        ];
        let node = json!({ "metadata": { "name": "a", "labels": labels }, "status": { "conditions": conditions } });
        let mut node = serde_json::from_value(node).unwrap();
        prune(&mut node);
        Change::Applied(Arc::new(node))
    }

    #[tokio::test]
    async fn a_heartbeat_touches_nothing_and_labels_and_network_do() {
        let (sender, changes) = mpsc::unbounded_channel();
        let labelled = json!({ "zone": "a" });
        for change in [
            node(&labelled, "False", 1),
            Change::Ready,
            node(&labelled, "False", 2),
            node(&labelled, "True", 3),
            node(&labelled, "True", 4),
            node(&json!({}), "True", 5),
        ] {
            sender.send(change).unwrap();
        }
        drop(sender);
        let told: Vec<Touched> = touched(changes, "Nodes").collect().await;
        let kinds: Vec<bool> = told.iter().map(|told| matches!(told, Touched::Ready(_))).collect();
        assert_eq!(kinds, [false, true, false, false]);
    }
}
