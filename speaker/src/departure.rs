//! Whether this speaker comes back when it is told to stop.
//!
//! A Pod that is replaced comes back within seconds; a node that is taken out of service does not, and packets must not be
//! sent there any more. The stop signal is the same, so it is the Node object that tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use metallb_dataplane::bgp::{Farewell, StopReason};

/// Taints of a node that is being shut down or removed.
const TAINTS: [&str; 4] = [
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
    // The cluster autoscaler, and Karpenter.
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
];

/// Tells whether a Node is being taken out of service: it is cordoned, its kubelet says that it is not ready, which a
/// kubelet that can still stop Pods says of a node that shuts down, or somebody has announced to remove it.
pub(crate) fn is_out_of_service<'a>(
    cordoned: bool,
    mut taints: impl Iterator<Item = &'a str>,
    mut conditions: impl Iterator<Item = (&'a str, &'a str)>,
) -> bool {
    cordoned || taints.any(|key| TAINTS.contains(&key)) || conditions.any(|own| own == ("Ready", "False"))
}

/// What is known of this node; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    node: Arc<str>,
    out_of_service: Arc<AtomicBool>,
}

impl Departure {
    /// Of a node that stays, as far as is known.
    pub(crate) fn new(node: &str) -> Self {
        Self {
            node: node.into(),
            out_of_service: Arc::default(),
        }
    }

    /// Takes in which Nodes are out of service, among those that changed.
    pub(crate) fn hear(&self, nodes: &BTreeMap<String, bool>) {
        if let Some(out_of_service) = nodes.get(&*self.node) {
            self.out_of_service.store(*out_of_service, Relaxed);
        }
    }

    /// What the BGP peers are told now.
    pub(crate) fn farewell(&self) -> Farewell {
        let node = &self.node;
        if self.out_of_service.load(Relaxed) {
            Farewell {
                reason: StopReason::Shutdown,
                text: format!("node {node} is taken out of service"),
            }
        } else {
            Farewell {
                reason: StopReason::Restart,
                text: format!("the speaker on node {node} stops"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cordon_shutdown_and_removal_take_a_node_out_of_service() {
        let ready = [("Ready", "True"), ("MemoryPressure", "False")];
        let stopped = [("Ready", "False")];
        let none = || [].into_iter();
        assert!(!is_out_of_service(false, none(), ready.into_iter()));
        assert!(is_out_of_service(true, none(), ready.into_iter()));
        assert!(is_out_of_service(false, none(), stopped.into_iter()));
        for taint in TAINTS {
            assert!(is_out_of_service(false, [taint].into_iter(), ready.into_iter()));
        }
        // A kubelet that is not heard is no kubelet that stops Pods; and other taints say other things.
        let unknown = [("Ready", "Unknown")];
        let other = ["node.kubernetes.io/memory-pressure"];
        assert!(!is_out_of_service(false, other.into_iter(), unknown.into_iter()));
    }

    #[test]
    fn only_the_own_node_counts_and_it_may_come_back() {
        let departure = Departure::new("a");
        let hear = |node: &str, out| departure.hear(&BTreeMap::from([(node.to_owned(), out)]));
        assert_eq!(departure.farewell().reason, StopReason::Restart);
        hear("b", true);
        assert_eq!(departure.farewell().reason, StopReason::Restart);
        hear("a", true);
        assert_eq!(departure.farewell().reason, StopReason::Shutdown);
        assert_eq!(departure.farewell().text, "node a is taken out of service");
        hear("a", false);
        assert_eq!(departure.farewell().reason, StopReason::Restart);
    }
}
