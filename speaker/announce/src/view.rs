//! The few facts that decisions need, read off Kubernetes objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::Reason;

/// Presence of this label takes a node out of every announcement unless `--ignore-exclude-lb` is given.
pub(crate) const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const SHARED_IP: [&str; 2] = ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];

/// What decisions need of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// Labels of the Service.
    pub labels: BTreeMap<String, String>,
    /// `status.loadBalancer.ingress[].ip` in order; `None` stands for an entry without a parsable address.
    pub ingress: Vec<Option<IpAddr>>,
    /// `externalTrafficPolicy` is `Local`.
    pub local: bool,
    /// A sharing annotation is present, whatever its value.
    pub shared: bool,
}

impl ServiceView {
    /// Returns the addresses in ingress order; `None` if one of them is none.
    #[must_use]
    pub fn addresses(&self) -> Option<Vec<IpAddr>> {
        self.ingress.iter().copied().collect()
    }

    /// Tells whether the Service is of this load-balancer class, empty meaning the default one.
    #[must_use]
    pub fn has_class(&self, class: &str) -> bool {
        self.class.as_deref().unwrap_or_default() == class
    }
}

impl From<&Service> for ServiceView {
    fn from(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let ingress = service
            .status
            .as_ref()
            .and_then(|s| s.load_balancer.as_ref())
            .and_then(|l| l.ingress.as_ref());
        let annotations = service.metadata.annotations.as_ref();
        Self {
            load_balancer: spec.and_then(|s| s.type_.as_deref()) == Some("LoadBalancer"),
            class: spec.and_then(|s| s.load_balancer_class.clone()),
            labels: service.metadata.labels.clone().unwrap_or_default(),
            ingress: ingress
                .into_iter()
                .flatten()
                .map(|i| parse_address(i.ip.as_deref()))
                .collect(),
            local: spec.and_then(|s| s.external_traffic_policy.as_deref()) == Some("Local"),
            shared: annotations.is_some_and(|a| SHARED_IP.iter().any(|key| a.contains_key(*key))),
        }
    }
}

fn parse_address(text: Option<&str>) -> Option<IpAddr> {
    Some(text?.parse::<IpAddr>().ok()?.to_canonical())
}

/// What decisions need of a Node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// The condition `NetworkUnavailable` is `True`.
    pub network_unavailable: bool,
    /// The label `node.kubernetes.io/exclude-from-external-load-balancers` is present.
    pub excluded: bool,
}

impl NodeView {
    /// Returns why the node announces nothing at all, if so.
    #[must_use]
    pub fn excluded_by(self, ignore_label: bool) -> Option<Reason> {
        if self.network_unavailable {
            Some(Reason::NodeNetworkUnavailable)
        } else if self.excluded && !ignore_label {
            Some(Reason::NodeLabeledExcludeBalancers)
        } else {
            None
        }
    }
}

impl From<&Node> for NodeView {
    fn from(node: &Node) -> Self {
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        Self {
            network_unavailable: conditions
                .into_iter()
                .flatten()
                .any(|c| c.type_ == "NetworkUnavailable" && c.status == "True"),
            excluded: node
                .metadata
                .labels
                .as_ref()
                .is_some_and(|l| l.contains_key(EXCLUDE_LABEL)),
        }
    }
}

/// Where a service has endpoints that can take traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Some endpoint can serve, wherever it is.
    pub any: bool,
    /// Nodes with at least one endpoint that can serve; endpoints without a node name count nowhere.
    pub nodes: BTreeSet<String>,
}

impl Endpoints {
    /// Collects the endpoints of all slices of one service.
    pub fn from_slices<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Self {
        let mut all = Self::default();
        for endpoint in slices.into_iter().flat_map(|s| &s.endpoints).filter(|e| can_serve(e)) {
            all.any = true;
            all.nodes.extend(endpoint.node_name.clone());
        }
        all
    }
}

/// A terminating endpoint that still serves counts, and so does a ready one that says it does not serve.
fn can_serve(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(false);
    !endpoint.addresses.is_empty() && (ready || serving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::discovery::v1::EndpointConditions;
    use rstest::rstest;

    fn endpoint(ready: Option<bool>, serving: Option<bool>, addresses: usize) -> Endpoint {
        Endpoint {
            addresses: (0..addresses).map(|n| format!("10.1.0.{n}")).collect(),
            conditions: Some(EndpointConditions {
                ready,
                serving,
                terminating: None,
            }),
            node_name: Some("node-a".into()),
            ..Endpoint::default()
        }
    }

    // BGP-3, BGP-4, BGP-5, L2-21
    #[rstest]
    #[case(None, None, 1, true)]
    #[case(Some(true), Some(false), 1, true)]
    #[case(Some(false), Some(true), 1, true)]
    #[case(Some(false), None, 1, false)]
    #[case(Some(false), Some(false), 1, false)]
    #[case(Some(true), Some(true), 0, false)]
    fn an_endpoint_counts_if_it_can_serve(
        #[case] ready: Option<bool>,
        #[case] serving: Option<bool>,
        #[case] addresses: usize,
        #[case] expected: bool,
    ) {
        let slice = EndpointSlice {
            endpoints: vec![endpoint(ready, serving, addresses)],
            ..EndpointSlice::default()
        };
        let got = Endpoints::from_slices([&slice]);
        assert_eq!((got.any, got.nodes.contains("node-a")), (expected, expected));
    }

    // BGP-2
    #[test]
    fn an_endpoint_without_node_name_is_local_nowhere() {
        let nameless = Endpoint {
            node_name: None,
            ..endpoint(None, None, 1)
        };
        let slice = EndpointSlice {
            endpoints: vec![nameless],
            ..EndpointSlice::default()
        };
        assert_eq!(
            Endpoints::from_slices([&slice]),
            Endpoints {
                any: true,
                nodes: BTreeSet::new()
            }
        );
    }

    #[test]
    fn hostname_ingress_is_an_invalid_address() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"hostname": "x.example"}, {"ip": "::ffff:10.0.0.1"}]}},
        }))
        .unwrap();
        assert_eq!(
            ServiceView::from(&service).ingress,
            vec![None, Some("10.0.0.1".parse().unwrap())]
        );
    }
}
