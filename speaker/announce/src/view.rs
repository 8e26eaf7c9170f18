//! The few facts that decisions need, read off Kubernetes objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};
use metallb_api::names::{LABEL_DRAIN, LABEL_EXCLUDE_LB};

use crate::{Labels, Names, Reason};

const SHARED_IP: [&str; 2] = ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];

/// What decisions need of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// Labels of the Service.
    pub labels: Labels,
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

    /// Reads an ingress entry's `ip`; `None` if it is none.
    #[must_use]
    pub fn address(text: Option<&str>) -> Option<IpAddr> {
        Some(text?.parse::<IpAddr>().ok()?.to_canonical())
    }

    /// Tells whether a Service with these annotations may share its address.
    #[must_use]
    pub fn is_shared(annotations: &BTreeMap<String, String>) -> bool {
        SHARED_IP.iter().any(|key| annotations.contains_key(*key))
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
            labels: service.metadata.labels.iter().flatten().collect(),
            ingress: ingress
                .into_iter()
                .flatten()
                .map(|i| Self::address(i.ip.as_deref()))
                .collect(),
            local: spec.and_then(|s| s.external_traffic_policy.as_deref()) == Some("Local"),
            shared: annotations.is_some_and(Self::is_shared),
        }
    }
}

/// Tells whether the labels of a Node drain it of BGP traffic: it asks routers to prefer other nodes, and then withdraws its
/// routes, whatever is decided.
#[must_use]
pub fn is_drained(labels: &BTreeMap<String, String>) -> bool {
    labels.get(LABEL_DRAIN).is_some_and(|value| value != "false")
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
    /// Reads the labels of a Node, and its conditions as pairs of type and status.
    #[must_use]
    pub fn new<'a>(
        labels: &BTreeMap<String, String>,
        mut conditions: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Self {
            network_unavailable: conditions.any(|condition| condition == ("NetworkUnavailable", "True")),
            excluded: labels.contains_key(LABEL_EXCLUDE_LB),
        }
    }

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
        let conditions = conditions.into_iter().flatten();
        let labels = node.metadata.labels.as_ref();
        Self::new(
            labels.unwrap_or(&BTreeMap::new()),
            conditions.map(|c| (c.type_.as_str(), c.status.as_str())),
        )
    }
}

/// Where a service has endpoints that can take traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Some endpoint can serve, wherever it is.
    pub any: bool,
    /// Nodes with at least one endpoint that can serve; endpoints without a node name count nowhere.
    pub nodes: Names,
}

/// An endpoint as an EndpointSlice describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// It has an address.
    pub addressed: bool,
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `nodeName`.
    pub node: Option<String>,
}

impl Endpoint {
    /// A terminating endpoint that still serves counts, and so does a ready one that says it does not serve.
    fn can_serve(&self) -> bool {
        self.addressed && (self.ready.unwrap_or(true) || self.serving.unwrap_or(false))
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut any = false;
        let serving = endpoints.into_iter().filter(Endpoint::can_serve);
        let nodes = serving.inspect(|_| any = true).filter_map(|endpoint| endpoint.node);
        let nodes = nodes.collect();
        Self { any, nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn endpoint(ready: Option<bool>, serving: Option<bool>, addressed: bool) -> Endpoint {
        Endpoint {
            addressed,
            ready,
            serving,
            node: Some("node-a".into()),
        }
    }

    // BGP-3, BGP-4, BGP-5, L2-21
    #[rstest]
    #[case(None, None, true, true)]
    #[case(Some(true), Some(false), true, true)]
    #[case(Some(false), Some(true), true, true)]
    #[case(Some(false), None, true, false)]
    #[case(Some(false), Some(false), true, false)]
    #[case(Some(true), Some(true), false, false)]
    fn an_endpoint_counts_if_it_can_serve(
        #[case] ready: Option<bool>,
        #[case] serving: Option<bool>,
        #[case] addressed: bool,
        #[case] expected: bool,
    ) {
        let got = Endpoints::from_iter([endpoint(ready, serving, addressed)]);
        assert_eq!((got.any, got.nodes.contains("node-a")), (expected, expected));
    }

    // BGP-2
    #[test]
    fn an_endpoint_without_node_name_is_local_nowhere() {
        let nameless = Endpoint {
            node: None,
            ..endpoint(None, None, true)
        };
        let expected = Endpoints {
            any: true,
            nodes: Names::default(),
        };
        assert_eq!(Endpoints::from_iter([nameless]), expected);
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
