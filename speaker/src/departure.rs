//! Whether this speaker will be back after a stop signal.
//!
//! A Pod that is replaced is back within seconds; a node that is taken out of service is not, and routers must stop sending
//! packets there. The signal is the same in both cases, so the Node object decides.

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

/// The state of a Node, as far as its traffic depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// No Pods are scheduled there any more.
    pub(crate) cordoned: bool,
    /// It is not ready, which a kubelet reports when its node shuts down; or it has a taint of a shutdown or removal; or
    /// there is no Node of that name.
    pub(crate) shutting_down: bool,
    /// It has the label that drains it.
    pub(crate) marked: bool,
}

impl Standing {
    /// A node in service.
    #[cfg(test)]
    pub(crate) const SERVING: Self = Self {
        cordoned: false,
        shutting_down: false,
        marked: false,
    };
    /// A node without a Node object.
    pub(crate) const GONE: Self = Self {
        cordoned: false,
        shutting_down: true,
        marked: false,
    };

    /// Reads a Node: its taints' keys, and its conditions as pairs of type and status.
    pub(crate) fn new<'a>(
        cordoned: bool,
        labels: &BTreeMap<String, String>,
        mut taints: impl Iterator<Item = &'a str>,
        mut conditions: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Self {
            cordoned,
            shutting_down: taints.any(|key| TAINTS.contains(&key)) || conditions.any(|own| own == ("Ready", "False")),
            marked: metallb_announce::is_drained(labels),
        }
    }

    fn is_out_of_service(self) -> bool {
        self.cordoned || self.shutting_down || self.marked
    }
}

/// What is known of this node; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    node: Arc<str>,
    out_of_service: Arc<AtomicBool>,
}

impl Departure {
    /// Assumes a node in service until [`Departure::hear`].
    pub(crate) fn new(node: &str) -> Self {
        Self {
            node: node.into(),
            out_of_service: Arc::default(),
        }
    }

    /// Takes in the state of the Node.
    pub(crate) fn hear(&self, standing: Standing) {
        self.out_of_service.store(standing.is_out_of_service(), Relaxed);
    }

    /// Returns what BGP peers are told if the speaker stops now.
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
    use metallb_api::names;

    use super::*;

    fn standing<'a>(cordoned: bool, label: Option<&str>, taints: &[&'a str], ready: &'a str) -> Standing {
        let labels = label.map(|value| (names::LABEL_DRAIN.to_owned(), value.to_owned()));
        let conditions = [("MemoryPressure", "False"), ("Ready", ready)];
        let labels = labels.into_iter().collect();
        Standing::new(cordoned, &labels, taints.iter().copied(), conditions.into_iter())
    }

    #[test]
    fn cordon_shutdown_removal_and_label_take_a_node_out_of_service() {
        assert_eq!(standing(false, None, &[], "True"), Standing::SERVING);
        assert!(standing(true, None, &[], "True").is_out_of_service());
        assert!(standing(false, None, &[], "False").is_out_of_service());
        assert!(standing(false, Some(""), &[], "True").is_out_of_service());
        assert!(Standing::GONE.is_out_of_service());
        for taint in TAINTS {
            assert!(standing(false, None, &[taint], "True").shutting_down);
        }
        // `Unknown` is written when the kubelet is silent, and other taints mean other things.
        let other = standing(false, Some("false"), &["node.kubernetes.io/memory-pressure"], "Unknown");
        assert_eq!(other, Standing::SERVING);
    }

    // BGP-69
    #[test]
    fn a_node_that_goes_is_told_of_and_it_may_come_back() {
        let departure = Departure::new("a");
        assert_eq!(departure.farewell().reason, StopReason::Restart);
        departure.hear(Standing::GONE);
        assert_eq!(departure.farewell().reason, StopReason::Shutdown);
        assert_eq!(departure.farewell().text, "node a is taken out of service");
        departure.hear(Standing::SERVING);
        assert_eq!(departure.farewell().reason, StopReason::Restart);
    }
}
